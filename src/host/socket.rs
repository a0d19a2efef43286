//! One open socket that is hosted: reads, writes and keeps time as any other, and asks the worker.

mod calling;
mod farewell;
mod reading;
mod resting;
mod timing;

use std::{
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use fastwebsockets::OpCode;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::{sleep_until, timeout},
};
use tracing::{Level, field::display};

use self::resting::Rest;
use super::{calls::Calls, mailbox::WorkerReply, place::WorkerPlace, wire::Class};
use crate::{
    app::App,
    limits::SocketSeat,
    metrics::{Call, HeldGauge, HostFailure, SecurityEvent},
    random,
    telemetry::{
        request::{ACCESS, RequestId, shown_path},
        security::{self, SecurityFinding},
    },
    ws::{
        budget::{Budget, TURN},
        ending::{Ending, GONE, shut_down},
        heartbeat::Heartbeat,
        reader::Reader,
        session::Reason,
        transfer::{Transferred, transfer},
        writer::{Writer, frame},
    },
};

/// Frames that may wait to be written; more stay in the mailbox, where they count.
const WRITING: usize = 64;

/// Their bytes past which no more are taken out of the mailbox.
const WRITING_BYTES: usize = 64 << 10;

/// Answers to pings that may wait besides.
const ANSWERS: usize = 64;

/// The time over which the sockets of a worker that is gone are closed.
pub const SPREAD: Duration = Duration::from_secs(3);

/// The end of a socket.
struct End {
    /// For the metrics and the log.
    code: u16,
}

/// The handshake: what the socket is called in the log.
pub struct HostedName {
    pub id: RequestId,
    /// The address of the client.
    pub client: Option<IpAddr>,
    /// As it was asked for, without a query, or its beginning; logs show [`shown_path`].
    pub path: Box<str>,
}

/// One open socket and everything it holds.
pub struct Hosted<S> {
    app: Arc<App>,
    place: WorkerPlace,
    name: HostedName,
    /// Counts as an open socket until it is dropped.
    _seat: SocketSeat,
    class: Option<Arc<Class>>,
    /// Counts it among those of its level, and of its class at that level.
    level: Option<(HeldGauge, HeldGauge)>,
    calls: Calls,
    rest: Rest,
    heartbeat: Heartbeat,
    budget: Budget,
    /// Frames read since other sockets had their turn.
    turn: u32,
    reader: Reader,
    writer: Writer,
    stream: S,
    /// Nothing more will come from the peer.
    lost: bool,
    ending: Option<Ending>,
    /// When the socket is closed, as its worker is gone or its path another's.
    leaving: Option<Instant>,
    /// The call under way.
    began: Option<(Call, Instant)>,
}

