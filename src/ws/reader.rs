//! Bytes to messages: RFC 6455 from the server's side.
//!
//! Received bytes are appended to [`Reader::buffer`], and messages are taken out with
//! [`Reader::take_message`]; nothing is ever half-read, so the read of the socket may be cancelled
//! at any time. (fastwebsockets' own reader loses its place when it is cancelled, reserves whatever
//! length a frame header claims, and does not say whether a frame was masked; its parts are used
//! here all the same.) A frame that is announced as larger than the limit is refused before any of
//! it arrives, and nothing is reserved for what has not come.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use fastwebsockets::{CloseCode, OpCode};
use tokio::io::{AsyncRead, ReadBuf};

use crate::metrics::{FrameType, Frames};

/// Most bytes of one read. They are on the stack: an idle socket keeps no room for what may come.
const READ: usize = 8192;

/// A whole message, or a control frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    /// To be answered with the same bytes, at most 125.
    Ping(Vec<u8>),
    Pong,
    /// The other side closes, with a valid code or none.
    Close(Option<u16>),
}

/// Result of one frame.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// Not all of it has come.
    Nothing,
    /// A message goes on in the next one.
    Fragment,
    Message(Incoming),
}

/// Why no more can be read from this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Autobahn drops the connection without a close frame.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    #[error("message too big")]
    TooBig,
}

use Violation::{Protocol, TooBig};

/// The reading half of one socket.
#[derive(Debug)]
pub struct Reader {
    /// Bytes received and not yet understood.
    pub buffer: BytesMut,
    /// Frames that were read and have not been reported.
    pub news: Frames,
    /// The message whose last fragment has not come.
    partial: Option<Partial>,
    /// Most bytes of a message, fragments added up.
    max_message: usize,
}

#[derive(Debug)]
struct Partial {
    text: bool,
    bytes: BytesMut,
}

/// The first bytes of a frame.
struct FrameHeader {
    fin: bool,
    opcode: OpCode,
    mask: [u8; 4],
    /// Bytes of the header itself.
    size: usize,
    payload: usize,
}

impl Reader {
    /// Makes a reader that starts with what came along with the handshake.
    #[must_use]
    pub fn new(received: BytesMut, max_message: usize) -> Self {
        Reader {
            buffer: received,
            news: Frames::default(),
            partial: None,
            max_message,
        }
    }

    /// Appends what has arrived, and returns how many bytes that were; 0 is the end. Takes no
    /// memory until something arrives, however long that is.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn poll_read(
        &mut self,
        socket: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(socket.poll_read(cx, &mut room))?;
        self.buffer.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Returns the next message in the buffer; `None` until more bytes have come.
    ///
    /// # Errors
    /// After an error the stream has lost its meaning and must not be read any more.
    pub fn take_message(&mut self) -> Result<Option<Incoming>, Violation> {
        loop {
            match self.take_frame(|_| {})? {
                Taken::Nothing => return Ok(None),
                Taken::Fragment => {}
                Taken::Message(incoming) => return Ok(Some(incoming)),
            }
        }
    }

    /// Returns the next frame in the buffer; `see` is given its bytes as they came.
    ///
    /// # Errors
    /// As [`Reader::take_message`].
    pub fn take_frame(&mut self, see: impl FnOnce(&[u8])) -> Result<Taken, Violation> {
        let Some(header) = self.header()? else {
            return Ok(Taken::Nothing);
        };
        let size = header.size + header.payload;
        let Some(frame) = self.buffer.get(..size) else {
            return Ok(Taken::Nothing);
        };
        see(frame);
        self.news.note(self.kind(&header), size);
        self.buffer.advance(header.size);
        let mut payload = self.buffer.split_to(header.payload);
        fastwebsockets::unmask(&mut payload, header.mask);
        let taken = self.take(&header, payload)?;
        Ok(taken.map_or(Taken::Fragment, Taken::Message))
    }

