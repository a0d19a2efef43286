//! Events for other services: made of the rows that are written, and kept beside them.
//!
//! The id of an event is made of its row's, so that a write that is repeated, and a process that
//! finds the row later, make the same event again and not another one.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{Message, NewChange, Receipt};
use crate::{
    id::{ConversationId, Key},
    python::{
        datetime::{Timestamp, to_iso_utc},
        json::write_ascii_members,
    },
    value::{Value, ValueRef},
};

/// Type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutboxKind {
    ConversationCreated,
    MessageCreated,
    MessagesRead,
    MessageUpdated,
    MessageDeleted,
}

impl OutboxKind {
    pub const ALL: [OutboxKind; 5] = [
        OutboxKind::ConversationCreated,
        OutboxKind::MessageCreated,
        OutboxKind::MessagesRead,
        OutboxKind::MessageUpdated,
        OutboxKind::MessageDeleted,
    ];

    /// Returns the name of the type in envelopes, topics and the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OutboxKind::ConversationCreated => "conversation.created",
            OutboxKind::MessageCreated => "message.created",
            OutboxKind::MessagesRead => "messages.read",
            OutboxKind::MessageUpdated => "message.updated",
            OutboxKind::MessageDeleted => "message.deleted",
        }
    }
}

/// An event that is about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOutboxEvent {
    /// Of version 7, the same each time for the same row.
    pub id: Uuid,
    pub kind: OutboxKind,
    /// Events of one conversation are published in their order.
    pub conversation_id: ConversationId,
    pub at: Timestamp,
    /// A JSON object in ASCII, as Python's `json.dumps` writes it.
    pub data: String,
}

impl NewOutboxEvent {
    /// A conversation of these users, or a group, that was made at a time.
    #[must_use]
    pub fn conversation_created(of: ConversationId, users: &[String], made_at: Timestamp) -> Self {
        let users = Value::List(users.iter().map(|user| user.as_str().into()).collect());
        let (id, at) = (of.to_string(), to_iso_utc(made_at));
        NewOutboxEvent::new(
            (OutboxKind::ConversationCreated, of, made_at),
            (of.into(), made_at),
            &[
                ("conversation_id", ValueRef::Text(&id)),
                ("participant_ids", ValueRef::Value(&users)),
                ("created_at", ValueRef::Text(&at)),
            ],
        )
    }

    /// The six fields are those of the original, in its order.
    #[must_use]
    pub fn message_created(message: &Message) -> Self {
        let texts = MessageTexts::of(message);
        NewOutboxEvent::new(
            (
                OutboxKind::MessageCreated,
                message.conversation_id,
                message.created_at,
            ),
            (message.id.into(), message.created_at),
            &texts.fields(message),
        )
    }

    /// A message as this change has left it: updated, or deleted.
    #[must_use]
    pub fn message_changed(message: &Message, by: &NewChange) -> Self {
        let texts = MessageTexts::of(message);
        let updated_at = to_iso_utc(message.updated_at);
        let of = (by.change.id.into(), by.at);
        if message.is_deleted {
            return NewOutboxEvent::new(
                (
                    OutboxKind::MessageDeleted,
                    message.conversation_id,
                    message.updated_at,
                ),
                of,
                &[
                    ("message_id", ValueRef::Text(&texts.message_id)),
                    ("conversation_id", ValueRef::Text(&texts.conversation_id)),
                    ("sender_id", ValueRef::Text(&message.sender_id)),
                    ("deleted_at", ValueRef::Text(&updated_at)),
                ],
            );
        }
        let mut fields = texts.fields(message).to_vec();
        fields.push(("updated_at", ValueRef::Text(&updated_at)));
        NewOutboxEvent::new(
            (
                OutboxKind::MessageUpdated,
                message.conversation_id,
                message.updated_at,
            ),
            of,
            &fields,
        )
    }

    /// A message of a conversation has been read, as this stored receipt says; `at` is when. Marking
    /// it again makes the same event.
    #[must_use]
    pub fn messages_read(
        receipt: &Receipt,
        conversation_id: ConversationId,
        at: Timestamp,
    ) -> Self {
        let messages = Value::List(vec![receipt.message_id.to_string().into()]);
        let (id, read_at) = (conversation_id.to_string(), to_iso_utc(at));
        NewOutboxEvent::new(
            (OutboxKind::MessagesRead, conversation_id, at),
            (receipt.id.into(), receipt.timestamp),
            &[
                ("conversation_id", ValueRef::Text(&id)),
                ("user_id", ValueRef::Text(&receipt.user_id)),
                ("message_ids", ValueRef::Value(&messages)),
                ("read_at", ValueRef::Text(&read_at)),
            ],
        )
    }

