//! Holds what a client says on a chat socket of Django's to the policy: it speaks for itself only,
//! as on a socket of ours.
//!
//! Messages are put together, looked at, and passed on in the very bytes they came in. One that is
//! refused is answered here, in the words of our own sockets, and not passed on. Control frames are
//! passed on at once.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::{
    app::App,
    auth::Admission,
    chat::policy::Caller,
    dialect::django::{consumer::Consumer, frames::ChatRequest},
    id::ConversationId,
    limits::Meter,
    metrics::SecurityEvent,
    service::ChatError,
    store::{Lookup, Subject},
    telemetry::security::{AuditPlace, SecurityFinding},
    ws::{
        budget::{Budget, BudgetRate, FRAMES, REFUSED, Spent, weight},
        connection::ENVELOPE,
        protocol::{FrameRequest as _, Protocol as _},
        reader::{Incoming, Reader, Taken, Violation},
        session::{Action, Reason, Session},
    },
};

/// Answers that wait until they can stand between two messages of Django's.
const ANSWERS: usize = 16;

/// The frames of a message may take this much of `ws.max_message_bytes` with their headers.
const HELD: usize = 2;

/// Error frames of an inspector for the client.
pub struct ErrorAnswers {
    /// Frames, each a whole message.
    pub frames: mpsc::Receiver<Bytes>,
    /// Why the socket is to be closed.
    pub close: oneshot::Receiver<Reason>,
}

/// Follows what one client says.
pub struct Inspector {
    app: Arc<App>,
    conversation: ConversationId,
    /// The address of the client and its user, for the security log.
    client: Option<IpAddr>,
    user: Option<Arc<str>>,
    session: Session<Consumer>,
    meter: Meter,
    reader: Reader,
    budget: Budget,
    /// Frames that count besides those that were read.
    refused: u32,
    /// The frames of a message whose end has not come.
    held: Vec<u8>,
    /// Bytes that may be passed on.
    passed: Vec<u8>,
    frames: mpsc::Sender<Bytes>,
    close: Option<oneshot::Sender<Reason>>,
}

/// Why nothing more of the client's is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The socket is being closed.
    Closing,
    /// The protocol is broken: the connection is dropped.
    Broken,
}

impl Inspector {
    /// Returns an inspector of a caller's socket, if the policy lets the caller speak for itself
    /// only.
    pub fn of(
        app: &Arc<App>,
        consumer: &Arc<Consumer>,
        conversation: ConversationId,
        admission: &Admission,
        client: Option<IpAddr>,
        meter: &Meter,
    ) -> Option<(Self, ErrorAnswers)> {
        if admission.caller == Caller::Anybody {
            return None;
        }
        let (frames, waiting) = mpsc::channel(ANSWERS);
        let (close, closing) = oneshot::channel();
        let max_message = app.config.ws.max_message_bytes.saturating_add(ENVELOPE);
        let inspector = Inspector {
            app: Arc::clone(app),
            conversation,
            client,
            user: admission.user.clone(),
            session: Session::new(Arc::clone(consumer), admission.caller.clone(), false),
            meter: meter.clone(),
            reader: Reader::new(BytesMut::new(), max_message),
            budget: Budget::new(Instant::now()),
            refused: 0,
            held: Vec::new(),
            passed: Vec::new(),
            frames,
            close: Some(close),
        };
        let answers = ErrorAnswers {
            frames: waiting,
            close: closing,
        };
        Some((inspector, answers))
    }

    /// Takes the next bytes of the client's. Returns what may be passed on, and whether that was
    /// the last of it.
    pub async fn take(&mut self, bytes: &[u8]) -> (&[u8], Option<Over>) {
        self.pause().await;
        self.passed.clear();
        self.reader.buffer.extend_from_slice(bytes);
        let mut over = self.take_frames().await.err();
        self.reader.give_back();
        if self.is_flooding() {
            over = over.or(Some(self.end(Reason::Flooding)));
        }
        (&self.passed, over)
    }

