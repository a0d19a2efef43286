//! The connection to one worker: what it says is put where it belongs, what it is to hear is
//! gathered and written together.
//!
//! A worker runs other people's code. What waits for it is bounded by credits, what it may ask of
//! the channel layer at once by [`REQUESTS`], what it does not read by [`UNREAD`]; one that says
//! nothing for too long, or something that is not understood, is ended.

mod credit;
mod error;
mod greeting;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use fastwebsockets::OpCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Notify, Semaphore},
    time::{Instant, interval, timeout},
};

use self::greeting::Greeted;
pub use self::{credit::Credit, error::LinkError};
use super::{
    Host,
    exchange::{Exchanges, Overrun},
    mailbox::{Mailbox, WorkerReply},
    order,
    proof::Challenge,
    wire::{self, Class, Down, Hello, What, WorkerMessage},
};
use crate::{
    metrics::{Level, Metrics, Word as _},
    ws::writer::frame,
};

/// Requests to the channel layer that one worker may have under way. Past them it is not read.
const REQUESTS: usize = 1024;

/// Classes of consumers that one worker may have, and bytes that they may take together.
const CLASSES: usize = 10_000;
const CLASS_BYTES: usize = 16 << 20;

/// Bytes that a worker may leave unread; then it is ended.
const UNREAD: usize = 64 << 20;

/// Unread bytes past which events for channels of its own are dropped.
const UNREAD_EVENTS: usize = 8 << 20;

/// Between two pings.
const PING: Duration = Duration::from_secs(5);

/// Room for one read, in bytes.
const READ: usize = 64 << 10;

/// The classes of one worker, by their numbers.
#[derive(Default)]
struct Classes {
    known: HashMap<u64, Arc<Class>>,
    bytes: usize,
}

