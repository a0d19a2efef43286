//! Frames that clients send, and those that are the server's own.

use bytes::Bytes;

use super::{
    peers::{stamp, whole},
    records::{int, json_frame},
};
use crate::{
    fastapi::invalid::member,
    python::{
        json::{Constants, loads},
        pystr::strip_str,
    },
    value::Value,
};

/// Text of the error before a socket is closed whose client has sent no JSON object.
pub const NOT_OBJECT: &str = "Неверный формат сообщения";

/// What a frame asks for. A value that does not fit is `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    Message {
        chat: Option<Value>,
        /// Trimmed, and not empty.
        content: Option<String>,
    },
    Edit {
        message: Option<i64>,
        content: Option<String>,
    },
    /// Ids of messages that were read.
    Read(Vec<i64>),
    /// The client has a message for good.
    Acknowledged(i64),
    Pong,
    /// Nothing that is known.
    Other,
}

impl ClientFrame {
    /// Reads the text of a frame; `None` if it is no JSON object.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let value = loads(text, Constants::Allow).ok()?;
        if !matches!(value, Value::Map(_)) {
            return None;
        }
        let number = |name| value.get(name).and_then(whole);
        let content = || {
            let content = strip_str(value.get("content")?.as_str()?);
            (!content.is_empty()).then(|| content.to_owned())
        };
        Some(match value.get("type").and_then(Value::as_str) {
            Some("message") => ClientFrame::Message {
                chat: value.get("chat_id").cloned(),
                content: content(),
            },
            Some("edit_message") => ClientFrame::Edit {
                message: number("message_id"),
                content: content(),
            },
            Some("read") => ClientFrame::Read(match value.get("message_ids") {
                Some(Value::List(ids)) => ids.iter().filter_map(whole).collect(),
                _ => Vec::new(),
            }),
            Some("ack") => match number("id") {
                Some(id) => ClientFrame::Acknowledged(id),
                None => ClientFrame::Other,
            },
            Some("pong") => ClientFrame::Pong,
            _ => ClientFrame::Other,
        })
    }
}

/// Makes the first frame of a socket.
#[must_use]
pub fn greeting(user: i64) -> Bytes {
    json_frame(&Value::Map(vec![
        member("type", "connected".into()),
        member("user_id", int(user)),
        member("timestamp", stamp().into()),
    ]))
}

/// Makes the frame that asks a silent client for a word.
#[must_use]
pub fn ping() -> Bytes {
    json_frame(&Value::Map(vec![member("type", "ping".into())]))
}

/// Makes the frame of an error.
#[must_use]
pub fn error(text: &'static str) -> Bytes {
    json_frame(&Value::Map(vec![
        member("type", "error".into()),
        member("message", text.into()),
        member("timestamp", stamp().into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_trimmed_and_blanks_are_none() {
        let of = |text: &str| ClientFrame::read(text).unwrap();
        let chat = Some(Value::Int(1));
        let content = Some("hi".to_owned());
        let wanted = ClientFrame::Message {
            chat: chat.clone(),
            content,
        };
        assert_eq!(
            of(r#"{"type":"message","chat_id":1,"content":" hi\n"}"#),
            wanted
        );
        for content in [r#"" ""#, "5", "null", "[]", r#""\ud800""#] {
            let text = format!(r#"{{"type":"message","chat_id":1,"content":{content}}}"#);
            let chat = chat.clone();
            let content = None;
            assert_eq!(of(&text), ClientFrame::Message { chat, content }, "{text}");
        }
    }

    #[test]
    fn only_whole_numbers_are_read() {
        let of = |ids: &str| {
            ClientFrame::read(&format!(r#"{{"type":"read","message_ids":{ids}}}"#)).unwrap()
        };
        assert_eq!(of(r#"[1,2,"x",2.5,null]"#), ClientFrame::Read(vec![1, 2]));
        assert_eq!(of("7"), ClientFrame::Read(Vec::new()));
    }

    #[test]
    fn what_is_no_object_is_no_frame_and_what_is_unknown_asks_for_nothing() {
        for text in ["", "hello", "[1]", "5", "null", "\"x\""] {
            assert_eq!(ClientFrame::read(text), None, "{text}");
        }
        for text in ["{}", r#"{"type":"nope"}"#, r#"{"type":1}"#] {
            assert_eq!(ClientFrame::read(text), Some(ClientFrame::Other), "{text}");
        }
    }
}
