//! Requests of clients that speak `chatferry.v1`: JSON objects of several types. `PROTOCOL.md` is
//! their specification.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant};

use super::{
    attached::ATTACHMENTS_MAX,
    cursor::Cursor,
    frames::{Code, ServerFrame},
    groups,
};
use crate::{
    chat::{GroupAction, policy::Caller},
    id::{AttachmentId, ConversationId, MessageId},
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

/// Most conversations of a page.
pub const CONVERSATIONS_MAX: usize = 100;

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
    pub action: NativeAction,
}

/// Action that a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeAction {
    In(ConversationId, TalkAction),
    /// A page of the conversations of a user, the latest message first.
    Conversations {
        user: Option<String>,
        after: Option<Cursor>,
        limit: usize,
    },
    /// The conversation of a user and somebody else.
    Open {
        user: Option<String>,
        with: String,
    },
    /// A group of a user and others. Under the same key it is made once.
    Create {
        user: Option<String>,
        name: String,
        members: Vec<String>,
        key: Option<String>,
    },
    /// The numbers of messages that a user has not read.
    Unread {
        user: Option<String>,
        conversations: Vec<ConversationId>,
    },
    Ping,
}

/// Action in one conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum TalkAction {
    /// Enters the conversation, and says who is there unless that is known.
    Subscribe {
        user: Option<String>,
        after: Option<Cursor>,
        limit: usize,
    },
    Unsubscribe,
    Send {
        id: MessageId,
        sender: Option<String>,
        content: String,
        kind: String,
        attachments: Vec<AttachmentId>,
    },
    /// Gives a message new content, or deletes it.
    Change {
        message: MessageId,
        user: Option<String>,
        content: Option<String>,
    },
    /// Messages before or behind a place; the newest without one.
    History {
        place: Option<HistoryPlace>,
        limit: usize,
    },
    Mark {
        user: Option<String>,
        messages: Vec<MessageId>,
        mark: Mark,
    },
    Receipts {
        messages: Vec<MessageId>,
    },
    Typing {
        user: Option<String>,
        is_typing: bool,
    },
    /// Changes the group that it is about.
    Regroup {
        user: Option<String>,
        action: GroupAction,
    },
}

/// Statement of a client about messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Read,
    Delivered,
}

/// Start of a page of history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HistoryPlace {
    Before(Cursor),
    After(Cursor),
}

impl NativeRequest {
    /// Returns the action, if it is about one conversation.
    fn talk(&self) -> Option<&TalkAction> {
        match &self.action {
            NativeAction::In(_, action) => Some(action),
            _ => None,
        }
    }

    /// Returns the user that it names.
    fn user(&self) -> Option<&str> {
        match &self.action {
            NativeAction::Conversations { user, .. }
            | NativeAction::Open { user, .. }
            | NativeAction::Create { user, .. }
            | NativeAction::Unread { user, .. }
            | NativeAction::In(
                _,
                TalkAction::Subscribe { user, .. }
                | TalkAction::Send { sender: user, .. }
                | TalkAction::Change { user, .. }
                | TalkAction::Mark { user, .. }
                | TalkAction::Typing { user, .. }
                | TalkAction::Regroup { user, .. },
            ) => user.as_deref(),
            _ => None,
        }
    }
}

impl FrameRequest for NativeRequest {
    fn is_of(&self, caller: &Caller) -> bool {
        self.user().is_none_or(|user| caller.is(user))
    }

    fn text_bytes(&self) -> Option<usize> {
        match self.talk()? {
            TalkAction::Send { content, .. }
            | TalkAction::Change {
                content: Some(content),
                ..
            } => Some(content.len()),
            _ => None,
        }
    }

    fn wants_page(&self) -> bool {
        let page = |action: &TalkAction| {
            matches!(
                action,
                TalkAction::Subscribe { .. } | TalkAction::History { .. }
            )
        };
        let is_list = matches!(self.action, NativeAction::Conversations { .. });
        is_list || self.talk().is_some_and(page)
    }

