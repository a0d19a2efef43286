//! The frames of `chatferry.v1`: JSON objects of several types. `PROTOCOL.md` is their
//! specification.

use std::fmt::Display;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::cursor::Cursor;
use crate::{
    chat::{Message, policy::Caller},
    id::{ConversationId, MessageId},
    limits::{LimitedAction, Throttled},
    metrics::Asked,
    python::datetime::{Timestamp, Zone, to_wire},
    service::ChatError,
    store::{StoreError, history::PAGE_MESSAGES},
    ws::{protocol::FrameRequest, writer::text_frame},
};

/// Most messages that one frame marks as read.
pub const READ_MAX: usize = 100;

/// Messages of a page for which no number is given.
const PAGE: usize = 50;

/// Most conversations whose unread messages one frame asks for.
pub const UNREAD_MAX: usize = 100;

/// Most bytes of a `ref`.
const REF_MAX: usize = 64;

/// Mark of a request, which its answer repeats.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Reference {
    Number(i64),
    Text(String),
}

/// A request, and how its answer is known.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeRequest {
    pub reference: Option<Reference>,
    pub conversation: Option<ConversationId>,
    pub action: NativeAction,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeAction {
    Subscribe {
        after: Option<Cursor>,
        limit: usize,
    },
    Unsubscribe,
    Send {
        id: MessageId,
        sender: Option<String>,
        content: String,
        kind: String,
    },
    /// Messages before or behind a place; the newest without one.
    History {
        place: Option<HistoryPlace>,
        limit: usize,
    },
    Read {
        user: Option<String>,
        messages: Vec<MessageId>,
    },
    Typing {
        user: Option<String>,
        is_typing: bool,
    },
    /// The numbers of messages that a user has not read.
    Unread {
        user: Option<String>,
        conversations: Vec<ConversationId>,
    },
    Ping,
}

/// Start of a page of history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HistoryPlace {
    Before(Cursor),
    After(Cursor),
}

impl FrameRequest for NativeRequest {
    fn is_of(&self, caller: &Caller) -> bool {
        match &self.action {
            NativeAction::Send { sender: user, .. }
            | NativeAction::Read { user, .. }
            | NativeAction::Typing { user, .. }
            | NativeAction::Unread { user, .. } => user.as_ref().is_none_or(|user| caller.is(user)),
            _ => true,
        }
    }

    fn text_bytes(&self) -> Option<usize> {
        match &self.action {
            NativeAction::Send { content, .. } => Some(content.len()),
            _ => None,
        }
    }

    fn wants_page(&self) -> bool {
        matches!(
            self.action,
            NativeAction::Subscribe { .. } | NativeAction::History { .. }
        )
    }

    fn asked(&self) -> Asked {
        match self.action {
            NativeAction::Subscribe { .. } => Asked::Subscribe,
            NativeAction::Unsubscribe => Asked::Unsubscribe,
            NativeAction::Send { .. } => Asked::Say,
            NativeAction::History { .. } => Asked::History,
            NativeAction::Read { .. } => Asked::MarkRead,
            NativeAction::Typing { .. } => Asked::Typing,
            NativeAction::Unread { .. } => Asked::Unread,
            NativeAction::Ping => Asked::Ping,
        }
    }

    fn action(&self) -> LimitedAction {
        match self.action {
            NativeAction::Send { .. } | NativeAction::Read { .. } => LimitedAction::Message,
            NativeAction::Typing { .. } => LimitedAction::Typing,
            _ => LimitedAction::Request,
        }
    }
}

/// An id that a client has given.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct GivenId(Uuid);

impl TryFrom<String> for GivenId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        Uuid::try_parse(&text).map(GivenId).map_err(|_| NotAnId)
    }
}

/// A text that is no id.
#[derive(Debug, thiserror::Error)]
#[error("an id must be a UUID")]
struct NotAnId;

/// Every member that a frame of a client may have.
#[derive(Deserialize)]
struct ClientFrame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "ref")]
    reference: Option<Reference>,
    conversation: Option<GivenId>,
    id: Option<GivenId>,
    sender: Option<String>,
    user: Option<String>,
    content: Option<String>,
    #[serde(rename = "kind")]
    message_kind: Option<String>,
    messages: Option<Vec<GivenId>>,
    conversations: Option<Vec<GivenId>>,
    is_typing: Option<bool>,
    after: Option<Cursor>,
    before: Option<Cursor>,
    limit: Option<usize>,
    token: Option<String>,
}

/// What a text holds.
pub enum NativeReading {
    Token(String),
    Request(NativeRequest),
}

/// Reads the text of a frame.
///
/// # Errors
/// The frame that says what is wrong with it.
pub fn read(text: &str) -> Result<NativeReading, Bytes> {
    let unreadable = |error: serde_json::Error| {
        ServerFrame::error(None, Code::BadFrame, error.to_string()).frame()
    };
    let frame: ClientFrame = serde_json::from_str(text).map_err(unreadable)?;
    let (reference, id) = (frame.reference.clone(), frame.id);
    let is_long = |it: &Reference| matches!(it, Reference::Text(text) if text.len() > REF_MAX);
    if reference.as_ref().is_some_and(is_long) {
        let why = format!("ref must have no more than {REF_MAX} bytes");
        return Err(ServerFrame::error(None, Code::BadFrame, why).frame());
    }
    let is_send = frame.kind == "send";
    request(frame).map_err(|why| {
        let answer = match id {
            Some(GivenId(id)) if is_send => ServerFrame::nack(id.into(), Code::BadFrame, why),
            _ => ServerFrame::error(reference, Code::BadFrame, why),
        };
        answer.frame()
    })
}

