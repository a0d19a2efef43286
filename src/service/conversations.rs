//! Conversations: opened, and looked at.

use super::{Chat, ChatError, whole, within};
use crate::{
    chat::{Conversation, USER_ID_MAX, policy::Caller},
    id::ConversationId,
    store::Lookup,
};

impl Chat {
    /// Returns the conversation of the two, in either order, and whether it is new.
    ///
    /// # Errors
    /// [`ChatError::TooLong`] for an id that the table cannot hold.
    /// [`ChatError::NotYou`] if the caller is neither of the two. [`ChatError::Alike`] if the
    /// conversation of another spelling of the two is there; it is not shown.
    pub async fn open_conversation(
        &self,
        caller: &Caller,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), ChatError> {
        within("participant1_id", &participant1_id, USER_ID_MAX)?;
        within("participant2_id", &participant2_id, USER_ID_MAX)?;
        if !caller.takes_part(&[&participant1_id, &participant2_id]) {
            self.metrics.policy_denied("create");
            return Err(ChatError::NotYou);
        }
        if *caller != Caller::Anybody {
            // The database would cut spaces off, and store the id of somebody else.
            whole("participant1_id", &participant1_id, USER_ID_MAX)?;
            whole("participant2_id", &participant2_id, USER_ID_MAX)?;
        }
        let opened = self
            .store
            .get_or_create_conversation(participant1_id, participant2_id);
        let opened = opened.await.map_err(ChatError::from);
        if matches!(opened, Err(ChatError::Alike)) {
            self.metrics.policy_denied("create");
        }
        opened
    }

    /// Returns whether the tables have user ids that differ from those of a request of `caller`'s,
    /// and that the database takes for the same. Django would show or change their rows.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn finds_others(&self, caller: &Caller, lookup: Lookup) -> Result<bool, ChatError> {
        if *caller == Caller::Anybody {
            return Ok(false);
        }
        Ok(self.store.finds_others(lookup).await?)
    }

    /// # Errors
    /// [`ChatError::NoConversation`] if there is none of this id.
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation, ChatError> {
        self.store
            .conversation(id)
            .await?
            .ok_or(ChatError::NoConversation)
    }

    /// # Errors
    /// [`ChatError::NoConversation`] if there is none of this id; inactive ones are there.
    pub async fn require_conversation(&self, id: ConversationId) -> Result<(), ChatError> {
        let found = self.store.conversation_is_active(id).await?;
        found.map(|_| ()).ok_or(ChatError::NoConversation)
    }
}
