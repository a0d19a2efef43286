//! Frames of `chatferry.v1` for the events of a conversation. Other processes, Django among them,
//! describe a message as Django's own clients see it.

use bytes::Bytes;

use super::{
    cursor::Cursor,
    frames::{MessageView, PresenceView, ServerFrame, Shown},
    groups::GroupView,
};
use crate::{
    chat::{Event, Message, SentMessage},
    id::{ConversationId, MessageId},
    python::{
        datetime::{Timestamp, from_sqlite},
        pystr::{is_truthy, str_of},
    },
    value::{Text, Value},
};

/// Returns the frame of an event of a conversation.
pub fn frame(conversation_id: ConversationId, event: &Event) -> Bytes {
    let conversation = Shown(conversation_id);
    let frame = match event {
        Event::MessageSent(SentMessage::Stored { message, .. }) => ServerFrame::Message {
            conversation,
            message: MessageView::of(message),
            cursor: Cursor::shown(message, Timestamp::now()),
        },
        Event::MessageSent(SentMessage::Described { id, body }) => {
            return match described(conversation_id, *id, body) {
                Some(message) => ServerFrame::Message {
                    conversation,
                    message: MessageView::of(&message),
                    cursor: Cursor::shown(&message, Timestamp::now()),
                }
                .frame(),
                None => ServerFrame::Changed { conversation }.frame(),
            };
        }
        Event::MessageRead {
            message_id,
            user_id,
        } => match (text(message_id), text(user_id)) {
            (Some(message), Some(user)) => {
                return ServerFrame::Read {
                    conversation,
                    message: &message,
                    user: &user,
                }
                .frame();
            }
            _ => ServerFrame::Changed { conversation },
        },
        Event::Typing { user_id, is_typing } => match text(user_id) {
            Some(user) => {
                return ServerFrame::Typing {
                    conversation,
                    user: &user,
                    is_typing: is_truthy(is_typing),
                }
                .frame();
            }
            None => ServerFrame::Changed { conversation },
        },
        Event::MessageChanged { message, .. } => ServerFrame::changed(message, None),
        Event::GroupChanged { group, .. } => ServerFrame::Group {
            reference: None,
            conversation,
            group: GroupView::of(group),
        },
        Event::Membership { user_id, is_member } => ServerFrame::Membership {
            conversation,
            user: user_id,
            is_member: *is_member,
        },
        Event::Delivered { user_id, messages } => ServerFrame::Delivered {
            conversation,
            messages: messages.iter().copied().map(Shown).collect(),
            user: user_id,
        },
        Event::Presence(users) => ServerFrame::Presence {
            conversation,
            users: users
                .iter()
                .map(|(user, online)| PresenceView {
                    user,
                    online: *online,
                })
                .collect(),
        },
        Event::Foreign(_) | Event::Packed(_) => ServerFrame::Changed { conversation },
    };
    frame.frame()
}

/// Returns the message that somebody else describes, if it is described as Django does.
fn described(
    conversation_id: ConversationId,
    id: Option<MessageId>,
    body: &Value,
) -> Option<Message> {
    let of = |name: &str| body.get(name).and_then(text);
    let time_of = |name: &str| of(name).as_deref().and_then(from_sqlite);
    let created_at = time_of("created_at")?;
    Some(Message {
        id: id?,
        conversation_id,
        sender_id: of("sender_id")?,
        content: of("content")?,
        message_type: of("message_type").unwrap_or_else(|| "text".to_owned()),
        created_at,
        updated_at: time_of("updated_at").unwrap_or(created_at),
        is_deleted: body.get("is_deleted").is_some_and(is_truthy),
    })
}

/// Returns a value as the text that its column holds.
fn text(value: &Value) -> Option<String> {
    match str_of(value) {
        Text::Utf8(text) if !matches!(value, Value::Null) => Some(text.into_owned()),
        _ => None,
    }
}
