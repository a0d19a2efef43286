//! An event on its way to the sockets of a conversation.

use uuid::Uuid;

use super::{
    frames::EventFrames,
    shown::{ShownKey, key_of, mark_key},
};
use crate::{
    chat::Event,
    id::MessageId,
    python::{datetime::Timestamp, pystr::str_of, uuid::from_python},
    value::Value,
};

/// An event as it came.
pub struct Told {
    pub key: Option<ShownKey>,
    /// The message that it tells of.
    pub message: Option<MessageId>,
    pub frames: EventFrames,
    /// When it was first sent, if it is sent again.
    pub resent: Option<Timestamp>,
}

impl Told {
    pub fn new(event: &Event, frames: EventFrames, resent: Option<Timestamp>) -> Self {
        let message = match event {
            Event::MessageSent(sent) => sent.id(),
            _ => None,
        };
        let key = match event {
            Event::MessageSent(_) => message.map(MessageId::bits),
            Event::MessageRead {
                message_id,
                user_id,
            } => Some(read_mark(message_id, user_id).unwrap_or_else(|| key_of(frames.first()))),
            Event::MessageChanged { change, .. } | Event::GroupChanged { change, .. } => {
                Some(change.bits())
            }
            Event::Typing { .. }
            | Event::Membership { .. }
            | Event::Delivered { .. }
            | Event::Presence(_)
            | Event::Foreign(_)
            | Event::Packed(_) => None,
        };
        Told {
            key,
            message,
            frames,
            resent,
        }
    }
}

/// Returns the key of the receipt that a read mark leaves in the store: both values are shown as
/// they were sent, and stored as text.
fn read_mark(message_id: &Value, user_id: &Value) -> Option<ShownKey> {
    let usual = message_id.as_str().and_then(|id| Uuid::try_parse(id).ok());
    let id = usual.or_else(|| from_python(message_id).ok())?.into();
    match user_id.as_str() {
        Some(user) => Some(mark_key(id, user)),
        None => str_of(user_id).as_str().map(|user| mark_key(id, user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(message_id: Value, user_id: Value) -> Option<ShownKey> {
        let event = Event::MessageRead {
            message_id,
            user_id,
        };
        Told::new(&event, EventFrames::default(), None).key
    }

    #[test]
    fn a_read_mark_is_known_in_every_spelling_of_its_values() {
        let id = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        let stored = Some(mark_key(id.into(), "7"));
        for spelling in [
            id.to_string(),
            id.simple().to_string().to_uppercase(),
            format!("urn:uuid:{{{id}}}"),
        ] {
            assert_eq!(key(spelling.as_str().into(), "7".into()), stored);
            assert_eq!(key(spelling.as_str().into(), Value::Int(7)), stored);
        }
        assert_ne!(key(id.to_string().into(), "8".into()), stored);
        let not_stored = key("no id".into(), "7".into());
        assert!(not_stored.is_some() && not_stored != stored);
    }
}
