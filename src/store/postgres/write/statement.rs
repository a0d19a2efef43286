//! The statements that write. Repeated with the same rows they write nothing twice.

use std::collections::HashMap;

use super::Placed;
use crate::{
    chat::{Conversation, Message, Receipt},
    config::Tables,
    id::MessageId,
    store::{
        Comparison,
        commit::CommitOutcome,
        postgres::{
            connection::Connection,
            error::Fault,
            query::{RECEIPT, Time, conversation_row, pair_sql, receipt_row},
        },
    },
};

/// Returns the two participants in an order of their own.
pub fn pair_of(row: &Conversation) -> (&str, &str) {
    let (a, b) = (row.participant1_id.as_str(), row.participant2_id.as_str());
    (a.min(b), a.max(b))
}

/// Returns the unique key of the table knows one order of the two only, so a process that makes a
/// conversation of two people locks their pair first. Django does not; between our look and our
/// insert it may make the very same row, and then ours is not made.
pub async fn insert_conversation(
    db: &mut Connection,
    tables: &Tables,
    ids: Comparison,
    row: &Conversation,
) -> Result<CommitOutcome, Fault> {
    let (low, high) = pair_of(row);
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    db.query(lock, &[&format!("{}\n{low}\n{high}", tables.conversations)])
        .await?;
    if let Some(found) = find_pair(db, tables, ids, row).await? {
        return Ok(found);
    }
    let sql = format!(
        "INSERT INTO \"{}\" (id, participant1_id, participant2_id, created_at, updated_at, \
         is_active) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        tables.conversations
    );
    let (created_at, updated_at) = (Time(row.created_at), Time(row.updated_at));
    let (one, two) = (&row.participant1_id, &row.participant2_id);
    db.query(
        &sql,
        &[&row.id, one, two, &created_at, &updated_at, &row.is_active],
    )
    .await?;
    let found = find_pair(db, tables, ids, row).await?;
    Ok(found.unwrap_or(CommitOutcome::Missing))
}

/// Returns the conversation of these two, or what stands in its way.
async fn find_pair(
    db: &mut Connection,
    tables: &Tables,
    ids: Comparison,
    row: &Conversation,
) -> Result<Option<CommitOutcome>, Fault> {
    let pair = [&row.participant1_id, &row.participant2_id];
    let rows = db
        .query(&pair_sql(tables, ids), &[pair[0], pair[1]])
        .await?;
    let Some(found) = rows.first().map(conversation_row).transpose()? else {
        if ids == Comparison::Collation {
            return Ok(None);
        }
        let alike = pair_sql(tables, Comparison::Collation);
        let others = db.query(&alike, &[pair[0], pair[1]]).await?;
        return Ok((!others.is_empty()).then_some(CommitOutcome::Alike));
    };
    let ours = found.id == row.id;
    Ok(Some(CommitOutcome::Conversation(found, ours)))
}

/// Returns all messages in one statement. Those whose conversation is gone are left out. If they
/// are repeated, one that is there already was written by an attempt whose outcome was lost.
pub async fn insert_messages(
    db: &mut Connection,
    tables: &Tables,
    rows: &[Placed<'_, Message>],
    repeated: bool,
    outcomes: &mut [CommitOutcome],
) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let or_found = if repeated {
        "ON CONFLICT (id) DO UPDATE SET id = excluded.id"
    } else {
        ""
    };
    let sql = format!(
        "INSERT INTO \"{}\" (id, conversation_id, sender_id, content, message_type, created_at, \
         updated_at, is_deleted) \
         SELECT m.* FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], \
         $6::timestamptz[], $7::timestamptz[], $8::bool[]) AS m (id, conversation_id) \
         WHERE EXISTS (SELECT 1 FROM \"{}\" AS c WHERE c.id = m.conversation_id) \
         {or_found} RETURNING id",
        tables.messages, tables.conversations
    );
    let stored = db
        .query(
            &sql,
            &[
                &column(rows, |row| row.id),
                &column(rows, |row| row.conversation_id),
                &column(rows, |row| row.sender_id.as_str()),
                &column(rows, |row| row.content.as_str()),
                &column(rows, |row| row.message_type.as_str()),
                &column(rows, |row| Time(row.created_at)),
                &column(rows, |row| Time(row.updated_at)),
                &column(rows, |row| row.is_deleted),
            ],
        )
        .await?;
    let places: HashMap<MessageId, usize> =
        rows.iter().map(|(place, row)| (row.id, *place)).collect();
    for row in &stored {
        if let Some(&place) = places.get(&row.try_get(0)?) {
            outcomes[place] = CommitOutcome::Stored;
        }
    }
    Ok(())
}

