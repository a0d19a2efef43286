//! The outbox: the events of a batch, and a connection for the publishers.

use std::{collections::HashMap, path::PathBuf};

use async_trait::async_trait;
use rusqlite::{Connection, Transaction, params, types::ValueRef};

use super::pool::{blocking, connect};
use crate::{
    id::{ConversationId, MessageId},
    store::{
        StoreError,
        commit::{CommitOutcome, Write},
        outbox::{
            OutboxConnection, OutboxDatabase, Spelling, TextRow, events_of, quoted, read_messages,
        },
        schema::layout::Layout,
    },
};

const SPELLING: Spelling = Spelling {
    begin: "BEGIN IMMEDIATE",
    now: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    // The transaction has the only lock there is.
    locking: "",
    insert_new: ("INSERT OR IGNORE", ""),
    quote: quoted,
};

/// Stores the events of a batch, in its transaction.
pub fn note(
    db: &Transaction<'_>,
    layout: &Layout,
    batch: &[Write],
    outcomes: &[CommitOutcome],
) -> rusqlite::Result<()> {
    let conversations = conversations(db, layout, &read_messages(outcomes))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO chatferry_outbox (event_id, event_type, conversation_id, made_at, data) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (event_id) DO NOTHING",
    )?;
    for event in events_of(batch, outcomes, &conversations) {
        insert.execute(params![
            event.id.to_string(),
            event.kind.as_str(),
            event.conversation_id.to_string(),
            event.at.micros(),
            event.data
        ])?;
    }
    Ok(())
}

fn conversations(
    db: &Transaction<'_>,
    layout: &Layout,
    of: &[MessageId],
) -> rusqlite::Result<HashMap<MessageId, ConversationId>> {
    let sql = format!(
        "SELECT conversation_id FROM {} AS m WHERE id = ?1",
        layout.messages
    );
    let mut find = db.prepare_cached(&sql)?;
    of.iter()
        .map(|id| Ok((*id, find.query_row([id], |row| row.get(0))?)))
        .collect()
}

/// Opens connections to the outbox in this file.
pub struct SqliteOutbox(pub PathBuf);

#[async_trait]
impl OutboxDatabase for SqliteOutbox {
    async fn connect(&self) -> Result<Box<dyn OutboxConnection>, StoreError> {
        let path = self.0.clone();
        let db = blocking(move || connect(&path)).await?;
        Ok(Box::new(FileConnection(Some(db))))
    }

    fn spelling(&self) -> Spelling {
        SPELLING
    }
}

/// A connection; `None` after work on it was broken off.
struct FileConnection(Option<Connection>);

impl FileConnection {
    async fn work<T: Send + 'static>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&Connection, &str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (db, sql) = (self.0.take(), sql.to_owned());
        let db = db.ok_or_else(|| StoreError::Unavailable("the connection is gone".into()))?;
        let (db, done) = blocking(move || {
            let done = work(&db, &sql);
            Ok((db, done))
        })
        .await?;
        self.0 = Some(db);
        Ok(done?)
    }
}

#[async_trait]
impl OutboxConnection for FileConnection {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, StoreError> {
        let rows = |db: &Connection, sql: &str| {
            let mut query = db.prepare_cached(sql)?;
            let width = query.column_count();
            let row = |row: &rusqlite::Row<'_>| {
                let values = (0..width).map(|place| row.get_ref(place).map(text));
                values.collect()
            };
            query.query_map([], row)?.collect()
        };
        self.work(sql, rows).await
    }

    async fn run(&mut self, sql: &str) -> Result<u64, StoreError> {
        let changed = self.work(sql, |db, sql| db.execute(sql, [])).await?;
        Ok(changed.try_into().unwrap_or(u64::MAX))
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    }
}
