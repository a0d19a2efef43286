//! Remembers for a moment where cookies and tokens led, so that the database is not asked again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::identity::{Denied, Identity};
use crate::{
    clock::since_1970,
    config,
    limits::{LimitedAction, Meter},
    store::StoreError,
};

/// The hash of what was shown: no cookie and no token is kept.
type ShownHash = [u8; 32];

/// The result of looking up a cookie or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No session, no token.
    Nothing,
    /// A session without a user, or of one who may not log in.
    Anonymous,
    Known(Identity),
}

struct SeenProof {
    at: Instant,
    found: Found,
}

/// Cookies and tokens that anybody can make up do not push out those of users.
#[derive(Default)]
struct Memory {
    known: HashMap<ShownHash, SeenProof>,
    others: HashMap<ShownHash, SeenProof>,
}

pub struct Remembered {
    patience: Duration,
    most: usize,
    /// Held for moments only.
    seen: Mutex<Memory>,
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

    /// Returns what was shown leads to, by `look_up` if it is not remembered. The meter counts what
    /// is looked up and leads nowhere.
    ///
    /// # Errors
    /// When the store cannot tell, or the client may not have it asked.
    pub async fn find(
        &self,
        shown: &str,
        meter: &Meter,
        look_up: impl Future<Output = Result<Found, StoreError>>,
    ) -> Result<Found, Denied> {
        let place = Sha256::digest(shown).into();
        if let Some(found) = self.get(&place) {
            return Ok(found);
        }
        meter.may_show().map_err(Denied::Limited)?;
        let found = look_up.await;
        let found = found.map_err(|error| Denied::Unavailable(error.to_string()))?;
        self.put(place, found.clone());
        if found == Found::Nothing {
            meter
                .allow(LimitedAction::Denied)
                .map_err(Denied::Limited)?;
        }
        Ok(found)
    }

    fn get(&self, place: &ShownHash) -> Option<Found> {
        let seen = self.seen();
        let SeenProof { at, found } = seen.known.get(place).or_else(|| seen.others.get(place))?;
        let is_over = matches!(found, Found::Known(known) if known.until <= since_1970().as_secs());
        (at.elapsed() < self.patience && !is_over).then(|| found.clone())
    }

    fn put(&self, place: ShownHash, found: Found) {
        if self.patience.is_zero() {
            return;
        }
        let mut memory = self.seen();
        let Memory { known, others } = &mut *memory;
        let (seen, before) = match found {
            Found::Known(_) => (known, others),
            Found::Nothing | Found::Anonymous => (others, known),
        };
        before.remove(&place);
        if seen.len() >= self.most {
            seen.retain(|_, seen| seen.at.elapsed() < self.patience);
        }
        if seen.len() >= self.most {
            seen.clear();
        }
        let at = Instant::now();
        seen.insert(place, SeenProof { at, found });
    }

    /// Forgets what led to a user.
    pub fn forget(&self, user: &str) {
        let is_users =
            |seen: &SeenProof| matches!(&seen.found, Found::Known(it) if *it.user == *user);
        self.seen().known.retain(|_, seen| !is_users(seen));
    }

    fn seen(&self) -> MutexGuard<'_, Memory> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
