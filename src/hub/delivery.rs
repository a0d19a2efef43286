//! The delivery of one event to the sockets of a conversation.

use super::{
    frames::EventFrames,
    queue::{Overflow, Pushed, Queue},
};
use crate::{id::MessageId, metrics::Frames};

/// Most frames of an event that are written by who hands it out. The sockets' own tasks write the
/// others, on every core.
const AT_ONCE: usize = 512;

/// Outcome of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Queues that accepted the frame.
    pub sockets: usize,
    /// Frames in the longest of them.
    pub longest: usize,
    /// Queues that overflowed.
    pub overflowed: usize,
    /// Frames that were written at once.
    pub written: Frames,
    /// Number of frames that may still be written at once.
    at_once: usize,
}

impl Delivery {
    /// Begins to hand out an event, which is written `at_once` as far as sockets take it.
    pub fn new(at_once: bool) -> Self {
        Delivery {
            at_once: if at_once { AT_ONCE } else { 0 },
            ..Delivery::default()
        }
    }

    /// Hands the frame of its dialect to a socket.
    pub fn push(&mut self, queue: &Queue, frames: &EventFrames, message: Option<MessageId>) {
        let Some(frame) = frames.of(queue.dialect()) else {
            return;
        };
        let pushed = if self.at_once == 0 {
            queue.push(frame.clone(), message)
        } else {
            self.at_once -= 1;
            queue.write(frame, message)
        };
        match pushed {
            // It will be closed.
            Ok(Pushed::Dropped) => {}
            Ok(Pushed::Waits(waiting)) => {
                self.sockets += 1;
                self.longest = self.longest.max(waiting);
            }
            Ok(Pushed::Written) => {
                self.sockets += 1;
                self.longest = self.longest.max(1);
                self.written.note_written(frame);
            }
            Err(Overflow) => self.overflowed += 1,
        }
    }
}
