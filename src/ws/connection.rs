//! Owns one socket: reads, writes, keeps time, and does what the [`Session`] says.
//!
//! One task for each socket. Reading and writing are awaited side by side and may each be
//! cancelled at any point: what was read is in the reader's buffer, what was written is known to
//! the writer. While a request is being performed nothing is read, so a client that sends faster
//! than the store commits is slowed down by TCP and not by memory.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::sleep_until,
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    heartbeat::Heartbeat,
    history::Telling,
    protocol::django::Request,
    queue::Queue,
    reader::Reader,
    session::{Action, Reason, Session},
    writer::{Writer, is_control},
};
use crate::{
    app::App,
    auth::{Admission, policy::Caller},
    chat::{Chat, ChatError, NewMessage},
    django::{datetime::Zone, drf::Detail},
    gateway::{Side, rollout::Moved},
    hub::Membership,
    limits::Seat,
    store::{Of, StoreError},
    telemetry::request::{ACCESS, RequestId},
};

/// How long a peer may take to answer our close frame.
pub const CLOSING: Duration = Duration::from_secs(5);

/// Room for one read. An idle socket keeps this much and no more.
const READ: usize = 512;

/// Answers that may wait to be written besides a whole queue of events.
const ANSWERS: usize = 64;

/// What the JSON around a text of `ws.max_message_bytes` may take.
const ENVELOPE: usize = 256;

/// The close code for the metrics when the connection just went away.
const GONE: u16 = 1006;

/// A request under way.
type Work = Pin<Box<dyn Future<Output = Result<(), ChatError>> + Send>>;

/// One open socket and everything it holds.
pub struct Connection<S> {
    app: Arc<App>,
    /// The handshake: the socket's name in the log.
    id: RequestId,
    conversation_id: Uuid,
    /// What the client may still do; it counts as an open socket until this is dropped.
    seat: Seat,
    /// Dropped with the connection, which takes the socket out of its conversation.
    membership: Membership,
    queue: Arc<Queue>,
    session: Session,
    heartbeat: Heartbeat,
    reader: Reader,
    writer: Writer,
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    /// The rest of a long history. Until it has been told, all other text waits in the queue.
    telling: Option<Box<Telling>>,
    /// When the token or session it was opened with runs out.
    until: Option<Instant>,
    /// At most one: a client's requests are performed in their order.
    work: Option<Work>,
    /// Set by the close frame of either side.
    ending: Option<Ending>,
}

/// What a socket is told first: its history.
pub enum First {
    /// Whole.
    Frame(Bytes),
    /// In fragments, which are still to be read.
    Telling(Box<Telling>),
}

