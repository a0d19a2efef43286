//! Replaces all workers while their sockets stay open: new ones are started and join, the states of
//! the sockets move, the old ones end.
//!
//! Until the new ones have joined nothing has changed, and if they do not, nothing changes.

use std::{
    collections::HashSet,
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

/// Returns `true` for a worker that runs the new code.
type IsNew<'a> = dyn Fn(&WorkerLink) -> bool + Sync + 'a;

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
        let old = lock(&self.workers).len();
        let command = self.settings.start();
        tracing::info!(old, "replacing all workers");
        // One that was started before may join only now, and runs the code of before.
        let late: HashSet<u32> = lock(&self.started).keys().copied().collect();
        let is_new = |link: &WorkerLink| link.number >= first && !late.contains(&link.hello.pid);
        let joined = if let Some(command) = command {
            self.start_anew(&command, &is_new).await
        } else {
            let joined = self.wait_for(&is_new, old).await;
            joined.map(|()| pool::Generation::default())
        };
        self.newcomers.store(u64::MAX, Ordering::Release);
        let before = joined?;
        let old: Vec<_> = {
            let workers = lock(&self.workers);
            workers.iter().filter(|it| !is_new(it)).cloned().collect()
        };
        self.retire(&old).await;
        before.end();
        Ok(())
    }

    /// Starts new workers and waits until they have joined. Returns those from before, which are
    /// then started no more.
    async fn start_anew(
        self: &Arc<Self>,
        command: &str,
        is_new: &IsNew<'_>,
    ) -> Result<pool::Generation, ReloadError> {
        let before = lock(&self.generation).clone();
        before.hold();
        let new = pool::Generation::starting();
        pool::start(self, command, &new);
        let joined = tokio::select! {
            joined = self.wait_for(is_new, self.settings.workers) => joined,
            () = new.over() => Err(ReloadError::Ended),
        };
        if joined.is_ok() && new.settle() {
            *lock(&self.generation) = new;
            before.retire();
            return Ok(before);
        }
        new.end();
        before.settle();
        for link in lock(&self.workers).iter().filter(|it| is_new(it)) {
            link.retire();
            link.dismiss();
        }
        Err(joined.err().unwrap_or(ReloadError::Ended))
    }

    /// Waits until as many new workers have joined.
    async fn wait_for(&self, is_new: &IsNew<'_>, workers: usize) -> Result<(), ReloadError> {
        let joined = async {
            let counts = |link: &&Arc<WorkerLink>| is_new(link) && link.is_open();
            while lock(&self.workers).iter().filter(counts).count() < workers {
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