    async fn take_frames(&mut self) -> Result<(), Over> {
        loop {
            let start = self.held.len();
            let held = &mut self.held;
            let taken = self
                .reader
                .take_frame(|frame| held.extend_from_slice(frame));
            match taken {
                Err(Violation::Protocol(_)) => return Err(Over::Broken),
                Err(Violation::TooBig) => return Err(self.end(Reason::TooBig)),
                Ok(Taken::Nothing) => return Ok(()),
                Ok(Taken::Fragment) => {
                    let most = self.app.config.ws.max_message_bytes.saturating_mul(HELD);
                    if self.held.len() > most.saturating_add(ENVELOPE) {
                        return Err(self.end(Reason::TooBig));
                    }
                }
                Ok(Taken::Message(message @ (Incoming::Text(_) | Incoming::Binary(_)))) => {
                    if self.admits(message).await {
                        self.passed.extend_from_slice(&self.held);
                    }
                    self.held = Vec::new();
                }
                Ok(Taken::Message(_)) => self.passed.extend(self.held.drain(start..)),
            }
        }
    }

    /// Returns whether a message may be passed on. If not, the client gets an error frame.
    async fn admits(&mut self, message: Incoming) -> bool {
        if let Incoming::Text(text) = &message {
            self.refused = self.refused.saturating_add(weight(text));
        }
        let request = match self.session.incoming(message) {
            Action::Perform(request) => request,
            Action::Deny(frame) => {
                self.app.metrics.policy_denied("speak");
                self.note(SecurityEvent::Policy, "speak");
                self.refused += REFUSED;
                self.answer(frame).await;
                return false;
            }
            Action::Refuse(frame) => {
                self.refused += REFUSED;
                self.answer(frame).await;
                return false;
            }
            Action::Ignore => {
                self.refused += REFUSED;
                return true;
            }
            // Frames that are not known to be harmless do not reach Django.
            _ => return false,
        };
        if let Err(throttled) = self.meter.allow(request.action()) {
            self.note(SecurityEvent::Limit, throttled.limit());
            let answer = self
                .session
                .protocol()
                .throttled(Some(&request), &throttled);
            self.answer(answer).await;
            return false;
        }
        match self.admits_mark(request).await {
            Ok(admits) => admits,
            Err(error) => {
                if let Some(frame) = self.session.protocol().failed(&error) {
                    self.answer(frame).await;
                }
                false
            }
        }
    }

    /// Returns whether Django may do this: a read mark could be of a message of another
    /// conversation, or of a user that only the database takes for the caller.
    async fn admits_mark(&self, request: ChatRequest) -> Result<bool, ChatError> {
        let ChatRequest::MarkRead {
            message_id,
            user_id,
            event,
        } = request
        else {
            return Ok(true);
        };
        let (chat, caller) = (&self.app.chat, self.session.caller());
        match chat.admit(caller, Subject::Message(message_id)).await {
            Ok(()) => {}
            // As on our own sockets, all members receive the event even if there is no such
            // message.
            Err(ChatError::NoMessage) => {
                chat.broadcast(self.conversation, event).await?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let lookup = Lookup::Receipt(message_id, user_id);
        if chat.finds_others(caller, lookup).await? {
            return Err(ChatError::Alike);
        }
        Ok(true)
    }

    /// A client that does not read its answers is not read either.
    async fn answer(&self, frame: Bytes) {
        // Without a receiver the socket is ending.
        let _ = self.frames.send(frame).await;
    }

    fn end(&mut self, reason: Reason) -> Over {
        if reason.is_noted() {
            self.note(SecurityEvent::Closed, reason.word());
        }
        if let Some(close) = self.close.take() {
            let _ = close.send(reason);
        }
        Over::Closing
    }

    /// Writes a line of the security log.
    fn note(&self, event: SecurityEvent, reason: &str) {
        self.app.audit.note(&SecurityFinding {
            event,
            reason,
            client: self.client,
            user: self.user.as_deref(),
            place: AuditPlace::Conversation(self.conversation),
        });
    }

    /// Counts what was read.
    fn is_flooding(&mut self) -> bool {
        let (frames, bytes) = std::mem::take(&mut self.reader.news).sum();
        let frames = frames.saturating_add(std::mem::take(&mut self.refused));
        let rate = BudgetRate::from(&self.app.config.ws);
        match self.budget.spend(frames, bytes, rate, Instant::now()) {
            Spent::Within | Spent::Short { first: false } => false,
            Spent::Short { first: true } => {
                self.app.metrics.flood("slowed");
                self.note(SecurityEvent::Limit, FRAMES);
                false
            }
            Spent::Flooding => {
                self.app.metrics.flood("closed");
                true
            }
        }
    }

    /// Waits until the socket may be read.
    async fn pause(&mut self) {
        if let Some(until) = self.budget.paused_until() {
            sleep_until(until.into()).await;
            self.budget.resume(Instant::now());
        }
    }
}
