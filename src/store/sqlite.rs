//! A chat in an SQLite file, in tables as Django's `sqlite3` backend makes them: UUIDs are 32 hex
//! digits, times are UTC text, booleans are 0 and 1.
//!
//! Django may work on the same file at the same time. The file is put into WAL mode, so readers
//! never wait; writers take turns, ours through the one committer.

mod attachments;
mod changes;
mod groups;
mod id;
pub mod look;
pub mod migrate;
mod outbox;
mod overview;
mod people;
mod pool;
mod query;
mod row;
pub mod sole;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use uuid::Uuid;

use self::{
    outbox::SqliteOutbox,
    pool::Readers,
    write::{SqliteStatements, SqliteWriter},
};
use super::{
    Attachments, Changes, Comparison, Conversations, Logins, Lookup, Marks, Members, Messages,
    OpenDatabase, Receipts, SessionRow, StoreError, Subject, TokenRow, UserRow,
    commit::{Committer, NewIds},
    groups::schema as groups_schema,
    history::{ConversationPage, Deleted, Direction, Page, PageCursor},
    keeps_events,
    outbox::Outbox,
    schema::{
        self, OwnTable, Schema,
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
    quote: '"',
    text: "TEXT",
    number: None,
    list: "json_group_array",
    hidden: Some("rowid"),
};

/// A chat in one SQLite file.
pub struct SqliteStore {
    /// True if there is a table for changes of messages.
    keeps_changes: bool,
    /// True if there is a table for uploads.
    keeps_attachments: bool,
    layout: Arc<Layout>,
    ids: Comparison,
    readers: Readers,
    committer: Committer,
    outbox: Option<Arc<Outbox>>,
}

impl SqliteStore {
    /// Opens the file of `store.url`, and makes it with its tables if it is not there, or empty.
    /// Returns the store of its groups too, if it has tables for them.
    ///
    /// # Errors
    /// When the file cannot be opened or its tables are not those of the chat.
    pub async fn open(
        settings: &Settings,
        schema: &Schema,
        ids: Comparison,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Option<Self>), StoreError> {
        let path = path_of(settings)?;
        if migrate::is_new(&path).await? {
            migrate::run(&path, schema).await?;
        }
        schema::require(&migrate::check(&path, schema).await?)?;
        let layout = Arc::new(Layout::new(schema, SPELLING));
        let readers = Readers::new(path.clone(), settings.pool_size, Arc::clone(&metrics));
        let keeps_changes = has_table(&readers, schema.changes).await?;
        let keeps_groups = keeps_changes && has_table(&readers, schema.groups).await?;
        let keeps_attachments = has_table(&readers, schema.attachments).await?;
        let has_outbox = has_table(&readers, schema.outbox).await?;
        let keeps_events = keeps_events(schema, has_outbox)?;
        let outbox = keeps_events.then(|| Arc::new(Outbox::new(SqliteOutbox(path.clone()))));
        let writer = |layout| {
            let statements = SqliteStatements::new(layout, ids, keeps_events);
            SqliteWriter::new(path.clone(), statements, Arc::clone(&metrics))
        };
        let own = writer(Arc::clone(&layout));
        let new_ids = NewIds::of(schema, settings.ids);
        let store = SqliteStore {
            keeps_changes,
            keeps_attachments,
            committer: Committer::start(own, new_ids.clone(), Arc::clone(&metrics)),
            outbox,
            layout,
            ids,
            readers,
        };
        let groups = keeps_groups.then(|| {
            let layout = Arc::new(Layout::new(&groups_schema(schema.changes), SPELLING));
            let own = writer(Arc::clone(&layout));
            let clock = Arc::clone(store.committer.clock());
            SqliteStore {
                keeps_changes,
                keeps_attachments,
                committer: Committer::start_by(clock, own, new_ids, Arc::clone(&metrics)),
                outbox: None,
                layout,
                ids,
                readers: store.readers.clone(),
            }
        });
        Ok((store, groups))
    }
}

async fn has_table(readers: &Readers, own: Option<OwnTable>) -> Result<bool, StoreError> {
    match own {
        Some(own) => {
            readers
                .read(move |db| migrate::has_table(db, own.name))
                .await
        }
        None => Ok(false),
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
        self.layout.require_pairs()?;
        let (layout, ids) = (Arc::clone(&self.layout), self.ids);
        let (one, two) = (participant1_id.to_owned(), participant2_id.to_owned());
        self.readers
            .read(move |db| query::conversation_of_pair(db, &layout, [&one, &two], ids))
            .await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::conversation(db, &layout, id))
            .await
    }

    async fn conversation_is_active(&self, id: ConversationId) -> Result<Option<bool>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::conversation_is_active(db, &layout, id))
            .await
    }

    async fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        most: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::conversation_ids(db, &layout, after, most))
            .await
    }

    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::conversations_of(db, &layout, &user_id, after))
            .await
    }
}

