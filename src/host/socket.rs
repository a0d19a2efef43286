//! One open socket that is hosted: reads, writes and keeps time as any other, and asks the worker.

mod farewell;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use fastwebsockets::OpCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf},
    time::{sleep_until, timeout},
};

use super::{
    calls::{Ask, Calls, Ready},
    event::Turn,
    mailbox::Reply,
    place::Place,
    wire::Class,
};
use crate::{
    app::App,
    clock::since_1970,
    limits::Seat,
    metrics::{Call, HostFailure},
    telemetry::request::{ACCESS, RequestId},
    ws::{
        ending::{Ending, GONE, shut_down},
        heartbeat::{Beat, Heartbeat},
        reader::{Incoming, Reader, Violation},
        session::Reason,
        writer::{Writer, close_frame, frame},
    },
};

/// Frames that may wait to be written; more stay in the mailbox, where they count.
const WRITING: usize = 64;

/// Answers to pings that may wait besides.
const ANSWERS: usize = 64;

/// The time over which the sockets of a worker that is gone are closed.
const SPREAD: Duration = Duration::from_secs(3);

/// The end of a socket.
struct End {
    /// For the metrics and the log.
    code: u16,
}

/// One open socket and everything it holds.
pub struct Hosted<S> {
    app: Arc<App>,
    place: Place,
    id: RequestId,
    /// Counts as an open socket until it is dropped.
    _seat: Seat,
    class: Option<Arc<Class>>,
    calls: Calls,
    heartbeat: Heartbeat,
    reader: Reader,
    writer: Writer,
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    /// Nothing more will come from the peer.
    lost: bool,
    ending: Option<Ending>,
    /// The worker is gone: when the socket is closed.
    leaving: Option<Instant>,
    /// The call under way.
    began: Option<(Call, Instant)>,
}

