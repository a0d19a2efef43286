//! What is read, and how a row becomes a value.

use std::collections::HashMap;

use bytes::BytesMut;
use tokio_postgres::{
    Error, Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use super::pool::Pool;
use crate::{
    chat::{Conversation, Message, Receipt},
    config::Tables,
    django::datetime::Timestamp,
    store::StoreError,
};

pub const CONVERSATION: &str =
    "id, participant1_id, participant2_id, created_at, updated_at, is_active";
const MESSAGE: &str = "id, conversation_id, sender_id, content, message_type, created_at, \
                       updated_at, is_deleted";
pub const RECEIPT: &str = "id, message_id, user_id, status, timestamp";

/// A `timestamp with time zone`: on the wire, microseconds since 2000.
#[derive(Debug)]
pub struct Time(pub Timestamp);

impl Time {
    /// 2000-01-01 in microseconds since the Unix epoch.
    const EPOCH: i64 = 946_684_800_000_000;
}

type Boxed = Box<dyn std::error::Error + Sync + Send>;

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let micros = micros.saturating_add(Self::EPOCH);
        Ok(Time(Timestamp::from_micros(micros)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        let micros = self.0.micros().saturating_sub(Self::EPOCH);
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

pub fn time_at(row: &Row, index: usize) -> Result<Timestamp, Error> {
    row.try_get(index).map(|Time(time)| time)
}

/// A conversation from the columns of [`CONVERSATION`].
pub fn conversation_row(row: &Row) -> Result<Conversation, Error> {
    Ok(Conversation {
        id: row.try_get(0)?,
        participant1_id: row.try_get(1)?,
        participant2_id: row.try_get(2)?,
        created_at: time_at(row, 3)?,
        updated_at: time_at(row, 4)?,
        is_active: row.try_get(5)?,
        messages: Vec::new(),
    })
}

fn message_row(row: &Row) -> Result<Message, Error> {
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

/// A receipt from the columns of [`RECEIPT`].
pub fn receipt_row(row: &Row) -> Result<Receipt, Error> {
    Ok(Receipt {
        id: row.try_get(0)?,
        message_id: row.try_get(1)?,
        user_id: row.try_get(2)?,
        status: row.try_get(3)?,
        timestamp: time_at(row, 4)?,
    })
}

/// The statement that finds the conversation of `$1` and `$2` in either order.
pub fn pair_sql(tables: &Tables) -> String {
    format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE (participant1_id = $1 AND participant2_id = $2) \
         OR (participant1_id = $2 AND participant2_id = $1) ORDER BY id LIMIT 1",
        tables.conversations
    )
}

/// The conversation of two participants in either order, with its messages.
pub async fn conversation_of_pair(
    pool: &Pool,
    tables: &Tables,
    participant1_id: &str,
    participant2_id: &str,
) -> Result<Option<Conversation>, StoreError> {
    let rows = pool
        .query(&pair_sql(tables), &[&participant1_id, &participant2_id])
        .await?;
    with_messages(pool, tables, rows.first()).await
}

pub async fn conversation(
    pool: &Pool,
    tables: &Tables,
    id: Uuid,
) -> Result<Option<Conversation>, StoreError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE id = $1",
        tables.conversations
    );
    let rows = pool.query(&sql, &[&id]).await?;
    with_messages(pool, tables, rows.first()).await
}

async fn with_messages(
    pool: &Pool,
    tables: &Tables,
    row: Option<&Row>,
) -> Result<Option<Conversation>, StoreError> {
    let Some(mut conversation) = row.map(conversation_row).transpose()? else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = $1 ORDER BY created_at",
        tables.messages
    );
    let rows = pool.query(&sql, &[&conversation.id]).await?;
    conversation.messages = rows.iter().map(message_row).collect::<Result<_, _>>()?;
    Ok(Some(conversation))
}

pub async fn conversation_is_active(
    pool: &Pool,
    tables: &Tables,
    id: Uuid,
) -> Result<Option<bool>, StoreError> {
    let sql = format!(
        "SELECT is_active FROM \"{}\" WHERE id = $1",
        tables.conversations
    );
    let rows = pool.query(&sql, &[&id]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// The user's active conversations, each with its messages: two queries however many there are.
pub async fn conversations_of(
    pool: &Pool,
    tables: &Tables,
    user_id: &str,
) -> Result<Vec<Conversation>, StoreError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" \
         WHERE is_active AND (participant1_id = $1 OR participant2_id = $1) \
         ORDER BY updated_at DESC",
        tables.conversations
    );
    let rows = pool.query(&sql, &[&user_id]).await?;
    let mut conversations: Vec<Conversation> = rows
        .iter()
        .map(conversation_row)
        .collect::<Result<_, _>>()?;
    if conversations.is_empty() {
        return Ok(conversations);
    }
    let ids: Vec<Uuid> = conversations.iter().map(|c| c.id).collect();
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = ANY($1) ORDER BY created_at",
        tables.messages
    );
    let mut said: HashMap<Uuid, Vec<Message>> = HashMap::new();
    for row in pool.query(&sql, &[&ids]).await? {
        let message = message_row(&row)?;
        said.entry(message.conversation_id)
            .or_default()
            .push(message);
    }
    for conversation in &mut conversations {
        conversation.messages = said.remove(&conversation.id).unwrap_or_default();
    }
    Ok(conversations)
}

/// The messages that are not deleted, oldest first; the newest `limit` of them if there is one.
pub async fn messages(
    pool: &Pool,
    tables: &Tables,
    conversation_id: Uuid,
    limit: Option<usize>,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = $1 AND NOT is_deleted \
         ORDER BY created_at DESC LIMIT $2",
        tables.messages
    );
    // NULL is no limit.
    let limit = limit.and_then(|limit| i64::try_from(limit).ok());
    let rows = pool.query(&sql, &[&conversation_id, &limit]).await?;
    Ok(rows
        .iter()
        .rev()
        .map(message_row)
        .collect::<Result<_, _>>()?)
}

pub async fn messages_since(
    pool: &Pool,
    tables: &Tables,
    conversations: &[Uuid],
    since: Timestamp,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = ANY($1) AND created_at >= $2 \
         AND NOT is_deleted ORDER BY created_at",
        tables.messages
    );
    let rows = pool.query(&sql, &[&conversations, &Time(since)]).await?;
    Ok(rows.iter().map(message_row).collect::<Result<_, _>>()?)
}

pub async fn message_exists(pool: &Pool, tables: &Tables, id: Uuid) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM \"{}\" WHERE id = $1", tables.messages);
    Ok(!pool.query(&sql, &[&id]).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_microseconds_both_ways() {
        // Epochs, a Django time, and one before either epoch.
        for micros in [
            0,
            Time::EPOCH,
            1_795_000_000_123_457,
            -62_135_596_800_000_000,
        ] {
            let mut raw = BytesMut::new();
            let time = Time(Timestamp::from_micros(micros));
            time.to_sql(&Type::TIMESTAMPTZ, &mut raw).unwrap();
            let Time(read) = Time::from_sql(&Type::TIMESTAMPTZ, &raw).unwrap();
            assert_eq!(read.micros(), micros);
        }
    }

    #[test]
    fn a_time_of_the_wrong_size_is_an_error() {
        assert!(Time::from_sql(&Type::TIMESTAMPTZ, &[0; 7]).is_err());
    }
}