#[async_trait]
impl Messages for SqliteStore {
    async fn messages_of(&self, conversations: &[ConversationId]) -> Result<Page, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| query::messages_of(db, &layout, &conversations))
            .await
    }

    async fn newest_messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::newest(db, &layout, conversation_id, deleted, limit))
            .await
    }

    async fn newest_of(
        &self,
        conversations: &[ConversationId],
        limit: usize,
    ) -> Result<Vec<Page>, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| query::newest_of(db, &layout, &conversations, limit))
            .await
    }

    async fn messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        after: Option<PageCursor>,
        until: Option<PageCursor>,
    ) -> Result<Page, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::messages(db, &layout, conversation_id, deleted, (after, until)))
            .await
    }

    async fn beside(
        &self,
        conversation_id: ConversationId,
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::beside(db, &layout, conversation_id, place, direction, limit))
            .await
    }

    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Page, StoreError> {
        let (layout, ids) = (Arc::clone(&self.layout), ids.to_vec());
        self.readers
            .read(move |db| changes::messages_by_id(db, &layout, &ids))
            .await
    }

    async fn senders(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, String)>, StoreError> {
        let (layout, ids) = (Arc::clone(&self.layout), ids.to_vec());
        self.readers
            .read(move |db| changes::senders(db, &layout, conversation_id, &ids))
            .await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::message(db, &layout, id))
            .await
    }

    async fn place(
        &self,
        conversation_id: ConversationId,
        newer: usize,
    ) -> Result<Option<PageCursor>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::place(db, &layout, conversation_id, newer))
            .await
    }

    async fn spoken_in(
        &self,
        conversations: &[ConversationId],
        since: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| query::spoken_in(db, &layout, &conversations, since))
            .await
    }

    async fn stored_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| query::stored_between(db, &layout, &conversations, between, most))
            .await
    }

    async fn message_exists(&self, id: MessageId) -> Result<bool, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::message_exists(db, &layout, id))
            .await
    }
}

#[async_trait]
impl Changes for SqliteStore {
    fn keeps_changes(&self) -> bool {
        self.keeps_changes
    }

    async fn changed_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let conversations = conversations.to_vec();
        self.readers
            .read(move |db| changes::changed_between(db, &conversations, between, most))
            .await
    }
}

#[async_trait]
impl Attachments for SqliteStore {
    fn keeps_attachments(&self) -> bool {
        self.keeps_attachments
    }

    async fn attachments(&self, ids: &[AttachmentId]) -> Result<Vec<PlacedAttachment>, StoreError> {
        let (layout, ids) = (Arc::clone(&self.layout), ids.to_vec());
        self.readers
            .read(move |db| attachments::find(db, &layout, &ids))
            .await
    }

    async fn attachments_after(
        &self,
        after: AttachmentId,
        most: usize,
    ) -> Result<Vec<PlacedAttachment>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| attachments::after(db, &layout, after, most))
            .await
    }
}

#[async_trait]
impl Receipts for SqliteStore {
    async fn receipts_of(
        &self,
        messages: &[MessageId],
        most: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let (layout, messages) = (Arc::clone(&self.layout), messages.to_vec());
        self.readers
            .read(move |db| query::receipts_of(db, &layout, &messages, most))
            .await
    }

    async fn unread(
        &self,
        conversations: &[ConversationId],
        user_id: &str,
        among: usize,
    ) -> Result<Vec<usize>, StoreError> {
        let (layout, ids) = (Arc::clone(&self.layout), self.ids);
        let (conversations, user_id) = (conversations.to_vec(), user_id.to_owned());
        self.readers
            .read(move |db| query::unread(db, &layout, &conversations, &user_id, among, ids))
            .await
    }

    async fn marked_between(
        &self,
        newest: &[(ConversationId, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError> {
        let (layout, newest) = (Arc::clone(&self.layout), newest.to_vec());
        self.readers
            .read(move |db| query::marked_between(db, &layout, &newest, between, most))
            .await
    }

    async fn marked_by_id(
        &self,
        conversations: &[ConversationId],
        between: (ReceiptId, ReceiptId),
        most: usize,
    ) -> Result<Marks, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| query::marked_by_id(db, &layout, &conversations, between, most))
            .await
    }
}

#[async_trait]
impl Members for SqliteStore {
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::finds_others(db, &layout, &lookup))
            .await
    }

    async fn participants(&self, of: Subject) -> Result<Option<Participants>, StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| people::participants(db, &layout, of))
            .await
    }

    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Participants)>, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| people::active_participants(db, &layout, &conversations))
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

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.outbox.as_ref()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let layout = Arc::clone(&self.layout);
        self.readers
            .read(move |db| query::conversation_is_active(db, &layout, Uuid::nil().into()))
            .await?;
        Ok(())
    }

    async fn close(&self) {
        self.committer.close().await;
    }
}
