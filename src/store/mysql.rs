//! The chat in a MySQL or MariaDB database, in the tables of Django's `mysql` backend.
//!
//! Django may work on the same tables at the same time. Ids are `char(32)` or MariaDB's native
//! `uuid`, times are `datetime(6)` in UTC, and which texts are equal is the collation's affair.

mod attachments;
mod changes;
mod groups;
pub mod look;
pub mod migrate;
mod options;
mod outbox;
mod overview;
mod people;
mod pool;
mod query;
mod row;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use self::{
    options::Options,
    outbox::MysqlOutbox,
    pool::MysqlPool,
    write::{MysqlStatements, MysqlWriter},
};
use super::{
    Attachments, Changes, Comparison, Conversations, Logins, Lookup, Marks, Members, Messages,
    OpenDatabase, Receipts, SessionRow, StoreError, Subject, TokenRow, UserRow,
    commit::{Committer, NewIds},
    groups::schema as groups_schema,
    history::{
        ConversationPage, Deleted, Direction, PAGE_BYTES, PAGE_MESSAGES, Page, PageCursor,
        TOGETHER_MESSAGES,
    },
    keeps_events,
    outbox::Outbox,
    placed::by_place,
    schema::{
        self, Schema,
        layout::{Layout, Spelling},
    },
};
use crate::{
    chat::{Change, Conversation, Message, Participants, PlacedAttachment, Receipt},
    config::{DjangoSession, Store as Settings, TableName},
    id::{AttachmentId, ConversationId, MessageId, ReceiptId},
    metrics::Metrics,
    python::datetime::Timestamp,
};

const SPELLING: Spelling = Spelling {
    quote: '`',
    text: "CHAR",
    number: None,
    list: "JSON_ARRAYAGG",
    hidden: None,
};

/// A chat in one MySQL or MariaDB database.
pub struct MysqlStore {
    /// True if there is a table for changes of messages.
    keeps_changes: bool,
    /// True if there is a table for uploads.
    keeps_attachments: bool,
    layout: Arc<Layout>,
    ids: Comparison,
    pool: Arc<MysqlPool>,
    committer: Committer,
    outbox: Option<Arc<Outbox>>,
}

impl MysqlStore {
    /// Connects to the database of `store.url`, whose tables must be there. Returns the store of its
    /// groups too, if it has tables for them.
    ///
    /// # Errors
    /// When the database cannot be reached or its tables are not those of the chat.
    pub async fn open(
        settings: &Settings,
        schema: &Schema,
        ids: Comparison,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Option<Self>), StoreError> {
        let options = Arc::new(Options::from_url(settings.url.expose())?);
        require_own_ids(schema)?;
        let mut conn = pool::connect(&options).await?;
        schema::require(&migrate::findings(&mut conn, schema).await?)?;
        let foreign_keys = migrate::has_foreign_keys(&mut conn, schema).await?;
        let keeps_changes = migrate::has_own(&mut conn, schema.changes).await?;
        let keeps_groups = keeps_changes && migrate::has_own(&mut conn, schema.groups).await?;
        let keeps_attachments = migrate::has_own(&mut conn, schema.attachments).await?;
        let has_outbox = migrate::has_own(&mut conn, schema.outbox).await?;
        let keeps_events = keeps_events(schema, has_outbox)?;
        let layout = Arc::new(Layout::new(schema, SPELLING));
        conn.disconnect().await?;
        let size = settings.pool_size.saturating_sub(1).max(1);
        let pool = MysqlPool::new(Arc::clone(&options), size, Arc::clone(&metrics));
        let pool = Arc::new(pool);
        let outbox = keeps_events.then(|| Arc::new(Outbox::new(MysqlOutbox(Arc::clone(&options)))));
        let writer = |layout, foreign_keys| {
            let (options, pool) = (Arc::clone(&options), Arc::clone(&pool));
            let statements = MysqlStatements::new(layout, ids, keeps_events);
            MysqlWriter::new(options, statements, foreign_keys, pool)
        };
        let own = writer(Arc::clone(&layout), foreign_keys);
        let new_ids = NewIds::of(schema, settings.ids);
        let store = MysqlStore {
            keeps_changes,
            keeps_attachments,
            layout,
            ids,
            pool: Arc::clone(&pool),
            committer: Committer::start(own, new_ids.clone(), Arc::clone(&metrics)),
            outbox,
        };
        let groups = keeps_groups.then(|| {
            let layout = Arc::new(Layout::new(&groups_schema(schema.changes), SPELLING));
            // Their tables have no foreign keys.
            let own = writer(Arc::clone(&layout), false);
            let clock = Arc::clone(store.committer.clock());
            MysqlStore {
                keeps_changes,
                keeps_attachments,
                layout,
                ids,
                pool: Arc::clone(&pool),
                committer: Committer::start_by(clock, own, new_ids, metrics),
                outbox: None,
            }
        });
        Ok((store, groups))
    }

