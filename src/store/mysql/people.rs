//! Who takes part, who is logged in, and who they are: the last two in Django's own tables.

use mysql_async::Row;

use super::query::{Columns, id, quoted, time};
use crate::{
    config::{DjangoSession, Tables},
    django::datetime::Timestamp,
    store::{Of, SessionRow, StoreError, UserRow, users},
};

pub fn participants(tables: &Tables, of: Of) -> String {
    let Tables {
        conversations,
        messages,
        ..
    } = tables;
    let which = match of {
        Of::Conversation(of) => id(of),
        Of::Message(of) => format!(
            "(SELECT conversation_id FROM `{messages}` WHERE id = {})",
            id(of)
        ),
    };
    format!("SELECT participant1_id, participant2_id FROM `{conversations}` WHERE id = {which}")
}

/// # Errors
/// When the row is not what [`participants`] asks for.
pub fn participants_row(row: Row) -> Result<[String; 2], StoreError> {
    let mut columns = Columns::from(row);
    Ok([columns.take()?, columns.take()?])
}

/// The session of this key, unless it has run out.
pub fn session(key: &str) -> String {
    format!(
        "SELECT session_key, session_data, expire_date FROM django_session \
         WHERE session_key = {} AND expire_date > {}",
        quoted(key),
        time(Timestamp::now())
    )
}

/// # Errors
/// When the row is not what [`session`] asks for.
pub fn session_row(row: Row) -> Result<SessionRow, StoreError> {
    let mut columns = Columns::from(row);
    Ok(SessionRow {
        key: columns.take()?,
        data: columns.take()?,
        expires: columns.time()?,
    })
}

/// The user of this primary key. Django writes a UUID with dashes into sessions and without them
/// into the table.
pub fn user(columns: &DjangoSession, id: &str, bare_id: &str) -> String {
    let keys = format!("{}, {}", quoted(id), quoted(bare_id));
    users::sql(columns, '`', "CHAR", &keys)
}

/// # Errors
/// When the row is not what [`user`] asks for.
pub fn user_row(row: Row) -> Result<UserRow, StoreError> {
    let mut columns = Columns::from(row);
    let row = [
        columns.take()?,
        columns.take()?,
        columns.take()?,
        columns.take()?,
    ];
    Ok(users::row(row))
}
