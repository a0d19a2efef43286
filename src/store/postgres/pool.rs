//! The connections that only read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tokio_postgres::Row;

use super::{
    address::Address,
    connection::{ANSWER, PostgresConnection},
    error::{leaves_usable, loses_statements, no_answer},
    param::Params,
};
use crate::{
    metrics::Metrics,
    store::{
        StoreError,
        history::{ROWS_BYTES, TOO_MANY},
        turns::Turns,
    },
};

/// Longest wait for a connection of the pool.
const WAIT: Duration = Duration::from_secs(5);

/// Connections that read, opened when they are first needed and kept.
pub struct PostgresPool {
    address: Address,
    /// Held for moments only, never across an await.
    idle: Mutex<Vec<PostgresConnection>>,
    turns: Turns,
}

impl PostgresPool {
    /// Makes a pool of at most `size` connections.
    pub fn new(address: Address, size: usize, metrics: Arc<Metrics>) -> Self {
        PostgresPool {
            address,
            idle: Mutex::default(),
            turns: Turns::new(size, WAIT, metrics),
        }
    }

    /// Reads with one statement. A connection that has died while it was idle is replaced, so that
    /// a restart of the server in a quiet moment goes unnoticed.
    ///
    /// # Errors
    /// When there is no connection to be had, or the statement fails.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        match self.some_rows(sql, params, ROWS_BYTES).await? {
            (rows, false) => Ok(rows),
            (_, true) => Err(StoreError::Unavailable(TOO_MANY.into())),
        }
    }

    /// Reads with one statement up to the row that reaches `most` bytes, and tells whether that
    /// cut the rows short.
    ///
    /// # Errors
    /// As those of [`PostgresPool::query`].
    pub async fn some_rows(
        &self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        self.turns.done(self.read(sql, params, most).await)
    }

    /// Reads, if need be a second time: a kept connection may have died without a word.
    async fn read(
        &self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        let _turn = self.turns.take().await?;
        if let Some(db) = self.take_idle().await {
            match self.query_on(db, sql, params, most).await {
                // The others are no better.
                Err(PoolFailure::Broken(_)) => self.idle().clear(),
                result => return result.map_err(PoolFailure::into_inner),
            }
        }
        let db = self.open().await?;
        let result = self.query_on(db, sql, params, most).await;
        result.map_err(PoolFailure::into_inner)
    }

    /// Opens a connection that writes. While the server takes no more, one that reads ends.
    ///
    /// # Errors
    /// When none can be opened in time.
    pub async fn make_room(&self) -> Result<PostgresConnection, StoreError> {
        let began = Instant::now();
        loop {
            let opened = PostgresConnection::open(&self.address).await;
            if let Some(db) = self.turns.room_for(opened, began).await? {
                return Ok(db);
            }
            drop(self.idle().pop());
        }
    }

    /// Opens a connection. While the server takes no more, one that comes free is as good.
    async fn open(&self) -> Result<PostgresConnection, StoreError> {
        let began = Instant::now();
        loop {
            let opened = PostgresConnection::open(&self.address).await;
            if let Some(db) = self.turns.room_for(opened, began).await? {
                return Ok(db);
            }
            if let Some(db) = self.take_idle().await {
                return Ok(db);
            }
        }
    }

    /// Closes the pool: no caller gets a connection any more.
    pub fn close(&self) {
        self.turns.close();
        self.idle().clear();
    }

    async fn query_on(
        &self,
        db: PostgresConnection,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), PoolFailure> {
        let mut lease = ConnectionLease {
            pool: self,
            db: Some(db),
        };
        let Some(db) = lease.db.as_mut() else {
            return Err(PoolFailure::Other(StoreError::Closed));
        };
        let error = match timeout(ANSWER, db.read(sql, params, most)).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) if leaves_usable(&error) => {
                return Err(PoolFailure::Other(error.into()));
            }
            Ok(Err(error)) => {
                if loses_statements(&error) {
                    self.address.found_pooler();
                }
                error.into()
            }
            Err(_) => StoreError::Unavailable(no_answer(ANSWER)),
        };
        lease.db = None;
        Err(PoolFailure::Broken(error))
    }

    /// Returns a kept connection that lives. If the last one used does not, the others are no
    /// better.
    async fn take_idle(&self) -> Option<PostgresConnection> {
        let mut db = self.idle().pop()?;
        if db.lives().await {
            return Some(db);
        }
        self.idle().clear();
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PostgresConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum PoolFailure {
    /// The connection is gone.
    Broken(StoreError),
    Other(StoreError),
}

impl PoolFailure {
    fn into_inner(self) -> StoreError {
        match self {
            PoolFailure::Broken(error) | PoolFailure::Other(error) => error,
        }
    }
}

/// A connection in use. It goes back into the pool even if its caller has gone away meanwhile.
struct ConnectionLease<'a> {
    pool: &'a PostgresPool,
    db: Option<PostgresConnection>,
}

impl Drop for ConnectionLease<'_> {
    fn drop(&mut self) {
        if let Some(db) = self.db.take().filter(PostgresConnection::is_free) {
            self.pool.idle().push(db);
        }
    }
}
