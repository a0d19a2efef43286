//! Connections to the server: how one is made, the pool of those that read, and what the server's
//! errors mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use mysql_async::{Conn, DriverError, Error, IoError, Row, ServerError, Value, prelude::Queryable};
use tokio::time::{Instant, timeout};

use super::options::Options;
use crate::{
    metrics::Metrics,
    store::{
        StoreError,
        history::{ROWS, ROWS_BYTES, TOO_MANY},
        turns::{PING, QUIET, Turns, UnopenedConnection},
    },
};

/// Longest wait of a reader for one of the pool's connections.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// Returns the advice on a refusal that no waiting ends, by its number.
fn remedy(code: u16) -> Option<&'static str> {
    Some(match code {
        // ER_SECURE_TRANSPORT_REQUIRED.
        3159 => "add ssl-mode=REQUIRED to store.url: the server takes no connection without TLS",
        // Not safe for a binlog of statements.
        1665 => {
            "add isolation_level=repeatable%20read to store.url, as in Django's OPTIONS, or set \
             binlog_format = ROW (or MIXED) on the server: it logs statements, which READ \
             COMMITTED does not allow"
        }
        // No right to the table, or to a column of it.
        1142 | 1143 => {
            "grant the user in store.url the rights SELECT, INSERT and UPDATE on the tables"
        }
        _ => return None,
    })
}

/// Returns the advice on a server that refuses the first statements: syntax, and unknown or wrong
/// variables.
fn remedy_at_setup(code: u16, options: &Options) -> Option<&'static str> {
    if options.has_init_command && matches!(code, 1064 | 1193 | 1231 | 1232 | 1238) {
        return Some("correct init_command in store.url, which the server refused");
    }
    remedy(code)
}

/// Opens a connection and sets it up as Django does.
///
/// # Errors
/// When the server cannot be reached, does not let us in, or takes too long.
pub async fn connect(options: &Options) -> Result<Conn, UnopenedConnection> {
    // On the heap: it is large, and seldom what a reader waits for.
    let opening = Box::pin(open(options));
    let error = match timeout(options.connect_timeout, opening).await {
        Ok(Ok(conn)) => return Ok(conn),
        Ok(Err(error)) => error,
        Err(_) => return Err(StoreError::Unavailable("connecting took too long".into()).into()),
    };
    // Too many connections: of all, of this user, of this user's account.
    let is_full = matches!(code(&error), Some(1040 | 1203 | 1226));
    let why = match &error {
        // The driver says "Input/output error" twice before it says which.
        Error::Io(IoError::Io(error)) => error.to_string(),
        error => error.to_string(),
    };
    let why = match code(&error) {
        // Wrong account or password, no rights on the database, no such database, a host that may
        // not connect.
        Some(1044 | 1045 | 1049 | 1130 | 1698) => StoreError::Denied(why),
        code => match code.and_then(|code| remedy_at_setup(code, options)) {
            Some(remedy) => StoreError::Unfit { why, remedy },
            None => StoreError::Unavailable(why),
        },
    };
    Err(UnopenedConnection { why, is_full })
}

async fn open(options: &Options) -> Result<Conn, Error> {
    match (Conn::new(options.opts.clone()).await, &options.without_tls) {
        (Err(Error::Driver(DriverError::NoClientSslFlagFromServer)), Some(plain)) => {
            Conn::new(plain.clone()).await
        }
        (opened, _) => opened,
    }
}

/// Connections that read, opened when they are first needed and kept.
pub struct MysqlPool {
    options: Arc<Options>,
    /// Held for moments only, never across an await.
    idle: Mutex<Vec<IdleConnection>>,
    turns: Turns,
}

/// A connection that waits for its next query.
struct IdleConnection {
    conn: Conn,
    /// When the server last answered.
    used: Instant,
}

impl MysqlPool {
    /// Makes a pool of at most `size` connections.
    pub fn new(options: Arc<Options>, size: usize, metrics: Arc<Metrics>) -> Self {
        MysqlPool {
            options,
            idle: Mutex::default(),
            turns: Turns::new(size, POOL_WAIT, metrics),
        }
    }

