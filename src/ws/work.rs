//! The work that the frames of a socket have asked for: requests to the chat, or a look at
//! a fresh token.
//!
//! A client's requests are begun and answered in their order. Messages that follow upon each other
//! need not wait for each other in between: they are handed to the store one after the other, which
//! keeps their order, and share a commit. Everything else is done alone: what comes beside work
//! that is under way is held until that is done, and nothing more is read meanwhile.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tracing::Instrument as _;

use super::{
    connection::SocketName,
    protocol::{FrameRequest, Protocol},
    session::Action,
};
use crate::{
    app::App,
    auth::{identity::Denied, sockets::OpenSocket},
    chat::policy::Caller,
    config::Secret,
    id::ConversationId,
    metrics::Word as _,
    service::ChatError,
    telemetry::trace::Span,
};

/// Most messages of one socket that wait for their commit together.
const TOGETHER: usize = 16;

/// Text of messages that wait together beside which no further one is begun, in bytes.
const TOGETHER_BYTES: usize = 64 << 10;

type Performing = dyn Future<Output = WorkOutcome> + Send;

/// Outcome.
pub enum WorkOutcome {
    Performed(Result<Option<Bytes>, ChatError>),
    /// When the fresh token runs out.
    Renewed(Result<Instant, Denied>),
    /// It was past a limit, and not begun. The frame says so.
    Refused(Bytes),
}

/// In the order in which it was asked for.
pub struct Work<P: Protocol> {
    under_way: VecDeque<WorkPiece>,
    /// Text of the messages under way.
    bytes: usize,
    /// Action that cannot be done beside the work that is under way.
    held: Option<Box<Action<P::Request>>>,
}

struct WorkPiece {
    state: PieceState,
    /// Text of a message; `None` if it is none, and nothing may be begun beside it.
    message: Option<usize>,
}

impl WorkPiece {
    fn is_done(&self) -> bool {
        matches!(self.state, PieceState::Done(_))
    }
}

enum PieceState {
    Performing(Pin<Box<Performing>>),
    /// Requests before it are not done yet.
    Done(WorkOutcome),
}

impl<P: Protocol> Default for Work<P> {
    fn default() -> Self {
        Work {
            under_way: VecDeque::new(),
            bytes: 0,
            held: None,
        }
    }
}

impl<P: Protocol> Work<P> {
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Returns whether what the client said next may be taken now, if all is written or something is
    /// not.
    #[must_use]
    pub fn hears(&self, is_written: bool) -> bool {
        match &self.held {
            Some(held) => !self.is_under_way() && (is_written || !wants_page(held)),
            None => self.has_room(),
        }
    }

    /// Gives back what may be done now. What must wait until nothing is under way, or until all is
    /// written, is held.
    pub fn admit(
        &mut self,
        action: Action<P::Request>,
        is_written: bool,
    ) -> Option<Action<P::Request>> {
        let may_join = match &action {
            Action::Wait | Action::Ignore => true,
            Action::Perform(request) => request.text_bytes().is_some(),
            _ => false,
        };
        if (self.is_under_way() && !may_join) || (!is_written && wants_page(&action)) {
            self.held = Some(Box::new(action));
            return None;
        }
        Some(action)
    }

    /// Takes the held request whose turn it is.
    pub fn take_held(&mut self) -> Option<Action<P::Request>> {
        self.held.take().map(|held| *held)
    }

    /// Returns whether a message may be begun now.
    fn has_room(&self) -> bool {
        let together = self.under_way.back().is_none_or(|it| it.message.is_some());
        together && self.under_way.len() < TOGETHER && self.bytes < TOGETHER_BYTES
    }

    /// Begins a request of `caller` on the socket of this name.
    pub fn begin(
        &mut self,
        app: &Arc<App>,
        socket: &SocketName,
        caller: Caller,
        (place, conversation_id): (Arc<P::Place>, Option<ConversationId>),
        request: P::Request,
    ) {
        let app = Arc::clone(app);
        let message = request.text_bytes();
        let line = tracing::debug_span!("socket", id = %socket.id);
        let span = app
            .tracer
            .as_ref()
            .and_then(|tracer| tracer.frame(socket.origin.as_deref(), request.asked().text()));
        let work = async move {
            let done = P::perform(&app, &place, &caller, request).await;
            WorkOutcome::Performed(done)
        };
        let work: Pin<Box<Performing>> = match span {
            None => Box::pin(work.instrument(line)),
            Some(span) => {
                if let Some(id) = conversation_id {
                    span.set("conversation_id", id.to_string());
                }
                Box::pin(traced(span, work).instrument(line))
            }
        };
        self.add(PieceState::Performing(work), message);
    }

    /// Begins to look at a fresh token, which must be of the user who has opened the socket.
    pub fn renew(&mut self, app: &Arc<App>, socket: Arc<OpenSocket>, token: Secret) {
        let app = Arc::clone(app);
        let work = async move { WorkOutcome::Renewed(app.auth.renew(&socket, &token).await) };
        self.add(PieceState::Performing(Box::pin(work)), None);
    }

    /// Takes its turn without being begun.
    pub fn refuse(&mut self, answer: Bytes) {
        self.add(PieceState::Done(WorkOutcome::Refused(answer)), Some(0));
    }

    fn add(&mut self, state: PieceState, message: Option<usize>) {
        self.bytes += message.unwrap_or_default();
        self.under_way.push_back(WorkPiece { state, message });
    }

    /// Waits for the outcome of the first; for ever if nothing is under way. May be cancelled.
    pub async fn done(&mut self) -> WorkOutcome {
        poll_fn(|cx| self.poll_done(cx)).await
    }

    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<WorkOutcome> {
        for WorkPiece { state, .. } in &mut self.under_way {
            if let PieceState::Performing(work) = state
                && let Poll::Ready(outcome) = work.as_mut().poll(cx)
            {
                *state = PieceState::Done(outcome);
            }
        }
        if self.under_way.front().is_some_and(WorkPiece::is_done)
            && let Some(WorkPiece {
                state: PieceState::Done(outcome),
                message,
            }) = self.under_way.pop_front()
        {
            self.bytes -= message.unwrap_or_default();
            return Poll::Ready(outcome);
        }
        Poll::Pending
    }
}

fn wants_page<R: FrameRequest>(action: &Action<R>) -> bool {
    matches!(action, Action::Perform(request) if request.wants_page())
}

/// Does work that is recorded.
async fn traced(span: Span, work: impl Future<Output = WorkOutcome>) -> WorkOutcome {
    let outcome = span.around(work).await;
    if let WorkOutcome::Performed(Err(error)) = &outcome {
        match error {
            ChatError::Store(error) => span.fail(error.label()),
            ChatError::Layer(error) => span.fail(error.label()),
            // The sender's own doing is no error of the server that says so.
            error => span.set("error.type", error.to_string()),
        }
    }
    outcome
}
