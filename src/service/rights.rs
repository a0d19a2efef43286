//! Rights of a caller: to know of a conversation, and to speak for a user.

use std::{collections::HashMap, sync::Arc};

use super::{Chat, ChatError};
use crate::{
    chat::{Participants, policy::Caller},
    id::ConversationId,
    store::Subject,
};

impl Chat {
    /// Checks whether a caller may know of a conversation, by itself or by a message in it. Every
    /// use case that is about one comes after this.
    ///
    /// # Errors
    /// [`ChatError::Hidden`], or for a thing that is not there [`ChatError::NoConversation`] or
    /// [`ChatError::NoMessage`].
    pub async fn admit(&self, caller: &Caller, of: Subject) -> Result<(), ChatError> {
        if *caller == Caller::Anybody {
            return Ok(());
        }
        match (self.store.participants(of).await?, of) {
            (Some(participants), _) => self.admit_among(caller, &participants, of),
            (None, Subject::Conversation(_)) => Err(ChatError::NoConversation),
            (None, Subject::Message(_)) => Err(ChatError::NoMessage),
        }
    }

    fn admit_among(
        &self,
        caller: &Caller,
        participants: &Participants,
        of: Subject,
    ) -> Result<(), ChatError> {
        if caller.takes_part(participants.as_slice()) {
            return Ok(());
        }
        self.metrics.policy_denied("see");
        Err(ChatError::Hidden(of))
    }

    /// Returns the members of a conversation, to callers who were admitted to it.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`]
    pub async fn members(&self, of: Subject) -> Result<Participants, ChatError> {
        let found = self.store.participants(of).await?;
        found.ok_or(ChatError::NoConversation)
    }

    /// Checks whether a caller may speak for `user`.
    ///
    /// # Errors
    /// [`ChatError::NotYou`]
    pub fn admit_as(&self, caller: &Caller, user: &str) -> Result<(), ChatError> {
        if caller.is(user) {
            return Ok(());
        }
        self.metrics.policy_denied("speak");
        Err(ChatError::NotYou)
    }

    /// Returns the participants if a caller may open a socket: the conversation is active, and the
    /// caller may know of it. Sockets that open together share a read, which begins after they have asked.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`] if it is not there or not active, [`ChatError::Hidden`].
    pub async fn admit_socket(
        &self,
        caller: &Caller,
        id: ConversationId,
    ) -> Result<Arc<Participants>, ChatError> {
        let read = async |ids: &[ConversationId]| {
            let active = self.store.active_participants(ids).await?.into_iter();
            let mut active: HashMap<_, _> = active.map(|(id, it)| (id, Arc::new(it))).collect();
            Ok(ids.iter().map(|id| active.remove(id)).collect())
        };
        let participants = self.active.share(id, read).await?;
        let participants = participants.ok_or(ChatError::NoConversation)?;
        self.admit_among(caller, &participants, Subject::Conversation(id))?;
        Ok(participants)
    }

    /// Returns whether a caller may list the conversations of `user`. To others they do not exist.
    #[must_use]
    pub fn may_list(&self, caller: &Caller, user: &str) -> bool {
        let may = caller.is(user);
        if !may {
            self.metrics.policy_denied("list");
        }
        may
    }
}
