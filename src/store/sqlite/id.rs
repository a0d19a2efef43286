//! Ids as columns of SQLite: a UUID is 32 hex digits, as Django's backend has it.

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use uuid::Uuid;

use crate::{
    id::{AttachmentId, ChangeId, ConversationId, Key, MessageId, ReceiptId},
    python::uuid::hex32,
};

fn read(value: ValueRef<'_>) -> FromSqlResult<Key> {
    if let ValueRef::Integer(number) = value {
        return Ok(Key::Number(number));
    }
    let id = Uuid::try_parse(value.as_str()?);
    id.map(Key::Uuid).map_err(FromSqlError::other)
}

fn write(key: Key) -> ToSqlOutput<'static> {
    match key {
        Key::Uuid(id) => hex32(&id).into(),
        Key::Number(number) => number.into(),
    }
}

macro_rules! columns {
    ($($name:ident),+) => {$(
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                read(value).map($name)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(write(self.0))
            }
        }
    )+};
}

columns!(AttachmentId, ChangeId, ConversationId, MessageId, ReceiptId);
