//! Reading: the SQL, and how a row becomes a value.

use bytes::BytesMut;
use tokio_postgres::{
    Error, Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use super::{param::Params, pool::Pool};
use crate::{
    chat::{Conversation, Message, Receipt, receipt::READ},
    config::Tables,
    id::{ConversationId, Key, MessageId, ReceiptId},
    python::datetime::Timestamp,
    store::{
        Comparison, Lookup, Marks, StoreError,
        history::{
            ConversationPage, Deleted, PAGE_BYTES, PAGE_CONVERSATIONS, PAGE_MESSAGES, Page,
            PageCursor, TOGETHER_MESSAGES, content,
        },
    },
};

pub const CONVERSATION: &str =
    "id, participant1_id, participant2_id, created_at, updated_at, is_active";
const MESSAGE: &str = concat!(
    "id, conversation_id, sender_id, ",
    content!(),
    ", message_type, created_at, updated_at, is_deleted"
);
pub const RECEIPT: &str = "id, message_id, user_id, status, timestamp";

/// A `timestamp with time zone`: on the wire, microseconds since 2000.
#[derive(Debug)]
pub struct Time(pub Timestamp);

impl Time {
    /// 2000-01-01 in microseconds since the Unix epoch.
    const EPOCH: i64 = 946_684_800_000_000;

    /// `-infinity`, before every time.
    const FIRST: Time = Time(Timestamp::from_micros(i64::MIN));

    /// `infinity`, after every time.
    const LAST: Time = Time(Timestamp::from_micros(i64::MAX));
}

type Boxed = Box<dyn std::error::Error + Sync + Send>;

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let micros = match micros {
            i64::MIN => i64::MIN,
            micros => micros.saturating_add(Self::EPOCH),
        };
        Ok(Time(Timestamp::from_micros(micros)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        let micros = match self.0.micros() {
            i64::MAX => i64::MAX,
            micros => micros.saturating_sub(Self::EPOCH),
        };
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

/// Returns a conversation from the columns of [`CONVERSATION`].
pub fn conversation_row(row: &Row) -> Result<Conversation, Error> {
    Ok(Conversation {
        id: row.try_get(0)?,
        participant1_id: row.try_get(1)?,
        participant2_id: row.try_get(2)?,
        created_at: time_at(row, 3)?,
        updated_at: time_at(row, 4)?,
        is_active: row.try_get(5)?,
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

/// Returns a receipt from the columns of [`RECEIPT`].
pub fn receipt_row(row: &Row) -> Result<Receipt, Error> {
    Ok(Receipt {
        id: row.try_get(0)?,
        message_id: row.try_get(1)?,
        user_id: row.try_get(2)?,
        status: row.try_get(3)?,
        timestamp: time_at(row, 4)?,
    })
}

/// Returns a conversation and a receipt from the columns of [`marked_between`].
fn mark_row(row: &Row) -> Result<(ConversationId, Receipt), Error> {
    Ok((row.try_get(5)?, receipt_row(row)?))
}

/// Returns the statement that finds the conversation of `$1` and `$2` in either order.
pub fn pair_sql(tables: &Tables, ids: Comparison) -> String {
    let exactly = match ids {
        Comparison::Collation => String::new(),
        Comparison::Bytes => format!(" AND ({})", pair_is(EXACTLY)),
    };
    format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE ({}){exactly} ORDER BY id LIMIT 1",
        tables.conversations,
        pair_is("")
    )
}

/// Makes a comparison go by bytes, whatever the collation of the column.
const EXACTLY: &str = " COLLATE \"C\"";

/// Returns the condition that the pair of a row is `$1` and `$2`, in either order.
fn pair_is(collation: &str) -> String {
    let is = |column: &str, value: &str| format!("{column} = {value}{collation}");
    let (one, two) = ("participant1_id", "participant2_id");
    format!(
        "({} AND {}) OR ({} AND {})",
        is(one, "$1"),
        is(two, "$2"),
        is(one, "$2"),
        is(two, "$1")
    )
}

/// Returns whether the columns' own comparison finds rows of user ids of other bytes.
pub async fn finds_others(pool: &Pool, tables: &Tables, of: &Lookup) -> Result<bool, StoreError> {
    let Tables {
        conversations,
        delivery_receipts,
        ..
    } = tables;
    let rows = match of {
        Lookup::Pair(one, two) => {
            let (alike, exactly) = (pair_is(""), pair_is(EXACTLY));
            let sql = format!(
                "SELECT 1 FROM \"{conversations}\" WHERE ({alike}) AND NOT ({exactly}) LIMIT 1"
            );
            pool.query(&sql, &[one, two]).await?
        }
        Lookup::Receipt(message_id, user_id) => {
            let sql = format!(
                "SELECT 1 FROM \"{delivery_receipts}\" WHERE message_id = $1 AND user_id = $2 \
                 AND user_id <> $2{EXACTLY} LIMIT 1"
            );
            pool.query(&sql, &[message_id, user_id]).await?
        }
        Lookup::Conversations(user_id) => {
            let sql = format!(
                "SELECT 1 FROM \"{conversations}\" WHERE \
                 (participant1_id = $1 AND participant1_id <> $1{EXACTLY}) OR \
                 (participant2_id = $1 AND participant2_id <> $1{EXACTLY}) LIMIT 1"
            );
            pool.query(&sql, &[user_id]).await?
        }
    };
    Ok(!rows.is_empty())
}

/// Returns the conversation of two participants in either order.
pub async fn conversation_of_pair(
    pool: &Pool,
    tables: &Tables,
    [one, two]: [&str; 2],
    ids: Comparison,
) -> Result<Option<Conversation>, StoreError> {
    let rows = pool.query(&pair_sql(tables, ids), &[&one, &two]).await?;
    Ok(rows.first().map(conversation_row).transpose()?)
}

pub async fn conversation(
    pool: &Pool,
    tables: &Tables,
    id: ConversationId,
) -> Result<Option<Conversation>, StoreError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" WHERE id = $1",
        tables.conversations
    );
    let rows = pool.query(&sql, &[&id]).await?;
    Ok(rows.first().map(conversation_row).transpose()?)
}

pub async fn conversation_is_active(
    pool: &Pool,
    tables: &Tables,
    id: ConversationId,
) -> Result<Option<bool>, StoreError> {
    let sql = format!(
        "SELECT is_active FROM \"{}\" WHERE id = $1",
        tables.conversations
    );
    let rows = pool.query(&sql, &[&id]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// Returns the page of a user's active conversations that come after a place.
pub async fn conversations_of(
    pool: &Pool,
    tables: &Tables,
    user_id: &str,
    after: Option<&PageCursor>,
) -> Result<ConversationPage, StoreError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM \"{}\" \
         WHERE is_active AND (participant1_id = $1 OR participant2_id = $1) \
         AND updated_at <= $2 AND (updated_at < $2 OR id < $3) \
         ORDER BY updated_at DESC, id DESC LIMIT $4",
        tables.conversations
    );
    let (time, id): (_, ConversationId) = until_bound(after);
    let limit = signed(PAGE_CONVERSATIONS);
    let rows = pool.query(&sql, &[&user_id, &time, &id, &limit]).await?;
    let found = rows.iter().map(conversation_row);
    Ok(ConversationPage::new(found.collect::<Result<_, _>>()?))
}

/// Returns all messages of some conversations, as far as they may be read together. Each
/// conversation is looked up by itself, so that no more of it is sorted than fits.
pub async fn messages_of(
    pool: &Pool,
    tables: &Tables,
    conversations: &[ConversationId],
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM unnest($1::uuid[]) AS wanted CROSS JOIN LATERAL \
         (SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = wanted \
         ORDER BY created_at, id LIMIT $2) AS found LIMIT $2",
        tables.messages
    );
    let limit = signed(TOGETHER_MESSAGES);
    let params: Params<'_> = &[&conversations, &limit];
    let (rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    Ok(page(&rows, is_cut || rows.len() == TOGETHER_MESSAGES))
}

/// Returns the newest messages, at most `limit` and no more than fit a page.
pub async fn newest_messages(
    pool: &Pool,
    tables: &Tables,
    conversation_id: ConversationId,
    deleted: Deleted,
    limit: usize,
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = $1 {}\
         ORDER BY created_at DESC, id DESC LIMIT $2",
        tables.messages,
        deleted.condition()
    );
    let limit = limit.min(PAGE_MESSAGES);
    let params: Params<'_> = &[&conversation_id, &signed(limit)];
    let (mut rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    rows.reverse();
    Ok(page(&rows, is_cut || rows.len() == limit))
}

/// Returns the page of messages that lie between two places.
pub async fn messages(
    pool: &Pool,
    tables: &Tables,
    conversation_id: ConversationId,
    deleted: Deleted,
    (after, until): (Option<&PageCursor>, Option<&PageCursor>),
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM \"{}\" WHERE conversation_id = $1 {}\
         AND created_at >= $2 AND (created_at > $2 OR id > $3) \
         AND created_at <= $4 AND (created_at < $4 OR id <= $5) \
         ORDER BY created_at, id LIMIT $6",
        tables.messages,
        deleted.condition()
    );
    let (after_time, after_id) = after_bound(after);
    let (until_time, until_id): (_, MessageId) = until_bound(until);
    let limit = signed(PAGE_MESSAGES);
    let params: Params<'_> = &[
        &conversation_id,
        &after_time,
        &after_id,
        &until_time,
        &until_id,
        &limit,
    ];
    let (rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    Ok(page(&rows, is_cut || rows.len() == PAGE_MESSAGES))
}

/// Returns the id of a message for the log.
fn shown_id(row: &Row) -> String {
    let id = row.try_get::<_, MessageId>(0);
    id.map_or_else(|_| "without a readable id".to_owned(), |id| id.to_string())
}

fn page(rows: &[Row], is_full: bool) -> Page {
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

/// Returns the time and the id of a place, or those before everything.
fn after_bound(place: Option<&PageCursor>) -> (Time, MessageId) {
    bound(place).unwrap_or((Time::FIRST, Uuid::nil().into()))
}

/// Returns the time and the id of a place, or those after everything.
fn until_bound<T: From<Key> + From<Uuid>>(place: Option<&PageCursor>) -> (Time, T) {
    bound(place).unwrap_or((Time::LAST, Uuid::max().into()))
}

fn bound<T: From<Key> + From<Uuid>>(place: Option<&PageCursor>) -> Option<(Time, T)> {
    let time = place?.time()?;
    let id = place?.id().map_or_else(|| Uuid::nil().into(), T::from);
    Some((Time(time), id))
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub async fn place(
    pool: &Pool,
    tables: &Tables,
    conversation_id: ConversationId,
    newer: usize,
) -> Result<Option<PageCursor>, StoreError> {
    let sql = format!(
        "SELECT created_at, id FROM \"{}\" WHERE conversation_id = $1 AND NOT is_deleted \
         ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET $2",
        tables.messages
    );
    let rows = pool
        .query(&sql, &[&conversation_id, &signed(newer)])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let id: MessageId = row.try_get(1)?;
    Ok(Some(PageCursor::Keyed {
        at: time_at(row, 0)?,
        id: Some(id.into()),
    }))
}

pub async fn spoken_in(
    pool: &Pool,
    tables: &Tables,
    conversations: &[ConversationId],
    since: Timestamp,
) -> Result<Vec<ConversationId>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT conversation_id FROM \"{}\" WHERE conversation_id = ANY($1) \
         AND created_at >= $2",
        tables.messages
    );
    let rows = pool.query(&sql, &[&conversations, &Time(since)]).await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// Selects conversation, id and time of the messages that were made between two times in some
/// conversations.
pub async fn stored_between(
    pool: &Pool,
    tables: &Tables,
    conversations: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
    let sql = format!(
        "SELECT conversation_id, id, created_at FROM \"{}\" WHERE conversation_id = ANY($1) \
         AND created_at >= $2 AND created_at < $3 AND NOT is_deleted \
         ORDER BY created_at LIMIT {most}",
        tables.messages
    );
    let values: Params<'_> = &[&conversations, &Time(since), &Time(until)];
    let rows = pool.query(&sql, values).await?;
    let stored = |row: &Row| {
        let created_at = time_at(row, 2).unwrap_or(since);
        Ok((row.try_get(0)?, row.try_get(1)?, created_at))
    };
    Ok(rows.iter().map(stored).collect::<Result<_, Error>>()?)
}

/// Selects conversation and receipt of the read marks that were made between two times, of the
/// newest messages of some conversations.
pub async fn marked_between(
    pool: &Pool,
    tables: &Tables,
    newest: &[(ConversationId, usize)],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Marks, StoreError> {
    let sql = format!(
        "SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp, c.id \
         FROM unnest($1::uuid[], $2::bigint[]) AS c (id, newest) CROSS JOIN LATERAL \
         (SELECT id FROM \"{}\" WHERE conversation_id = c.id AND created_at < $4 \
         ORDER BY created_at DESC LIMIT c.newest) AS m \
         JOIN \"{}\" AS r ON r.message_id = m.id WHERE r.status = '{READ}' \
         AND r.timestamp >= $3 AND r.timestamp < $4 ORDER BY r.timestamp, r.id LIMIT {most}",
        tables.messages, tables.delivery_receipts
    );
    let ids: Vec<ConversationId> = newest.iter().map(|(id, _)| *id).collect();
    let counts: Vec<i64> = newest.iter().map(|(_, count)| signed(*count)).collect();
    let values: Params<'_> = &[&ids, &counts, &Time(since), &Time(until)];
    let mut marks = Marks::default();
    for row in &pool.query(&sql, values).await? {
        marks.add(mark_row(row));
    }
    Ok(marks)
}

/// Selects conversation and receipt of the read marks with ids between two, of messages of some
/// conversations.
pub async fn marked_by_id(
    pool: &Pool,
    tables: &Tables,
    conversations: &[ConversationId],
    (first, end): (ReceiptId, ReceiptId),
    most: usize,
) -> Result<Marks, StoreError> {
    let sql = format!(
        "SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp, m.conversation_id \
         FROM \"{}\" AS r JOIN \"{}\" AS m ON m.id = r.message_id \
         WHERE r.id >= $1 AND r.id < $2 AND r.status = '{READ}' \
         AND m.conversation_id = ANY($3) ORDER BY r.id LIMIT {most}",
        tables.delivery_receipts, tables.messages
    );
    let mut marks = Marks::default();
    for row in &pool.query(&sql, &[&first, &end, &conversations]).await? {
        marks.add(mark_row(row));
    }
    Ok(marks)
}

pub async fn message_exists(
    pool: &Pool,
    tables: &Tables,
    id: MessageId,
) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM \"{}\" WHERE id = $1", tables.messages);
    Ok(!pool.query(&sql, &[&id]).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_microseconds_both_ways() {
        // Epochs, a Django time, one before either epoch, and the infinities.
        for micros in [
            i64::MIN,
            i64::MAX,
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
