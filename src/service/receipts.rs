//! Receipts: messages that users have read, or got.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::{Chat, ChatError, within};
use crate::{
    chat::{Event, Receipt, USER_ID_MAX, fits, receipt::DELIVERED},
    id::{ConversationId, MessageId},
    layer::control::{Control, Delivered},
    store::{AnnounceMark, Store},
    telemetry::trace,
};

/// Most receipts that are read together.
const RECEIPTS_MAX: usize = 2000;

impl Chat {
    /// Marks a message of any conversation as read by `user_id`, and sends `event` to this
    /// conversation. As in the original, it is sent even if there is no such message.
    ///
    /// # Errors
    /// [`ChatError::TooLong`] for a user the table cannot hold. [`ChatError::Alike`] if another
    /// spelling of the user has marked it.
    pub async fn mark_read(
        &self,
        conversation_id: ConversationId,
        message_id: MessageId,
        user_id: String,
        event: Event,
    ) -> Result<(), ChatError> {
        let (send, outcome) = self.broadcast_later(conversation_id);
        let announce = Box::new(move |_: Option<&Receipt>| send(event));
        let store = self.store.of(conversation_id);
        match self.mark(store, message_id, user_id, announce).await {
            Ok(_) | Err(ChatError::NoMessage) => self.delivered(outcome).await,
            Err(error) => Err(error),
        }
    }

    /// Marks messages of a conversation as read, and tells it of each.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`] if one of them is not in the conversation, or is deleted; else as
    /// [`mark_read`](Self::mark_read), and others may be marked all the same.
    pub async fn mark_all_read(
        &self,
        conversation_id: ConversationId,
        messages: &[MessageId],
        user: &str,
    ) -> Result<(), ChatError> {
        self.senders(conversation_id, messages).await?;
        let marks = messages.iter().map(|id| {
            let event = Event::MessageRead {
                message_id: id.to_string().into(),
                user_id: user.into(),
            };
            self.mark_read(conversation_id, *id, user.to_owned(), event)
        });
        try_join_all(marks).await.map(|_| ())
    }

    /// Notes that a client of `user` has got some messages of a conversation, and tells its other
    /// sockets. Those that are read stay so.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`] if one of them is not in the conversation, or is deleted.
    /// [`ChatError::TooLong`] for a user the table cannot hold. [`ChatError::Alike`] if another
    /// spelling of the user has a receipt.
    pub async fn mark_delivered(
        &self,
        conversation_id: ConversationId,
        messages: &[MessageId],
        user: &str,
    ) -> Result<(), ChatError> {
        self.senders(conversation_id, messages).await?;
        within("user_id", user, USER_ID_MAX)?;
        let store = self.store.of(conversation_id);
        let marks = messages.iter().map(|id| {
            let announce = Box::new(|_: Option<&Receipt>| {});
            store.mark_delivered(*id, user.to_owned(), announce)
        });
        let marked = try_join_all(marks).await?.into_iter().flatten();
        let delivered = marked.filter(|receipt| receipt.status == DELIVERED);
        let delivered: Vec<MessageId> = delivered.map(|receipt| receipt.message_id).collect();
        if delivered.is_empty() {
            return Ok(());
        }
        let control = Control::Delivered(Delivered {
            conversation: conversation_id,
            user: user.to_owned(),
            messages: delivered,
        });
        self.passed_on(self.layer.send_control(&control)).await
    }

    /// Returns the receipts of some messages of a conversation, [`RECEIPTS_MAX`] at most.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`] if one of them is not in the conversation, or is deleted.
    pub async fn receipts_of(
        &self,
        conversation_id: ConversationId,
        messages: &[MessageId],
    ) -> Result<Vec<Receipt>, ChatError> {
        self.senders(conversation_id, messages).await?;
        let store = self.store.of(conversation_id);
        Ok(store.receipts_of(messages, RECEIPTS_MAX).await?)
    }

    /// Marks a message as read by REST: the original does not broadcast that.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`], or as [`mark_read`](Self::mark_read).
    pub async fn mark_read_unannounced(
        &self,
        message_id: MessageId,
        user_id: String,
    ) -> Result<Receipt, ChatError> {
        let unannounced = Arc::clone(&self.unannounced);
        let announce = Box::new(move |receipt: Option<&Receipt>| {
            if let Some(receipt) = receipt {
                unannounced.note(receipt.id);
            }
        });
        self.mark(&*self.store, message_id, user_id, announce).await
    }

    async fn mark(
        &self,
        store: &dyn Store,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Receipt, ChatError> {
        if !fits(&user_id, USER_ID_MAX) {
            if !store.message_exists(message_id).await? {
                announce(None);
                return Err(ChatError::NoMessage);
            }
            within("user_id", &user_id, USER_ID_MAX)?;
        }
        trace::note(|span| span.set("message_id", message_id.to_string()));
        let marked = store.mark_read(message_id, user_id, announce);
        let receipt = marked.await?.ok_or(ChatError::NoMessage)?;
        tracing::debug!(%message_id, user_id = receipt.user_id, "message read");
        Ok(receipt)
    }

    /// # Errors
    /// [`ChatError::NoMessage`] if there is none of this id.
    pub async fn require_message(&self, id: MessageId) -> Result<(), ChatError> {
        if self.store.message_exists(id).await? {
            Ok(())
        } else {
            Err(ChatError::NoMessage)
        }
    }
}
