//! Bytes: the handshake, frames from and to the client, and the number that each message carries.

use uuid::Uuid;

/// Stands before and after the number of a message, and nowhere else in what is said.
const MARK: u8 = b'#';
const DIGITS: usize = 8;

const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The length is in the next two bytes.
const LONG: u8 = 126;

/// A frame of the server.
pub struct Frame<'a> {
    pub last: bool,
    pub opcode: u8,
    pub payload: &'a [u8],
}

/// The frame at the beginning, if it is there to its end, and its size in bytes.
pub fn frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (size, length) = match second {
        &LONG => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).unwrap(),
        ),
        short => (2, usize::from(*short)),
    };
    let frame = Frame {
        last: first & LAST != 0,
        opcode: first & 0x0f,
        payload: bytes.get(size..size + length)?,
    };
    Some((frame, size + length))
}

/// A frame of a client, with the key 0, which changes nothing.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(opcode, MASKED, payload.len());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// A frame of a server.
pub fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(opcode, 0, payload.len());
    bytes.extend(payload);
    bytes
}

/// The head of a whole message of less than 64 KiB.
fn head(opcode: u8, mask: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap();
    if let Ok(short @ ..LONG) = u8::try_from(length) {
        return vec![LAST | opcode, mask | short];
    }
    let [high, low] = length.to_be_bytes();
    vec![LAST | opcode, mask | LONG, high, low]
}

/// The protocol that sockets speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    Django,
    /// `chatferry.v1`
    Native,
    /// The chat of Channels' tutorial, whose conversations are rooms by name.
    Tutorial,
}

impl Spoken {
    /// The bytes that open a socket in a conversation. A client of `chatferry.v1` enters it at once,
    /// and comes back `after` a cursor if there is one.
    pub fn opening(self, conversation: &str, after: &str) -> Vec<u8> {
        let (offer, entering) = match self {
            Spoken::Django | Spoken::Tutorial => ("", Vec::new()),
            Spoken::Native => {
                let offer = "Sec-WebSocket-Protocol: chatferry.v1\r\n";
                let after = match after {
                    "" => String::new(),
                    after => format!(r#", "after": "{after}""#),
                };
                let frame =
                    format!(r#"{{"type": "subscribe", "conversation": "{conversation}"{after}}}"#);
                (offer, masked(1, frame.as_bytes()))
            }
        };
        let directory = match self {
            Spoken::Django | Spoken::Native => "chat/",
            Spoken::Tutorial => "",
        };
        let mut bytes = format!(
            "GET /ws/{directory}{conversation}/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n{offer}\r\n"
        )
        .into_bytes();
        bytes.extend(entering);
        bytes
    }

    /// Messages of the server before what is said live: the history, or a greeting and the first page.
    pub fn first_messages(self) -> usize {
        match self {
            Spoken::Django => 1,
            Spoken::Native => 2,
            Spoken::Tutorial => 0,
        }
    }
}

/// A request on a connection that stays open.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
        .into_bytes()
}

/// A message whose number is still to be written into it.
pub struct Template {
    frame: Vec<u8>,
    number_at: usize,
    /// Where the id is to be written, if the client chooses it.
    id_at: Option<usize>,
}

impl Template {
    pub fn new(spoken: Spoken, conversation: &str) -> Self {
        let content = format!(
            "#{:0DIGITS$}# Nothing much, and you? Shall we meet at six?",
            0
        );
        let id = Uuid::nil();
        let said = match spoken {
            Spoken::Django => format!(
                r#"{{"type": "chat_message", "sender_id": "alice", "content": "{content}"}}"#
            ),
            Spoken::Native => format!(
                r#"{{"type": "send", "id": "{id}", "conversation": "{conversation}", "sender": "alice", "content": "{content}"}}"#
            ),
            Spoken::Tutorial => format!(r#"{{"message": "{content}"}}"#),
        };
        let frame = masked(1, said.as_bytes());
        let at = |what: &[u8]| frame.windows(what.len()).position(|it| it == what);
        Template {
            number_at: at(&[MARK]).unwrap() + 1,
            id_at: at(id.to_string().as_bytes()),
            frame,
        }
    }

    pub fn numbered(&mut self, number: usize) -> &[u8] {
        let digits = format!("{number:0DIGITS$}");
        self.frame[self.number_at..self.number_at + DIGITS].copy_from_slice(digits.as_bytes());
        if let Some(at) = self.id_at {
            let id = Uuid::now_v7().to_string();
            self.frame[at..at + id.len()].copy_from_slice(id.as_bytes());
        }
        &self.frame
    }
}

/// The numbers of the messages in a text, in their order. One that is acknowledged is shown as well.
pub fn numbers(text: &[u8]) -> impl Iterator<Item = usize> {
    let is_acknowledged = text.starts_with(br#"{"type":"ack""#);
    let mut rest = if is_acknowledged { b"" } else { text };
    std::iter::from_fn(move || {
        let at = rest.iter().position(|&byte| byte == MARK)? + 1;
        let digits = rest.get(at..at + DIGITS)?;
        rest = rest.get(at + DIGITS + 1..).unwrap_or_default();
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}
