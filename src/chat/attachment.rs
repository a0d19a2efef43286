//! Files that are sent with messages.

use crate::{
    id::{AttachmentId, ConversationId, MessageId},
    python::datetime::Timestamp,
};

/// A row of `chatferry_attachments`: a file that a user has uploaded. Its bytes are kept elsewhere,
/// under its id.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    pub id: AttachmentId,
    pub uploader_id: String,
    /// The message that it was sent with. One that is not there, or deleted, has lost it for good.
    pub message_id: Option<MessageId>,
    pub name: String,
    /// By the content.
    pub media_type: String,
    /// In bytes.
    pub size: u64,
    /// Width and height of an image.
    pub dimensions: Option<(u32, u32)>,
    pub has_thumbnail: bool,
    pub created_at: Timestamp,
}

/// An attachment, and the conversation of its message; `None` before it is sent, and after the message
/// is gone or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedAttachment {
    pub attachment: Attachment,
    pub conversation_id: Option<ConversationId>,
}

impl PlacedAttachment {
    /// Returns an attachment with the conversation and the sender of the message of its id. Messages of
    /// two and of groups are in tables of their own, and clients choose ids: the message of another
    /// sender is another one and does not have the file.
    #[must_use]
    pub fn of(
        attachment: Attachment,
        conversation_id: Option<ConversationId>,
        sender_id: Option<&str>,
    ) -> Self {
        let is_its = sender_id == Some(&*attachment.uploader_id);
        PlacedAttachment {
            attachment,
            conversation_id: conversation_id.filter(|_| is_its),
        }
    }

    /// Returns whether it is lost: it was sent, and its message is gone or deleted.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.attachment.message_id.is_some() && self.conversation_id.is_none()
    }
}
