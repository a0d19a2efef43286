//! Field names and their order, as clients see them: stands in for the original's
//! `chat/serializers.py`. REST answers, the history of a socket and group events share them.

use crate::{
    chat::{Conversation, Message, Receipt},
    django::datetime::{Timestamp, Zone, to_wire},
    value::{Text, Value},
};

fn map<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
    Value::Map(
        fields
            .into_iter()
            .map(|(name, value)| (Text::fixed(name), value))
            .collect(),
    )
}

fn time(at: Timestamp, zone: &Zone) -> Value {
    to_wire(at, zone).into()
}

/// `MessageSerializer`: seven fields.
#[must_use]
pub fn message(message: &Message, zone: &Zone) -> Value {
    echoed_message(message, message.message_type.as_str().into(), zone)
}

/// A message whose type is shown as the sender wrote it: the consumer answers with the JSON value
/// it was given, while the table holds that value's `str()`.
#[must_use]
pub fn echoed_message(message: &Message, message_type: Value, zone: &Zone) -> Value {
    map([
        ("id", message.id.to_string().into()),
        ("sender_id", message.sender_id.as_str().into()),
        ("content", message.content.as_str().into()),
        ("message_type", message_type),
        ("created_at", time(message.created_at, zone)),
        ("updated_at", time(message.updated_at, zone)),
        ("is_deleted", message.is_deleted.into()),
    ])
}

/// A list of messages, as the history of a socket and the REST list have it.
#[must_use]
pub fn messages(messages: &[Message], zone: &Zone) -> Value {
    Value::List(messages.iter().map(|m| message(m, zone)).collect())
}

/// `ConversationSerializer`: all messages, and the newest that is not deleted.
#[must_use]
pub fn conversation(conversation: &Conversation, zone: &Zone) -> Value {
    let last_message = conversation
        .last_message()
        .map_or(Value::Null, |m| message(m, zone));
    map([
        ("id", conversation.id.to_string().into()),
        (
            "participant1_id",
            conversation.participant1_id.as_str().into(),
        ),
        (
            "participant2_id",
            conversation.participant2_id.as_str().into(),
        ),
        ("created_at", time(conversation.created_at, zone)),
        ("updated_at", time(conversation.updated_at, zone)),
        ("is_active", conversation.is_active.into()),
        ("messages", messages(&conversation.messages, zone)),
        ("last_message", last_message),
    ])
}

/// `DeliveryReceiptSerializer`.
#[must_use]
pub fn receipt(receipt: &Receipt, zone: &Zone) -> Value {
    map([
        ("id", receipt.id.to_string().into()),
        ("message", receipt.message_id.to_string().into()),
        ("user_id", receipt.user_id.as_str().into()),
        ("status", receipt.status.as_str().into()),
        ("timestamp", time(receipt.timestamp, zone)),
    ])
}
