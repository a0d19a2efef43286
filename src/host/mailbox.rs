//! Everything that waits for the task of one socket: the answers of the worker, and events. Both
//! are bounded: a socket whose client does not read is closed as any slow one, and events past
//! `host.capacity` are dropped, as Channels drops them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    event::Shared,
    link::Credit,
    wire::{Accept, Class},
};
use crate::hub::queue;

/// Answers without a payload that may wait besides the frames. A worker that sends more is broken.
const CONTROLS: usize = 16;

/// Bytes of the events that may wait. One of any size may.
const EVENT_BYTES: usize = 8 << 20;

/// An answer of the worker, in the order of the wire.
#[derive(Debug)]
pub enum WorkerReply {
    Class(Arc<Class>),
    Accept(Accept),
    /// A frame as clients get it.
    Frame(Bytes),
    Close {
        code: u16,
        reason: String,
    },
    Done,
    Ended {
        failed: bool,
    },
    /// The worker has let go of the socket, whose state this is.
    State(Box<[u8]>),
    /// The state could not be written, or woken.
    Refused(String),
    /// The worker is gone.
    Lost,
    /// Other paths than before are the application's.
    Rerouted,
}

impl WorkerReply {
    /// Returns `true` if the call under way is over.
    fn ends_call(&self) -> bool {
        match self {
            WorkerReply::Done
            | WorkerReply::Ended { .. }
            | WorkerReply::State(_)
            | WorkerReply::Refused(_)
            | WorkerReply::Lost => true,
            WorkerReply::Class(_)
            | WorkerReply::Accept(_)
            | WorkerReply::Frame(_)
            | WorkerReply::Close { .. }
            | WorkerReply::Rerouted => false,
        }
    }
}

