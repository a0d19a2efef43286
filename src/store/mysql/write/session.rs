//! A connection that writes, and its statements.
//!
//! Stands in for `objects.create` and `update_or_create` of Django's models. Where the database
//! can tell afterwards, nothing is read before: a missing conversation shows as a broken foreign
//! key, a row that an earlier try has written as a duplicate.
//!
//! Two participants must not get two conversations. The unique key of the table knows only one
//! order of the pair, and which spellings are the same user is the collation's secret. So every
//! process that makes conversations takes one lock of the server first, the same for all pairs: its
//! holder sees all conversations there are (reads are `READ COMMITTED`) and no other process adds
//! one before it has committed its own. It is held for one batch, however many conversations that
//! makes, and dies with its connection, after the transaction. Django does not take it: at the same
//! moment as a Django, the pair in the other order can still come to be, as between two Djangos.
//! Nor do the nodes of a Galera cluster share it: let all processes write to one node.

mod attachment;
mod change;
mod group;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use mysql_async::{Conn, Error, Row, prelude::Queryable};
use tokio::time::timeout;

use super::{
    WriteFailure,
    statement::{Child, InsertTarget, MysqlStatements, PACKET_MARGIN, Pending, STATEMENT},
};
use crate::{
    chat::{Conversation, Message, Receipt},
    id::{Key, MessageId},
    python::datetime::Timestamp,
    store::{
        Comparison, StoreError,
        commit::{CommitOutcome, Write},
        mysql::{
            options::Options,
            outbox,
            pool::{code, connect, lives},
            query, row,
        },
        outbox::{events_of, read_messages},
        turns::UnopenedConnection,
    },
};

/// Receipts that are looked up in one statement.
const LOOKUPS: usize = 64;

/// Seconds to wait for the lock that makes conversations one batch at a time.
const LOCK_S: u32 = 5;

const DUPLICATE: u16 = 1062;
const NO_PARENT: u16 = 1452;
/// MariaDB's native type takes only the UUIDs that RFC 4122 knows; no row has the rest as its
/// parent.
const NO_UUID: u16 = 1292;

/// Progress of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BatchStage {
    /// If the connection dies now, nothing has been written.
    Writing,
    /// If it dies now, the outcome is unknown.
    Committing,
}

pub struct Session {
    pub stage: BatchStage,
    /// When the server last answered.
    pub used: Instant,
    conn: Conn,
    statements: Arc<MysqlStatements>,
    foreign_keys: bool,
    /// The server's `max_allowed_packet`, in bytes.
    max_packet: usize,
    /// True if it holds the lock that makes conversations one batch at a time.
    locked: bool,
}

impl Session {
    pub async fn open(
        options: &Options,
        statements: &Arc<MysqlStatements>,
        foreign_keys: bool,
    ) -> Result<Self, UnopenedConnection> {
        let mut conn = connect(options).await?;
        let limit = conn.query_first("SELECT @@max_allowed_packet");
        let limit = timeout(options.connect_timeout, limit).await;
        let limit: Option<usize> = limit
            .map_err(|_| StoreError::Unavailable("connecting took too long".into()))?
            .map_err(StoreError::from)?;
        Ok(Session {
            stage: BatchStage::Writing,
            used: Instant::now(),
            conn,
            statements: Arc::clone(statements),
            foreign_keys,
            max_packet: limit.unwrap_or(STATEMENT),
            locked: false,
        })
    }

    pub async fn lives(&mut self) -> bool {
        lives(&mut self.conn).await
    }

