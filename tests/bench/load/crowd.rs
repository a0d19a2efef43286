//! Many open sockets, read by one thread.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket as Raw, Type};

use super::wire::{self, Spoken};

/// Sockets that may come from one address before the next is taken: each has ports of its own.
pub const EACH: usize = 4000;

/// The longest that a slow server may take to open one socket.
const PATIENCE: Duration = Duration::from_secs(60);

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a socket has heard.
pub struct Heard {
    pub socket: usize,
    /// The number of the message.
    pub number: usize,
}

pub struct Crowd {
    to: SocketAddr,
    spoken: Spoken,
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    room: Vec<u8>,
    pub pings: usize,
    /// Sockets that the server has ended.
    pub ended: usize,
}

struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    unread: Vec<u8>,
    /// What the system has not taken yet.
    unsent: Vec<u8>,
    ended: bool,
}

impl Crowd {
    pub fn new(to: SocketAddr, spoken: Spoken) -> Self {
        Crowd {
            to,
            spoken,
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1024),
            sockets: Vec::new(),
            room: vec![0; 256 * 1024],
            pings: 0,
            ended: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Opens a socket, which may come back `after` a cursor, and waits for what comes first.
    pub fn open(&mut self, conversation: &str, after: &str) {
        let number = self.sockets.len();
        let mut stream = connect(self.to, number);
        let opening = self.spoken.opening(conversation, after);
        stream.write_all(&opening).unwrap();
        let unread = past_first(&mut stream, self.spoken.first_messages());
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry
            .register(&mut stream, Token(number), interest)
            .unwrap();
        self.sockets.push(Socket {
            stream,
            unread,
            unsent: Vec::new(),
            ended: false,
        });
        // Those that were opened before may have been pinged meanwhile.
        if number.is_multiple_of(64) {
            self.turn(Duration::ZERO, &mut Vec::new());
        }
    }

    pub fn send(&mut self, socket: usize, frame: &[u8]) {
        self.sockets[socket].send(frame);
    }

    /// Reads what has come, and waits for it if there is nothing, but not longer than that.
    pub fn turn(&mut self, longest: Duration, heard: &mut Vec<Heard>) {
        match self.poll.poll(&mut self.events, Some(longest)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            polled => polled.unwrap(),
        }
        for event in &self.events {
            let Token(number) = event.token();
            let socket = &mut self.sockets[number];
            if event.is_writable() && !socket.unsent.is_empty() {
                let rest = std::mem::take(&mut socket.unsent);
                socket.send(&rest);
            }
            if event.is_readable() && !socket.ended {
                self.pings += socket.read(number, &mut self.room, heard);
                self.ended += usize::from(socket.ended);
            }
        }
    }

    /// Listens and answers pings until then.
    pub fn rest(&mut self, until: Instant) {
        let mut heard = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.turn(left, &mut heard);
            heard.clear();
        }
    }
}

impl Socket {
    fn send(&mut self, frame: &[u8]) {
        let written = if self.unsent.is_empty() {
            // What went wrong is told by the reading side.
            self.stream.write(frame).unwrap_or(0)
        } else {
            0
        };
        self.unsent.extend(&frame[written..]);
    }

    /// Returns how many pings there were.
    fn read(&mut self, number: usize, room: &mut [u8], heard: &mut Vec<Heard>) -> usize {
        let mut pings = 0;
        loop {
            let size = match self.stream.read(room) {
                Ok(0) => {
                    self.ended = true;
                    return pings;
                }
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return pings,
                Err(_) => {
                    self.ended = true;
                    return pings;
                }
            };
            if self.unread.is_empty() {
                let used = self.take(number, &room[..size], heard, &mut pings);
                self.unread.extend(&room[used..size]);
            } else {
                let mut all = std::mem::take(&mut self.unread);
                all.extend(&room[..size]);
                let used = self.take(number, &all, heard, &mut pings);
                self.unread.extend(&all[used..]);
            }
            // After less than was asked for, the next byte is an event of its own: epoll(7).
            if size < room.len() {
                return pings;
            }
        }
    }

    /// Takes whole frames; returns how many bytes they were.
    fn take(
        &mut self,
        socket: usize,
        bytes: &[u8],
        heard: &mut Vec<Heard>,
        pings: &mut usize,
    ) -> usize {
        let mut used = 0;
        while let Some((frame, size)) = wire::frame(&bytes[used..]) {
            used += size;
            match frame.opcode {
                PING => {
                    *pings += 1;
                    let pong = wire::masked(PONG, frame.payload);
                    self.send(&pong);
                }
                CLOSE => self.ended = true,
                _ => {
                    let numbers = wire::numbers(frame.payload);
                    heard.extend(numbers.map(|number| Heard { socket, number }));
                }
            }
        }
        used
    }
}

/// A connection from one of several loopback addresses.
pub fn connect(to: SocketAddr, number: usize) -> std::net::TcpStream {
    let raw = Raw::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    raw.set_reuse_address(true).unwrap();
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number / EACH).unwrap());
    raw.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    raw.set_tcp_nodelay(true).unwrap();
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    raw.connect(&to.into()).unwrap();
    raw.into()
}

/// Reads the answer to the handshake and so many messages; returns what came after them.
fn past_first(stream: &mut std::net::TcpStream, mut messages: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut room = [0; 16 * 1024];
    let mut start = None;
    loop {
        let size = stream.read(&mut room).unwrap();
        assert!(size > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend(&room[..size]);
        if start.is_none() {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            start = end.map(|end| end + 4);
            let answer = String::from_utf8_lossy(&bytes[..bytes.len().min(12)]);
            assert_eq!(answer, "HTTP/1.1 101");
        }
        while let Some(at) = start {
            if messages == 0 {
                return bytes.split_off(at);
            }
            let Some((frame, size)) = wire::frame(&bytes[at..]) else {
                break;
            };
            messages -= usize::from(frame.last);
            start = Some(at + size);
        }
    }
}