    /// Returns all rows of one query. A kept connection that turns out to be dead (the server has
    /// been restarted, or has closed it) is replaced by a new one without the caller's notice.
    ///
    /// # Errors
    /// When no connection comes free or can be opened, or the query fails or takes too long.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>, StoreError> {
        match self.some_rows(sql, ROWS_BYTES).await? {
            (rows, false) => Ok(rows),
            (_, true) => Err(StoreError::Unavailable(TOO_MANY.into())),
        }
    }

    /// Returns the rows of one query up to the one that reaches `most` bytes, and whether that cut
    /// them short. What is left is read and thrown away.
    ///
    /// # Errors
    /// As those of [`MysqlPool::rows`].
    pub async fn some_rows(&self, sql: &str, most: usize) -> Result<(Vec<Row>, bool), StoreError> {
        self.turns.done(self.read(sql, most).await)
    }

    /// Reads, if need be a second time: a kept connection may have died without a word, and then
    /// those kept beside it are no better.
    async fn read(&self, sql: &str, most: usize) -> Result<(Vec<Row>, bool), StoreError> {
        let _turn = self.turns.take().await?;
        if let Some(mut conn) = self.take_idle().await {
            match self.query(&mut conn, sql, most).await {
                Ok(Err(error)) if is_lost(&error) => self.idle().clear(),
                Ok(answer) => return self.keep(conn, answer),
                Err(_) => self.idle().clear(),
            }
        }
        let mut conn = self.open().await?;
        let answer = self.query(&mut conn, sql, most).await?;
        self.keep(conn, answer)
    }

    /// Opens a connection. While the server takes no more, one that comes free is as good.
    async fn open(&self) -> Result<Conn, StoreError> {
        let began = Instant::now();
        loop {
            let opened = connect(&self.options).await;
            if let Some(conn) = self.turns.room_for(opened, began).await? {
                return Ok(conn);
            }
            if let Some(conn) = self.take_idle().await {
                return Ok(conn);
            }
        }
    }

    /// The outer error is a connection that does not answer, and is of no use any more.
    async fn query(
        &self,
        conn: &mut Conn,
        sql: &str,
        most: usize,
    ) -> Result<Result<(Vec<Row>, bool), Error>, StoreError> {
        let answer = timeout(self.options.read_timeout, read(conn, sql, most)).await;
        answer.map_err(|_| StoreError::Unavailable("a query took too long".into()))
    }

    fn keep<T>(&self, conn: Conn, answer: Result<T, Error>) -> Result<T, StoreError> {
        if !matches!(&answer, Err(error) if is_lost(error)) {
            let used = Instant::now();
            self.idle().push(IdleConnection { conn, used });
        }
        Ok(answer?)
    }

    /// Returns a kept connection that lives: one long unused is asked. If it does not, the others
    /// are no better.
    async fn take_idle(&self) -> Option<Conn> {
        let IdleConnection { mut conn, used } = self.idle().pop()?;
        if used.elapsed() < QUIET || lives(&mut conn).await {
            return Some(conn);
        }
        self.idle().clear();
        None
    }

    /// Returns the same as [`Turns::room_for`], for one that writes: where there is no room, one
    /// that reads ends.
    ///
    /// # Errors
    /// When it failed for another reason, or no room was made in time.
    pub async fn room_for<C>(
        &self,
        opened: Result<C, UnopenedConnection>,
        began: Instant,
    ) -> Result<Option<C>, StoreError> {
        let connection = self.turns.room_for(opened, began).await?;
        if connection.is_none() {
            let kept = self.idle().pop();
            if let Some(IdleConnection { conn, .. }) = kept {
                let _ = timeout(PING, conn.disconnect()).await;
            }
        }
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes leave of the server. Queries that come later open connections of their own.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for IdleConnection { conn, .. } in idle {
            let _ = timeout(Duration::from_secs(1), conn.disconnect()).await;
        }
    }
}

