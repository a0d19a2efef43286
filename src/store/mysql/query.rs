//! Reading: the statements.
//!
//! Values stand in the text of the statements, as Django's driver puts them there: one round trip
//! each, any number of rows in an `INSERT`, and the server converts and compares them exactly as it
//! does for Django. An id is written as 32 hex digits, which `char(32)` holds and MariaDB's native
//! `uuid` reads. Whether two texts are equal is left to the collation of the column, unless
//! [`Comparison::Bytes`] is asked for.

use mysql_async::Value;

use crate::{
    chat::{Receipt, receipt::READ},
    id::{ConversationId, Key, MessageId, ReceiptId},
    python::datetime::{Timestamp, to_sqlite},
    store::{
        Comparison, Lookup,
        history::{Deleted, Direction, PAGE_CONVERSATIONS, PageCursor},
        schema::layout::{
            CONVERSATION_LIST as CONVERSATION, Layout, MESSAGE_LIST as MESSAGE,
            RECEIPT_LIST as RECEIPT,
        },
    },
};

/// Returns a text as SQL. Right for the `sql_mode` and the character set that every connection is
/// given.
pub fn quoted(text: &str) -> String {
    Value::from(text).as_sql(false)
}

/// Returns an id as SQL.
pub fn id(id: impl Into<Key>) -> String {
    match id.into() {
        Key::Uuid(id) => format!("'{}'", id.simple()),
        Key::Number(number) => number.to_string(),
    }
}

/// Returns a time as SQL, in UTC.
pub fn time(time: Timestamp) -> String {
    // The form is that of SQLite, which MySQL reads as well.
    format!("'{}'", to_sqlite(time))
}

/// Ids as SQL, with commas between them.
pub fn ids(of: impl IntoIterator<Item: Into<Key>>) -> String {
    of.into_iter().map(id).collect::<Vec<_>>().join(", ")
}

/// Returns the conversation of two participants, in either order. Should both orders be there
/// (Django can make them in a race), it is the first by id, as for Django.
pub fn pair(layout: &Layout, pair: [&str; 2], ids: Comparison) -> String {
    let exactly = match ids {
        Comparison::Collation => String::new(),
        Comparison::Bytes => format!(" AND ({})", pair_is(pair, is_exactly)),
    };
    format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE ({}){exactly} ORDER BY id LIMIT 1",
        layout.conversations,
        pair_is(pair, is)
    )
}

/// Returns rows that a lookup finds by the collation although their user ids have other bytes.
pub fn others(layout: &Layout, of: &Lookup) -> String {
    let Layout {
        conversations,
        receipts,
        ..
    } = layout;
    let other = |column: &str, user: &str| {
        let (alike, exactly) = (is(column, user), is_exactly(column, user));
        format!("{alike} AND NOT {exactly}")
    };
    match of {
        Lookup::Pair(one, two) => format!(
            "SELECT 1 FROM {conversations} AS c WHERE ({}) AND NOT ({}) LIMIT 1",
            pair_is([one, two], is),
            pair_is([one, two], is_exactly)
        ),
        Lookup::Receipt(message_id, user_id) => format!(
            "SELECT 1 FROM {receipts} AS r WHERE message_id = {} AND {} LIMIT 1",
            id(*message_id),
            other("user_id", user_id)
        ),
        Lookup::Conversations(user_id) => format!(
            "(SELECT 1 FROM {conversations} AS c WHERE {} LIMIT 1) UNION ALL \
             (SELECT 1 FROM {conversations} AS c WHERE {} LIMIT 1)",
            other("participant1_id", user_id),
            other("participant2_id", user_id)
        ),
    }
}

/// Returns the condition that the pair of a row is these two, in either order.
fn pair_is([one, two]: [&str; 2], is: fn(&str, &str) -> String) -> String {
    let (first, second) = ("participant1_id", "participant2_id");
    format!(
        "({} AND {}) OR ({} AND {})",
        is(first, one),
        is(second, two),
        is(first, two),
        is(second, one)
    )
}

/// Returns the condition that a column is this text by its collation, which its index knows.
fn is(column: &str, text: &str) -> String {
    format!("{column} = {}", quoted(text))
}

