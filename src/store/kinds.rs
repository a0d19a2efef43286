//! One store over conversations of two and groups, which are in tables of their own
//! ([`groups`](super::groups)). The id of a conversation says which kind it is of
//! ([`ConversationId::is_group`]).
//!
//! Reads of several conversations ask for those of each kind, at once if there are both, and put the
//! answers together. What only Django's clients ask for (their list, logins) and what names a message
//! without its conversation is about conversations of two.

mod lists;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::try_join;

use self::lists::{in_order, split, unless_empty};
use super::{
    Attachments, Changes, Conversations, Groups, Logins, Lookup, Members, Messages, OpenDatabase,
    SessionRow, Store, StoreError, Subject, TokenRow, UserRow,
    commit::{Announce, AnnounceChange, AnnounceGroup, Committer},
    history::{ConversationPage, Deleted, Direction, Page, PageCursor},
    outbox::Outbox,
};
use crate::{
    chat::{
        Change, Conversation, Group, GroupRefusal, Message, NewGroup, NewGroupChange, NewMessage,
        Participants, PlacedAttachment,
    },
    config::{DjangoSession, TableName},
    id::{AttachmentId, ConversationId, MessageId},
    python::datetime::Timestamp,
};

/// The store of each kind of conversations.
pub struct Kinds {
    pub pairs: Arc<dyn Store>,
    pub groups: Arc<dyn Store>,
}

impl Kinds {
    /// Returns the store of a conversation.
    fn of(&self, id: ConversationId) -> &dyn Store {
        if id.is_group() {
            &*self.groups
        } else {
            &*self.pairs
        }
    }
}

impl dyn Store {
    /// Returns the store of a conversation, for what names only messages of it.
    #[must_use]
    pub fn of(&self, id: ConversationId) -> &dyn Store {
        self.kinds().map_or(self, |kinds| kinds.of(id))
    }
}

#[async_trait]
impl OpenDatabase for Kinds {
    fn committer(&self) -> &Committer {
        self.pairs.committer()
    }

    fn kinds(&self) -> Option<&Kinds> {
        Some(self)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pairs.ping().await
    }

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.pairs.outbox()
    }

    async fn close(&self) {
        self.groups.committer().close().await;
        self.pairs.close().await;
    }
}

#[async_trait]
impl Conversations for Kinds {
    async fn get_or_create_conversation(
        &self,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), StoreError> {
        let opened = self
            .pairs
            .get_or_create_conversation(participant1_id, participant2_id);
        opened.await
    }

    async fn conversation_of_pair(
        &self,
        participant1_id: &str,
        participant2_id: &str,
    ) -> Result<Option<Conversation>, StoreError> {
        let found = self
            .pairs
            .conversation_of_pair(participant1_id, participant2_id);
        found.await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.of(id).conversation(id).await
    }

    async fn conversation_is_active(&self, id: ConversationId) -> Result<Option<bool>, StoreError> {
        self.of(id).conversation_is_active(id).await
    }

    // For what other programs store, which know of no groups.
    async fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        most: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.pairs.conversation_ids(after, most).await
    }

    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError> {
        self.pairs.conversations_of(user_id, after).await
    }
}

#[async_trait]
impl Messages for Kinds {
    async fn messages_of(&self, conversations: &[ConversationId]) -> Result<Page, StoreError> {
        self.pairs.messages_of(conversations).await
    }

    async fn newest_messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let store = self.of(conversation_id);
        store.newest_messages(conversation_id, deleted, limit).await
    }

    async fn newest_of(
        &self,
        conversations: &[ConversationId],
        limit: usize,
    ) -> Result<Vec<Page>, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let both = try_join!(
            unless_empty(&pairs, self.pairs.newest_of(&pairs, limit)),
            unless_empty(&groups, self.groups.newest_of(&groups, limit))
        )?;
        Ok(in_order(conversations, both))
    }

    async fn messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        after: Option<PageCursor>,
        until: Option<PageCursor>,
    ) -> Result<Page, StoreError> {
        let store = self.of(conversation_id);
        let page = store.messages(conversation_id, deleted, after, until);
        page.await
    }

    async fn beside(
        &self,
        conversation_id: ConversationId,
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let store = self.of(conversation_id);
        let page = store.beside(conversation_id, place, direction, limit);
        page.await
    }

    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Page, StoreError> {
        self.pairs.messages_by_id(ids).await
    }

    async fn senders(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, String)>, StoreError> {
        self.of(conversation_id).senders(conversation_id, ids).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.pairs.message(id).await
    }

    async fn place(
        &self,
        conversation_id: ConversationId,
        newer: usize,
    ) -> Result<Option<PageCursor>, StoreError> {
        self.of(conversation_id).place(conversation_id, newer).await
    }

    async fn spoken_in(
        &self,
        conversations: &[ConversationId],
        since: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let (mut all, groups) = try_join!(
            unless_empty(&pairs, self.pairs.spoken_in(&pairs, since)),
            unless_empty(&groups, self.groups.spoken_in(&groups, since))
        )?;
        all.extend(groups);
        Ok(all)
    }

    async fn stored_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let (mut all, groups) = try_join!(
            unless_empty(&pairs, self.pairs.stored_between(&pairs, between, most)),
            unless_empty(&groups, self.groups.stored_between(&groups, between, most))
        )?;
        all.extend(groups);
        all.sort_by_key(|(_, id, at)| (*at, *id));
        all.truncate(most);
        Ok(all)
    }

    async fn message_exists(&self, id: MessageId) -> Result<bool, StoreError> {
        self.pairs.message_exists(id).await
    }

    async fn insert_message(
        &self,
        new: NewMessage,
        announce: Announce,
    ) -> Result<Option<Arc<Message>>, StoreError> {
        let store = self.of(new.conversation_id);
        store.insert_message(new, announce).await
    }
}