/// Returns whether the server answers on this connection.
pub async fn lives(conn: &mut Conn) -> bool {
    matches!(timeout(PING, conn.ping()).await, Ok(Ok(())))
}

async fn read(conn: &mut Conn, sql: &str, most: usize) -> Result<(Vec<Row>, bool), Error> {
    let mut answer = conn.query_iter(sql).await?;
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    if let Some(mut stream) = answer.stream::<Row>().await? {
        while bytes < most
            && rows.len() < ROWS
            && let Some(row) = stream.try_next().await?
        {
            bytes = bytes.saturating_add(size(&row));
            rows.push(row);
        }
    }
    answer.drop_result().await?;
    let is_cut = bytes >= most || rows.len() == ROWS;
    Ok((rows, is_cut))
}

fn size(row: &Row) -> usize {
    let texts = (0..row.len()).map(|column| match row.as_ref(column) {
        Some(Value::Bytes(text)) => text.len(),
        _ => 0,
    });
    texts.sum()
}

/// Returns whether the connection is gone: nothing more can be said on it, and what was under way
/// may have happened or not.
#[must_use]
pub fn is_lost(error: &Error) -> bool {
    match error {
        // Shutdown, aborted and killed connections, idle for too long.
        Error::Server(ServerError { code, .. }) => {
            matches!(
                code,
                1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 4031
            )
        }
        Error::Driver(DriverError::FromRow { .. } | DriverError::FromValue { .. }) => false,
        _ => true,
    }
}

/// Returns the server's number for what went wrong, if it was the server who complained.
#[must_use]
pub fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(ServerError { code, .. }) => Some(*code),
        _ => None,
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let Error::Server(ServerError { code, state, .. }) = error else {
            return StoreError::Unavailable(text);
        };
        if let Some(remedy) = remedy(code) {
            return StoreError::Unfit { why: text, remedy };
        }
        match code {
            // Lock wait timeout, deadlock, interrupted, record changed since the snapshot.
            1205 | 1213 | 1317 | 1020 => StoreError::Conflict(text),
            // No such table, no such column.
            1054 | 1146 => StoreError::Schema(text),
            // Packet too large, no default, wrong string, texts that the column's character set
            // does not have: data errors with a state of their own.
            1153 | 1267 | 1270 | 1271 | 1364 | 1366 | 3854 | 3988 => StoreError::Refused(text),
            // Data exceptions and broken constraints.
            _ if state.starts_with("22") || state.starts_with("23") => StoreError::Refused(text),
            // Away, full, read-only, no rights, too many connections, and all else.
            _ => StoreError::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, state: &str) -> Error {
        Error::Server(ServerError {
            code,
            message: "why".into(),
            state: state.into(),
        })
    }

    #[test]
    fn a_bad_row_is_refused_and_a_bad_day_is_not() {
        for (code, state) in [(1406, "22001"), (1062, "23000"), (1366, "HY000")] {
            let error = StoreError::from(server(code, state));
            assert!(matches!(error, StoreError::Refused(_)), "{code}");
        }
        for (code, state) in [
            (1290, "HY000"),
            (1114, "HY000"),
            (1021, "HY000"),
            (1040, "08004"),
        ] {
            let error = StoreError::from(server(code, state));
            assert!(matches!(error, StoreError::Unavailable(_)), "{code}");
        }
    }

    #[test]
    fn losing_against_another_transaction_is_worth_another_try() {
        for code in [1205, 1213] {
            let error = StoreError::from(server(code, "40001"));
            assert!(matches!(error, StoreError::Conflict(_)), "{code}");
        }
    }

    #[test]
    fn a_killed_connection_is_lost_and_a_killed_query_is_not() {
        assert!(is_lost(&server(1927, "70100")));
        assert!(is_lost(&Error::Driver(DriverError::ConnectionClosed)));
        assert!(!is_lost(&server(1317, "70100")));
    }
}
