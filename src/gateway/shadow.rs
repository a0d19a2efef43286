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
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use uuid::Uuid;

use self::diff::Tell;
pub use self::{read::Question, watcher::Watcher};
use crate::{chat::Message, metrics::Metrics};

/// Comparisons at work at once.
const AT_ONCE: usize = 4;

/// Differences that are logged in a second; all are counted.
const LOGGED: u32 = 10;

/// Rows that are remembered: each socket of a conversation hears of the same ones.
const ROWS: usize = 1024;

/// How long what both sides read may take to settle before they are asked again.
const SETTLE: Duration = Duration::from_millis(250);

/// A difference between the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The word of the metrics for it.
    pub kind: &'static str,
    /// What is different, for the log.
    pub text: String,
}

/// How a comparison went.
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

/// What all comparisons of a server share.
pub struct Shadow {
    tell: Tell,
    slots: Arc<Semaphore>,
    rows: Mutex<HashMap<Uuid, Message>>,
    /// The second that is logged in, and how much has been.
    logged: Mutex<(Instant, u32)>,
}

impl Shadow {
    pub fn new(log_content: bool) -> Self {
        Shadow {
            tell: if log_content {
                Tell::Content
            } else {
                Tell::Structure
            },
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            rows: Mutex::default(),
            logged: Mutex::new((Instant::now(), 0)),
        }
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

    fn remembered(&self, id: &Uuid) -> Option<Message> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(id).cloned()
    }

    fn remember(&self, row: Message) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= ROWS {
            rows.clear();
        }
        rows.insert(row.id, row);
    }
}

/// Returns whether this one is among the `percent` that are compared.
fn is_drawn(percent: u8) -> bool {
    match percent {
        0 => false,
        100.. => true,
        percent => getrandom::u32().is_ok_and(|random| random % 100 < u32::from(percent)),
    }
}
