//! Field names and their order, as clients see them: stands in for the original's
//! `chat/serializers.py`. REST answers, the history of a socket and group events share them.

use crate::{
    chat::{Conversation, Message, Receipt},
    python::{
        datetime::{Timestamp, Zone, to_wire},
        json::Part,
    },
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

/// `ConversationSerializer` up to the first of its messages, which are a [`message`] each.
pub fn conversation_start(of: &Conversation, zone: &Zone, out: &mut Vec<Part>) {
    out.push(Part::Map);
    for (name, value) in [
        ("id", of.id.to_string().into()),
        ("participant1_id", of.participant1_id.as_str().into()),
        ("participant2_id", of.participant2_id.as_str().into()),
        ("created_at", time(of.created_at, zone)),
        ("updated_at", time(of.updated_at, zone)),
        ("is_active", of.is_active.into()),
    ] {
        out.extend([Part::Key(name), Part::Value(value)]);
    }
    out.extend([Part::Key("messages"), Part::List]);
}

/// The rest of a conversation after its last message; `last` is the newest that is not deleted.
pub fn conversation_end(last: Option<&Message>, zone: &Zone, out: &mut Vec<Part>) {
    let last = last.map_or(Value::Null, |last| message(last, zone));
    out.extend([
        Part::End,
        Part::Key("last_message"),
        Part::Value(last),
        Part::End,
    ]);
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