    /// Writes all or nothing.
    pub async fn write(&mut self, batch: &[Write]) -> Result<Vec<CommitOutcome>, WriteFailure> {
        self.stage = BatchStage::Writing;
        let statements = Arc::clone(&self.statements);
        let into = &statements.messages;
        let (mut conversations, mut messages, mut receipts) = (Vec::new(), Vec::new(), Vec::new());
        let mut others = Vec::new();
        for (place, write) in batch.iter().enumerate() {
            match write {
                Write::Conversation(row) => conversations.push((place, row)),
                Write::Message(row) => messages.push(self.pending(into, place, row)?),
                Write::Receipt(row) => {
                    receipts.push(self.pending(&statements.receipts, place, row)?);
                }
                _ => others.push((place, write)),
            }
        }
        let mut outcomes = vec![CommitOutcome::Missing; batch.len()];
        if conversations.is_empty()
            && receipts.is_empty()
            && others.is_empty()
            && self.foreign_keys
            && !statements.keeps_events
            && into.statements(&messages, self.limit()).len() == 1
        {
            // One statement is a transaction of its own.
            self.stage = BatchStage::Committing;
            let repeated = self.insert(into, messages, &mut outcomes).await?;
            self.compare(batch, &repeated, &mut outcomes).await?;
            return Ok(outcomes);
        }
        if !conversations.is_empty() {
            self.lock().await?;
        }
        self.conn.query_drop("START TRANSACTION").await?;
        for (place, row) in conversations {
            outcomes[place] = self.get_or_insert(row).await?;
        }
        let repeated = self.insert_messages(into, messages, &mut outcomes).await?;
        self.compare(batch, &repeated, &mut outcomes).await?;
        self.upsert(receipts, &mut outcomes).await?;
        for (place, write) in others {
            outcomes[place] = match write {
                Write::Change(new) => self.change(new).await?,
                Write::NewGroup(new) => self.create_group(new).await?,
                Write::GroupChange(new) => self.change_group(new).await?,
                Write::ForgetChanges(before) => self.forget(*before).await?,
                Write::Attachments(write) => self.write_attachments(write).await?,
                Write::Attached(row, ids) => {
                    let attached = (row, ids.as_slice());
                    self.insert_attached((batch, place), attached, &mut outcomes)
                        .await?;
                    continue;
                }
                _ => continue,
            };
        }
        if statements.keeps_events {
            self.note_events(batch, &outcomes).await?;
        }
        self.stage = BatchStage::Committing;
        self.conn.query_drop("COMMIT").await?;
        self.stage = BatchStage::Writing;
        self.unlock().await?;
        Ok(outcomes)
    }

    /// Leaves nothing behind of a batch that failed.
    pub async fn give_up(&mut self) -> Result<(), Error> {
        self.conn.query_drop("ROLLBACK").await?;
        self.unlock().await
    }

    async fn lock(&mut self) -> Result<(), WriteFailure> {
        let sql = format!("SELECT GET_LOCK({}, {LOCK_S})", self.lock_name());
        let taken: Option<Option<u8>> = self.conn.query_first(sql).await?;
        self.locked = taken.flatten() == Some(1);
        if self.locked {
            return Ok(());
        }
        let why = "somebody else makes conversations all the time";
        Err(StoreError::Conflict(why.into()).into())
    }

