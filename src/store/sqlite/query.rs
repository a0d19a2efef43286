//! What is read, and how a row becomes a value.

use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use uuid::Uuid;

use crate::{
    chat::{Conversation, Message, Receipt},
    config::Tables,
    django::{
        datetime::{Timestamp, from_sqlite, to_sqlite},
        uuid::hex32,
    },
};

const CONVERSATION: &str =
    "id, participant1_id, participant2_id, created_at, updated_at, is_active";
const MESSAGE: &str = "id, conversation_id, sender_id, content, message_type, created_at, \
                       updated_at, is_deleted";

fn uuid_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    let text = row.get_ref(index)?.as_str()?;
    Uuid::try_parse(text).map_err(|error| unreadable(index, error))
}

pub fn time_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    let text = row.get_ref(index)?.as_str()?;
    from_sqlite(text).ok_or_else(|| unreadable(index, "not a date and time"))
}

fn unreadable(
    index: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
}

fn conversation_row(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: uuid_at(row, 0)?,
        participant1_id: row.get(1)?,
        participant2_id: row.get(2)?,
        created_at: time_at(row, 3)?,
        updated_at: time_at(row, 4)?,
        is_active: row.get(5)?,
        messages: Vec::new(),
    })
}

fn message_row(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: uuid_at(row, 0)?,
        conversation_id: uuid_at(row, 1)?,
        sender_id: row.get(2)?,
        content: row.get(3)?,
        message_type: row.get(4)?,
        created_at: time_at(row, 5)?,
        updated_at: time_at(row, 6)?,
        is_deleted: row.get(7)?,
    })
}

/// A receipt from the columns `id, message_id, user_id, status, timestamp`.
pub fn receipt_row(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        id: uuid_at(row, 0)?,
        message_id: uuid_at(row, 1)?,
        user_id: row.get(2)?,
        status: row.get(3)?,
        timestamp: time_at(row, 4)?,
    })
}

/// The conversation of two participants in either order, without its messages.
pub fn find_pair(
    db: &Connection,
    tables: &Tables,
    participant1_id: &str,
    participant2_id: &str,
) -> rusqlite::Result<Option<Conversation>> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE (participant1_id = ?1 AND participant2_id = ?2) \
         OR (participant1_id = ?2 AND participant2_id = ?1) ORDER BY id LIMIT 1",
        tables.conversations
    );
    db.prepare_cached(&sql)?
        .query_row([participant1_id, participant2_id], conversation_row)
        .optional()
}

/// The conversation of two participants in either order.
pub fn conversation_of_pair(
    db: &Connection,
    tables: &Tables,
    participant1_id: &str,
    participant2_id: &str,
) -> rusqlite::Result<Option<Conversation>> {
    let found = find_pair(db, tables, participant1_id, participant2_id)?;
    found
        .map(|conversation| with_messages(db, tables, conversation))
        .transpose()
}

pub fn conversation(
    db: &Connection,
    tables: &Tables,
    id: Uuid,
) -> rusqlite::Result<Option<Conversation>> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE id = ?1",
        tables.conversations
    );
    let found = db
        .prepare_cached(&sql)?
        .query_row([hex32(&id)], conversation_row)
        .optional()?;
    found
        .map(|conversation| with_messages(db, tables, conversation))
        .transpose()
}

fn with_messages(
    db: &Connection,
    tables: &Tables,
    mut conversation: Conversation,
) -> rusqlite::Result<Conversation> {
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = ?1 ORDER BY created_at",
        tables.messages
    );
    conversation.messages = db
        .prepare_cached(&sql)?
        .query_map([hex32(&conversation.id)], message_row)?
        .collect::<Result<_, _>>()?;
    Ok(conversation)
}

pub fn conversation_is_active(
    db: &Connection,
    tables: &Tables,
    id: Uuid,
) -> rusqlite::Result<Option<bool>> {
    let sql = format!(
        "SELECT is_active FROM \"{}\" WHERE id = ?1",
        tables.conversations
    );
    db.prepare_cached(&sql)?
        .query_row([hex32(&id)], |row| row.get(0))
        .optional()
}

/// The user's active conversations, each with its messages: two queries however many there are.
pub fn conversations_of(
    db: &Connection,
    tables: &Tables,
    user_id: &str,
) -> rusqlite::Result<Vec<Conversation>> {
    let mine = "is_active AND (participant1_id = ?1 OR participant2_id = ?1)";
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE {mine} ORDER BY updated_at DESC",
        tables.conversations
    );
    let mut conversations: Vec<Conversation> = db
        .prepare_cached(&sql)?
        .query_map([user_id], conversation_row)?
        .collect::<Result<_, _>>()?;
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id IN \
         (SELECT id FROM \"{}\" WHERE {mine}) ORDER BY created_at",
        tables.messages, tables.conversations
    );
    let place: std::collections::HashMap<Uuid, usize> = conversations
        .iter()
        .enumerate()
        .map(|(index, c)| (c.id, index))
        .collect();
    for message in db.prepare_cached(&sql)?.query_map([user_id], message_row)? {
        let message = message?;
        if let Some(&index) = place.get(&message.conversation_id) {
            conversations[index].messages.push(message);
        }
    }
    Ok(conversations)
}

/// The messages that are not deleted, oldest first; the newest `limit` of them if there is one.
pub fn messages(
    db: &Connection,
    tables: &Tables,
    conversation_id: Uuid,
    limit: Option<usize>,
) -> rusqlite::Result<Vec<Message>> {
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = ?1 AND NOT is_deleted \
         ORDER BY created_at DESC, rowid DESC LIMIT ?2",
        tables.messages
    );
    // SQLite takes a negative limit for none.
    let limit = limit
        .and_then(|limit| i64::try_from(limit).ok())
        .unwrap_or(-1);
    let mut messages: Vec<Message> = db
        .prepare_cached(&sql)?
        .query_map(
            rusqlite::params![hex32(&conversation_id), limit],
            message_row,
        )?
        .collect::<Result<_, _>>()?;
    messages.reverse();
    Ok(messages)
}

pub fn messages_since(
    db: &Connection,
    tables: &Tables,
    conversations: &[Uuid],
    since: Timestamp,
) -> rusqlite::Result<Vec<Message>> {
    let places = vec!["?"; conversations.len()].join(", ");
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id IN ({places}) AND created_at >= ? \
         AND NOT is_deleted ORDER BY created_at, rowid",
        tables.messages
    );
    let keys = conversations.iter().map(hex32);
    let values = rusqlite::params_from_iter(keys.chain([to_sqlite(since)]));
    db.prepare(&sql)?.query_map(values, message_row)?.collect()
}

pub fn message_exists(db: &Connection, tables: &Tables, id: Uuid) -> rusqlite::Result<bool> {
    let sql = format!("SELECT 1 FROM \"{}\" WHERE id = ?1", tables.messages);
    db.prepare_cached(&sql)?.exists([hex32(&id)])
}
