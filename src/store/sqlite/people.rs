//! Who takes part, who is logged in, and who they are: the last two in Django's own tables.

use rusqlite::{Connection, OptionalExtension};

use super::query::time_at;
use crate::{
    config::{DjangoSession, Tables},
    django::{
        datetime::{Timestamp, to_sqlite},
        uuid::hex32,
    },
    store::{Of, SessionRow, UserRow, users},
};

pub fn participants(
    db: &Connection,
    tables: &Tables,
    of: Of,
) -> rusqlite::Result<Option<[String; 2]>> {
    let Tables {
        conversations,
        messages,
        ..
    } = tables;
    let (which, id) = match of {
        Of::Conversation(id) => ("?1".to_owned(), id),
        Of::Message(id) => (
            format!("(SELECT conversation_id FROM \"{messages}\" WHERE id = ?1)"),
            id,
        ),
    };
    let sql = format!(
        "SELECT participant1_id, participant2_id FROM \"{conversations}\" WHERE id = {which}"
    );
    db.prepare_cached(&sql)?
        .query_row([hex32(&id)], |row| Ok([row.get(0)?, row.get(1)?]))
        .optional()
}

/// The session of this key, unless it has run out. A file without Django's session table has no
/// sessions.
pub fn session(db: &Connection, session_key: &str) -> rusqlite::Result<Option<SessionRow>> {
    if !db.table_exists(None, "django_session")? {
        return Ok(None);
    }
    db.prepare_cached(
        "SELECT session_key, session_data, expire_date FROM django_session \
         WHERE session_key = ?1 AND expire_date > ?2",
    )?
    .query_row([session_key, &to_sqlite(Timestamp::now())], |row| {
        Ok(SessionRow {
            key: row.get(0)?,
            data: row.get(1)?,
            expires: time_at(row, 2)?,
        })
    })
    .optional()
}

/// The user of this primary key. Django writes a UUID with dashes into sessions and without them
/// into the table.
pub fn user(
    db: &Connection,
    columns: &DjangoSession,
    id: &str,
    bare_id: &str,
) -> rusqlite::Result<Option<UserRow>> {
    db.prepare_cached(&users::sql(columns, '"', "TEXT", "?1, ?2"))?
        .query_row([id, bare_id], |row| {
            Ok(users::row([
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
            ]))
        })
        .optional()
}
