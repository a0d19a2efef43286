//! What the sockets of a conversation have been shown lately.
//!
//! An event is shown as often as it comes, as by the original: an edited message may come with the
//! id of the first. Two things are passed over:
//!
//! - the event of a message that the store has shown already (a history, a repair, a sweep): once,
//!   as that is the one which was late;
//! - an event that says of itself that it is sent again, if what it tells was shown in any way.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::django::datetime::Timestamp;

/// How long it is remembered that something was shown: longer than the layer can keep an event on
/// its way, and than a sweep looks back.
pub const MEMORY: Duration = Duration::from_secs(90);

/// Most that is remembered of one conversation.
const REMEMBERED: usize = 100_000;

/// The id of a message, or what stands for a read mark.
pub type Key = u128;

/// Who showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Event,
    Store,
}

/// Shown lately, the oldest first.
#[derive(Default)]
pub struct Shown {
    order: VecDeque<(Instant, Key)>,
    by: HashMap<Key, By>,
    /// When the newest of what is forgotten was shown.
    forgotten: Option<Timestamp>,
}

impl Shown {
    #[must_use]
    pub fn by(&self, key: Key) -> Option<By> {
        self.by.get(&key).copied()
    }

    /// Notes that something is shown, and forgets what is old unless told to `keep` it.
    pub fn note(&mut self, key: Key, by: By, keep: bool) {
        let now = Instant::now();
        self.forget(now, keep);
        if self.by.insert(key, by).is_none() {
            self.order.push_back((now, key));
        }
    }

    fn forget(&mut self, now: Instant, keep: bool) {
        while let Some(&(at, old)) = self.order.front() {
            let age = now.duration_since(at);
            if (keep || age < MEMORY) && self.order.len() < REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.by.remove(&old);
            self.forgotten = Some(before(Timestamp::now(), age));
        }
    }

    /// Whether all that was shown since then is remembered.
    #[must_use]
    pub fn is_whole_since(&self, since: Timestamp) -> bool {
        self.forgotten.is_none_or(|forgotten| forgotten < since)
    }
}

/// So long before a time.
#[must_use]
pub fn before(time: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_sub(age))
}
