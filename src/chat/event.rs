//! Events that the connected members of a conversation receive.

use std::sync::Arc;

use bytes::Bytes;

use super::{Group, Message};
use crate::{
    id::{ChangeId, MessageId},
    value::Value,
};

/// An event of a conversation. How it is written in a group message and in a frame is for a
/// dialect.
///
/// A value is what its sender wrote, of any type: Python code beside us sends events too.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    MessageSent(SentMessage),
    MessageRead {
        message_id: Value,
        user_id: Value,
    },
    Typing {
        user_id: Value,
        is_typing: Value,
    },
    /// A message as its sender has changed it, or deleted it. Only Chatferry's processes know of it.
    MessageChanged {
        change: ChangeId,
        message: Arc<Message>,
    },
    /// A group as a change of its name, members or roles has left it. Only Chatferry's processes know of
    /// it.
    GroupChanged {
        change: ChangeId,
        group: Arc<Group>,
    },
    /// A user has become a member of the group, or is none any more. It is for the user's own sockets.
    Membership {
        user_id: Arc<str>,
        is_member: bool,
    },
    /// Messages that a client of this user has got. Only Chatferry's processes know of it.
    Delivered {
        user_id: String,
        messages: Vec<MessageId>,
    },
    /// Users who have come online, and others who have left.
    Presence(Vec<(Arc<str>, bool)>),
    /// An event that no dialect has a name for: the whole of it, its `type` included. Only what
    /// `layer.passthrough` lists comes this far.
    Foreign(Value),
    /// An event of a hosted application, which only its own code understands: a map in msgpack. The
    /// chat neither sends nor gets any.
    Packed(Bytes),
}

/// A message that the members of its conversation are shown.
#[derive(Clone, Debug, PartialEq)]
pub enum SentMessage {
    /// A row of this process or one that it has read. The type is shown as the sender wrote it,
    /// while the table holds its text.
    Stored {
        message: Arc<Message>,
        shown_type: Value,
    },
    /// A message as another process describes it, in any shape; the id if it can be read.
    Described { id: Option<MessageId>, body: Value },
}

impl Event {
    /// Makes the event of a stored message, with its type as the table has it.
    #[must_use]
    pub fn stored(message: Arc<Message>) -> Self {
        let shown_type = message.message_type.as_str().into();
        Event::MessageSent(SentMessage::Stored {
            message,
            shown_type,
        })
    }

    /// Returns whether it is worthless some seconds later: it is then neither sent again nor shown.
    #[must_use]
    pub fn goes_stale(&self) -> bool {
        matches!(self, Event::Typing { .. })
    }
}

impl SentMessage {
    /// Returns the id of the message, if it is known.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        match self {
            SentMessage::Stored { message, .. } => Some(message.id),
            SentMessage::Described { id, .. } => *id,
        }
    }
}
