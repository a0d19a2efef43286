//! Frames that wait to be written to one socket, bounded in number and bytes.
//!
//! Frames are shared with every other queue they stand in. A socket that reads slower than it is
//! written to fills its queue, and only its own: it is closed, and finds everything in the
//! history when it comes back.
//!
//! While a socket receives its history everything else waits here. A message may come live
//! before the page it stands on is read: it is then withdrawn, as the history has it.
//!
//! A socket that has nothing to write lends its writing half to its queue: a frame that comes alone
//! is then written by who brings it, and the socket's task need not be woken. A socket that does
//! not take all of it gets the rest as any other frame that waits.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use super::frames::DialectSlot;
use crate::{id::MessageId, net::Outlet};

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    pub frames: usize,
    /// A frame larger than this still fits an empty queue.
    pub bytes: usize,
}

/// The queue of one socket: filled by the hub, emptied by the socket's own task.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    dialect: DialectSlot,
    /// Held for moments only, never across an await.
    state: Mutex<QueueState>,
    /// Wakes the socket's task when there is something to take.
    filled: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// For each frame its message; `None` once the history has been sent.
    tells: Option<VecDeque<Option<MessageId>>>,
    overflowed: bool,
    /// Lent by the socket's task, which writes nothing meanwhile.
    outlet: Option<Outlet>,
    /// The outlet may be used: nothing that was taken out is still to be written.
    is_lent: bool,
    /// Rest of a frame that was written in part: nothing may be written before it.
    rest: Bytes,
}

/// Outcome of a frame for one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the system's hands, or its beginning is.
    Written,
    /// It waits, and this is the number of those that do.
    Waits(usize),
    /// The queue has overflowed before: it is dropped.
    Dropped,
}

impl QueueState {
    /// Forgets what waits. What is lent, and a frame that was begun, are still the socket's.
    fn overflow(&mut self) {
        *self = QueueState {
            overflowed: true,
            outlet: self.outlet.take(),
            rest: std::mem::take(&mut self.rest),
            ..QueueState::default()
        };
    }
}

/// The queue was past its bound. From now on it takes nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

impl Queue {
    #[must_use]
    pub fn new(limits: QueueLimits) -> Self {
        Queue::of(DialectSlot::default(), limits)
    }

    /// Makes a queue of a socket that speaks a dialect.
    #[must_use]
    pub fn of(dialect: DialectSlot, limits: QueueLimits) -> Self {
        Queue {
            limits,
            dialect,
            state: Mutex::new(QueueState {
                tells: Some(VecDeque::new()),
                ..QueueState::default()
            }),
            filled: Notify::new(),
        }
    }