/// One worker.
pub struct WorkerLink {
    pub number: u64,
    pub hello: Hello,
    /// Bytes to be written.
    out: Mutex<BytesMut>,
    filled: Notify,
    /// One for each call that may be under way.
    credits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    requests: Arc<Semaphore>,
    pub exchanges: Exchanges,
    /// Notified when what was to be written is on its way.
    drained: Notify,
    sockets: Mutex<HashMap<u64, Arc<Mailbox>>>,
    classes: Mutex<Classes>,
    /// Its sockets move to other workers.
    retiring: AtomicBool,
    dismissed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WorkerLink {
    fn new(number: u64, hello: Hello, host: &Host) -> Self {
        WorkerLink {
            number,
            hello,
            out: Mutex::default(),
            filled: Notify::new(),
            credits: Arc::new(Semaphore::new(host.max_calls())),
            metrics: Arc::clone(&host.metrics),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            exchanges: Exchanges::new(host.settings.max_requests),
            drained: Notify::new(),
            sockets: Mutex::default(),
            classes: Mutex::default(),
            retiring: AtomicBool::new(false),
            dismissed: Notify::new(),
        }
    }

    /// Returns `true` if sockets may come to this worker.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_retiring() && !self.credits.is_closed()
    }

    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Acquire)
    }

    /// Lets its sockets move to other workers.
    pub fn retire(&self) {
        self.retiring.store(true, Ordering::Release);
        for mailbox in lock(&self.sockets).values() {
            mailbox.nudge();
        }
    }

    /// Ends the connection.
    pub fn dismiss(&self) {
        self.dismissed.notify_one();
    }

    /// Sends a message.
    pub fn send(&self, kind: Down, subject: u64, body: &[u8]) {
        wire::put(&mut lock(&self.out), kind, subject, body);
        self.filled.notify_one();
    }

    /// Sends a message once the worker has read most of what it was sent before.
    pub async fn send_when_read(&self, kind: Down, subject: u64, body: &[u8]) {
        loop {
            let drained = self.drained.notified();
            if lock(&self.out).len() < UNREAD_EVENTS || self.credits.is_closed() {
                break;
            }
            drained.await;
        }
        self.send(kind, subject, body);
    }

    /// Sends an event to a channel of the worker's own, unless too much is unread.
    pub fn send_event(&self, channel: u64, body: &[u8]) -> bool {
        let mut out = lock(&self.out);
        let has_room = out.len() < UNREAD_EVENTS;
        if has_room {
            wire::put(&mut out, Down::Channel, channel, body);
            self.filled.notify_one();
        }
        has_room
    }

    /// Waits for leave to make a call; `None` once the worker is gone.
    pub async fn credit(&self) -> Option<Credit> {
        let permit = Arc::clone(&self.credits).acquire_owned().await.ok()?;
        Some(Credit::new(permit, &self.metrics))
    }

    /// Sets the receiver of answers for this socket. Returns `false` if the worker is gone, unless
    /// the mailbox has been told so.
    pub fn register(&self, socket: u64, mailbox: &Arc<Mailbox>) -> bool {
        lock(&self.sockets).insert(socket, Arc::clone(mailbox));
        !self.credits.is_closed() || lock(&self.sockets).remove(&socket).is_none()
    }

    /// Sockets that the worker has not let go of yet.
    #[must_use]
    pub fn sockets(&self) -> usize {
        lock(&self.sockets).len()
    }

    /// Returns `true` while the worker has something to do that it has begun.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.sockets() > 0 || self.exchanges.len() > 0
    }

    /// Lets go of a socket that the worker must not hold any longer.
    pub fn forget(&self, socket: u64) {
        if lock(&self.sockets).remove(&socket).is_some() {
            self.send(Down::Forget, socket, b"");
        }
    }

    /// Ends the connection once what is under way has been said.
    fn end(&self) {
        self.credits.close();
        self.requests.close();
        self.exchanges.end();
        self.drained.notify_waiters();
        for (_, mailbox) in lock(&self.sockets).drain() {
            mailbox.reply(WorkerReply::Lost);
        }
    }

    fn mailbox(&self, socket: u64) -> Option<Arc<Mailbox>> {
        lock(&self.sockets).get(&socket).cloned()
    }

    /// Puts what a worker says where it belongs.
    async fn hear(
        self: &Arc<Self>,
        host: &Arc<Host>,
        message: WorkerMessage,
    ) -> Result<(), LinkError> {
        let WorkerMessage { subject, what } = message;
        let reply = match what {
            What::Hello(_) => return Err(LinkError::Greeting),
            What::Pong => return Ok(()),
            What::Class(class) => return self.learn(host, subject, class),
            What::Serves(class) => match lock(&self.classes).known.get(&class) {
                Some(class) => WorkerReply::Class(Arc::clone(class)),
                None => return Ok(()),
            },
            What::Accept(accept) => WorkerReply::Accept(accept),
            What::Text(text) => WorkerReply::Frame(frame(OpCode::Text, |out| {
                out.extend_from_slice(&text);
            })),
            What::Binary(bytes) => WorkerReply::Frame(frame(OpCode::Binary, |out| {
                out.extend_from_slice(&bytes);
            })),
            What::Close { code, reason } => WorkerReply::Close { code, reason },
            What::Done => WorkerReply::Done,
            What::Ended { failed } => {
                let mailbox = lock(&self.sockets).remove(&subject);
                match mailbox {
                    Some(mailbox) => mailbox.reply(WorkerReply::Ended { failed }),
                    None => self.exchanges.ended(subject),
                }
                return Ok(());
            }
            What::State(state) => {
                if let Some(mailbox) = lock(&self.sockets).remove(&subject) {
                    mailbox.reply(WorkerReply::State(state));
                }
                return Ok(());
            }
            What::Refused(why) => WorkerReply::Refused(why),
            What::Response(_) | What::Body(_) | What::BodyEnd(_) | What::Taken(_) => {
                let heard = self.exchanges.hear(subject, what);
                return heard.map_err(|Overrun| LinkError::Overrun);
            }
            What::GroupAdd { .. }
            | What::GroupDiscard { .. }
            | What::GroupSend { .. }
            | What::Send { .. } => {
                // Not read any further until there is room.
                if let Ok(room) = Arc::clone(&self.requests).acquire_owned().await {
                    super::request::begin(host, self, subject, what, room);
                }
                return Ok(());
            }
        };
        if let Some(mailbox) = self.mailbox(subject) {
            mailbox.reply(reply);
        }
        Ok(())
    }

    fn learn(&self, host: &Host, number: u64, class: Class) -> Result<(), LinkError> {
        let mut classes = lock(&self.classes);
        classes.bytes += class.size();
        if classes.known.len() >= CLASSES || classes.bytes > CLASS_BYTES {
            return Err(LinkError::Classes);
        }
        let level = if !class.parked {
            Level::Awake
        } else if host.settings.hibernate {
            Level::Hibernated
        } else {
            Level::Parked
        };
        tracing::info!(
            worker = self.number,
            class = class.name,
            level = level.text(),
            why = class.why,
            "hosting"
        );
        classes.known.insert(number, Arc::new(class));
        Ok(())
    }

    async fn read(
        self: &Arc<Self>,
        host: &Arc<Host>,
        mut half: impl AsyncRead + Unpin,
        mut buffer: BytesMut,
    ) -> LinkError {
        let patience = host.call_timeout() + PING * 2;
        loop {
            loop {
                match wire::take(&mut buffer) {
                    Ok(Some(message)) => {
                        if let Err(error) = self.hear(host, message).await {
                            return error;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return error.into(),
                }
            }
            if buffer.is_empty() && buffer.capacity() > 16 * READ {
                buffer = BytesMut::new();
            }
            buffer.reserve(READ);
            match timeout(patience, half.read_buf(&mut buffer)).await {
                Err(_) => return LinkError::Silent,
                Ok(Ok(0)) => return LinkError::Closed,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
            }
        }
    }

    async fn write(&self, half: &mut (impl AsyncWrite + Unpin)) -> LinkError {
        loop {
            let bytes = lock(&self.out).split();
            if bytes.is_empty() {
                self.filled.notified().await;
            } else if let Err(error) = half.write_all(&bytes).await {
                return error.into();
            } else {
                self.drained.notify_waiters();
            }
        }
    }

    /// Sees that the worker reads and answers.
    async fn watch(&self) -> LinkError {
        let mut ticks = interval(PING);
        loop {
            ticks.tick().await;
            if lock(&self.out).len() > UNREAD {
                return LinkError::Unread;
            }
            self.send(Down::Ping, 0, b"");
        }
    }
}

/// Serves the connection of a worker to its end. With a `challenge` it must prove itself first.
pub async fn serve<R, W>(
    host: Arc<Host>,
    number: u64,
    (mut half, mut write): (R, W),
    challenge: Option<Challenge>,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let greeted = greeting::greet(&mut half, &mut write, challenge.as_ref()).await;
    let Greeted {
        hello,
        buffer,
        proof,
    } = match greeted {
        Ok(greeted) => greeted,
        Err(error) => return host.refused(&error),
    };
    if let Some(order) = &hello.order {
        return order::serve(&host, order, &mut write).await;
    }
    // One that has joined by TCP may be a process of another machine.
    let pid = challenge.is_none().then_some(hello.pid);
    let link = Arc::new(WorkerLink::new(number, hello, &host));
    link.send(Down::Welcome, 0, &greeting::welcome(&host, number, proof));
    host.joined(&link);
    let joined = Instant::now();
    let error = tokio::select! {
        error = link.read(&host, half, buffer) => error,
        error = link.write(&mut write) => error,
        error = link.watch() => error,
        () = host.stopped() => LinkError::Closed,
        () = link.dismissed.notified() => LinkError::Replaced,
    };
    link.end();
    host.left(&link, &error, joined.elapsed()).await;
    // One that does not see the end of the connection is killed.
    drop(write);
    let is_stuck = matches!(error, LinkError::Unread | LinkError::Silent);
    if let Some(pid) = pid {
        host.kill(pid, is_stuck);
    }
}
