//! Reading: the statements and their parameters.

use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::row::{conversation_row, gather, message_row, place_at, receipt_row, time_at};
use crate::{
    chat::{Conversation, Message, Receipt, receipt::READ},
    id::{ConversationId, MessageId, ReceiptId},
    python::datetime::{Timestamp, to_sqlite},
    store::{
        Comparison, Lookup, Marks,
        history::{
            ConversationPage, Deleted, Direction, PAGE_BYTES, PAGE_CONVERSATIONS, PAGE_MESSAGES,
            Page, PageCursor, TOGETHER_MESSAGES,
        },
        schema::layout::{
            CONVERSATION_LIST as CONVERSATION, Layout, MESSAGE_LIST as MESSAGE,
            RECEIPT_LIST as RECEIPT,
        },
    },
};

/// Returns the conversation of two participants in either order.
pub fn conversation_of_pair(
    db: &Connection,
    layout: &Layout,
    pair: [&str; 2],
    ids: Comparison,
) -> rusqlite::Result<Option<Conversation>> {
    let exactly = match ids {
        Comparison::Collation => String::new(),
        Comparison::Bytes => format!("AND ({})", pair_is("COLLATE BINARY")),
    };
    let sql = format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE ({}) {exactly} ORDER BY id LIMIT 1",
        layout.conversations,
        pair_is("")
    );
    db.prepare_cached(&sql)?
        .query_row(pair, conversation_row)
        .optional()
}

/// Returns the condition that the pair of a row is `?1` and `?2`, in either order.
fn pair_is(collation: &str) -> String {
    let is = |column: &str, value: &str| format!("{column} {collation} = {value}");
    let (one, two) = ("participant1_id", "participant2_id");
    format!(
        "{} AND {} OR {} AND {}",
        is(one, "?1"),
        is(two, "?2"),
        is(one, "?2"),
        is(two, "?1")
    )
}

/// Returns whether the columns' own comparison finds rows of user ids of other bytes.
pub fn finds_others(db: &Connection, layout: &Layout, of: &Lookup) -> rusqlite::Result<bool> {
    let Layout {
        conversations,
        receipts,
        ..
    } = layout;
    match of {
        Lookup::Pair(one, two) => {
            let (alike, exactly) = (pair_is(""), pair_is("COLLATE BINARY"));
            let sql = format!(
                "SELECT 1 FROM {conversations} AS c WHERE ({alike}) AND NOT ({exactly}) LIMIT 1"
            );
            db.prepare_cached(&sql)?.exists([one, two])
        }
        Lookup::Receipt(message_id, user_id) => {
            let sql = format!(
                "SELECT 1 FROM {receipts} AS r WHERE message_id = ?1 AND user_id = ?2 \
                 AND user_id COLLATE BINARY <> ?2 LIMIT 1"
            );
            db.prepare_cached(&sql)?
                .exists(params![message_id, user_id])
        }
        Lookup::Conversations(user_id) => {
            let sql = format!(
                "SELECT 1 FROM {conversations} AS c WHERE \
                 participant1_id = ?1 AND participant1_id COLLATE BINARY <> ?1 OR \
                 participant2_id = ?1 AND participant2_id COLLATE BINARY <> ?1 LIMIT 1"
            );
            db.prepare_cached(&sql)?.exists([user_id])
        }
    }
}

pub fn conversation(
    db: &Connection,
    layout: &Layout,
    id: ConversationId,
) -> rusqlite::Result<Option<Conversation>> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM {} AS c WHERE id = ?1",
        layout.conversations
    );
    db.prepare_cached(&sql)?
        .query_row([id], conversation_row)
        .optional()
}

pub fn message(
    db: &Connection,
    layout: &Layout,
    id: MessageId,
) -> rusqlite::Result<Option<Message>> {
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE id = ?1",
        layout.messages
    );
    db.prepare_cached(&sql)?
        .query_row([id], message_row)
        .optional()
}

