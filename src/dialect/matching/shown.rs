//! Forms of rooms and messages in answers, frames and Redis.

use bytes::Bytes;
use uuid::Uuid;

use super::database::{ListedRoom, Message, Room, Sender};
use crate::{
    config::{BlindIds, Matching, MatchingFrames},
    fastapi::{invalid::member, times::zulu},
    python::{
        datetime::Timestamp,
        json::{Constants, loads, write_ascii, write_raw},
    },
    value::{Text, Value},
    ws::writer::text_frame,
};

/// Settings that the forms depend on.
#[derive(Clone, Copy, Debug)]
pub struct Forms {
    pub blind_ids: BlindIds,
    pub frames: MatchingFrames,
}

impl From<&Matching> for Forms {
    fn from(settings: &Matching) -> Self {
        Forms {
            blind_ids: settings.blind_ids,
            frames: settings.frames,
        }
    }
}

impl Forms {
    /// Returns the id that others see of a user.
    #[must_use]
    pub fn id(self, user: &str, member_id: Option<Uuid>, is_blind: bool) -> String {
        match member_id {
            Some(id) if is_blind && self.blind_ids == BlindIds::Member => id.to_string(),
            _ => user.to_owned(),
        }
    }

    fn sender(self, sender: &Sender) -> String {
        self.id(&sender.user, sender.member_id, sender.is_blind)
    }

    /// Returns a message as answers and peers have it.
    #[must_use]
    pub fn message(self, message: &Message) -> Value {
        let attachments = message.attachments.as_ref().map_or(Value::Null, |all| {
            Value::List(all.iter().map(|it| it.as_str().into()).collect())
        });
        Value::Map(vec![
            member("message_id", message.id.to_string().into()),
            member("room_id", message.room.to_string().into()),
            member("sender_id", self.sender(&message.sender).into()),
            member("sender_name", message.sender.name().into()),
            member("message_type", message.kind.as_str().into()),
            member("content", message.content.as_str().into()),
            member("attachments", attachments),
            member("created_at", zulu(message.created_at).into()),
            member("updated_at", zulu(message.updated_at).into()),
            member("deleted_at", Value::Null),
        ])
    }

    /// Returns a message as it is published.
    #[must_use]
    pub fn new_message(self, message: &Message) -> Value {
        Value::Map(vec![
            member("type", "new_message".into()),
            member("message", self.message(message)),
        ])
    }

    /// Returns what clients are sent of what was published.
    #[must_use]
    pub fn frame(self, published: &Value) -> Bytes {
        let nested = published
            .get("message")
            .filter(|_| self.frames == MatchingFrames::Flat);
        match nested {
            Some(Value::Map(members)) => {
                let mut flat = vec![member("type", "message".into())];
                flat.extend(members.iter().cloned());
                json_frame(&Value::Map(flat))
            }
            _ => json_frame(published),
        }
    }

    /// Returns a room with its members; `user` is who asks.
    #[must_use]
    pub fn room(self, room: &Room, user: &str) -> Value {
        let is_blind = room.mode == "blind";
        let group = |label: &str, info: &str| {
            let members = room.members.iter().filter(|it| it.group == label);
            let members = members.map(|it| {
                let name = if is_blind {
                    &it.anonymous_name
                } else {
                    &it.username
                };
                let name = name.as_deref().unwrap_or(&it.user);
                let id = self.id(&it.user, Some(it.member_id), is_blind);
                Value::Map(vec![
                    member("user_id", id.into()),
                    member("display_name", name.into()),
                    member("is_me", (it.user == user).into()),
                ])
            });
            let mut all = about(info);
            all.push(member("members", Value::List(members.collect())));
            Value::Map(all)
        };
        let [a, b] = &room.groups;
        Value::Map(vec![
            member("room_id", room.id.to_string().into()),
            member("room_name", room.name.as_str().into()),
            member("display_mode", room.mode.as_str().into()),
            member("group_a", group("A", a)),
            member("group_b", group("B", b)),
            member("created_at", zulu(room.created_at).into()),
        ])
    }
}

/// Returns the members of a group's JSON but those that are ours to say.
fn about(info: &str) -> Vec<(Text, Value)> {
    let ours = ["members", "member_ids"];
    match loads(info, Constants::Allow) {
        Ok(Value::Map(members)) => {
            let is_theirs =
                |(name, _): &(Text, Value)| !name.as_str().is_some_and(|it| ours.contains(&it));
            members.into_iter().filter(is_theirs).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns a room as a list has it.
#[must_use]
pub fn listed(room: &ListedRoom) -> Value {
    let last = room
        .last
        .as_ref()
        .map_or(Value::Null, |(content, name, at)| {
            Value::Map(vec![
                member("content", content.as_str().into()),
                member("sender_name", name.as_str().into()),
                member("created_at", zulu(*at).into()),
            ])
        });
    Value::Map(vec![
        member("room_id", room.id.to_string().into()),
        member("room_name", room.name.as_str().into()),
        member("display_mode", room.mode.as_str().into()),
        member("members_count", int(room.members)),
        member("unread_count", int(room.unread)),
        member("last_message", last),
        member("created_at", zulu(room.created_at).into()),
    ])
}

/// Returns that a user is typing, or no more.
#[must_use]
pub fn typing(user: &str, name: &str, is_typing: bool) -> Value {
    Value::Map(vec![
        member("type", "typing".into()),
        member("user_id", user.into()),
        member("user_name", name.into()),
        member("is_typing", is_typing.into()),
    ])
}

/// Returns that a user has read up to a message.
#[must_use]
pub fn read(room: Uuid, user: &str, message: Uuid, at: Timestamp) -> Value {
    Value::Map(vec![
        member("type", "read".into()),
        member("room_id", room.to_string().into()),
        member("user_id", user.into()),
        member("last_read_message_id", message.to_string().into()),
        member("read_at", zulu(at).into()),
    ])
}

/// Returns that a user has left.
#[must_use]
pub fn left(room: Uuid, user: &str) -> Value {
    Value::Map(vec![
        member("type", "member_left".into()),
        member("room_id", room.to_string().into()),
        member("user_id", user.into()),
    ])
}

/// Makes a frame of text: compact JSON, characters as themselves.
#[must_use]
pub fn json_frame(value: &Value) -> Bytes {
    text_frame(|out| write_raw(out, value))
}

/// Makes the frame of an error.
#[must_use]
pub fn error(text: &str) -> Bytes {
    json_frame(&Value::Map(vec![
        member("type", "error".into()),
        member("message", text.into()),
    ]))
}

/// Makes a frame with nothing but its type.
#[must_use]
pub fn bare(kind: &'static str) -> Bytes {
    json_frame(&Value::Map(vec![member("type", kind.into())]))
}

/// Writes JSON as peers do by `json.dumps`.
#[must_use]
pub fn dumped(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_ascii(&mut bytes, value);
    bytes
}

/// Makes an integer.
#[must_use]
pub fn int(number: i64) -> Value {
    Value::Int(number.into())
}