    /// Returns the dialect of its socket.
    #[must_use]
    pub fn dialect(&self) -> DialectSlot {
        self.dialect
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a frame if the socket takes it now, and adds it to the queue otherwise.
    ///
    /// # Errors
    /// As those of [`Queue::push`].
    pub fn write(&self, frame: &Bytes, message: Option<MessageId>) -> Result<Pushed, Overflow> {
        let mut state = self.state();
        let may_write = state.is_lent && state.frames.is_empty() && state.rest.is_empty();
        let Some(outlet) = state.outlet.as_ref().filter(|_| may_write) else {
            drop(state);
            return self.push(frame.clone(), message);
        };
        // A socket that is gone is found by its own task.
        let written = outlet.try_write(frame).unwrap_or_default();
        if written == frame.len() {
            return Ok(Pushed::Written);
        }
        if written == 0 {
            drop(state);
            return self.push(frame.clone(), message);
        }
        state.rest = frame.clone();
        state.rest.advance(written);
        drop(state);
        self.filled.notify_one();
        Ok(Pushed::Written)
    }

    /// Lends the writing half of a socket that has nothing to write; given back if something waits.
    pub fn lend(&self, outlet: Outlet) -> Option<Outlet> {
        let mut state = self.state();
        if state.overflowed || !state.frames.is_empty() || state.tells.is_some() {
            return Some(outlet);
        }
        state.outlet = Some(outlet);
        state.is_lent = true;
        None
    }

    /// Takes back what was lent, and the rest of a frame that was written in part.
    pub fn take_back(&self) -> (Option<Outlet>, Bytes) {
        let mut state = self.state();
        state.is_lent = false;
        (state.outlet.take(), std::mem::take(&mut state.rest))
    }

    /// Adds a frame, which may tell of a message.
    ///
    /// # Errors
    /// [`Overflow`] the first time the frame does not fit; silently dropped after that.
    pub fn push(&self, frame: Bytes, message: Option<MessageId>) -> Result<Pushed, Overflow> {
        let mut state = self.state();
        if state.overflowed {
            return Ok(Pushed::Dropped);
        }
        let full = state.frames.len() >= self.limits.frames
            || state.bytes + frame.len() > self.limits.bytes;
        if full && !state.frames.is_empty() {
            state.overflow();
        } else {
            state.bytes += frame.len();
            state.frames.push_back(frame);
            if let Some(tells) = &mut state.tells {
                tells.push_back(message);
            }
        }
        let (overflowed, waiting) = (state.overflowed, state.frames.len());
        drop(state);
        self.filled.notify_one();
        if overflowed {
            Err(Overflow)
        } else {
            Ok(Pushed::Waits(waiting))
        }
    }

    /// Makes the queue overflow: the socket is closed, and finds everything when it comes back.
    pub fn give_up(&self) {
        self.state().overflow();
        self.filled.notify_one();
    }

    /// Waits until there is something to take, or the queue has overflowed.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes everything that waits. What comes next has to wait until it is written.
    ///
    /// # Errors
    /// [`Overflow`] when the queue has overflowed; what was in it is gone.
    pub fn take(&self) -> Result<VecDeque<Bytes>, Overflow> {
        let mut state = self.state();
        if state.overflowed {
            return Err(Overflow);
        }
        state.bytes = 0;
        state.is_lent = false;
        if let Some(tells) = &mut state.tells {
            tells.clear();
        }
        Ok(std::mem::take(&mut state.frames))
    }

    /// Takes out what tells of messages that the history shows: `shown` is asked for them if
    /// anything waits.
    pub fn withdraw(&self, shown: impl FnOnce() -> HashSet<MessageId>) {
        let mut state = self.state();
        let QueueState { frames, tells, .. } = &mut *state;
        let Some(tells) = tells.as_mut().filter(|tells| !tells.is_empty()) else {
            return;
        };
        let shown = shown();
        let waited = std::mem::take(tells).into_iter();
        for (frame, tells_of) in std::mem::take(frames).into_iter().zip(waited) {
            if tells_of.is_none_or(|id| !shown.contains(&id)) {
                frames.push_back(frame);
                tells.push_back(tells_of);
            }
        }
        state.bytes = state.frames.iter().map(Bytes::len).sum();
    }

    /// Notes that the history has been sent: nothing will be withdrawn any more.
    pub fn history_is_told(&self) {
        self.state().tells = None;
    }

    /// Returns whether the history has been sent, or the queue has overflowed on the way.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.state().tells.is_none()
    }

    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.state().overflowed
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::UnixStream};
    use uuid::Uuid;

    use super::*;
    use crate::net::{Io, Stream};

    fn queue() -> Queue {
        Queue::new(QueueLimits {
            frames: 3,
            bytes: 10,
        })
    }

    #[test]
    fn frames_come_out_in_the_order_they_went_in() {
        let queue = queue();
        queue.push(Bytes::from_static(b"a"), None).unwrap();
        queue.push(Bytes::from_static(b"b"), None).unwrap();
        assert_eq!(
            queue.take().unwrap(),
            [Bytes::from_static(b"a"), Bytes::from_static(b"b")]
        );
        assert!(queue.take().unwrap().is_empty());
    }

    #[test]
    fn one_frame_too_many_overflows_once_and_for_good() {
        let queue = queue();
        for _ in 0..3 {
            queue.push(Bytes::from_static(b"a"), None).unwrap();
        }
        assert_eq!(queue.push(Bytes::from_static(b"a"), None), Err(Overflow));
        assert_eq!(
            queue.push(Bytes::from_static(b"a"), None),
            Ok(Pushed::Dropped),
            "told only once"
        );
        assert_eq!(queue.take(), Err(Overflow));
    }

    #[test]
    fn one_byte_too_many_overflows() {
        let queue = queue();
        queue.push(Bytes::from_static(&[0; 6]), None).unwrap();
        assert_eq!(queue.push(Bytes::from_static(&[0; 5]), None), Err(Overflow));
    }

    #[test]
    fn a_frame_larger_than_the_bound_fits_an_empty_queue() {
        let queue = queue();
        queue.push(Bytes::from_static(&[0; 100]), None).unwrap();
        assert_eq!(queue.take().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_frame_pushed_before() {
        let queue = queue();
        queue.push(Bytes::from_static(b"a"), None).unwrap();
        queue.filled().await;
    }

    #[test]
    fn what_the_history_shows_is_withdrawn_and_the_rest_keeps_its_order() {
        let queue = queue();
        let [shown, other] = [1, 2].map(|n| Uuid::from_u128(n).into());
        queue.push(Bytes::from_static(b"one"), Some(shown)).unwrap();
        queue.push(Bytes::from_static(b"two"), None).unwrap();
        queue
            .push(Bytes::from_static(b"three"), Some(other))
            .unwrap_err();
        assert!(queue.has_overflowed());

        let queue = Queue::new(QueueLimits {
            frames: 3,
            bytes: 11,
        });
        queue.push(Bytes::from_static(b"one"), Some(shown)).unwrap();
        queue.push(Bytes::from_static(b"two"), None).unwrap();
        queue
            .push(Bytes::from_static(b"three"), Some(other))
            .unwrap();
        queue.withdraw(|| HashSet::from([shown]));
        queue.push(Bytes::from_static(b"1"), Some(shown)).unwrap();
        assert_eq!(queue.take().unwrap(), ["two", "three", "1"]);
        queue.history_is_told();
        queue.push(Bytes::from_static(b"one"), Some(shown)).unwrap();
        queue.withdraw(|| HashSet::from([shown]));
        assert_eq!(queue.take().unwrap(), ["one"]);
    }

    /// A queue whose socket has its history and has lent its writing half, and the other end.
    fn lent(limits: QueueLimits) -> (Queue, Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::new(Io::Plain(ours.into()), None);
        let queue = Queue::new(limits);
        queue.history_is_told();
        assert!(queue.lend(stream.lend().unwrap()).is_none());
        (queue, stream, theirs)
    }

    const WIDE: QueueLimits = QueueLimits {
        frames: 3,
        bytes: 1 << 30,
    };

    #[tokio::test]
    async fn a_socket_with_nothing_to_write_is_written_to_at_once() {
        let (queue, _stream, mut theirs) = lent(WIDE);
        let frame = Bytes::from_static(b"a");
        assert_eq!(queue.write(&frame, None), Ok(Pushed::Written));
        assert_eq!(theirs.read_u8().await.unwrap(), b'a');
        assert!(queue.take().unwrap().is_empty());
        let later = queue.write(&frame, None);
        assert_eq!(later, Ok(Pushed::Waits(1)), "what was taken comes first");
        let (outlet, rest) = queue.take_back();
        assert!(outlet.is_some() && rest.is_empty());
        assert!(queue.lend(outlet.unwrap()).is_some(), "something waits");
    }

    #[tokio::test]
    async fn while_the_history_is_told_nothing_goes_past_it() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::new(Io::Plain(ours.into()), None);
        let queue = Queue::new(WIDE);
        let outlet = queue.lend(stream.lend().unwrap());
        assert!(outlet.is_some());
        let frame = Bytes::from_static(b"a");
        assert_eq!(queue.write(&frame, None), Ok(Pushed::Waits(1)));
    }

    #[tokio::test]
    async fn the_rest_of_a_frame_comes_before_all_else_even_if_the_queue_overflows() {
        let (queue, _stream, _theirs) = lent(WIDE);
        let large = Bytes::from(vec![1; 16 << 20]);
        assert_eq!(queue.write(&large, None), Ok(Pushed::Written));
        let small = Bytes::from_static(b"a");
        for waiting in 1..=WIDE.frames {
            assert_eq!(queue.write(&small, None), Ok(Pushed::Waits(waiting)));
        }
        assert_eq!(queue.write(&small, None), Err(Overflow));
        assert_eq!(queue.take(), Err(Overflow));
        let (outlet, rest) = queue.take_back();
        assert!(outlet.is_some() && !rest.is_empty() && rest.len() < large.len());
    }
}
