//! Writes: one batch, one transaction.

use std::{path::PathBuf, sync::Arc};

use rusqlite::{
    Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior,
    ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE},
    params_from_iter,
};

use super::{
    attachments, changes, groups, outbox,
    pool::{blocking, connect},
    query::{conversation_of_pair, message},
    row::receipt_row,
};
use crate::{
    chat::{
        Conversation, Message, Receipt,
        receipt::{DELIVERED, SENT},
    },
    id::{AttachmentId, Key},
    metrics::{self, Metrics},
    python::datetime::to_sqlite,
    store::{
        Comparison, StoreError,
        commit::{Attempt, Backend, CommitOutcome, Write},
        schema::{
            Rehearsed, Table,
            layout::{CONVERSATION, Layout, MESSAGE, RECEIPT},
        },
    },
};

/// The one connection that writes. It belongs to the committer, and is opened again after an
/// error that may have broken it.
pub struct SqliteWriter {
    path: PathBuf,
    statements: Arc<SqliteStatements>,
    db: Option<Connection>,
    metrics: Arc<Metrics>,
}

impl SqliteWriter {
    pub fn new(path: PathBuf, statements: SqliteStatements, metrics: Arc<Metrics>) -> Self {
        SqliteWriter {
            path,
            statements: Arc::new(statements),
            db: None,
            metrics,
        }
    }
}

impl Backend for SqliteWriter {
    async fn write(
        &mut self,
        batch: Arc<Vec<Write>>,
        _: Attempt,
    ) -> Result<Vec<CommitOutcome>, StoreError> {
        let open = self.db.take();
        let path = self.path.clone();
        let (statements, metrics) = (Arc::clone(&self.statements), Arc::clone(&self.metrics));
        let (db, outcomes) = blocking(move || {
            let opened = || {
                let opened = connect(&path);
                metrics.store_connected(metrics::Outcome::of(&opened));
                opened
            };
            let mut db = open.map_or_else(opened, Ok)?;
            let outcomes = write_all(&mut db, &statements, &batch);
            Ok((db, outcomes))
        })
        .await?;
        if !matches!(outcomes, Err(StoreError::Unavailable(_))) {
            self.db = Some(db);
        }
        outcomes
    }
}

fn write_all(
    db: &mut Connection,
    statements: &SqliteStatements,
    batch: &[Write],
) -> Result<Vec<CommitOutcome>, StoreError> {
    // IMMEDIATE: the write lock is taken first, so nothing read in here can go stale.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = batch
        .iter()
        .map(|write| match write {
            Write::Conversation(row) => statements.insert_conversation(&transaction, row),
            Write::Message(row) => Ok(statements.insert_message(&transaction, row)?),
            Write::Receipt(row) => Ok(statements.upsert_receipt(&transaction, row)?),
            Write::Change(new) => Ok(changes::change(&transaction, &statements.layout, new)?),
            Write::NewGroup(new) => Ok(groups::create(&transaction, new)?),
            Write::GroupChange(new) => Ok(groups::change(&transaction, new)?),
            Write::ForgetChanges(before) => Ok(changes::forget(&transaction, *before)?),
            Write::Attached(row, ids) => Ok(statements.insert_attached(&transaction, row, ids)?),
            Write::Attachments(write) => Ok(attachments::write(&transaction, write)?),
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    if statements.keeps_events {
        outbox::note(&transaction, &statements.layout, batch, &outcomes)?;
    }
    transaction.commit()?;
    Ok(outcomes)
}

/// Writes a row of each table, and takes them back.
pub fn rehearse(db: &mut Connection, layout: Arc<Layout>) -> Result<(), StoreError> {
    let Rehearsed {
        conversation,
        message,
        receipt,
    } = &Rehearsed::new();
    let statements = SqliteStatements::new(layout, Comparison::Collation, false);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    statements.insert_conversation(&transaction, conversation)?;
    statements.insert_message(&transaction, message)?;
    statements.upsert_receipt(&transaction, receipt)?;
    Ok(transaction.rollback()?)
}

/// The statements that write, made once.
pub struct SqliteStatements {
    ids: Comparison,
    conversation: Insert,
    message: Insert,
    receipt: Insert,
    layout: Arc<Layout>,
    /// True if there are sinks that get events.
    keeps_events: bool,
}

/// An `INSERT` and the values that it takes, by their places in the row.
struct Insert {
    sql: String,
    takes: Vec<usize>,
}

impl Insert {
    /// Makes the statement for rows with these roles; `if_parent` is the table of their parents and
    /// the role of the parent's id. A row without its parent is not inserted.
    fn new(
        layout: &Layout,
        table: &Table,
        roles: &[&str],
        if_parent: Option<(&str, &str)>,
    ) -> Self {
        let written = layout.written(table, roles);
        let places: Vec<String> = (1..=written.len()).map(|n| format!("?{n}")).collect();
        let condition = if_parent.map_or_else(String::new, |(parents, role)| {
            let place = written.iter().position(|it| roles[it.place] == role);
            let place = 1 + place.unwrap_or_default();
            format!(" WHERE EXISTS (SELECT 1 FROM {parents} AS p WHERE p.id = ?{place})")
        });
        let sql = format!(
            "INSERT INTO {} ({}) SELECT {}{condition}",
            layout.table(table),
            layout.names(&written),
            places.join(", ")
        );
        let takes = written.iter().map(|it| it.place).collect();
        Insert { sql, takes }
    }

    /// Returns the values of a row that the statement takes.
    fn values<'a>(&'a self, row: &'a [&'a dyn ToSql]) -> impl Iterator<Item = &'a dyn ToSql> {
        self.takes.iter().map(|&place| row[place])
    }
}

