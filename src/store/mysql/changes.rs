//! Changes of messages: the statements.

use super::query::{id, ids, quoted, time};
use crate::{
    chat::{Change, Message},
    id::{ChangeId, ConversationId, MessageId},
    python::datetime::Timestamp,
    store::{
        change::FORGOTTEN_TOGETHER,
        schema::layout::{Layout, MESSAGE_LIST as MESSAGE},
    },
};

/// Returns the messages of these ids, `limit` at most.
pub fn messages_by_id(layout: &Layout, of: &[MessageId], limit: usize) -> String {
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id IN ({}) LIMIT {limit}",
        layout.messages,
        ids(of.iter().copied())
    )
}

/// Selects id and sender of those of some messages that are in a conversation and not deleted.
pub fn senders(layout: &Layout, conversation_id: ConversationId, of: &[MessageId]) -> String {
    format!(
        "SELECT id, sender_id FROM {} AS m WHERE conversation_id = {} AND NOT is_deleted \
         AND id IN ({})",
        layout.messages,
        id(conversation_id),
        ids(of.iter().copied())
    )
}

/// Returns the changes that were made in some conversations between two times.
pub fn changed_between(
    conversations: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> String {
    format!(
        "SELECT id, conversation_id, message_id FROM chatferry_changes \
         WHERE conversation_id IN ({}) AND changed_at >= {} AND changed_at < {} \
         ORDER BY changed_at, id LIMIT {most}",
        ids(conversations.iter().copied()),
        time(since),
        time(until)
    )
}

/// Returns whether a change has been made.
pub fn is_made(of: ChangeId) -> String {
    format!("SELECT 1 FROM chatferry_changes WHERE id = {}", id(of))
}

/// Returns a message, which no other process changes until the transaction ends.
pub fn to_be_changed(layout: &Layout, of: MessageId) -> String {
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id = {} FOR UPDATE",
        layout.messages,
        id(of)
    )
}

/// Writes a message as a change has left it.
pub fn update(layout: &Layout, message: &Message) -> String {
    let messages = &layout.schema.messages;
    let name = |role| layout.quoted(messages.name_of(role));
    format!(
        "UPDATE {} SET {} = {}, {} = {}, {} = {} WHERE {} = {}",
        layout.table(messages),
        name("content"),
        quoted(&message.content),
        name("is_deleted"),
        message.is_deleted,
        name("updated_at"),
        time(message.updated_at),
        name("id"),
        id(message.id)
    )
}

pub fn insert(change: Change, at: Timestamp) -> String {
    format!(
        "INSERT INTO chatferry_changes (id, conversation_id, message_id, changed_at) \
         VALUES ({}, {}, {}, {})",
        id(change.id),
        id(change.conversation_id),
        id(change.message_id),
        time(at)
    )
}

/// Deletes some of the changes that were made before a time.
pub fn forget(before: Timestamp) -> String {
    format!(
        "DELETE FROM chatferry_changes WHERE changed_at < {} LIMIT {FORGOTTEN_TOGETHER}",
        time(before)
    )
}
