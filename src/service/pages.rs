//! Pages of a conversation's messages, for clients that say where to go on.

use std::collections::HashMap;

use super::{Chat, ChatError};
use crate::{
    chat::{Message, policy::Caller},
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::history::{Deleted, Direction, Page},
};

/// Messages of a conversation among which those that are unread are counted.
pub const UNREAD_AMONG: usize = 1000;

/// Messages that follow each other, oldest first.
#[derive(Debug)]
pub struct MessagePage {
    pub messages: Vec<Message>,
    /// There may be more in the direction in which it was read.
    pub is_full: bool,
}

impl Chat {
    /// Returns the newest messages of a conversation, `limit` at most and as many as fit a page.
    ///
    /// # Errors
    /// When the store cannot be read, or a message of them.
    pub async fn newest(&self, id: ConversationId, limit: usize) -> Result<MessagePage, ChatError> {
        let page = self.store.newest_messages(id, Deleted::Skipped, limit);
        self.message_page(page.await?)
    }

    /// Returns the messages next to a time and an id, `limit` at most and as many as fit a page.
    ///
    /// # Errors
    /// When the store cannot be read, or a message of them.
    pub async fn beside(
        &self,
        id: ConversationId,
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<MessagePage, ChatError> {
        let page = self.store.beside(id, place, direction, limit);
        self.message_page(page.await?)
    }

    /// Returns when the message was made that has `newer` newer ones; `None` if there are fewer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn time_before(
        &self,
        id: ConversationId,
        newer: usize,
    ) -> Result<Option<Timestamp>, ChatError> {
        let place = self.store.place(id, newer).await?;
        Ok(place.and_then(|place| place.time()))
    }

    /// # Errors
    /// [`ChatError::NoMessage`] if there is none of this id in this conversation, or it is deleted.
    pub async fn message_in(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
    ) -> Result<Message, ChatError> {
        let found = self.store.of(conversation_id).message(id).await?;
        let here = found.filter(|it| it.conversation_id == conversation_id && !it.is_deleted);
        here.ok_or(ChatError::NoMessage)
    }

    /// Returns the senders of some messages, in the order of their ids.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`] if one of them is not in this conversation, or is deleted.
    pub(super) async fn senders(
        &self,
        conversation_id: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<String>, ChatError> {
        let found = self.store.senders(conversation_id, ids).await?;
        let found: HashMap<_, _> = found.into_iter().collect();
        let senders = ids.iter().map(|id| found.get(id).cloned());
        senders.collect::<Option<_>>().ok_or(ChatError::NoMessage)
    }

    /// Returns how many messages of others a user has not marked as read, in each of the
    /// conversations that the caller may know of. The newest [`UNREAD_AMONG`] are looked at.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unread(
        &self,
        caller: &Caller,
        conversations: &[ConversationId],
        user_id: &str,
    ) -> Result<Vec<(ConversationId, usize)>, ChatError> {
        let known = match caller {
            Caller::Anybody => conversations.to_vec(),
            Caller::Only(_) => {
                let active = self
                    .store
                    .active_participants(conversations)
                    .await?
                    .into_iter();
                let own = active.filter(|(_, all)| caller.takes_part(all.as_slice()));
                own.map(|(id, _)| id).collect()
            }
        };
        let counts = self.store.unread(&known, user_id, UNREAD_AMONG).await?;
        Ok(known.into_iter().zip(counts).collect())
    }

    pub(super) fn message_page(&self, page: Page) -> Result<MessagePage, ChatError> {
        page.note_too_large(&*self.store);
        let page = page.whole()?;
        Ok(MessagePage {
            messages: page.messages,
            is_full: page.is_full,
        })
    }
}
