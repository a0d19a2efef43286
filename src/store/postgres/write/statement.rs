//! The statements that write. Repeated with the same rows they write nothing twice.

use std::{collections::HashMap, sync::Arc};

use super::Placed;
use crate::{
    chat::{
        Conversation, Message, Receipt,
        receipt::{DELIVERED, READ, SENT},
    },
    id::MessageId,
    python::datetime::Timestamp,
    store::{
        Comparison,
        commit::{Attempt, CommitOutcome},
        postgres::{
            connection::PostgresConnection,
            error::Fault,
            param::Param,
            query::{id_type, pair_sql},
            row::{conversation_row, message_row, receipt_row, time_at},
            time::Time,
        },
        schema::layout::{CONVERSATION, Layout, MESSAGE, RECEIPT, Written},
    },
};

/// Returns the two participants in an order of their own.
pub fn pair_of(row: &Conversation) -> (&str, &str) {
    let [a, b] = row.participants.pair();
    (a.min(b), a.max(b))
}

/// The statements, made once.
pub struct PostgresStatements {
    layout: Arc<Layout>,
    ids: Comparison,
    conversation: String,
    /// Columns of a conversation that are written.
    takes: Vec<Written>,
    /// Finds the conversation of two.
    pair: String,
    /// Finds the conversation of two that the database takes for these.
    pair_alike: String,
    messages: MessageStatements,
    receipt: String,
    keeps_events: bool,
}

/// The statements for messages.
enum MessageStatements {
    /// The ids are ours. `again` is for messages of which some are there.
    Own { insert: String, again: String },
    /// The database makes the ids. `find` finds messages that are there.
    Numbered { insert: String, find: String },
}

impl MessageStatements {
    fn new(layout: &Layout) -> Self {
        if layout.schema.messages.makes_ids() {
            return MessageStatements::Numbered {
                insert: insert_numbered(layout),
                find: find_numbered(layout),
            };
        }
        let id = layout.quoted(layout.schema.messages.name_of("id"));
        let or_found = format!("ON CONFLICT ({id}) DO UPDATE SET {id} = excluded.{id} ");
        let own = layout.table(&layout.schema.messages);
        let found = layout.reading(&layout.schema.messages, &own, &MESSAGE);
        MessageStatements::Own {
            insert: format!("{}RETURNING {id}", insert_start(layout)),
            again: insert_start(layout) + &or_found + "RETURNING " + &found,
        }
    }
}