    /// Gives back what the messages took that have been taken out.
    pub fn give_back(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    fn header(&self) -> Result<Option<FrameHeader>, Violation> {
        let [first, second, rest @ ..] = self.buffer.as_ref() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Protocol("reserved bits are set"));
        }
        let fin = first & 0x80 != 0;
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| Protocol("opcode is reserved"))?;
        if second & 0x80 == 0 {
            return Err(Protocol("frame is not masked"));
        }
        let short = second & 0x7f;
        if is_control(opcode) && (!fin || short > 125) {
            return Err(Protocol("control frame is fragmented or long"));
        }
        let Some((length, length_size)) = length(short, rest)? else {
            return Ok(None);
        };
        self.admit(opcode, length)?;
        let payload = usize::try_from(length).map_err(|_| TooBig)?;
        let Some(mask) = rest.get(length_size..length_size + 4) else {
            return Ok(None);
        };
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        Ok(Some(FrameHeader {
            fin,
            opcode,
            mask,
            size: 2 + length_size + 4,
            payload,
        }))
    }

    /// Refuses a frame by its header alone: out of turn, or too big with what came before.
    fn admit(&self, opcode: OpCode, length: u64) -> Result<(), Violation> {
        let before = match (opcode, &self.partial) {
            (OpCode::Continuation, None) => return Err(Protocol("nothing to continue")),
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(Protocol("a message inside a message"));
            }
            (OpCode::Continuation, Some(partial)) => partial.bytes.len(),
            _ => 0,
        };
        let room = self.max_message.saturating_sub(before);
        if u64::try_from(room).is_ok_and(|room| length > room) {
            Err(TooBig)
        } else {
            Ok(())
        }
    }

    fn kind(&self, header: &FrameHeader) -> FrameType {
        match (header.opcode, &self.partial) {
            (OpCode::Continuation, Some(Partial { text: false, .. })) => FrameType::Binary,
            (opcode, _) => FrameType::of(opcode as u8),
        }
    }

    fn take(
        &mut self,
        header: &FrameHeader,
        payload: BytesMut,
    ) -> Result<Option<Incoming>, Violation> {
        match header.opcode {
            OpCode::Ping => Ok(Some(Incoming::Ping(payload.to_vec()))),
            OpCode::Pong => Ok(Some(Incoming::Pong)),
            OpCode::Close => close(&payload).map(Some),
            OpCode::Text | OpCode::Binary => {
                let text = header.opcode == OpCode::Text;
                if header.fin {
                    return message(text, &payload).map(Some);
                }
                self.partial = Some(Partial {
                    text,
                    bytes: payload,
                });
                Ok(None)
            }
            OpCode::Continuation => {
                let mut partial = self.partial.take().ok_or(Protocol("nothing to continue"))?;
                partial.bytes.extend_from_slice(&payload);
                if header.fin {
                    return message(partial.text, &partial.bytes).map(Some);
                }
                self.partial = Some(partial);
                Ok(None)
            }
        }
    }
}

const fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

/// Returns the payload's length and how many bytes after the first two say it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        126 => {
            let Some(bytes) = rest.first_chunk::<2>() else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*bytes));
            if length < 126 {
                Err(Protocol("length is not minimal"))
            } else {
                Ok(Some((length, 2)))
            }
        }
        127 => {
            let Some(bytes) = rest.first_chunk::<8>() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*bytes);
            if length < 1 << 16 || length >> 63 == 1 {
                Err(Protocol("length is not minimal"))
            } else {
                Ok(Some((length, 8)))
            }
        }
        short => Ok(Some((u64::from(short), 0))),
    }
}

fn message(text: bool, bytes: &[u8]) -> Result<Incoming, Violation> {
    if !text {
        return Ok(Incoming::Binary(bytes.to_vec()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Incoming::Text(text.to_owned())),
        Err(_) => Err(Protocol("text is not UTF-8")),
    }
}

fn close(payload: &[u8]) -> Result<Incoming, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Incoming::Close(None))
        } else {
            Err(Protocol("half a close code"))
        };
    };
    let code = u16::from_be_bytes(*code);
    // 1012 and 1013 came after Autobahn's list; it takes them, but not 1014.
    if !CloseCode::from(code).is_allowed() {
        return Err(Protocol("close code is not allowed"));
    }
    std::str::from_utf8(reason).map_err(|_| Protocol("close reason is not UTF-8"))?;
    Ok(Incoming::Close(Some(code)))
}

#[cfg(test)]
mod tests;