/// Returns the condition that a column is this text byte by byte. Even a `_bin` collation passes
/// over spaces at the end.
fn is_exactly(column: &str, text: &str) -> String {
    let text = quoted(text);
    format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY) = CAST({text} AS BINARY)")
}

pub fn conversation(layout: &Layout, of: ConversationId) -> String {
    format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE id = {}",
        layout.conversations,
        id(of)
    )
}

pub fn is_active(layout: &Layout, of: ConversationId) -> String {
    format!(
        "SELECT is_active FROM {} AS c WHERE id = {}",
        layout.conversations,
        id(of)
    )
}

/// Selects ids of conversations, those after one.
pub fn conversation_ids(layout: &Layout, after: Option<ConversationId>, most: usize) -> String {
    let after = after.map_or_else(String::new, |last| format!("WHERE id > {} ", id(last)));
    format!(
        "SELECT id FROM {} AS c {after}ORDER BY id LIMIT {most}",
        layout.conversations
    )
}

/// Returns a page of the user's active conversations that come after a place, the newest
/// `updated_at` first.
pub fn conversations_of(layout: &Layout, user_id: &str, after: Option<&PageCursor>) -> String {
    let user = quoted(user_id);
    let after = after.map_or_else(String::new, |place| beyond("updated_at", place, "<", "<"));
    format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE is_active \
         AND {} {after}\
         ORDER BY updated_at DESC, id DESC LIMIT {PAGE_CONVERSATIONS}",
        layout.conversations,
        layout.has_member(&user)
    )
}

/// Returns the condition that a row's time lies beyond that of a place, or is the same and its id
/// compares so. With a comparison of pairs the server would not use the index for the time.
pub fn beyond(column: &str, place: &PageCursor, compares: &str, id_compares: &str) -> String {
    let Some(at) = place.time().map(time) else {
        return String::new();
    };
    let tie = place.id().map_or_else(String::new, |tie| {
        let tie = id(tie);
        format!("AND ({column} {compares} {at} OR id {id_compares} {tie}) ")
    });
    format!("AND {column} {compares}= {at} {tie}")
}

/// Returns the first `limit` of all messages of some conversations, oldest first in each.
pub fn messages_of(layout: &Layout, of: &[ConversationId], limit: usize) -> String {
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id IN ({}) \
         ORDER BY conversation_id, created_at, id LIMIT {limit}",
        layout.messages,
        ids(of.iter().copied())
    )
}

/// Returns the messages of these ids.
pub fn messages_by_id(layout: &Layout, of: impl IntoIterator<Item = Key>) -> String {
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id IN ({})",
        layout.messages,
        ids(of)
    )
}

/// Returns the newest `limit` messages, newest first.
pub fn newest_messages(
    layout: &Layout,
    of: ConversationId,
    deleted: Deleted,
    limit: usize,
) -> String {
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = {} {}\
         ORDER BY created_at DESC, id DESC LIMIT {limit}",
        layout.messages,
        id(of),
        deleted.condition()
    )
}

/// Returns the newest `limit` messages of each of some conversations that are not deleted, newest
/// first, and behind each the place of its conversation.
pub fn newest_of(layout: &Layout, of: &[ConversationId], limit: usize) -> String {
    let each = of.iter().enumerate().map(|(place, of)| {
        format!(
            "(SELECT {MESSAGE}, {place} AS place FROM {} AS m WHERE conversation_id = {} \
             AND NOT is_deleted ORDER BY created_at DESC, id DESC LIMIT {limit})",
            layout.messages,
            id(*of)
        )
    });
    each.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Returns the oldest `limit` messages that come after the one place, and not after the other.
pub fn messages(
    layout: &Layout,
    of: ConversationId,
    deleted: Deleted,
    (after, until): (Option<&PageCursor>, Option<&PageCursor>),
    limit: usize,
) -> String {
    let bound = |place: Option<&PageCursor>, compares: &str, id_compares: &str| {
        place.map_or_else(String::new, |place| {
            beyond("created_at", place, compares, id_compares)
        })
    };
    // A range of one conversation: asked for an equal one that has a good part of the table,
    // MariaDB walks through all of it to each page.
    let of = id(of);
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id >= {of} AND conversation_id <= {of} \
         {}{}{}ORDER BY conversation_id, created_at, id LIMIT {limit}",
        layout.messages,
        deleted.condition(),
        bound(after, ">", ">"),
        bound(until, "<", "<=")
    )
}

