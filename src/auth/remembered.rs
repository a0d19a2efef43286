//! What cookies and tokens led to, remembered for a moment so that the database is not asked again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::identity::Identity;
use crate::{clock::since_1970, config};

/// What was shown, hashed: no cookie and no token is kept.
pub type Place = [u8; 32];

/// What the value of a cookie, or a token, leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No session, no token.
    Nothing,
    /// A session or token of nobody who may log in.
    Anonymous,
    Known(Identity),
}

struct Seen {
    at: Instant,
    found: Found,
}

pub struct Remembered {
    patience: Duration,
    most: usize,
    /// Held for moments only.
    seen: Mutex<HashMap<Place, Seen>>,
}

impl Remembered {
    #[must_use]
    pub fn new(settings: &config::DjangoSession) -> Self {
        Remembered {
            patience: Duration::from_secs(settings.cache_s),
            most: settings.cache_size,
            seen: Mutex::default(),
        }
    }

    #[must_use]
    pub fn place_of(shown: &str) -> Place {
        Sha256::digest(shown).into()
    }

    #[must_use]
    pub fn get(&self, place: &Place) -> Option<Found> {
        let seen = self.seen();
        let Seen { at, found } = seen.get(place)?;
        let is_over = matches!(found, Found::Known(known) if known.until <= since_1970().as_secs());
        (at.elapsed() < self.patience && !is_over).then(|| found.clone())
    }

    pub fn put(&self, place: Place, found: Found) {
        if self.patience.is_zero() {
            return;
        }
        let mut seen = self.seen();
        if seen.len() >= self.most {
            seen.retain(|_, seen| seen.at.elapsed() < self.patience);
        }
        if seen.len() >= self.most {
            seen.clear();
        }
        let at = Instant::now();
        seen.insert(place, Seen { at, found });
    }

    /// Forgets what led to a user.
    pub fn forget(&self, user: &str) {
        let is_users = |seen: &Seen| matches!(&seen.found, Found::Known(it) if *it.user == *user);
        self.seen().retain(|_, seen| !is_users(seen));
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Place, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
