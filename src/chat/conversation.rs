//! A conversation between two participants.

use uuid::Uuid;

use super::Message;
use crate::django::datetime::Timestamp;

/// A row of `conversations` with everything said in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: Uuid,
    pub participant1_id: String,
    pub participant2_id: String,
    pub created_at: Timestamp,
    /// Set when the row is made and never moved: the original saves a conversation only once.
    pub updated_at: Timestamp,
    /// An inactive conversation is in no list and takes no new socket, but can still be read.
    pub is_active: bool,
    /// All messages, deleted ones among them, oldest first.
    pub messages: Vec<Message>,
}

impl Conversation {
    #[must_use]
    pub fn participants(&self) -> [&str; 2] {
        [&self.participant1_id, &self.participant2_id]
    }

    /// Every time in it, its messages' among them.
    pub fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let own = [self.created_at, self.updated_at];
        own.into_iter()
            .chain(self.messages.iter().flat_map(Message::times))
    }

    /// The newest message that is not deleted.
    #[must_use]
    pub fn last_message(&self) -> Option<&Message> {
        self.messages
            .iter()
            .rev()
            .find(|message| !message.is_deleted)
    }
}
