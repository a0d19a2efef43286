//! Rows of the tables, and their forms in answers and frames.

use bytes::Bytes;
use tokio_postgres::{Row, types::FromSql};

use crate::{
    fastapi::{
        invalid::member,
        times::{naive, with_offset, zulu},
    },
    python::{datetime::Timestamp, json, pystr::strip_str},
    store::{StoreError, postgres::time::Time},
    value::Value,
    ws::writer::text_frame,
};

/// A user. Passwords stay in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub is_active: bool,
    pub created_at: Option<Timestamp>,
}

/// A chat with its members, in the order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    pub id: i64,
    pub name: Option<String>,
    pub is_group: bool,
    pub created_at: Option<Timestamp>,
    pub members: Vec<User>,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: i64,
    pub chat_id: i64,
    pub sender_id: i64,
    /// As it was sent.
    pub content: String,
    pub created_at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// An edit, as members' sockets are sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    pub message_id: i64,
    pub chat_id: i64,
    pub content: String,
    pub edited_at: Timestamp,
}

impl User {
    /// Columns of [`User::of`], of a table that is called `u`.
    pub const COLUMNS: &str = "u.id::int8, u.username, u.email, u.is_active, u.created_at";

    /// Reads a row, from this column on.
    ///
    /// # Errors
    /// [`StoreError::Schema`] for a column of another type.
    pub fn of(row: &Row, first: usize) -> Result<Self, StoreError> {
        Ok(User {
            id: column(row, first)?,
            username: column(row, first + 1)?,
            email: column(row, first + 2)?,
            is_active: column::<Option<bool>>(row, first + 3)?.unwrap_or_default(),
            created_at: time(row, first + 4)?,
        })
    }

    /// Returns `User` of the answers.
    #[must_use]
    pub fn shown(&self) -> Value {
        Value::Map(vec![
            member("id", int(self.id)),
            member("username", self.username.as_str().into()),
            member("email", self.email.as_str().into()),
            member("is_active", self.is_active.into()),
            member("created_at", shown_time(self.created_at)),
        ])
    }
}

impl Chat {
    /// Returns `Chat` of the answers.
    #[must_use]
    pub fn shown(&self) -> Value {
        let name = self.name.as_deref().map_or(Value::Null, Value::from);
        let members = self.members.iter().map(User::shown);
        Value::Map(vec![
            member("name", name),
            member("id", int(self.id)),
            member("is_group", self.is_group.into()),
            member("created_at", shown_time(self.created_at)),
            member("participants", Value::List(members.collect())),
        ])
    }
}

impl Message {
    /// Columns of [`Message::of`], of a table that is called `m`.
    pub const COLUMNS: &str =
        "m.id::int8, m.chat_id::int8, m.sender_id::int8, m.content, m.created_at, m.read_at";

    /// Reads a row, from its first column on.
    ///
    /// # Errors
    /// [`StoreError::Schema`] for a column of another type.
    pub fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Message {
            id: column(row, 0)?,
            chat_id: column::<Option<i64>>(row, 1)?.unwrap_or_default(),
            sender_id: column::<Option<i64>>(row, 2)?.unwrap_or_default(),
            content: column(row, 3)?,
            created_at: time(row, 4)?.unwrap_or(Timestamp::from_micros(0)),
            read_at: time(row, 5)?,
        })
    }

    /// Returns `Message` of the answers: the content is trimmed there, and what the original has no
    /// value for is null or false.
    #[must_use]
    pub fn shown(&self) -> Value {
        Value::Map(vec![
            member("content", strip_str(&self.content).into()),
            member("chat_id", int(self.chat_id)),
            member("id", int(self.id)),
            member("sender_id", int(self.sender_id)),
            member("created_at", zulu(self.created_at).into()),
            member("delivered_at", Value::Null),
            member("read_at", shown_time(self.read_at)),
            member("is_delete", false.into()),
        ])
    }

    /// Returns the message as sockets and peers are sent it.
    #[must_use]
    pub fn live(&self) -> Value {
        Value::Map(vec![
            member("id", int(self.id)),
            member("chat_id", int(self.chat_id)),
            member("sender_id", int(self.sender_id)),
            member("content", self.content.as_str().into()),
            member("created_at", with_offset(self.created_at).into()),
        ])
    }
}

impl Edit {
    /// Returns the edit as sockets are sent it.
    #[must_use]
    pub fn live(&self) -> Value {
        Value::Map(vec![
            member("type", "message_edited".into()),
            member("message_id", int(self.message_id)),
            member("new_content", self.content.as_str().into()),
            member("edited_at", naive(self.edited_at).into()),
        ])
    }
}

/// Makes a frame of text: compact JSON, characters as themselves.
#[must_use]
pub fn json_frame(value: &Value) -> Bytes {
    text_frame(|out| json::write_raw(out, value))
}

/// Writes JSON as peers do by `json.dumps`.
#[must_use]
pub fn dumped(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    json::write_ascii(&mut bytes, value);
    bytes
}

/// Makes an integer.
#[must_use]
pub fn int(number: i64) -> Value {
    Value::Int(number.into())
}

/// Reads a column.
///
/// # Errors
/// [`StoreError::Schema`] if it has another type.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, StoreError> {
    Ok(row.try_get(place)?)
}

/// Reads a column with a time.
///
/// # Errors
/// [`StoreError::Schema`] if it has another type.
pub fn time(row: &Row, place: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(column::<Option<Time>>(row, place)?.map(|time| time.0))
}

fn shown_time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| zulu(time).into())
}
