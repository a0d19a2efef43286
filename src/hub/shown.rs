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
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::django::datetime::Timestamp;

/// How long it is remembered that something was shown: longer than the layer can keep an event on
/// its way, and than a sweep looks back.
pub const MEMORY: Duration = Duration::from_secs(90);

/// Most that is remembered of one conversation.
const REMEMBERED: usize = 100_000;

/// The id of a message, or what stands for a read mark: no message has the version that makes.
pub type Key = u128;

/// What stands for the mark that a user has read a message.
#[must_use]
pub fn mark_key(message_id: Uuid, user_id: &str) -> Key {
    key_of(&(message_id.as_u128(), user_id))
}

/// What stands for something without an id.
#[must_use]
pub fn key_of(what: &impl Hash) -> Key {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    u128::from(hasher.finish())
}

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

/// So long after a time.
#[must_use]
pub fn after(time: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_add(age))
}

/// So long before a time.
#[must_use]
pub fn before(time: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_sub(age))
}
