//! Frames of `chatferry.v1` to clients: JSON objects of several types. `PROTOCOL.md` is their
//! specification.

use std::fmt::Display;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::{
    attached::{self, AttachmentView},
    cursor::Cursor,
    groups::GroupView,
    requests::{NativeAction, NativeRequest, Reference, TalkAction},
};
use crate::{
    chat::{GroupRefusal, Message, Receipt},
    id::{ConversationId, Key, MessageId},
    limits::Throttled,
    python::datetime::{Timestamp, Zone, to_wire},
    service::{AttachmentError, ChatError, ConversationEntry},
    store::StoreError,
    ws::writer::text_frame,
};

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    BadFrame,
    NotYou,
    NotYours,
    NotMember,
    NotOwner,
    NotAGroup,
    NoMember,
    TooFewMembers,
    TooManyMembers,
    LastOwner,
    Off,
    NoSender,
    NotSubscribed,
    TooManySubscriptions,
    NoConversation,
    NoMessage,
    NoAttachment,
    IdTaken,
    AmbiguousUser,
    TooLong,
    Refused,
    Denied,
    Throttled,
    /// It is not known whether it was done; sent again it is done once.
    Unknown,
    Unavailable,
}

impl Code {
    /// Returns whether the same may be done later.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Code::Throttled | Code::Unknown | Code::Unavailable)
    }
}

impl From<&ChatError> for Code {
    fn from(error: &ChatError) -> Self {
        match error {
            // Somebody else's conversation is as one that is not there.
            ChatError::NoConversation | ChatError::Hidden(_) => Code::NoConversation,
            ChatError::NoMessage => Code::NoMessage,
            ChatError::NotYou => Code::NotYou,
            ChatError::NotYours => Code::NotYours,
            ChatError::NotAGroup => Code::NotAGroup,
            ChatError::Group(refusal) => Code::from(*refusal),
            ChatError::Off => Code::Off,
            ChatError::IdTaken => Code::IdTaken,
            ChatError::TooLong { .. } | ChatError::Attachment(AttachmentError::TooMany(_)) => {
                Code::TooLong
            }
            // The others are of uploads, which no frame asks for.
            ChatError::Attachment(_) => Code::NoAttachment,
            ChatError::Alike => Code::AmbiguousUser,
            ChatError::Store(StoreError::Unknown(_)) => Code::Unknown,
            ChatError::Store(error) if error.may_pass() => Code::Unavailable,
            ChatError::Store(StoreError::Closed) | ChatError::Layer(_) => Code::Unavailable,
            ChatError::Store(_) => Code::Refused,
        }
    }
}

impl From<GroupRefusal> for Code {
    fn from(refusal: GroupRefusal) -> Self {
        match refusal {
            GroupRefusal::NotThere => Code::NoConversation,
            GroupRefusal::NotOwner => Code::NotOwner,
            GroupRefusal::NoMember => Code::NoMember,
            GroupRefusal::Alone => Code::TooFewMembers,
            GroupRefusal::Full(_) => Code::TooManyMembers,
            GroupRefusal::LastOwner => Code::LastOwner,
        }
    }
}

/// Returns the code of a subscription whose rights have ended.
#[must_use]
pub fn ended(id: ConversationId) -> Code {
    if id.is_group() {
        Code::NotMember
    } else {
        Code::NoConversation
    }
}

/// Returns the text for a client; the database's own words are for the log.
fn detail(error: &ChatError) -> String {
    match error {
        ChatError::Store(_) | ChatError::Layer(_) => String::new(),
        ChatError::Hidden(_) => ChatError::NoConversation.to_string(),
        error => error.to_string(),
    }
}

/// A value that is written as its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A message as clients see it.
#[derive(Serialize)]
pub struct MessageView<'a> {
    pub id: Shown<MessageId>,
    pub sender: &'a str,
    pub kind: &'a str,
    /// The sender's text: empty for files alone.
    pub content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentView<'a>>,
    pub created_at: String,
    pub updated_at: String,
}

impl<'a> MessageView<'a> {
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        let [created_at, updated_at] = message.times().map(time);
        let (content, attachments) = attached::split(&message.message_type, &message.content);
        MessageView {
            id: Shown(message.id),
            sender: &message.sender_id,
            kind: &message.message_type,
            content,
            attachments,
            created_at,
            updated_at,
        }
    }
}