    async fn find(&self, sql: &str) -> Result<Option<Conversation>, StoreError> {
        let found = self.pool.rows(sql).await?.into_iter().next();
        found.map(row::conversation_row).transpose()
    }

    /// Returns the messages up to what fits a page, in the order of the query or the other way
    /// round.
    async fn page(&self, sql: &str, limit: usize, reversed: bool) -> Result<Page, StoreError> {
        let (mut rows, is_cut) = self.pool.some_rows(sql, PAGE_BYTES).await?;
        let is_full = is_cut || rows.len() == limit;
        if reversed {
            rows.reverse();
        }
        Ok(row::page(rows, is_full))
    }

    async fn marks(&self, sql: &str) -> Result<Marks, StoreError> {
        let mut marks = Marks::default();
        for row in self.pool.rows(sql).await? {
            marks.add(row::mark_row(row));
        }
        Ok(marks)
    }

    async fn exists(&self, sql: &str) -> Result<bool, StoreError> {
        Ok(!self.pool.rows(sql).await?.is_empty())
    }
}

/// Refuses tables of messages or receipts whose ids the database would make: it does not tell them
/// for several rows at once.
fn require_own_ids(schema: &Schema) -> Result<(), StoreError> {
    let numbered = [&schema.messages, &schema.receipts].into_iter();
    match numbered.into_iter().find(|table| table.makes_ids()) {
        None => Ok(()),
        Some(table) => Err(StoreError::Schema(format!(
            "ids that MySQL makes are not supported in table {}",
            table.name
        ))),
    }
}

#[async_trait]
impl Conversations for MysqlStore {
    async fn conversation_of_pair(
        &self,
        participant1_id: &str,
        participant2_id: &str,
    ) -> Result<Option<Conversation>, StoreError> {
        self.layout.require_pairs()?;
        let pair = query::pair(&self.layout, [participant1_id, participant2_id], self.ids);
        self.find(&pair).await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.find(&query::conversation(&self.layout, id)).await
    }

    async fn conversation_is_active(&self, id: ConversationId) -> Result<Option<bool>, StoreError> {
        let rows = self.pool.rows(&query::is_active(&self.layout, id)).await?;
        let found = rows.into_iter().next();
        found.map(|row| row::Columns::from(row).take()).transpose()
    }

    async fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        most: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let sql = query::conversation_ids(&self.layout, after, most);
        let rows = self.pool.rows(&sql).await?.into_iter();
        rows.map(|row| row::Columns::from(row).id()).collect()
    }

    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError> {
        let sql = query::conversations_of(&self.layout, &user_id, after.as_ref());
        let rows = self.pool.rows(&sql).await?.into_iter();
        let found = rows.map(row::conversation_row);
        Ok(ConversationPage::new(found.collect::<Result<_, _>>()?))
    }
}

#[async_trait]
impl Messages for MysqlStore {
    async fn messages_of(&self, conversations: &[ConversationId]) -> Result<Page, StoreError> {
        let sql = query::messages_of(&self.layout, conversations, TOGETHER_MESSAGES);
        self.page(&sql, TOGETHER_MESSAGES, false).await
    }

