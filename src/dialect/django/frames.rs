//! The JSON of the original's consumer (`chat/consumers.py`): what a client frame asks for, and
//! how events, history and errors are written, in the manner of Python's `json.dumps`.
//!
//! Where the original's consumer would crash and close with 1011, the sender gets an error frame
//! and the socket goes on; the texts of those are ours.

use bytes::Bytes;
use fastwebsockets::OpCode;

use crate::{
    chat::{Event, Message, policy::Caller},
    dialect::django::{serializers, token},
    id::MessageId,
    layer::events::EventTable,
    limits::LimitedAction,
    metrics::Asked,
    python::{
        datetime::Zone,
        json::{self, Constants, Part, PartWriter},
        pystr::{is_truthy, str_of},
        uuid::from_python,
    },
    service::ChatError,
    store::{REFUSED, StoreError},
    value::{Text, Value, ValueRef},
    ws::{
        protocol::{self, Reading},
        writer::{fragment, frame, text_frame},
    },
};

/// A request of the chat that a frame makes.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatRequest {
    Say {
        sender_id: String,
        content: String,
        /// As it is stored.
        message_type: String,
        /// As it was sent and will be shown.
        shown_type: Value,
    },
    MarkRead {
        message_id: MessageId,
        user_id: String,
        /// The event for all members: both ids as they were sent.
        event: Event,
    },
    Typing(Event),
}

impl protocol::FrameRequest for ChatRequest {
    // No user's id is anything but a text or a number.
    fn is_of(&self, caller: &Caller) -> bool {
        match self {
            _ if *caller == Caller::Anybody => true,
            ChatRequest::Say { sender_id, .. } => caller.is(sender_id),
            ChatRequest::MarkRead { user_id, .. } => caller.is(user_id),
            ChatRequest::Typing(Event::Typing { user_id, .. }) => match user_id {
                Value::Str(_) | Value::Int(_) => match str_of(user_id) {
                    Text::Utf8(id) => caller.is(&id),
                    Text::Surrogates(_) => false,
                },
                _ => false,
            },
            ChatRequest::Typing(_) => false,
        }
    }

    fn text_bytes(&self) -> Option<usize> {
        match self {
            ChatRequest::Say { content, .. } => Some(content.len()),
            ChatRequest::MarkRead { .. } | ChatRequest::Typing(_) => None,
        }
    }

    fn asked(&self) -> Asked {
        match self {
            ChatRequest::Say { .. } => Asked::Say,
            ChatRequest::MarkRead { .. } => Asked::MarkRead,
            ChatRequest::Typing(_) => Asked::Typing,
        }
    }

    fn action(&self) -> LimitedAction {
        match self {
            ChatRequest::Say { .. } | ChatRequest::MarkRead { .. } => LimitedAction::Message,
            ChatRequest::Typing(_) => LimitedAction::Typing,
        }
    }
}

