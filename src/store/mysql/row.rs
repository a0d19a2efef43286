//! Rows as values.

use mysql_async::{Row, Value};
use uuid::Uuid;

use crate::{
    chat::{Change, Conversation, Message, Participants, Receipt},
    id::{ConversationId, Key, MessageId},
    python::datetime::{Timestamp, from_sqlite},
    store::{
        StoreError,
        history::{Page, PageCursor},
        schema::layout::{MESSAGE, participants},
    },
};

/// One value after the other out of a row of the text protocol.
pub struct Columns {
    row: Row,
    next: usize,
}

impl From<Row> for Columns {
    fn from(row: Row) -> Self {
        Columns { row, next: 0 }
    }
}

impl Columns {
    /// # Errors
    /// When there is no further column, or it is NULL, binary or not of the type.
    pub fn take<T: mysql_async::prelude::FromValue>(&mut self) -> Result<T, StoreError> {
        let place = self.next;
        self.next += 1;
        match self.row.take_opt::<T, _>(place) {
            Some(Ok(value)) => Ok(value),
            _ => Err(unreadable(place)),
        }
    }

    pub fn id<T: From<Key>>(&mut self) -> Result<T, StoreError> {
        let place = self.next;
        let columns = self.row.columns_ref();
        let is_number = columns
            .get(place)
            .is_some_and(|it| it.column_type().is_numeric_type());
        let key = if is_number {
            Some(Key::Number(self.take()?))
        } else {
            let text: String = self.take()?;
            Uuid::try_parse(&text).ok().map(Key::Uuid)
        };
        Ok(key.ok_or_else(|| unreadable(place))?.into())
    }

    /// Takes an id that may be NULL.
    pub fn optional_id<T: From<Key>>(&mut self) -> Result<Option<T>, StoreError> {
        match self.row.as_ref(self.next) {
            Some(Value::NULL) => {
                self.next += 1;
                Ok(None)
            }
            _ => self.id().map(Some),
        }
    }

    /// Takes two columns.
    pub fn participants(&mut self) -> Result<Participants, StoreError> {
        participants(self.take()?, self.take()?)
    }

    pub fn time(&mut self) -> Result<Timestamp, StoreError> {
        let text: String = self.take()?;
        from_sqlite(&text).ok_or_else(|| unreadable(self.next - 1))
    }
}

fn unreadable(place: usize) -> StoreError {
    StoreError::Schema(format!("column {} of an answer is unreadable", place + 1))
}

/// # Errors
/// When the row is not what [`pair`](super::query::pair), [`conversation`](super::query::conversation) or [`conversations_of`](super::query::conversations_of) ask for.
pub fn conversation_row(row: Row) -> Result<Conversation, StoreError> {
    let mut columns = Columns::from(row);
    Ok(Conversation {
        id: columns.id()?,
        participants: columns.participants()?,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        is_active: columns.take()?,
    })
}

/// # Errors
/// When the row is not what [`messages_of`](super::query::messages_of), [`newest_messages`](super::query::newest_messages) or [`messages`](super::query::messages) ask for.
fn message_row(row: Row) -> Result<Message, StoreError> {
    let mut columns = Columns::from(row);
    let id = columns.id()?;
    let named = |error| StoreError::Schema(format!("the message {id} is unreadable: {error}"));
    message_of(id, columns).map_err(named)
}

/// Returns the messages of these rows, in their order.
#[must_use]
pub fn page(rows: Vec<Row>, is_full: bool) -> Page {
    let too_large: Vec<String> = rows.iter().filter_map(too_large).collect();
    let (mut messages, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        if !too_large.is_empty() && self::too_large(&row).is_some() {
            continue;
        }
        match message_row(row) {
            Ok(message) => messages.push(message),
            Err(error) => unreadable.push(error),
        }
    }
    let mut page = Page::new(messages, is_full, unreadable);
    page.too_large = too_large;
    page
}

/// Returns the place behind a message, which says which conversation of several it is of.
///
/// # Errors
/// When the row is not what [`newest_of`](super::query::newest_of) asks for.
pub fn place_of(row: &Row) -> Result<usize, StoreError> {
    let place = row.get_opt(MESSAGE.len()).and_then(Result::ok);
    place.ok_or_else(|| unreadable(MESSAGE.len()))
}

/// The id of a message whose content is too large, as it is read.
fn too_large(row: &Row) -> Option<String> {
    match row.as_ref(3)? {
        Value::NULL => row.get_opt::<String, _>(0)?.ok(),
        _ => None,
    }
}

fn message_of(id: MessageId, mut columns: Columns) -> Result<Message, StoreError> {
    Ok(Message {
        id,
        conversation_id: columns.id()?,
        sender_id: columns.take()?,
        content: columns.take()?,
        message_type: columns.take()?,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        is_deleted: columns.take()?,
    })
}

/// # Errors
/// When the row is not what [`place`](super::query::place) asks for.
pub fn place_row(row: Row) -> Result<PageCursor, StoreError> {
    let mut columns = Columns::from(row);
    Ok(PageCursor::Keyed {
        at: columns.time()?,
        id: Some(columns.id()?),
    })
}

/// Returns a change of a message.
///
/// # Errors
/// When the row is not what [`changed_between`](super::changes::changed_between) asks for.
pub fn change_row(row: Row) -> Result<Change, StoreError> {
    let mut columns = Columns::from(row);
    Ok(Change {
        id: columns.id()?,
        conversation_id: columns.id()?,
        message_id: columns.id()?,
    })
}

/// Returns the place and the receipt.
///
/// # Errors
/// When the row is not what [`receipts`](super::query::receipts) asks for.
pub fn receipt_row(row: Row) -> Result<(usize, Receipt), StoreError> {
    let mut columns = Columns::from(row);
    let place = columns.take()?;
    Ok((place, receipt_of(columns)?))
}

/// Returns the conversation and the receipt.
///
/// # Errors
/// When the row is not what [`marked_between`](super::query::marked_between) asks for.
pub fn mark_row(row: Row) -> Result<(ConversationId, Receipt), StoreError> {
    let mut columns = Columns::from(row);
    let conversation_id = columns.id()?;
    Ok((conversation_id, receipt_of(columns)?))
}

/// Returns a receipt from the columns of [`RECEIPT`](crate::store::schema::layout::RECEIPT).
///
/// # Errors
/// When the columns are others.
pub fn receipt_of(mut columns: Columns) -> Result<Receipt, StoreError> {
    Ok(Receipt {
        id: columns.id()?,
        message_id: columns.id()?,
        user_id: columns.take()?,
        status: columns.take()?,
        timestamp: columns.time()?,
    })
}
