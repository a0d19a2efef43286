//! Connections: how one is opened and looked after.
//!
//! The state of a session is ours only if the session is. A pooler like pgbouncer in transaction
//! mode gives each transaction whichever of its own connections is free: a statement that was
//! prepared on one is not there on the next or is somebody else's, and a setting would be left
//! behind for others. So our settings are start-up options, which only a server of PostgreSQL
//! itself takes. One that refuses or ignores them is behind a pooler: statements are unnamed there,
//! and settings hold for one transaction.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Config, Error, Row, SimpleQueryMessage, Statement, error::SqlState};

use super::{
    address::Address,
    error::{Fault, no_answer, refuses_options, why_not_in},
    param::Params,
};
use crate::store::{
    StoreError,
    history::{ROWS, ROWS_BYTES},
    outbox::TextRow,
    turns::{PING, QUIET, UnopenedConnection},
};

/// Longest that opening a connection may take, all hosts of the URL together.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest that a statement may take before the connection is given up. The server gives up
/// earlier, so this is for one that says nothing any more.
pub const ANSWER: Duration = Duration::from_secs(8);

/// Settings of a session of ours. Isolation is what Django's is; a transaction of ours that hangs
/// must not hold up Django's. The last one marks the session.
const SESSION: &str = "-c default_transaction_isolation=read\\ committed -c statement_timeout=7s \
                       -c idle_in_transaction_session_timeout=10s -c chatferry.session=own";

/// Shows the mark.
const MARK: &str = "SELECT current_setting('chatferry.session', true)";

/// The same settings for one transaction.
const TRANSACTION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
                           SET LOCAL statement_timeout = '7s'; \
                           SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// One connection, with the statements that were prepared on it.
pub struct PostgresConnection {
    client: Client,
    /// None behind a pooler.
    statements: Option<HashMap<String, Statement>>,
    /// True if a transaction has begun and not ended.
    in_transaction: bool,
    /// When the server last answered.
    used: Instant,
    /// Moves the bytes; ends with the connection.
    driver: JoinHandle<()>,
}

impl PostgresConnection {
    /// # Errors
    /// When the server cannot be reached or does not let us in.
    pub async fn open(address: &Address) -> Result<Self, UnopenedConnection> {
        // On the heap: it is large, and seldom what a reader waits for.
        match timeout(CONNECT, Box::pin(Self::open_one(address))).await {
            Ok(opened) => opened.map_err(|error: Error| UnopenedConnection {
                why: why_not_in(&error),
                // Of all, of this database, or of this role.
                is_full: error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
            }),
            Err(_) => Err(StoreError::Unavailable(no_answer(CONNECT)).into()),
        }
    }

    async fn open_one(address: &Address) -> Result<Self, Error> {
        if !address.is_pooled() {
            match Self::connect(address, &with_session(&address.config)).await {
                Ok(mut db) => {
                    if db.has_mark().await? {
                        db.statements = Some(HashMap::new());
                    } else {
                        address.found_pooler();
                    }
                    return Ok(db);
                }
                Err(error) if refuses_options(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let db = Self::connect(address, &address.config).await?;
        address.found_pooler();
        Ok(db)
    }

    async fn connect(address: &Address, config: &Config) -> Result<Self, Error> {
        let (client, connection) = config.connect(address.tls.clone()).await?;
        let driver = tokio::spawn(async move {
            // The caller who waits for an answer gets the error.
            let _ = connection.await;
        });
        Ok(PostgresConnection {
            client,
            statements: None,
            in_transaction: false,
            used: Instant::now(),
            driver,
        })
    }

    async fn has_mark(&self) -> Result<bool, Error> {
        let answer = self.client.simple_query(MARK).await?;
        Ok(answer.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.try_get(0).is_ok_and(|mark| mark == Some("own")),
            _ => false,
        }))
    }

    /// Runs one statement. Returns once the server is done with it, and its transaction if it is
    /// one by itself: an error in the commit is an error here.
    ///
    /// # Errors
    /// Those of the server, and of the way to it, and rows without an end.
    pub async fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        match self.some_rows(sql, params, ROWS_BYTES).await? {
            (rows, false) => Ok(rows),
            (_, true) => Err(Fault::TooMany),
        }
    }