/// A part of [`SPREAD`], chosen at random, so that clients do not all come back at once.
fn a_while() -> Duration {
    let mut random = [0; 2];
    let _ = getrandom::fill(&mut random);
    SPREAD * u32::from(u16::from_be_bytes(random)) / u32::from(u16::MAX)
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Hosted<S> {
    /// A socket whose handshake is over: its class, if it is known, and whether the connect has
    /// returned. `received` came along with the handshake.
    pub fn new(
        app: Arc<App>,
        place: Place,
        (class, connected): (Option<Arc<Class>>, bool),
        (id, seat): (RequestId, Seat),
        stream: S,
        received: &[u8],
    ) -> Self {
        let limits = &app.config.ws;
        let heartbeat = Heartbeat::new(
            Duration::from_secs(limits.ping_interval_s),
            Duration::from_secs(limits.ping_timeout_s),
            Instant::now(),
        );
        let reader = Reader::new(BytesMut::from(received), limits.max_message_bytes);
        let (read, write) = tokio::io::split(stream);
        Hosted {
            app,
            place,
            id,
            _seat: seat,
            class,
            calls: if connected {
                Calls::default()
            } else {
                Calls::connecting()
            },
            heartbeat,
            reader,
            writer: Writer::default(),
            read,
            write,
            lost: false,
            ending: None,
            leaving: None,
            began: Some((Call::Connect, Instant::now())),
        }
    }

    /// Serves the socket to its end, and lets the application finish with it.
    pub async fn run(&mut self) {
        let (id, opened) = (self.id, Instant::now());
        self.app.metrics.socket_opened();
        let _open = self.app.metrics.host_socket();
        tracing::debug!(target: ACCESS, %id, socket = self.place.number, "hosted socket opened");
        let End { code } = self.serve().await;
        self.app.metrics.frames_out(&mut self.writer.news);
        self.app.metrics.socket_closed(code, opened.elapsed());
        tracing::debug!(target: ACCESS, %id, code, "hosted socket closed");
        let patience = self.place.host.call_timeout();
        if timeout(patience, self.finish()).await.is_err() {
            self.app.metrics.host_failure(HostFailure::Late);
            self.place.link.forget(self.place.number);
            self.place.ended();
        }
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
                shut_down(&mut self.read, &mut self.write).await;
                return self.end();
            }
            self.advance();
            let reading = !self.lost && self.has_room();
            let due = self.due().into();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            let is_open = self.ending.is_none();
            tokio::select! {
                () = self.place.mailbox.changed() => {}
                ready = self.calls.ready(), if is_open && self.calls.waits() => self.go_on(ready),
                read = self.reader.read_some(&mut self.read), if reading => match read {
                    Ok(0) | Err(_) => self.lost = true,
                    Ok(_) => self.heartbeat.heard(Instant::now()),
                },
                written = self.writer.write_some(&mut self.write), if !self.writer.is_empty() => {
                    self.app.metrics.frames_out(&mut self.writer.news);
                    if written.is_err() {
                        // All that the client said before is still read.
                        self.writer = Writer::default();
                    }
                }
                () = &mut timer => if let Some(end) = self.beat(reading) {
                    return end;
                },
                () = drain.reached(), if is_open => self.close(Reason::Restart.code(), ""),
            }
        }
    }

    /// Returns `true` if more is read from the peer.
    fn has_room(&self) -> bool {
        self.calls.has_room() && self.writer.len() < WRITING + ANSWERS
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
            self.close(Reason::Slow.code(), "");
        }
        while let Some(reply) = self.place.mailbox.take_reply(self.writer.len() < WRITING) {
            self.take_reply(reply);
        }
    }

    fn take_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Frame(frame) => {
                if let Some(duty) = self.calls.duty() {
                    duty.sent(&frame);
                }
                self.send(frame);
                return;
            }
            Reply::Done => {
                if let Some((call, began)) = self.began.take() {
                    self.app.metrics.host_ran(call, began.elapsed());
                }
                return self.calls.done();
            }
            _ => {}
        }
        if let Some(duty) = self.calls.duty() {
            duty.unfit();
        }
        match reply {
            Reply::Class(class) => self.class = Some(class),
            Reply::Close { code, reason } => self.close(code, &reason),
            Reply::Ended { failed } => {
                self.place.ended();
                self.calls.done();
                if failed {
                    self.app.metrics.host_failure(HostFailure::Exception);
                }
                // As Daphne: 1011 after an exception, 1000 after a return.
                self.close(if failed { Reason::Broken.code() } else { 1000 }, "");
            }
            Reply::Lost => {
                self.place.ended();
                self.calls.done();
                self.app.metrics.host_failure(HostFailure::Lost);
                self.leaving = Some(Instant::now() + a_while());
            }
            // An answer to a handshake that is over.
            Reply::Accept(_) | Reply::Frame(_) | Reply::Done => {}
        }
    }

    fn send(&mut self, frame: Bytes) {
        if self.ending.is_none() {
            self.writer.push(frame);
        }
    }

    /// Takes out of the buffer what has arrived whole.
    fn take_messages(&mut self) -> Option<End> {
        let end = loop {
            if !self.has_room() || self.ending.as_ref().is_some_and(|it| it.answered) {
                break None;
            }
            match self.reader.take_message() {
                Ok(Some(incoming)) => self.incoming(incoming),
                Ok(None) if self.lost => break Some(self.end()),
                Ok(None) => break None,
                Err(violation) => {
                    tracing::debug!(%violation, "socket dropped");
                    if violation != Violation::TooBig || self.ending.is_some() {
                        break Some(self.end());
                    }
                    // The rest has no meaning: no answer is waited for.
                    let code = Reason::TooBig.code();
                    self.end_with(close_frame(code), code, true);
                }
            }
        };
        self.app.metrics.frames_in(&mut self.reader.news);
        self.reader.give_back();
        end
    }

    fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Close(code) => {
                self.place.code = code;
                match &mut self.ending {
                    Some(ending) => ending.answered = true,
                    // Daphne answers every code with 1000.
                    None => self.end_with(close_frame(1000), code.unwrap_or(1000), true),
                }
            }
            _ if self.ending.is_some() => {}
            Incoming::Text(text) => self.calls.push(Ask::Text(text)),
            Incoming::Binary(bytes) => self.calls.push(Ask::Binary(bytes)),
            Incoming::Ping(payload) => {
                self.send(frame(OpCode::Pong, |out| out.extend_from_slice(&payload)));
            }
            Incoming::Pong => {}
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

    fn end_with(&mut self, goodbye: Bytes, code: u16, answered: bool) {
        self.writer.push(goodbye);
        let is_slow = self.place.mailbox.has_overflowed();
        self.ending = Some(Ending::new(code, answered, is_slow));
    }

    /// Goes on to the next call, as far as that takes no waiting.
    fn advance(&mut self) {
        while self.ending.is_none() && !self.place.ended && self.writer.len() < WRITING {
            let Some(ask) = self.calls.next(&self.place.mailbox) else {
                return;
            };
            let turn = match (ask, &self.class) {
                (Ask::Event(event), Some(class)) if self.place.host.settings.encode_once => {
                    let handler = event.handler();
                    let is_pure = handler.is_some_and(|it| class.once.iter().any(|one| one == it));
                    is_pure.then(|| event.turn(&class.source))
                }
                _ => None,
            };
            match turn {
                Some(Turn::Send(frames)) => {
                    self.app.metrics.host_rendered();
                    self.calls.skip();
                    for frame in &*frames {
                        self.send(frame.clone());
                    }
                }
                Some(Turn::Wait(rendered)) => return self.calls.wait_for(rendered),
                Some(Turn::Call(duty)) => return self.calls.wait(&self.place.link, Some(duty)),
                Some(Turn::Alone) | None => return self.calls.wait(&self.place.link, None),
            }
        }
    }

    fn go_on(&mut self, ready: Ready) {
        match ready {
            Ready::Credit(credit) => {
                let Some((ask, since)) = self.calls.begin() else {
                    return;
                };
                let kind = if matches!(ask, Ask::Event(_)) {
                    Call::Event
                } else {
                    Call::Frame
                };
                self.app.metrics.host_call(kind, since.elapsed());
                self.began = Some((kind, Instant::now()));
                self.place.mailbox.begin(credit);
                ask.send(&self.place.link, self.place.number);
            }
            // The mailbox tells of the worker's end.
            Ready::Rendered | Ready::Lost => {}
        }
    }

    /// When something is due.
    fn due(&self) -> Instant {
        if let Some(ending) = &self.ending {
            return ending.by;
        }
        let late = self.place.mailbox.calling_since();
        let late = late.map(|since| since + self.place.host.call_timeout());
        let beat = self.heartbeat.due();
        [late, self.leaving]
            .into_iter()
            .flatten()
            .fold(beat, Instant::min)
    }

    fn beat(&mut self, reading: bool) -> Option<End> {
        if self.ending.is_some() {
            return Some(self.end());
        }
        let now = Instant::now();
        if self.leaving.is_some_and(|at| at <= now) {
            self.close(Reason::Restart.code(), "");
            return None;
        }
        let timeout = self.place.host.call_timeout();
        if let Some(since) = self.place.mailbox.calling_since()
            && since + timeout <= now
        {
            let socket = self.place.number;
            tracing::warn!(socket, ?timeout, "a worker took too long for a call");
            self.app.metrics.host_failure(HostFailure::Late);
            self.place.ended();
            if let Some(duty) = self.calls.duty() {
                duty.unfit();
            }
            self.calls.done();
            self.place.link.forget(socket);
            self.close(Reason::Broken.code(), "");
            return None;
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
            Beat::Dead => return Some(self.end()),
            Beat::Old => self.close(Reason::Age.code(), ""),
        }
        None
    }
}
