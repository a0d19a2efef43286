//! Events that wait in a conversation while it is repaired.

use std::collections::{HashSet, VecDeque};

use tokio::time::Instant;

use super::{
    shown::{ShownKey, is_mark},
    told::Told,
};
use crate::{clock::Clock, metrics, python::datetime::Timestamp};

/// Most events that wait in one conversation. Past it the oldest is let go, which the store has,
/// and the store is read once more.
const HELD: usize = 1000;

/// Events that wait for a repair.
pub struct Hold {
    /// The layer will tell since when events may have been missed.
    pub awaits_gap: bool,
    /// Since when the store is to be read; `None` while that is done.
    pub since: Option<Timestamp>,
    /// Somebody reads, or is about to.
    pub is_taken: bool,
    pub events: VecDeque<Told>,
    /// Time of the newest event that was dropped.
    pub let_go: Option<Timestamp>,
    pub began: Instant,
    _open: metrics::HeldGauge,
}

impl Hold {
    pub fn new(open: metrics::HeldGauge) -> Self {
        Hold {
            awaits_gap: false,
            since: None,
            is_taken: false,
            events: VecDeque::new(),
            let_go: None,
            began: Instant::now(),
            _open: open,
        }
    }

    /// The store is to be read since then.
    pub fn read_since(&mut self, since: Timestamp) {
        self.since = Some(self.since.map_or(since, |known| known.min(since)));
    }

    /// Returns whether an event with this key waits.
    pub fn has(&self, key: ShownKey) -> bool {
        self.events.iter().any(|told| told.key == Some(key))
    }

    /// Takes out the first event with this key.
    pub fn take(&mut self, key: ShownKey) -> Option<Told> {
        let place = self.events.iter().position(|told| told.key == Some(key))?;
        self.events.remove(place)
    }

    /// Returns the keys of the read marks that wait.
    pub fn marks(&self) -> HashSet<ShownKey> {
        let keys = self.events.iter().filter_map(|told| told.key);
        keys.filter(|key| is_mark(*key)).collect()
    }

    /// Takes out those of some read marks that wait before the one with this key, if that waits.
    pub fn take_marks_before(&mut self, key: ShownKey, some: &HashSet<ShownKey>) -> Vec<Told> {
        let place = self.events.iter().position(|told| told.key == Some(key));
        let (mut before, mut taken) = (place.unwrap_or_default(), Vec::new());
        let mut at = 0;
        while at < before {
            let is_one = self
                .events
                .get(at)
                .and_then(|told| told.key)
                .is_some_and(|key| some.contains(&key));
            if is_one {
                taken.extend(self.events.remove(at));
                before -= 1;
            } else {
                at += 1;
            }
        }
        taken
    }

    /// Adds an event. The caller has checked that it may wait.
    pub fn wait(&mut self, told: Told, clock: &Clock) {
        if self.events.len() == HELD {
            self.events.pop_front();
            self.let_go.get_or_insert_with(|| Timestamp::by(clock));
        }
        self.events.push_back(told);
    }
}
