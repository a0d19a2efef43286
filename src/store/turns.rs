//! Turns to read: a number of readers at once, on any database, and what the metrics
//! tell of it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::StoreError;
use crate::metrics::{HeldGauge, Metrics, Outcome};

/// A connection that has not answered for longer is asked whether it lives before it is trusted: a
/// failover or a NAT may have dropped it without a word.
pub const QUIET: Duration = Duration::from_secs(3);

/// The longest wait for that answer; a new connection is opened then.
pub const PING: Duration = Duration::from_secs(2);

/// Between two attempts to connect to a server that takes no more connections.
const AGAIN: Duration = Duration::from_millis(200);

/// Why a connection could not be opened.
#[derive(Debug)]
pub struct UnopenedConnection {
    pub why: StoreError,
    /// The server, or the user's limit there, takes no more connections: one of ours that ends, or
    /// comes free, is as good.
    pub is_full: bool,
}

impl From<StoreError> for UnopenedConnection {
    fn from(why: StoreError) -> Self {
        UnopenedConnection {
            why,
            is_full: false,
        }
    }
}

impl From<UnopenedConnection> for StoreError {
    fn from(unopened: UnopenedConnection) -> Self {
        unopened.why
    }
}

/// The turns of one pool of connections.
#[derive(Clone)]
pub struct Turns {
    permits: Arc<Semaphore>,
    /// The longest wait for a turn.
    patience: Duration,
    /// Notified at the end of each turn.
    ended: Arc<Notify>,
    metrics: Arc<Metrics>,
}

/// A turn, until it is dropped.
pub struct Turn {
    ended: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
    _busy: HeldGauge,
    began: Instant,
    metrics: Arc<Metrics>,
}

impl Turns {
    /// Makes a queue of at most `size` turns at once.
    pub fn new(size: usize, patience: Duration, metrics: Arc<Metrics>) -> Self {
        metrics.store_pool(size);
        Turns {
            permits: Arc::new(Semaphore::new(size)),
            patience,
            ended: Arc::default(),
            metrics,
        }
    }

    /// Counts an attempt to connect that was begun at `began`. `None` if it is to be tried again:
    /// the server takes no more connections, and a turn has ended since, or a moment has passed.
    ///
    /// # Errors
    /// When it failed for another reason, or that has lasted as long as one waits for a turn.
    pub async fn room_for<C>(
        &self,
        opened: Result<C, UnopenedConnection>,
        began: Instant,
    ) -> Result<Option<C>, StoreError> {
        match self.connected(opened) {
            Ok(connection) => Ok(Some(connection)),
            Err(UnopenedConnection { why, is_full })
                if !is_full || began.elapsed() >= self.patience =>
            {
                Err(why)
            }
            Err(_) => {
                // Connections that are not ours end too.
                let _ = timeout(AGAIN, self.ended.notified()).await;
                Ok(None)
            }
        }
    }

    /// Returns a turn, when there is one.
    ///
    /// # Errors
    /// When none comes in time, or there are none any more.
    pub async fn take(&self) -> Result<Turn, StoreError> {
        let waits = Instant::now();
        let permit = Arc::clone(&self.permits).acquire_owned();
        let Ok(permit) = timeout(self.patience, permit).await else {
            let why = "every connection of store.pool_size is busy";
            return Err(StoreError::Unavailable(why.into()));
        };
        let permit = permit.map_err(|_| StoreError::Closed)?;
        Ok(Turn {
            ended: Arc::clone(&self.ended),
            _permit: permit,
            _busy: self.metrics.store_reads(waits.elapsed()),
            began: Instant::now(),
            metrics: Arc::clone(&self.metrics),
        })
    }

    /// Counts what became of a read.
    pub fn done<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &outcome {
            self.metrics.store_error(error.label());
        }
        outcome
    }

    /// Counts what became of an attempt to connect.
    pub fn connected<T, E>(&self, outcome: Result<T, E>) -> Result<T, E> {
        self.metrics.store_connected(Outcome::of(&outcome));
        outcome
    }

    /// Gives no more turns.
    pub fn close(&self) {
        self.permits.close();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.metrics.store_read(self.began.elapsed());
        self.ended.notify_one();
    }
}
