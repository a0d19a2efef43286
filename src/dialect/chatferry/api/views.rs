//! Bodies of answers: conversations, messages and receipts, with the field names of the frames.

use serde::Serialize;

use super::super::{
    attached::AttachmentView,
    cursor::Cursor,
    frames::{ConversationView, MessageView, ReceiptView, Shown, UnreadView},
};
use crate::{chat::Message, id::ConversationId};

/// A page of conversations.
#[derive(Serialize)]
pub struct ConversationsView<'a> {
    pub conversations: Vec<ConversationView<'a>>,
    pub next: Option<Cursor>,
}

/// The members of a conversation.
#[derive(Serialize)]
pub struct MembersView<'a> {
    pub members: Vec<MemberView<'a>>,
}

/// A member of a conversation.
#[derive(Serialize)]
pub struct MemberView<'a> {
    pub user: &'a str,
    /// In a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
}

/// A page of messages of one conversation, the oldest first.
#[derive(Serialize)]
pub struct PageView<'a> {
    pub messages: Vec<MessageView<'a>>,
    /// For going on with newer ones, if there are more.
    pub next: Option<Cursor>,
    /// For older ones.
    pub before: Option<Cursor>,
}

/// A message among those of several conversations.
#[derive(Serialize)]
pub struct PlacedMessage<'a> {
    pub conversation: Shown<ConversationId>,
    pub message: MessageView<'a>,
}

impl<'a> PlacedMessage<'a> {
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        PlacedMessage {
            conversation: Shown(message.conversation_id),
            message: MessageView::of(message),
        }
    }
}

/// Messages of several conversations.
#[derive(Serialize)]
pub struct InboxView<'a> {
    pub messages: Vec<PlacedMessage<'a>>,
    pub next: Option<Cursor>,
    /// For coming back; only on the last page.
    pub cursor: Option<Cursor>,
}

/// A page of a search, the newest message first.
#[derive(Serialize)]
pub struct FoundView<'a> {
    pub messages: Vec<PlacedMessage<'a>>,
    /// For going on with older ones, which may be there even if nothing was found.
    pub before: Option<Cursor>,
}

/// Receipts of messages.
#[derive(Serialize)]
pub struct ReceiptsView<'a> {
    pub receipts: Vec<ReceiptView<'a>>,
}

/// The numbers of messages that a user has not read.
#[derive(Serialize)]
pub struct CountsView {
    pub counts: Vec<UnreadView>,
}

/// Links to attachments.
#[derive(Serialize)]
pub struct LinksView<'a> {
    pub attachments: Vec<LinkView<'a>>,
}

/// An attachment and where it can be read for a while.
#[derive(Serialize)]
pub struct LinkView<'a> {
    #[serde(flatten)]
    pub attachment: AttachmentView<'a>,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail_url: Option<String>,
    /// Seconds for which the links are good.
    pub expires_s: u64,
}

/// The caller.
#[derive(Serialize)]
pub struct MeView<'a> {
    /// `None` where users are not identified.
    pub user: Option<&'a str>,
    pub time: String,
    pub limits: LimitsView,
}

/// Bounds that a client should know.
#[derive(Serialize)]
pub struct LimitsView {
    pub message_bytes: usize,
    pub page_messages: usize,
    pub read_messages: usize,
    /// Most attachments of a message, and most bytes of one, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment_bytes: Option<u64>,
}
