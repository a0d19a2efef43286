//! Connections to the file: how one is opened, and the pool of those that only read.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use crate::{
    metrics::Metrics,
    store::{StoreError, turns::Turns},
};

/// Longest wait of a statement for another process's write lock before the store counts as
/// unavailable.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before a file that another process is just turning to WAL is tried again.
const WAL_RETRY: Duration = Duration::from_millis(10);

/// Opens the file, making it if it is not there, with rights for its owner only.
///
/// # Errors
/// When the file cannot be opened or is no database.
pub fn connect(path: &Path) -> Result<Connection, StoreError> {
    make_private(path);
    let db = Connection::open(path).map_err(|error| error_at(path, &error))?;
    db.busy_timeout(BUSY_TIMEOUT)
        .and_then(|()| enter_wal(&db))
        .and_then(|()| db.pragma_update(None, "synchronous", "full"))
        .and_then(|()| db.pragma_update(None, "foreign_keys", true))
        .map_err(|error| error_at(path, &error))?;
    Ok(db)
}

/// Makes an empty file that only its owner may read and write, whatever the umask. SQLite gives
/// `-wal` and `-shm` the permissions of the file itself. A file that is there keeps its own, and
/// one that cannot be made is reported by SQLite.
fn make_private(path: &Path) {
    // A URI, of which only SQLite knows what file it means.
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        return;
    }
    let mut private = OpenOptions::new();
    let _ = private.write(true).create_new(true).mode(0o600).open(path);
}

/// Puts the file into WAL mode, in which it stays.
///
/// SQLite does not wait for the lock that this takes, since two that wait for each other here
/// would do so for ever: of two processes that open a new file at once, one gets that it is
/// busy, whatever the timeout.
fn enter_wal(db: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match db.pragma_update(None, "journal_mode", "wal") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                thread::sleep(WAL_RETRY);
            }
            outcome => return outcome,
        }
    }
}

fn error_at(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        // A value that Django could not have written there: it will not be another one later.
        if let FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) = error
        {
            return StoreError::Schema(format!("a row is unreadable: {error}"));
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                StoreError::Refused(error.to_string())
            }
            _ => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// Connections that read, opened when they are first needed and kept.
#[derive(Clone)]
pub struct Readers {
    path: Arc<PathBuf>,
    /// Held for moments only, never across an await or a query.
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Turns,
}

impl Readers {
    /// Makes a pool of at most `size` connections to the file.
    pub fn new(path: PathBuf, size: usize, metrics: Arc<Metrics>) -> Self {
        Readers {
            path: Arc::new(path),
            idle: Arc::default(),
            // A file is never away: a reader that waits here waits for other readers.
            turns: Turns::new(size, Duration::MAX, metrics),
        }
    }

    /// Runs `query` on a connection of the pool, away from the async threads.
    ///
    /// # Errors
    /// When the file cannot be opened or the query fails.
    pub async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.turns.done(self.try_to_read(query).await)
    }

    async fn try_to_read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = self.turns.take().await?;
        let pool = self.clone();
        blocking(move || {
            let _turn = turn;
            let idle = pool
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let opened = || pool.turns.connected(connect(&pool.path));
            let db = idle.map_or_else(opened, Ok)?;
            let answer = query(&db)?;
            pool.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(db);
            Ok(answer)
        })
        .await
    }
}

/// Runs `work` where it may block.
///
/// # Errors
/// The errors of `work`; a panic in it counts as the database being unavailable.
pub async fn blocking<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}
