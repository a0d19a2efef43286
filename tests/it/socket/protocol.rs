//! The cases of Autobahn's test suite, each a row of `tests/protocol/autobahn.txt`: bytes to a
//! socket, and what must come back. That file says how a row is read.

use serde_json::Value;

use crate::support::{
    Server, Socket,
    socket::{CLOSE, PING, PONG, TEXT, frame, frame_with},
};

const TABLE: &str = include_str!("../../protocol/autobahn.txt");

/// What stands around the text of a typing frame.
const BEFORE: &[u8] = br#"{"type": "typing", "user_id": ""#;
const AFTER: &[u8] = br#""}"#;

/// A row, its frames as bytes.
#[derive(Default)]
struct Case {
    name: &'static str,
    cut: &'static str,
    frames: Vec<Vec<u8>>,
    /// The texts of its typing frames, in their order.
    texts: Vec<Vec<u8>>,
    /// What its pings carry.
    pings: Vec<Vec<u8>>,
    answers: Vec<&'static str>,
    /// True if the first answer may be missing.
    optional: bool,
}

/// How often, and what: `10*pong` or `100x81:=text`.
fn times(text: &str, sign: char) -> (usize, &str) {
    let counted = text.split_once(sign);
    let counted = counted.and_then(|(times, rest)| Some((times.parse().ok()?, rest)));
    counted.unwrap_or((1, text))
}

impl Case {
    fn read(line: &'static str) -> Self {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, cut, frames, answers] = columns[..] else {
            panic!("{line}")
        };
        let mut case = Case {
            name,
            cut,
            optional: answers.contains('?'),
            ..Case::default()
        };
        // The text of a typing frame that is not at its end.
        let mut begun = Vec::new();
        for text in frames.split(' ') {
            let (count, text) = times(text, 'x');
            for _ in 0..count {
                case.add(text, &mut begun);
            }
        }
        for answer in answers.split(' ') {
            let (count, answer) = times(answer, '*');
            let answer = answer.trim_end_matches('?');
            case.answers.extend(std::iter::repeat_n(answer, count));
        }
        case
    }

    fn add(&mut self, text: &str, begun: &mut Vec<u8>) {
        let (head, payload) = text.split_once(':').unwrap();
        let (first, size) = head.split_once('/').unwrap_or((head, ""));
        let first = u8::from_str_radix(first, 16).unwrap();
        let is_control = first & 0x08 != 0;
        let mut bytes = Vec::new();
        for part in payload.split(',').filter(|part| !part.is_empty()) {
            let more = match part {
                "{" => {
                    begun.clear();
                    BEFORE.to_vec()
                }
                "}" => {
                    self.texts.push(begun.clone());
                    AFTER.to_vec()
                }
                text => {
                    let more = part_bytes(text);
                    if !is_control {
                        begun.extend(&more);
                    }
                    more
                }
            };
            bytes.extend(more);
        }
        if first & 0x0f == PING {
            self.pings.push(bytes.clone());
        }
        let size: usize = size.parse().unwrap_or(usize::MAX);
        let count = bytes.len().div_ceil(size).max(1);
        for number in 0..count {
            let piece = &bytes[number * size..bytes.len().min((number + 1).saturating_mul(size))];
            let opcode = if number == 0 { first & 0x7f } else { 0 };
            let fin = if number + 1 == count { first & 0x80 } else { 0 };
            self.frames.push(frame_with(fin | opcode, piece));
        }
    }

    /// Sends what the row says and compares what comes.
    async fn play(&self, server: &Server) {
        let id = server.conversation_of(self.name, "nobody").await;
        let mut socket = server.socket(&id).await;
        let mut heard = Vec::new();
        if self.cut == "turn" {
            for frame in &self.frames {
                socket.connection.push(frame).await;
                heard.push(self.next(&mut socket, &heard).await);
            }
        } else {
            self.send(&mut socket).await;
        }
        let last = self.answers.last().copied().unwrap_or_default();
        let ends = !matches!(last, "echo" | "pong" | "error");
        let is_over = |heard: &[String]| ends && heard.last().is_some_and(|it| it == last);
        while heard.len() < self.answers.len() && !is_over(&heard) {
            heard.push(self.next(&mut socket, &heard).await);
        }
        let first = usize::from(self.optional);
        assert!(
            heard == self.answers || heard == self.answers[first..],
            "{}: {heard:?} instead of {:?}",
            self.name,
            self.answers
        );
        if !ends {
            socket.connection.send(frame(CLOSE, [3, 232])).await;
            assert_eq!(socket.close_code().await, 1000, "{}", self.name);
        }
        if last != "drop" {
            socket.ended().await;
        }
    }

    /// The server may have ended the connection before all of it is sent.
    async fn send(&self, socket: &mut Socket) {
        match self.cut {
            "-" => socket.connection.push(self.frames.concat()).await,
            "frame" => {
                for frame in &self.frames {
                    socket.connection.push(frame).await;
                    tokio::task::yield_now().await;
                }
            }
            size => {
                for piece in self.frames.concat().chunks(size.parse().unwrap()) {
                    socket.connection.push(piece).await;
                }
            }
        }
    }

    /// The next answer in the table's word for it; one that is not as it should be in more words.
    async fn next(&self, socket: &mut Socket, heard: &[String]) -> String {
        let Some(frame) = socket.next().await else {
            return "drop".into();
        };
        let count = |word: &str| heard.iter().filter(|it| *it == word).count();
        match frame.opcode {
            CLOSE => frame.close_code().to_string(),
            PONG if self.pings.get(count("pong")) == Some(&frame.payload) => "pong".into(),
            TEXT => {
                let value: Value = serde_json::from_slice(&frame.payload).unwrap();
                let text = value["user_id"].as_str().map(str::as_bytes);
                match self.texts.get(count("echo")) {
                    _ if value["error"].is_string() => "error".into(),
                    Some(own) if text == Some(own) => "echo".into(),
                    _ => format!("another text of {} bytes", frame.payload.len()),
                }
            }
            _ => format!("{frame:?}"),
        }
    }
}

