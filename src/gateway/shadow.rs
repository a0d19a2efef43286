//! Asks both sides the same and tells the differences: reads of the chat ([`read`]), and what
//! Django writes on the sockets that are passed to it ([`socket`]). [`diff`] says where two JSON
//! texts part.
//!
//! All of it happens beside the client's own exchange, which it neither changes nor delays: only
//! so much is compared at once, and what is too much is skipped and counted.

mod diff;
mod read;
mod socket;
mod watcher;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use self::diff::Tell;
pub use self::{read::Question, watcher::Watcher};
use crate::{chat::Message, config, id::MessageId, metrics::Metrics, random};

/// Comparisons at work at once.
const AT_ONCE: usize = 4;

/// Differences that are logged in a second; all are counted.
const LOGGED: u32 = 10;

/// Rows that are remembered, and bytes of what was said in them: each socket of a conversation
/// hears of the same ones.
const ROWS: usize = 1024;
const ROW_BYTES: usize = 16 << 20;

/// Bytes of messages that wait to be compared, of all sockets together.
const ROOM: usize = 64 << 20;

/// Pause before both sides are asked again, so that their reads settle.
const SETTLE: Duration = Duration::from_millis(250);

/// A difference between the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The word of the metrics for it.
    pub kind: &'static str,
    /// Difference, for the log.
    pub text: String,
}

/// Outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    Different(Mismatch),
    /// One side could not be asked, or there is nothing to compare with.
    Unknown,
}

impl Verdict {
    fn of(kind: &'static str, difference: Option<String>) -> Self {
        match difference {
            None => Verdict::Same,
            Some(text) => Verdict::Different(Mismatch { kind, text }),
        }
    }
}

/// The rows that are remembered.
#[derive(Default)]
struct RememberedRows {
    by_id: HashMap<MessageId, Message>,
    bytes: usize,
}

impl RememberedRows {
    fn add(&mut self, row: Message) {
        self.bytes += row.content.len();
        if self.by_id.len() >= ROWS || self.bytes > ROW_BYTES {
            self.by_id.clear();
            self.bytes = row.content.len();
        }
        if self.bytes > ROW_BYTES {
            self.bytes = 0;
        } else {
            self.by_id.insert(row.id, row);
        }
    }
}

/// State that all comparisons of a server share.
pub struct Shadow {
    /// Share of the reads and sockets that is compared; SIGHUP changes it.
    percent: AtomicU8,
    tell: Tell,
    slots: Arc<Semaphore>,
    /// A permit for each byte that may wait.
    room: Arc<Semaphore>,
    rows: Mutex<RememberedRows>,
    /// The second that is logged in, and how much has been.
    logged: Mutex<(Instant, u32)>,
}

impl Shadow {
    pub fn new(settings: &config::Gateway) -> Self {
        Shadow {
            percent: AtomicU8::new(settings.shadow_percent),
            tell: if settings.shadow_log_content {
                Tell::Content
            } else {
                Tell::Structure
            },
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            room: Arc::new(Semaphore::new(ROOM)),
            rows: Mutex::default(),
            logged: Mutex::new((Instant::now(), 0)),
        }
    }

    pub fn set_percent(&self, percent: u8) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }

    /// Counts a comparison, and logs what it found. `place` names no person.
    fn conclude(&self, metrics: &Metrics, place: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Same => metrics.shadow_compared(None),
            Verdict::Unknown => metrics.shadow_skipped(),
            Verdict::Different(Mismatch { kind, text }) => {
                metrics.shadow_compared(Some(kind));
                if self.may_log() {
                    tracing::warn!(kind, place, "Django and Chatferry differ: {text}");
                }
            }
        }
    }

    fn may_log(&self) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.0.elapsed() >= Duration::from_secs(1) {
            *logged = (Instant::now(), 0);
        }
        logged.1 += 1;
        logged.1 <= LOGGED
    }

    fn remembered(&self, id: &MessageId) -> Option<Message> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.by_id.get(id).cloned()
    }

    fn remember(&self, row: Message) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.add(row);
    }
}

/// Returns whether this one is among the `percent` that are compared.
fn is_drawn(percent: u8) -> bool {
    match percent {
        0 => false,
        100.. => true,
        percent => {
            let drawn = random::bytes().map(u32::from_ne_bytes);
            drawn.is_ok_and(|drawn| drawn % 100 < u32::from(percent))
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::python::datetime::Timestamp;

    fn row(bytes: usize) -> Message {
        Message {
            id: Uuid::now_v7().into(),
            conversation_id: Uuid::nil().into(),
            sender_id: String::new(),
            content: "x".repeat(bytes),
            message_type: String::new(),
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            is_deleted: false,
        }
    }

    #[test]
    fn rows_that_are_remembered_have_bounds() {
        let mut rows = RememberedRows::default();
        for _ in 0..3 * ROWS {
            rows.add(row(1));
        }
        assert!((1..=ROWS).contains(&rows.by_id.len()));
        for _ in 0..100 {
            rows.add(row(ROW_BYTES / 7));
        }
        assert!((1..=7).contains(&rows.by_id.len()));
        rows.add(row(ROW_BYTES + 1));
        assert_eq!((rows.by_id.len(), rows.bytes), (0, 0));
        rows.add(row(5));
        assert_eq!((rows.by_id.len(), rows.bytes), (1, 5));
    }
}
