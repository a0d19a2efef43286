//! Replaces all workers while their sockets stay open: new ones are started and join, the states of
//! the sockets move, the old ones end.
//!
//! Until the new ones have joined nothing has changed, and if they do not, nothing changes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{Host, LOOK, link::WorkerLink, lock, pool, socket::SPREAD};
use crate::metrics::ReloadOutcome;

/// Time for all new workers to join.
const JOINING: Duration = Duration::from_secs(120);

/// Time for sockets that cannot move to be closed, besides that of a call.
const CLOSING: Duration = Duration::from_secs(10);

/// Reasons why workers are not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("a new worker has ended")]
    Ended,
    #[error("new workers have not joined within {} s", JOINING.as_secs())]
    Late,
}

impl Host {
    /// Replaces all workers: those that were started here by new ones, and otherwise by as many as
    /// join from now on. Returns when the old ones have ended.
    ///
    /// # Errors
    /// When new workers do not join: then nothing has changed.
    pub async fn reload(self: &Arc<Self>) -> Result<(), ReloadError> {
        let _one = self.reloading.lock().await;
        let began = Instant::now();
        let replaced = self.replace().await;
        self.metrics.host_reload(match &replaced {
            Ok(()) => {
                tracing::info!(after = ?began.elapsed(), "all workers are replaced");
                ReloadOutcome::Done
            }
            Err(error) => {
                tracing::error!(%error, "the workers stay as they are");
                ReloadOutcome::Failed
            }
        });
        replaced
    }

    async fn replace(self: &Arc<Self>) -> Result<(), ReloadError> {
        let first = self.number();
        // The old ones take what comes as long as they may stay.
        self.newcomers.store(first, Ordering::Release);
        let old = lock(&self.workers).clone();
        let command = self.settings.start();
        tracing::info!(old = old.len(), "replacing all workers");
        let joined = if let Some(command) = command {
            self.start_anew(&command, first).await
        } else {
            let joined = self.wait_for(first, old.len()).await;
            joined.map(|()| pool::Generation::default())
        };
        self.newcomers.store(u64::MAX, Ordering::Release);
        let before = joined?;
        self.retire(&old).await;
        before.end();
        Ok(())
    }

    /// Starts new workers and waits until they have joined. Returns those from before, which are
    /// then started no more.
    async fn start_anew(
        self: &Arc<Self>,
        command: &str,
        first: u64,
    ) -> Result<pool::Generation, ReloadError> {
        let before = lock(&self.generation).clone();
        before.hold();
        let new = pool::Generation::starting();
        pool::start(self, command, &new);
        let joined = tokio::select! {
            joined = self.wait_for(first, self.settings.workers) => joined,
            () = new.over() => Err(ReloadError::Ended),
        };
        if joined.is_ok() && new.settle() {
            *lock(&self.generation) = new;
            before.retire();
            return Ok(before);
        }
        new.end();
        before.settle();
        for link in lock(&self.workers).iter().filter(|it| it.number >= first) {
            link.retire();
            link.dismiss();
        }
        Err(joined.err().unwrap_or(ReloadError::Ended))
    }

    /// Waits until as many workers have joined that are not older than `first`.
    async fn wait_for(&self, first: u64, workers: usize) -> Result<(), ReloadError> {
        let joined = async {
            let is_new = |link: &&Arc<WorkerLink>| link.number >= first && link.is_open();
            while lock(&self.workers).iter().filter(is_new).count() < workers {
                sleep(LOOK).await;
            }
        };
        timeout(JOINING, joined)
            .await
            .map_err(|_| ReloadError::Late)
    }

    /// Waits until the sockets of these workers have moved or ended, and their requests are
    /// answered, then ends the workers.
    async fn retire(&self, old: &[Arc<WorkerLink>]) {
        for link in old {
            link.retire();
        }
        let moved = async {
            while old.iter().any(|link| link.is_busy()) {
                sleep(LOOK).await;
            }
        };
        let patience = self.call_timeout() + SPREAD + CLOSING;
        if timeout(patience, moved).await.is_err() {
            tracing::warn!("the old workers had not let go of all sockets and requests");
        }
        for link in old {
            link.dismiss();
        }
    }
}