/// Returns the nearest `limit` messages next to a time and an id, the nearest first.
pub fn beside(
    layout: &Layout,
    of: ConversationId,
    (at, id): (Timestamp, MessageId),
    direction: Direction,
    limit: usize,
) -> String {
    let (compares, order) = direction.sql();
    let id = Some(id.into());
    let bound = beyond(
        "created_at",
        &PageCursor::Keyed { at, id },
        compares,
        compares,
    );
    // As in `messages`.
    let of = self::id(of);
    format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id >= {of} AND conversation_id <= {of} \
         AND NOT is_deleted {bound}ORDER BY conversation_id {order}, created_at {order}, \
         id {order} LIMIT {limit}",
        layout.messages
    )
}

/// Selects time and id of the message that has `newer` newer ones, none of them deleted.
pub fn place(layout: &Layout, of: ConversationId, newer: usize) -> String {
    format!(
        "SELECT created_at, id FROM {} AS m WHERE conversation_id = {} AND NOT is_deleted \
         ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET {newer}",
        layout.messages,
        id(of)
    )
}

/// Returns the conversations, of those given, in which a message was made at `since` or later.
pub fn spoken_in(layout: &Layout, of: &[ConversationId], since: Timestamp) -> String {
    format!(
        "SELECT DISTINCT conversation_id FROM {} AS m WHERE conversation_id IN ({}) \
         AND created_at >= {}",
        layout.messages,
        ids(of.iter().copied()),
        time(since)
    )
}

