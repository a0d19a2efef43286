//! Sockets of chats whose frames are none of the core's: the chat is handed one message at a time,
//! and writes what it likes.
//!
//! Everything else is as with any socket: the bounds of what waits to be written and of what is
//! read, pings, the place of the client among open sockets, the drain, the close handshake. One task
//! for each socket; while it does what a message asks for, nothing more is read.

use std::{
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use fastwebsockets::OpCode;
use hyper::{Request, body::Incoming as Body, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    task::yield_now,
    time::{Sleep, sleep_until},
};

use super::{
    budget::{Budget, BudgetRate, FRAMES, Spent, TURN},
    ending::{Ending, GONE, shut_down},
    handshake,
    heartbeat::{Beat, Heartbeat},
    origin,
    reader::{Incoming, Reader, Violation},
    refusal::Refusal,
    session::Reason,
    transfer::transfer,
    upgrade::agree,
    writer::{Writer, close_frame, frame},
};
use crate::{
    app::App,
    clock::since_1970,
    http::Response,
    limits::{Meter, SocketSeat},
    metrics::SecurityEvent,
    net::Stream,
    shutdown::CloseTurn,
    telemetry::{
        request::Trail,
        security::{AuditPlace, SecurityFinding},
    },
};

/// Frames that may wait to be written besides those in the queue, and their bytes.
const WRITING: usize = 64;
const WRITING_BYTES: usize = 64 << 10;

/// Time without progress after which a client that is written to is taken for one that does not read.
const STUCK: Duration = Duration::from_secs(60);

/// What a chat does on a socket, from its first frame to its last.
pub trait Talk: Send + 'static {
    /// Talks until [`PlainSocket::next`] returns `None`, or there is nothing more to say: the socket
    /// is then closed with 1000, unless it was closed otherwise.
    fn talk(self, socket: &mut PlainSocket) -> impl Future<Output = ()> + Send;
}

/// A message of the client's.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Text(String),
    Binary(Vec<u8>),
}

/// An open socket, in the hands of a chat.
pub struct PlainSocket {
    app: Arc<App>,
    seat: SocketSeat,
    place: SocketPlace,
    heartbeat: Heartbeat,
    budget: Budget,
    /// Frames read since other sockets had their turn.
    turn: u32,
    reader: Reader,
    writer: Writer,
    stream: Stream,
    drain: CloseTurn,
    timer: Pin<Box<Sleep>>,
    /// Nothing more will come from the peer.
    lost: bool,
    /// What was written did not reach the system.
    broken: bool,
    /// When something was last written, or nothing waited to be.
    wrote: Instant,
    ending: Option<Ending>,
    /// What the peer says before it has answered our close frame is still done: it did nothing wrong.
    hears_on: bool,
}

/// The client, for the log.
struct SocketPlace {
    client: Option<IpAddr>,
    /// As it is shown.
    path: Box<str>,
    user: Option<Arc<str>>,
}

/// Looks at a handshake before it is known who it is from: its form, the drain, the number of
/// sockets of the address, the origin. Returns the client's place among open sockets; the caller
/// adds the user to it.
///
/// # Errors
/// The reason why it is refused; the chat has its own form of the answer.
pub fn admit(app: &App, request: &Request<Body>) -> Result<SocketSeat, Refusal> {
    handshake::check(request.method(), request.headers()).map_err(Refusal::Handshake)?;
    if app.drain.has_begun() {
        return Err(Refusal::Draining);
    }
    let seat = Meter::of(request).open_socket();
    let seat = seat.map_err(Refusal::Throttled)?;
    if origin::is_allowed(app, request) {
        Ok(seat)
    } else {
        Err(Refusal::Origin)
    }
}

/// Agrees to the upgrade, and serves the socket in a task of its own. `message_max` is in bytes.
pub fn accept(
    app: &Arc<App>,
    request: &mut Request<Body>,
    subprotocol: Option<String>,
    (seat, user): (SocketSeat, Option<Arc<str>>),
    message_max: usize,
    trail: &Trail,
    talk: impl Talk,
) -> Response {
    let app = Arc::clone(app);
    let place = SocketPlace {
        client: trail.client,
        path: trail.path().into(),
        user,
    };
    agree(request, subprotocol, move |upgraded| async move {
        let Some((stream, received)) = taken_over(upgraded).await else {
            return;
        };
        let reader = Reader::new(received, message_max);
        let mut socket = PlainSocket::new(app, (seat, place), reader, stream);
        socket.serve(talk).await;
    })
}

/// Returns the stream, and what came along with the handshake. The client may be gone.
async fn taken_over(upgraded: OnUpgrade) -> Option<(Stream, BytesMut)> {
    let upgraded = upgraded.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    Some((parts.io.into_inner(), BytesMut::from(&*parts.read_buf)))
}