impl SqliteStatements {
    pub fn new(layout: Arc<Layout>, ids: Comparison, keeps_events: bool) -> Self {
        let schema = &layout.schema;
        let conversation = Insert::new(&layout, &schema.conversations, &CONVERSATION, None);
        let parent = Some((layout.conversations.as_str(), "conversation_id"));
        let mut message = Insert::new(&layout, &schema.messages, &MESSAGE, parent);
        message.sql += &if_member(&layout);
        let parent = Some((layout.messages.as_str(), "message_id"));
        let mut receipt = Insert::new(&layout, &schema.receipts, &RECEIPT, parent);
        receipt.sql += &on_conflict(&layout, ids);
        SqliteStatements {
            ids,
            conversation,
            message,
            receipt,
            layout,
            keeps_events,
        }
    }

    fn insert_conversation(
        &self,
        db: &Transaction<'_>,
        row: &Conversation,
    ) -> Result<CommitOutcome, StoreError> {
        let (layout, pair) = (&self.layout, row.participants.pair());
        layout.require_pairs()?;
        if let Some(found) = conversation_of_pair(db, layout, pair, self.ids)? {
            return Ok(CommitOutcome::Conversation(found, false));
        }
        if self.ids == Comparison::Bytes
            && conversation_of_pair(db, layout, pair, Comparison::Collation)?.is_some()
        {
            return Ok(CommitOutcome::Alike);
        }
        let values: [&dyn ToSql; CONVERSATION.len()] = [
            &row.id,
            &pair[0],
            &pair[1],
            &to_sqlite(row.created_at),
            &to_sqlite(row.updated_at),
            &row.is_active,
        ];
        let values = params_from_iter(self.conversation.values(&values));
        db.prepare_cached(&self.conversation.sql)?.execute(values)?;
        let mut made = row.clone();
        if layout.schema.conversations.makes_ids() {
            made.id = Key::Number(db.last_insert_rowid()).into();
        }
        Ok(CommitOutcome::Conversation(made, true))
    }

