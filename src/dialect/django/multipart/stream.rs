//! A multipart body cut into parts, and parts cut into chunks, where Django cuts them.
//!
//! Stands in for `LazyStream` and `BoundaryIter`: a part that is not read to its end goes on as
//! the next part if it reaches past the chunk of 64 KiB it began in. Test:
//! `what_is_left_of_a_part_past_its_chunk_is_the_next_part`.

/// Bytes of a chunk in which Django reads a body.
const CHUNK_BYTES: usize = 64 * 1024;

/// Returns the first place of `needle` in `haystack`, in linear time (Knuth, Morris, Pratt).
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    Needle::new(needle).find_in(haystack)
}

/// A byte string that is looked for more than once.
struct Needle<'a> {
    bytes: &'a [u8],
    /// For each prefix, the length of its longest border: how much of a match survives a mismatch.
    borders: Vec<usize>,
}

impl<'a> Needle<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut needle = Needle {
            bytes,
            borders: vec![0],
        };
        let mut border = 0;
        for &byte in bytes.iter().skip(1) {
            border = needle.matched_after(border, byte);
            needle.borders.push(border);
        }
        needle
    }

    /// Returns the number of bytes that match when `byte` follows `matched` matching ones.
    fn matched_after(&self, mut matched: usize, byte: u8) -> usize {
        while matched > 0 && self.bytes.get(matched) != Some(&byte) {
            matched = self.borders.get(matched - 1).copied().unwrap_or(0);
        }
        if self.bytes.get(matched) == Some(&byte) {
            matched + 1
        } else {
            0
        }
    }

    fn find_in(&self, haystack: &[u8]) -> Option<usize> {
        let mut matched = 0;
        for (i, &byte) in haystack.iter().enumerate() {
            matched = self.matched_after(matched, byte);
            if matched == self.bytes.len() {
                return Some(i + 1 - matched);
            }
        }
        None
    }
}

/// The body, read so far up to `pos` and in memory up to `filled`.
pub(super) struct Parts<'a> {
    body: &'a [u8],
    pos: usize,
    filled: usize,
    separator: Needle<'a>,
}

impl<'a> Parts<'a> {
    /// `separator` is two dashes and the boundary.
    pub(super) fn new(body: &'a [u8], separator: &'a [u8]) -> Self {
        Parts {
            body,
            pos: 0,
            filled: 0,
            separator: Needle::new(separator),
        }
    }

    /// Returns the part before the next separator, unless the body has ended.
    pub(super) fn next_part(&mut self) -> Option<FormPart<'_, 'a>> {
        if self.pos >= self.body.len() {
            return None;
        }
        self.fill();
        let (pos, filled) = (self.pos, self.pos);
        Some(FormPart {
            parts: self,
            done: false,
            pos,
            filled,
        })
    }

    /// Reads a chunk if all that was read is used up.
    fn fill(&mut self) {
        if self.pos == self.filled {
            self.filled = self.body.len().min(self.pos + CHUNK_BYTES);
        }
    }

    /// CRLF, two dashes and CRLF may stand around a boundary that is not seen yet.
    fn rollback(&self) -> usize {
        self.separator.bytes.len() + 6
    }
}

/// One part, read so far up to `pos` and taken from the body up to `filled`.
pub(super) struct FormPart<'p, 'a> {
    parts: &'p mut Parts<'a>,
    /// Nothing more can be taken: its separator was found, or the body has ended.
    done: bool,
    pos: usize,
    filled: usize,
}

impl<'a> FormPart<'_, 'a> {
    /// Returns the bytes at hand, or else the next piece; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Option<&'a [u8]> {
        if self.pos == self.filled && !self.take() {
            return None;
        }
        let chunk = self.parts.body.get(self.pos..self.filled);
        self.pos = self.filled;
        chunk
    }

    /// As many bytes, or all there are.
    pub(super) fn read(&mut self, size: usize) -> &'a [u8] {
        let end = self.pos.saturating_add(size);
        while self.filled < end && self.take() {}
        let end = end.min(self.filled);
        let bytes = self.parts.body.get(self.pos..end).unwrap_or_default();
        self.pos = end;
        bytes
    }

    /// Goes back by this many bytes.
    pub(super) fn unread(&mut self, size: usize) {
        self.pos = self.pos.saturating_sub(size);
    }

    /// Takes a piece from the body: up to the separator, or as far as none can begin. False at
    /// the end.
    fn take(&mut self) -> bool {
        if self.done {
            return false;
        }
        let start = self.parts.pos;
        let rollback = self.parts.rollback();
        while self.parts.pos - start <= rollback {
            self.parts.fill();
            if self.parts.pos == self.parts.filled {
                self.done = true;
                break;
            }
            self.parts.pos = self.parts.filled;
        }
        let taken = self
            .parts
            .body
            .get(start..self.parts.pos)
            .unwrap_or_default();
        if taken.is_empty() {
            return false;
        }
        let piece_len = if let Some(at) = self.parts.separator.find_in(taken) {
            self.done = true;
            self.parts.pos = start + at + self.parts.separator.bytes.len();
            without_line_break(taken, at)
        } else if taken.len() <= rollback {
            self.done = true;
            taken.len()
        } else {
            self.parts.pos -= rollback;
            taken.len() - rollback
        };
        self.filled = start + piece_len;
        true
    }
}

/// Cuts off the line break before a separator, which belongs to that.
fn without_line_break(taken: &[u8], end: usize) -> usize {
    let before = taken.get(..end).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_where_it_first_is() {
        assert_eq!(find(b"aabaabaaab", b"aabaaa"), Some(3));
        assert_eq!(find(b"aaaa", b"aab"), None);
        assert_eq!(find(b"", b"a"), None);
    }

    #[test]
    fn the_line_break_before_a_separator_is_not_part_of_the_content() {
        let mut parts = Parts::new(b"a\r\n--B\r\nb--B", b"--B");
        assert_eq!(parts.next_part().unwrap().read(99), b"a");
        assert_eq!(parts.next_part().unwrap().read(99), b"\r\nb");
        assert!(parts.next_part().is_none());
    }

    #[test]
    fn a_separator_across_two_chunks_is_found() {
        let body = [&vec![b'x'; CHUNK_BYTES - 2][..], b"--B\r\ny"].concat();
        let mut parts = Parts::new(&body, b"--B");
        assert_eq!(
            parts.next_part().unwrap().read(usize::MAX).len(),
            CHUNK_BYTES - 2
        );
        assert_eq!(parts.next_part().unwrap().read(99), b"\r\ny");
    }

    #[test]
    fn what_is_left_of_a_part_past_its_chunk_is_the_next_part() {
        let body = [&vec![b'x'; 2 * CHUNK_BYTES][..], b"--B"].concat();
        let mut parts = Parts::new(&body, b"--B");
        parts.next_part().unwrap().read(1);
        let rest = parts.next_part().unwrap().read(usize::MAX).len();
        assert_eq!(rest, CHUNK_BYTES + 9);
    }
}