/// Returns a time in UTC, as RFC 3339 has it.
#[must_use]
pub fn time(at: Timestamp) -> String {
    to_wire(at, &Zone::utc())
}

/// A receipt as clients see it.
#[derive(Serialize)]
pub struct ReceiptView<'a> {
    pub message: Shown<MessageId>,
    pub user: &'a str,
    pub status: &'a str,
    pub at: String,
}

impl<'a> ReceiptView<'a> {
    #[must_use]
    pub fn of(receipt: &'a Receipt) -> Self {
        ReceiptView {
            message: Shown(receipt.message_id),
            user: &receipt.user_id,
            status: &receipt.status,
            at: time(receipt.timestamp),
        }
    }
}

/// A conversation.
#[derive(Serialize)]
pub struct ConversationView<'a> {
    pub id: Shown<ConversationId>,
    pub members: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupView<'a>>,
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
            group: entry.group.as_ref().map(GroupView::of),
            created_at: time(conversation.created_at),
            last: entry.last.as_ref().map(MessageView::of),
            unread: entry.unread,
        }
    }
}

/// Returns the cursor of a place among conversations.
#[must_use]
pub fn place_of((at, id): (Timestamp, ConversationId)) -> Cursor {
    Cursor::Exact(at, MessageId(Key::from(id)))
}

/// Returns the place among conversations that such a cursor stands for.
#[must_use]
pub fn conversation_at(cursor: Cursor) -> (Timestamp, ConversationId) {
    let (at, id) = cursor.place();
    (at, ConversationId(id.0))
}

/// The number of messages that a user has not read in a conversation.
#[derive(Serialize)]
pub struct UnreadView {
    pub conversation: Shown<ConversationId>,
    pub unread: usize,
}

impl UnreadView {
    #[must_use]
    pub fn of((id, unread): (ConversationId, usize)) -> Self {
        let conversation = Shown(id);
        UnreadView {
            conversation,
            unread,
        }
    }
}

/// Bounds that a client should know.
#[derive(Clone, Copy, Serialize)]
pub struct HelloLimits {
    pub message_bytes: usize,
    pub page_messages: usize,
    pub read_messages: usize,
    pub subscriptions: usize,
    /// Of a group.
    pub members: usize,
    /// Most attachments of a message, and most bytes of one, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment_bytes: Option<u64>,
}

/// A user, and `online` if the user has a socket.
#[derive(Serialize)]
pub struct PresenceView<'a> {
    pub user: &'a str,
    pub online: bool,
}

/// Abilities that not every server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Messages can be changed and deleted.
    Edit,
    /// There are receipts of what clients have got.
    Receipts,
    /// Frames of type `presence` say who is online.
    Presence,
    /// There are groups.
    Groups,
    /// Files can be sent with messages.
    Attachments,
}