    async fn unlock(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.locked) {
            return Ok(());
        }
        let sql = format!("DO RELEASE_LOCK({})", self.lock_name());
        self.conn.query_drop(sql).await
    }

    /// Returns the same in every process that works on these tables; names are at most 64 long, and
    /// MySQL
    /// 9.6 has no MD5 any more.
    fn lock_name(&self) -> String {
        let table = &self.statements.layout.schema.conversations.name;
        format!("CONCAT('chatferry.', LEFT(SHA2(CONCAT(DATABASE(), '.{table}'), 256), 40))")
    }

    async fn get_or_insert(&mut self, row: &Conversation) -> Result<CommitOutcome, WriteFailure> {
        if let Some(found) = self.find(row).await? {
            return Ok(found);
        }
        let sql = self.statements.insert_conversation(row);
        match self.conn.query_drop(sql).await {
            Ok(()) => Ok(CommitOutcome::Conversation(row.clone(), true)),
            // Django was faster, which does not know the lock.
            Err(error) if code(&error) == Some(DUPLICATE) => {
                // A snapshot of REPEATABLE READ is older than its row; the next one is not.
                let unseen = || StoreError::Conflict(error.to_string()).into();
                self.find(row).await?.ok_or_else(unseen)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the conversation of these two, or what stands in its way.
    async fn find(&mut self, row: &Conversation) -> Result<Option<CommitOutcome>, WriteFailure> {
        let statements = &self.statements;
        let (layout, pair) = (&statements.layout, row.participants.pair());
        let sql = query::pair(layout, pair, statements.ids);
        let Some(found) = self.conn.query_first::<Row, _>(sql).await? else {
            if statements.ids == Comparison::Collation {
                return Ok(None);
            }
            let sql = query::pair(layout, pair, Comparison::Collation);
            let other = self.conn.query_first::<Row, _>(sql).await?;
            return Ok(other.map(|_| CommitOutcome::Alike));
        };
        let found = row::conversation_row(found)?;
        // An earlier try has made it, whose commit was not confirmed.
        let made = found.id == row.id;
        let conversation = if made { row.clone() } else { found };
        Ok(Some(CommitOutcome::Conversation(conversation, made)))
    }

    /// Inserts the rows whose parents are there; those are `Stored`. Returns the places of rows that
    /// were there before.
    async fn insert<T: Child>(
        &mut self,
        into: &InsertTarget,
        mut rows: Vec<Pending<'_, T>>,
        outcomes: &mut [CommitOutcome],
    ) -> Result<Vec<usize>, WriteFailure> {
        let mut repeated = Vec::new();
        if !self.foreign_keys {
            self.drop_orphans(into, &mut rows).await?;
        }
        // Each time round, what was in the way is put aside; the last time it is an error.
        for last in [false, false, true] {
            match self
                .insert_all(into, &rows)
                .await
                .map_err(WriteFailure::Sql)
            {
                Ok(()) => break,
                Err(WriteFailure::Sql(error)) if !last && has_no_parent(&error) => {
                    self.drop_orphans(into, &mut rows).await?;
                }
                // Written by an earlier try whose commit was not confirmed, or of an id that a client
                // chose.
                Err(WriteFailure::Sql(error)) if !last && code(&error) == Some(DUPLICATE) => {
                    let ids = rows.iter().map(|pending| pending.row.id());
                    let there = self.present(&into.own, ids).await?;
                    let stored = rows.extract_if(.., |pending| there.contains(&pending.row.id()));
                    repeated.extend(stored.map(|pending| pending.place));
                }
                Err(failure) => return Err(failure),
            }
        }
        let places = rows.iter().map(|pending| pending.place);
        for place in places.chain(repeated.iter().copied()) {
            outcomes[place] = CommitOutcome::Stored;
        }
        Ok(repeated)
    }

    /// Compares the messages at these places, which were there before, with the rows of their ids:
    /// one of another time is another message.
    async fn compare(
        &mut self,
        batch: &[Write],
        places: &[usize],
        outcomes: &mut [CommitOutcome],
    ) -> Result<(), WriteFailure> {
        let asked = places.iter().filter_map(|&place| {
            let message = batch[place].message()?;
            Some((message.id, (place, message.created_at)))
        });
        let asked: HashMap<MessageId, (usize, Timestamp)> = asked.collect();
        if asked.is_empty() {
            return Ok(());
        }
        let ids = asked.keys().map(|id| id.0);
        let sql = query::messages_by_id(&self.statements.layout, ids);
        let rows: Vec<Row> = self.conn.query(sql).await?;
        for found in row::page(rows, false).whole()?.messages {
            if let Some(&(place, created_at)) = asked.get(&found.id)
                && created_at != found.created_at
            {
                outcomes[place] = CommitOutcome::Taken(Box::new(found));
            }
        }
        Ok(())
    }

    /// Inserts messages as [`insert`](Self::insert) does, but for those whose senders are no members
    /// of their groups.
    async fn insert_messages(
        &mut self,
        into: &InsertTarget,
        mut messages: Vec<Pending<'_, Message>>,
        outcomes: &mut [CommitOutcome],
    ) -> Result<Vec<usize>, WriteFailure> {
        if self.statements.layout.is_member("", "").is_some() {
            self.drop_strangers(&mut messages).await?;
        }
        self.insert(into, messages, outcomes).await
    }

    /// Stores the events of the batch.
    async fn note_events(
        &mut self,
        batch: &[Write],
        outcomes: &[CommitOutcome],
    ) -> Result<(), WriteFailure> {
        let mut conversations = HashMap::new();
        let read = read_messages(outcomes);
        if !read.is_empty() {
            let sql = outbox::conversations(&self.statements.layout, &read);
            conversations = outbox::by_message(self.conn.query(sql).await?)?;
        }
        let events = events_of(batch, outcomes, &conversations);
        for sql in outbox::insert(&events, self.limit()) {
            self.conn.query_drop(sql).await?;
        }
        Ok(())
    }

    async fn insert_all<T: Child>(
        &mut self,
        into: &InsertTarget,
        rows: &[Pending<'_, T>],
    ) -> Result<(), Error> {
        for sql in into.statements(rows, self.limit()) {
            self.conn.query_drop(sql).await?;
        }
        Ok(())
    }

    async fn drop_orphans<T: Child>(
        &mut self,
        into: &InsertTarget,
        rows: &mut Vec<Pending<'_, T>>,
    ) -> Result<(), WriteFailure> {
        let parents = rows.iter().map(|pending| pending.row.parent());
        let there = self.present(&into.parents, parents).await?;
        rows.retain(|pending| there.contains(&pending.row.parent()));
        Ok(())
    }

    /// Returns the ids, of those given, that the table has.
    async fn present(
        &mut self,
        table: &str,
        ids: impl Iterator<Item = Key>,
    ) -> Result<HashSet<Key>, WriteFailure> {
        let ids: HashSet<Key> = ids.collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let rows: Vec<Row> = self.conn.query(query::present(table, ids)).await?;
        let there = rows.into_iter().map(|row| row::Columns::from(row).id());
        Ok(there.collect::<Result<_, _>>()?)
    }

    /// Django's `update_or_create(message, user_id, defaults={"status": "read"})`: the row that is
    /// there keeps its id, its user's spelling and its time.
    async fn upsert(
        &mut self,
        mut rows: Vec<Pending<'_, Receipt>>,
        outcomes: &mut [CommitOutcome],
    ) -> Result<(), WriteFailure> {
        // Everybody who takes locks in the same order waits instead of dying in a deadlock.
        rows.sort_by_key(|pending| (pending.row.message_id, &pending.row.user_id));
        let marks: Vec<_> = rows.iter().map(|p| (p.place, p.row)).collect();
        let statements = Arc::clone(&self.statements);
        self.insert(&statements.receipts, rows, outcomes).await?;
        for some in marks.chunks(LOOKUPS) {
            self.read_back(some, outcomes).await?;
        }
        Ok(())
    }

    /// A new receipt is answered as it was sent, an older one as it is stored, and another user's
    /// not at all.
    async fn read_back(
        &mut self,
        marks: &[(usize, &Receipt)],
        outcomes: &mut [CommitOutcome],
    ) -> Result<(), WriteFailure> {
        let stored = marks
            .iter()
            .filter(|(place, _)| outcomes[*place] == CommitOutcome::Stored);
        let stored: Vec<_> = stored.copied().collect();
        if stored.is_empty() {
            return Ok(());
        }
        let sql = query::receipts(&self.statements.layout, stored.iter().copied());
        for (place, receipt) in stored {
            outcomes[place] = CommitOutcome::Receipt(receipt.clone());
        }
        let found: Vec<Row> = self.conn.query(sql).await?;
        for row in found {
            let (place, found) = row::receipt_row(row)?;
            let Some(CommitOutcome::Receipt(asked)) = outcomes.get(place) else {
                continue;
            };
            if self.statements.ids.is_other(&asked.user_id, &found.user_id) {
                outcomes[place] = CommitOutcome::Alike;
            } else if asked.id != found.id {
                outcomes[place] = CommitOutcome::Receipt(found);
            }
        }
        Ok(())
    }

    /// Returns the most bytes of the rows of one statement.
    fn limit(&self) -> usize {
        self.max_packet.saturating_sub(PACKET_MARGIN).min(STATEMENT)
    }

    fn pending<'a, T: Child>(
        &self,
        into: &InsertTarget,
        place: usize,
        row: &'a T,
    ) -> Result<Pending<'a, T>, WriteFailure> {
        let pending = into.pending(place, row);
        if pending.values.len() + PACKET_MARGIN <= self.max_packet {
            return Ok(pending);
        }
        let why = "a text is longer than the server's max_allowed_packet";
        Err(StoreError::Refused(why.into()).into())
    }
}

fn has_no_parent(error: &Error) -> bool {
    matches!(code(error), Some(NO_PARENT | NO_UUID))
}
