//! The outbox: the events of a batch, and a connection for the publishers.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{address::Address, connection::PostgresConnection, error::Fault};
use crate::{
    chat::NewOutboxEvent,
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
    begin: "BEGIN",
    now: "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
    locking: " FOR UPDATE",
    insert_new: ("INSERT", " ON CONFLICT DO NOTHING"),
    quote: quoted,
};

/// Stores events in their order. One that is there already is left as it is.
const INSERT: &str = "INSERT INTO chatferry_outbox \
     (event_id, event_type, conversation_id, made_at, data) \
     SELECT e.event_id, e.event_type, e.conversation_id, e.made_at, e.data \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) \
     WITH ORDINALITY AS e (event_id, event_type, conversation_id, made_at, data, n) \
     ORDER BY e.n ON CONFLICT (event_id) DO NOTHING";

/// Stores the events of a batch, in its transaction.
pub async fn note(
    db: &mut PostgresConnection,
    layout: &Layout,
    batch: &[Write],
    outcomes: &[CommitOutcome],
) -> Result<(), Fault> {
    let read = read_messages(outcomes);
    let mut conversations: HashMap<MessageId, ConversationId> = HashMap::new();
    if !read.is_empty() {
        let sql = format!(
            "SELECT m.id, m.conversation_id FROM {} AS m WHERE m.id = ANY($1)",
            layout.messages
        );
        for row in db.query(&sql, &[&read]).await? {
            conversations.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    insert(db, &events_of(batch, outcomes, &conversations)).await
}

async fn insert(db: &mut PostgresConnection, events: &[NewOutboxEvent]) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = events.iter().map(|it| it.id.to_string()).collect();
    let kinds: Vec<&str> = events.iter().map(|it| it.kind.as_str()).collect();
    let conversations = events.iter().map(|it| it.conversation_id.to_string());
    let conversations: Vec<String> = conversations.collect();
    let times: Vec<i64> = events.iter().map(|it| it.at.micros()).collect();
    let data: Vec<&str> = events.iter().map(|it| it.data.as_str()).collect();
    db.query(INSERT, &[&ids, &kinds, &conversations, &times, &data])
        .await?;
    Ok(())
}

/// Opens connections to the outbox.
pub struct PostgresOutbox(pub Address);

#[async_trait]
impl OutboxDatabase for PostgresOutbox {
    async fn connect(&self) -> Result<Box<dyn OutboxConnection>, StoreError> {
        let opened = PostgresConnection::open(&self.0).await;
        Ok(Box::new(opened?))
    }

    fn spelling(&self) -> Spelling {
        SPELLING
    }
}

#[async_trait]
impl OutboxConnection for PostgresConnection {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, StoreError> {
        Ok(self.texts(sql).await?.0)
    }

    async fn run(&mut self, sql: &str) -> Result<u64, StoreError> {
        Ok(self.texts(sql).await?.1)
    }
}
