//! A WebSocket client by hand: frames out, frames in.

use std::fmt;

use serde_json::{Value, json};

use super::{Answer, Connection, soon};
use tokio::io::AsyncReadExt;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Any mask will do.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x0f, 0xf0];

/// An open WebSocket.
pub struct Socket {
    pub connection: Connection,
    /// A message whose last fragment is still to come.
    begun: Option<Frame>,
}

/// A frame from the server, or a message that was put together from fragments.
#[derive(PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// How it begins: a whole history would be all that is left of a log.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = &self.payload[..self.payload.len().min(200)];
        let (opcode, size) = (self.opcode, self.payload.len());
        write!(
            f,
            "frame {opcode} of {size} bytes: {}",
            begin.escape_ascii()
        )
    }
}

impl Frame {
    /// The code of a close frame.
    pub fn close_code(&self) -> u16 {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        u16::from_be_bytes(*self.payload.first_chunk().unwrap())
    }
}

/// The bytes of an opening handshake.
pub fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// The path of a conversation's socket with the default prefix.
pub fn path_of(conversation: &str) -> String {
    format!("/ws/chat/{conversation}/")
}

/// The bytes of a masked frame.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame_with(0x80 | opcode, payload)
}

/// The bytes of a masked frame whose first byte can be anything.
pub fn frame_with(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    let length = payload.len();
    if let Ok(short @ ..126) = u8::try_from(length) {
        bytes.push(0x80 | short);
    } else if let Ok(long) = u16::try_from(length) {
        bytes.push(0xfe);
        bytes.extend(long.to_be_bytes());
    } else {
        bytes.push(0xff);
        bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
    }
    bytes.extend(MASK);
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[begin..]);
    bytes
}

/// Eight bytes at a time: frames of megabytes are masked by code that is not optimised.
fn mask(payload: &mut [u8]) {
    let twice = u64::from_ne_bytes([MASK, MASK].concat().try_into().unwrap());
    let mut eights = payload.chunks_exact_mut(8);
    for eight in &mut eights {
        let masked = u64::from_ne_bytes(eight[..].try_into().unwrap()) ^ twice;
        eight.copy_from_slice(&masked.to_ne_bytes());
    }
    let rest = eights.into_remainder().iter_mut();
    rest.zip(MASK.iter().cycle())
        .for_each(|(byte, mask)| *byte ^= mask);
}

impl Socket {
    /// Opens a socket; its history has not been read.
    pub async fn open(connection: Connection, conversation: &str) -> Self {
        match Socket::try_open(connection, &path_of(conversation), "").await {
            Ok(socket) => socket,
            Err(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    /// Opens a socket, or returns the refusal.
    pub async fn try_open(
        mut connection: Connection,
        path: &str,
        headers: &str,
    ) -> Result<Self, Answer> {
        let answer = connection.ask(handshake(path, headers)).await;
        if answer.status == 101 {
            Ok(Socket::over(connection))
        } else {
            Err(answer)
        }
    }

    /// A socket whose handshake is over.
    pub fn over(connection: Connection) -> Self {
        Socket {
            connection,
            begun: None,
        }
    }

    pub async fn send(&mut self, value: &Value) {
        self.send_text(&value.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.connection.send(frame(TEXT, text)).await;
    }

    /// Sends a chat message of alice's.
    pub async fn say(&mut self, content: &str) {
        self.send(&chat_message(content)).await;
    }

    /// The next message, or the control frame between its fragments; `None` if the server ended the
    /// connection. A ping is answered and passed over: on a slow machine there are some.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let next = self.any().await?;
            if next.opcode != PING {
                return Some(next);
            }
            self.connection.push(frame(PONG, next.payload)).await;
        }
    }

    /// Like [`Socket::next`], and a ping is left to the caller.
    pub async fn any(&mut self) -> Option<Frame> {
        loop {
            let (is_last, frame) = self.fragment().await?;
            let whole = match (self.begun.take(), frame.opcode) {
                (begun, CLOSE..) => {
                    self.begun = begun;
                    return Some(frame);
                }
                (Some(mut begun), CONTINUATION) => {
                    begun.payload.extend(frame.payload);
                    begun
                }
                (None, TEXT | BINARY) => frame,
                (begun, opcode) => panic!("{opcode} after {begun:?}"),
            };
            if is_last {
                return Some(whole);
            }
            self.begun = Some(whole);
        }
    }

    /// The next frame by itself, and whether it is the last of its message.
    pub async fn fragment(&mut self) -> Option<(bool, Frame)> {
        let mut head = [0; 2];
        self.read(&mut head).await?;
        assert_eq!(head[0] & 0x70, 0, "no reserved bits");
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.read(&mut long).await?;
                u64::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                self.read(&mut long).await?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.read(&mut payload).await?;
        let opcode = head[0] & 0x0f;
        Some((head[0] & 0x80 != 0, Frame { opcode, payload }))
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        let taken = bytes.len().min(self.connection.buffer.len());
        let (ready, missing) = bytes.split_at_mut(taken);
        ready.copy_from_slice(&self.connection.buffer[..taken]);
        self.connection.buffer.drain(..taken);
        let read = soon("a frame", self.connection.io.read_exact(missing)).await;
        read.ok().map(|_| ())
    }

    /// The next frame, which must come.
    pub async fn frame(&mut self) -> Frame {
        self.next().await.expect("a frame before the end")
    }

    /// The text of the next frame.
    pub async fn text(&mut self) -> String {
        let Frame { opcode, payload } = self.frame().await;
        assert_eq!(opcode, TEXT, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The JSON of the next frame.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The messages of the next frame, which must be the history.
    pub async fn history(&mut self) -> Vec<Value> {
        let frame = self.json().await;
        assert_eq!(frame["type"], "conversation_history", "{frame}");
        frame["messages"].as_array().unwrap().clone()
    }

    /// The content of the next frame, which must be a message.
    pub async fn heard(&mut self) -> String {
        let frame = self.json().await;
        assert_eq!(frame["type"], "chat_message", "{frame}");
        frame["message"]["content"].as_str().unwrap().to_owned()
    }

    /// The text of the next frame, which must be an error.
    pub async fn error(&mut self) -> String {
        let frame = self.json().await;
        let error = frame["error"].as_str();
        error.unwrap_or_else(|| panic!("{frame}")).to_owned()
    }

    /// Says something and waits until it is heard: the socket works.
    pub async fn works(&mut self) {
        self.say("still here").await;
        assert_eq!(self.heard().await, "still here");
    }

    /// Types and waits until that is heard, with nothing before it: the socket is open, whatever
    /// became of what was said before.
    pub async fn is_open(&mut self) {
        let typing = json!({"type": "typing", "user_id": "alice"});
        self.send(&typing).await;
        assert_eq!(self.json().await["type"], "typing_status");
    }

    /// The code of the next frame, which must close.
    pub async fn close_code(&mut self) -> u16 {
        self.frame().await.close_code()
    }

    /// Waits for the connection to end without another frame.
    pub async fn ended(&mut self) {
        let frame = self.next().await;
        assert_eq!(frame, None, "nothing more is sent");
    }
}

/// A chat message of alice's.
pub fn chat_message(content: &str) -> Value {
    json!({"type": "chat_message", "sender_id": "alice", "content": content})
}