/// The mailbox of one socket.
#[derive(Debug)]
pub struct Mailbox {
    limits: queue::QueueLimits,
    /// Most events.
    capacity: usize,
    state: Mutex<MailboxState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct MailboxState {
    replies: VecDeque<WorkerReply>,
    frames: usize,
    bytes: usize,
    events: VecDeque<Arc<Shared>>,
    event_bytes: usize,
    call: Option<PendingCall>,
    overflowed: bool,
    closed: bool,
}

impl MailboxState {
    fn overflow(&mut self) {
        self.overflowed = true;
        self.replies
            .retain(|reply| !matches!(reply, WorkerReply::Frame(_)));
        (self.frames, self.bytes) = (0, 0);
    }
}

/// A call that the worker has not finished.
#[derive(Debug)]
struct PendingCall {
    since: Instant,
    /// Given back when the worker has finished, whatever the client reads.
    _credit: Credit,
}

impl Mailbox {
    #[must_use]
    pub fn new(limits: queue::QueueLimits, capacity: usize) -> Self {
        Mailbox {
            limits,
            capacity,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer, if anybody still wants it. Once there was too much, frames are dropped.
    pub fn reply(&self, reply: WorkerReply) {
        let mut state = self.state();
        if reply.ends_call() {
            state.call = None;
        }
        if state.closed {
            return;
        }
        let controls = state.replies.len() - state.frames;
        match &reply {
            WorkerReply::Frame(_) if state.overflowed => return,
            WorkerReply::Frame(frame) => {
                let fits = state.frames < self.limits.frames
                    && state.bytes + frame.len() <= self.limits.bytes;
                if fits || state.frames == 0 {
                    state.frames += 1;
                    state.bytes += frame.len();
                    state.replies.push_back(reply);
                } else {
                    state.overflow();
                }
            }
            WorkerReply::Lost | WorkerReply::Rerouted => state.replies.push_back(reply),
            _ if controls < CONTROLS => state.replies.push_back(reply),
            _ => state.overflow(),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Adds an event. Returns `false` if there was no room for it.
    pub fn event(&self, event: &Arc<Shared>) -> bool {
        let mut state = self.state();
        if state.closed {
            return true;
        }
        let bytes = state.event_bytes + event.body().len();
        let is_full = state.events.len() >= self.capacity || bytes > EVENT_BYTES;
        if is_full && !state.events.is_empty() {
            return false;
        }
        state.event_bytes = bytes;
        state.events.push_back(Arc::clone(event));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Reads the next answer. A frame is only taken if there is `room` for it.
    pub fn take_reply(&self, room: bool) -> Option<WorkerReply> {
        let mut state = self.state();
        match state.replies.front() {
            Some(WorkerReply::Frame(_)) if !room => None,
            Some(WorkerReply::Frame(frame)) => {
                let length = frame.len();
                state.frames -= 1;
                state.bytes -= length;
                state.replies.pop_front()
            }
            _ => {
                let reply = state.replies.pop_front();
                if state.replies.is_empty() {
                    // Most sockets are silent from now on.
                    state.replies = VecDeque::new();
                }
                reply
            }
        }
    }

    /// Waits for the next event.
    pub fn take_event(&self) -> Option<Arc<Shared>> {
        let mut state = self.state();
        let event = state.events.pop_front()?;
        state.event_bytes -= event.body().len();
        if state.events.is_empty() {
            state.events = VecDeque::new();
        }
        Some(event)
    }

    /// Lets the socket look anew at what there is to do.
    pub fn nudge(&self) {
        self.changed.notify_one();
    }

    /// Waits until something has been added, or may have been.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A call begins now; the credit is given back when the worker has finished it.
    pub fn begin(&self, credit: Credit) {
        self.state().call = Some(PendingCall {
            since: Instant::now(),
            _credit: credit,
        });
    }

    /// When the call began that is under way.
    #[must_use]
    pub fn calling_since(&self) -> Option<Instant> {
        self.state().call.as_ref().map(|call| call.since)
    }

    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.state().overflowed
    }

    /// Takes nothing more, and lets go of all that waits and of the credit.
    pub fn close(&self) {
        *self.state() = MailboxState {
            closed: true,
            ..MailboxState::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::metrics::Metrics;

    fn mailbox() -> Mailbox {
        let limits = queue::QueueLimits {
            frames: 3,
            bytes: 10,
        };
        Mailbox::new(limits, 2)
    }

    #[test]
    fn events_that_wait_have_a_bound_of_bytes_and_one_of_any_size_may() {
        let limits = queue::QueueLimits {
            frames: 3,
            bytes: 10,
        };
        let mailbox = Mailbox::new(limits, 100);
        let event = |bytes| Arc::new(Shared::new(Bytes::from(vec![0; bytes])));
        assert!(mailbox.event(&event(EVENT_BYTES + 1)));
        assert!(!mailbox.event(&event(0)));
        assert!(mailbox.take_event().is_some());
        assert!(mailbox.event(&event(EVENT_BYTES / 2)));
        assert!(mailbox.event(&event(EVENT_BYTES / 2)));
        assert!(!mailbox.event(&event(1)));
    }

    fn frame(text: &'static str) -> WorkerReply {
        WorkerReply::Frame(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn answers_come_in_order_and_frames_wait_for_room() {
        let mailbox = mailbox();
        mailbox.reply(frame("one"));
        mailbox.reply(WorkerReply::Done);
        assert!(mailbox.take_reply(false).is_none());
        assert!(matches!(
            mailbox.take_reply(true),
            Some(WorkerReply::Frame(_))
        ));
        assert!(matches!(mailbox.take_reply(false), Some(WorkerReply::Done)));
        assert!(mailbox.take_reply(true).is_none());
    }

    #[test]
    fn a_worker_that_sends_without_an_end_overflows_the_mailbox() {
        let by_frames = mailbox();
        let by_bytes = mailbox();
        let by_controls = mailbox();
        for _ in 0..1000 {
            by_frames.reply(frame("x"));
            by_bytes.reply(frame("seven b"));
            by_controls.reply(WorkerReply::Done);
        }
        for mailbox in [&by_frames, &by_bytes, &by_controls] {
            assert!(mailbox.has_overflowed());
            let waiting = std::iter::from_fn(|| mailbox.take_reply(true)).count();
            assert!(waiting <= CONTROLS);
        }
        by_frames.reply(frame("x"));
        by_frames.reply(WorkerReply::Ended { failed: false });
        let left = by_frames.take_reply(true);
        assert!(
            matches!(left, Some(WorkerReply::Ended { .. })),
            "the end is kept"
        );
    }

    #[test]
    fn one_frame_past_the_bound_is_sent_all_the_same() {
        let mailbox = mailbox();
        mailbox.reply(frame("longer than ten bytes"));
        assert!(!mailbox.has_overflowed());
    }

    #[test]
    fn events_past_the_capacity_are_dropped_and_the_older_ones_kept() {
        let mailbox = mailbox();
        let event = |name: &'static str| Arc::new(Shared::new(Bytes::from_static(name.as_bytes())));
        assert!(mailbox.event(&event("a")));
        assert!(mailbox.event(&event("b")));
        assert!(!mailbox.event(&event("c")));
        assert_eq!(mailbox.take_event().unwrap().body()[..], *b"a");
        assert_eq!(mailbox.take_event().unwrap().body()[..], *b"b");
        assert!(mailbox.take_event().is_none());
    }

    #[tokio::test]
    async fn the_credit_is_given_back_when_the_worker_has_finished_although_nobody_reads() {
        let credits = Arc::new(Semaphore::new(1));
        let mailbox = mailbox();
        let permit = Arc::clone(&credits).acquire_owned().await.unwrap();
        mailbox.begin(Credit::new(permit, &Metrics::default()));
        mailbox.reply(frame("x"));
        mailbox.reply(WorkerReply::Accept(Accept::default()));
        assert_eq!(credits.available_permits(), 0);
        mailbox.reply(WorkerReply::Done);
        assert_eq!(credits.available_permits(), 1);
        assert!(mailbox.calling_since().is_none());
    }
}