/// How a connection comes to its end.
struct Ending {
    code: u16,
    /// Past it nothing is waited for any more.
    by: Instant,
    /// The other side has sent its close frame: once ours is written we are through.
    answered: bool,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Connection<S> {
    /// A connection whose handshake is over. `received` came along with the handshake and is read
    /// first; `history` is what is written first.
    pub fn new(
        app: Arc<App>,
        id: RequestId,
        admission: Admission,
        (conversation_id, membership, queue, seat): (Uuid, Membership, Arc<Queue>, Seat),
        stream: S,
        received: &[u8],
        history: First,
    ) -> Self {
        let limits = &app.config.ws;
        let heartbeat = Heartbeat::new(
            Duration::from_secs(limits.ping_interval_s),
            Duration::from_secs(limits.ping_timeout_s),
            Instant::now(),
        );
        let reader = Reader::new(
            BytesMut::from(received),
            limits.max_message_bytes.saturating_add(ENVELOPE),
        );
        let mut writer = Writer::default();
        let telling = match history {
            First::Frame(frame) => {
                writer.push(frame);
                queue.history_is_told();
                None
            }
            First::Telling(telling) => Some(telling),
        };
        let (read, write) = tokio::io::split(stream);
        Connection {
            app,
            id,
            conversation_id,
            seat,
            membership,
            queue,
            session: Session::new(admission.caller),
            heartbeat,
            reader,
            writer,
            read,
            write,
            telling,
            until: admission.until,
            work: None,
            ending: None,
        }
    }

    /// Serves the socket to its end.
    pub async fn run(mut self) {
        let (id, conversation_id) = (self.id, self.conversation_id);
        self.app.metrics.socket_opened();
        tracing::debug!(target: ACCESS, %id, %conversation_id, "socket opened");
        let code = self.serve().await;
        self.app.metrics.socket_closed(code);
        tracing::debug!(target: ACCESS, %id, %conversation_id, code, "socket closed");
    }

    /// Returns the close code the socket ended with.
    async fn serve(&mut self) -> u16 {
        let mut drain = self.app.drain.subscribe();
        let gateway = self.app.gateway.as_ref();
        let mut moved = gateway.map(|gateway| gateway.moved(self.conversation_id, Side::Here));
        let mut timer = pin!(sleep_until(self.due().into()));
        loop {
            if let Some(code) = self.read_messages() {
                return code;
            }
            if let Some(Ending {
                code,
                answered: true,
                ..
            }) = self.ending
                && self.writer.is_empty()
            {
                self.shut_down().await;
                return code;
            }
            let reading = self.work.is_none() && !self.is_over() && self.has_room();
            let due = self.due().into();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            let is_open = self.session.is_open();
            let action = tokio::select! {
                outcome = working(&mut self.work), if self.work.is_some() => {
                    self.work = None;
                    if let Err(ChatError::Store(error)) = &outcome
                        && !matches!(error, StoreError::Refused(_))
                    {
                        let (id, conversation_id) = (self.id, self.conversation_id);
                        tracing::error!(%id, %conversation_id, %error, "a frame failed");
                    }
                    self.session.done(outcome)
                }
                read = self.read.read_buf(&mut self.reader.buffer), if reading => match read {
                    Ok(0) | Err(_) => return self.ending.as_ref().map_or(GONE, |e| e.code),
                    Ok(_) => {
                        self.heartbeat.heard(Instant::now());
                        Action::Wait
                    }
                },
                written = self.writer.write_some(&mut self.write), if !self.writer.is_empty() => {
                    if written.is_err() {
                        return GONE;
                    }
                    Action::Wait
                }
                fragment = tell(&mut self.telling, &self.membership, self.app.zone()),
                    if is_open && self.wants_fragment() =>
                {
                    self.take_fragment(fragment)
                }
                // Only when what was taken before is written: the queue is the bound.
                () = self.queue.filled(),
                    if self.telling.is_none() && is_open && self.writer.is_empty() =>
                {
                    self.take_events()
                }
                () = &mut timer => match &self.ending {
                    Some(ending) => return ending.code,
                    None if self.until.is_some_and(|until| until <= Instant::now()) => {
                        self.session.close(Reason::Expired)
                    }
                    None => self.session.beat(&self.heartbeat.beat(Instant::now(), unix_nanos())),
                },
                () = drain.reached(), if is_open => {
                    self.session.close(Reason::Restart)
                }
                () = to_end(&mut moved), if is_open => {
                    self.app.metrics.gateway_moved();
                    self.session.close(Reason::Restart)
                }
            };
            if let Some(code) = self.act(action) {
                return code;
            }
        }
    }

    /// Takes out of the buffer what has arrived whole. Stops at a request: the next message waits
    /// until that has been performed.
    fn read_messages(&mut self) -> Option<u16> {
        while self.work.is_none() && !self.is_over() {
            let action = match self.reader.take_message() {
                Ok(Some(incoming)) => {
                    self.app.metrics.frame_in();
                    self.session.incoming(incoming)
                }
                Ok(None) => break,
                Err(violation) => {
                    tracing::debug!(%violation, "socket dropped");
                    self.session.violation(violation)
                }
            };
            if let Some(code) = self.act(action) {
                return Some(code);
            }
        }
        self.reader.make_room(READ);
        None
    }

    fn take_events(&mut self) -> Action {
        match self.queue.take() {
            Ok(frames) => {
                self.app.metrics.frames_out(frames.len());
                self.writer.append(frames);
                Action::Wait
            }
            Err(_) => self.session.close(Reason::Slow),
        }
    }

    /// Whether what the peer has asked for is being read: who sends pings or nonsense and reads no
    /// answers is not read any further, and in the end not waited for either.
    fn has_room(&self) -> bool {
        self.writer.len() < self.app.config.ws.queue_messages.saturating_add(ANSWERS)
    }

    /// One page may wait to be written while the next is read.
    fn wants_fragment(&self) -> bool {
        let telling = self.telling.as_ref();
        telling.is_some_and(|telling| telling.is_reading() || self.writer.len() < 2)
    }

    fn take_fragment(&mut self, fragment: Option<Result<Bytes, StoreError>>) -> Action {
        match fragment {
            Some(Ok(_)) if self.queue.has_overflowed() => self.session.close(Reason::Slow),
            Some(Ok(fragment)) => {
                self.writer.push(fragment);
                Action::Wait
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a history broke off");
                self.session.close(Reason::Broken)
            }
            None => {
                self.telling = None;
                self.queue.history_is_told();
                Action::Wait
            }
        }
    }

    /// Does as the session says. Returns a close code when the socket is to be dropped now.
    fn act(&mut self, action: Action) -> Option<u16> {
        match action {
            Action::Wait => {}
            Action::Write(frame) if self.telling.is_some() && !is_control(&frame) => {
                if self.queue.push(frame, None).is_err() {
                    self.app.metrics.slow_consumer();
                }
            }
            Action::Write(frame) => {
                self.app.metrics.frames_out(1);
                self.writer.push(frame);
            }
            Action::Perform(request) => {
                if let Err(throttled) = self.seat.meter().allow(request.action()) {
                    let seconds = throttled.seconds();
                    let text = Detail::Throttled(seconds).text(self.app.language());
                    let action = self.session.refused(&text);
                    return self.act(action);
                }
                let app = Arc::clone(&self.app);
                let conversation_id = self.conversation_id;
                let caller = self.session.caller().clone();
                let span = tracing::debug_span!("socket", id = %self.id);
                let work =
                    async move { perform(&app.chat, &caller, conversation_id, request).await };
                self.work = Some(Box::pin(work.instrument(span)));
            }
            Action::Close { code, frame } => self.end(code, frame, false),
            Action::CloseNow { code, frame } => self.end(code, frame, true),
            Action::Drop => return Some(GONE),
            Action::End => return Some(self.ending.as_ref().map_or(GONE, |ending| ending.code)),
        }
        None
    }

    fn end(&mut self, code: u16, frame: Bytes, answered: bool) {
        self.telling = None;
        self.writer.push(frame);
        self.ending = Some(Ending {
            code,
            by: Instant::now() + CLOSING,
            answered,
        });
    }

    /// Whether nothing that the peer sends matters any more.
    fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.answered)
    }

    fn due(&self) -> Instant {
        match (&self.ending, self.until) {
            (Some(ending), _) => ending.by,
            (None, Some(until)) => until.min(self.heartbeat.due()),
            (None, None) => self.heartbeat.due(),
        }
    }

    /// Ends our half, then waits for the peer to end its own: closing a socket with unread bytes
    /// in it would make the kernel throw away the close frame on its way.
    async fn shut_down(&mut self) {
        let quiet = async {
            let _ = self.write.shutdown().await;
            let mut rest = BytesMut::new();
            while let Ok(1..) = self.read.read_buf(&mut rest).await {
                rest.clear();
            }
        };
        let _ = tokio::time::timeout(CLOSING, quiet).await;
    }
}

