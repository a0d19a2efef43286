//! The chat in an SQLite file, in the tables of Django's `sqlite3` backend: ids are 32 hex digits,
//! times are UTC text, booleans are 0 and 1.
//!
//! Django may work on the same file at the same time. The file is put into WAL mode, so readers
//! never wait; writers take turns, ours through the one committer.

mod id;
pub mod look;
pub mod migrate;
mod people;
mod pool;
mod query;
pub mod sole;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use uuid::Uuid;

use self::{pool::Readers, write::Writer};
use super::{
    Comparison, Conversations, Logins, Lookup, Marks, Members, Messages, OpenDatabase, Receipts,
    SessionRow, Standing, StoreError, Subject, TokenRow, UserRow,
    commit::Committer,
    history::{ConversationPage, Deleted, Page, PageCursor},
    schema,
};
use crate::{
    chat::Conversation,
    config::{DjangoSession, Store as Settings, TableName, Tables},
    id::{ConversationId, MessageId, ReceiptId},
    metrics::Metrics,
    python::datetime::Timestamp,
};

/// A chat in one SQLite file.
pub struct SqliteStore {
    tables: Arc<Tables>,
    ids: Comparison,
    readers: Readers,
    committer: Committer,
}

impl SqliteStore {
    /// Opens the file of `store.url`, and makes it with its tables if it is not there, or empty.
    ///
    /// # Errors
    /// When the file cannot be opened or its tables are not those of the chat.
    pub async fn open(
        settings: &Settings,
        ids: Comparison,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let path = path_of(settings)?;
        if migrate::is_new(&path).await? {
            migrate::run(&path, &settings.tables).await?;
        }
        let tables = Arc::new(settings.tables.clone());
        schema::require(&migrate::check(&path, &tables).await?)?;
        let readers = Readers::new(path.clone(), settings.pool_size, Arc::clone(&metrics));
        let writer = Writer::new(path, Arc::clone(&tables), ids, Arc::clone(&metrics));
        Ok(SqliteStore {
            tables,
            ids,
            readers,
            committer: Committer::start(writer, settings.ids, metrics),
        })
    }
}

/// Returns the file of the settings.
///
/// # Errors
/// When `store.url` names another kind of database.
pub fn path_of(settings: &Settings) -> Result<PathBuf, StoreError> {
    let file = settings.url.sqlite_file();
    file.map(Path::to_owned)
        .ok_or_else(|| StoreError::Schema("store.url is not sqlite://FILE".into()))
}

#[async_trait]
impl Conversations for SqliteStore {
    async fn conversation_of_pair(
        &self,
        participant1_id: &str,
        participant2_id: &str,
    ) -> Result<Option<Conversation>, StoreError> {
        let (tables, ids) = (Arc::clone(&self.tables), self.ids);
        let (one, two) = (participant1_id.to_owned(), participant2_id.to_owned());
        self.readers
            .read(move |db| query::conversation_of_pair(db, &tables, [&one, &two], ids))
            .await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::conversation(db, &tables, id))
            .await
    }

    async fn conversation_is_active(&self, id: ConversationId) -> Result<Option<bool>, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::conversation_is_active(db, &tables, id))
            .await
    }

    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::conversations_of(db, &tables, &user_id, after))
            .await
    }
}

#[async_trait]
impl Messages for SqliteStore {
    async fn messages_of(&self, conversations: &[ConversationId]) -> Result<Page, StoreError> {
        let (tables, conversations) = (Arc::clone(&self.tables), conversations.to_vec());
        self.readers
            .read(move |db| query::messages_of(db, &tables, &conversations))
            .await
    }

    async fn newest_messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::newest(db, &tables, conversation_id, deleted, limit))
            .await
    }

    async fn messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        after: Option<PageCursor>,
        until: Option<PageCursor>,
    ) -> Result<Page, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::messages(db, &tables, conversation_id, deleted, (after, until)))
            .await
    }

    async fn place(
        &self,
        conversation_id: ConversationId,
        newer: usize,
    ) -> Result<Option<PageCursor>, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::place(db, &tables, conversation_id, newer))
            .await
    }

    async fn spoken_in(
        &self,
        conversations: &[ConversationId],
        since: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let (tables, conversations) = (Arc::clone(&self.tables), conversations.to_vec());
        self.readers
            .read(move |db| query::spoken_in(db, &tables, &conversations, since))
            .await
    }

    async fn stored_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
        let (tables, conversations) = (Arc::clone(&self.tables), conversations.to_vec());
        self.readers
            .read(move |db| query::stored_between(db, &tables, &conversations, between, most))
            .await
    }

    async fn message_exists(&self, id: MessageId) -> Result<bool, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::message_exists(db, &tables, id))
            .await
    }
}

#[async_trait]
impl Receipts for SqliteStore {
    async fn marked_between(
        &self,
        newest: &[(ConversationId, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError> {
        let (tables, newest) = (Arc::clone(&self.tables), newest.to_vec());
        self.readers
            .read(move |db| query::marked_between(db, &tables, &newest, between, most))
            .await
    }

    async fn marked_by_id(
        &self,
        conversations: &[ConversationId],
        between: (ReceiptId, ReceiptId),
        most: usize,
    ) -> Result<Marks, StoreError> {
        let (tables, conversations) = (Arc::clone(&self.tables), conversations.to_vec());
        self.readers
            .read(move |db| query::marked_by_id(db, &tables, &conversations, between, most))
            .await
    }
}

#[async_trait]
impl Members for SqliteStore {
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::finds_others(db, &tables, &lookup))
            .await
    }

    async fn standing(&self, of: Subject) -> Result<Option<Standing>, StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| people::standing(db, &tables, of))
            .await
    }

    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, [String; 2])>, StoreError> {
        let (tables, conversations) = (Arc::clone(&self.tables), conversations.to_vec());
        self.readers
            .read(move |db| people::active_participants(db, &tables, &conversations))
            .await
    }
}

#[async_trait]
impl Logins for SqliteStore {
    async fn sessions(&self, keys: &[String]) -> Result<Vec<SessionRow>, StoreError> {
        let keys = keys.to_vec();
        self.readers
            .read(move |db| people::sessions(db, &keys))
            .await
    }

    async fn tokens(
        &self,
        table: &TableName,
        keys: &[String],
    ) -> Result<Vec<TokenRow>, StoreError> {
        let (table, keys) = (table.clone(), keys.to_vec());
        self.readers
            .read(move |db| people::tokens(db, &table, &keys))
            .await
    }

    async fn users(
        &self,
        columns: &DjangoSession,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError> {
        let (columns, ids) = (columns.clone(), ids.to_vec());
        self.readers
            .read(move |db| people::users(db, &columns, &ids))
            .await
    }
}

#[async_trait]
impl OpenDatabase for SqliteStore {
    fn committer(&self) -> &Committer {
        &self.committer
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let tables = Arc::clone(&self.tables);
        self.readers
            .read(move |db| query::conversation_is_active(db, &tables, Uuid::nil().into()))
            .await?;
        Ok(())
    }

    async fn close(&self) {
        self.committer.close().await;
    }
}
