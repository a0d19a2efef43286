//! PostgreSQL for tables that a dialect has of its own, with its own statements.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_postgres::Row;

use super::{
    address::Address,
    connection::{ANSWER, PostgresConnection},
    error::no_answer,
    param::Params,
    pool::PostgresPool,
};
use crate::{
    config::StoreUrl,
    metrics::Metrics,
    store::{StoreError, history::ROWS_BYTES},
};

/// Connections that write at once, at most; fewer of a small pool.
const WRITERS: usize = 4;

/// Keeps processes from making tables at the same time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(2037148276)";

/// A database with tables of a dialect's own.
pub struct OwnDatabase {
    readers: PostgresPool,
    /// Those that write and are free. Held for moments only.
    writers: Mutex<Vec<PostgresConnection>>,
    /// One for each connection that may write.
    permits: Semaphore,
}

/// A transaction. Without a commit nothing of it is stored.
pub struct Transaction<'a> {
    home: &'a OwnDatabase,
    db: PostgresConnection,
    _permit: SemaphorePermit<'a>,
}

impl OwnDatabase {
    /// Connects, and runs statements without parameters that make tables which are missing.
    ///
    /// # Errors
    /// When the database cannot be reached, or refuses the statements.
    pub async fn open(
        url: &StoreUrl,
        size: usize,
        schema: &str,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let address = Address::parse(url.expose())?;
        let mut db = PostgresConnection::open(&address).await?;
        // All or nothing, and one process at a time.
        db.begin().await?;
        db.run(LOCK).await?;
        db.run(schema).await?;
        db.commit().await?;
        let writers = WRITERS.min(size / 2).max(1);
        Ok(OwnDatabase {
            readers: PostgresPool::new(address, size.saturating_sub(writers).max(1), metrics),
            writers: Mutex::new(vec![db]),
            permits: Semaphore::new(writers),
        })
    }

    /// Adds indexes, without keeping others from the tables, however long it takes. What cannot be
    /// added is logged: everything works without it, only slower. One process does it at a time.
    pub async fn add_indexes(&self, statements: &[&str]) {
        let added = async {
            let mut db = self.readers.make_room().await?;
            // A setting of a session would be left behind for others.
            if db.is_pooled() {
                return Ok(());
            }
            let locked = db.texts("SELECT pg_try_advisory_lock(2037148277)").await?.0;
            if locked
                .first()
                .and_then(|row| row.first()?.clone())
                .as_deref()
                != Some("t")
            {
                return Ok(());
            }
            db.run("SET statement_timeout = 0").await?;
            for statement in statements {
                db.run(statement).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = added.await {
            tracing::warn!(%error, "an index is not added: some things take longer without it");
        }
    }

    /// Reads with one statement. It may be run twice if a connection breaks.
    ///
    /// # Errors
    /// When there is no connection to be had, or the statement fails.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        self.readers.query(sql, params).await
    }

    /// Runs one statement that is a transaction by itself. It is never run twice.
    ///
    /// # Errors
    /// When there is no connection to be had, or the statement fails. If the connection breaks it is
    /// not known whether it is stored ([`StoreError::Unavailable`]).
    pub async fn write(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let (mut db, _permit) = self.writer().await?;
        let done = in_time(async { Ok(db.read(sql, params, ROWS_BYTES).await?.0) }).await;
        self.give_back(db, &done);
        done
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        let (mut db, permit) = self.writer().await?;
        in_time(async { Ok(db.begin().await?) }).await?;
        Ok(Transaction {
            home: self,
            db,
            _permit: permit,
        })
    }

    /// Takes no more callers.
    pub fn close(&self) {
        self.permits.close();
        self.readers.close();
        self.free().clear();
    }

    async fn writer(&self) -> Result<(PostgresConnection, SemaphorePermit<'_>), StoreError> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let kept = self.free().pop();
        if let Some(mut db) = kept
            && db.lives().await
        {
            return Ok((db, permit));
        }
        // The others are no better.
        self.free().clear();
        Ok((self.readers.make_room().await?, permit))
    }

    fn give_back<T>(&self, db: PostgresConnection, done: &Result<T, StoreError>) {
        let is_well = !matches!(
            done,
            Err(StoreError::Unavailable(_) | StoreError::Schema(_))
        );
        if is_well && db.is_free() && !self.permits.is_closed() {
            self.free().push(db);
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<PostgresConnection>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transaction<'_> {
    /// Runs one statement within the transaction. After an error it can only be dropped.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        in_time(async { Ok(self.db.query(sql, params).await?) }).await
    }

    /// Commits.
    ///
    /// # Errors
    /// Those of the server, and of the way to it: it is not known whether it is stored.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let done = in_time(async { Ok(self.db.commit().await?) }).await;
        self.home.give_back(self.db, &done);
        done
    }
}

async fn in_time<T>(done: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(ANSWER, done).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable(no_answer(ANSWER))),
    }
}