pub fn conversation_is_active(
    db: &Connection,
    layout: &Layout,
    id: ConversationId,
) -> rusqlite::Result<Option<bool>> {
    let sql = format!(
        "SELECT is_active FROM {} AS c WHERE id = ?1",
        layout.conversations
    );
    db.prepare_cached(&sql)?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// Returns ids of conversations, those after one.
pub fn conversation_ids(
    db: &Connection,
    layout: &Layout,
    after: Option<ConversationId>,
    most: usize,
) -> rusqlite::Result<Vec<ConversationId>> {
    let sql = format!(
        "SELECT id FROM {} AS c WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2",
        layout.conversations
    );
    db.prepare_cached(&sql)?
        .query_map(params![after, signed(most)], |row| row.get(0))?
        .collect()
}

/// Returns the page of a user's active conversations that come after a place.
pub fn conversations_of(
    db: &Connection,
    layout: &Layout,
    user_id: &str,
    after: Option<PageCursor>,
) -> rusqlite::Result<ConversationPage> {
    let sql = format!(
        "SELECT {CONVERSATION}, rowid FROM {} AS c \
         WHERE is_active AND {} \
         AND updated_at <= ?2 AND (updated_at < ?2 OR rowid < ?3) \
         ORDER BY updated_at DESC, rowid DESC LIMIT ?4",
        layout.conversations,
        layout.has_member("?1")
    );
    let (after_time, after_row) = after.map_or_else(end, numbered);
    let limit = signed(PAGE_CONVERSATIONS);
    let mut rows = db.prepare_cached(&sql)?;
    let mut found = rows.query(params![user_id, after_time, after_row, limit])?;
    let mut page = ConversationPage::default();
    while let Some(row) = found.next()? {
        page.conversations.push(conversation_row(row)?);
        page.last = Some(place_at(row, [4, 6])?);
    }
    page.is_full = page.conversations.len() == PAGE_CONVERSATIONS;
    Ok(page)
}

/// Returns all messages of some conversations, as far as they may be read together.
pub fn messages_of(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
) -> rusqlite::Result<Page> {
    let (mut all, mut bytes) = (Page::default(), 0);
    for id in conversations {
        let page = messages(db, layout, *id, Deleted::Included, (None, None))?;
        bytes += page
            .messages
            .iter()
            .map(|it| it.content.len())
            .sum::<usize>();
        all.messages.extend(page.messages);
        all.unreadable.extend(page.unreadable);
        all.too_large.extend(page.too_large);
        let read = all.messages.len();
        all.is_full = page.is_full || read >= TOGETHER_MESSAGES || bytes >= PAGE_BYTES;
        if all.is_full {
            break;
        }
    }
    Ok(all)
}

/// Returns the newest messages, at most `limit` and no more than fit a page.
pub fn newest(
    db: &Connection,
    layout: &Layout,
    conversation_id: ConversationId,
    deleted: Deleted,
    limit: usize,
) -> rusqlite::Result<Page> {
    let sql = format!(
        "SELECT {MESSAGE}, rowid FROM {} AS m WHERE conversation_id = ?1 {}\
         ORDER BY created_at DESC, rowid DESC LIMIT ?2",
        layout.messages,
        deleted.condition()
    );
    let limit = limit.min(PAGE_MESSAGES);
    let mut rows = db.prepare_cached(&sql)?;
    let found = rows.query(params![conversation_id, signed(limit)])?;
    let mut newest = None;
    let mut page = gather(found, limit, |row| {
        if newest.is_none() {
            newest = Some(place_at(row, [5, 8])?);
        }
        Ok(())
    })?;
    page.messages.reverse();
    page.last = newest;
    Ok(page)
}

/// Counts the messages of each conversation that a user has not marked as read, of those of others
/// among the newest.
pub fn unread(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
    user_id: &str,
    among: usize,
    ids: Comparison,
) -> rusqlite::Result<Vec<usize>> {
    let exactly = match ids {
        Comparison::Collation => "",
        Comparison::Bytes => "COLLATE BINARY",
    };
    let sql = format!(
        "SELECT count(*) FROM (SELECT id, sender_id FROM {} AS m WHERE conversation_id = ?1 \
         AND NOT is_deleted ORDER BY created_at DESC, rowid DESC LIMIT ?2) AS m \
         WHERE NOT (m.sender_id {exactly} = ?3) AND NOT EXISTS (SELECT 1 FROM {} AS r \
         WHERE r.message_id = m.id AND r.user_id {exactly} = ?3 AND r.status = '{READ}')",
        layout.messages, layout.receipts
    );
    let mut count = db.prepare_cached(&sql)?;
    let counts = conversations.iter().map(|of| {
        count.query_row(params![of, signed(among), user_id], |row| {
            row.get::<_, u32>(0)
        })
    });
    counts
        .map(|count| count.map(|it| usize::try_from(it).unwrap_or(usize::MAX)))
        .collect()
}

/// Returns the page of messages next to a time and an id. Among those of one time, ids decide.
pub fn beside(
    db: &Connection,
    layout: &Layout,
    conversation_id: ConversationId,
    (at, id): (Timestamp, MessageId),
    direction: Direction,
    limit: usize,
) -> rusqlite::Result<Page> {
    let (compares, order) = direction.sql();
    let sql = format!(
        "SELECT {MESSAGE} FROM {} AS m WHERE conversation_id = ?1 AND NOT is_deleted \
         AND created_at {compares}= ?2 AND (created_at {compares} ?2 OR id {compares} ?3) \
         ORDER BY created_at {order}, id {order} LIMIT ?4",
        layout.messages
    );
    let limit = limit.min(PAGE_MESSAGES);
    let mut rows = db.prepare_cached(&sql)?;
    let found = rows.query(params![conversation_id, to_sqlite(at), id, signed(limit)])?;
    let mut page = gather(found, limit, |_| Ok(()))?;
    if direction == Direction::Older {
        page.messages.reverse();
    }
    Ok(page)
}

/// Returns a page of the newest messages for each of the first of some conversations. One statement
/// for each: there is no round trip to save.
pub fn newest_of(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
    limit: usize,
) -> rusqlite::Result<Vec<Page>> {
    let (mut pages, mut bytes) = (Vec::with_capacity(conversations.len()), 0);
    for of in conversations {
        let page = newest(db, layout, *of, Deleted::Skipped, limit)?;
        bytes += page
            .messages
            .iter()
            .map(|it| it.content.len())
            .sum::<usize>();
        pages.push(page);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(pages)
}

/// Returns the page of messages that lie between two places.
pub fn messages(
    db: &Connection,
    layout: &Layout,
    conversation_id: ConversationId,
    deleted: Deleted,
    (after, until): (Option<PageCursor>, Option<PageCursor>),
) -> rusqlite::Result<Page> {
    let sql = format!(
        "SELECT {MESSAGE}, rowid FROM {} AS m WHERE conversation_id = ?1 {}\
         AND created_at >= ?2 AND (created_at > ?2 OR rowid > ?3) \
         AND created_at <= ?4 AND (created_at < ?4 OR rowid <= ?5) \
         ORDER BY created_at, rowid LIMIT ?6",
        layout.messages,
        deleted.condition()
    );
    // Times are text here: nothing comes before the empty one.
    let (after_time, after_row) = after.map_or((String::new(), 0), numbered);
    let (until_time, until_row) = until.map_or_else(end, numbered);
    let mut rows = db.prepare_cached(&sql)?;
    let found = rows.query(params![
        conversation_id,
        after_time,
        after_row,
        until_time,
        until_row,
        signed(PAGE_MESSAGES)
    ])?;
    let mut last = None;
    let mut page = gather(found, PAGE_MESSAGES, |row| {
        last = Some(place_at(row, [5, 8])?);
        Ok(())
    })?;
    page.last = last;
    Ok(page)
}

/// Returns a place after every row: no time that Django writes comes after a colon.
pub fn end() -> (String, i64) {
    (":".to_owned(), i64::MAX)
}

/// Returns the text of a time and the number of a row, which counts from 1.
fn numbered(place: PageCursor) -> (String, i64) {
    match place {
        PageCursor::Numbered { at, row } => (at, row),
        PageCursor::Keyed { at, .. } => (to_sqlite(at), 0),
    }
}

pub fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub fn place(
    db: &Connection,
    layout: &Layout,
    conversation_id: ConversationId,
    newer: usize,
) -> rusqlite::Result<Option<PageCursor>> {
    let sql = format!(
        "SELECT created_at, rowid FROM {} AS m WHERE conversation_id = ?1 AND NOT is_deleted \
         ORDER BY created_at DESC, rowid DESC LIMIT 1 OFFSET ?2",
        layout.messages
    );
    let values = params![conversation_id, signed(newer)];
    db.prepare_cached(&sql)?
        .query_row(values, |row| place_at(row, [0, 1]))
        .optional()
}

pub fn spoken_in(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
    since: Timestamp,
) -> rusqlite::Result<Vec<ConversationId>> {
    let places = vec!["?"; conversations.len()].join(", ");
    let sql = format!(
        "SELECT DISTINCT conversation_id FROM {} AS m \
         WHERE conversation_id IN ({places}) AND created_at >= ?",
        layout.messages
    );
    let keys = conversations.iter().map(|id| id as &dyn ToSql);
    let since = to_sqlite(since);
    let values = params_from_iter(keys.chain([&since as _]));
    db.prepare(&sql)?
        .query_map(values, |row| row.get(0))?
        .collect()
}

pub fn stored_between(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> rusqlite::Result<Vec<(ConversationId, MessageId, Timestamp)>> {
    let places = vec!["?"; conversations.len()].join(", ");
    let sql = format!(
        "SELECT conversation_id, id, created_at FROM {} AS m WHERE conversation_id IN ({places}) \
         AND created_at >= ? AND created_at < ? AND NOT is_deleted ORDER BY created_at LIMIT {most}",
        layout.messages
    );
    let keys = conversations.iter().map(|id| id as &dyn ToSql);
    let (from, until) = (to_sqlite(since), to_sqlite(until));
    let values = keys.chain([&from as _, &until as _]);
    db.prepare(&sql)?
        .query_map(params_from_iter(values), |row| {
            let created_at = time_at(row, 2).unwrap_or(since);
            let ids = row.get(0).ok().zip(row.get(1).ok());
            Ok(ids.map(|(conversation, message)| (conversation, message, created_at)))
        })?
        .filter_map(Result::transpose)
        .collect()
}

/// Selects conversation and receipt of the read marks that were made between two times, of the
/// newest messages of some conversations. One statement for each: SQLite takes 500 at most in one.
pub fn marked_between(
    db: &Connection,
    layout: &Layout,
    newest: &[(ConversationId, usize)],
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> rusqlite::Result<Marks> {
    let sql = format!(
        "SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp \
         FROM (SELECT id FROM {} AS m WHERE conversation_id = ?1 AND created_at < ?4 \
         ORDER BY created_at DESC LIMIT ?2) AS m CROSS JOIN {} AS r \
         WHERE r.message_id = m.id AND r.status = '{READ}' \
         AND r.timestamp >= ?3 AND r.timestamp < ?4 LIMIT ?5",
        layout.messages, layout.receipts
    );
    let (since, until) = (to_sqlite(since), to_sqlite(until));
    let mut statement = db.prepare_cached(&sql)?;
    let mut marks = Marks::default();
    for (id, count) in newest {
        let left = most.saturating_sub(marks.len());
        let values = params![id, signed(*count), since, until, signed(left)];
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            marks.add(receipt_row(row).map(|receipt| (*id, receipt)));
        }
    }
    marks
        .marks
        .sort_by_key(|(_, receipt)| (receipt.timestamp, receipt.id));
    Ok(marks)
}

/// Selects conversation and receipt of the read marks with ids between two, of messages of some
/// conversations.
pub fn marked_by_id(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
    (first, end): (ReceiptId, ReceiptId),
    most: usize,
) -> rusqlite::Result<Marks> {
    let places = vec!["?"; conversations.len()].join(", ");
    let sql = format!(
        "SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp, m.conversation_id \
         FROM {} AS r CROSS JOIN {} AS m WHERE r.id >= ? AND r.id < ? \
         AND r.status = '{READ}' AND m.id = r.message_id AND m.conversation_id IN ({places}) \
         ORDER BY r.id LIMIT {most}",
        layout.receipts, layout.messages
    );
    let keys = conversations.iter().map(|id| id as &dyn ToSql);
    let values = [&first as &dyn ToSql, &end].into_iter().chain(keys);
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut marks = Marks::default();
    while let Some(row) = rows.next()? {
        let conversation_id = row.get(5);
        marks.add(conversation_id.and_then(|id| Ok((id, receipt_row(row)?))));
    }
    Ok(marks)
}

/// Returns the receipts of some messages.
pub fn receipts_of(
    db: &Connection,
    layout: &Layout,
    messages: &[MessageId],
    most: usize,
) -> rusqlite::Result<Vec<Receipt>> {
    let places = vec!["?"; messages.len()].join(", ");
    let sql = format!(
        "SELECT {RECEIPT} FROM {} AS r WHERE message_id IN ({places}) LIMIT {most}",
        layout.receipts
    );
    db.prepare(&sql)?
        .query_map(params_from_iter(messages), receipt_row)?
        .collect()
}

pub fn message_exists(db: &Connection, layout: &Layout, id: MessageId) -> rusqlite::Result<bool> {
    let sql = format!("SELECT 1 FROM {} AS m WHERE id = ?1", layout.messages);
    db.prepare_cached(&sql)?.exists([id])
}
