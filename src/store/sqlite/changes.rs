//! Changes of messages: read, and written.

use rusqlite::{Connection, ToSql, Transaction, params, params_from_iter};

use super::{
    query::{message, signed},
    row::gather,
};
use crate::{
    chat::{Change, NewChange},
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, to_sqlite},
    store::{
        change::{FORGOTTEN_TOGETHER, changed},
        commit::CommitOutcome,
        history::{PAGE_MESSAGES, Page},
        schema::layout::{Layout, MESSAGE_LIST as MESSAGE},
    },
};

/// Returns messages by their ids, as many as fit a page.
pub fn messages_by_id(
    db: &Connection,
    layout: &Layout,
    ids: &[MessageId],
) -> rusqlite::Result<Page> {
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id IN ({})",
        layout.messages,
        places(ids.len())
    );
    let mut rows = db.prepare(&sql)?;
    gather(
        rows.query(params_from_iter(ids))?,
        PAGE_MESSAGES,
        |_| Ok(()),
    )
}

/// Returns those of some messages that are in a conversation and not deleted, with their senders.
pub fn senders(
    db: &Connection,
    layout: &Layout,
    conversation_id: ConversationId,
    ids: &[MessageId],
) -> rusqlite::Result<Vec<(MessageId, String)>> {
    let sql = format!(
        "SELECT id, sender_id FROM {} AS m WHERE conversation_id = ? AND NOT is_deleted \
         AND id IN ({})",
        layout.messages,
        places(ids.len())
    );
    let ids = ids.iter().map(|id| id as &dyn ToSql);
    let values = [&conversation_id as &dyn ToSql].into_iter().chain(ids);
    db.prepare(&sql)?
        .query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}

/// Returns the changes that were made in some conversations between two times.
pub fn changed_between(
    db: &Connection,
    conversations: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> rusqlite::Result<Vec<Change>> {
    let sql = format!(
        "SELECT id, conversation_id, message_id FROM chatferry_changes \
         WHERE conversation_id IN ({}) AND changed_at >= ? AND changed_at < ? \
         ORDER BY changed_at, id LIMIT {most}",
        places(conversations.len())
    );
    let (since, until) = (to_sqlite(since), to_sqlite(until));
    let ids = conversations.iter().map(|id| id as &dyn ToSql);
    let values = ids.chain([&since as _, &until as _]);
    db.prepare(&sql)?
        .query_map(params_from_iter(values), |row| {
            Ok(Change {
                id: row.get(0)?,
                conversation_id: row.get(1)?,
                message_id: row.get(2)?,
            })
        })?
        .collect()
}

/// Changes a message, unless it is gone or deleted, or an earlier try has changed it.
pub fn change(
    db: &Transaction<'_>,
    layout: &Layout,
    new: &NewChange,
) -> rusqlite::Result<CommitOutcome> {
    let Change {
        id,
        conversation_id,
        message_id,
    } = new.change;
    let is_done = db
        .prepare_cached("SELECT 1 FROM chatferry_changes WHERE id = ?1")?
        .exists([id])?;
    let found = message(db, layout, message_id)?;
    let message = match changed(found, new, is_done) {
        Ok(message) => message,
        Err(outcome) => return Ok(outcome),
    };
    let messages = &layout.schema.messages;
    let name = |role| layout.quoted(messages.name_of(role));
    let sql = format!(
        "UPDATE {} SET {} = ?2, {} = ?3, {} = ?4 WHERE {} = ?1",
        layout.table(messages),
        name("content"),
        name("is_deleted"),
        name("updated_at"),
        name("id")
    );
    let at = to_sqlite(message.updated_at);
    db.prepare_cached(&sql)?.execute(params![
        message.id,
        message.content,
        message.is_deleted,
        at
    ])?;
    db.prepare_cached(
        "INSERT INTO chatferry_changes (id, conversation_id, message_id, changed_at) \
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![id, conversation_id, message_id, at])?;
    Ok(CommitOutcome::Changed(Box::new(message)))
}

/// Deletes some of the changes that were made before a time.
pub fn forget(db: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<CommitOutcome> {
    db.prepare_cached(
        "DELETE FROM chatferry_changes WHERE id IN \
         (SELECT id FROM chatferry_changes WHERE changed_at < ?1 LIMIT ?2)",
    )?
    .execute(params![to_sqlite(before), signed(FORGOTTEN_TOGETHER)])?;
    Ok(CommitOutcome::Stored)
}

/// Returns this many places for values.
pub fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}
