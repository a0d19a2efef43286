//! Changes of stored messages by their senders.

use crate::{
    id::{ChangeId, ConversationId, MessageId},
    python::datetime::Timestamp,
};

/// A row of `chatferry_changes`: a message has been changed, or deleted. What it is now stands in
/// its own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: ChangeId,
    pub conversation_id: ConversationId,
    pub message_id: MessageId,
}

/// A change that is about to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewChange {
    pub change: Change,
    /// `None` deletes the message: its row stays, and is in no history.
    pub content: Option<String>,
    /// When it is made. A message that was changed later already gets the time after that.
    pub at: Timestamp,
}