/// Selects conversation, id and time of the messages that were made between two times in some
/// conversations.
pub fn stored_between(
    layout: &Layout,
    of: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> String {
    format!(
        "SELECT conversation_id, id, created_at FROM {} AS m WHERE conversation_id IN ({}) \
         AND created_at >= {} AND created_at < {} AND NOT is_deleted \
         ORDER BY created_at LIMIT {most}",
        layout.messages,
        ids(of.iter().copied()),
        time(since),
        time(until)
    )
}

/// Selects conversation and receipt of the read marks that were made between two times, of the
/// newest messages of some conversations. Joined in this order, each message costs one look into
/// the unique key of the receipts.
pub fn marked_between(
    layout: &Layout,
    newest: &[(ConversationId, usize)],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> String {
    let (since, until) = (time(since), time(until));
    let lookups = newest.iter().map(|(of, count)| {
        format!(
            "SELECT m.conversation_id, r.id, r.message_id, r.user_id, r.status, r.timestamp \
             FROM (SELECT id, conversation_id FROM {} AS m WHERE conversation_id = {} \
             AND created_at < {until} ORDER BY created_at DESC LIMIT {count}) AS m \
             STRAIGHT_JOIN {} AS r ON r.message_id = m.id WHERE r.status = '{READ}' \
             AND r.timestamp >= {since} AND r.timestamp < {until}",
            layout.messages,
            id(*of),
            layout.receipts,
        )
    });
    let lookups = lookups.collect::<Vec<_>>().join(" UNION ALL ");
    format!("SELECT * FROM ({lookups}) AS marks ORDER BY timestamp, id LIMIT {most}")
}

/// Counts the messages of each conversation that a user has not marked as read, of those of others
/// among the newest. Each count stands behind the place of its conversation.
pub fn unread(
    layout: &Layout,
    of: &[ConversationId],
    user_id: &str,
    among: usize,
    ids: Comparison,
) -> String {
    let is_user = |column: &str| match ids {
        Comparison::Collation => is(column, user_id),
        Comparison::Bytes => format!(
            "{} AND {}",
            is(column, user_id),
            is_exactly(column, user_id)
        ),
    };
    let (is_own, is_mark) = (is_user("m.sender_id"), is_user("r.user_id"));
    let each = of.iter().enumerate().map(|(place, of)| {
        format!(
            "SELECT {place} AS place, COUNT(*) AS unread FROM (SELECT id, sender_id FROM {} AS m \
             WHERE conversation_id = {} AND NOT is_deleted ORDER BY created_at DESC, id DESC \
             LIMIT {among}) AS m WHERE NOT ({is_own}) AND NOT EXISTS (SELECT 1 FROM {} AS r \
             WHERE r.message_id = m.id AND {is_mark} AND r.status = '{READ}')",
            layout.messages,
            id(*of),
            layout.receipts
        )
    });
    each.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Selects conversation and receipt of the read marks with ids between two, of messages of some
/// conversations.
pub fn marked_by_id(
    layout: &Layout,
    of: &[ConversationId],
    (first, end): (ReceiptId, ReceiptId),
    most: usize,
) -> String {
    format!(
        "SELECT m.conversation_id, r.id, r.message_id, r.user_id, r.status, r.timestamp \
         FROM {} AS r STRAIGHT_JOIN {} AS m ON m.id = r.message_id \
         WHERE r.id >= {} AND r.id < {} AND r.status = '{READ}' \
         AND m.conversation_id IN ({}) ORDER BY r.id LIMIT {most}",
        layout.receipts,
        layout.messages,
        id(first),
        id(end),
        ids(of.iter().copied())
    )
}

pub fn message_exists(layout: &Layout, of: MessageId) -> String {
    format!(
        "SELECT 1 FROM {} AS m WHERE id = {}",
        layout.messages,
        id(of)
    )
}

/// Returns the receipts of some messages.
pub fn receipts_of(layout: &Layout, of: &[MessageId], most: usize) -> String {
    format!(
        "SELECT {RECEIPT} FROM {} AS r WHERE message_id IN ({}) LIMIT {most}",
        layout.receipts,
        ids(of.iter().copied())
    )
}

/// Returns the receipts of some users for some messages, each with its place in `of`. One lookup
/// for each, so that the collation of the column tells which users are the same.
pub fn receipts<'a>(layout: &Layout, of: impl IntoIterator<Item = (usize, &'a Receipt)>) -> String {
    let lookups = of.into_iter().map(|(place, receipt)| {
        format!(
            "(SELECT {place}, {RECEIPT} FROM {} AS r WHERE message_id = {} AND user_id = {})",
            layout.receipts,
            id(receipt.message_id),
            quoted(&receipt.user_id)
        )
    });
    lookups.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Returns the ids, of those given, that a table has, which is given as what stands for it.
pub fn present(table: &str, of: impl IntoIterator<Item = Key>) -> String {
    format!("SELECT id FROM {table} AS t WHERE id IN ({})", ids(of))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        config::Tables, dialect::django::tables::schema, python::datetime::from_sqlite,
        store::mysql::SPELLING,
    };

    #[test]
    fn a_text_cannot_end_its_own_quotes() {
        assert_eq!(quoted(r"a' OR 1 -- \"), r"'a\' OR 1 -- \\'");
        assert_eq!(quoted("\0\n😀"), "'\\0\\n😀'");
    }

    #[test]
    fn times_are_written_in_utc_with_microseconds() {
        let at = Timestamp::from_micros(1_795_164_844_849_273);
        assert_eq!(time(at), "'2026-11-20 08:54:04.849273'");
    }

    #[test]
    fn a_page_of_history_goes_on_where_the_one_before_ended() {
        let at = |at: &str, id| PageCursor::Keyed {
            at: from_sqlite(at).unwrap(),
            id: Some(Uuid::from_u128(id).into()),
        };
        let last = at("2026-11-20 08:54:04.849273", 1);
        let newest = at("2026-11-20 08:54:05", u128::MAX);
        let between = (Some(&last), Some(&newest));
        let layout = Layout::new(&schema(&Tables::default()), SPELLING);
        let sql = messages(&layout, Uuid::nil().into(), Deleted::Skipped, between, 10);
        assert!(
            sql.contains(
                "AND created_at >= '2026-11-20 08:54:04.849273' AND (created_at > \
                 '2026-11-20 08:54:04.849273' OR id > '00000000000000000000000000000001') \
                 AND created_at <= '2026-11-20 08:54:05' AND (created_at < '2026-11-20 08:54:05' \
                 OR id <= 'ffffffffffffffffffffffffffffffff') "
            ),
            "{sql}"
        );
    }
}
