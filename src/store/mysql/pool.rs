//! Connections to the server: how one is made, the pool of those that read, and what the server's
//! errors mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use mysql_async::{Conn, DriverError, Error, IoError, Row, ServerError, Value, prelude::Queryable};
use tokio::time::timeout;

use super::options::Options;
use crate::{
    metrics::Metrics,
    store::{
        StoreError,
        history::{ROWS_BYTES, TOO_MANY},
        turns::Turns,
    },
};

/// How long a reader waits for one of the pool's connections.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// Opens a connection and sets it up as Django does.
///
/// # Errors
/// When the server cannot be reached, does not let us in, or takes too long.
pub async fn connect(options: &Options) -> Result<Conn, StoreError> {
    match timeout(options.connect_timeout, Conn::new(options.opts.clone())).await {
        Ok(Ok(conn)) => Ok(conn),
        // Wrong account or password, no rights on the database, no such database, a host that may
        // not connect.
        Ok(Err(error)) if matches!(code(&error), Some(1044 | 1045 | 1049 | 1130 | 1698)) => {
            Err(StoreError::Denied(error.to_string()))
        }
        // The driver says "Input/output error" twice before it says which.
        Ok(Err(Error::Io(IoError::Io(error)))) => Err(StoreError::Unavailable(error.to_string())),
        Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
        Err(_) => Err(StoreError::Unavailable("connecting took too long".into())),
    }
}

/// Connections that read, opened when they are first needed and kept.
pub struct Pool {
    options: Arc<Options>,
    /// Held for moments only, never across an await.
    idle: Mutex<Vec<Conn>>,
    turns: Turns,
}

impl Pool {
    /// At most `size` connections.
    pub fn new(options: Arc<Options>, size: usize, metrics: Arc<Metrics>) -> Self {
        Pool {
            options,
            idle: Mutex::default(),
            turns: Turns::new(size, POOL_WAIT, metrics),
        }
    }

    /// All rows of one query. A kept connection that turns out to be dead (the server has been
    /// restarted, or has closed it) is replaced by a new one without the caller's notice.
    ///
    /// # Errors
    /// When no connection comes free or can be opened, or the query fails or takes too long.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>, StoreError> {
        match self.some_rows(sql, ROWS_BYTES).await? {
            (rows, false) => Ok(rows),
            (_, true) => Err(StoreError::Unavailable(TOO_MANY.into())),
        }
    }

    /// The rows of one query up to the one that reaches `most` bytes, and whether that cut them
    /// short. What is left is read and thrown away.
    ///
    /// # Errors
    /// As those of [`Pool::rows`].
    pub async fn some_rows(&self, sql: &str, most: usize) -> Result<(Vec<Row>, bool), StoreError> {
        self.turns.done(self.read(sql, most).await)
    }

    async fn read(&self, sql: &str, most: usize) -> Result<(Vec<Row>, bool), StoreError> {
        let _turn = self.turns.take().await?;
        let kept = self.idle().pop();
        if let Some(mut conn) = kept {
            match self.query(&mut conn, sql, most).await? {
                Err(error) if is_lost(&error) => self.idle().clear(),
                answer => return self.keep(conn, answer),
            }
        }
        let mut conn = self.turns.connected(connect(&self.options).await)?;
        let answer = self.query(&mut conn, sql, most).await?;
        self.keep(conn, answer)
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
            self.idle().push(conn);
        }
        Ok(answer?)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Conn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes leave of the server. Queries that come later open connections of their own.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for conn in idle {
            let _ = timeout(Duration::from_secs(1), conn.disconnect()).await;
        }
    }
}

async fn read(conn: &mut Conn, sql: &str, most: usize) -> Result<(Vec<Row>, bool), Error> {
    let mut answer = conn.query_iter(sql).await?;
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    if let Some(mut stream) = answer.stream::<Row>().await? {
        while bytes < most
            && let Some(row) = stream.try_next().await?
        {
            bytes = bytes.saturating_add(size(&row));
            rows.push(row);
        }
    }
    answer.drop_result().await?;
    Ok((rows, bytes >= most))
}

fn size(row: &Row) -> usize {
    let texts = (0..row.len()).map(|column| match row.as_ref(column) {
        Some(Value::Bytes(text)) => text.len(),
        _ => 0,
    });
    texts.sum()
}

/// Whether the connection is gone: nothing more can be said on it, and what was under way may
/// have happened or not.
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

/// The server's number for what went wrong, if it was the server who complained.
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
        match code {
            // Lock wait timeout, deadlock, interrupted, record changed since the snapshot.
            1205 | 1213 | 1317 | 1020 => StoreError::Conflict(text),
            // No such table, no such column.
            1054 | 1146 => StoreError::Schema(text),
            // Packet too large, no default, wrong string: data errors with a state of their own.
            1153 | 1364 | 1366 => StoreError::Refused(text),
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
