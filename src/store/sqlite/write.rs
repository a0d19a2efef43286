//! What is written: one batch, one transaction.

use std::{path::PathBuf, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    pool::{blocking, connect},
    query::{find_pair, receipt_row},
};
use crate::{
    chat::{Conversation, Message, Receipt},
    config::Tables,
    django::{datetime::to_sqlite, uuid::hex32},
    metrics::{self, Metrics},
    store::{
        StoreError,
        commit::{Backend, Outcome, Write},
    },
};

/// The one connection that writes. It belongs to the committer, and is opened again after an
/// error that may have broken it.
pub struct Writer {
    path: PathBuf,
    tables: Arc<Tables>,
    db: Option<Connection>,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub fn new(path: PathBuf, tables: Arc<Tables>, metrics: Arc<Metrics>) -> Self {
        Writer {
            path,
            tables,
            db: None,
            metrics,
        }
    }
}

impl Backend for Writer {
    async fn write(&mut self, batch: Arc<Vec<Write>>) -> Result<Vec<Outcome>, StoreError> {
        let open = self.db.take();
        let path = self.path.clone();
        let (tables, metrics) = (Arc::clone(&self.tables), Arc::clone(&self.metrics));
        let (db, outcomes) = blocking(move || {
            let opened = || {
                let opened = connect(&path);
                metrics.store_connected(metrics::Outcome::of(&opened));
                opened
            };
            let mut db = open.map_or_else(opened, Ok)?;
            let outcomes = write_all(&mut db, &tables, &batch);
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
    batch: &[Write],
) -> Result<Vec<Outcome>, StoreError> {
    // IMMEDIATE: the write lock is taken first, so nothing read in here can go stale.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = batch
        .iter()
        .map(|write| match write {
            Write::Conversation(row) => insert_conversation(&transaction, tables, row),
            Write::Message(row) => insert_message(&transaction, tables, row),
            Write::Receipt(row) => upsert_receipt(&transaction, tables, row),
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

fn insert_conversation(
    db: &Transaction<'_>,
    tables: &Tables,
    row: &Conversation,
) -> rusqlite::Result<Outcome> {
    if let Some(found) = find_pair(db, tables, &row.participant1_id, &row.participant2_id)? {
        return Ok(Outcome::Conversation(found, false));
    }
    let sql = format!(
        "INSERT INTO \"{}\" (id, participant1_id, participant2_id, created_at, updated_at, \
         is_active) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        tables.conversations
    );
    db.prepare_cached(&sql)?.execute(params![
        hex32(&row.id),
        row.participant1_id,
        row.participant2_id,
        to_sqlite(row.created_at),
        to_sqlite(row.updated_at),
        row.is_active
    ])?;
    Ok(Outcome::Conversation(row.clone(), true))
}

fn insert_message(
    db: &Transaction<'_>,
    tables: &Tables,
    row: &Message,
) -> rusqlite::Result<Outcome> {
    let sql = format!(
        "INSERT INTO \"{}\" (id, conversation_id, sender_id, content, message_type, created_at, \
         updated_at, is_deleted) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 \
         WHERE EXISTS (SELECT 1 FROM \"{}\" WHERE id = ?2)",
        tables.messages, tables.conversations
    );
    let inserted = db.prepare_cached(&sql)?.execute(params![
        hex32(&row.id),
        hex32(&row.conversation_id),
        row.sender_id,
        row.content,
        row.message_type,
        to_sqlite(row.created_at),
        to_sqlite(row.updated_at),
        row.is_deleted
    ])?;
    Ok(if inserted == 1 {
        Outcome::Stored
    } else {
        Outcome::Missing
    })
}

/// Django's `update_or_create(message, user_id, defaults={"status": "read"})`: the row that is
/// there keeps its id, its user's spelling and its time.
fn upsert_receipt(
    db: &Transaction<'_>,
    tables: &Tables,
    row: &Receipt,
) -> rusqlite::Result<Outcome> {
    let sql = format!(
        "INSERT INTO \"{}\" (id, message_id, user_id, status, timestamp) \
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM \"{}\" WHERE id = ?2) \
         ON CONFLICT (message_id, user_id) DO UPDATE SET status = excluded.status \
         RETURNING id, message_id, user_id, status, timestamp",
        tables.delivery_receipts, tables.messages
    );
    let receipt = db
        .prepare_cached(&sql)?
        .query_row(
            params![
                hex32(&row.id),
                hex32(&row.message_id),
                row.user_id,
                row.status,
                to_sqlite(row.timestamp)
            ],
            receipt_row,
        )
        .optional()?;
    Ok(receipt.map_or(Outcome::Missing, Outcome::Receipt))
}
