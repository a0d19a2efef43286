//! Reading: the statements and their parameters.

use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::{
    param::Params,
    pool::PostgresPool,
    row::{conversation_row, mark_row, page, receipt_row, time_at},
    time::Time,
};
use crate::{
    chat::{Conversation, Message, Receipt, receipt::READ},
    id::{ConversationId, Key, MessageId, ReceiptId},
    python::datetime::Timestamp,
    store::{
        Comparison, Lookup, Marks, StoreError,
        history::{
            ConversationPage, Deleted, Direction, PAGE_BYTES, PAGE_CONVERSATIONS, PAGE_MESSAGES,
            Page, PageCursor, TOGETHER_MESSAGES,
        },
        placed::by_place,
        schema::{
            Table,
            layout::{
                CONVERSATION_LIST as CONVERSATION, Layout, MESSAGE as MESSAGE_ROLES,
                MESSAGE_LIST as MESSAGE, RECEIPT_LIST as RECEIPT,
            },
        },
    },
};

/// Returns the statement that finds the conversation of `$1` and `$2` in either order.
pub fn pair_sql(layout: &Layout, ids: Comparison) -> String {
    let exactly = match ids {
        Comparison::Collation => String::new(),
        Comparison::Bytes => format!(" AND ({})", pair_is(EXACTLY)),
    };
    format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE ({}){exactly} ORDER BY id LIMIT 1",
        layout.conversations,
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
pub async fn finds_others(
    pool: &PostgresPool,
    layout: &Layout,
    of: &Lookup,
) -> Result<bool, StoreError> {
    let Layout {
        conversations,
        receipts,
        ..
    } = layout;
    let rows = match of {
        Lookup::Pair(one, two) => {
            let (alike, exactly) = (pair_is(""), pair_is(EXACTLY));
            let sql = format!(
                "SELECT 1 FROM {conversations} AS c WHERE ({alike}) AND NOT ({exactly}) LIMIT 1"
            );
            pool.query(&sql, &[one, two]).await?
        }
        Lookup::Receipt(message_id, user_id) => {
            let sql = format!(
                "SELECT 1 FROM {receipts} AS r WHERE message_id = $1 AND user_id = $2 \
                 AND user_id <> $2{EXACTLY} LIMIT 1"
            );
            pool.query(&sql, &[message_id, user_id]).await?
        }
        Lookup::Conversations(user_id) => {
            let sql = format!(
                "SELECT 1 FROM {conversations} AS c WHERE \
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
    pool: &PostgresPool,
    layout: &Layout,
    [one, two]: [&str; 2],
    ids: Comparison,
) -> Result<Option<Conversation>, StoreError> {
    let rows = pool.query(&pair_sql(layout, ids), &[&one, &two]).await?;
    rows.first().map(conversation_row).transpose()
}

pub async fn conversation(
    pool: &PostgresPool,
    layout: &Layout,
    id: ConversationId,
) -> Result<Option<Conversation>, StoreError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE id = $1",
        layout.conversations
    );
    let rows = pool.query(&sql, &[&id]).await?;
    rows.first().map(conversation_row).transpose()
}

/// Selects ids of conversations, those after one.
pub async fn conversation_ids(
    pool: &PostgresPool,
    layout: &Layout,
    after: Option<ConversationId>,
    most: usize,
) -> Result<Vec<ConversationId>, StoreError> {
    let select = |condition| {
        format!(
            "SELECT c.id FROM {} AS c {condition}ORDER BY c.id LIMIT {most}",
            layout.conversations
        )
    };
    let rows = match after {
        Some(last) => pool.query(&select("WHERE c.id > $1 "), &[&last]).await?,
        None => pool.query(&select(""), &[]).await?,
    };
    let ids = rows.iter().map(|row| row.try_get(0));
    Ok(ids.collect::<Result<_, Error>>()?)
}

pub async fn conversation_is_active(
    pool: &PostgresPool,
    layout: &Layout,
    id: ConversationId,
) -> Result<Option<bool>, StoreError> {
    let sql = format!(
        "SELECT is_active FROM {} AS c WHERE id = $1",
        layout.conversations
    );
    let rows = pool.query(&sql, &[&id]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// Fails unless conversations can be looked up.
pub async fn ping(pool: &PostgresPool, layout: &Layout) -> Result<(), StoreError> {
    let nobody = first_id(&layout.schema.conversations).into();
    conversation_is_active(pool, layout, nobody)
        .await
        .map(|_| ())
}

/// Returns the page of a user's active conversations that come after a place.
pub async fn conversations_of(
    pool: &PostgresPool,
    layout: &Layout,
    user_id: &str,
    after: Option<&PageCursor>,
) -> Result<ConversationPage, StoreError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM {} AS c \
         WHERE is_active AND {} \
         AND updated_at <= $2 AND (updated_at < $2 OR id < $3) \
         ORDER BY updated_at DESC, id DESC LIMIT $4",
        layout.conversations,
        layout.has_member("$1")
    );
    let (time, id): (_, ConversationId) = until_bound(after, &layout.schema.conversations);
    let limit = signed(PAGE_CONVERSATIONS);
    let rows = pool.query(&sql, &[&user_id, &time, &id, &limit]).await?;
    let found = rows.iter().map(conversation_row);
    Ok(ConversationPage::new(
        found.collect::<Result<_, StoreError>>()?,
    ))
}

/// Returns all messages of some conversations, as far as they may be read together. Each
/// conversation is looked up by itself, so that no more of it is sorted than fits.
pub async fn messages_of(
    pool: &PostgresPool,
    layout: &Layout,
    conversations: &[ConversationId],
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM unnest($1::{}[]) AS wanted CROSS JOIN LATERAL \
         (SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = wanted \
         ORDER BY created_at, id LIMIT $2) AS found LIMIT $2",
        id_type(&layout.schema.conversations),
        layout.messages
    );
    let limit = signed(TOGETHER_MESSAGES);
    let params: Params<'_> = &[&conversations, &limit];
    let (rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    Ok(page(&rows, is_cut || rows.len() == TOGETHER_MESSAGES))
}

/// Returns the newest messages, at most `limit` and no more than fit a page.
pub async fn newest_messages(
    pool: &PostgresPool,
    layout: &Layout,
    conversation_id: ConversationId,
    deleted: Deleted,
    limit: usize,
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = $1 {}\
         ORDER BY created_at DESC, id DESC LIMIT $2",
        layout.messages,
        deleted.condition()
    );
    let limit = limit.min(PAGE_MESSAGES);
    let params: Params<'_> = &[&conversation_id, &signed(limit)];
    let (mut rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    rows.reverse();
    Ok(page(&rows, is_cut || rows.len() == limit))
}

/// Returns a page of the newest messages for each of the first of some conversations.
pub async fn newest_of(
    pool: &PostgresPool,
    layout: &Layout,
    conversations: &[ConversationId],
    limit: usize,
) -> Result<Vec<Page>, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE}, place FROM unnest($1::{}[]) WITH ORDINALITY AS wanted (wanted, place) \
         CROSS JOIN LATERAL (SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = wanted \
         AND NOT is_deleted ORDER BY created_at DESC, id DESC LIMIT $2) AS found",
        id_type(&layout.schema.conversations),
        layout.messages
    );
    let limit = limit.min(PAGE_MESSAGES);
    let params: Params<'_> = &[&conversations, &signed(limit)];
    let (rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    let lists = by_place(rows, place_of, conversations.len(), is_cut)?;
    let pages = lists.into_iter().map(|mut list| {
        list.rows.reverse();
        page(&list.rows, list.is_full(limit))
    });
    Ok(pages.collect())
}