impl PostgresStatements {
    pub fn new(layout: Arc<Layout>, ids: Comparison, keeps_events: bool) -> Self {
        let conversations = &layout.schema.conversations;
        let takes = layout.written(conversations, &CONVERSATION);
        let places: Vec<String> = (1..=takes.len()).map(|n| format!("${n}")).collect();
        let conversation = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
            layout.table(conversations),
            layout.names(&takes),
            places.join(", ")
        );
        PostgresStatements {
            conversation,
            takes,
            pair: pair_sql(&layout, ids),
            pair_alike: pair_sql(&layout, Comparison::Collation),
            messages: MessageStatements::new(&layout),
            keeps_events,
            receipt: upsert_receipts(&layout, ids),
            ids,
            layout,
        }
    }

    /// Returns whether there are sinks that get events.
    pub fn keeps_events(&self) -> bool {
        self.keeps_events
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns whether rows of a batch may be there without a unique key that says so.
    pub fn must_look(&self, attempt: Attempt) -> bool {
        attempt == Attempt::Unconfirmed && self.layout.schema.messages.makes_ids()
    }

    /// The unique key of the table knows one order of the two only, so a process that makes a
    /// conversation of two people locks their pair first. Django does not; between our look and our
    /// insert it may make the very same row, and then ours is not made.
    pub async fn insert_conversation(
        &self,
        db: &mut PostgresConnection,
        row: &Conversation,
    ) -> Result<CommitOutcome, Fault> {
        let conversations = &self.layout.schema.conversations;
        self.layout.require_pairs().map_err(Fault::Unreadable)?;
        let (low, high) = pair_of(row);
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        db.query(lock, &[&format!("{}\n{low}\n{high}", conversations.name)])
            .await?;
        if let Some(found) = self.find_pair(db, row).await? {
            return Ok(found);
        }
        let [one, two] = row.participants.pair();
        let values: [&dyn Param; CONVERSATION.len()] = [
            &row.id,
            &one,
            &two,
            &Time(row.created_at),
            &Time(row.updated_at),
            &row.is_active,
        ];
        let values: Vec<&dyn Param> = self.takes.iter().map(|it| values[it.place]).collect();
        db.query(&self.conversation, &values).await?;
        Ok(match self.find_pair(db, row).await? {
            Some(CommitOutcome::Conversation(found, _)) if conversations.makes_ids() => {
                CommitOutcome::Conversation(found, true)
            }
            found => found.unwrap_or(CommitOutcome::Missing),
        })
    }

    /// Returns the conversation of these two, or what stands in its way.
    async fn find_pair(
        &self,
        db: &mut PostgresConnection,
        row: &Conversation,
    ) -> Result<Option<CommitOutcome>, Fault> {
        let [one, two] = row.participants.pair();
        let rows = db.query(&self.pair, &[&one, &two]).await?;
        let found = rows.first().map(conversation_row).transpose();
        let Some(found) = found.map_err(Fault::Unreadable)? else {
            if self.ids == Comparison::Collation {
                return Ok(None);
            }
            let others = db.query(&self.pair_alike, &[&one, &two]).await?;
            return Ok((!others.is_empty()).then_some(CommitOutcome::Alike));
        };
        let ours = found.id == row.id;
        Ok(Some(CommitOutcome::Conversation(found, ours)))
    }

    /// Inserts all messages in one statement. Those whose conversation is gone are left out. If
    /// they are repeated, one that is there already was written by an attempt whose outcome was
    /// lost, or is another one if its time is not the same.
    pub async fn insert_messages(
        &self,
        db: &mut PostgresConnection,
        mut rows: Vec<Placed<'_, Message>>,
        repeated: bool,
        outcomes: &mut [CommitOutcome],
    ) -> Result<(), Fault> {
        let (sql, makes_ids) = match &self.messages {
            MessageStatements::Own { again, .. } if repeated => (again, false),
            MessageStatements::Own { insert, .. } => (insert, false),
            MessageStatements::Numbered { insert, find } => {
                if repeated {
                    take_found(db, find, &mut rows, outcomes).await?;
                }
                (insert, true)
            }
        };
        if rows.is_empty() {
            return Ok(());
        }
        let values: [&dyn Param; MESSAGE.len()] = [
            &column(&rows, |row| row.id),
            &column(&rows, |row| row.conversation_id),
            &column(&rows, |row| row.sender_id.as_str()),
            &column(&rows, |row| row.content.as_str()),
            &column(&rows, |row| row.message_type.as_str()),
            &column(&rows, |row| Time(row.created_at)),
            &column(&rows, |row| Time(row.updated_at)),
            &column(&rows, |row| row.is_deleted),
        ];
        let stored = db.query(sql, &values).await?;
        if makes_ids {
            // A batch has each time once.
            let places: HashMap<Timestamp, usize> = rows
                .iter()
                .map(|(place, row)| (row.created_at, *place))
                .collect();
            for row in &stored {
                if let Some(&place) = places.get(&time_at(row, 1)?) {
                    outcomes[place] = CommitOutcome::Numbered(row.try_get(0)?);
                }
            }
            return Ok(());
        }
        let placed = rows.iter().map(|placed| (placed.1.id, placed));
        let placed: HashMap<MessageId, &Placed<'_, Message>> = placed.collect();
        for row in &stored {
            let Some((place, asked)) = placed.get(&row.try_get(0)?) else {
                continue;
            };
            outcomes[*place] = if repeated && time_at(row, 5)? != asked.created_at {
                CommitOutcome::Taken(Box::new(message_row(row)?))
            } else {
                CommitOutcome::Stored
            };
        }
        Ok(())
    }

    /// Django's `update_or_create(message, user_id, defaults={"status": "read"})`, for all receipts
    /// in one statement: a row that is there keeps its id and its time, and another user's is left
    /// alone.
    pub async fn upsert_receipts(
        &self,
        db: &mut PostgresConnection,
        rows: &[Placed<'_, Receipt>],
        outcomes: &mut [CommitOutcome],
    ) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        // One statement may touch a row once: the first to mark it speaks for the rest, or the first
        // to mark it as read.
        let mut first: HashMap<(MessageId, &str), Placed<'_, Receipt>> = HashMap::new();
        for &(place, row) in rows {
            let key = (row.message_id, row.user_id.as_str());
            let marked = first.entry(key).or_insert((place, row));
            if row.status == READ && marked.1.status != READ {
                *marked = (place, row);
            }
        }
        let mut distinct: Vec<Placed<'_, Receipt>> = first.values().copied().collect();
        // Rows are locked in one order by every process.
        distinct.sort_by_key(|(_, row)| (row.message_id, row.user_id.as_str()));
        let values: [&dyn Param; RECEIPT.len()] = [
            &column(&distinct, |row| row.id),
            &column(&distinct, |row| row.message_id),
            &column(&distinct, |row| row.user_id.as_str()),
            &column(&distinct, |row| row.status.as_str()),
            &column(&distinct, |row| Time(row.timestamp)),
        ];
        let stored = db.query(&self.receipt, &values).await?;
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
            } else if self.ids == Comparison::Bytes
                && stored.values().any(|found| is_others(found, row))
            {
                outcomes[place] = CommitOutcome::Alike;
            }
        }
        Ok(())
    }
}

