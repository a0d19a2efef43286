//! A memory of what the sockets of a conversation have been shown lately.
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
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    id::MessageId,
    {
        clock::Clock,
        python::datetime::{Timestamp, after, before},
    },
};

/// Time for which it is remembered what an event has shown: longer than the layer can keep an event
/// on its way, and than a sweep looks back.
pub const MEMORY: Duration = Duration::from_secs(90);

/// Time for which it is remembered what the store has shown: longer than a sender owes its event.
pub const LATE: Duration = Duration::from_secs(330);

/// Most that is remembered of one conversation, of each kind.
const REMEMBERED: usize = 100_000;

/// The id of a message, or what stands for a read mark: no message has the version that makes.
pub type ShownKey = u128;

/// Returns the key of the mark that a user has read a message.
#[must_use]
pub fn mark_key(message_id: MessageId, user_id: &str) -> ShownKey {
    key_of(&(message_id.bits(), user_id))
}

/// Returns whether this stands for a read mark.
#[must_use]
pub fn is_mark(key: ShownKey) -> bool {
    key >> 64 == 0
}

/// Returns the key of something without an id.
#[must_use]
pub fn key_of(what: &impl Hash) -> ShownKey {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    u128::from(hasher.finish())
}

/// Source that showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Event,
    /// A repair or a sweep. Its event may still come.
    Store,
    /// A sweep, and its event must still come.
    Sweep,
}

/// Messages and read marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: usize,
    pub marks: usize,
}

impl Counts {
    #[must_use]
    pub fn sum(self) -> usize {
        self.messages + self.marks
    }
}

/// Shown lately.
pub struct Shown {
    clock: Arc<Clock>,
    by: HashMap<ShownKey, By>,
    /// Keys that events have shown, the oldest first.
    events: VecDeque<(Instant, ShownKey)>,
    /// `None` for most conversations.
    rare: Option<Box<Rare>>,
    /// When the newest of what is forgotten was shown.
    forgotten: Option<Timestamp>,
}

/// Memory that only faults need.
#[derive(Default)]
struct Rare {
    /// Keys that the store has shown, the oldest first.
    stored: VecDeque<(Instant, ShownKey)>,
    /// Keys that are stored with a time ahead of the clock: that time, and since when it is known.
    /// They are remembered until it has passed.
    ahead: HashMap<ShownKey, (Timestamp, Instant)>,
    /// Counts of those that were forgotten before the event that had to come.
    unheard: Counts,
}

impl Shown {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(clock: Arc<Clock>) -> Self {
        Shown {
            clock,
            by: HashMap::new(),
            events: VecDeque::new(),
            rare: None,
            forgotten: None,
        }
    }

    #[must_use]
    pub fn by(&self, key: ShownKey) -> Option<By> {
        self.by.get(&key).copied()
    }

    /// Notes that something is shown, and removes what is old unless `keep` is set.
    pub fn note(&mut self, key: ShownKey, by: By, keep: bool) {
        let now = Instant::now();
        self.forget(now, keep);
        if self.by.insert(key, by).is_none() {
            match by {
                By::Event => self.events.push_back((now, key)),
                _ => self.rare().stored.push_back((now, key)),
            }
        }
    }

    /// The event of what the store has shown must still come.
    pub fn expects(&mut self, key: ShownKey) {
        if let Some(by) = self.by.get_mut(&key)
            && *by == By::Store
        {
            *by = By::Sweep;
        }
    }

    /// The event of what the store has shown has come. It is passed over, as one more would be.
    pub fn came(&mut self, key: ShownKey) {
        if let Some(by) = self.by.get_mut(&key)
            && *by == By::Sweep
        {
            *by = By::Store;
        }
    }

    /// Notes what is stored with a time ahead of the clock; returns for how long that is known. Of
    /// more than is remembered nothing is known.
    pub fn meets(&mut self, key: ShownKey, dated: Timestamp) -> Duration {
        let ahead = &mut self.rare().ahead;
        if ahead.len() >= REMEMBERED && !ahead.contains_key(&key) {
            return Duration::ZERO;
        }
        let (_, met) = ahead.entry(key).or_insert_with(|| (dated, Instant::now()));
        met.elapsed()
    }

    /// Removes what is old, unless `keep` is set. Returns for how much of it the event that had
    /// to come has not.
    pub fn unheard(&mut self, keep: bool) -> Counts {
        self.forget(Instant::now(), keep);
        let Some(rare) = &mut self.rare else {
            return Counts::default();
        };
        if !keep && !rare.ahead.is_empty() {
            let now = Timestamp::by(&self.clock);
            let passed = |(key, (dated, _)): (&ShownKey, &(Timestamp, Instant))| {
                (after(*dated, LATE) < now).then_some(*key)
            };
            let passed: Vec<ShownKey> = rare.ahead.iter().filter_map(passed).collect();
            for key in passed {
                rare.ahead.remove(&key);
                rare.forget(key, &mut self.by);
            }
        }
        let unheard = std::mem::take(&mut rare.unheard);
        if rare.stored.is_empty() && rare.ahead.is_empty() {
            self.rare = None;
        }
        unheard
    }

    fn forget(&mut self, now: Instant, keep: bool) {
        while let Some((age, old)) = oldest(&mut self.events, now, MEMORY, keep) {
            match &mut self.rare {
                Some(rare) => rare.forget(old, &mut self.by),
                None => _ = self.by.remove(&old),
            }
            self.forgotten = self
                .forgotten
                .max(Some(before(Timestamp::by(&self.clock), age)));
        }
        let Some(rare) = &mut self.rare else { return };
        while let Some((age, old)) = oldest(&mut rare.stored, now, LATE, keep) {
            rare.forget(old, &mut self.by);
            self.forgotten = self
                .forgotten
                .max(Some(before(Timestamp::by(&self.clock), age)));
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Returns whether all that was shown since then is remembered.
    #[must_use]
    pub fn is_whole_since(&self, since: Timestamp) -> bool {
        self.forgotten.is_none_or(|forgotten| forgotten < since)
    }
}

impl Rare {
    fn forget(&mut self, key: ShownKey, by: &mut HashMap<ShownKey, By>) {
        if !self.ahead.contains_key(&key) && by.remove(&key) == Some(By::Sweep) {
            let count = if is_mark(key) {
                &mut self.unheard.marks
            } else {
                &mut self.unheard.messages
            };
            *count += 1;
        }
    }
}

/// Takes out the oldest if it is older than that, or one too many, and returns its age.
fn oldest(
    order: &mut VecDeque<(Instant, ShownKey)>,
    now: Instant,
    most: Duration,
    keep: bool,
) -> Option<(Duration, ShownKey)> {
    let &(at, key) = order.front()?;
    let age = now.duration_since(at);
    if (keep || age < most) && order.len() < REMEMBERED {
        return None;
    }
    order.pop_front();
    Some((age, key))
}
