//! The chat in PostgreSQL, in the tables of Django's `postgresql` backend: ids are `uuid`, times
//! are `timestamp with time zone`, texts are compared exactly unless a collation of an operator's
//! own does not.
//!
//! Django may work on the same tables at the same time. One connection writes, through the
//! committer; the others read. PostgreSQL has no character U+0000: where Django answers 500, a text
//! that holds one is refused before it meets anybody else's row.

mod address;
mod attachments;
mod changes;
mod connection;
mod error;
mod groups;
mod id;
pub mod look;
pub mod migrate;
mod outbox;
mod overview;
pub mod own;
pub mod param;
mod people;
mod pool;
mod query;
mod row;
pub mod search;
pub mod time;
mod write;

use std::sync::Arc;

pub use self::address::Address;
use self::{
    connection::PostgresConnection,
    outbox::PostgresOutbox,
    pool::PostgresPool,
    write::{PostgresStatements, PostgresWriter},
};
use super::{
    Attachments, Changes, Comparison, Conversations, Logins, Lookup, Marks, Members, Messages,
    OpenDatabase, Receipts, SessionRow, StoreError, Subject, TokenRow, UserRow,
    commit::{
        Announce, AnnounceChange, AnnounceMark, AttachmentWrite, CommitOutcome, Committer, NewIds,
        Write,
    },
    groups::schema as groups_schema,
    history::{ConversationPage, Deleted, Direction, Page, PageCursor},
    keeps_events,
    outbox::Outbox,
    schema::{
        self, Schema,
        layout::{Layout, Spelling},
    },
};
use crate::{
    chat::{
        Attachment, Change, Conversation, Message, NewMessage, Participants, PlacedAttachment,
        Receipt, USER_ID_MAX,
        receipt::{DELIVERED, READ},
    },
    config::{DjangoSession, Store as Settings, TableName},
    id::{AttachmentId, ConversationId, MessageId, ReceiptId},
    metrics::Metrics,
    python::datetime::Timestamp,
};
use async_trait::async_trait;

const SPELLING: Spelling = Spelling {
    quote: '"',
    text: "text",
    number: Some("bigint"),
    list: "json_agg",
    hidden: None,
};

/// A chat in one PostgreSQL database.
pub struct PostgresStore {
    /// True if there is a table for changes of messages.
    keeps_changes: bool,
    /// True if there is a table for uploads.
    keeps_attachments: bool,
    layout: Arc<Layout>,
    ids: Comparison,
    readers: Arc<PostgresPool>,
    committer: Committer,
    outbox: Option<Arc<Outbox>>,
}

impl PostgresStore {
    /// Looks at the tables in the database of `store.url`. Makes none. Returns the store of its groups
    /// too, if it has tables for them.
    ///
    /// # Errors
    /// When the database cannot be reached or its tables are not those of the chat.
    pub async fn open(
        settings: &Settings,
        schema: &Schema,
        ids: Comparison,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Option<Self>), StoreError> {
        let address = address_of(settings)?;
        let mut db = PostgresConnection::open(&address).await?;
        schema::require(&migrate::findings(&mut db, schema).await?)?;
        let keeps_changes = migrate::has_own(&mut db, schema.changes).await?;
        let keeps_groups = keeps_changes && migrate::has_own(&mut db, schema.groups).await?;
        let keeps_attachments = migrate::has_own(&mut db, schema.attachments).await?;
        let has_outbox = migrate::has_own(&mut db, schema.outbox).await?;
        let keeps_events = keeps_events(schema, has_outbox)?;
        drop(db);
        let layout = Arc::new(Layout::new(schema, SPELLING));
        let size = settings.pool_size.saturating_sub(1).max(1);
        let readers = PostgresPool::new(address.clone(), size, Arc::clone(&metrics));
        let readers = Arc::new(readers);
        let outbox = || Arc::new(Outbox::new(PostgresOutbox(address.clone())));
        let outbox = keeps_events.then(outbox);
        let writer = |layout| {
            let statements = PostgresStatements::new(layout, ids, keeps_events);
            PostgresWriter::new(address.clone(), statements, Arc::clone(&readers))
        };
        let own = writer(Arc::clone(&layout));
        let new_ids = NewIds::of(schema, settings.ids);
        let store = PostgresStore {
            keeps_changes,
            keeps_attachments,
            layout,
            ids,
            readers: Arc::clone(&readers),
            committer: Committer::start(own, new_ids.clone(), Arc::clone(&metrics)),
            outbox,
        };
        let groups = keeps_groups.then(|| {
            let layout = Arc::new(Layout::new(&groups_schema(schema.changes), SPELLING));
            let own = writer(Arc::clone(&layout));
            let clock = Arc::clone(store.committer.clock());
            PostgresStore {
                keeps_changes,
                keeps_attachments,
                layout,
                ids,
                readers: Arc::clone(&readers),
                committer: Committer::start_by(clock, own, new_ids, metrics),
                outbox: None,
            }
        });
        Ok((store, groups))
    }
}