    async fn newest_messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(PAGE_MESSAGES);
        let sql = query::newest_messages(&self.layout, conversation_id, deleted, limit);
        self.page(&sql, limit, true).await
    }

    async fn newest_of(
        &self,
        conversations: &[ConversationId],
        limit: usize,
    ) -> Result<Vec<Page>, StoreError> {
        let limit = limit.min(PAGE_MESSAGES);
        let sql = query::newest_of(&self.layout, conversations, limit);
        let (rows, is_cut) = self.pool.some_rows(&sql, PAGE_BYTES).await?;
        let lists = by_place(rows, row::place_of, conversations.len(), is_cut)?;
        let pages = lists.into_iter().map(|mut list| {
            list.rows.reverse();
            let is_full = list.is_full(limit);
            row::page(list.rows, is_full)
        });
        Ok(pages.collect())
    }

    async fn messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        after: Option<PageCursor>,
        until: Option<PageCursor>,
    ) -> Result<Page, StoreError> {
        let between = (after.as_ref(), until.as_ref());
        let layout = &self.layout;
        let sql = query::messages(layout, conversation_id, deleted, between, PAGE_MESSAGES);
        self.page(&sql, PAGE_MESSAGES, false).await
    }

    async fn beside(
        &self,
        conversation_id: ConversationId,
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(PAGE_MESSAGES);
        let sql = query::beside(&self.layout, conversation_id, place, direction, limit);
        self.page(&sql, limit, direction == Direction::Older).await
    }

    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Page, StoreError> {
        if ids.is_empty() {
            return Ok(Page::default());
        }
        let sql = changes::messages_by_id(&self.layout, ids, PAGE_MESSAGES);
        self.page(&sql, PAGE_MESSAGES, false).await
    }

    async fn senders(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, String)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = changes::senders(&self.layout, conversation_id, ids);
        let rows = self.pool.rows(&sql).await?.into_iter();
        let found = rows.map(|row| {
            let mut columns = row::Columns::from(row);
            Ok((columns.id()?, columns.take()?))
        });
        found.collect()
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let sql = query::messages_by_id(&self.layout, [id.into()]);
        let found = self.page(&sql, 1, false).await?.whole()?;
        Ok(found.messages.into_iter().next())
    }

    async fn place(
        &self,
        conversation_id: ConversationId,
        newer: usize,
    ) -> Result<Option<PageCursor>, StoreError> {
        let sql = query::place(&self.layout, conversation_id, newer);
        let rows = self.pool.rows(&sql).await?;
        rows.into_iter().next().map(row::place_row).transpose()
    }

    async fn spoken_in(
        &self,
        conversations: &[ConversationId],
        since: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let sql = query::spoken_in(&self.layout, conversations, since);
        let rows = self.pool.rows(&sql).await?.into_iter();
        rows.map(|row| row::Columns::from(row).id()).collect()
    }

    async fn stored_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
        let sql = query::stored_between(&self.layout, conversations, between, most);
        let rows = self.pool.rows(&sql).await?.into_iter();
        let stored = |row| {
            let mut columns = row::Columns::from(row);
            let (conversation, message) = (columns.id().ok()?, columns.id().ok()?);
            Some((conversation, message, columns.time().unwrap_or(between.0)))
        };
        Ok(rows.filter_map(stored).collect())
    }

    async fn message_exists(&self, id: MessageId) -> Result<bool, StoreError> {
        self.exists(&query::message_exists(&self.layout, id)).await
    }
}

#[async_trait]
impl Changes for MysqlStore {
    fn keeps_changes(&self) -> bool {
        self.keeps_changes
    }

    async fn changed_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<Change>, StoreError> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        let sql = changes::changed_between(conversations, between, most);
        let rows = self.pool.rows(&sql).await?.into_iter();
        rows.map(row::change_row).collect()
    }
}

#[async_trait]
impl Attachments for MysqlStore {
    fn keeps_attachments(&self) -> bool {
        self.keeps_attachments
    }

