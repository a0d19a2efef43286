//! Bounds what a Redis server may send, whatever it is asked: the bytes of a value and of an
//! answer, the number of its parts and how deep they lie.
//!
//! The client library keeps an answer whole until its end. So its bytes are looked at before it has
//! them: a value that is too large is thrown away as it comes, and [`TOO_LARGE`] stands in its
//! place, so that it costs itself and nothing beside it. What cannot be left out breaks the
//! connection.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// Placeholder for a value that is too large. It is neither a text nor msgpack nor JSON.
pub const TOO_LARGE: &[u8] = b"\xff\xc1too large";

/// Most bytes of an answer's values, as a multiple of the largest one.
const ANSWER: usize = 8;

/// Values of this size are no longer passed on past that.
const SMALL: usize = 64;

/// Most parts of an answer, those within others counted one by one: the members of a group, above
/// all.
const PARTS: u64 = 250_000;

/// Arrays may be nested this deep. Scripts answer with three.
const DEPTH: usize = 16;

/// Most bytes of a line: an error, a status, a number.
const LINE: usize = 64 * 1024;

/// Most bytes of one read. They are on the stack.
const READ: usize = 16 * 1024;

/// Bytes that may be read ahead of the task that takes the messages.
const AHEAD: usize = 16 * 1024 * 1024;

/// Bytes that may be read before anybody takes messages: while groups are subscribed to.
const EARLY: usize = 64 * 1024 * 1024;

/// Bound on how far the reader of a subscription may be ahead of the task that takes its messages:
/// the client library would keep any number of them.
#[derive(Default)]
pub struct Ahead {
    /// Held for moments only.
    state: Mutex<BoundsState>,
    /// Wakes the taker when the reader has stopped.
    stopped: Notify,
}

#[derive(Default)]
struct BoundsState {
    /// Messages are being taken.
    is_taken: bool,
    /// Read since the taker had taken all.
    bytes: usize,
    /// Of the reader, if it has stopped.
    reader: Option<Waker>,
}

