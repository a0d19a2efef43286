//! Bytes: the handshake, frames from and to the client, and the number that each message carries.

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

/// The request that opens a socket in a conversation.
pub fn handshake(conversation: &str) -> Vec<u8> {
    format!(
        "GET /ws/chat/{conversation}/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// A request on a connection that stays open.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
        .into_bytes()
}

/// A `chat_message` whose number is still to be written into it.
pub struct Template {
    frame: Vec<u8>,
    number_at: usize,
}

impl Template {
    pub fn new() -> Self {
        let content = format!(
            "#{:0DIGITS$}# Nothing much, and you? Shall we meet at six?",
            0
        );
        let said =
            format!(r#"{{"type": "chat_message", "sender_id": "alice", "content": "{content}"}}"#);
        let frame = masked(1, said.as_bytes());
        let number_at = frame.iter().position(|&byte| byte == MARK).unwrap() + 1;
        Template { frame, number_at }
    }

    pub fn numbered(&mut self, number: usize) -> &[u8] {
        let digits = format!("{number:0DIGITS$}");
        self.frame[self.number_at..self.number_at + DIGITS].copy_from_slice(digits.as_bytes());
        &self.frame
    }
}

/// The numbers of the messages in a text, in their order.
pub fn numbers(text: &[u8]) -> impl Iterator<Item = usize> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.iter().position(|&byte| byte == MARK)? + 1;
        let digits = rest.get(at..at + DIGITS)?;
        rest = rest.get(at + DIGITS + 1..).unwrap_or_default();
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}
