//! Participants, logins and users; the last two are in Django's own tables.

use mysql_async::Row;

use super::{
    query::{id, ids, quoted, time},
    row::Columns,
};
use crate::{
    chat::Participants,
    config::{DjangoSession, TableName},
    id::ConversationId,
    python::datetime::Timestamp,
    store::{
        SessionRow, StoreError, Subject, TokenRow, UserRow, bare, schema::layout::Layout, users,
    },
};

pub fn participants(layout: &Layout, of: Subject) -> String {
    let Layout {
        conversations,
        messages,
        ..
    } = layout;
    let which = match of {
        Subject::Conversation(of) => id(of),
        Subject::Message(of) => format!(
            "(SELECT conversation_id FROM {messages} AS m WHERE id = {})",
            id(of)
        ),
    };
    format!("SELECT participant1_id, participant2_id FROM {conversations} AS c WHERE id = {which}")
}

/// # Errors
/// When the row is not what [`participants`] asks for.
pub fn participants_row(row: Row) -> Result<Participants, StoreError> {
    Columns::from(row).participants()
}

/// Returns the conversations, of those given, that are active.
pub fn active_participants(layout: &Layout, of: &[ConversationId]) -> String {
    format!(
        "SELECT id, participant1_id, participant2_id FROM {} AS c WHERE id IN ({}) AND is_active",
        layout.conversations,
        ids(of.iter().copied())
    )
}

/// # Errors
/// When the row is not what [`active_participants`] asks for.
pub fn active_row(row: Row) -> Result<(ConversationId, Participants), StoreError> {
    let mut columns = Columns::from(row);
    Ok((columns.id()?, columns.participants()?))
}

/// Returns the sessions of these keys, but for those that have run out.
pub fn sessions(keys: &[&String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
    format!(
        "SELECT session_key, session_data, expire_date FROM django_session \
         WHERE session_key IN ({}) AND expire_date > {}",
        keys.join(", "),
        time(Timestamp::now())
    )
}

/// # Errors
/// When the row is not what [`sessions`] asks for.
pub fn session_row(row: Row) -> Result<SessionRow, StoreError> {
    let mut columns = Columns::from(row);
    Ok(SessionRow {
        key: columns.take()?,
        data: columns.take()?,
        expires: columns.time()?,
    })
}

/// Returns the tokens of these keys.
pub fn tokens(table: &TableName, keys: &[&String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
    users::tokens_sql(table, '`', "CHAR", &keys.join(", "))
}

/// # Errors
/// When the row is not what [`tokens`] asks for.
pub fn token_row(row: Row) -> Result<TokenRow, StoreError> {
    let mut columns = Columns::from(row);
    let (key, user) = (columns.take()?, columns.take()?);
    Ok(TokenRow { key, user })
}

/// Returns the users of these primary keys. Django writes a UUID with dashes into sessions and
/// without them into the table.
pub fn users(columns: &DjangoSession, ids: &[String]) -> String {
    let keys = ids.iter().flat_map(|id| [quoted(id), quoted(&bare(id))]);
    let keys: Vec<String> = keys.collect();
    users::sql(columns, '`', "CHAR", &keys.join(", "))
}

/// # Errors
/// When the row is not what [`users()`] asks for.
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
