//! What the rest of the program asks of a database, by subject. Every call that writes returns
//! after the commit, never before.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Groups, Lookup, Marks, Overview, SessionRow, StoreError, Subject, TokenRow, UserRow,
    commit::{
        Announce, AnnounceChange, AnnounceMark, AttachmentWrite, CommitOutcome, Committer, Write,
    },
    history::{ConversationPage, Deleted, Direction, Page, PageCursor},
    kinds::Kinds,
    outbox::Outbox,
};
use crate::{
    chat::{
        Attachment, Change, Conversation, Message, NewMessage, Participants, PlacedAttachment,
        Receipt,
        receipt::{DELIVERED, READ},
    },
    config::{DjangoSession, TableName},
    id::{AttachmentId, ConversationId, MessageId, ReceiptId},
    python::datetime::Timestamp,
};

/// The tables of one chat.
pub trait Store:
    Conversations + Messages + Changes + Groups + Attachments + Overview + Receipts + Members + Logins
{
}

impl<T> Store for T where
    T: Conversations
        + Messages
        + Changes
        + Groups
        + Attachments
        + Overview
        + Receipts
        + Members
        + Logins
{
}

/// A database that is open.
#[async_trait]
pub trait OpenDatabase: Send + Sync {
    /// Returns the committer; every write goes through it.
    fn committer(&self) -> &Committer;

    /// Returns the stores of conversations of two and of groups, if there are both.
    fn kinds(&self) -> Option<&Kinds> {
        None
    }

    /// Fails unless the database answers now.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Returns the outbox; `None` if no events are kept.
    fn outbox(&self) -> Option<&Arc<Outbox>> {
        None
    }

    /// Commits what is pending and lets go of the database. Later calls fail.
    async fn close(&self);
}

/// The conversations.
#[async_trait]
pub trait Conversations: OpenDatabase {
    /// Returns the conversation of the two participants, in either order, and whether this call
    /// made it.
    ///
    /// # Errors
    /// [`StoreError::Alike`] if the tables have one of ids that only the database takes for these.
    async fn get_or_create_conversation(
        &self,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), StoreError> {
        let found = self.conversation_of_pair(&participant1_id, &participant2_id);
        if let Some(conversation) = found.await? {
            return Ok((conversation, false));
        }
        let (made, is_new) = self
            .committer()
            .create_conversation(participant1_id, participant2_id)
            .await?;
        if is_new {
            return Ok((made, true));
        }
        Ok((made, false))
    }

    /// Returns the conversation of the two participants, in either order.
    async fn conversation_of_pair(
        &self,
        participant1_id: &str,
        participant2_id: &str,
    ) -> Result<Option<Conversation>, StoreError>;

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// Returns whether the conversation exists, and if so whether it is active.
    async fn conversation_is_active(&self, id: ConversationId) -> Result<Option<bool>, StoreError>;

    /// Returns ids of conversations in their order, inactive ones too: those after one, `most` at
    /// most.
    async fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        most: usize,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// Returns the page of active conversations of a user that come after a place, the newest
    /// `updated_at` first.
    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError>;
}

/// Messages of conversations.
#[async_trait]
pub trait Messages: OpenDatabase {
    /// Returns all messages of some conversations, oldest first in each, as far as they may be read
    /// together: the page is full if there may be more.
    async fn messages_of(&self, conversations: &[ConversationId]) -> Result<Page, StoreError>;

    /// Returns the newest messages of a conversation, as many as fit a page and no more than
    /// `limit`. Whether there is such a conversation is not asked.
    async fn newest_messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Returns the newest messages of some conversations that are not deleted, `limit` of each at
    /// most. A page for each of the first of them, as many as fit a page together, and one at least.
    async fn newest_of(
        &self,
        conversations: &[ConversationId],
        limit: usize,
    ) -> Result<Vec<Page>, StoreError>;

    /// Returns the page of messages that come after the one place, and not after the other.
    async fn messages(
        &self,
        conversation_id: ConversationId,
        deleted: Deleted,
        after: Option<PageCursor>,
        until: Option<PageCursor>,
    ) -> Result<Page, StoreError>;