    fn asked(&self) -> Asked {
        let action = match &self.action {
            NativeAction::In(_, action) => action,
            NativeAction::Conversations { .. } => return Asked::Conversations,
            NativeAction::Open { .. } => return Asked::Open,
            NativeAction::Create { .. } => return Asked::Create,
            NativeAction::Unread { .. } => return Asked::Unread,
            NativeAction::Ping => return Asked::Ping,
        };
        match action {
            TalkAction::Subscribe { .. } => Asked::Subscribe,
            TalkAction::Unsubscribe => Asked::Unsubscribe,
            TalkAction::Send { .. } => Asked::Say,
            TalkAction::Change { .. } => Asked::Change,
            TalkAction::History { .. } => Asked::History,
            TalkAction::Mark {
                mark: Mark::Read, ..
            } => Asked::MarkRead,
            TalkAction::Mark { .. } => Asked::MarkDelivered,
            TalkAction::Receipts { .. } => Asked::Receipts,
            TalkAction::Typing { .. } => Asked::Typing,
            TalkAction::Regroup { .. } => Asked::Group,
        }
    }

    fn action(&self) -> LimitedAction {
        let makes_one = matches!(
            self.action,
            NativeAction::Open { .. } | NativeAction::Create { .. }
        );
        if makes_one {
            return LimitedAction::Conversation;
        }
        match self.talk() {
            Some(
                TalkAction::Send { .. }
                | TalkAction::Change { .. }
                | TalkAction::Mark { .. }
                | TalkAction::Regroup { .. },
            ) => LimitedAction::Message,
            Some(TalkAction::Typing { .. }) => LimitedAction::Typing,
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

/// Returns the id that a client has chosen for a message; `None` if not every database can hold it.
/// MariaDB refuses some UUIDs of version 8 (`Incorrect uuid value`) and of no version.
#[must_use]
pub fn chosen(id: Uuid) -> Option<MessageId> {
    let is_known = id.get_variant() == Variant::RFC4122 && (1..=7).contains(&id.get_version_num());
    is_known.then(|| id.into())
}

/// Text for clients whose id is not [`chosen`] so.
pub const UNKNOWN_VERSION: &str = "the id must be a UUID of version 1 to 7";

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
    #[serde(default)]
    attachments: Vec<GivenId>,
    #[serde(rename = "kind")]
    message_kind: Option<String>,
    message: Option<GivenId>,
    messages: Option<Vec<GivenId>>,
    conversations: Option<Vec<GivenId>>,
    is_typing: Option<bool>,
    after: Option<Cursor>,
    before: Option<Cursor>,
    limit: Option<usize>,
    token: Option<String>,
    with: Option<String>,
    name: Option<String>,
    members: Option<Vec<String>>,
    member: Option<String>,
    role: Option<String>,
    key: Option<String>,
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
    let action = match frame.kind.as_str() {
        "auth" => {
            let token = frame.token.map(NativeReading::Token);
            return token.ok_or_else(|| needs("token"));
        }
        "conversations" => NativeAction::Conversations {
            user: frame.user,
            after: frame.after,
            limit: frame.limit.unwrap_or(PAGE).clamp(1, CONVERSATIONS_MAX),
        },
        "open" => {
            let with = frame.with.filter(|user| !user.is_empty());
            NativeAction::Open {
                user: frame.user,
                with: with.ok_or_else(|| needs("with"))?,
            }
        }
        "create" => NativeAction::Create {
            user: frame.user,
            name: groups::name(frame.name)?,
            members: groups::users(frame.members)?,
            key: groups::key(frame.key)?,
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
        _ => {
            let (conversation, missing) = (frame.conversation, needs("conversation"));
            let reference = frame.reference.clone();
            let action = talk(frame)?;
            let GivenId(of) = conversation.ok_or(missing)?;
            let action = NativeAction::In(of.into(), action);
            return Ok(NativeReading::Request(NativeRequest { reference, action }));
        }
    };
    Ok(NativeReading::Request(NativeRequest {
        reference: frame.reference,
        action,
    }))
}

/// Returns the attachments of a message.
///
/// # Errors
/// When there are too many, or one comes twice.
pub fn distinct(
    ids: impl Iterator<Item = AttachmentId>,
) -> Result<Vec<AttachmentId>, &'static str> {
    let ids: Vec<AttachmentId> = ids.collect();
    let several: HashSet<AttachmentId> = ids.iter().copied().collect();
    if ids.len() > ATTACHMENTS_MAX || several.len() < ids.len() {
        return Err("attachments takes up to 32 ids, each once");
    }
    Ok(ids)
}

/// Reads what is about one conversation.
fn talk(frame: ClientFrame) -> Result<TalkAction, String> {
    let needs = |name: &str| format!("{} needs {name}", frame.kind);
    let limit = frame.limit.unwrap_or(PAGE).clamp(1, PAGE_MESSAGES);
    let content = || {
        let content = frame.content.as_deref().filter(|it| !it.is_empty());
        content.map(str::to_owned).ok_or_else(|| needs("content"))
    };
    let message = || {
        let id = frame.message.ok_or_else(|| needs("message"))?;
        Ok::<MessageId, String>(id.0.into())
    };
    let messages = || {
        let ids = frame.messages.as_deref().ok_or_else(|| needs("messages"))?;
        if ids.is_empty() || ids.len() > READ_MAX {
            return Err(format!("{} takes 1 to {READ_MAX} messages", frame.kind));
        }
        Ok(ids.iter().map(|it| it.0.into()).collect())
    };
    let attachments = || distinct(frame.attachments.iter().map(|it| it.0.into()));
    Ok(match frame.kind.as_str() {
        "subscribe" => TalkAction::Subscribe {
            user: frame.user,
            after: frame.after,
            limit,
        },
        "unsubscribe" => TalkAction::Unsubscribe,
        "send" => TalkAction::Send {
            id: chosen(frame.id.ok_or_else(|| needs("id"))?.0).ok_or(UNKNOWN_VERSION)?,
            content: match frame.attachments.as_slice() {
                [] => content()?,
                _ => frame.content.unwrap_or_default(),
            },
            attachments: attachments()?,
            sender: frame.sender,
            kind: frame.message_kind.unwrap_or_else(|| "text".to_owned()),
        },
        "edit" => TalkAction::Change {
            message: message()?,
            content: Some(content()?),
            user: frame.user,
        },
        "delete" => TalkAction::Change {
            message: message()?,
            content: None,
            user: frame.user,
        },
        "history" => TalkAction::History {
            place: match (frame.before, frame.after) {
                (Some(_), Some(_)) => return Err("history takes before or after".to_owned()),
                (Some(before), None) => Some(HistoryPlace::Before(before)),
                (None, after) => after.map(HistoryPlace::After),
            },
            limit,
        },
        "read" => TalkAction::Mark {
            messages: messages()?,
            mark: Mark::Read,
            user: frame.user,
        },
        "delivered" => TalkAction::Mark {
            messages: messages()?,
            mark: Mark::Delivered,
            user: frame.user,
        },
        "receipts" => TalkAction::Receipts {
            messages: messages()?,
        },
        "typing" => TalkAction::Typing {
            user: frame.user,
            is_typing: frame.is_typing.unwrap_or(true),
        },
        "invite" | "remove" | "leave" | "rename" | "role" => TalkAction::Regroup {
            action: match frame.kind.as_str() {
                "invite" => GroupAction::Invite(groups::users(frame.members)?),
                "remove" => GroupAction::Remove(groups::user(frame.member)?),
                "rename" => GroupAction::Rename(groups::name(frame.name)?),
                "role" => groups::assigning(frame.member, frame.role.as_deref())?,
                _ => GroupAction::Leave,
            },
            user: frame.user,
        },
        kind => return Err(format!("there is no type {kind:?}")),
    })
}