/// A frame to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    Hello {
        user: Option<&'a str>,
        time: String,
        limits: HelloLimits,
        features: Vec<Feature>,
    },
    /// Messages that the client may not have. `cursor` is for coming back, `next` for going on with
    /// newer ones if there are more, `before` for older ones.
    Subscribed {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        /// The group as it is now, if it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<GroupView<'a>>,
        /// The cursor was too old: what the client has is to be dropped.
        reload: bool,
        messages: Vec<MessageView<'a>>,
        /// Older messages that have been changed since the cursor, as they are now.
        updated: Vec<MessageView<'a>>,
        /// Older messages that have been deleted since.
        deleted: Vec<Shown<MessageId>>,
        cursor: Cursor,
        next: Option<Cursor>,
        before: Option<Cursor>,
    },
    /// A page of history.
    Page {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        messages: Vec<MessageView<'a>>,
        next: Option<Cursor>,
        before: Option<Cursor>,
    },
    Unsubscribed {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        /// `None` if the client asked for it.
        code: Option<Code>,
    },
    Ack {
        id: Shown<MessageId>,
        conversation: Shown<ConversationId>,
        message: MessageView<'a>,
    },
    Nack {
        id: Shown<MessageId>,
        code: Code,
        detail: String,
        retry: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    Ok {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
    },
    Error {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        code: Code,
        detail: String,
        retry: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    Receipts {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        receipts: Vec<ReceiptView<'a>>,
    },
    /// A message as its sender has changed it.
    Updated {
        /// `None` if it is not an answer.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        message: MessageView<'a>,
    },
    /// A message that its sender has deleted.
    Deleted {
        /// `None` if it is not an answer.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        message: Shown<MessageId>,
    },
    /// A group as a change has left it.
    Group {
        /// `None` if it is not an answer.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        group: GroupView<'a>,
    },
    /// The user has become a member of a group, or is none any more.
    Membership {
        conversation: Shown<ConversationId>,
        user: &'a str,
        is_member: bool,
    },
    Conversations {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversations: Vec<ConversationView<'a>>,
        next: Option<Cursor>,
    },
    Conversation {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversation: ConversationView<'a>,
    },
    Unread {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        counts: Vec<UnreadView>,
    },
    Pong {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        time: String,
    },
    /// Said by anybody, the client itself included.
    Message {
        conversation: Shown<ConversationId>,
        message: MessageView<'a>,
        cursor: Cursor,
    },
    Read {
        conversation: Shown<ConversationId>,
        message: &'a str,
        user: &'a str,
    },
    /// A client of this user has got messages.
    Delivered {
        conversation: Shown<ConversationId>,
        messages: Vec<Shown<MessageId>>,
        user: &'a str,
    },
    /// Users of the conversation who have come, or left.
    Presence {
        conversation: Shown<ConversationId>,
        users: Vec<PresenceView<'a>>,
    },
    Typing {
        conversation: Shown<ConversationId>,
        user: &'a str,
        is_typing: bool,
    },
    /// An event that cannot be shown as one of these: the client reads the history behind
    /// its cursor.
    Changed { conversation: Shown<ConversationId> },
}

impl<'a> ServerFrame<'a> {
    #[must_use]
    pub fn error(reference: Option<Reference>, code: Code, detail: String) -> Self {
        ServerFrame::Error {
            reference,
            code,
            detail,
            retry: code.may_pass(),
            retry_after_s: None,
        }
    }

    #[must_use]
    pub fn nack(id: MessageId, code: Code, detail: String) -> Self {
        ServerFrame::Nack {
            id: Shown(id),
            code,
            detail,
            retry: code.may_pass(),
            retry_after_s: None,
        }
    }

    /// Shows a message that has been changed or deleted, as an answer or an event.
    #[must_use]
    pub fn changed(message: &'a Message, reference: Option<Reference>) -> Self {
        let conversation = Shown(message.conversation_id);
        if message.is_deleted {
            return ServerFrame::Deleted {
                reference,
                conversation,
                message: Shown(message.id),
            };
        }
        ServerFrame::Updated {
            reference,
            conversation,
            message: MessageView::of(message),
        }
    }

    /// Answers a request that was not done.
    #[must_use]
    pub fn refusal(request: &NativeRequest, code: Code, detail: String) -> Self {
        match &request.action {
            NativeAction::In(_, TalkAction::Send { id, .. }) => {
                ServerFrame::nack(*id, code, detail)
            }
            _ => ServerFrame::error(request.reference.clone(), code, detail),
        }
    }

    /// Answers a request that failed.
    #[must_use]
    pub fn failure(request: &NativeRequest, error: &ChatError) -> Self {
        ServerFrame::refusal(request, error.into(), detail(error))
    }

    /// Answers a request past a limit; a fresh token if it is none.
    #[must_use]
    pub fn throttled(request: Option<&NativeRequest>, throttled: &Throttled) -> Self {
        let detail = "too many requests".to_owned();
        let mut frame = match request {
            Some(request) => ServerFrame::refusal(request, Code::Throttled, detail),
            None => ServerFrame::error(None, Code::Throttled, detail),
        };
        if let ServerFrame::Nack { retry_after_s, .. } | ServerFrame::Error { retry_after_s, .. } =
            &mut frame
        {
            *retry_after_s = Some(throttled.seconds());
        }
        frame
    }

    /// Returns the frame with its header.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        // Texts and numbers, written into memory: nothing here can fail.
        text_frame(|out| serde_json::to_writer(out, self).unwrap_or_default())
    }
}
