//! Frames that wait to be written to one socket, bounded in number and bytes.
//!
//! Frames are shared with every other queue they stand in. A socket that reads slower than it is
//! written to fills its queue, and only its own: it is closed, and finds everything in the
//! history when it comes back.
//!
//! While a socket receives its history everything else waits here. A message may come live
//! before the page it stands on is read: it is then withdrawn, as the history has it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::frames::DialectSlot;

use crate::id::MessageId;

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

    /// Adds a frame, which may tell of a message. Returns how many now wait.
    ///
    /// # Errors
    /// [`Overflow`] the first time the frame does not fit; silently dropped after that, and 0.
    pub fn push(&self, frame: Bytes, message: Option<MessageId>) -> Result<usize, Overflow> {
        let mut state = self.state();
        if state.overflowed {
            return Ok(0);
        }
        let full = state.frames.len() >= self.limits.frames
            || state.bytes + frame.len() > self.limits.bytes;
        if full && !state.frames.is_empty() {
            *state = QueueState {
                overflowed: true,
                ..QueueState::default()
            };
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
            Ok(waiting)
        }
    }

    /// Makes the queue overflow: the socket is closed, and finds everything when it comes back.
    pub fn give_up(&self) {
        *self.state() = QueueState {
            overflowed: true,
            ..QueueState::default()
        };
        self.filled.notify_one();
    }

    /// Waits until there is something to take, or the queue has overflowed.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes everything that waits.
    ///
    /// # Errors
    /// [`Overflow`] when the queue has overflowed; what was in it is gone.
    pub fn take(&self) -> Result<VecDeque<Bytes>, Overflow> {
        let mut state = self.state();
        if state.overflowed {
            return Err(Overflow);
        }
        state.bytes = 0;
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
    use uuid::Uuid;

    use super::*;

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
            Ok(0),
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
}