    /// Returns the messages next to a time and an id, in one direction and not deleted: the nearest
    /// `limit`, as many as fit a page, oldest first. Full if there may be more of them.
    async fn beside(
        &self,
        conversation_id: ConversationId,
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Returns messages by their ids, deleted ones too: as many as fit a page, and full if there may be
    /// more. In no order.
    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Page, StoreError>;

    /// Returns those of some messages that are in a conversation and not deleted, with their senders.
    /// In no order.
    async fn senders(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, String)>, StoreError>;

    /// Returns the message of this id.
    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Returns the place of the message that has `newer` newer ones, none of them deleted.
    async fn place(
        &self,
        conversation_id: ConversationId,
        newer: usize,
    ) -> Result<Option<PageCursor>, StoreError>;

    /// Returns the conversations, of those given, in which a message was made at `since` or later.
    async fn spoken_in(
        &self,
        conversations: &[ConversationId],
        since: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// Returns the messages that some conversations got between two times (the second excluded) and
    /// that are not deleted, the oldest first and no more than `most`: conversation, message, and
    /// when it was made. A time that cannot be read is taken for the first of the two.
    async fn stored_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError>;

    async fn message_exists(&self, id: MessageId) -> Result<bool, StoreError>;

    /// Gives the message its id and times, and stores it; `None` and nothing stored if its
    /// conversation is gone. Messages are stamped, stored and announced in one order.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if there is a message of the id that was chosen for it.
    async fn insert_message(
        &self,
        new: NewMessage,
        announce: Announce,
    ) -> Result<Option<Arc<Message>>, StoreError> {
        self.committer().insert(new, announce).await
    }
}

/// Changes of messages, which are kept in a table of our own.
#[async_trait]
pub trait Changes: OpenDatabase {
    /// Returns whether there is that table. Without it no message can be changed, and nothing else here
    /// may be called.
    fn keeps_changes(&self) -> bool;

    /// Returns the changes that were made in some conversations between two times (the second
    /// excluded), the oldest first and no more than `most`.
    async fn changed_between(
        &self,
        conversations: &[ConversationId],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<Change>, StoreError>;

    /// Gives a message new content, or deletes it, and returns it as it is then; `None` if it is not
    /// there or deleted.
    async fn change_message(
        &self,
        message: (ConversationId, MessageId),
        content: Option<String>,
        announce: AnnounceChange,
    ) -> Result<Option<Message>, StoreError> {
        self.committer().change(message, content, announce).await
    }

    /// Deletes some of the changes that were made before this time.
    async fn forget_changes(&self, before: Timestamp) -> Result<(), StoreError> {
        let forget = Write::ForgetChanges(before);
        self.committer().commit(forget).await.map(|_| ())
    }
}

/// Uploads, which are kept in a table of our own. Their bytes are kept elsewhere.
#[async_trait]
pub trait Attachments: OpenDatabase {
    /// Returns whether there is that table. Without it nothing else here may be called.
    fn keeps_attachments(&self) -> bool;

    /// Returns those of some uploads that are there. In no order.
    async fn attachments(&self, ids: &[AttachmentId]) -> Result<Vec<PlacedAttachment>, StoreError>;

    /// Returns the uploads whose ids come after one, in their order and no more than `most`.
    async fn attachments_after(
        &self,
        after: AttachmentId,
        most: usize,
    ) -> Result<Vec<PlacedAttachment>, StoreError>;

    /// Adds an upload; `false` and nothing stored if those of its user would then take more than
    /// `quota` bytes. Uploads that end at the same moment at several processes may pass it.
    async fn add_attachment(&self, new: Attachment, quota: u64) -> Result<bool, StoreError> {
        let add = AttachmentWrite::Add(Box::new(new), quota);
        let outcome = self.committer().commit(Write::Attachments(add)).await?;
        Ok(outcome != CommitOutcome::Full)
    }

    /// Takes care that uploads which have not been sent cannot be.
    async fn abandon_attachments(&self, ids: Vec<AttachmentId>) -> Result<(), StoreError> {
        let abandon = Write::Attachments(AttachmentWrite::Abandon(ids));
        self.committer().commit(abandon).await.map(|_| ())
    }

    /// Deletes the rows of uploads whose bytes are gone.
    async fn forget_attachments(&self, ids: Vec<AttachmentId>) -> Result<(), StoreError> {
        let forget = Write::Attachments(AttachmentWrite::Forget(ids));
        self.committer().commit(forget).await.map(|_| ())
    }
}

/// Receipts: who has got and read what.
#[async_trait]
pub trait Receipts: OpenDatabase {
    /// Returns the receipts with the status `read` that were made between two times (the second
    /// excluded), of the newest messages of some conversations, as many of each as stands beside
    /// it. The oldest first, and no more than `most` rows.
    async fn marked_between(
        &self,
        newest: &[(ConversationId, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError>;

    /// Returns the receipts with the status `read` whose ids are between two (the second excluded),
    /// of messages of some conversations. In the order of the ids, and no more than `most` rows.
    async fn marked_by_id(
        &self,
        conversations: &[ConversationId],
        between: (ReceiptId, ReceiptId),
        most: usize,
    ) -> Result<Marks, StoreError>;

    /// Returns the receipts of some messages, `most` at most. In no order.
    async fn receipts_of(
        &self,
        messages: &[MessageId],
        most: usize,
    ) -> Result<Vec<Receipt>, StoreError>;

    /// Returns how many messages of each conversation a user has not marked as read, of those of
    /// others among the newest `among` that are not deleted. In the order of the conversations.
    async fn unread(
        &self,
        conversations: &[ConversationId],
        user_id: &str,
        among: usize,
    ) -> Result<Vec<usize>, StoreError>;

    /// Raises the receipt of this user for this message to `read`, making it if there is none.
    /// `None` and nothing stored if there is no such message. Marks are stored and announced in one
    /// order.
    ///
    /// # Errors
    /// [`StoreError::Alike`] if there is a receipt of an id that only the database takes for this.
    async fn mark_read(
        &self,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        let committer = self.committer();
        committer.mark(message_id, user_id, READ, announce).await
    }

    /// As [`mark_read`](Self::mark_read), for a message that a client of the user has got: a receipt
    /// that says so, or that it is read, stays as it is.
    async fn mark_delivered(
        &self,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        let committer = self.committer();
        let marked = committer.mark(message_id, user_id, DELIVERED, announce);
        marked.await
    }
}

/// Members of conversations, and what the database takes for the same user.
#[async_trait]
pub trait Members: OpenDatabase {
    /// Returns whether the database, by its own comparison, finds rows of user ids of other bytes
    /// too.
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError>;

    /// Returns the participants of a conversation; `None` if it is not there.
    async fn participants(&self, of: Subject) -> Result<Option<Participants>, StoreError>;

    /// Returns the conversations, of those given, that are active, with their participants.
    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Participants)>, StoreError>;
}

/// Django's logins: sessions, tokens and users, in tables of Django's own.
#[async_trait]
pub trait Logins: OpenDatabase {
    /// Returns the rows of Django's session table for these keys, without expired ones.
    async fn sessions(&self, keys: &[String]) -> Result<Vec<SessionRow>, StoreError>;

    /// Returns the rows of REST framework's token table for these keys, as the database compares.
    async fn tokens(&self, table: &TableName, keys: &[String])
    -> Result<Vec<TokenRow>, StoreError>;

    /// Returns Django's session of one key.
    async fn session(&self, key: String) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.sessions(&[key]).await?.into_iter().next())
    }

    /// Returns Django's users of these primary keys, as sessions write them. Table and columns are
    /// those of the settings.
    async fn users(
        &self,
        columns: &DjangoSession,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError>;

    /// Returns Django's user of one primary key.
    async fn user(&self, columns: &DjangoSession, id: &str) -> Result<Option<UserRow>, StoreError> {
        let users = self.users(columns, &[id.to_owned()]).await?;
        Ok(users.into_iter().next())
    }
}
