//! Connections: how one is opened and looked after, and the pool of those that only read.

use std::{
    collections::HashMap,
    error::Error as _,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::TryStreamExt;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Error, Row, Statement,
    error::{DbError, Severity, SqlState},
    types::{ToSql, WrongType},
};

use super::address::Address;
use crate::{
    metrics::Metrics,
    store::{
        StoreError,
        history::{ROWS_BYTES, TOO_MANY},
        turns::Turns,
    },
};

/// Longest that opening a connection may take, all hosts of the URL together.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest wait for a connection of the pool.
const WAIT: Duration = Duration::from_secs(5);

/// Longest that a statement may take before we give the connection up. The server is told to give
/// up earlier ([`SESSION`]), so this is for one that says nothing any more.
pub const ANSWER: Duration = Duration::from_secs(8);

/// Isolation is what Django's is; a transaction of ours that hangs must not hold up Django's.
const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                       SET statement_timeout = '7s'; \
                       SET idle_in_transaction_session_timeout = '10s'";

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One connection with the statements that were prepared on it.
pub struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Moves the bytes; ends with the connection.
    driver: JoinHandle<()>,
}

impl Connection {
    /// # Errors
    /// When the server cannot be reached or does not let us in.
    pub async fn open(address: &Address) -> Result<Self, StoreError> {
        let opening = async {
            let (client, connection) = address.config.connect(address.tls.clone()).await?;
            let driver = tokio::spawn(async move {
                // What went wrong is told to whoever waits for an answer.
                let _ = connection.await;
            });
            let db = Connection {
                client,
                statements: HashMap::new(),
                driver,
            };
            db.run(SESSION).await?;
            Ok(db)
        };
        match timeout(CONNECT, opening).await {
            Ok(opened) => opened.map_err(|error: Error| {
                // Invalid authorization, invalid catalog name.
                match error.code().and_then(|code| code.code().get(..2)) {
                    Some("28" | "3D") => StoreError::Denied(describe(&error)),
                    _ => StoreError::Unavailable(describe(&error)),
                }
            }),
            Err(_) => Err(StoreError::Unavailable(no_answer(CONNECT))),
        }
    }

    /// Runs one statement, prepared the first time. Returns once the server is done with it, and
    /// its transaction if it is one by itself: an error in the commit is an error here.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, params).await
    }

    /// The rows of a statement up to the one that reaches `most` bytes, and whether that cut them
    /// short. The driver throws away what is left.
    async fn some_rows(
        &mut self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), Error> {
        let statement = self.prepared(sql).await?;
        let params = params.iter().map(|param| *param as &(dyn ToSql + Sync));
        let mut answer = pin!(self.client.query_raw(&statement, params).await?);
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        while bytes < most
            && let Some(row) = answer.try_next().await?
        {
            bytes = bytes.saturating_add(row.raw_size_bytes());
            rows.push(row);
        }
        Ok((rows, bytes >= most))
    }

    async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        let statement = if let Some(statement) = self.statements.get(sql) {
            statement.clone()
        } else {
            let statement = self.client.prepare(sql).await?;
            self.statements.insert(sql.to_owned(), statement.clone());
            statement
        };
        Ok(statement)
    }

    /// Runs statements that have no parameters and no rows.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn run(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// The server may be deaf: nobody waits for it to take leave.
impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connections that read, opened when they are first needed and kept.
pub struct Pool {
    address: Address,
    /// Held for moments only, never across an await.
    idle: Mutex<Vec<Connection>>,
    turns: Turns,
}

impl Pool {
    /// At most `size` connections.
    pub fn new(address: Address, size: usize, metrics: Arc<Metrics>) -> Self {
        Pool {
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
    /// As those of [`Pool::query`].
    pub async fn some_rows(
        &self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        self.turns.done(self.read(sql, params, most).await)
    }

    async fn read(
        &self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        let _turn = self.turns.take().await?;
        if let Some(db) = self.take_idle() {
            match self.query_on(db, sql, params, most).await {
                // The others are no better.
                Err(Failure::Broken(_)) => self.idle().clear(),
                result => return result.map_err(Failure::into_inner),
            }
        }
        let opened = Connection::open(&self.address).await;
        let db = self.turns.connected(opened)?;
        let result = self.query_on(db, sql, params, most).await;
        result.map_err(Failure::into_inner)
    }

    /// Nobody gets a connection any more.
    pub fn close(&self) {
        self.turns.close();
        self.idle().clear();
    }

    async fn query_on(
        &self,
        db: Connection,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), Failure> {
        let mut lease = Lease {
            pool: self,
            db: Some(db),
        };
        let Some(db) = lease.db.as_mut() else {
            return Err(Failure::Other(StoreError::Closed));
        };
        match timeout(ANSWER, db.some_rows(sql, params, most)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) if leaves_usable(&error) => Err(Failure::Other(error.into())),
            Ok(Err(error)) => {
                lease.db = None;
                Err(Failure::Broken(error.into()))
            }
            Err(_) => {
                lease.db = None;
                Err(Failure::Other(StoreError::Unavailable(no_answer(ANSWER))))
            }
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Failure {
    /// The connection is gone.
    Broken(StoreError),
    Other(StoreError),
}

impl Failure {
    fn into_inner(self) -> StoreError {
        match self {
            Failure::Broken(error) | Failure::Other(error) => error,
        }
    }
}

/// A connection in use. It goes back into the pool even if whoever asked has gone away meanwhile.
struct Lease<'a> {
    pool: &'a Pool,
    db: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(db) = self.db.take().filter(|db| !db.is_closed()) {
            self.pool.idle().push(db);
        }
    }
}

/// Whether the server ended the transaction with this error, and nothing else: an answer, and no
/// broken connection.
pub fn is_answer(error: &Error) -> bool {
    let severity = error.as_db_error().map(DbError::parsed_severity);
    severity.is_some_and(|severity| !matches!(severity, Some(Severity::Fatal | Severity::Panic)))
}

/// Whether the connection is as good as before. A session that has become read-only stays so after
/// the server has been healed; plans outlive the tables they were made for; a proxy may have lost
/// our prepared statements.
pub fn leaves_usable(error: &Error) -> bool {
    let spoilt = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::INVALID_SQL_STATEMENT_NAME,
    ];
    is_answer(error) && !error.code().is_some_and(|code| spoilt.contains(code))
}

/// An error with its cause, in one line. The server's detail is left out: it holds values.
pub fn describe(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

pub fn no_answer(within: Duration) -> String {
    format!("no answer within {} s", within.as_secs())
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = describe(&error);
        let Some(code) = error.code() else {
            let mistyped = error
                .source()
                .is_some_and(<dyn std::error::Error>::is::<WrongType>);
            return if mistyped {
                StoreError::Schema(text)
            } else {
                StoreError::Unavailable(text)
            };
        };
        match code.code().get(..2) {
            // Data exceptions, broken constraints, program limits (a text too long for an index).
            Some("22" | "23" | "54") => StoreError::Refused(text),
            // Tables that are missing or other than they were, or are not ours to use.
            Some("42") => StoreError::Schema(text),
            _ if *code == SqlState::FEATURE_NOT_SUPPORTED => StoreError::Schema(text),
            _ => StoreError::Unavailable(text),
        }
    }
}
