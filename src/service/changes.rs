//! Changes of messages: edited, and deleted.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Chat, ChatError};
use crate::{
    chat::{Change, Message},
    id::{ConversationId, Key, MessageId},
    layer::control::{Changed, Control},
    python::datetime::{Timestamp, after, before},
    store::{Store, StoreError},
};

/// Most changes that are read together.
const CHANGES_MAX: usize = 500;

/// Time for which it is kept what has been changed.
pub const CHANGES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Most that the clocks of other machines may be ahead.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Time between two looks at what need not be kept any longer.
const FORGET: Duration = Duration::from_secs(60);

/// Messages as they are after they have been changed.
#[derive(Debug)]
pub struct ChangedMessages {
    pub messages: Vec<Message>,
    /// There are more.
    pub is_cut: bool,
}

impl Chat {
    /// Returns whether messages can be changed: there is a table for that.
    #[must_use]
    pub fn keeps_changes(&self) -> bool {
        self.store.keeps_changes()
    }

    /// Gives a message new content, or deletes it, for its sender; its row and its time stay. Tells
    /// the conversation, and returns the message as it is then.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`] if it is not there or deleted, [`ChatError::NotYours`] if it is of
    /// somebody else, [`ChatError::Off`] if there is no table for changes.
    pub async fn change(
        &self,
        (conversation_id, message_id): (ConversationId, MessageId),
        user: &str,
        content: Option<String>,
    ) -> Result<Message, ChatError> {
        if !self.keeps_changes() {
            return Err(ChatError::Off);
        }
        // A message never gets another sender: what is true here is true at the commit.
        if self.senders(conversation_id, &[message_id]).await? != [user] {
            self.metrics.policy_denied("change");
            return Err(ChatError::NotYours);
        }
        let (layer, noted) = (Arc::clone(&self.layer), Arc::clone(&self.changes));
        let announce = Box::new(move |message: &Message| {
            noted.note(message.conversation_id, message.updated_at);
            let notice = Changed {
                conversation: message.conversation_id,
                at: message.updated_at,
            };
            // The layer owes what it cannot take now, and a sweep finds the rest.
            drop(layer.send_control(&Control::Changed(notice)));
        });
        let place = (conversation_id, message_id);
        let changed = self.store.change_message(place, content, announce).await?;
        let message = changed.ok_or(ChatError::NoMessage)?;
        tracing::debug!(%conversation_id, %message_id, "message changed");
        Ok(message)
    }

    /// Returns the messages of a conversation that have been changed since then, deleted ones too, as
    /// they are now: those of 500 changes at most, and as many as fit a page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn changed_since(
        &self,
        conversation_id: ConversationId,
        since: Timestamp,
    ) -> Result<ChangedMessages, StoreError> {
        if !self.keeps_changes() {
            return Ok(ChangedMessages {
                messages: Vec::new(),
                is_cut: false,
            });
        }
        let ids = [conversation_id];
        let now = Timestamp::by(self.store.committer().clock());
        let between = (since, after(now, AHEAD));
        let changes = self.store.changed_between(&ids, between, CHANGES_MAX);
        let changes: Vec<Change> = changes.await?;
        let mut messages: Vec<MessageId> = changes.iter().map(|it| it.message_id).collect();
        messages.sort_unstable();
        messages.dedup();
        messages.retain(|id| Key::from(*id) != Key::from(conversation_id));
        let store = self.store.of(conversation_id);
        let page = store.messages_by_id(&messages).await?;
        page.note_too_large(&*self.store);
        let is_cut = changes.len() == CHANGES_MAX || page.is_full;
        Ok(ChangedMessages {
            messages: page.messages,
            is_cut,
        })
    }
}

/// Forgets changes that are older than [`CHANGES_KEPT`], some each minute, until the process ends.
pub async fn forget_old_changes(store: Arc<dyn Store>) {
    loop {
        sleep(FORGET).await;
        let now = Timestamp::by(store.committer().clock());
        if let Err(error) = store.forget_changes(before(now, CHANGES_KEPT)).await {
            tracing::debug!(%error, "old changes of messages cannot be forgotten");
        }
    }
}