impl PostgresStore {
    async fn mark(
        &self,
        message_id: MessageId,
        user_id: &str,
        status: &str,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        storable([user_id])?;
        let user_id = cut(user_id).to_owned();
        let marked = self.committer.mark(message_id, user_id, status, announce);
        marked.await
    }
}

/// Returns the server and database of the settings.
///
/// # Errors
/// When `store.url` names another kind of database, or an option that is not known.
pub fn address_of(settings: &Settings) -> Result<Address, StoreError> {
    Address::parse(settings.url.expose())
}

#[async_trait]
impl Conversations for PostgresStore {
    async fn conversation_of_pair(
        &self,
        participant1_id: &str,
        participant2_id: &str,
    ) -> Result<Option<Conversation>, StoreError> {
        self.layout.require_pairs()?;
        let pair = [participant1_id, participant2_id];
        query::conversation_of_pair(&self.readers, &self.layout, pair, self.ids).await
    }

    async fn get_or_create_conversation(
        &self,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), StoreError> {
        storable([&participant1_id, &participant2_id])?;
        let (one, two) = (cut(&participant1_id), cut(&participant2_id));
        if let Some(conversation) = self.conversation_of_pair(one, two).await? {
            return Ok((conversation, false));
        }
        let (made, new) = self
            .committer
            .create_conversation(one.to_owned(), two.to_owned())
            .await?;
        if new {
            // Django answers with what it was given, not with what the table made of it.
            let participants = Participants::Pair([participant1_id, participant2_id]);
            let answer = Conversation {
                participants,
                ..made
            };
            return Ok((answer, true));
        }
        Ok((made, false))
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        query::conversation(&self.readers, &self.layout, id).await
    }

    async fn conversation_is_active(&self, id: ConversationId) -> Result<Option<bool>, StoreError> {
        query::conversation_is_active(&self.readers, &self.layout, id).await
    }

    async fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        most: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        query::conversation_ids(&self.readers, &self.layout, after, most).await
    }

    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError> {
        storable([&user_id])?;
        query::conversations_of(&self.readers, &self.layout, &user_id, after.as_ref()).await
    }
}

#[async_trait]
impl Messages for PostgresStore {
    async fn messages_of(&self, conversations: &[ConversationId]) -> Result<Page, StoreError> {
        query::messages_of(&self.readers, &self.layout, conversations).await
    }

    async fn newest_messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (readers, layout) = (&self.readers, &self.layout);
        query::newest_messages(readers, layout, conversation_id, deleted, limit).await
    }

    async fn newest_of(
        &self,
        conversations: &[ConversationId],
        limit: usize,
    ) -> Result<Vec<Page>, StoreError> {
        query::newest_of(&self.readers, &self.layout, conversations, limit).await
    }

    async fn messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        after: Option<PageCursor>,
        until: Option<PageCursor>,
    ) -> Result<Page, StoreError> {
        let (readers, layout) = (&self.readers, &self.layout);
        let between = (after.as_ref(), until.as_ref());
        query::messages(readers, layout, conversation_id, deleted, between).await
    }

    async fn beside(
        &self,
        conversation_id: ConversationId,
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (readers, layout) = (&self.readers, &self.layout);
        query::beside(readers, layout, conversation_id, place, direction, limit).await
    }

    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Page, StoreError> {
        changes::messages_by_id(&self.readers, &self.layout, ids).await
    }

    async fn senders(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, String)>, StoreError> {
        changes::senders(&self.readers, &self.layout, conversation_id, ids).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        query::message(&self.readers, &self.layout, id).await
    }

    async fn place(
        &self,
        conversation_id: ConversationId,
        newer: usize,
    ) -> Result<Option<PageCursor>, StoreError> {
        query::place(&self.readers, &self.layout, conversation_id, newer).await
    }

    async fn spoken_in(
        &self,
        conversations: &[ConversationId],
        since: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError> {
        query::spoken_in(&self.readers, &self.layout, conversations, since).await
    }

    async fn stored_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
        query::stored_between(&self.readers, &self.layout, conversations, between, most).await
    }

    async fn message_exists(&self, id: MessageId) -> Result<bool, StoreError> {
        query::message_exists(&self.readers, &self.layout, id).await
    }

    async fn insert_message(
        &self,
        new: NewMessage,
        announce: Announce,
    ) -> Result<Option<Arc<Message>>, StoreError> {
        storable([&new.sender_id, &new.content, &new.message_type])?;
        self.committer.insert(new, announce).await
    }
}

#[async_trait]
impl Changes for PostgresStore {
    fn keeps_changes(&self) -> bool {
        self.keeps_changes
    }

    async fn changed_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<Change>, StoreError> {
        changes::changed_between(&self.readers, conversations, between, most).await
    }

    async fn change_message(
        &self,
        message: (ConversationId, MessageId),
        content: Option<String>,
        announce: AnnounceChange,
    ) -> Result<Option<Message>, StoreError> {
        storable([content.as_deref().unwrap_or_default()])?;
        self.committer.change(message, content, announce).await
    }
}

#[async_trait]
impl Attachments for PostgresStore {
    fn keeps_attachments(&self) -> bool {
        self.keeps_attachments
    }