    fn new(
        (kind, conversation_id, at): (OutboxKind, ConversationId, Timestamp),
        of: (Key, Timestamp),
        fields: &[(&'static str, ValueRef<'_>)],
    ) -> Self {
        let mut data = vec![b'{'];
        write_ascii_members(&mut data, fields);
        data.push(b'}');
        NewOutboxEvent {
            id: event_id(kind, of),
            kind,
            conversation_id,
            at,
            // It is ASCII.
            data: String::from_utf8(data).unwrap_or_default(),
        }
    }
}

/// Values of a message that are not texts, as texts.
struct MessageTexts {
    message_id: String,
    conversation_id: String,
    created_at: String,
}

impl MessageTexts {
    fn of(message: &Message) -> Self {
        MessageTexts {
            message_id: message.id.to_string(),
            conversation_id: message.conversation_id.to_string(),
            created_at: to_iso_utc(message.created_at),
        }
    }

    fn fields<'a>(&'a self, message: &'a Message) -> [(&'static str, ValueRef<'a>); 6] {
        [
            ("message_id", ValueRef::Text(&self.message_id)),
            ("conversation_id", ValueRef::Text(&self.conversation_id)),
            ("sender_id", ValueRef::Text(&message.sender_id)),
            ("content", ValueRef::Text(&message.content)),
            ("message_type", ValueRef::Text(&message.message_type)),
            ("created_at", ValueRef::Text(&self.created_at)),
        ]
    }
}

/// Makes the id of the event of a row: the row's time, and a digest in the place of random bits.
fn event_id(kind: OutboxKind, (row, at): (Key, Timestamp)) -> Uuid {
    let digest = Sha256::digest(format!("{}\n{row}", kind.as_str()));
    let mut bits = [0; 10];
    bits.copy_from_slice(&digest[..10]);
    let millis = u64::try_from(at.micros() / 1000).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{Change, receipt::READ},
        python::datetime::from_sqlite,
    };

    fn message() -> Message {
        let id = |last: u128| Uuid::from_u128(last);
        let at = from_sqlite("2026-11-20 08:54:05.545776").unwrap();
        Message {
            id: id(1).into(),
            conversation_id: id(2).into(),
            sender_id: "a".into(),
            content: "안\"\n".into(),
            message_type: "text".into(),
            created_at: at,
            updated_at: at,
            is_deleted: false,
        }
    }

    #[test]
    fn the_data_of_a_new_message_are_those_of_the_original() {
        let event = NewOutboxEvent::message_created(&message());
        assert_eq!(
            event.data,
            "{\"message_id\": \"00000000-0000-0000-0000-000000000001\", \
             \"conversation_id\": \"00000000-0000-0000-0000-000000000002\", \
             \"sender_id\": \"a\", \"content\": \"\\uc548\\\"\\n\", \"message_type\": \"text\", \
             \"created_at\": \"2026-11-20T08:54:05.545776+00:00\"}"
        );
    }

    #[test]
    fn the_same_row_makes_the_same_event_and_another_one_another() {
        let (one, mut other) = (message(), message());
        other.id = Uuid::from_u128(3).into();
        let id = |message: &Message| NewOutboxEvent::message_created(message).id;
        assert_eq!(id(&one), id(&one));
        assert_ne!(id(&one), id(&other));
        assert_eq!(id(&one).get_version_num(), 7);
        let by = NewChange {
            change: Change {
                id: Uuid::from_u128(1).into(),
                conversation_id: one.conversation_id,
                message_id: one.id,
            },
            content: Some("b".into()),
            at: one.created_at,
        };
        assert_ne!(id(&one), NewOutboxEvent::message_changed(&one, &by).id);
    }

    #[test]
    fn a_mark_that_is_repeated_is_the_same_event() {
        let at = message().created_at;
        let receipt = Receipt {
            id: Uuid::from_u128(4).into(),
            message_id: message().id,
            user_id: "b".into(),
            status: READ.into(),
            timestamp: at,
        };
        let later = Timestamp::from_micros(at.micros() + 5_000_000);
        let marked = |at| NewOutboxEvent::messages_read(&receipt, Uuid::nil().into(), at);
        assert_eq!(marked(at).id, marked(later).id);
        assert!(marked(later).data.contains("\"message_ids\": [\"0000"));
    }
}
