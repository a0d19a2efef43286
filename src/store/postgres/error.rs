//! The meaning of the errors of a server, and of the way to it.

use std::{error::Error as _, time::Duration};

use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
    types::WrongType,
};

use crate::store::{StoreError, history::TOO_MANY};

/// Failure of a statement whose rows are read to the end.
pub enum Fault {
    Server(Error),
    /// There are more rows than any answer of ours has.
    TooMany,
    /// A row is not what was asked for.
    Unreadable(StoreError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Server(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Server(error) => error.into(),
            Fault::TooMany => StoreError::Unavailable(TOO_MANY.into()),
            Fault::Unreadable(error) => error,
        }
    }
}

/// Advice on a pooler that refuses an option of `store.url`.
const OPTIONS_REFUSED: &str = "take `options` out of store.url: a pooler stands before the server \
     and passes no start-up options on (set them by ALTER ROLE or ALTER DATABASE), or name them in \
     pgbouncer's ignore_startup_parameters";

/// Advice on a table, or a column of it, that the user may not use.
const NO_RIGHT: &str =
    "grant the user in store.url the rights SELECT, INSERT and UPDATE on the tables";

/// Returns whether a start-up option was not understood: a protocol violation for pgbouncer, an
/// unknown or wrong parameter for others.
pub fn refuses_options(error: &Error) -> bool {
    let class = error.code().and_then(|code| code.code().get(..2));
    matches!(class, Some("08" | "0A" | "22" | "42"))
}

pub fn why_not_in(error: &Error) -> StoreError {
    let text = describe(error);
    match error.code().map(SqlState::code) {
        // Invalid authorization, invalid catalog name.
        Some(code) if code.starts_with("28") || code.starts_with("3D") => StoreError::Denied(text),
        Some("08P01") if text.contains("startup parameter") => StoreError::Unfit {
            why: text,
            remedy: OPTIONS_REFUSED,
        },
        _ => StoreError::Unavailable(text),
    }
}

/// Returns whether the server ended the transaction with this error, and nothing else: an answer,
/// and no broken connection.
pub fn is_answer(error: &Error) -> bool {
    let severity = error.as_db_error().map(DbError::parsed_severity);
    severity.is_some_and(|severity| !matches!(severity, Some(Severity::Fatal | Severity::Panic)))
}

/// Returns whether the connection is as good as before. A session that has become read-only stays
/// so after the server has been healed; plans outlive the tables they were made for.
pub fn leaves_usable(error: &Error) -> bool {
    let spoilt = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    let code = error.code();
    is_answer(error) && !loses_statements(error) && !code.is_some_and(|c| spoilt.contains(c))
}

/// Returns whether a prepared statement is not ours or not there any more: a pooler that took our
/// start-up options has changed the server's connection.
pub fn loses_statements(error: &Error) -> bool {
    let codes = [
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::DUPLICATE_PSTATEMENT,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}

/// Returns an error with its cause, in one line. The server's detail is left out: it holds values.
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
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Unfit {
                why: text,
                remedy: NO_RIGHT,
            },
            // Tables that are missing or other than they were.
            Some("42") => StoreError::Schema(text),
            _ if *code == SqlState::FEATURE_NOT_SUPPORTED => StoreError::Schema(text),
            _ => StoreError::Unavailable(text),
        }
    }
}