/// `*N`, `~N`, `=TEXT` or `0xHEX`.
fn part_bytes(part: &str) -> Vec<u8> {
    let number = || part[1..].parse().unwrap();
    match part.as_bytes()[0] {
        b'*' => vec![b'*'; number()],
        b'~' => vec![0xfe; number()],
        b'=' => part.as_bytes()[1..].to_vec(),
        _ => {
            let digits = part.strip_prefix("0x").unwrap();
            let bytes = (0..digits.len()).step_by(2);
            bytes
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect()
        }
    }
}

/// The rows of some sections, `1` for all of `1.1.1` to `1.2.8`.
fn rows(sections: &[&str]) -> Vec<&'static str> {
    let rows = TABLE.lines().filter(|line| {
        let section = line.split_once('.').map(|(section, _)| section);
        section.is_some_and(|section| sections.contains(&section))
    });
    rows.collect()
}

async fn play(sections: &[&str]) {
    let settings = [
        ("ws.max_message_bytes", "20000000"),
        ("ws.frames_per_s", "0"),
    ];
    let server = Server::with(&settings).await;
    for row in rows(sections) {
        Case::read(row).play(&server).await;
    }
}

#[tokio::test]
async fn autobahn_1_framing() {
    play(&["1"]).await;
}

#[tokio::test]
async fn autobahn_2_pings_and_pongs() {
    play(&["2"]).await;
}

#[tokio::test]
async fn autobahn_3_and_4_reserved_bits_and_opcodes() {
    play(&["3", "4"]).await;
}

#[tokio::test]
async fn autobahn_5_fragmentation() {
    play(&["5"]).await;
}

#[tokio::test]
async fn autobahn_6_utf8() {
    play(&["6"]).await;
}

#[tokio::test]
async fn autobahn_7_closing() {
    play(&["7"]).await;
}

#[tokio::test]
async fn autobahn_9_and_10_limits() {
    play(&["9", "10"]).await;
}

#[test]
fn every_case_of_the_table_is_played() {
    let all = ["1", "2", "3", "4", "5", "6", "7", "9", "10"];
    assert_eq!(rows(&all).len(), 303);
    let others = TABLE.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(others.filter(|line| !line.is_empty()).count(), 303);
}
