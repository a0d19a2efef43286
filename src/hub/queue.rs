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
//! not take all of it gets the rest back with the half. The loan ends when frames are taken.

use std::{
    collections::{HashSet, VecDeque},
    mem,
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
    half: Half,
}

/// The writing half of the socket.
#[derive(Debug, Default)]
enum Half {
    /// It is with the socket's task.
    #[default]
    Away,
    /// It is lent, and frames may be written.
    Lent(Outlet),
    /// A frame was written in part: nothing may be written before its rest.
    Begun(Box<(Outlet, Bytes)>),
}

/// The writing half at the end of a loan.
#[derive(Debug, Default)]
pub struct Returned {
    /// `None` if it was not lent.
    pub outlet: Option<Outlet>,
    /// Rest of a frame that was written in part.
    pub rest: Bytes,
}

/// Everything that waited for a socket.
#[derive(Debug)]
pub struct Taken {
    /// The outlet, if it was lent, and the rest of a frame, which comes before the frames.
    pub returned: Returned,
    pub frames: VecDeque<Bytes>,
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
            half: mem::take(&mut self.half),
            ..QueueState::default()
        };
    }

    /// Ends the loan.
    fn take_back(&mut self) -> Returned {
        match mem::take(&mut self.half) {
            Half::Away => Returned::default(),
            Half::Lent(outlet) => Returned {
                outlet: Some(outlet),
                rest: Bytes::new(),
            },
            Half::Begun(begun) => Returned {
                outlet: Some(begun.0),
                rest: begun.1,
            },
        }
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
        let written = match &state.half {
            // A socket that is gone is found by its own task.
            Half::Lent(outlet) if state.frames.is_empty() => outlet.try_write(frame).unwrap_or(0),
            _ => 0,
        };
        if written == 0 {
            drop(state);
            return self.push(frame.clone(), message);
        }
        if written < frame.len() {
            let mut rest = frame.clone();
            rest.advance(written);
            if let Some(outlet) = state.take_back().outlet {
                state.half = Half::Begun(Box::new((outlet, rest)));
            }
            drop(state);
            self.filled.notify_one();
        }
        Ok(Pushed::Written)
    }

    /// Lends the writing half of a socket that has nothing to write; given back if something waits.
    pub fn lend(&self, outlet: Outlet) -> Option<Outlet> {
        let mut state = self.state();
        if state.overflowed || !state.frames.is_empty() || state.tells.is_some() {
            return Some(outlet);
        }
        state.half = Half::Lent(outlet);
        None
    }

    /// Ends the loan while nothing is taken.
    pub fn take_back(&self) -> Returned {
        self.state().take_back()
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

    /// Takes everything that waits, and ends the loan: what comes next has to wait until this is
    /// written.
    ///
    /// # Errors
    /// [`Overflow`] when the queue has overflowed; what was in it is gone.
    pub fn take(&self) -> Result<Taken, Overflow> {
        let mut state = self.state();
        if state.overflowed {
            return Err(Overflow);
        }
        state.bytes = 0;
        if let Some(tells) = &mut state.tells {
            tells.clear();
        }
        Ok(Taken {
            returned: state.take_back(),
            frames: mem::take(&mut state.frames),
        })
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
        let waited = mem::take(tells).into_iter();
        for (frame, tells_of) in mem::take(frames).into_iter().zip(waited) {
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

    fn taken(queue: &Queue) -> VecDeque<Bytes> {
        queue.take().unwrap().frames
    }

    #[test]
    fn frames_come_out_in_the_order_they_went_in() {
        let queue = queue();
        queue.push(Bytes::from_static(b"a"), None).unwrap();
        queue.push(Bytes::from_static(b"b"), None).unwrap();
        assert_eq!(taken(&queue), ["a", "b"]);
        assert!(taken(&queue).is_empty());
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
        assert!(queue.take().is_err());
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
        assert_eq!(taken(&queue).len(), 1);
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
        assert_eq!(taken(&queue), ["two", "three", "1"]);
        queue.history_is_told();
        queue.push(Bytes::from_static(b"one"), Some(shown)).unwrap();
        queue.withdraw(|| HashSet::from([shown]));
        assert_eq!(taken(&queue), ["one"]);
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
        let Taken { frames, returned } = queue.take().unwrap();
        let Returned { outlet, rest } = returned;
        assert!(outlet.is_some() && rest.is_empty() && frames.is_empty());
        let later = queue.write(&frame, None);
        assert_eq!(later, Ok(Pushed::Waits(1)), "what was taken comes first");
        assert!(queue.take_back().outlet.is_none());
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
        assert!(queue.take().is_err());
        let Returned { outlet, rest } = queue.take_back();
        assert!(outlet.is_some() && !rest.is_empty() && rest.len() < large.len());
    }
}