/// Returns the place behind a message, from 0.
fn place_of(row: &Row) -> Result<usize, StoreError> {
    let place: i64 = row.try_get(MESSAGE_ROLES.len())?;
    Ok(usize::try_from(place - 1).unwrap_or_default())
}

/// Returns the page of messages that lie between two places.
pub async fn messages(
    pool: &PostgresPool,
    layout: &Layout,
    conversation_id: ConversationId,
    deleted: Deleted,
    (after, until): (Option<&PageCursor>, Option<&PageCursor>),
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = $1 {}\
         AND created_at >= $2 AND (created_at > $2 OR id > $3) \
         AND created_at <= $4 AND (created_at < $4 OR id <= $5) \
         ORDER BY created_at, id LIMIT $6",
        layout.messages,
        deleted.condition()
    );
    let own = &layout.schema.messages;
    let (after_time, after_id) = after_bound(after, own);
    let (until_time, until_id): (_, MessageId) = until_bound(until, own);
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

/// Returns the page of messages next to a time and an id.
pub async fn beside(
    pool: &PostgresPool,
    layout: &Layout,
    conversation_id: ConversationId,
    (at, id): (Timestamp, MessageId),
    direction: Direction,
    limit: usize,
) -> Result<Page, StoreError> {
    let (compares, order) = direction.sql();
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = $1 AND NOT is_deleted \
         AND created_at {compares}= $2 AND (created_at {compares} $2 OR id {compares} $3) \
         ORDER BY created_at {order}, id {order} LIMIT $4",
        layout.messages
    );
    let limit = limit.min(PAGE_MESSAGES);
    let params: Params<'_> = &[&conversation_id, &Time(at), &id, &signed(limit)];
    let (mut rows, is_cut) = pool.some_rows(&sql, params, PAGE_BYTES).await?;
    if direction == Direction::Older {
        rows.reverse();
    }
    Ok(page(&rows, is_cut || rows.len() == limit))
}