/// The outcome of the request under way.
async fn working(work: &mut Option<Work>) -> Result<(), ChatError> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// The next fragment of the history; `None` after the last.
async fn tell(
    telling: &mut Option<Box<Telling>>,
    membership: &Membership,
    zone: &Zone,
) -> Option<Result<Bytes, StoreError>> {
    telling.as_mut()?.next(membership, zone).await
}

/// Waits for the conversation to move to Django, if there is a Django it could move to.
async fn to_end(moved: &mut Option<Moved>) {
    match moved {
        Some(moved) => moved.await,
        None => std::future::pending().await,
    }
}

async fn perform(
    chat: &Chat,
    caller: &Caller,
    conversation_id: Uuid,
    request: Request,
) -> Result<(), ChatError> {
    match request {
        Request::Say {
            sender_id,
            content,
            message_type,
            shown_type,
        } => {
            let new = NewMessage {
                conversation_id,
                sender_id,
                content,
                message_type,
                is_deleted: false,
            };
            chat.say(new, shown_type).await
        }
        Request::MarkRead {
            message_id,
            user_id,
            event,
        } => {
            let marked = match chat.admit(caller, Of::Message(message_id)).await {
                Ok(()) => chat.mark_read(message_id, user_id).await.map(|_| ()),
                Err(error) => Err(error),
            };
            match marked {
                // The original tells everybody even of a message that is not there.
                Ok(()) | Err(ChatError::NoMessage) => chat.broadcast(conversation_id, event).await,
                Err(error) => Err(error),
            }
        }
        Request::Typing(event) => chat.broadcast(conversation_id, event).await,
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