impl PlainSocket {
    fn new(
        app: Arc<App>,
        (seat, place): (SocketSeat, SocketPlace),
        reader: Reader,
        stream: Stream,
    ) -> Self {
        let (limits, now) = (&app.config.ws, Instant::now());
        let heartbeat = Heartbeat::new(
            Duration::from_secs(limits.ping_interval_s),
            Duration::from_secs(limits.ping_timeout_s),
            now,
        );
        PlainSocket {
            timer: Box::pin(sleep_until(heartbeat.due().into())),
            drain: app.drain.subscribe(),
            app,
            seat,
            place,
            heartbeat,
            budget: Budget::new(now),
            turn: 0,
            reader,
            writer: Writer::default(),
            stream,
            lost: false,
            broken: false,
            wrote: now,
            ending: None,
            hears_on: false,
        }
    }

    async fn serve(&mut self, talk: impl Talk) {
        let opened = Instant::now();
        self.app.metrics.socket_opened();
        talk.talk(self).await;
        self.close(1000, "");
        while self.next().await.is_some() {}
        self.app.metrics.frames_out(&mut self.writer.news);
        let code = self.ending.as_ref().map_or(GONE, |ending| ending.code);
        self.app.metrics.socket_closed(code, opened.elapsed());
    }

    /// Returns the limits of the client.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        self.seat.meter()
    }

    /// Returns the next message; `None` once nothing more can be said or heard. May be cancelled.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            match self.take_message() {
                Taken::Said(said) => return Some(said),
                Taken::Over => return None,
                Taken::Nothing => {}
            }
            let answered = self.ending.as_ref().is_some_and(|it| it.answered);
            if answered && self.writer.is_empty() {
                shut_down(&mut self.stream).await;
                self.lost = true;
                return None;
            }
            if self.turn >= TURN {
                self.turn = 0;
                yield_now().await;
            }
            if self.step(true).await {
                return None;
            }
        }
    }

    /// Does some work while frames are written and none is read. May be cancelled if the work may.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                over = self.step(false) => if over {
                    return work.await;
                },
            }
        }
    }

    /// Waits until all frames are in the system's hands; returns `false` if that cannot be known, as
    /// the socket is gone or being closed. Nothing is read meanwhile. May be cancelled.
    pub async fn flush(&mut self) -> bool {
        let is_open = |socket: &Self| socket.ending.is_none() && !socket.lost && !socket.broken;
        while !self.writer.is_empty() && is_open(self) {
            if self.step(false).await {
                return false;
            }
        }
        is_open(self)
    }

    /// Adds a frame behind those that wait, unless the socket is being closed. A caller with many
    /// [flushes](Self::flush) them now and then.
    pub fn send(&mut self, frame: Bytes) {
        if self.ending.is_none() && !self.lost {
            if self.writer.is_empty() {
                self.wrote = Instant::now();
            }
            self.writer.push(frame);
        }
    }

    /// Begins the end with a close frame, unless it has begun. The rest is for [`next`](Self::next).
    pub fn close(&mut self, code: u16, reason: &str) {
        if self.ending.is_none() {
            let goodbye = frame(OpCode::Close, |out| {
                out.extend(code.to_be_bytes());
                out.extend_from_slice(reason.as_bytes());
            });
            self.end_with(goodbye, code, false);
        }
    }

    /// Begins the end with a close frame that has no code.
    pub fn close_without_code(&mut self) {
        if self.ending.is_none() {
            self.end_with(frame(OpCode::Close, |_| {}), 1005, false);
        }
    }

    /// Drops the connection without a close frame.
    pub fn abort(&mut self) {
        self.lost = true;
        self.ending = Some(Ending::new(GONE, true, false));
        self.writer = Writer::default();
        self.reader = Reader::new(BytesMut::new(), 0);
    }

    /// Reads, writes and keeps time until one of these got somewhere. Returns `true` at the end.
    async fn step(&mut self, wanted: bool) -> bool {
        let reading = wanted && !self.lost && self.has_room();
        let writing = !self.writer.is_empty();
        let due = self.due().into();
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        let is_open = self.ending.is_none();
        tokio::select! {
            done = transfer(
                &mut self.stream,
                reading.then_some(&mut self.reader),
                writing.then_some(&mut self.writer),
            ), if reading || writing => {
                match &done.written {
                    Some(Ok(())) => self.wrote = Instant::now(),
                    Some(Err(_)) => self.broken = true,
                    None => {}
                }
                let (heartbeat, writer) = (&mut self.heartbeat, &mut self.writer);
                self.lost |= done.note(heartbeat, writer, &self.app.metrics);
                false
            }
            () = &mut self.timer => self.beat(reading),
            () = self.drain.reached(), if is_open => {
                self.leave(Reason::Restart);
                false
            }
        }
    }

    /// Returns `true` if more is read from the peer.
    fn has_room(&self) -> bool {
        self.budget.paused_until().is_none() && self.has_write_room()
    }

    fn has_write_room(&self) -> bool {
        self.writer.len() < WRITING && self.writer.bytes() < WRITING_BYTES
    }

    fn take_message(&mut self) -> Taken {
        let taken = loop {
            let answered = self.ending.as_ref().is_some_and(|it| it.answered);
            if answered || self.budget.paused_until().is_some() {
                break if self.lost {
                    Taken::Over
                } else {
                    Taken::Nothing
                };
            }
            match self.reader.take_message() {
                Ok(Some(incoming)) => {
                    if let Some(said) = self.incoming(incoming) {
                        break Taken::Said(said);
                    }
                }
                Ok(None) => {
                    break if self.lost {
                        Taken::Over
                    } else {
                        Taken::Nothing
                    };
                }
                Err(violation) => {
                    tracing::debug!(%violation, "socket dropped");
                    if violation != Violation::TooBig || self.ending.is_some() {
                        self.abort();
                        break Taken::Over;
                    }
                    // The rest has no meaning: no answer is waited for.
                    let code = Reason::TooBig.code();
                    self.end_with(close_frame(code), code, true);
                }
            }
            self.spend();
        };
        self.spend();
        self.reader.give_back();
        taken
    }

    /// Does what a frame asks for that is no message, and returns the message.
    fn incoming(&mut self, incoming: Incoming) -> Option<Said> {
        let hears = self.ending.is_none() || self.hears_on;
        match incoming {
            Incoming::Close(code) => {
                if let Some(ending) = &mut self.ending {
                    ending.answered = true;
                } else {
                    // As uvicorn and others than Daphne: with the peer's own code.
                    let goodbye = frame(OpCode::Close, |out| {
                        out.extend(code.into_iter().flat_map(u16::to_be_bytes));
                    });
                    self.end_with(goodbye, code.unwrap_or(1005), true);
                }
                None
            }
            Incoming::Text(text) => hears.then_some(Said::Text(text)),
            Incoming::Binary(bytes) => hears.then_some(Said::Binary(bytes)),
            Incoming::Ping(payload) => {
                self.send(frame(OpCode::Pong, |out| out.extend_from_slice(&payload)));
                None
            }
            Incoming::Pong => None,
        }
    }

    /// Counts the frames that were read.
    fn spend(&mut self) {
        let (frames, bytes) = self.reader.news.sum();
        if frames == 0 {
            return;
        }
        self.app.metrics.frames_in(&mut self.reader.news);
        self.turn = self.turn.saturating_add(frames);
        let rate = BudgetRate::from(&self.app.config.ws);
        match self.budget.spend(frames, bytes, rate, Instant::now()) {
            Spent::Within | Spent::Short { first: false } => {}
            Spent::Short { first: true } => {
                self.app.metrics.flood("slowed");
                self.note(SecurityEvent::Limit, FRAMES);
            }
            Spent::Flooding => {
                self.app.metrics.flood("closed");
                self.leave(Reason::Flooding);
            }
        }
    }

    /// Begins the end for a reason of ours, unless it has begun.
    pub fn leave(&mut self, reason: Reason) {
        if self.ending.is_some() {
            return;
        }
        if reason == Reason::Slow {
            self.app.metrics.slow_consumers(1);
        }
        if reason.is_noted() {
            self.note(SecurityEvent::Closed, reason.word());
        }
        self.hears_on = matches!(reason, Reason::Restart | Reason::Age);
        self.end_with(reason.frame(), reason.code(), false);
    }

    fn end_with(&mut self, goodbye: Bytes, code: u16, answered: bool) {
        self.writer.push(goodbye);
        let is_slow = code == Reason::Slow.code();
        self.ending = Some(Ending::new(code, answered, is_slow));
    }

    fn note(&self, event: SecurityEvent, reason: &str) {
        self.app.audit.note(&SecurityFinding {
            event,
            reason,
            client: self.place.client,
            user: self.place.user.as_deref(),
            place: AuditPlace::Path(&self.place.path),
        });
    }

    fn due(&self) -> Instant {
        let paused = self.budget.paused_until();
        if let Some(ending) = &self.ending {
            return paused.map_or(ending.by, |paused| paused.min(ending.by));
        }
        let due = paused.unwrap_or_else(|| self.heartbeat.due());
        self.stuck_at().map_or(due, |at| due.min(at))
    }

    /// Returns when a client that does not read what waits for it is given up.
    fn stuck_at(&self) -> Option<Instant> {
        (!self.writer.is_empty()).then(|| self.wrote + STUCK)
    }

    /// Does what is due. Returns `true` if that is the end.
    fn beat(&mut self, reading: bool) -> bool {
        let now = Instant::now();
        self.budget.resume(now);
        if let Some(ending) = &self.ending {
            let is_over = ending.by <= now;
            self.lost |= is_over;
            return is_over;
        }
        if self.stuck_at().is_some_and(|at| at <= now) {
            self.leave(Reason::Slow);
            return false;
        }
        if !reading {
            // A peer that is not read cannot be heard.
            self.heartbeat.heard(now);
        }
        let unix_nanos = u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX);
        match self.heartbeat.beat(now, unix_nanos) {
            Beat::Nothing => {}
            Beat::Ping(payload) => {
                self.send(frame(OpCode::Ping, |out| out.extend_from_slice(&payload)));
            }
            Beat::Dead => {
                self.lost = true;
                return true;
            }
            Beat::Old => self.leave(Reason::Age),
        }
        false
    }
}

/// What was in the buffer.
enum Taken {
    Nothing,
    Said(Said),
    /// The peer is gone, and all that it said is taken.
    Over,
}
