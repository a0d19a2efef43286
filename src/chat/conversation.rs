//! A conversation between two participants.

use crate::{id::ConversationId, python::datetime::Timestamp};

/// A row of `conversations`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    pub participant1_id: String,
    pub participant2_id: String,
    pub created_at: Timestamp,
    /// Set when the row is made and never moved: the original saves a conversation only once.
    pub updated_at: Timestamp,
    /// An inactive conversation is in no list and takes no new socket, but can still be read.
    pub is_active: bool,
}

impl Conversation {
    #[must_use]
    pub fn participants(&self) -> [&str; 2] {
        [&self.participant1_id, &self.participant2_id]
    }

    #[must_use]
    pub fn times(&self) -> [Timestamp; 2] {
        [self.created_at, self.updated_at]
    }
}