/// Django's `update_or_create(message, user_id, defaults={"status": "read"})`, for all receipts in
/// one statement: a row that is there keeps its id and its time, and another user's is left alone.
pub async fn upsert_receipts(
    db: &mut Connection,
    (tables, ids): (&Tables, Comparison),
    rows: &[Placed<'_, Receipt>],
    outcomes: &mut [CommitOutcome],
) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    // One statement may touch a row once: the first to mark it speaks for the rest.
    let mut first: HashMap<(MessageId, &str), Placed<'_, Receipt>> = HashMap::new();
    for &(place, row) in rows {
        first
            .entry((row.message_id, row.user_id.as_str()))
            .or_insert((place, row));
    }
    let mut distinct: Vec<Placed<'_, Receipt>> = first.values().copied().collect();
    // Rows are locked in one order by every process.
    distinct.sort_by_key(|(_, row)| (row.message_id, row.user_id.as_str()));
    let status = match ids {
        Comparison::Collation => "excluded.status",
        Comparison::Bytes => {
            "CASE WHEN d.user_id = excluded.user_id COLLATE \"C\" THEN excluded.status \
             ELSE d.status END"
        }
    };
    let sql = format!(
        "INSERT INTO \"{}\" AS d ({RECEIPT}) \
         SELECT r.id, r.message_id, r.user_id, r.status, r.timestamp \
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], \
         $5::timestamptz[]) WITH ORDINALITY AS r (id, message_id, user_id, status, timestamp, n) \
         WHERE EXISTS (SELECT 1 FROM \"{}\" AS m WHERE m.id = r.message_id) ORDER BY r.n \
         ON CONFLICT (message_id, user_id) DO UPDATE SET status = {status} \
         RETURNING d.id, d.message_id, d.user_id, d.status, d.timestamp",
        tables.delivery_receipts, tables.messages
    );
    let stored = db
        .query(
            &sql,
            &[
                &column(&distinct, |row| row.id),
                &column(&distinct, |row| row.message_id),
                &column(&distinct, |row| row.user_id.as_str()),
                &column(&distinct, |row| row.status.as_str()),
                &column(&distinct, |row| Time(row.timestamp)),
            ],
        )
        .await?;
    let stored: Vec<Receipt> = stored.iter().map(receipt_row).collect::<Result<_, _>>()?;
    let stored: HashMap<(MessageId, &str), &Receipt> = stored
        .iter()
        .map(|receipt| ((receipt.message_id, receipt.user_id.as_str()), receipt))
        .collect();
    let is_others = |found: &Receipt, row: &Receipt| {
        let key = (found.message_id, found.user_id.as_str());
        found.message_id == row.message_id && !first.contains_key(&key)
    };
    for &(place, row) in rows {
        if let Some(&receipt) = stored.get(&(row.message_id, row.user_id.as_str())) {
            outcomes[place] = CommitOutcome::Receipt(receipt.clone());
        } else if ids == Comparison::Bytes && stored.values().any(|found| is_others(found, row)) {
            outcomes[place] = CommitOutcome::Alike;
        }
    }
    Ok(())
}

/// One column of the rows, as an array.
fn column<'a, T, V>(rows: &[Placed<'a, T>], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(|(_, row)| value(row)).collect()
}
