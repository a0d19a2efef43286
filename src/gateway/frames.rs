//! Where the frames of a WebSocket begin and end, in bytes that are passed on as they are: nothing
//! is checked, nothing is held back.

/// The longest header of a frame: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;

/// The opcode of a close frame.
pub const CLOSE: u8 = 8;

/// Result of [`Cutter::cut`].
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame begins.
    Head(FrameHead),
    /// Some of its payload, masked if the frame is.
    Payload(&'a [u8]),
    /// It is whole.
    End,
}

/// Header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The last frame of its message.
    pub fin: bool,
    /// An extension has changed the payload.
    pub reserved: bool,
    pub opcode: u8,
    pub masked: bool,
    pub length: u64,
}

/// Follows one direction of a socket.
#[derive(Debug, Default)]
pub struct Cutter {
    header: [u8; HEADER_MAX],
    /// Bytes of the header so far; 0 between frames and in payloads.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
}

impl Cutter {
    /// Returns whether the bytes seen so far end with a whole frame.
    pub fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Goes on with the next bytes.
    pub fn cut<'a>(&mut self, mut bytes: &'a [u8], mut see: impl FnMut(Piece<'a>)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = usize::try_from(self.left).map_or(bytes.len(), |n| n.min(bytes.len()));
                let (payload, rest) = bytes.split_at(here);
                bytes = rest;
                self.left -= here as u64;
                see(Piece::Payload(payload));
                if self.left == 0 {
                    see(Piece::End);
                }
                continue;
            }
            let [byte, rest @ ..] = bytes else { return };
            bytes = rest;
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *byte;
                self.have += 1;
            }
            if let Some(head) = self.head() {
                self.have = 0;
                self.left = head.length;
                see(Piece::Head(head));
                if head.length == 0 {
                    see(Piece::End);
                }
            }
        }
    }

    /// Returns the header, once it is whole.
    fn head(&self) -> Option<FrameHead> {
        let (have, [first, second, ..]) = (self.have, self.header);
        let masked = second & 0x80 != 0;
        let length_size = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if have < 2 || have < 2 + length_size + if masked { 4 } else { 0 } {
            return None;
        }
        let long = self.header[2..2 + length_size].iter();
        let long = long.fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(FrameHead {
            fin: first & 0x80 != 0,
            reserved: first & 0x70 != 0,
            opcode: first & 0x0f,
            masked,
            length: if length_size == 0 {
                u64::from(second & 0x7f)
            } else {
                long
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the frames in bytes that come in pieces of `size`: opcode, and payload as it came.
    fn frames(bytes: &[u8], size: usize) -> (Vec<(u8, Vec<u8>)>, bool) {
        let (mut cutter, mut whole, mut open) = (Cutter::default(), Vec::new(), (0, Vec::new()));
        for piece in bytes.chunks(size) {
            cutter.cut(piece, |piece| match piece {
                Piece::Head(head) => open = (head.opcode, Vec::new()),
                Piece::Payload(bytes) => open.1.extend(bytes),
                Piece::End => whole.push(std::mem::take(&mut open)),
            });
        }
        (whole, cutter.is_between_frames())
    }

    #[test]
    fn frames_of_every_length_form_are_found_however_the_bytes_come() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x89, 0];
        bytes.extend([0x82, 126, 0, 200]);
        bytes.extend([7; 200]);
        bytes.extend([0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        bytes.extend(vec![b'x'; 65_536]);
        bytes.extend([0x88, 0x82, 1, 2, 3, 4, 9, 9]);
        for size in [1, 3, 1000, 100_000] {
            let (whole, between) = frames(&bytes, size);
            let kinds: Vec<_> = whole.iter().map(|(op, bytes)| (*op, bytes.len())).collect();
            assert_eq!(kinds, [(1, 2), (9, 0), (2, 200), (1, 65_536), (8, 2)]);
            assert!(between);
        }
    }

    #[test]
    fn half_a_frame_is_not_between_frames() {
        assert!(frames(b"", 1).1);
        assert!(!frames(&[0x81], 1).1);
        assert!(!frames(&[0x81, 2, b'h'], 1).1);
        assert!(!frames(&[0x81, 126, 0], 1).1);
    }
}