    async fn attachments(&self, ids: &[AttachmentId]) -> Result<Vec<PlacedAttachment>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .pool
            .rows(&attachments::find(&self.layout, ids))
            .await?;
        rows.into_iter().map(attachments::row).collect()
    }

    async fn attachments_after(
        &self,
        after: AttachmentId,
        most: usize,
    ) -> Result<Vec<PlacedAttachment>, StoreError> {
        let sql = attachments::after(&self.layout, after, most);
        let rows = self.pool.rows(&sql).await?;
        rows.into_iter().map(attachments::row).collect()
    }
}

#[async_trait]
impl Receipts for MysqlStore {
    async fn receipts_of(
        &self,
        messages: &[MessageId],
        most: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let sql = query::receipts_of(&self.layout, messages, most);
        let rows = self.pool.rows(&sql).await?.into_iter();
        let receipts = rows.map(|row| row::receipt_of(row::Columns::from(row)));
        receipts.collect()
    }

    async fn unread(
        &self,
        conversations: &[ConversationId],
        user_id: &str,
        among: usize,
    ) -> Result<Vec<usize>, StoreError> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        let sql = query::unread(&self.layout, conversations, user_id, among, self.ids);
        let mut unread = vec![0; conversations.len()];
        for row in self.pool.rows(&sql).await? {
            let mut columns = row::Columns::from(row);
            let place: usize = columns.take()?;
            if let Some(count) = unread.get_mut(place) {
                *count = columns.take()?;
            }
        }
        Ok(unread)
    }

    async fn marked_between(
        &self,
        newest: &[(ConversationId, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError> {
        if newest.is_empty() {
            return Ok(Marks::default());
        }
        let sql = query::marked_between(&self.layout, newest, between, most);
        self.marks(&sql).await
    }

    async fn marked_by_id(
        &self,
        conversations: &[ConversationId],
        between: (ReceiptId, ReceiptId),
        most: usize,
    ) -> Result<Marks, StoreError> {
        if conversations.is_empty() {
            return Ok(Marks::default());
        }
        let sql = query::marked_by_id(&self.layout, conversations, between, most);
        self.marks(&sql).await
    }
}

#[async_trait]
impl Members for MysqlStore {
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError> {
        self.exists(&query::others(&self.layout, &lookup)).await
    }

    async fn participants(&self, of: Subject) -> Result<Option<Participants>, StoreError> {
        let rows = self
            .pool
            .rows(&people::participants(&self.layout, of))
            .await?;
        let found = rows.into_iter().next();
        found.map(people::participants_row).transpose()
    }

    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Participants)>, StoreError> {
        let sql = people::active_participants(&self.layout, conversations);
        let rows = self.pool.rows(&sql).await?.into_iter();
        rows.map(people::active_row).collect()
    }
}

#[async_trait]
impl Logins for MysqlStore {
    async fn sessions(&self, keys: &[String]) -> Result<Vec<SessionRow>, StoreError> {
        // No session's, and no text for a narrow column.
        let keys: Vec<&String> = keys.iter().filter(|key| key.is_ascii()).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self.pool.rows(&people::sessions(&keys)).await {
            // A database without Django's session table has no sessions.
            Err(StoreError::Schema(_)) => Ok(Vec::new()),
            rows => rows?.into_iter().map(people::session_row).collect(),
        }
    }

    async fn tokens(
        &self,
        table: &TableName,
        keys: &[String],
    ) -> Result<Vec<TokenRow>, StoreError> {
        // No token's, and no text for a narrow column.
        let keys: Vec<&String> = keys.iter().filter(|key| key.is_ascii()).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.pool.rows(&people::tokens(table, &keys)).await?;
        rows.into_iter().map(people::token_row).collect()
    }

    async fn users(
        &self,
        columns: &DjangoSession,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError> {
        let rows = self.pool.rows(&people::users(columns, ids)).await?;
        rows.into_iter().map(people::user_row).collect()
    }
}

#[async_trait]
impl OpenDatabase for MysqlStore {
    fn committer(&self) -> &Committer {
        &self.committer
    }

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.outbox.as_ref()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.conversation_is_active(Uuid::nil().into()).await?;
        Ok(())
    }

    async fn close(&self) {
        self.committer.close().await;
        self.pool.close().await;
    }
}