/// Why a frame is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("Invalid JSON format")]
    Json,
    #[error("sender_id와 content가 필요합니다.")]
    Required,
    // From here on the original crashes.
    #[error("A message must be a JSON object")]
    NotAnObject,
    #[error("Binary messages are not supported")]
    Binary,
    #[error("{0} may not be null")]
    Null(&'static str),
    #[error("{0} must be valid Unicode text")]
    Surrogates(&'static str),
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    #[error("message_id is not a valid UUID")]
    NotUuid,
    // Ours: the original lets everybody speak as anybody.
    #[error("you can send, mark and type as yourself only")]
    NotYou,
}

use Rejection::{Json, NotAnObject, NotUuid, Null, OutOfRange, Required, Surrogates};

/// Reads the text of a frame. What the original silently ignores is [`Reading::Nothing`].
///
/// # Errors
/// A [`Rejection`] to be sent back; nothing is stored and no event is sent.
pub fn read(text: &str) -> Result<Reading<ChatRequest>, Rejection> {
    let data = json::loads(text, Constants::Allow).map_err(|_| Json)?;
    if !matches!(data, Value::Map(_)) {
        return Err(NotAnObject);
    }
    let request = match data.get("type").and_then(Value::as_str) {
        Some("chat_message") => Some(say(&data)?),
        Some("mark_as_read") => mark_read(data)?,
        Some("typing") => Some(typing(data)?),
        Some(token::TYPE) => return Ok(Reading::Token(token::of(&data))),
        _ => None,
    };
    Ok(request.map_or(Reading::Nothing, Reading::Request))
}

fn say(data: &Value) -> Result<ChatRequest, Rejection> {
    let given = |key| {
        data.get(key)
            .filter(|value| is_truthy(value))
            .ok_or(Required)
    };
    let (sender_id, content) = (given("sender_id")?, given("content")?);
    let shown_type = data
        .get("message_type")
        .cloned()
        .unwrap_or_else(|| "text".into());
    if shown_type == Value::Null {
        return Err(Null("message_type"));
    }
    Ok(ChatRequest::Say {
        sender_id: text("sender_id", sender_id)?,
        content: text("content", content)?,
        message_type: text("message_type", &shown_type)?,
        shown_type,
    })
}

fn mark_read(data: Value) -> Result<Option<ChatRequest>, Rejection> {
    let [message_id, user_id] = take(data, ["message_id", "user_id"]);
    let (Some(message_id), Some(user_id)) = (message_id, user_id) else {
        return Ok(None);
    };
    if !is_truthy(&message_id) || !is_truthy(&user_id) {
        return Ok(None);
    }
    let id = from_python(&message_id).map_err(|_| NotUuid)?;
    packable("message_id", &message_id)?;
    packable("user_id", &user_id)?;
    Ok(Some(ChatRequest::MarkRead {
        message_id: id.into(),
        user_id: text("user_id", &user_id)?,
        event: Event::MessageRead {
            message_id,
            user_id,
        },
    }))
}

fn typing(data: Value) -> Result<ChatRequest, Rejection> {
    let [user_id, is_typing] = take(data, ["user_id", "is_typing"]);
    let user_id = user_id.unwrap_or(Value::Null);
    let is_typing = is_typing.unwrap_or(Value::Bool(false));
    packable("user_id", &user_id)?;
    packable("is_typing", &is_typing)?;
    Ok(ChatRequest::Typing(Event::Typing { user_id, is_typing }))
}

/// Returns the named members of a map, moved out of it.
fn take<const N: usize>(data: Value, names: [&str; N]) -> [Option<Value>; N] {
    let mut taken = [const { None }; N];
    if let Value::Map(members) = data {
        for (key, value) in members {
            if let Some(place) = names.iter().position(|name| key == **name) {
                taken[place] = Some(value);
            }
        }
    }
    taken
}

/// `str(value)` as the original stores it.
fn text(field: &'static str, value: &Value) -> Result<String, Rejection> {
    match str_of(value) {
        Text::Utf8(text) => Ok(text.into_owned()),
        Text::Surrogates(_) => Err(Surrogates(field)),
    }
}

/// Checks whether `msgpack` can carry the value to other processes; Python's raises for integers
/// outside
/// -2^63..2^64-1 and for lone surrogates.
fn packable(field: &'static str, value: &Value) -> Result<(), Rejection> {
    match value {
        Value::Int(n) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n) => Ok(()),
        Value::Int(_) | Value::BigInt(_) => Err(OutOfRange(field)),
        Value::Str(Text::Surrogates(_)) => Err(Surrogates(field)),
        // The parser has bounded how deep this can go.
        Value::List(items) => items.iter().try_for_each(|item| packable(field, item)),
        Value::Map(members) => members.iter().try_for_each(|(key, item)| match key {
            Text::Surrogates(_) => Err(Surrogates(field)),
            Text::Utf8(_) => packable(field, item),
        }),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::Str(Text::Utf8(_)) => Ok(()),
    }
}