/// Takes out the messages that are there already under ids that the database has made.
async fn take_found(
    db: &mut PostgresConnection,
    find: &str,
    rows: &mut Vec<Placed<'_, Message>>,
    outcomes: &mut [CommitOutcome],
) -> Result<(), Fault> {
    let values: [&dyn Param; 3] = [
        &column(rows, |row| row.conversation_id),
        &column(rows, |row| row.sender_id.as_str()),
        &column(rows, |row| Time(row.created_at)),
    ];
    let mut found = HashMap::new();
    for row in &db.query(find, &values).await? {
        let key: (_, String) = (time_at(row, 1)?, row.try_get(2)?);
        found.insert(key, row.try_get(0)?);
    }
    rows.retain(|(place, row)| {
        let Some(&id) = found.get(&(row.created_at, row.sender_id.clone())) else {
            return true;
        };
        outcomes[*place] = CommitOutcome::Numbered(id);
        false
    });
    Ok(())
}

/// Returns the values that an `INSERT` takes from a row `alias` whose columns have these roles.
fn values(layout: &Layout, written: &[Written], roles: &[&str], alias: &str) -> String {
    let value = |it: &Written| layout.value(&format!("{alias}.{}", roles[it.place]), Some(it.kind));
    written.iter().map(value).collect::<Vec<_>>().join(", ")
}

/// Returns the beginning of the statement that inserts messages, up to its condition.
fn insert_start(layout: &Layout) -> String {
    let schema = &layout.schema;
    let written = layout.written(&schema.messages, &MESSAGE);
    // A member who is locked so is removed after the message is stored, or before it is looked for.
    let is_member = layout.is_member("m.conversation_id", "m.sender_id");
    let is_member = is_member.map_or_else(String::new, |is_member| {
        format!("AND EXISTS ({is_member} FOR SHARE) ")
    });
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM unnest($1::{}[], $2::{}[], $3::text[], $4::text[], \
         $5::text[], $6::timestamptz[], $7::timestamptz[], $8::bool[]) AS m ({}) \
         WHERE EXISTS (SELECT 1 FROM {} AS c WHERE c.id = m.conversation_id) {is_member}",
        layout.table(&schema.messages),
        layout.names(&written),
        values(layout, &written, &MESSAGE, "m"),
        id_type(&schema.messages),
        id_type(&schema.conversations),
        MESSAGE.join(", "),
        layout.conversations
    )
}

/// Numbers are given in the order of the times.
fn insert_numbered(layout: &Layout) -> String {
    let own = layout.table(&layout.schema.messages);
    let returned = layout.reading(&layout.schema.messages, &own, &["id", "created_at"]);
    format!(
        "{}ORDER BY m.created_at RETURNING {returned}",
        insert_start(layout)
    )
}

fn find_numbered(layout: &Layout) -> String {
    format!(
        "SELECT m.id, m.created_at, m.sender_id FROM {} AS m \
         JOIN unnest($1::{}[], $2::text[], $3::timestamptz[]) \
         AS n (conversation_id, sender_id, created_at) ON m.conversation_id = n.conversation_id \
         AND m.created_at = n.created_at AND m.sender_id = n.sender_id",
        layout.messages,
        id_type(&layout.schema.conversations)
    )
}

/// Returns the condition that the new status says more than the one that is there.
fn raises(status: &str) -> String {
    format!("(excluded.{status} <> '{DELIVERED}' OR d.{status} = '{SENT}')")
}

fn upsert_receipts(layout: &Layout, ids: Comparison) -> String {
    let (receipts, messages) = (&layout.schema.receipts, &layout.schema.messages);
    let written = layout.written(receipts, &RECEIPT);
    let name = |role| layout.quoted(receipts.name_of(role));
    let (message, user) = (name("message_id"), name("user_id"));
    let update = match (receipts.column("status"), ids) {
        // A row that is there is marked. Without an update it would not be returned.
        (None, _) => format!("{message} = excluded.{message}"),
        (Some((status, _)), Comparison::Collation) => format!(
            "{status} = CASE WHEN {} THEN excluded.{status} ELSE d.{status} END",
            raises(status)
        ),
        (Some((status, _)), Comparison::Bytes) => format!(
            "{status} = CASE WHEN d.{user} = excluded.{user} COLLATE \"C\" AND {} \
             THEN excluded.{status} ELSE d.{status} END",
            raises(status)
        ),
    };
    format!(
        "INSERT INTO {} AS d ({}) SELECT {} \
         FROM unnest($1::{}[], $2::{}[], $3::text[], $4::text[], $5::timestamptz[]) \
         WITH ORDINALITY AS r ({}, n) \
         WHERE EXISTS (SELECT 1 FROM {} AS m WHERE m.id = r.message_id) ORDER BY r.n \
         ON CONFLICT ({message}, {user}) DO UPDATE SET {update} RETURNING {}",
        layout.table(receipts),
        layout.names(&written),
        values(layout, &written, &RECEIPT, "r"),
        id_type(receipts),
        id_type(messages),
        RECEIPT.join(", "),
        layout.messages,
        layout.reading(receipts, "d", &RECEIPT)
    )
}

/// Returns one column of the rows, as an array.
fn column<'a, T, V>(rows: &[Placed<'a, T>], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(|(_, row)| value(row)).collect()
}
