//! Rows as values.

use rusqlite::{
    Row, Rows,
    types::{Type, ValueRef},
};

use crate::{
    chat::{Conversation, Message, Participants, Receipt},
    python::datetime::{Timestamp, from_sqlite},
    store::{
        StoreError,
        history::{PAGE_BYTES, Page, PageCursor},
        schema::layout::participants,
    },
};

pub fn time_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    let text = row.get_ref(index)?.as_str()?;
    from_sqlite(text).ok_or_else(|| unreadable(index, "not a date and time"))
}

pub fn unreadable(
    index: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
}

/// Returns the participants from two columns, of which this is the first.
pub fn participants_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Participants> {
    let found = participants(row.get(index)?, row.get(index + 1)?);
    found.map_err(|error| unreadable(index, error))
}

pub fn conversation_row(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: row.get(0)?,
        participants: participants_at(row, 1)?,
        created_at: time_at(row, 3)?,
        updated_at: time_at(row, 4)?,
        is_active: row.get(5)?,
    })
}

/// Returns a message from the columns of [`MESSAGE_LIST`](crate::store::schema::layout::MESSAGE_LIST).
pub fn message_row(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        conversation_id: row.get(1)?,
        sender_id: row.get(2)?,
        content: row.get(3)?,
        message_type: row.get(4)?,
        created_at: time_at(row, 5)?,
        updated_at: time_at(row, 6)?,
        is_deleted: row.get(7)?,
    })
}

/// Returns a receipt from the columns `id, message_id, user_id, status, timestamp`.
pub fn receipt_row(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        id: row.get(0)?,
        message_id: row.get(1)?,
        user_id: row.get(2)?,
        status: row.get(3)?,
        timestamp: time_at(row, 4)?,
    })
}

/// Returns the rows up to what fits a page, in the order of the query; each is shown to `see`
/// first.
pub fn gather(
    mut rows: Rows<'_>,
    limit: usize,
    mut see: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<Page> {
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        see(row)?;
        match message_row(row) {
            _ if row.get_ref(3)? == ValueRef::Null => page.too_large.push(shown_id(row)),
            Ok(message) => {
                bytes += message.content.len();
                page.messages.push(message);
            }
            Err(error) => {
                let error = format!("the message {} is unreadable: {error}", shown_id(row));
                page.unreadable.push(StoreError::Schema(error));
            }
        }
        let read = page.messages.len() + page.unreadable.len() + page.too_large.len();
        if read == limit || bytes >= PAGE_BYTES {
            page.is_full = true;
            break;
        }
    }
    Ok(page)
}

/// Returns the id of a message for the log, as it is stored.
fn shown_id(row: &Row<'_>) -> String {
    match row.get_ref(0) {
        Ok(ValueRef::Integer(number)) => number.to_string(),
        _ => row.get(0).unwrap_or_default(),
    }
}

/// Returns a place from the columns of the time and of the row's number.
pub fn place_at(row: &Row<'_>, [time, number]: [usize; 2]) -> rusqlite::Result<PageCursor> {
    Ok(PageCursor::Numbered {
        at: row.get(time)?,
        row: row.get(number)?,
    })
}
