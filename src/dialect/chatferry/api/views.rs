//! What is shown of conversations and messages, in the words of the frames.

use serde::Serialize;

use super::super::{
    cursor::Cursor,
    frames::{MessageView, Shown, UnreadView, time},
};
use crate::{
    chat::Message,
    id::{ConversationId, Key, MessageId},
    python::datetime::Timestamp,
    service::ConversationEntry,
};

/// A conversation.
#[derive(Serialize)]
pub struct ConversationView<'a> {
    pub id: Shown<ConversationId>,
    pub members: &'a [String],
    pub created_at: String,
    pub last: Option<MessageView<'a>>,
    pub unread: usize,
}

impl<'a> ConversationView<'a> {
    #[must_use]
    pub fn of(entry: &'a ConversationEntry) -> Self {
        let conversation = &entry.conversation;
        ConversationView {
            id: Shown(conversation.id),
            members: conversation.participants.as_slice(),
            created_at: time(conversation.created_at),
            last: entry.last.as_ref().map(MessageView::of),
            unread: entry.unread,
        }
    }
}

/// A page of conversations.
#[derive(Serialize)]
pub struct ConversationsView<'a> {
    pub conversations: Vec<ConversationView<'a>>,
    pub next: Option<Cursor>,
}

/// Returns the cursor of a place among conversations.
#[must_use]
pub fn place_of((at, id): (Timestamp, ConversationId)) -> Cursor {
    Cursor::Exact(at, MessageId(Key::from(id)))
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

/// What a search has found, the newest first.
#[derive(Serialize)]
pub struct FoundView<'a> {
    pub messages: Vec<PlacedMessage<'a>>,
    /// For going on with older ones, which may be there even if nothing was found.
    pub before: Option<Cursor>,
}

/// The numbers of messages that a user has not read.
#[derive(Serialize)]
pub struct CountsView {
    pub counts: Vec<UnreadView>,
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
}