/// Returns a part of [`SPREAD`], chosen at random, so that clients do not all come back at once.
fn a_while() -> Duration {
    SPREAD.mul_f64(random::fraction())
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Hosted<S> {
    /// A socket whose handshake is over: its class, if it is known, and whether the connect has
    /// returned. `received` came along with the handshake.
    pub fn new(
        app: Arc<App>,
        place: WorkerPlace,
        (class, connected): (Option<Arc<Class>>, bool),
        (name, seat): (HostedName, SocketSeat),
        stream: S,
        received: &[u8],
    ) -> Self {
        let (limits, now) = (&app.config.ws, Instant::now());
        let heartbeat = Heartbeat::new(
            Duration::from_secs(limits.ping_interval_s),
            Duration::from_secs(limits.ping_timeout_s),
            now,
        );
        let reader = Reader::new(BytesMut::from(received), limits.max_message_bytes);
        Hosted {
            app,
            place,
            name,
            _seat: seat,
            class,
            level: None,
            rest: Rest::new(now),
            calls: if connected {
                Calls::default()
            } else {
                Calls::connecting()
            },
            heartbeat,
            budget: Budget::new(now),
            turn: 0,
            reader,
            writer: Writer::default(),
            stream,
            lost: false,
            ending: None,
            leaving: None,
            began: Some((Call::Connect, now)),
        }
    }

    /// Serves the socket to its end, and lets the application finish with it.
    pub async fn run(&mut self) {
        let opened = Instant::now();
        self.app.metrics.socket_opened();
        let _open = self.app.metrics.host_socket();
        self.count_level();
        self.log(None);
        let End { code } = self.serve().await;
        self.app.metrics.frames_out(&mut self.writer.news);
        self.app.metrics.socket_closed(code, opened.elapsed());
        self.log(Some(code));
        let patience = self.place.host.call_timeout();
        if timeout(patience, self.finish()).await.is_err() {
            self.app.metrics.host_failure(HostFailure::Late);
            self.place.link.forget(self.place.number);
            self.place.ended();
        }
    }

    /// Writes the line that the socket is open, or has ended with a code.
    fn log(&self, code: Option<u16>) {
        if !tracing::enabled!(target: ACCESS, Level::DEBUG) {
            return;
        }
        let HostedName { id, client, path } = &self.name;
        let _within = id.socket().entered();
        let (client, socket) = (client.map(display), self.place.number);
        let path = &*shown_path(path);
        let what = if code.is_none() { "opened" } else { "closed" };
        tracing::debug!(target: ACCESS, socket, code, client, path, "hosted socket {what}");
    }

    /// Writes a line of the security log.
    fn note(&self, event: SecurityEvent, reason: &str) {
        self.app.audit.note(&SecurityFinding {
            event,
            reason,
            client: self.name.client,
            user: None,
            place: security::AuditPlace::Path(&shown_path(&self.name.path)),
        });
    }

    async fn serve(&mut self) -> End {
        let mut drain = self.app.drain.subscribe();
        let mut timer = pin!(sleep_until(self.due().into()));
        loop {
            self.take_replies();
            if let Some(end) = self.take_messages() {
                return end;
            }
            if self.ending.as_ref().is_some_and(|it| it.answered) && self.writer.is_empty() {
                shut_down(&mut self.stream).await;
                return self.end();
            }
            if self.turn >= TURN {
                self.turn = 0;
                yield_now().await;
            }
            self.advance();
            let reading = !self.lost && self.has_room();
            let due = self.due().into();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            let is_open = self.ending.is_none();
            let writing = !self.writer.is_empty();
            tokio::select! {
                () = self.place.mailbox.changed() => {}
                ready = self.calls.ready(), if is_open && self.calls.waits() => self.go_on(ready),
                done = transfer(
                    &mut self.stream,
                    reading.then_some(&mut self.reader),
                    writing.then_some(&mut self.writer),
                ), if reading || writing => self.transferred(done),
                () = &mut timer => if let Some(end) = self.beat(reading) {
                    return end;
                },
                () = drain.reached(), if is_open => self.leave(Reason::Restart),
            }
        }
    }

    /// Notes what has been read and written.
    fn transferred(&mut self, done: Transferred) {
        let (heartbeat, writer) = (&mut self.heartbeat, &mut self.writer);
        self.lost |= done.note(heartbeat, writer, &self.app.metrics);
    }

    fn end(&self) -> End {
        End {
            code: self.ending.as_ref().map_or(GONE, |ending| ending.code),
        }
    }

    /// Takes over what the worker has answered.
    fn take_replies(&mut self) {
        if self.place.mailbox.has_overflowed() && self.ending.is_none() {
            self.app.metrics.slow_consumers(1);
            self.leave(Reason::Slow);
        }
        while let Some(reply) = self.place.mailbox.take_reply(!self.is_full()) {
            self.take_reply(reply);
        }
    }

    fn take_reply(&mut self, reply: WorkerReply) {
        match reply {
            WorkerReply::Frame(frame) => {
                if let Some(duty) = self.calls.duty() {
                    duty.sent(&frame);
                }
                self.send(frame);
                return;
            }
            WorkerReply::Done => {
                let began = self.began.take();
                if let Some((call, began)) = began {
                    self.app.metrics.host_ran(call, began.elapsed());
                    if call == Call::Wake {
                        self.woken();
                    }
                }
                self.rest.called();
                return self.calls.done();
            }
            WorkerReply::State(state) => return self.slept(state),
            WorkerReply::Refused(why) => return self.refused(&why),
            WorkerReply::Lost if self.lost_awaking() => return,
            WorkerReply::Rerouted => return self.rerouted(),
            _ => {}
        }
        if let Some(duty) = self.calls.duty() {
            duty.unfit();
        }
        match reply {
            WorkerReply::Class(class) => {
                self.class = Some(class);
                self.count_level();
            }
            WorkerReply::Close { code, reason } => self.close(code, &reason),
            WorkerReply::Ended { failed } => {
                self.place.ended();
                self.calls.done();
                if failed {
                    let class = self.class.as_ref().map_or("", |class| &class.name);
                    self.app.metrics.host_exception(class);
                }
                // As Daphne: 1011 after an exception, 1000 after a return.
                self.close(if failed { Reason::Broken.code() } else { 1000 }, "");
            }
            WorkerReply::Lost => {
                self.place.ended();
                self.calls.done();
                self.app.metrics.host_failure(HostFailure::Lost);
                self.leaving = Some(Instant::now() + a_while());
            }
            // An answer to a handshake that is over.
            WorkerReply::Accept(_)
            | WorkerReply::Frame(_)
            | WorkerReply::Done
            | WorkerReply::State(_)
            | WorkerReply::Refused(_)
            | WorkerReply::Rerouted => {}
        }
    }

    /// Other paths than before are the application's: closes the socket in its turn if its path is
    /// not among them.
    fn rerouted(&mut self) {
        let routes = self.place.host.routes();
        let uri = self.name.path.parse();
        if uri.is_ok_and(|uri| !routes.serves(&uri, self.name.client)) {
            self.leaving
                .get_or_insert_with(|| Instant::now() + a_while());
        }
    }

    /// Returns `true` if the client has to read before there is more for it.
    fn is_full(&self) -> bool {
        self.writer.len() >= WRITING || self.writer.bytes() >= WRITING_BYTES
    }

    fn send(&mut self, frame: Bytes) {
        if self.ending.is_none() {
            self.writer.push(frame);
        }
    }

    /// Begins the end with a close frame, unless it has begun.
    fn close(&mut self, code: u16, reason: &str) {
        if self.ending.is_some() {
            return;
        }
        let goodbye = frame(OpCode::Close, |out| {
            out.extend(code.to_be_bytes());
            out.extend_from_slice(reason.as_bytes());
        });
        self.end_with(goodbye, code, false);
    }

    /// Begins the end for a reason of ours, unless it has begun.
    fn leave(&mut self, reason: Reason) {
        if reason.is_noted() && self.ending.is_none() {
            self.note(SecurityEvent::Closed, reason.word());
        }
        self.close(reason.code(), "");
    }

    fn end_with(&mut self, goodbye: Bytes, code: u16, answered: bool) {
        self.writer.push(goodbye);
        let is_slow = self.place.mailbox.has_overflowed();
        self.ending = Some(Ending::new(code, answered, is_slow));
    }
}
