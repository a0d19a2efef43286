//! Messages: sent, and read.

use std::sync::Arc;

use super::{Chat, ChatError, FirstPage, broadcast::BroadcastOutcome, within};
use crate::{
    chat::{Event, MESSAGE_TYPE_MAX, Message, NewMessage, SentMessage, USER_ID_MAX},
    id::{ConversationId, Key},
    store::{
        Announce, StoreError,
        history::{History, Pages},
    },
    telemetry::trace,
    value::Value,
};

/// The history of a new socket.
#[derive(Clone)]
pub enum SocketHistory {
    Short(Arc<FirstPage>),
    Long(Pages),
}

impl From<History> for SocketHistory {
    fn from(history: History) -> Self {
        match history {
            History::Short(messages) => SocketHistory::Short(Arc::new(FirstPage::new(messages))),
            History::Long(pages) => SocketHistory::Long(pages),
        }
    }
}

impl Chat {
    /// Returns the history for a new socket: the newest `ws.history_limit` messages. Sockets that
    /// open together share a read, which begins after they have asked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(
        &self,
        conversation_id: ConversationId,
    ) -> Result<SocketHistory, StoreError> {
        let read = async |ids: &[ConversationId]| {
            let found = History::read_each(&self.store, ids, self.history_limit).await?;
            let histories = found
                .into_iter()
                .map(|found| found.map(SocketHistory::from));
            Ok(histories.collect())
        };
        let history = self.histories.share(conversation_id, read);
        history.await?
    }

    /// Stores a message that came by REST. The original does not broadcast these; the setting
    /// `rest.broadcast` does.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`], or [`ChatError::TooLong`] for a text the table cannot hold.
    pub async fn send(&self, new: NewMessage) -> Result<Arc<Message>, ChatError> {
        if !self.broadcast_rest {
            let unannounced = Arc::clone(&self.unannounced);
            let announce = Box::new(move |message: &Arc<Message>| unannounced.note(message.id));
            return self.store(new, announce).await;
        }
        let shown_type = new.message_type.as_str().into();
        let (announce, sent) = self.announce(new.conversation_id, shown_type);
        let message = self.store(new, announce).await?;
        self.delivered(sent).await?;
        Ok(message)
    }

    /// Stores a message that came by socket and tells the conversation. The table holds
    /// `new.message_type`; the event shows `shown_type`, as it was sent.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`], or [`ChatError::TooLong`] for a text the table cannot hold.
    pub async fn say(&self, new: NewMessage, shown_type: Value) -> Result<(), ChatError> {
        let (announce, sent) = self.announce(new.conversation_id, shown_type);
        self.store(new, announce).await?;
        self.delivered(sent).await
    }

    /// Stores a message under the id that its client chose, and tells the conversation. Sent again it
    /// is stored once: the message that is there is returned, and the conversation not told again.
    ///
    /// # Errors
    /// [`ChatError::IdTaken`] if the id is that of somebody else's message, of one elsewhere, or of the
    /// conversation.
    /// Others are as those of [`say`](Self::say).
    pub async fn post(&self, new: NewMessage) -> Result<Arc<Message>, ChatError> {
        let (message, _) = self.post_once(new).await?;
        Ok(message)
    }

    /// As [`post`](Self::post); returns whether the message is new, too.
    ///
    /// # Errors
    /// As those of [`post`](Self::post).
    pub async fn post_once(&self, new: NewMessage) -> Result<(Arc<Message>, bool), ChatError> {
        let (conversation_id, sender_id) = (new.conversation_id, new.sender_id.clone());
        // A change of the message would pass for one of the group, and reach no client.
        if new.id.map(Key::from) == Some(Key::from(conversation_id)) {
            return Err(ChatError::IdTaken);
        }
        let (announce, sent) = self.announce(conversation_id, new.message_type.as_str().into());
        match self.store(new, announce).await {
            Err(ChatError::Store(StoreError::Taken(found))) => {
                if (found.conversation_id, &found.sender_id) == (conversation_id, &sender_id) {
                    Ok((found, false))
                } else {
                    Err(ChatError::IdTaken)
                }
            }
            stored => {
                let message = stored?;
                if let Err(error) = self.delivered(sent).await {
                    // It is stored, which is what its client asks; the others find it by a sweep.
                    tracing::warn!(%error, "a message is stored and cannot be sent");
                }
                Ok((message, true))
            }
        }
    }

    /// Returns the callback for the commit of the message, and the receiver of the outcome of the
    /// broadcast.
    fn announce(
        &self,
        conversation_id: ConversationId,
        shown_type: Value,
    ) -> (Announce, BroadcastOutcome) {
        let (send, outcome) = self.broadcast_later(conversation_id);
        let announce = Box::new(move |message: &Arc<Message>| {
            send(Event::MessageSent(SentMessage::Stored {
                message: Arc::clone(message),
                shown_type,
            }));
        });
        (announce, outcome)
    }

    async fn store(&self, new: NewMessage, announce: Announce) -> Result<Arc<Message>, ChatError> {
        within("sender_id", &new.sender_id, USER_ID_MAX)?;
        within("message_type", &new.message_type, MESSAGE_TYPE_MAX)?;
        let message = self.store.insert_message(new, announce).await?;
        let message = message.ok_or(ChatError::NoConversation)?;
        self.metrics.message_stored();
        tracing::debug!(
            conversation_id = %message.conversation_id,
            message_id = %message.id,
            sender_id = message.sender_id,
            message_type = message.message_type,
            "message stored"
        );
        trace::note(|span| {
            span.set("message_id", message.id.to_string());
            span.set("message_type", &*message.message_type);
        });
        Ok(message)
    }
}