/// Returns the frame that every socket of a conversation gets for an event.
#[must_use]
pub fn event_frame(events: &dyn EventTable, event: &Event) -> Bytes {
    match event {
        Event::Foreign(body) => text_frame(|out| json::write_ascii(out, body)),
        Event::Packed(body) => frame(OpCode::Binary, |out| out.extend_from_slice(body)),
        named => {
            let mut frame = Bytes::new();
            events.describe(named, &mut |kind, members| {
                frame = text_frame(|out| {
                    out.extend(b"{\"type\": ");
                    json::write_ascii_str(out, kind);
                    out.extend(b", ");
                    json::write_ascii_members(out, members);
                    out.push(b'}');
                });
            });
            frame
        }
    }
}

/// The beginning of the frame of a history.
const HISTORY: &[u8] = b"{\"type\": \"conversation_history\", \"messages\": ";

/// Returns the first frame of a socket.
#[must_use]
pub fn history_frame(messages: &[Message], zone: &Zone) -> Bytes {
    text_frame(|out| {
        out.extend(HISTORY);
        out.push(b'[');
        for (place, message) in messages.iter().enumerate() {
            if place > 0 {
                out.extend(b", ");
            }
            let shown_type = ValueRef::Text(&message.message_type);
            serializers::with_fields(message, shown_type, zone, |fields| {
                json::write_ascii_ref(out, ValueRef::Map(fields));
            });
        }
        out.extend(b"]}");
    })
}

/// The first message of a socket whose history is long: the same text in fragments.
pub struct LongHistoryFrames {
    zone: Zone,
    messages: PartWriter,
    opcode: OpCode,
}

impl LongHistoryFrames {
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        LongHistoryFrames {
            zone,
            messages: PartWriter::ascii(),
            opcode: OpCode::Text,
        }
    }
}

impl protocol::LongHistory for LongHistoryFrames {
    // ASCII, so that no character is cut in two.
    fn fragment(&mut self, messages: &[Message]) -> Bytes {
        let opcode = std::mem::replace(&mut self.opcode, OpCode::Continuation);
        fragment(false, opcode, |out| {
            if opcode == OpCode::Text {
                out.extend(HISTORY);
                self.messages.write(out, &Part::List);
            }
            for message in messages {
                let message = Part::Value(serializers::message(message, &self.zone));
                self.messages.write(out, &message);
            }
        })
    }

    fn end(mut self: Box<Self>) -> Bytes {
        fragment(true, OpCode::Continuation, |out| {
            self.messages.write(out, &Part::End);
            out.push(b'}');
        })
    }
}

/// `{"error": …}`, to the sender only.
#[must_use]
pub fn error_frame(text: &str) -> Bytes {
    text_frame(|out| {
        out.extend(b"{\"error\": ");
        json::write_ascii_str(out, text);
        out.push(b'}');
    })
}

/// Returns the frame for a request that failed; `None` for what the original silently ignores.
#[must_use]
pub fn failure_frame(error: &ChatError) -> Option<Bytes> {
    match error {
        // The original looks the conversation up and does nothing if it has been deleted.
        ChatError::NoConversation | ChatError::NoMessage | ChatError::Hidden(_) => None,
        ChatError::TooLong { .. }
        | ChatError::NotYou
        | ChatError::NotYours
        | ChatError::NotAGroup
        | ChatError::Group(_)
        | ChatError::Off
        | ChatError::IdTaken
        | ChatError::Attachment(_)
        | ChatError::Alike => Some(error_frame(&error.to_string())),
        ChatError::Store(StoreError::Refused(_)) => Some(error_frame(REFUSED)),
        // Said again, it might be stored twice.
        ChatError::Store(StoreError::Unknown(_)) => Some(error_frame(
            "It is not known whether the message was stored",
        )),
        ChatError::Store(_) => Some(error_frame("The message could not be stored, try again")),
        ChatError::Layer(_) => Some(error_frame("The message could not be passed on")),
    }
}

#[cfg(test)]
mod tests;
