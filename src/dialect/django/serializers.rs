//! Field names and their order, as clients see them: stands in for the original's
//! `chat/serializers.py`. REST answers, the history of a socket and group events share them.

use crate::{
    chat::{Conversation, Message, Receipt},
    id::KEY_MAX,
    python::{
        datetime::{Timestamp, Zone, to_wire},
        json::Part,
    },
    value::{Text, Value, ValueRef},
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

/// Returns the seven fields of `MessageSerializer`, of values of any form.
fn fields<'a, T>(
    message: &'a Message,
    id: T,
    message_type: T,
    [created_at, updated_at]: [T; 2],
    text: impl Fn(&'a str) -> T,
    flag: impl Fn(bool) -> T,
) -> [(&'static str, T); 7] {
    [
        ("id", id),
        ("sender_id", text(&message.sender_id)),
        ("content", text(&message.content)),
        ("message_type", message_type),
        ("created_at", created_at),
        ("updated_at", updated_at),
        ("is_deleted", flag(message.is_deleted)),
    ]
}

/// `MessageSerializer`.
#[must_use]
pub fn message(message: &Message, zone: &Zone) -> Value {
    let times = message.times().map(|at| time(at, zone));
    let message_type = message.message_type.as_str().into();
    let id = message.id.to_string().into();
    map(fields(
        message,
        id,
        message_type,
        times,
        Value::from,
        Value::from,
    ))
}

/// Calls `with` with the fields of a message that a socket is shown. Its type is as the sender
/// wrote it: the consumer answers with the JSON value it was given, while the table holds that
/// value's `str()`.
pub fn with_fields(
    message: &Message,
    shown_type: ValueRef<'_>,
    zone: &Zone,
    with: impl FnOnce(&[(&'static str, ValueRef<'_>)]),
) {
    let mut id = [0; KEY_MAX];
    let id = message.id.0.encode(&mut id);
    let created_at = to_wire(message.created_at, zone);
    let updated_at =
        (message.updated_at != message.created_at).then(|| to_wire(message.updated_at, zone));
    let times = [&created_at, updated_at.as_ref().unwrap_or(&created_at)];
    with(&fields(
        message,
        ValueRef::Text(id),
        shown_type,
        times.map(|it| ValueRef::Text(it)),
        ValueRef::Text,
        ValueRef::Bool,
    ));
}

/// `ConversationSerializer` up to the first of its messages, which are a [`message`] each.
pub fn conversation_start(of: &Conversation, zone: &Zone, out: &mut Vec<Part>) {
    let [one, two] = of.participants.pair();
    out.push(Part::Map);
    for (name, value) in [
        ("id", of.id.to_string().into()),
        ("participant1_id", one.into()),
        ("participant2_id", two.into()),
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
