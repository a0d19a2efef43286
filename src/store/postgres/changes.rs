//! Changes of messages: read, and written.

use tokio_postgres::Error;

use super::{
    connection::PostgresConnection,
    error::Fault,
    param::Params,
    pool::PostgresPool,
    query::signed,
    row::{message_row, page},
    time::Time,
};
use crate::{
    chat::{Change, NewChange},
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::{
        StoreError,
        change::{FORGOTTEN_TOGETHER, changed},
        commit::CommitOutcome,
        history::{PAGE_BYTES, PAGE_MESSAGES, Page},
        schema::layout::{Layout, MESSAGE_LIST as MESSAGE},
    },
};

/// Returns messages by their ids, as many as fit a page.
pub async fn messages_by_id(
    pool: &PostgresPool,
    layout: &Layout,
    ids: &[MessageId],
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id = ANY($1) LIMIT $2",
        layout.messages
    );
    let params: Params<'_> = &[&ids, &signed(PAGE_MESSAGES)];
    let (rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    Ok(page(&rows, is_cut || rows.len() == PAGE_MESSAGES))
}

/// Returns those of some messages that are in a conversation and not deleted, with their senders.
pub async fn senders(
    pool: &PostgresPool,
    layout: &Layout,
    conversation_id: ConversationId,
    ids: &[MessageId],
) -> Result<Vec<(MessageId, String)>, StoreError> {
    let sql = format!(
        "SELECT id, sender_id FROM {} AS m WHERE conversation_id = $1 AND NOT is_deleted \
         AND id = ANY($2)",
        layout.messages
    );
    let rows = pool.query(&sql, &[&conversation_id, &ids]).await?;
    let found = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok(found.collect::<Result<_, Error>>()?)
}

/// Returns the changes that were made in some conversations between two times.
pub async fn changed_between(
    pool: &PostgresPool,
    conversations: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Vec<Change>, StoreError> {
    let sql = "SELECT id, conversation_id, message_id FROM chatferry_changes \
               WHERE conversation_id = ANY($1) AND changed_at >= $2 AND changed_at < $3 \
               ORDER BY changed_at, id LIMIT $4";
    let params: Params<'_> = &[&conversations, &Time(since), &Time(until), &signed(most)];
    let rows = pool.query(sql, params).await?;
    let changes = rows.iter().map(|row| {
        Ok(Change {
            id: row.try_get(0)?,
            conversation_id: row.try_get(1)?,
            message_id: row.try_get(2)?,
        })
    });
    Ok(changes.collect::<Result<_, Error>>()?)
}

/// Changes a message, unless it is gone or deleted, or an earlier try has changed it.
pub async fn change(
    db: &mut PostgresConnection,
    layout: &Layout,
    new: &NewChange,
) -> Result<CommitOutcome, Fault> {
    let Change {
        id,
        conversation_id,
        message_id,
    } = new.change;
    let messages = &layout.schema.messages;
    let name = |role| layout.quoted(messages.name_of(role));
    // From here on no other process changes it.
    let lock = format!(
        "SELECT 1 FROM {} WHERE {} = $1 FOR UPDATE",
        layout.table(messages),
        name("id")
    );
    db.query(&lock, &[&message_id]).await?;
    let done = "SELECT 1 FROM chatferry_changes WHERE id = $1";
    let is_done = !db.query(done, &[&id]).await?.is_empty();
    let find = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id = $1",
        layout.messages
    );
    let found = db.query(&find, &[&message_id]).await?;
    let found = found.first().map(message_row).transpose()?;
    let message = match changed(found, new, is_done) {
        Ok(message) => message,
        Err(outcome) => return Ok(outcome),
    };
    let update = format!(
        "UPDATE {} SET {} = $2, {} = $3, {} = $4 WHERE {} = $1",
        layout.table(messages),
        name("content"),
        name("is_deleted"),
        name("updated_at"),
        name("id")
    );
    let at = Time(message.updated_at);
    let params: Params<'_> = &[&message.id, &message.content, &message.is_deleted, &at];
    db.query(&update, params).await?;
    let insert = "INSERT INTO chatferry_changes (id, conversation_id, message_id, changed_at) \
                  VALUES ($1, $2, $3, $4)";
    db.query(insert, &[&id, &conversation_id, &message_id, &at])
        .await?;
    Ok(CommitOutcome::Changed(Box::new(message)))
}

/// Deletes some of the changes that were made before a time.
pub async fn forget(
    db: &mut PostgresConnection,
    before: Timestamp,
) -> Result<CommitOutcome, Fault> {
    let sql = "DELETE FROM chatferry_changes WHERE id IN \
               (SELECT id FROM chatferry_changes WHERE changed_at < $1 LIMIT $2)";
    db.query(sql, &[&Time(before), &signed(FORGOTTEN_TOGETHER)])
        .await?;
    Ok(CommitOutcome::Stored)
}
