//! Owns one socket: reads, writes, keeps time, and does what the [`Session`] says.
//!
//! One task for each socket. Reading and writing are awaited side by side and may each be
//! cancelled at any point: what was read is in the reader's buffer, what was written is known to
//! the writer. While a request is being performed nothing is read but a few more messages, so a
//! client that sends faster than the store commits is slowed down by TCP and not by memory.

mod reading;

use std::{
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::time::sleep_until;
use tracing::{Level, field::display};

use super::{
    budget::{Budget, REFUSED, TURN},
    ending::{Ending, GONE, shut_down},
    heartbeat::Heartbeat,
    history::{FirstFrames, HistoryRest},
    protocol::{FrameRequest as _, Place as _, Protocol},
    reader::Reader,
    session::{Action, Reason, Session},
    transfer::{Transferred, transfer},
    work::{Work, WorkOutcome},
    writer::{Writer, is_control},
};
use crate::{
    app::App,
    auth::{Admission, sockets::Registration},
    clock::since_1970,
    hub::queue::{Queue, Returned, Taken},
    id::ConversationId,
    limits::{self, SocketSeat},
    metrics::{Asked, SecurityEvent},
    net::Stream,
    rollout::{Moved, Side},
    service::ChatError,
    store::StoreError,
    telemetry::{
        request::{ACCESS, RequestId},
        security::{AuditPlace, SecurityFinding},
        trace::TraceOrigin,
    },
};

/// Answers that may wait to be written besides a whole queue of events.
const ANSWERS: usize = 64;

/// Most bytes of the JSON around a text of `ws.max_message_bytes`.
pub const ENVELOPE: usize = 256;

/// The handshake: what the socket is called in the log and in traces.
pub struct SocketName {
    pub id: RequestId,
    /// `None` if nothing is traced.
    pub origin: Option<Arc<TraceOrigin>>,
    /// The address of the client.
    pub client: Option<IpAddr>,
}

/// One open socket and everything it holds.
pub struct Connection<P: Protocol> {
    app: Arc<App>,
    name: SocketName,
    /// Limits of the client; it counts as an open socket until this is dropped.
    seat: SocketSeat,
    /// Dropped with the connection, which takes the socket out of its conversations.
    place: Arc<P::Place>,
    queue: Arc<Queue>,
    session: Session<P>,
    heartbeat: Heartbeat,
    budget: Budget,
    /// Frames that count besides those that were read.
    refused: u32,
    /// Frames read since other sockets had their turn.
    turn: u32,
    /// Messages may be left in the reader's buffer that could be taken now.
    has_more: bool,
    reader: Reader,
    writer: Writer,
    stream: Stream,
    /// History that is being sent; until its end all other text waits in the queue.
    history: HistoryRest,
    /// When the token or session it was opened with runs out, or the fresh token shown since.
    until: Option<Instant>,
    /// Says when its rights end before that.
    registration: Registration,
    work: Work<P>,
    /// Nothing more will come from the peer.
    lost: bool,
    ending: Option<Ending>,
}

impl<P: Protocol> Connection<P> {
    /// Makes a connection whose handshake is over. `received` came along with the handshake and is
    /// read first; `history` is what is written first.
    pub fn new(
        (app, protocol): (Arc<App>, Arc<P>),
        name: SocketName,
        (admission, registration): (Admission, Registration),
        (place, queue, seat): (P::Place, Arc<Queue>, SocketSeat),
        stream: Stream,
        received: &[u8],
        history: FirstFrames,
    ) -> Self {
        let (limits, now) = (&app.config.ws, Instant::now());
        let heartbeat = Heartbeat::new(
            Duration::from_secs(limits.ping_interval_s),
            Duration::from_secs(limits.ping_timeout_s),
            now,
        );
        let reader = Reader::new(
            BytesMut::from(received),
            limits.max_message_bytes.saturating_add(ENVELOPE),
        );
        let mut writer = Writer::default();
        let history = match history {
            FirstFrames::Frame(frame) => {
                writer.push(frame);
                queue.history_is_told();
                HistoryRest::default()
            }
            FirstFrames::Telling(rest) => rest,
        };
        let session = Session::new(protocol, admission.caller, app.auth.renews());
        Connection {
            app,
            name,
            seat,
            place: Arc::new(place),
            queue,
            session,
            heartbeat,
            budget: Budget::new(now),
            refused: 0,
            turn: 0,
            has_more: false,
            reader,
            writer,
            stream,
            history,
            until: admission.until,
            registration,
            work: Work::default(),
            lost: false,
            ending: None,
        }
    }

    /// Serves the socket to its end. By reference: a connection that is an argument would take its
    /// room in the task twice.
    pub async fn run(&mut self) {
        let opened = Instant::now();
        self.app.metrics.socket_opened();
        self.log(None);
        let code = self.serve().await;
        self.app.metrics.frames_out(&mut self.writer.news);
        self.app.metrics.socket_closed(code, opened.elapsed());
        self.log(Some(code));
    }

    /// Returns the conversation of a socket that is in one for life.
    fn conversation_id(&self) -> Option<ConversationId> {
        self.registration.socket().conversation_id
    }

    /// Writes the line that the socket is open, or has ended with a code.
    fn log(&self, code: Option<u16>) {
        if !tracing::enabled!(target: ACCESS, Level::DEBUG) {
            return;
        }
        let _within = self.name.id.socket().entered();
        let conversation_id = self.conversation_id().map(display);
        let client = self.name.client.map(display);
        let user = self.registration.socket().user.as_deref();
        let what = if code.is_none() { "opened" } else { "closed" };
        tracing::debug!(target: ACCESS, conversation_id, code, client, user, "socket {what}");
    }

    /// Tells the security log of something.
    fn note(&self, event: SecurityEvent, reason: &str) {
        self.app.audit.note(&SecurityFinding {
            event,
            reason,
            client: self.name.client,
            user: self.registration.socket().user.as_deref(),
            place: self
                .conversation_id()
                .map_or(AuditPlace::Nothing, AuditPlace::Conversation),
        });
    }

    /// Closes the socket, unless it is closing already.
    fn close(&mut self, reason: Reason) -> Action<P::Request> {
        if reason.is_noted() && self.session.is_open() {
            self.note(SecurityEvent::Closed, reason.word());
        }
        self.session.close(reason)
    }

    /// Returns the close code the socket ended with.
    async fn serve(&mut self) -> u16 {
        let mut drain = self.app.drain.subscribe();
        let rollout = self.app.rollout.as_ref();
        let rollout = rollout.zip(self.conversation_id());
        let mut moved = rollout.map(|(rollout, id)| rollout.moved(id, Side::Here));
        let mut timer = pin!(sleep_until(self.due().into()));
        loop {
            if let Some(code) = self.read_messages() {
                return code;
            }
            if self.is_over() && self.writer.is_empty() {
                shut_down(&mut self.stream).await;
                return self.code();
            }
            if self.turn >= TURN {
                self.turn = 0;
                tokio::task::yield_now().await;
            }
            let reading = self.hears() && !self.lost && self.has_room();
            let due = self.due().into();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            let is_open = self.session.is_open();
            let writing = !self.writer.is_empty();
            let wants_page = self.history.wants_page(self.writer.len());
            if writing {
                self.take_back();
            } else if is_open && self.history.is_told() {
                self.lend();
            }
            let action = tokio::select! {
                () = std::future::ready(()), if self.has_more => Action::Wait,
                outcome = self.work.done(), if self.work.is_under_way() => self.worked(outcome),
                done = transfer(
                    &mut self.stream,
                    reading.then_some(&mut self.reader),
                    writing.then_some(&mut self.writer),
                ), if reading || writing => self.transferred(done),
                fragment = self.history.next(&*self.place),
                    if is_open && wants_page =>
                {
                    self.take_fragment(fragment)
                }
                // Only when what was taken before is written: the queue is the bound.
                () = self.queue.filled(),
                    if self.history.is_told() && is_open && !writing =>
                {
                    self.take_events()
                }
                () = &mut timer => match &self.ending {
                    Some(ending) if ending.by <= Instant::now() => return ending.code,
                    _ => self.beat(),
                },
                ended = self.registration.socket().ended(), if is_open => {
                    self.close(ended.into())
                }
                () = drain.reached(), if is_open => {
                    self.close(Reason::Restart)
                }
                () = self.place.attend(), if is_open => Action::Wait,
                () = to_end(&mut moved), if is_open => {
                    self.app.metrics.gateway_moved();
                    self.close(Reason::Restart)
                }
            };
            if let Some(code) = self.act(action) {
                return code;
            }
        }
    }

    /// Lends the writing half to the queue, unless it is lent or cannot be. The loan lasts until
    /// there is something to write.
    fn lend(&mut self) {
        if let Some(outlet) = self.stream.lend()
            && let Some(outlet) = self.queue.lend(outlet)
        {
            self.stream.take_back(outlet);
        }
    }

    /// Ends the loan, if the writing half is lent.
    fn take_back(&mut self) {
        if self.stream.is_lent() {
            let returned = self.queue.take_back();
            self.has_back(returned);
        }
    }

    /// Puts back what the end of a loan returns.
    fn has_back(&mut self, returned: Returned) {
        let Returned { outlet, rest } = returned;
        if let Some(outlet) = outlet {
            self.stream.take_back(outlet);
        }
        if !rest.is_empty() {
            self.writer.resume(rest);
        }
    }

    /// Notes what has been read and written.
    fn transferred(&mut self, done: Transferred) -> Action<P::Request> {
        let (heartbeat, writer) = (&mut self.heartbeat, &mut self.writer);
        self.lost |= done.note(heartbeat, writer, &self.app.metrics);
        Action::Wait
    }

    /// Notes that a request of the peer has been done, or has failed.
    fn worked(&mut self, outcome: WorkOutcome) -> Action<P::Request> {
        match outcome {
            WorkOutcome::Performed(outcome) => self.performed(outcome),
            WorkOutcome::Renewed(Ok(until)) => {
                self.until = Some(until);
                Action::Wait
            }
            WorkOutcome::Renewed(Err(denied)) => {
                if let Some(refused) = denied.refused() {
                    self.note(refused.event, refused.reason);
                }
                self.refused += REFUSED;
                let answer = self.session.protocol().denied(&denied);
                self.session.refused(answer)
            }
            WorkOutcome::Refused(answer) => self.session.refused(answer),
        }
    }

    fn performed(&mut self, outcome: Result<Option<Bytes>, ChatError>) -> Action<P::Request> {
        if let Err(ChatError::Store(error)) = &outcome
            && !matches!(error, StoreError::Refused(_))
        {
            let _within = self.name.id.socket().entered();
            let conversation_id = self.conversation_id().map(display);
            tracing::error!(conversation_id, %error, "a frame failed");
        }
        self.session.done(outcome)
    }

    fn beat(&mut self) -> Action<P::Request> {
        let now = Instant::now();
        if self.budget.resume(now) {
            // Frames that it may have sent meanwhile were not read.
            self.heartbeat.heard(now);
        }
        if self.until.is_some_and(|until| until <= now) {
            return self.close(Reason::Expired);
        }
        let unix_nanos = u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX);
        self.session.beat(&self.heartbeat.beat(now, unix_nanos))
    }

    fn take_events(&mut self) -> Action<P::Request> {
        match self.queue.take() {
            Ok(Taken { returned, frames }) => {
                self.has_back(returned);
                self.writer.append(frames);
                Action::Wait
            }
            Err(_) => self.close(Reason::Slow),
        }
    }

    fn take_fragment(&mut self, fragment: Option<Result<Bytes, StoreError>>) -> Action<P::Request> {
        match fragment {
            Some(Ok(_)) if self.queue.has_overflowed() => self.close(Reason::Slow),
            Some(Ok(fragment)) => {
                self.writer.push(fragment);
                Action::Wait
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a history broke off");
                self.close(Reason::Broken)
            }
            None => {
                self.history = HistoryRest::default();
                self.queue.history_is_told();
                Action::Wait
            }
        }
    }

    /// Does as the session says. Returns a close code when the socket is to be dropped now.
    fn act(&mut self, action: Action<P::Request>) -> Option<u16> {
        match action {
            Action::Wait => {}
            Action::Ignore => self.refused += REFUSED,
            Action::Deny(frame) => {
                self.app.metrics.policy_denied("speak");
                self.note(SecurityEvent::Policy, "speak");
                return self.act(Action::Refuse(frame));
            }
            Action::Refuse(frame) => {
                self.refused += REFUSED;
                self.write(frame);
            }
            Action::Write(frame) => self.write(frame),
            Action::Perform(request) => {
                self.app.metrics.socket_asked(request.asked());
                if let Some(answer) = self.refusal(request.action(), Some(&request)) {
                    self.work.refuse(answer);
                    return None;
                }
                let caller = self.session.caller().clone();
                let place = (Arc::clone(&self.place), self.conversation_id());
                self.work
                    .begin(&self.app, &self.name, caller, place, request);
            }
            // As the handshake that it saves.
            Action::Renew(token) => {
                self.app.metrics.socket_asked(Asked::Renew);
                if let Some(answer) = self.refusal(limits::LimitedAction::Request, None) {
                    self.work.refuse(answer);
                    return None;
                }
                let socket = Arc::clone(self.registration.socket());
                self.work.renew(&self.app, socket, token);
            }
            Action::Close { code, frame } => self.end(code, frame, false),
            Action::CloseNow { code, frame } => self.end(code, frame, true),
            Action::Drop => return Some(GONE),
            Action::End => return Some(self.code()),
        }
        None
    }

    /// Writes a frame, behind the history if that has not been sent.
    fn write(&mut self, frame: Bytes) {
        if self.history.is_told() || is_control(&frame) {
            self.writer.push(frame);
        } else if self.queue.push(frame, None).is_err() {
            self.app.metrics.slow_consumers(1);
        }
    }

    /// Returns the answer to a request past a limit, or `None`.
    fn refusal(
        &self,
        action: limits::LimitedAction,
        request: Option<&P::Request>,
    ) -> Option<Bytes> {
        let throttled = self.seat.meter().allow(action).err()?;
        self.note(SecurityEvent::Limit, throttled.limit());
        Some(self.session.protocol().throttled(request, &throttled))
    }

    fn end(&mut self, code: u16, frame: Bytes, answered: bool) {
        self.history = HistoryRest::default();
        self.writer.push(frame);
        let is_slow = self.queue.has_overflowed();
        self.ending = Some(Ending::new(code, answered, is_slow));
    }

    /// Returns the close code that the socket ends with.
    fn code(&self) -> u16 {
        self.ending.as_ref().map_or(GONE, |ending| ending.code)
    }

    /// Returns whether nothing that the peer sends matters any more.
    fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.answered)
    }

    fn due(&self) -> Instant {
        // A client that is not read cannot answer a ping.
        let paused = self.budget.paused_until();
        let alive = || paused.unwrap_or_else(|| self.heartbeat.due());
        match (&self.ending, self.until) {
            (Some(ending), _) => paused.map_or(ending.by, |paused| paused.min(ending.by)),
            (None, Some(until)) => until.min(alive()),
            (None, None) => alive(),
        }
    }
}

/// Waits for the conversation to move to Django, if there is a Django it could move to.
async fn to_end(moved: &mut Option<Moved>) {
    match moved {
        Some(moved) => moved.await,
        None => std::future::pending().await,
    }
}