fn request(frame: ClientFrame) -> Result<NativeReading, String> {
    let needs = |name: &str| format!("{} needs {name}", frame.kind);
    let limit = frame.limit.unwrap_or(PAGE).clamp(1, PAGE_MESSAGES);
    let action = match frame.kind.as_str() {
        "auth" => {
            return frame
                .token
                .map(NativeReading::Token)
                .ok_or_else(|| needs("token"));
        }
        "subscribe" => NativeAction::Subscribe {
            after: frame.after,
            limit,
        },
        "unsubscribe" => NativeAction::Unsubscribe,
        "send" => NativeAction::Send {
            id: frame.id.ok_or_else(|| needs("id"))?.0.into(),
            sender: frame.sender,
            content: frame
                .content
                .filter(|it| !it.is_empty())
                .ok_or_else(|| needs("content"))?,
            kind: frame.message_kind.unwrap_or_else(|| "text".to_owned()),
        },
        "history" => NativeAction::History {
            place: match (frame.before, frame.after) {
                (Some(_), Some(_)) => return Err("history takes before or after".to_owned()),
                (Some(before), None) => Some(HistoryPlace::Before(before)),
                (None, after) => after.map(HistoryPlace::After),
            },
            limit,
        },
        "read" => {
            let messages = frame.messages.ok_or_else(|| needs("messages"))?;
            if messages.is_empty() || messages.len() > READ_MAX {
                return Err(format!("read takes 1 to {READ_MAX} messages"));
            }
            NativeAction::Read {
                user: frame.user,
                messages: messages.into_iter().map(|it| it.0.into()).collect(),
            }
        }
        "typing" => NativeAction::Typing {
            user: frame.user,
            is_typing: frame.is_typing.unwrap_or(true),
        },
        "unread" => {
            let of = frame.conversations.ok_or_else(|| needs("conversations"))?;
            if of.len() > UNREAD_MAX {
                return Err(format!("unread takes up to {UNREAD_MAX} conversations"));
            }
            NativeAction::Unread {
                user: frame.user,
                conversations: of.into_iter().map(|it| it.0.into()).collect(),
            }
        }
        "ping" => NativeAction::Ping,
        kind => return Err(format!("there is no type {kind:?}")),
    };
    let is_of_one = !matches!(action, NativeAction::Ping | NativeAction::Unread { .. });
    if is_of_one && frame.conversation.is_none() {
        return Err(needs("conversation"));
    }
    Ok(NativeReading::Request(NativeRequest {
        reference: frame.reference,
        conversation: frame.conversation.map(|it| it.0.into()),
        action,
    }))
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    BadFrame,
    NotYou,
    NoSender,
    NotSubscribed,
    TooManySubscriptions,
    NoConversation,
    NoMessage,
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
            ChatError::IdTaken => Code::IdTaken,
            ChatError::TooLong { .. } => Code::TooLong,
            ChatError::Alike => Code::AmbiguousUser,
            ChatError::Store(StoreError::Unknown(_)) => Code::Unknown,
            ChatError::Store(error) if error.may_pass() => Code::Unavailable,
            ChatError::Store(StoreError::Closed) | ChatError::Layer(_) => Code::Unavailable,
            ChatError::Store(_) => Code::Refused,
        }
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
    pub content: &'a str,
    pub created_at: String,
    pub updated_at: String,
}

impl<'a> MessageView<'a> {
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        let [created_at, updated_at] = message.times().map(time);
        MessageView {
            id: Shown(message.id),
            sender: &message.sender_id,
            kind: &message.message_type,
            content: &message.content,
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

/// The number of messages that a user has not read in a conversation.
#[derive(Serialize)]
pub struct UnreadView {
    pub conversation: Shown<ConversationId>,
    pub unread: usize,
}

/// Bounds that a client should know.
#[derive(Clone, Copy, Serialize)]
pub struct HelloLimits {
    pub message_bytes: usize,
    pub page_messages: usize,
    pub read_messages: usize,
    pub subscriptions: usize,
}

/// A frame to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    Hello {
        user: Option<&'a str>,
        time: String,
        limits: HelloLimits,
    },
    /// Messages that the client may not have. `cursor` is for coming back, `next` for going on with
    /// newer ones if there are more, `before` for older ones.
    Subscribed {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        conversation: Shown<ConversationId>,
        /// The cursor was too old: what the client has is to be dropped.
        reload: bool,
        messages: Vec<MessageView<'a>>,
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
    Typing {
        conversation: Shown<ConversationId>,
        user: &'a str,
        is_typing: bool,
    },
    /// An event that cannot be shown as one of these: the client reads the history behind
    /// its cursor.
    Changed { conversation: Shown<ConversationId> },
}

impl ServerFrame<'_> {
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

    /// Answers a request that was not done.
    #[must_use]
    pub fn refusal(request: &NativeRequest, code: Code, detail: String) -> Self {
        match &request.action {
            NativeAction::Send { id, .. } => ServerFrame::nack(*id, code, detail),
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
