//! Refresh tokens that were not used yet, by their `jti`. Each can be used once.
//!
//! They are keys in Redis, `refresh_jti:<jti>` with the id of the user, so that the Python processes
//! beside us know them too and they outlive a restart. Without a Redis they are kept in memory, for
//! this process alone.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::cmd;

use crate::layer::{LayerError, redis::single::SingleHost};

const PREFIX: &str = "refresh_jti:";

/// Tokens in memory up to which those that ran out are not looked for.
const FEW: usize = 1024;

/// The refresh tokens.
pub struct RefreshTokens(Place);

enum Place {
    Redis(Box<SingleHost>),
    /// Held for moments only.
    Memory(Mutex<Remembered>),
}

#[derive(Default)]
struct Remembered {
    /// User and end of each.
    tokens: HashMap<String, (String, Instant)>,
    /// Number of tokens at which those that ran out are dropped.
    sweep_at: usize,
}

impl RefreshTokens {
    #[must_use]
    pub fn in_redis(host: SingleHost) -> Self {
        RefreshTokens(Place::Redis(Box::new(host)))
    }

    #[must_use]
    pub fn in_memory() -> Self {
        RefreshTokens(Place::Memory(Mutex::default()))
    }

    /// Keeps a token of a user for its life, in whole seconds.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`] if Redis does not answer.
    pub async fn keep(&self, id: &str, user: &str, life: Duration) -> Result<(), LayerError> {
        match &self.0 {
            Place::Redis(host) => {
                let mut set = cmd("SET");
                set.arg(format!("{PREFIX}{id}")).arg(user);
                host.ask(set.arg("EX").arg(life.as_secs())).await
            }
            Place::Memory(remembered) => {
                let mut remembered = lock(remembered);
                let now = Instant::now();
                if remembered.tokens.len() >= remembered.sweep_at.max(FEW) {
                    remembered.tokens.retain(|_, (_, end)| *end > now);
                    remembered.sweep_at = 2 * remembered.tokens.len();
                }
                let token = (user.to_owned(), now + life);
                remembered.tokens.insert(id.to_owned(), token);
                Ok(())
            }
        }
    }

    /// Takes a token: the user that it was kept for, the first time.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`] if Redis does not answer. The token may have been taken then.
    pub async fn take(&self, id: &str) -> Result<Option<String>, LayerError> {
        match &self.0 {
            Place::Redis(host) => host.ask(cmd("GETDEL").arg(format!("{PREFIX}{id}"))).await,
            Place::Memory(remembered) => {
                let taken = lock(remembered).tokens.remove(id);
                let taken = taken.filter(|(_, end)| *end > Instant::now());
                Ok(taken.map(|(user, _)| user))
            }
        }
    }
}

fn lock(remembered: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_token_in_memory_can_be_taken_once() {
        let tokens = RefreshTokens::in_memory();
        tokens.keep("a", "1", LIFE).await.unwrap();
        assert_eq!(tokens.take("b").await.unwrap(), None);
        assert_eq!(tokens.take("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(tokens.take("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn tokens_that_ran_out_are_neither_taken_nor_kept_for_ever() {
        let tokens = RefreshTokens::in_memory();
        for id in 0..FEW {
            let id = id.to_string();
            tokens.keep(&id, "1", Duration::ZERO).await.unwrap();
        }
        assert_eq!(tokens.take("0").await.unwrap(), None);
        tokens.keep("0", "1", LIFE).await.unwrap();
        tokens.keep("fresh", "1", LIFE).await.unwrap();
        let Place::Memory(remembered) = &tokens.0 else {
            panic!("not in memory");
        };
        assert_eq!(lock(remembered).tokens.len(), 2);
    }
}
