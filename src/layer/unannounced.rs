//! Messages and receipts that were stored without an event, on purpose: no socket misses them.
//!
//! A sweep that compares what was shown with what is stored asks here. The process that stores such
//! a message or receipt notes it, and tells the others within a second, many at a time.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};

use crate::id::Key;

/// Time for which a message is remembered: longer than it can be compared.
const MEMORY: Duration = Duration::from_secs(90);

/// Most messages that are remembered.
const REMEMBERED: usize = 100_000;

/// Time for which messages are gathered before the others are notified.
const GATHER: Duration = Duration::from_secs(1);

/// The memory of one process.
#[derive(Default)]
pub struct Unannounced {
    /// True if anybody asks; without, nothing is noted.
    is_wanted: bool,
    /// Held for moments only.
    noted: Mutex<Noted>,
    /// Notified when there is something for the others.
    news: Notify,
}

#[derive(Default)]
struct Noted {
    /// The oldest first.
    order: VecDeque<(Instant, Key)>,
    ids: HashSet<Key>,
    /// Ours, of which the others have not been notified.
    untold: Vec<Key>,
}

impl Noted {
    fn note(&mut self, id: Key) {
        let now = Instant::now();
        while let Some(&(at, old)) = self.order.front() {
            if now.duration_since(at) < MEMORY && self.order.len() < REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.ids.remove(&old);
        }
        if self.ids.insert(id) {
            self.order.push_back((now, id));
        }
    }
}

impl Unannounced {
    #[must_use]
    pub fn new(is_wanted: bool) -> Self {
        Unannounced {
            is_wanted,
            ..Unannounced::default()
        }
    }

    /// Notes a message that this process has stored without an event.
    pub fn note(&self, id: impl Into<Key>) {
        if !self.is_wanted {
            return;
        }
        let (mut noted, id) = (self.noted(), id.into());
        noted.note(id);
        noted.untold.push(id);
        drop(noted);
        self.news.notify_one();
    }

    /// Notes messages of another process.
    pub fn hear(&self, ids: Vec<Key>) {
        let mut noted = self.noted();
        for id in ids {
            noted.note(id);
        }
    }

    #[must_use]
    pub fn contains(&self, id: impl Into<Key>) -> bool {
        self.noted().ids.contains(&id.into())
    }

    /// Waits for messages of which the others have not been notified, and gathers some.
    pub async fn untold(&self) -> Vec<Key> {
        self.news.notified().await;
        sleep(GATHER).await;
        self.take_untold()
    }

    /// Takes those of which the others have not been notified.
    pub fn take_untold(&self) -> Vec<Key> {
        std::mem::take(&mut self.noted().untold)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
