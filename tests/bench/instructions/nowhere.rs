//! A store without a database: what is counted is the way to it, and back.

use std::sync::Arc;

use async_trait::async_trait;
use chatferry::{
    chat::{Change, Conversation, Message, Participants, PlacedAttachment, Receipt},
    config::{DjangoSession, IdVersion, TableName},
    id::{AttachmentId, ConversationId, MessageId, ReceiptId},
    metrics::Metrics,
    python::datetime::Timestamp,
    store::{
        Attachments, Changes, Conversations, Groups, Logins, Lookup, Marks, Members, Messages,
        OpenDatabase, Receipts, SessionRow, StoreError, Subject, TokenRow, UserRow,
        commit::{Attempt, Backend, CommitOutcome, Committer, NewIds, Write},
        history::{ConversationPage, Deleted, Direction, Page, PageCursor},
        overview::{ActiveConversation, Overview},
    },
};

use super::world::messages;

/// Takes every message and keeps none; every conversation is there, active, and has the same
/// history. It is not asked for anything else.
pub struct Nowhere {
    committer: Committer,
    history: Vec<Message>,
}

impl Nowhere {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Nowhere {
            committer: Committer::start(Taking, NewIds::ours(IdVersion::V7), metrics),
            history: messages(),
        }
    }
}

struct Taking;

impl Backend for Taking {
    async fn write(
        &mut self,
        batch: Arc<Vec<Write>>,
        _: Attempt,
    ) -> Result<Vec<CommitOutcome>, StoreError> {
        Ok(vec![CommitOutcome::Stored; batch.len()])
    }
}

#[async_trait]
impl Conversations for Nowhere {
    async fn conversation_is_active(&self, _: ConversationId) -> Result<Option<bool>, StoreError> {
        Ok(Some(true))
    }

    async fn conversation_ids(
        &self,
        _: Option<ConversationId>,
        _: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        Ok(Vec::new())
    }

    async fn conversation_of_pair(
        &self,
        _: &str,
        _: &str,
    ) -> Result<Option<Conversation>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn conversation(&self, _: ConversationId) -> Result<Option<Conversation>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn conversations_of(
        &self,
        _: String,
        _: Option<PageCursor>,
    ) -> Result<ConversationPage, StoreError> {
        Err(StoreError::Closed)
    }
}

impl Groups for Nowhere {}

#[async_trait]
impl Overview for Nowhere {
    async fn by_activity(
        &self,
        _: &str,
        _: Option<(Timestamp, ConversationId)>,
        _: usize,
    ) -> Result<Vec<ActiveConversation>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn across(
        &self,
        _: &[ConversationId],
        _: (Timestamp, MessageId),
        _: Direction,
        _: usize,
    ) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Messages for Nowhere {
    async fn newest_messages(
        &self,
        _: ConversationId,
        _: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let older = self.history.len().saturating_sub(limit);
        let newest = self.history[older..].to_vec();
        Ok(Page::new(newest, false, Vec::new()))
    }

    async fn newest_of(
        &self,
        conversations: &[ConversationId],
        limit: usize,
    ) -> Result<Vec<Page>, StoreError> {
        let mut pages = Vec::new();
        for id in conversations {
            pages.push(self.newest_messages(*id, Deleted::Skipped, limit).await?);
        }
        Ok(pages)
    }

    async fn messages_of(&self, _: &[ConversationId]) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    async fn messages(
        &self,
        _: ConversationId,
        _: Deleted,
        _: Option<PageCursor>,
        _: Option<PageCursor>,
    ) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    async fn beside(
        &self,
        _: ConversationId,
        _: (Timestamp, MessageId),
        _: Direction,
        _: usize,
    ) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    async fn messages_by_id(&self, _: &[MessageId]) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    async fn senders(
        &self,
        _: ConversationId,
        _: &[MessageId],
    ) -> Result<Vec<(MessageId, String)>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn message(&self, _: MessageId) -> Result<Option<Message>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn place(&self, _: ConversationId, _: usize) -> Result<Option<PageCursor>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn spoken_in(
        &self,
        _: &[ConversationId],
        _: Timestamp,
    ) -> Result<Vec<ConversationId>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn stored_between(
        &self,
        _: &[ConversationId],
        _: (Timestamp, Timestamp),
        _: usize,
    ) -> Result<Vec<(ConversationId, MessageId, Timestamp)>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn message_exists(&self, _: MessageId) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Changes for Nowhere {
    fn keeps_changes(&self) -> bool {
        false
    }

    async fn changed_between(
        &self,
        _: &[ConversationId],
        _: (Timestamp, Timestamp),
        _: usize,
    ) -> Result<Vec<Change>, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Attachments for Nowhere {
    fn keeps_attachments(&self) -> bool {
        false
    }

    async fn attachments(&self, _: &[AttachmentId]) -> Result<Vec<PlacedAttachment>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn attachments_after(
        &self,
        _: AttachmentId,
        _: usize,
    ) -> Result<Vec<PlacedAttachment>, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Receipts for Nowhere {
    async fn receipts_of(&self, _: &[MessageId], _: usize) -> Result<Vec<Receipt>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn unread(
        &self,
        _: &[ConversationId],
        _: &str,
        _: usize,
    ) -> Result<Vec<usize>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn marked_between(
        &self,
        _: &[(ConversationId, usize)],
        _: (Timestamp, Timestamp),
        _: usize,
    ) -> Result<Marks, StoreError> {
        Err(StoreError::Closed)
    }

    async fn marked_by_id(
        &self,
        _: &[ConversationId],
        _: (ReceiptId, ReceiptId),
        _: usize,
    ) -> Result<Marks, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Members for Nowhere {
    async fn finds_others(&self, _: Lookup) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }

    async fn participants(&self, _: Subject) -> Result<Option<Participants>, StoreError> {
        Ok(Some(pair()))
    }

    async fn active_participants(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Participants)>, StoreError> {
        Ok(conversations.iter().map(|id| (*id, pair())).collect())
    }
}

#[async_trait]
impl Logins for Nowhere {
    async fn sessions(&self, _: &[String]) -> Result<Vec<SessionRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn tokens(&self, _: &TableName, _: &[String]) -> Result<Vec<TokenRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn users(&self, _: &DjangoSession, _: &[String]) -> Result<Vec<UserRow>, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl OpenDatabase for Nowhere {
    fn committer(&self) -> &Committer {
        &self.committer
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {
        self.committer.close().await;
    }
}

fn pair() -> Participants {
    Participants::Pair(["alice".to_owned(), "bob".to_owned()])
}
