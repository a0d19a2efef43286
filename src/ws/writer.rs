//! Lays out frames and writes many of them at once. One writer owns the writing half of a socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use fastwebsockets::{Frame, OpCode, Payload};
use tokio::io::AsyncWrite;

use crate::metrics::Frames;

/// The longest header of an unmasked frame, in bytes.
const HEADER_MAX: usize = 10;

/// Most frames that one `writev` carries.
const GATHER: usize = 64;

/// Makes a text frame whose payload `fill` appends. The bytes are the same for every socket, as a
/// server's frames are not masked, and are never copied again.
pub fn text_frame(fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    frame(OpCode::Text, fill)
}

/// Makes a frame of any kind whose payload `fill` appends.
pub fn frame(opcode: OpCode, fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    fragment(true, opcode, fill)
}

/// Makes a frame whose message goes on in the next one unless it is the `last`.
pub fn fragment(last: bool, opcode: OpCode, fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = vec![0; HEADER_MAX];
    fill(&mut bytes);
    let (room, payload) = bytes.split_at_mut(HEADER_MAX);
    let mut header = [0; 16];
    let size = Frame::new(last, opcode, None, Payload::Borrowed(payload)).fmt_head(&mut header);
    let start = HEADER_MAX - size;
    room[start..].copy_from_slice(&header[..size]);
    Bytes::from(bytes).slice(start..)
}

/// Makes a close frame with an empty reason.
#[must_use]
pub fn close_frame(code: u16) -> Bytes {
    frame(OpCode::Close, |payload| payload.extend(code.to_be_bytes()))
}

/// Returns whether a frame may go between the fragments of a message.
#[must_use]
pub fn is_control(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 0x08 != 0)
}

/// Returns the payload of a whole frame as these functions make it, without a mask.
#[must_use]
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// Frames on their way into the socket.
#[derive(Debug, Default)]
pub struct Writer {
    frames: VecDeque<Bytes>,
    /// Frames that were added and have not been reported.
    pub news: Frames,
    /// TLS has taken what the socket below may not have taken yet.
    unflushed: bool,
}

impl Writer {
    /// Adds a frame behind what waits already.
    pub fn push(&mut self, frame: Bytes) {
        self.news.note_written(&frame);
        self.frames.push_back(frame);
    }

    /// Adds frames behind what waits already.
    pub fn append(&mut self, mut frames: VecDeque<Bytes>) {
        for frame in &frames {
            self.news.note_written(frame);
        }
        if self.frames.is_empty() {
            self.frames = frames;
        } else {
            self.frames.append(&mut frames);
        }
    }

    /// Adds the rest of a frame that somebody else has begun to write: nothing may come before it.
    pub fn resume(&mut self, rest: Bytes) {
        self.frames.push_front(rest);
    }

    /// Frames that are not yet written to their end.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Adds up the bytes of these frames.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && !self.unflushed
    }

    /// Writes as much as the socket takes now. Ready once something is written; what has been
    /// written is known, whatever is polled next.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn poll_write(
        &mut self,
        mut socket: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.frames.is_empty() {
            ready!(self.poll_write_frames(socket.as_mut(), cx))?;
        }
        if self.frames.is_empty() {
            // Many sockets are silent from now on: they keep no room for frames.
            self.frames = VecDeque::new();
            ready!(socket.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_frames(
        &mut self,
        socket: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        let mut written = ready!(socket.poll_write_vectored(cx, &slices[..count]))?;
        self.unflushed = true;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        while let Some(frame) = self.frames.front_mut() {
            if written < frame.len() {
                frame.advance(written);
                break;
            }
            written -= frame.len();
            self.frames.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::transfer::transfer;

    #[test]
    fn a_header_is_as_short_as_its_payload_allows() {
        let of = |length: usize| text_frame(|out| out.resize(out.len() + length, b'x'));
        assert_eq!(of(0)[..], [0x81, 0]);
        assert_eq!(of(125)[..2], [0x81, 125]);
        assert_eq!(of(126)[..4], [0x81, 126, 0, 126]);
        assert_eq!(of(65536)[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(of(65536).len(), 65546);
    }

    #[test]
    fn the_payload_is_found_after_every_form_of_header() {
        for size in [0, 5, 125, 126, 65_535, 65_536, 70_000] {
            let text = "가".repeat(size / 3) + &"x".repeat(size % 3);
            let frame = text_frame(|out| out.extend(text.as_bytes()));
            assert_eq!(payload(&frame), text.as_bytes());
        }
    }

    #[test]
    fn a_message_in_fragments_begins_with_its_kind_and_ends_with_the_last() {
        let of = |last, opcode| fragment(last, opcode, |out| out.push(b'x'));
        assert_eq!(of(false, OpCode::Text)[..], [0x01, 1, b'x']);
        assert_eq!(of(false, OpCode::Continuation)[..], [0x00, 1, b'x']);
        assert_eq!(of(true, OpCode::Continuation)[..], [0x80, 1, b'x']);
    }

    #[test]
    fn only_control_frames_go_between_fragments() {
        for opcode in [OpCode::Ping, OpCode::Pong, OpCode::Close] {
            assert!(is_control(&frame(opcode, |_| {})));
        }
        for opcode in [OpCode::Text, OpCode::Binary, OpCode::Continuation] {
            assert!(!is_control(&frame(opcode, |_| {})));
        }
    }

    #[test]
    fn a_close_frame_carries_its_code() {
        assert_eq!(close_frame(1013)[..], [0x88, 2, 0x03, 0xf5]);
    }

    #[tokio::test]
    async fn frames_arrive_whole_and_in_order_through_a_narrow_socket() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let mut writer = Writer::default();
        for n in 0..200u8 {
            writer.push(text_frame(|out| out.extend([n; 5])));
        }
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut far, &mut all)
                .await
                .unwrap();
            all
        });
        while !writer.is_empty() {
            transfer(&mut near, None, Some(&mut writer)).await;
        }
        drop(near);
        let all = reading.await.unwrap();
        let wanted: Vec<u8> = (0..200u8).flat_map(|n| [0x81, 5, n, n, n, n, n]).collect();
        assert_eq!(all, wanted);
    }
}
