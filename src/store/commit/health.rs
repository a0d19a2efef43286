//! The outcome of the last commit, for those who ask if the server is ready.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::StoreError;

/// Time that a failure is remembered. A server that is not ready gets no requests, so that no write
/// would ever show that the database has recovered.
const MEMORY: Duration = Duration::from_secs(10);

/// The last failure, until a commit succeeds. Held for moments only.
#[derive(Debug, Default)]
pub struct Health(Mutex<Option<(Instant, &'static str)>>);

impl Health {
    /// Notes the outcome of a write.
    pub fn note<T>(&self, outcome: &Result<T, StoreError>) {
        let failure = match outcome {
            Ok(_) => None,
            // The fault of the row.
            Err(StoreError::Refused(_) | StoreError::Alike) => return,
            Err(error) => Some((Instant::now(), error.label())),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Returns the kind of the failure, if the last commit has failed within the last ten seconds.
    pub fn failure(&self) -> Option<&'static str> {
        let failure = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, kind) = failure?;
        (at.elapsed() < MEMORY).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failed_commit_is_remembered_until_one_succeeds_or_time_has_passed() {
        let health = Health::default();
        let away = || Err::<(), _>(StoreError::Unavailable("full".into()));
        health.note(&away());
        assert_eq!(health.failure(), Some("unavailable"));
        health.note(&Err::<(), _>(StoreError::Refused("bad".into())));
        assert_eq!(health.failure(), Some("unavailable"));
        health.note(&Ok(()));
        assert_eq!(health.failure(), None);
        health.note(&away());
        tokio::time::advance(MEMORY).await;
        assert_eq!(health.failure(), None);
    }
}
