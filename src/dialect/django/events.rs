//! The events of the original's consumer (`chat/consumers.py`): one row for each handler.
//!
//! A frame has the same `type` and members as the group message that it is made of.

use uuid::Uuid;

use super::serializers::with_fields;
use crate::{
    chat::{Event, SentMessage},
    id::MessageId,
    layer::events::{EventMembers, EventTable, Strange, Take},
    python::datetime::Zone,
    value::{Value, ValueRef},
};

/// The handlers `chat_message`, `message_read` and `typing_status`.
pub struct Events {
    /// Zone of the times in messages.
    pub zone: Zone,
}

impl EventTable for Events {
    fn describe(&self, event: &Event, write: &mut dyn FnMut(&'static str, EventMembers<'_>)) {
        match event {
            Event::MessageSent(sent) => with_body(sent, &self.zone, |body| {
                write("chat_message", &[("message", body)]);
            }),
            Event::MessageRead {
                message_id,
                user_id,
            } => write(
                "message_read",
                &[
                    ("message_id", ValueRef::Value(message_id)),
                    ("user_id", ValueRef::Value(user_id)),
                ],
            ),
            Event::Typing { user_id, is_typing } => write(
                "typing_status",
                &[
                    ("user_id", ValueRef::Value(user_id)),
                    ("is_typing", ValueRef::Value(is_typing)),
                ],
            ),
            Event::MessageChanged { .. }
            | Event::GroupChanged { .. }
            | Event::Membership { .. }
            | Event::Delivered { .. }
            | Event::Presence(_)
            | Event::Foreign(_)
            | Event::Packed(_) => {}
        }
    }

    fn read(&self, handler: &str, take: &mut Take<'_>) -> Result<Option<Event>, Strange> {
        Ok(Some(match handler {
            "chat_message" => {
                let body = take("message")?;
                let id = id_of(&body);
                Event::MessageSent(SentMessage::Described { id, body })
            }
            "message_read" => Event::MessageRead {
                message_id: take("message_id")?,
                user_id: take("user_id")?,
            },
            "typing_status" => Event::Typing {
                user_id: take("user_id")?,
                is_typing: take("is_typing")?,
            },
            _ => return Ok(None),
        }))
    }
}

/// Calls `with` with the message as clients see it.
fn with_body(sent: &SentMessage, zone: &Zone, with: impl FnOnce(ValueRef<'_>)) {
    match sent {
        SentMessage::Described { body, .. } => with(ValueRef::Value(body)),
        SentMessage::Stored {
            message,
            shown_type,
        } => with_fields(message, ValueRef::Value(shown_type), zone, |fields| {
            with(ValueRef::Map(fields));
        }),
    }
}

/// Returns the id in a message as clients see it.
#[must_use]
pub fn id_of(body: &Value) -> Option<MessageId> {
    let id = Uuid::try_parse(body.get("id")?.as_str()?).ok()?;
    Some(id.into())
}