    fn insert_message(
        &self,
        db: &Transaction<'_>,
        row: &Message,
    ) -> rusqlite::Result<CommitOutcome> {
        let values: [&dyn ToSql; MESSAGE.len()] = [
            &row.id,
            &row.conversation_id,
            &row.sender_id,
            &row.content,
            &row.message_type,
            &to_sqlite(row.created_at),
            &to_sqlite(row.updated_at),
            &row.is_deleted,
        ];
        let values = params_from_iter(self.message.values(&values));
        let inserted = match db.prepare_cached(&self.message.sql)?.execute(values) {
            Err(error) if is_duplicate(&error) => {
                let found = message(db, &self.layout, row.id)?;
                let found = found.ok_or(error)?;
                return Ok(CommitOutcome::Taken(Box::new(found)));
            }
            inserted => inserted?,
        };
        if inserted == 0 {
            return Ok(CommitOutcome::Missing);
        }
        Ok(if self.layout.schema.messages.makes_ids() {
            CommitOutcome::Numbered(Key::Number(db.last_insert_rowid()).into())
        } else {
            CommitOutcome::Stored
        })
    }

    fn insert_attached(
        &self,
        db: &Transaction<'_>,
        row: &Message,
        ids: &[AttachmentId],
    ) -> rusqlite::Result<CommitOutcome> {
        if !attachments::are_free(db, row, ids)? {
            return Ok(CommitOutcome::Unattached);
        }
        let outcome = self.insert_message(db, row)?;
        if outcome == CommitOutcome::Stored {
            attachments::send(db, row, ids)?;
        }
        Ok(outcome)
    }

    /// Django's `update_or_create(message, user_id, defaults={"status": "read"})`: the row that is
    /// there keeps its id, its user's spelling and its time. The row of another user is left alone.
    fn upsert_receipt(
        &self,
        db: &Transaction<'_>,
        row: &Receipt,
    ) -> rusqlite::Result<CommitOutcome> {
        let values: [&dyn ToSql; RECEIPT.len()] = [
            &row.id,
            &row.message_id,
            &row.user_id,
            &row.status,
            &to_sqlite(row.timestamp),
        ];
        let values = params_from_iter(self.receipt.values(&values));
        let mut upsert = db.prepare_cached(&self.receipt.sql)?;
        let receipt = upsert.query_row(values, receipt_row).optional()?;
        Ok(match receipt {
            None => CommitOutcome::Missing,
            Some(found) if self.ids.is_other(&row.user_id, &found.user_id) => CommitOutcome::Alike,
            Some(found) => CommitOutcome::Receipt(found),
        })
    }
}

/// Returns the condition that the sender of a message is a member, where that is asked.
fn if_member(layout: &Layout) -> String {
    // The places of conversation and sender among the values of a row.
    let is_member = layout.is_member("?2", "?3");
    is_member.map_or_else(String::new, |sql| format!(" AND EXISTS ({sql})"))
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(
        code,
        Some(SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE)
    )
}

/// Returns the condition that the new status says more than the one that is there.
fn raises(status: &str) -> String {
    format!("(excluded.{status} <> '{DELIVERED}' OR {status} = '{SENT}')")
}

/// Returns the end of the statement that marks a message as read or delivered.
fn on_conflict(layout: &Layout, ids: Comparison) -> String {
    let receipts = &layout.schema.receipts;
    let name = |role| layout.quoted(receipts.name_of(role));
    let (message, user) = (name("message_id"), name("user_id"));
    let update = match (receipts.column("status"), ids) {
        // A row that is there is marked. Without an update it would not be returned.
        (None, _) => format!("{message} = excluded.{message}"),
        (Some((status, _)), Comparison::Collation) => {
            format!(
                "{status} = iif({}, excluded.{status}, {status})",
                raises(status)
            )
        }
        (Some((status, _)), Comparison::Bytes) => format!(
            "{status} = iif({user} COLLATE BINARY = excluded.{user} AND {}, \
             excluded.{status}, {status})",
            raises(status)
        ),
    };
    let own = layout.table(receipts);
    format!(
        " ON CONFLICT ({message}, {user}) DO UPDATE SET {update} RETURNING {}",
        layout.reading(receipts, &own, &RECEIPT)
    )
}
