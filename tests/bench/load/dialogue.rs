//! One question and one answer, again and again, in several places at once: sockets that come,
//! read their history and go; and REST.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde_json::{Value, json};

use super::{
    crowd::{EACH, connect},
    options::Options,
    process,
    wire::{self, Spoken},
};

/// A question that is not answered in this time has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fewer answers are no figure: a slow server is given more time.
const LEAST: u32 = 40;

/// What is asked, and how the end of the answer is known.
struct Dialogue {
    /// Asked in turn.
    questions: Vec<Vec<u8>>,
    /// True if it is answered, and as it should be.
    answered: fn(&[u8], usize) -> Option<bool>,
    /// What stands in a good answer so many times.
    wanted: usize,
    /// Said at the end, on a connection that is not used again.
    goodbye: Option<Vec<u8>>,
}

/// Sockets are opened and closed, each after its first page of `--history` messages: of
/// `--conversation`, or of several with commas between them. Clients of `chatferry.v1` come back
/// `--after` a cursor if there is one.
pub fn come(options: &Options) -> Value {
    let conversations = options.text("conversation").split(',');
    let (spoken, after) = (options.spoken(), options.text("after"));
    let dialogue = Dialogue {
        questions: conversations.map(|id| spoken.opening(id, after)).collect(),
        answered: match spoken {
            Spoken::Django => history_is_there,
            Spoken::Native => page_is_there,
            Spoken::Tutorial => socket_is_there,
        },
        wanted: options.number("history", 0),
        goodbye: Some(wire::masked(8, &1000u16.to_be_bytes())),
    };
    hold_dialogues(options, &dialogue)
}

/// `--path` is read on connections that stay open.
pub fn ask(options: &Options) -> Value {
    let dialogue = Dialogue {
        questions: vec![wire::get(options.text("path"))],
        answered: answer_is_there,
        wanted: options.number("history", 0),
        goodbye: None,
    };
    hold_dialogues(options, &dialogue)
}

/// Loopback addresses that connections come from.
const ADDRESSES: usize = 64;

struct Place {
    stream: TcpStream,
    /// Its number among all connections.
    nth: usize,
    answer: Vec<u8>,
    asked: bool,
    since: Instant,
}

fn hold_dialogues(options: &Options, dialogue: &Dialogue) -> Value {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(256);
    let mut room = vec![0; 256 * 1024];
    let (to, pids) = (options.to(), options.pids());
    let mut places: Vec<Place> = (0..options.number("at-once", 16))
        .map(|number| Place::new(to, number, number, &poll))
        .collect();
    let (mut good, mut bad, mut opened) = (0_u32, 0_u32, places.len());
    let (began, cpu) = (Instant::now(), process::cpu_s(&pids));
    let is_over = |answers: u32| {
        let elapsed = began.elapsed();
        elapsed > options.duration() && (answers >= LEAST || elapsed > PATIENCE)
    };
    while !is_over(good + bad) {
        let polled = poll.poll(&mut events, Some(Duration::from_millis(50)));
        if polled.is_err_and(|error| error.kind() != ErrorKind::Interrupted) {
            break;
        }
        for event in &events {
            let Token(number) = event.token();
            let place = &mut places[number];
            let outcome = match place.go_on(dialogue, &mut room) {
                None if place.since.elapsed() > PATIENCE => Some(false),
                outcome => outcome,
            };
            match outcome {
                None => continue,
                Some(true) => good += 1,
                Some(false) => bad += 1,
            }
            if outcome == Some(false) || dialogue.goodbye.is_some() {
                *place = Place::new(to, number, opened, &poll);
                opened += 1;
            } else {
                place.ask_again(dialogue);
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    json!({
        "seconds": seconds,
        "answers": good,
        "failed": bad,
        "cpu_s": process::cpu_s(&pids) - cpu,
    })
}

impl Place {
    /// A connection; of all of them it is the `nth`.
    fn new(to: SocketAddr, number: usize, nth: usize, poll: &Poll) -> Self {
        // Ports of connections that have ended are not free for a while.
        let stream = connect(to, nth % ADDRESSES * EACH);
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = poll.registry();
        registry
            .register(&mut stream, Token(number), interest)
            .unwrap();
        Place {
            stream,
            nth,
            answer: Vec::new(),
            asked: false,
            since: Instant::now(),
        }
    }

    fn ask_again(&mut self, dialogue: &Dialogue) {
        self.answer.clear();
        self.since = Instant::now();
        let question = &dialogue.questions[self.nth % dialogue.questions.len()];
        self.asked = self.stream.write(question).is_ok();
    }

    /// Returns whether the answer is there, and is good.
    fn go_on(&mut self, dialogue: &Dialogue, room: &mut [u8]) -> Option<bool> {
        if !self.asked {
            self.ask_again(dialogue);
        }
        loop {
            match self.stream.read(room) {
                Ok(0) => return Some(false),
                Ok(size) => self.answer.extend(&room[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Some(false),
            }
        }
        let outcome = (dialogue.answered)(&self.answer, dialogue.wanted)?;
        if let Some(goodbye) = &dialogue.goodbye {
            let _ = self.stream.write(goodbye);
        }
        Some(outcome)
    }
}

fn body(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&answer[..end + 2], &answer[end + 4..]))
}

/// The whole history of a socket, with so many messages in it.
fn history_is_there(answer: &[u8], wanted: usize) -> Option<bool> {
    first_is_there(answer, Spoken::Django.first_messages(), wanted)
}

/// The whole first page of a socket, likewise.
fn page_is_there(answer: &[u8], wanted: usize) -> Option<bool> {
    first_is_there(answer, Spoken::Native.first_messages(), wanted)
}

/// A socket that is open, and gets nothing first.
fn socket_is_there(answer: &[u8], wanted: usize) -> Option<bool> {
    first_is_there(answer, Spoken::Tutorial.first_messages(), wanted)
}

fn first_is_there(answer: &[u8], mut first: usize, wanted: usize) -> Option<bool> {
    let (head, mut rest) = body(answer)?;
    if !head.starts_with(b"HTTP/1.1 101") {
        return Some(false);
    }
    let mut messages = 0;
    while first > 0 {
        let (frame, size) = wire::frame(rest)?;
        messages += wire::numbers(frame.payload).count();
        first -= usize::from(frame.last);
        rest = &rest[size..];
    }
    Some(messages == wanted)
}

/// The whole answer to a request, with at least so many messages in it.
fn answer_is_there(answer: &[u8], wanted: usize) -> Option<bool> {
    let (head, body) = body(answer)?;
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1);
    let is_there = match length.and_then(|length| length.lines().next()?.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"\r\n0\r\n\r\n") || body.starts_with(b"0\r\n\r\n"),
    };
    let good = || text.starts_with("http/1.1 200") && wire::numbers(body).count() >= wanted;
    is_there.then(good)
}