    async fn attachments(&self, ids: &[AttachmentId]) -> Result<Vec<PlacedAttachment>, StoreError> {
        attachments::find(&self.readers, &self.layout, ids).await
    }

    async fn attachments_after(
        &self,
        after: AttachmentId,
        most: usize,
    ) -> Result<Vec<PlacedAttachment>, StoreError> {
        attachments::after(&self.readers, &self.layout, after, most).await
    }

    async fn add_attachment(&self, new: Attachment, quota: u64) -> Result<bool, StoreError> {
        storable([&new.uploader_id, &new.name])?;
        let add = AttachmentWrite::Add(Box::new(new), quota);
        let outcome = self.committer.commit(Write::Attachments(add)).await?;
        Ok(outcome != CommitOutcome::Full)
    }
}

#[async_trait]
impl Receipts for PostgresStore {
    async fn receipts_of(
        &self,
        messages: &[MessageId],
        most: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        query::receipts_of(&self.readers, &self.layout, messages, most).await
    }

    async fn unread(
        &self,
        conversations: &[ConversationId],
        user_id: &str,
        among: usize,
    ) -> Result<Vec<usize>, StoreError> {
        storable([user_id])?;
        let (readers, layout) = (&self.readers, &self.layout);
        query::unread(readers, layout, conversations, user_id, among, self.ids).await
    }

    async fn marked_between(
        &self,
        newest: &[(ConversationId, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError> {
        query::marked_between(&self.readers, &self.layout, newest, between, most).await
    }

    async fn marked_by_id(
        &self,
        conversations: &[ConversationId],
        between: (ReceiptId, ReceiptId),
        most: usize,
    ) -> Result<Marks, StoreError> {
        query::marked_by_id(&self.readers, &self.layout, conversations, between, most).await
    }

    async fn mark_read(
        &self,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        self.mark(message_id, &user_id, READ, announce).await
    }

    async fn mark_delivered(
        &self,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        self.mark(message_id, &user_id, DELIVERED, announce).await
    }
}

#[async_trait]
impl Members for PostgresStore {
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError> {
        query::finds_others(&self.readers, &self.layout, &lookup).await
    }

    async fn participants(&self, of: Subject) -> Result<Option<Participants>, StoreError> {
        people::participants(&self.readers, &self.layout, of).await
    }

    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Participants)>, StoreError> {
        people::active_participants(&self.readers, &self.layout, conversations).await
    }
}

#[async_trait]
impl Logins for PostgresStore {
    async fn sessions(&self, keys: &[String]) -> Result<Vec<SessionRow>, StoreError> {
        let keys = keys.iter().filter(|key| storable([key]).is_ok());
        people::sessions(&self.readers, &keys.collect::<Vec<_>>()).await
    }

    async fn tokens(
        &self,
        table: &TableName,
        keys: &[String],
    ) -> Result<Vec<TokenRow>, StoreError> {
        let keys = keys.iter().filter(|key| storable([key]).is_ok());
        people::tokens(&self.readers, table, &keys.collect::<Vec<_>>()).await
    }

    async fn users(
        &self,
        columns: &DjangoSession,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError> {
        let ids: Vec<&String> = ids.iter().filter(|id| storable([id]).is_ok()).collect();
        match people::users(&self.readers, columns, &ids).await {
            // One of them is no key of this type: no user has it.
            Err(StoreError::Refused(_)) => {}
            users => return users,
        }
        let mut users = Vec::new();
        for id in ids {
            match people::users(&self.readers, columns, &[id]).await {
                Err(StoreError::Refused(_)) => {}
                user => users.extend(user?),
            }
        }
        Ok(users)
    }
}

#[async_trait]
impl OpenDatabase for PostgresStore {
    fn committer(&self) -> &Committer {
        &self.committer
    }

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.outbox.as_ref()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        query::ping(&self.readers, &self.layout).await
    }

    async fn close(&self) {
        self.committer.close().await;
        self.readers.close();
    }
}

/// Refuses what PostgreSQL cannot store, before it is put into a batch with others' rows.
fn storable<const N: usize>(texts: [&str; N]) -> Result<(), StoreError> {
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(StoreError::Refused(
            "PostgreSQL text cannot hold the character U+0000".into(),
        ));
    }
    Ok(())
}

/// Returns a user id as the table holds it: PostgreSQL drops spaces that are too many for the
/// column. Other characters that are too many do not get here.
fn cut(user_id: &str) -> &str {
    match user_id.char_indices().nth(USER_ID_MAX) {
        Some((end, _)) => &user_id[..end],
        None => user_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_cut_to_code_points_and_not_bytes() {
        assert_eq!(cut(&"가".repeat(255)), "가".repeat(255));
        assert_eq!(cut(&format!("{}  ", "가".repeat(255))), "가".repeat(255));
    }

    #[test]
    fn a_nul_is_refused_and_its_text_is_not_repeated() {
        let error = storable(["secret\0"]).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)));
        assert!(!error.to_string().contains("secret"));
    }
}