    /// Reads with one statement that is a transaction by itself: the rows up to the one that
    /// reaches `most` bytes, and whether that cut them short.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn read(
        &mut self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), Error> {
        if !self.is_pooled() {
            return self.some_rows(sql, params, most).await;
        }
        self.begin().await?;
        let rows = self.some_rows(sql, params, most).await;
        // After an error this rolls back.
        let ended = self.commit().await;
        let rows = rows?;
        ended?;
        Ok(rows)
    }

    async fn some_rows(
        &mut self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<(Vec<Row>, bool), Error> {
        let values = params.iter().map(|param| param.value());
        let mut answer = pin!(match &mut self.statements {
            None => {
                let typed = params.iter().map(|param| (param.value(), param.ty()));
                self.client.query_typed_raw(sql, typed).await?
            }
            Some(statements) => {
                let statement = prepared(&self.client, statements, sql).await?;
                self.client.query_raw(&statement, values).await?
            }
        });
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        // The driver throws away what is left.
        while bytes < most
            && rows.len() < ROWS
            && let Some(row) = answer.try_next().await?
        {
            bytes = bytes.saturating_add(row.raw_size_bytes());
            rows.push(row);
        }
        self.used = Instant::now();
        let is_cut = bytes >= most || rows.len() == ROWS;
        Ok((rows, is_cut))
    }

    /// Runs statements that have no parameters and no rows.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn run(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// Runs one statement that has no parameters. Returns its rows as texts, and how many rows it has
    /// inserted, updated or deleted.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn texts(&mut self, sql: &str) -> Result<(Vec<TextRow>, u64), Error> {
        let (mut rows, mut changed) = (Vec::new(), 0);
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let texts = (0..row.len()).map(|place| row.get(place).map(str::to_owned));
                    rows.push(texts.collect());
                }
                SimpleQueryMessage::CommandComplete(count) => changed = count,
                _ => {}
            }
        }
        Ok((rows, changed))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn begin(&mut self) -> Result<(), Error> {
        self.in_transaction = true;
        let begin = if self.is_pooled() {
            TRANSACTION
        } else {
            "BEGIN"
        };
        self.run(begin).await
    }

    /// Ends a transaction: commits it, or rolls it back after an error.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Ends a transaction without a trace.
    ///
    /// # Errors
    /// Those of the server, and of the way to it.
    pub async fn roll_back(&mut self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, how: &str) -> Result<(), Error> {
        let ended = self.run(how).await;
        self.in_transaction = ended.is_err();
        self.used = Instant::now();
        ended
    }

    /// Returns whether a pooler gives each transaction a connection of its choice.
    pub fn is_pooled(&self) -> bool {
        self.statements.is_none()
    }

    /// Returns whether a transaction has begun and not ended.
    pub fn has_begun(&self) -> bool {
        self.in_transaction
    }

    /// Returns whether the next caller may have it: not closed, and no transaction left open by a
    /// caller that has gone.
    pub fn is_free(&self) -> bool {
        !self.client.is_closed() && !self.in_transaction
    }

    /// Returns whether the server is still there: asked if it has not answered for [`QUIET`].
    pub async fn lives(&mut self) -> bool {
        if self.used.elapsed() < QUIET {
            return !self.client.is_closed();
        }
        let answered = matches!(timeout(PING, self.run("")).await, Ok(Ok(())));
        self.used = Instant::now();
        answered
    }
}

/// The server may be deaf: its goodbye is not waited for.
impl Drop for PostgresConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn with_session(config: &Config) -> Config {
    let mut own = config.clone();
    match config.get_options() {
        // The URL's own options come last and win.
        Some(theirs) => own.options(format!("{SESSION} {theirs}")),
        None => own.options(SESSION),
    };
    own
}

async fn prepared(
    client: &Client,
    statements: &mut HashMap<String, Statement>,
    sql: &str,
) -> Result<Statement, Error> {
    if let Some(statement) = statements.get(sql) {
        return Ok(statement.clone());
    }
    let statement = client.prepare(sql).await?;
    statements.insert(sql.to_owned(), statement.clone());
    Ok(statement)
}
