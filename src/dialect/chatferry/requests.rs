//! Requests of clients that speak `chatferry.v1`: JSON objects of several types. `PROTOCOL.md` is
//! their specification.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    cursor::Cursor,
    frames::{Code, ServerFrame},
};
use crate::{
    chat::policy::Caller,
    id::{ConversationId, MessageId},
    limits::LimitedAction,
    metrics::Asked,
    store::history::PAGE_MESSAGES,
    ws::protocol::FrameRequest,
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

/// Action that a client asks for.
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

/// Content of a text.
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
