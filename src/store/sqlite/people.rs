//! Participants, logins and users; the last two are in Django's own tables.

use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use super::row::{participants_at, time_at};
use crate::{
    chat::Participants,
    config::{DjangoSession, TableName},
    id::ConversationId,
    python::datetime::{Timestamp, to_sqlite},
    store::{SessionRow, Subject, TokenRow, UserRow, bare, schema::layout::Layout, users},
};

pub fn participants(
    db: &Connection,
    layout: &Layout,
    of: Subject,
) -> rusqlite::Result<Option<Participants>> {
    let Layout {
        conversations,
        messages,
        ..
    } = layout;
    let (which, id): (_, &dyn ToSql) = match &of {
        Subject::Conversation(id) => ("?1".to_owned(), id),
        Subject::Message(id) => (
            format!("(SELECT conversation_id FROM {messages} AS m WHERE id = ?1)"),
            id,
        ),
    };
    let sql = format!(
        "SELECT participant1_id, participant2_id FROM {conversations} AS c WHERE id = {which}"
    );
    db.prepare_cached(&sql)?
        .query_row([id], |row| participants_at(row, 0))
        .optional()
}

/// Returns the conversations, of those given, that are active.
pub fn active_participants(
    db: &Connection,
    layout: &Layout,
    of: &[ConversationId],
) -> rusqlite::Result<Vec<(ConversationId, Participants)>> {
    let sql = format!(
        "SELECT id, participant1_id, participant2_id FROM {} AS c WHERE id IN ({}) AND is_active",
        layout.conversations,
        places(of.len())
    );
    db.prepare_cached(&sql)?
        .query_map(params_from_iter(of.iter()), |row| {
            Ok((row.get(0)?, participants_at(row, 1)?))
        })?
        .collect()
}

/// Returns the sessions of these keys, but for those that have run out. A file without Django's
/// session table has no sessions.
pub fn sessions(db: &Connection, keys: &[String]) -> rusqlite::Result<Vec<SessionRow>> {
    if !db.table_exists(None, "django_session")? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT session_key, session_data, expire_date FROM django_session \
         WHERE session_key IN ({}) AND expire_date > ?",
        places(keys.len())
    );
    let now = to_sqlite(Timestamp::now());
    let values = params_from_iter(keys.iter().chain([&now]));
    db.prepare_cached(&sql)?
        .query_map(values, |row| {
            Ok(SessionRow {
                key: row.get(0)?,
                data: row.get(1)?,
                expires: time_at(row, 2)?,
            })
        })?
        .collect()
}

/// Returns the users of these primary keys. Django writes a UUID with dashes into sessions and
/// without them into the table.
pub fn users(
    db: &Connection,
    columns: &DjangoSession,
    ids: &[String],
) -> rusqlite::Result<Vec<UserRow>> {
    let keys = ids.iter().flat_map(|id| [id.clone(), bare(id)]);
    db.prepare_cached(&users::sql(columns, '"', "TEXT", &places(2 * ids.len())))?
        .query_map(params_from_iter(keys), |row| {
            Ok(users::row([
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
            ]))
        })?
        .collect()
}

/// Returns the tokens of these keys.
pub fn tokens(
    db: &Connection,
    table: &TableName,
    keys: &[String],
) -> rusqlite::Result<Vec<TokenRow>> {
    db.prepare_cached(&users::tokens_sql(table, '"', "TEXT", &places(keys.len())))?
        .query_map(params_from_iter(keys), |row| {
            let (key, user) = (row.get(0)?, row.get(1)?);
            Ok(TokenRow { key, user })
        })?
        .collect()
}

/// Returns this many placeholders, as SQL.
fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}
