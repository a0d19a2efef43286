//! The outbox: the events of a batch, and a connection for the publishers.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::{
    options::Options,
    pool::connect,
    query::{ids, quoted},
};
use crate::{
    chat::NewOutboxEvent,
    id::MessageId,
    store::{
        StoreError,
        outbox::{OutboxConnection, OutboxDatabase, Spelling, TextRow},
        schema::layout::Layout,
    },
};

const SPELLING: Spelling = Spelling {
    begin: "START TRANSACTION",
    now: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
    locking: " FOR UPDATE",
    insert_new: ("INSERT IGNORE", ""),
    quote: quoted,
};

/// Selects messages with their conversations.
pub fn conversations(layout: &Layout, of: &[MessageId]) -> String {
    format!(
        "SELECT id, conversation_id FROM {} AS m WHERE id IN ({})",
        layout.messages,
        ids(of.iter().copied())
    )
}

/// Returns the statements that insert events: as few as `limit` allows, in bytes of the rows of one.
/// An event that is there already is left as it is.
pub fn insert(events: &[NewOutboxEvent], limit: usize) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut room = 0;
    for event in events {
        let values = format!(
            "('{}', '{}', '{}', {}, {})",
            event.id,
            event.kind.as_str(),
            event.conversation_id,
            event.at.micros(),
            quoted(&event.data)
        );
        match statements.last_mut() {
            Some(statement) if values.len() + 2 <= room => {
                room -= values.len() + 2;
                statement.push_str(", ");
                statement.push_str(&values);
            }
            _ => {
                room = limit.saturating_sub(values.len());
                let into = "INSERT INTO chatferry_outbox \
                            (event_id, event_type, conversation_id, made_at, data) VALUES ";
                statements.push(into.to_owned() + &values);
            }
        }
    }
    for statement in &mut statements {
        statement.push_str(" ON DUPLICATE KEY UPDATE event_id = VALUES(event_id)");
    }
    statements
}

/// Opens connections to the outbox.
pub struct MysqlOutbox(pub Arc<Options>);

#[async_trait]
impl OutboxDatabase for MysqlOutbox {
    async fn connect(&self) -> Result<Box<dyn OutboxConnection>, StoreError> {
        Ok(Box::new(connect(&self.0).await?))
    }

    fn spelling(&self) -> Spelling {
        SPELLING
    }
}

#[async_trait]
impl OutboxConnection for Conn {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, StoreError> {
        let rows: Vec<Row> = self.query(sql).await?;
        Ok(rows.into_iter().map(texts).collect())
    }

    async fn run(&mut self, sql: &str) -> Result<u64, StoreError> {
        self.query_drop(sql).await?;
        Ok(self.affected_rows())
    }
}

/// Returns the values of a row of the text protocol.
fn texts(row: Row) -> TextRow {
    let text = |value| match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    row.unwrap().into_iter().map(text).collect()
}

/// Returns the conversations of messages out of rows that have both.
pub fn by_message(
    rows: Vec<Row>,
) -> Result<HashMap<MessageId, crate::id::ConversationId>, StoreError> {
    let pairs = rows.into_iter().map(|row| {
        let mut columns = super::row::Columns::from(row);
        Ok((columns.id()?, columns.id()?))
    });
    pairs.collect()
}
