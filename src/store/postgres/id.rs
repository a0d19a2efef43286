//! Ids as columns of PostgreSQL: `uuid`, or `bigint` and `integer`.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::param::Param;
use crate::id::{AttachmentId, ChangeId, ConversationId, Key, MessageId, ReceiptId};

type Boxed = Box<dyn std::error::Error + Sync + Send>;

/// Types of the columns that hold ids.
fn holds_ids(ty: &Type) -> bool {
    [Type::UUID, Type::INT8, Type::INT4].contains(ty)
}

fn read(ty: &Type, raw: &[u8]) -> Result<Key, Boxed> {
    Ok(match *ty {
        Type::UUID => Key::Uuid(Uuid::from_sql(ty, raw)?),
        Type::INT4 => Key::Number(i32::from_sql(ty, raw)?.into()),
        _ => Key::Number(i64::from_sql(ty, raw)?),
    })
}

fn write(key: Key, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
    match key {
        Key::Uuid(id) => id.to_sql(ty, out),
        Key::Number(number) if *ty == Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
        Key::Number(number) => number.to_sql(ty, out),
    }
}

/// Returns the type of a parameter that is this key, and of an array of such keys.
fn types_of(key: Option<Key>) -> [Type; 2] {
    match key {
        Some(Key::Number(_)) => [Type::INT8, Type::INT8_ARRAY],
        Some(Key::Uuid(_)) | None => [Type::UUID, Type::UUID_ARRAY],
    }
}

macro_rules! columns {
    ($($name:ident),+) => {$(
        impl<'a> FromSql<'a> for $name {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
                read(ty, raw).map($name)
            }

            fn accepts(ty: &Type) -> bool {
                holds_ids(ty)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
                write(self.0, ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                holds_ids(ty)
            }

            to_sql_checked!();
        }

        impl Param for $name {
            fn value(&self) -> &(dyn ToSql + Sync) {
                self
            }

            fn ty(&self) -> Type {
                let [one, _] = types_of(Some(self.0));
                one
            }
        }

        columns!(@ &[$name], $name);
        columns!(@ Vec<$name>, $name);
    )+};
    (@ $many:ty, $name:ident) => {
        impl Param for $many {
            fn value(&self) -> &(dyn ToSql + Sync) {
                self
            }

            fn ty(&self) -> Type {
                let [_, many] = types_of(self.first().map(|id| id.0));
                many
            }
        }
    };
}

columns!(AttachmentId, ChangeId, ConversationId, MessageId, ReceiptId);
