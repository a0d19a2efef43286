//! What waits to be written to one socket, with a bound in frames and in bytes.
//!
//! Frames are shared with every other queue they stand in. A socket that reads slower than it is
//! written to fills its queue, and only its own: it is closed, and finds everything in the
//! history when it comes back.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub frames: usize,
    /// A frame larger than this still fits an empty queue.
    pub bytes: usize,
}

/// The queue of one socket: filled by the hub, emptied by the socket's own task.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// Held for moments only, never across an await.
    state: Mutex<State>,
    /// Wakes the socket's task when there is something to take.
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    overflowed: bool,
}

/// The queue was past its bound. From now on it takes nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

impl Queue {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Queue {
            limits,
            state: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// [`Overflow`] the first time the frame does not fit; silently dropped after that.
    pub fn push(&self, frame: Bytes) -> Result<(), Overflow> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.overflowed {
            return Ok(());
        }
        let full = state.frames.len() >= self.limits.frames
            || state.bytes + frame.len() > self.limits.bytes;
        if full && !state.frames.is_empty() {
            *state = State {
                overflowed: true,
                ..State::default()
            };
        } else {
            state.bytes += frame.len();
            state.frames.push_back(frame);
        }
        let overflowed = state.overflowed;
        drop(state);
        self.filled.notify_one();
        if overflowed { Err(Overflow) } else { Ok(()) }
    }

    /// Waits until there is something to take, or the queue has overflowed.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Everything that waits.
    ///
    /// # Errors
    /// [`Overflow`] when the queue has overflowed; what was in it is gone.
    pub fn take(&self) -> Result<VecDeque<Bytes>, Overflow> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.overflowed {
            return Err(Overflow);
        }
        state.bytes = 0;
        Ok(std::mem::take(&mut state.frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(Limits {
            frames: 3,
            bytes: 10,
        })
    }

    #[test]
    fn frames_come_out_in_the_order_they_went_in() {
        let queue = queue();
        queue.push(Bytes::from_static(b"a")).unwrap();
        queue.push(Bytes::from_static(b"b")).unwrap();
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
            queue.push(Bytes::from_static(b"a")).unwrap();
        }
        assert_eq!(queue.push(Bytes::from_static(b"a")), Err(Overflow));
        assert_eq!(
            queue.push(Bytes::from_static(b"a")),
            Ok(()),
            "told only once"
        );
        assert_eq!(queue.take(), Err(Overflow));
    }

    #[test]
    fn one_byte_too_many_overflows() {
        let queue = queue();
        queue.push(Bytes::from_static(&[0; 6])).unwrap();
        assert_eq!(queue.push(Bytes::from_static(&[0; 5])), Err(Overflow));
    }

    #[test]
    fn a_frame_larger_than_the_bound_fits_an_empty_queue() {
        let queue = queue();
        queue.push(Bytes::from_static(&[0; 100])).unwrap();
        assert_eq!(queue.take().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_frame_pushed_before() {
        let queue = queue();
        queue.push(Bytes::from_static(b"a")).unwrap();
        queue.filled().await;
    }
}