#[async_trait]
impl Changes for Kinds {
    fn keeps_changes(&self) -> bool {
        true
    }

    // One table has those of both kinds.
    async fn changed_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let changes = self.pairs.changed_between(conversations, between, most);
        changes.await
    }

    async fn change_message(
        &self,
        message: (ConversationId, MessageId),
        content: Option<String>,
        announce: AnnounceChange,
    ) -> Result<Option<Message>, StoreError> {
        let store = self.of(message.0);
        store.change_message(message, content, announce).await
    }

    async fn forget_changes(&self, before: Timestamp) -> Result<(), StoreError> {
        self.pairs.forget_changes(before).await
    }
}

// One table has those of both kinds. A message is stored with its own by the store of its kind.
#[async_trait]
impl Attachments for Kinds {
    fn keeps_attachments(&self) -> bool {
        self.pairs.keeps_attachments()
    }

    async fn attachments(&self, ids: &[AttachmentId]) -> Result<Vec<PlacedAttachment>, StoreError> {
        let found = self.pairs.attachments(ids).await?;
        self.place_in_groups(found).await
    }

    async fn attachments_after(
        &self,
        after: AttachmentId,
        most: usize,
    ) -> Result<Vec<PlacedAttachment>, StoreError> {
        let found = self.pairs.attachments_after(after, most).await?;
        self.place_in_groups(found).await
    }
}

impl Kinds {
    /// Gives attachments whose messages are not among those of two their conversations.
    async fn place_in_groups(
        &self,
        mut found: Vec<PlacedAttachment>,
    ) -> Result<Vec<PlacedAttachment>, StoreError> {
        let lost = found.iter().filter(|it| it.is_lost());
        let lost: Vec<AttachmentId> = lost.map(|it| it.attachment.id).collect();
        let in_groups = unless_empty(&lost, self.groups.attachments(&lost)).await?;
        for placed in in_groups {
            let same = found
                .iter_mut()
                .find(|it| it.attachment.id == placed.attachment.id);
            if let Some(same) = same {
                same.conversation_id = placed.conversation_id;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Groups for Kinds {
    fn keeps_groups(&self) -> bool {
        true
    }

    async fn groups_of(&self, conversations: &[ConversationId]) -> Result<Vec<Group>, StoreError> {
        self.groups.groups_of(conversations).await
    }

    async fn create_group(
        &self,
        new: NewGroup,
        announce: AnnounceGroup,
    ) -> Result<Result<(Group, bool), GroupRefusal>, StoreError> {
        self.groups.create_group(new, announce).await
    }

    async fn change_group(
        &self,
        new: NewGroupChange,
        announce: AnnounceGroup,
    ) -> Result<Result<Group, GroupRefusal>, StoreError> {
        self.groups.change_group(new, announce).await
    }
}

#[async_trait]
impl Members for Kinds {
    // Groups compare bytes.
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError> {
        self.pairs.finds_others(lookup).await
    }

    async fn participants(&self, of: Subject) -> Result<Option<Participants>, StoreError> {
        match of {
            Subject::Conversation(id) => self.of(id).participants(of).await,
            Subject::Message(_) => self.pairs.participants(of).await,
        }
    }

    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Participants)>, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let (mut all, groups) = try_join!(
            unless_empty(&pairs, self.pairs.active_participants(&pairs)),
            unless_empty(&groups, self.groups.active_participants(&groups))
        )?;
        all.extend(groups);
        Ok(all)
    }
}

#[async_trait]
impl Logins for Kinds {
    async fn sessions(&self, keys: &[String]) -> Result<Vec<SessionRow>, StoreError> {
        self.pairs.sessions(keys).await
    }

    async fn tokens(
        &self,
        table: &TableName,
        keys: &[String],
    ) -> Result<Vec<TokenRow>, StoreError> {
        self.pairs.tokens(table, keys).await
    }

    async fn users(
        &self,
        columns: &DjangoSession,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError> {
        self.pairs.users(columns, ids).await
    }
}