impl Ahead {
    /// All has been taken: the reader may go on.
    pub fn taken(&self) {
        let mut state = self.state();
        state.is_taken = true;
        state.bytes = 0;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Waits until the reader has stopped. May be cancelled.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    fn has_read(&self, bytes: usize) {
        self.state().bytes += bytes;
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Excess>> {
        let mut state = self.state();
        if !state.is_taken && state.bytes >= EARLY {
            return Poll::Ready(Err(Excess::Early));
        }
        if !state.is_taken || state.bytes < AHEAD {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(cx.waker().clone());
        self.stopped.notify_one();
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, BoundsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to Redis whose answers are bounded.
pub struct Bounded<S> {
    stream: S,
    /// Of a subscription.
    ahead: Option<Arc<Ahead>>,
    filter: Filter,
    /// Bytes that have passed and have not been read.
    passed: BytesMut,
}

impl<S> Bounded<S> {
    /// Bounds values to `value_max` bytes.
    pub fn new(stream: S, value_max: usize) -> Self {
        Bounded {
            stream,
            ahead: None,
            filter: Filter::new(value_max),
            passed: BytesMut::new(),
        }
    }

    /// Lets nothing be read far ahead of the task that takes the messages.
    #[must_use]
    pub fn not_far_ahead(mut self, ahead: Arc<Ahead>) -> Self {
        self.ahead = Some(ahead);
        self
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.passed.is_empty() {
            if let Some(ahead) = &this.ahead {
                ready!(ahead.poll_room(cx))?;
            }
            let mut room = [MaybeUninit::uninit(); READ];
            let mut room = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.filter.pass(room.filled(), &mut this.passed)?;
            if let Some(ahead) = &this.ahead {
                ahead.has_read(this.passed.len());
            }
        }
        let here = this.passed.len().min(buf.remaining());
        buf.put_slice(&this.passed.split_to(here));
        if this.passed.is_empty() {
            this.passed = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Why an answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    #[error("a line of an answer has more than {LINE} bytes")]
    Line,
    #[error("an answer has more than {PARTS} parts")]
    Parts,
    #[error("an answer is nested deeper than {DEPTH} levels")]
    Depth,
    #[error("a length in an answer is no number")]
    Length,
    #[error("more than {EARLY} bytes of messages came before all groups were subscribed to")]
    Early,
}

impl From<Excess> for io::Error {
    fn from(excess: Excess) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, excess)
    }
}

/// Follows the answers of a server.
struct Filter {
    value_max: usize,
    state: Reading,
    /// Parts that are still to come, of each array that has not ended.
    open: Vec<u64>,
    /// Parts of this answer.
    parts: u64,
    /// Bytes of the values of this answer that have passed.
    bytes: usize,
}

enum Reading {
    /// A line, as far as it has come.
    Line(Vec<u8>),
    /// The rest of a value, its line break included.
    Value { left: u64, passes: bool },
}

impl Filter {
    fn new(value_max: usize) -> Self {
        Filter {
            value_max,
            state: Reading::Line(Vec::new()),
            open: Vec::new(),
            parts: 0,
            bytes: 0,
        }
    }

    /// Appends to `out` what may pass of the next bytes.
    fn pass(&mut self, mut input: &[u8], out: &mut BytesMut) -> Result<(), Excess> {
        while !input.is_empty() {
            match &mut self.state {
                Reading::Value { left, passes } => {
                    let here = usize::try_from(*left).map_or(input.len(), |it| it.min(input.len()));
                    let (value, rest) = input.split_at(here);
                    input = rest;
                    *left -= here as u64;
                    if *passes {
                        out.extend_from_slice(value);
                    }
                    if *left == 0 {
                        self.state = Reading::Line(Vec::new());
                        self.part_is_over();
                    }
                }
                Reading::Line(line) => {
                    let end = input.iter().position(|byte| *byte == b'\n');
                    let (here, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
                    input = rest;
                    line.extend_from_slice(here);
                    if line.len() > LINE {
                        return Err(Excess::Line);
                    }
                    if line.ends_with(b"\r\n") {
                        let line = std::mem::take(line);
                        self.line(&line, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], out: &mut BytesMut) -> Result<(), Excess> {
        let kind = line.first().copied().unwrap_or_default();
        match kind {
            b'$' | b'=' | b'!' => return self.value(line, out),
            b'*' | b'~' | b'>' => self.array(length(line)?, 1, 0)?,
            b'%' => self.array(length(line)?, 2, 0)?,
            // The rest of the item comes after it.
            b'|' => self.array(length(line)?, 2, 1)?,
            _ => self.part_is_over(),
        }
        out.extend_from_slice(line);
        Ok(())
    }

    fn value(&mut self, line: &[u8], out: &mut BytesMut) -> Result<(), Excess> {
        let Ok(size) = usize::try_from(length(line)?) else {
            // It is nothing.
            out.extend_from_slice(line);
            self.part_is_over();
            return Ok(());
        };
        let most = self.value_max.saturating_mul(ANSWER);
        let all = self.bytes.saturating_add(size);
        let passes = size <= self.value_max && (all <= most || size <= SMALL);
        if passes {
            self.bytes = all;
            out.extend_from_slice(line);
        } else {
            out.extend_from_slice(format!("${}\r\n", TOO_LARGE.len()).as_bytes());
            out.extend_from_slice(TOO_LARGE);
            out.extend_from_slice(b"\r\n");
        }
        let left = (size as u64).saturating_add(2);
        self.state = Reading::Value { left, passes };
        Ok(())
    }

    /// Begins an array of `count` times `each` parts, and `more`.
    fn array(&mut self, count: i64, each: u64, more: u64) -> Result<(), Excess> {
        let count = u64::try_from(count).unwrap_or_default();
        let count = count.saturating_mul(each).saturating_add(more);
        if count == 0 {
            self.part_is_over();
            return Ok(());
        }
        self.parts = self.parts.saturating_add(count);
        if self.parts > PARTS {
            return Err(Excess::Parts);
        }
        if self.open.len() == DEPTH {
            return Err(Excess::Depth);
        }
        self.open.push(count);
        Ok(())
    }

    fn part_is_over(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.parts = 0;
        self.bytes = 0;
    }
}

/// Returns the number in a line, read as the client library reads it.
fn length(line: &[u8]) -> Result<i64, Excess> {
    let text = line
        .get(1..)
        .and_then(|rest| std::str::from_utf8(rest).ok());
    let number = text.and_then(|text| text.trim().parse().ok());
    number.ok_or(Excess::Length)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Returns what passes of these bytes, which come in pieces of this size.
    fn pass(bytes: &[u8], size: usize) -> Result<Vec<u8>, Excess> {
        let (mut filter, mut out) = (Filter::new(1000), BytesMut::new());
        for piece in bytes.chunks(size) {
            filter.pass(piece, &mut out)?;
        }
        Ok(out.to_vec())
    }

    fn bulk(size: usize) -> Vec<u8> {
        let mut bytes = format!("${size}\r\n").into_bytes();
        bytes.extend(vec![b'\n'; size]);
        bytes.extend(b"\r\n");
        bytes
    }

    fn too_large() -> Vec<u8> {
        [b"$11\r\n", TOO_LARGE, b"\r\n"].concat()
    }

    #[test]
    fn ordinary_answers_pass_as_they_are() {
        let answers: Vec<&[u8]> = vec![
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":12\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"$0\r\n\r\n",
            b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n$2\r\n\r\n\r\n+x\r\n",
            b"%1\r\n+a\r\n|1\r\n+b\r\n:1\r\n:2\r\n>2\r\n+c\r\n_\r\n",
            b"=5\r\ntxt:a\r\n",
        ];
        let all = answers.concat();
        let all = [&all[..], &bulk(1000), &all].concat();
        for size in [1, 2, 7, 100, all.len()] {
            assert_eq!(pass(&all, size).unwrap(), all, "{size}");
        }
    }

    #[test]
    fn a_value_that_is_too_large_costs_itself_alone() {
        let large = bulk(1001);
        let bytes = [b"*3\r\n+a\r\n", &*large, b":1\r\n", &*large, b"+OK\r\n"].concat();
        let large = too_large();
        let wanted = [b"*3\r\n+a\r\n", &*large, b":1\r\n", &*large, b"+OK\r\n"].concat();
        for size in [1, 3, 500, bytes.len()] {
            assert_eq!(pass(&bytes, size).unwrap(), wanted, "{size}");
        }
    }

    #[test]
    fn the_values_of_one_answer_have_a_bound_together() {
        let many = [b"*20\r\n", &*bulk(1000).repeat(19), &*bulk(10)].concat();
        let passed = pass(&many, 100).unwrap();
        let wanted = [
            b"*20\r\n",
            &*bulk(1000).repeat(8),
            &*too_large().repeat(11),
            &*bulk(10),
        ];
        assert_eq!(passed, wanted.concat());
        // The next answer begins anew.
        let many = bulk(1000).repeat(20);
        assert_eq!(pass(&many, 100).unwrap(), many);
    }

    #[test]
    fn what_cannot_be_left_out_breaks_the_connection() {
        for (bytes, excess) in [
            (b"*250001\r\n".to_vec(), Excess::Parts),
            (b"%200000\r\n".to_vec(), Excess::Parts),
            (b"*2\r\n*249999\r\n".to_vec(), Excess::Parts),
            (b"*1\r\n".repeat(17), Excess::Depth),
            (vec![b'+'; LINE + 1], Excess::Line),
            (b"$x\r\n".to_vec(), Excess::Length),
            (b"*\r\n".to_vec(), Excess::Length),
        ] {
            assert_eq!(pass(&bytes, 1000), Err(excess));
        }
    }

    #[tokio::test]
    async fn nothing_is_read_far_ahead_of_whoever_takes_it() {
        let ahead = Arc::new(Ahead::default());
        let answers = bulk(1000).repeat(84_000);
        let mut bounded = Bounded::new(&*answers, 1000).not_far_ahead(Arc::clone(&ahead));
        let mut room = vec![0; 1 << 20];
        let mut read = async |times: usize| {
            for _ in 0..times {
                bounded.read_exact(&mut room).await.unwrap();
            }
        };
        // No task takes messages yet.
        read(40).await;
        ahead.taken();
        let reading = read(40);
        tokio::pin!(reading);
        for _ in 0..2 {
            tokio::select! {
                biased;
                () = &mut reading => panic!("it goes on without an end"),
                () = ahead.stopped() => ahead.taken(),
            }
        }
        reading.await;
    }

    #[tokio::test]
    async fn a_subscription_that_is_flooded_before_anybody_takes_its_messages_breaks() {
        let answers = bulk(1000).repeat(70_000);
        let mut bounded = Bounded::new(&*answers, 1000).not_far_ahead(Arc::default());
        let (mut room, mut read) = (vec![0; 1 << 20], 0);
        let error = loop {
            match bounded.read(&mut room).await {
                Ok(0) => panic!("all was read"),
                Ok(more) => read += more,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!((EARLY..=EARLY + READ).contains(&read), "{read}");
    }

    #[tokio::test]
    async fn a_value_of_any_size_takes_no_memory() {
        let head = b"$1000000000\r\n".as_slice();
        let rest = b"\r\n+OK\r\n".as_slice();
        let value = tokio::io::repeat(b'x').take(1_000_000_000);
        let mut bounded = Bounded::new(AsyncReadExt::chain(head, value).chain(rest), 1000);
        let mut all = Vec::new();
        bounded.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [&*too_large(), b"+OK\r\n"].concat());
        assert!(bounded.passed.capacity() <= READ);
    }
}
