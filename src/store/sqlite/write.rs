//! Writes: one batch, one transaction.

use std::{path::PathBuf, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    pool::{blocking, connect},
    query::{conversation_of_pair, receipt_row},
};
use crate::{
    chat::{Conversation, Message, Receipt},
    config::Tables,
    metrics::{self, Metrics},
    python::datetime::to_sqlite,
    store::{
        Comparison, StoreError,
        commit::{Backend, CommitOutcome, Write},
        schema::Rehearsed,
    },
};

/// The one connection that writes. It belongs to the committer, and is opened again after an
/// error that may have broken it.
pub struct Writer {
    path: PathBuf,
    tables: Arc<Tables>,
    ids: Comparison,
    db: Option<Connection>,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub fn new(path: PathBuf, tables: Arc<Tables>, ids: Comparison, metrics: Arc<Metrics>) -> Self {
        Writer {
            path,
            tables,
            ids,
            db: None,
            metrics,
        }
    }
}

impl Backend for Writer {
    async fn write(&mut self, batch: Arc<Vec<Write>>) -> Result<Vec<CommitOutcome>, StoreError> {
        let open = self.db.take();
        let (path, ids) = (self.path.clone(), self.ids);
        let (tables, metrics) = (Arc::clone(&self.tables), Arc::clone(&self.metrics));
        let (db, outcomes) = blocking(move || {
            let opened = || {
                let opened = connect(&path);
                metrics.store_connected(metrics::Outcome::of(&opened));
                opened
            };
            let mut db = open.map_or_else(opened, Ok)?;
            let outcomes = write_all(&mut db, &tables, ids, &batch);
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
    tables: &Tables,
    ids: Comparison,
    batch: &[Write],
) -> Result<Vec<CommitOutcome>, StoreError> {
    // IMMEDIATE: the write lock is taken first, so nothing read in here can go stale.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = batch
        .iter()
        .map(|write| match write {
            Write::Conversation(row) => insert_conversation(&transaction, tables, ids, row),
            Write::Message(row) => insert_message(&transaction, tables, row),
            Write::Receipt(row) => upsert_receipt(&transaction, tables, ids, row),
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

/// Writes a row of each table, and takes them back.
pub fn rehearse(db: &mut Connection, tables: &Tables) -> rusqlite::Result<()> {
    let Rehearsed {
        conversation,
        message,
        receipt,
    } = &Rehearsed::new();
    let ids = Comparison::Collation;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    insert_conversation(&transaction, tables, ids, conversation)?;
    insert_message(&transaction, tables, message)?;
    upsert_receipt(&transaction, tables, ids, receipt)?;
    transaction.rollback()
}

fn insert_conversation(
    db: &Transaction<'_>,
    tables: &Tables,
    ids: Comparison,
    row: &Conversation,
) -> rusqlite::Result<CommitOutcome> {
    let pair = row.participants();
    if let Some(found) = conversation_of_pair(db, tables, pair, ids)? {
        return Ok(CommitOutcome::Conversation(found, false));
    }
    if ids == Comparison::Bytes
        && conversation_of_pair(db, tables, pair, Comparison::Collation)?.is_some()
    {
        return Ok(CommitOutcome::Alike);
    }
    let sql = format!(
        "INSERT INTO \"{}\" (id, participant1_id, participant2_id, created_at, updated_at, \
         is_active) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        tables.conversations
    );
    db.prepare_cached(&sql)?.execute(params![
        row.id,
        row.participant1_id,
        row.participant2_id,
        to_sqlite(row.created_at),
        to_sqlite(row.updated_at),
        row.is_active
    ])?;
    Ok(CommitOutcome::Conversation(row.clone(), true))
}

fn insert_message(
    db: &Transaction<'_>,
    tables: &Tables,
    row: &Message,
) -> rusqlite::Result<CommitOutcome> {
    let sql = format!(
        "INSERT INTO \"{}\" (id, conversation_id, sender_id, content, message_type, created_at, \
         updated_at, is_deleted) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 \
         WHERE EXISTS (SELECT 1 FROM \"{}\" WHERE id = ?2)",
        tables.messages, tables.conversations
    );
    let inserted = db.prepare_cached(&sql)?.execute(params![
        row.id,
        row.conversation_id,
        row.sender_id,
        row.content,
        row.message_type,
        to_sqlite(row.created_at),
        to_sqlite(row.updated_at),
        row.is_deleted
    ])?;
    Ok(if inserted == 1 {
        CommitOutcome::Stored
    } else {
        CommitOutcome::Missing
    })
}

/// Django's `update_or_create(message, user_id, defaults={"status": "read"})`: the row that is
/// there keeps its id, its user's spelling and its time. The row of another user is left alone.
fn upsert_receipt(
    db: &Transaction<'_>,
    tables: &Tables,
    ids: Comparison,
    row: &Receipt,
) -> rusqlite::Result<CommitOutcome> {
    let status = match ids {
        Comparison::Collation => "excluded.status",
        Comparison::Bytes => {
            "iif(user_id COLLATE BINARY = excluded.user_id, excluded.status, status)"
        }
    };
    let sql = format!(
        "INSERT INTO \"{}\" (id, message_id, user_id, status, timestamp) \
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM \"{}\" WHERE id = ?2) \
         ON CONFLICT (message_id, user_id) DO UPDATE SET status = {status} \
         RETURNING id, message_id, user_id, status, timestamp",
        tables.delivery_receipts, tables.messages
    );
    let receipt = db
        .prepare_cached(&sql)?
        .query_row(
            params![
                row.id,
                row.message_id,
                row.user_id,
                row.status,
                to_sqlite(row.timestamp)
            ],
            receipt_row,
        )
        .optional()?;
    Ok(match receipt {
        None => CommitOutcome::Missing,
        Some(found) if ids.is_other(&row.user_id, &found.user_id) => CommitOutcome::Alike,
        Some(found) => CommitOutcome::Receipt(found),
    })
}
