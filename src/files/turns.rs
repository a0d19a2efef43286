//! Uploads under way: bounded together, and for each user, so that one who sends slowly leaves room for
//! the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most uploads under way.
const MOST: usize = 32;

/// Most of them of one user.
const OF_A_USER: usize = 8;

type CountsByUser = HashMap<String, usize>;

/// Counts the uploads under way. Only users with one have an entry.
#[derive(Default)]
pub struct Turns(Arc<Mutex<CountsByUser>>);

impl Turns {
    /// Begins an upload of a user; `None` while there are too many.
    #[must_use]
    pub fn take(&self, user: &str) -> Option<Turn> {
        let mut counts = lock(&self.0);
        let own = counts.get(user).copied().unwrap_or_default();
        if own >= OF_A_USER || counts.values().sum::<usize>() >= MOST {
            return None;
        }
        counts.insert(user.to_owned(), own + 1);
        Some(Turn {
            counts: Arc::clone(&self.0),
            user: user.to_owned(),
        })
    }
}

/// An upload under way; no longer counted when this is dropped.
pub struct Turn {
    counts: Arc<Mutex<CountsByUser>>,
    user: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        match counts.get_mut(&self.user) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                counts.remove(&self.user);
            }
        }
    }
}

fn lock(counts: &Mutex<CountsByUser>) -> MutexGuard<'_, CountsByUser> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_share_of_all_and_gets_it_back() {
        let turns = Turns::default();
        let mut held: Vec<_> = (0..OF_A_USER).map(|_| turns.take("ann")).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(turns.take("ann").is_none());
        held.pop();
        held.push(turns.take("ann"));
        for user in ["ben", "cat", "dan"] {
            held.extend((0..OF_A_USER).map(|_| turns.take(user)));
        }
        assert!(held.iter().all(Option::is_some));
        assert!(turns.take("eve").is_none());
        drop(held);
        assert!(turns.take("eve").is_some());
        assert_eq!(lock(&turns.0).len(), 0);
    }
}
