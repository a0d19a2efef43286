//! Token buckets in bounded memory.
//!
//! A bucket is one number: when it will be full again. What is taken moves that moment on by the
//! time a token takes to come back, and no more can be taken than what comes back within the period
//! (this is known as GCRA). A bucket that is full is as good as none.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    time::{Duration, Instant},
};

use super::{ClientKey, LimitedAction};
use crate::config::Rate;

/// Whose bucket it is, and of what.
type Name = (ClientKey, LimitedAction);

/// All buckets of a server.
///
/// They are kept in two halves: one in use is in the young half, and when that has grown to its
/// bound it becomes the old one, and what was old is forgotten. So those used longest ago go first,
/// and no more than `max` are there at any time.
pub struct Buckets {
    young: HashMap<Name, u64>,
    old: HashMap<Name, u64>,
    half: usize,
    /// The moments in the buckets are nanoseconds since then.
    began: Instant,
    users: RandomState,
}

impl Buckets {
    /// No buckets; they take memory as they come.
    pub fn new(max: usize, began: Instant) -> Self {
        Buckets {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (max / 2).max(1),
            began,
            users: RandomState::new(),
        }
    }

    /// Returns the key of a user.
    pub fn user(&self, id: &str) -> ClientKey {
        ClientKey::User(self.users.hash_one(id))
    }

    /// Takes one token.
    ///
    /// # Errors
    /// There is none; the time until there is.
    pub fn take(&mut self, name: Name, rate: Rate, now: Instant) -> Result<(), Duration> {
        let now = nanos(now.saturating_duration_since(self.began));
        let period = nanos(rate.period());
        let each = period / u64::from(rate.most());
        let full_at = self.find(name).unwrap_or_default().max(now);
        let then = full_at.saturating_add(each);
        match then.saturating_sub(now).checked_sub(period) {
            None | Some(0) => {
                self.put(name, then);
                Ok(())
            }
            Some(too_much) => {
                // A client that goes on asking is not forgotten.
                self.put(name, full_at);
                Err(Duration::from_nanos(too_much))
            }
        }
    }

    /// Takes some tokens, more than there are if need be.
    pub fn charge(&mut self, name: Name, rate: Rate, count: u32, now: Instant) {
        let now = nanos(now.saturating_duration_since(self.began));
        let each = nanos(rate.period()) / u64::from(rate.most());
        let full_at = self.find(name).unwrap_or_default().max(now);
        let taken = each.saturating_mul(u64::from(count));
        self.put(name, full_at.saturating_add(taken));
    }

    /// The time until nothing is owed any more; `None` if nothing is.
    pub fn owed(&mut self, name: Name, rate: Rate, now: Instant) -> Option<Duration> {
        let now = nanos(now.saturating_duration_since(self.began));
        let full_at = self.find(name)?;
        let owed = full_at
            .saturating_sub(now)
            .saturating_sub(nanos(rate.period()));
        // A client that goes on asking is not forgotten.
        self.put(name, full_at);
        (owed > 0).then(|| Duration::from_nanos(owed))
    }

    /// The time until there is a token; `None` if there is one. None is taken.
    pub fn spent(&self, name: Name, rate: Rate, now: Instant) -> Option<Duration> {
        let now = nanos(now.saturating_duration_since(self.began));
        let period = nanos(rate.period());
        let each = period / u64::from(rate.most());
        let then = self.find(name)?.max(now).saturating_add(each);
        let too_much = then.saturating_sub(now).checked_sub(period)?;
        (too_much > 0).then(|| Duration::from_nanos(too_much))
    }

    fn find(&self, name: Name) -> Option<u64> {
        self.young
            .get(&name)
            .or_else(|| self.old.get(&name))
            .copied()
    }

    fn put(&mut self, name: Name, full_at: u64) {
        if self.young.len() >= self.half && !self.young.contains_key(&name) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, full_at);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