pub async fn message(
    pool: &PostgresPool,
    layout: &Layout,
    id: MessageId,
) -> Result<Option<Message>, StoreError> {
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id = $1",
        layout.messages
    );
    let (rows, _) = pool.some_rows(&sql, &[&id], PAGE_BYTES).await?;
    Ok(page(&rows, false).whole()?.messages.into_iter().next())
}

/// Returns the time and the id of a place among rows of a table, or those before everything.
fn after_bound(place: Option<&PageCursor>, of: &Table) -> (Time, MessageId) {
    bound(place, of).unwrap_or_else(|| (Time::FIRST, first_id(of).into()))
}

/// Returns the time and the id of a place among rows of a table, or those after everything.
pub fn until_bound<T: From<Key>>(place: Option<&PageCursor>, of: &Table) -> (Time, T) {
    let last = if of.makes_ids() {
        Key::Number(i64::MAX)
    } else {
        Key::Uuid(Uuid::max())
    };
    bound(place, of).unwrap_or_else(|| (Time::LAST, last.into()))
}

fn bound<T: From<Key>>(place: Option<&PageCursor>, of: &Table) -> Option<(Time, T)> {
    let time = place?.time()?;
    let id = place?.id().unwrap_or_else(|| first_id(of));
    Some((Time(time), id.into()))
}

/// Returns an id before all those of a table.
fn first_id(of: &Table) -> Key {
    if of.makes_ids() {
        Key::Number(i64::MIN)
    } else {
        Key::Uuid(Uuid::nil())
    }
}

/// Returns the type of the ids of a table.
pub fn id_type(of: &Table) -> &'static str {
    if of.makes_ids() { "bigint" } else { "uuid" }
}

pub fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub async fn place(
    pool: &PostgresPool,
    layout: &Layout,
    conversation_id: ConversationId,
    newer: usize,
) -> Result<Option<PageCursor>, StoreError> {
    let sql = format!(
        "SELECT created_at, id FROM {} AS m WHERE conversation_id = $1 AND NOT is_deleted \
         ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET $2",
        layout.messages
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
    pool: &PostgresPool,
    layout: &Layout,
    conversations: &[ConversationId],
    since: Timestamp,
) -> Result<Vec<ConversationId>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT conversation_id FROM {} AS m WHERE conversation_id = ANY($1) \
         AND created_at >= $2",
        layout.messages
    );
    let rows = pool.query(&sql, &[&conversations, &Time(since)]).await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// Counts the messages of each conversation that a user has not marked as read, of those of others
