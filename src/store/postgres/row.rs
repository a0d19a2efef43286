//! Rows as values.

use tokio_postgres::{Error, Row};

use super::time::Time;
use crate::{
    chat::{Conversation, Message, Participants, Receipt},
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::{StoreError, history::Page, schema::layout::participants},
};

pub fn time_at(row: &Row, index: usize) -> Result<Timestamp, Error> {
    row.try_get(index).map(|Time(time)| time)
}

/// Returns the participants from two columns, of which this is the first.
pub fn participants_at(row: &Row, index: usize) -> Result<Participants, StoreError> {
    participants(row.try_get(index)?, row.try_get(index + 1)?)
}

/// Returns a conversation from the columns of [`CONVERSATION`](crate::store::schema::layout::CONVERSATION).
pub fn conversation_row(row: &Row) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: row.try_get(0)?,
        participants: participants_at(row, 1)?,
        created_at: time_at(row, 3)?,
        updated_at: time_at(row, 4)?,
        is_active: row.try_get(5)?,
    })
}

/// Returns a message from the columns of [`MESSAGE`](crate::store::schema::layout::MESSAGE).
pub fn message_row(row: &Row) -> Result<Message, Error> {
    Ok(Message {
        id: row.try_get(0)?,
        conversation_id: row.try_get(1)?,
        sender_id: row.try_get(2)?,
        content: row.try_get(3)?,
        message_type: row.try_get(4)?,
        created_at: time_at(row, 5)?,
        updated_at: time_at(row, 6)?,
        is_deleted: row.try_get(7)?,
    })
}

/// Returns a receipt from the columns of
/// [`RECEIPT`](crate::store::schema::layout::RECEIPT).
pub fn receipt_row(row: &Row) -> Result<Receipt, Error> {
    Ok(Receipt {
        id: row.try_get(0)?,
        message_id: row.try_get(1)?,
        user_id: row.try_get(2)?,
        status: row.try_get(3)?,
        timestamp: time_at(row, 4)?,
    })
}

/// Returns a conversation and a receipt from the columns of [`marked_between`](super::query::marked_between).
pub fn mark_row(row: &Row) -> Result<(ConversationId, Receipt), Error> {
    Ok((row.try_get(5)?, receipt_row(row)?))
}

/// Returns the id of a message for the log.
fn shown_id(row: &Row) -> String {
    let id = row.try_get::<_, MessageId>(0);
    id.map_or_else(|_| "without a readable id".to_owned(), |id| id.to_string())
}

/// Returns the messages of a page; rows that cannot be read are named in it.
pub fn page(rows: &[Row], is_full: bool) -> Page {
    let (mut messages, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    let mut too_large = Vec::new();
    for row in rows {
        if let Ok(None) = row.try_get::<_, Option<&str>>(3) {
            too_large.push(shown_id(row));
            continue;
        }
        match message_row(row) {
            Ok(message) => messages.push(message),
            Err(error) => {
                let id = shown_id(row);
                let error = format!("the message {id} is unreadable: {error}");
                unreadable.push(StoreError::Schema(error));
            }
        }
    }
    let mut page = Page::new(messages, is_full, unreadable);
    page.too_large = too_large;
    page
}
