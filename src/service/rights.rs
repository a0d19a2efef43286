//! Rights of a caller: to know of a conversation, and to speak for a user.

use super::{Chat, ChatError};
use crate::{
    chat::policy::Caller,
    id::ConversationId,
    store::{Standing, Subject},
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
        self.standing(caller, of).await.map(|_| ())
    }

    /// Returns how a conversation stands, if the caller may know of it.
    async fn standing(&self, caller: &Caller, of: Subject) -> Result<Standing, ChatError> {
        match (self.store.standing(of).await?, of) {
            (Some(standing), _) if caller.takes_part(standing.participants.as_slice()) => {
                Ok(standing)
            }
            (Some(_), _) => {
                self.metrics.policy_denied("see");
                Err(ChatError::Hidden(of))
            }
            (None, Subject::Conversation(_)) => Err(ChatError::NoConversation),
            (None, Subject::Message(_)) => Err(ChatError::NoMessage),
        }
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

    /// Checks whether a caller may open a socket: the conversation is active, and the caller may
    /// know of it. One query.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`] if it is not there or not active, [`ChatError::Hidden`].
    pub async fn admit_socket(&self, caller: &Caller, id: ConversationId) -> Result<(), ChatError> {
        let standing = self.standing(caller, Subject::Conversation(id)).await?;
        if standing.is_active {
            Ok(())
        } else {
            Err(ChatError::NoConversation)
        }
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