/// among the newest.
pub async fn unread(
    pool: &PostgresPool,
    layout: &Layout,
    conversations: &[ConversationId],
    user_id: &str,
    among: usize,
    ids: Comparison,
) -> Result<Vec<usize>, StoreError> {
    let exactly = match ids {
        Comparison::Collation => "",
        Comparison::Bytes => EXACTLY,
    };
    let sql = format!(
        "SELECT (SELECT count(*) FROM (SELECT id, sender_id FROM {} AS m \
         WHERE conversation_id = wanted AND NOT is_deleted ORDER BY created_at DESC, id DESC \
         LIMIT $2) AS m WHERE NOT (m.sender_id = $3{exactly}) AND NOT EXISTS (SELECT 1 FROM {} AS r \
         WHERE r.message_id = m.id AND r.user_id = $3{exactly} AND r.status = '{READ}')) \
         FROM unnest($1::{}[]) WITH ORDINALITY AS wanted (wanted, place) ORDER BY place",
        layout.messages,
        layout.receipts,
        id_type(&layout.schema.conversations)
    );
    let params: Params<'_> = &[&conversations, &signed(among), &user_id];
    let rows = pool.query(&sql, params).await?;
    let counts = rows.iter().map(|row| {
        let count: i64 = row.try_get(0)?;
        Ok(usize::try_from(count).unwrap_or_default())
    });
    counts.collect()
}

/// Selects conversation, id and time of the messages that were made between two times in some
/// conversations.
pub async fn stored_between(
    pool: &PostgresPool,
    layout: &Layout,
    conversations: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
    let sql = format!(
        "SELECT conversation_id, id, created_at FROM {} AS m WHERE conversation_id = ANY($1) \
         AND created_at >= $2 AND created_at < $3 AND NOT is_deleted \
         ORDER BY created_at LIMIT {most}",
        layout.messages
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
    pool: &PostgresPool,
    layout: &Layout,
    newest: &[(ConversationId, usize)],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Marks, StoreError> {
    let sql = format!(
        "SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp, c.id \
         FROM unnest($1::{}[], $2::bigint[]) AS c (id, newest) CROSS JOIN LATERAL \
         (SELECT id FROM {} AS m WHERE conversation_id = c.id AND created_at < $4 \
         ORDER BY created_at DESC LIMIT c.newest) AS m \
         JOIN {} AS r ON r.message_id = m.id WHERE r.status = '{READ}' \
         AND r.timestamp >= $3 AND r.timestamp < $4 ORDER BY r.timestamp, r.id LIMIT {most}",
        id_type(&layout.schema.conversations),
        layout.messages,
        layout.receipts
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
    pool: &PostgresPool,
    layout: &Layout,
    conversations: &[ConversationId],
    (first, end): (ReceiptId, ReceiptId),
    most: usize,
) -> Result<Marks, StoreError> {
    let sql = format!(
        "SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp, m.conversation_id \
         FROM {} AS r JOIN {} AS m ON m.id = r.message_id \
         WHERE r.id >= $1 AND r.id < $2 AND r.status = '{READ}' \
         AND m.conversation_id = ANY($3) ORDER BY r.id LIMIT {most}",
        layout.receipts, layout.messages
    );
    let mut marks = Marks::default();
    for row in &pool.query(&sql, &[&first, &end, &conversations]).await? {
        marks.add(mark_row(row));
    }
    Ok(marks)
}

/// Returns the receipts of some messages.
pub async fn receipts_of(
    pool: &PostgresPool,
    layout: &Layout,
    messages: &[MessageId],
    most: usize,
) -> Result<Vec<Receipt>, StoreError> {
    let sql = format!(
        "SELECT {RECEIPT} FROM {} AS r WHERE message_id = ANY($1) LIMIT $2",
        layout.receipts
    );
    let rows = pool.query(&sql, &[&messages, &signed(most)]).await?;
    Ok(rows.iter().map(receipt_row).collect::<Result<_, _>>()?)
}

pub async fn message_exists(
    pool: &PostgresPool,
    layout: &Layout,
    id: MessageId,
) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM {} AS m WHERE id = $1", layout.messages);
    Ok(!pool.query(&sql, &[&id]).await?.is_empty())
}
