//! A message, and one that is about to be stored.

use crate::{
    id::{AttachmentId, ConversationId, MessageId},
    python::datetime::Timestamp,
};

/// A row of `messages`.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub sender_id: String,
    pub content: String,
    /// `text`, `image` or `file` when sent by REST; whatever the sender wrote when sent by socket.
    pub message_type: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub is_deleted: bool,
}

impl Message {
    #[must_use]
    pub fn times(&self) -> [Timestamp; 2] {
        [self.created_at, self.updated_at]
    }
}

/// Values of a message that its sender chooses; the others are set when it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Chosen by the client, which may send the message again under it; `None` if it is made here.
    pub id: Option<MessageId>,
    pub conversation_id: ConversationId,
    pub sender_id: String,
    pub content: String,
    pub message_type: String,
    pub is_deleted: bool,
    /// Uploads of the sender that no other message has. It is stored with all of them or not at all.
    pub attachments: Vec<AttachmentId>,
}

impl NewMessage {
    /// Gives the message its times, and this id if it has none.
    #[must_use]
    pub fn stamped(self, id: MessageId, created_at: Timestamp, updated_at: Timestamp) -> Message {
        Message {
            id: self.id.unwrap_or(id),
            conversation_id: self.conversation_id,
            sender_id: self.sender_id,
            content: self.content,
            message_type: self.message_type,
            created_at,
            updated_at,
            is_deleted: self.is_deleted,
        }
    }
}
