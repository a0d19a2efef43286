//! Passwords as bcrypt hashes, `$2b$12$…`.
//!
//! A hash takes a quarter of a second of a processor, on purpose. All of it is done on threads of
//! its own, by a few workers at a time, and only so many callers may wait for them: a flood of
//! logins slows down logins and nothing else.

use std::sync::Arc;

use bcrypt::{BcryptError, Version};
use tokio::{
    sync::{AcquireError, Semaphore, TryAcquireError},
    task::JoinError,
};

use crate::random::{self, NoRandomness};

/// Cost of new hashes. Others are verified whatever their cost.
const COST: u32 = 12;

/// Callers that may wait for each worker; one more is refused.
const WAITING: usize = 16;

/// A hash of no password, for names without an account: the answer takes as long.
const OF_NOBODY: &str = "$2b$12$/IW.bzTa7Au/0PEegbpQPuCqCI9vrQVFCTUJUllvNND5i/OgplpHq";

/// Why a password was neither hashed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many callers wait; to be tried again in some seconds.
    #[error("too many passwords are being hashed")]
    Busy,
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("bcrypt: {0}")]
    Bcrypt(#[from] BcryptError),
    /// The worker ended with the process.
    #[error("a password was not hashed: {0}")]
    Ended(#[from] JoinError),
}

/// Hashes and verifies.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// One for each caller that is let in.
    places: Arc<Semaphore>,
    /// One for each worker.
    workers: Arc<Semaphore>,
}

impl Passwords {
    /// Makes a pool of half as many workers as there are processors, one at least.
    #[must_use]
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords::with((processors / 2).max(1), WAITING)
    }

    fn with(workers: usize, waiting: usize) -> Self {
        Passwords {
            places: Arc::new(Semaphore::new(workers * (1 + waiting))),
            workers: Arc::new(Semaphore::new(workers)),
        }
    }

    /// Hashes a password. Bytes past the 72nd do not count.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let salt = random::bytes()?;
        let password = password.to_owned();
        self.work(move || {
            let hash = bcrypt::hash_with_salt(password, COST, salt)?;
            Ok(hash.format_for_version(Version::TwoB))
        })
        .await
    }

    /// Returns whether this is the password of an account; `None` is no account, which takes as
    /// long. A hash that bcrypt does not know fits no password.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PasswordError> {
        let is_known = hash.is_some();
        let (password, hash) = (password.to_owned(), hash.unwrap_or(OF_NOBODY).to_owned());
        self.work(move || match bcrypt::verify(password, &hash) {
            Ok(is_it) => Ok(is_it && is_known),
            Err(BcryptError::InvalidHash(_) | BcryptError::CostNotAllowed(_)) => Ok(false),
            Err(error) => Err(error.into()),
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_: TryAcquireError| PasswordError::Busy)?;
        let worker = Arc::clone(&self.workers).acquire_owned().await;
        let worker = worker.map_err(|_: AcquireError| PasswordError::Busy)?;
        // Both are held until the work is done, whatever becomes of the caller.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((place, worker));
            done
        });
        done.await?
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords::new()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_by_its_hash() {
        let passwords = Passwords::with(1, 4);
        let hash = passwords.hash("password1").await.unwrap();
        assert!(hash.starts_with("$2b$12$"), "{hash}");
        assert!(passwords.verify("password1", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("password2", Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn hashes_of_passlib_are_known_in_every_spelling() {
        let passwords = Passwords::with(1, 4);
        // passlib 1.7.4 with bcrypt 4.0.1, cost 4.
        for hash in [
            "$2b$04$abcdefghijklmnopqrstuugOXdu4fjtpTOHIrBRfnjYOW/1D7m7sW",
            "$2a$04$abcdefghijklmnopqrstuugOXdu4fjtpTOHIrBRfnjYOW/1D7m7sW",
            "$2y$04$abcdefghijklmnopqrstuugOXdu4fjtpTOHIrBRfnjYOW/1D7m7sW",
        ] {
            assert!(passwords.verify("secret12", Some(hash)).await.unwrap());
        }
    }

    #[tokio::test]
    async fn nobody_and_a_broken_hash_have_no_password() {
        let passwords = Passwords::with(1, 4);
        for hash in [None, Some(""), Some("!"), Some("$2b$99$x"), Some("plain")] {
            let is_it = passwords.verify("anything", hash).await.unwrap();
            assert!(!is_it, "{hash:?}");
        }
    }

    #[tokio::test]
    async fn bytes_past_the_72nd_do_not_count() {
        let passwords = Passwords::with(1, 4);
        let hash = passwords.hash(&"é".repeat(40)).await.unwrap();
        let same = "é".repeat(36);
        assert!(passwords.verify(&same, Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn more_callers_than_may_wait_are_refused_at_once() {
        let passwords = Passwords::with(1, 2);
        let all = (0..10).map(|_| passwords.hash("password1"));
        let all = join_all(all).await;
        let refused = all
            .iter()
            .filter(|done| matches!(done, Err(PasswordError::Busy)));
        assert_eq!(refused.count(), 7);
        assert!(passwords.hash("password1").await.is_ok());
    }
}
