//! From a message of any process to an event, as the original's consumer takes it.
//!
//! Stands in for `channels.consumer.get_handler_name` and the three handlers of the original's
//! `ChatConsumer`: the dots of a `type` are underscores, a handler takes its own fields and
//! ignores all others. Where that consumer would die, the message is refused and counted.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::codec::{LayerMessage, item::Item, msgpack};
use crate::{
    chat::Event,
    layer::{
        control,
        events::{EventTable, Strange, handler},
    },
    value::{Text, Value},
};

/// Unknown types that are remembered as logged; past it they are only counted.
const REMEMBERED: usize = 100;

/// The events of Django code's own making that are let through.
pub struct Passthrough {
    kinds: Kinds,
    logged: Mutex<HashSet<String>>,
}

enum Kinds {
    All,
    Packed,
    /// The events of a chat, and handlers that it does not have.
    Chat {
        events: Arc<dyn EventTable>,
        also: HashSet<String>,
    },
}

impl Passthrough {
    /// Lets the events of a chat through, and these kinds.
    #[must_use]
    pub fn new(events: Arc<dyn EventTable>, kinds: &[String]) -> Self {
        let also = kinds.iter().map(|kind| handler(kind)).collect();
        Passthrough {
            kinds: Kinds::Chat { events, also },
            logged: Mutex::default(),
        }
    }

    /// Lets everything through as it is, the chat's own events too.
    #[must_use]
    pub fn all() -> Self {
        Passthrough {
            kinds: Kinds::All,
            logged: Mutex::default(),
        }
    }

    /// Lets everything through as it is, for an application of its own.
    #[must_use]
    pub fn packed() -> Self {
        Passthrough {
            kinds: Kinds::Packed,
            logged: Mutex::default(),
        }
    }

    /// Returns the events that have names of their own.
    #[must_use]
    pub fn events(&self) -> Option<Arc<dyn EventTable>> {
        match &self.kinds {
            Kinds::Chat { events, .. } => Some(Arc::clone(events)),
            Kinds::All | Kinds::Packed => None,
        }
    }

    /// Returns whether this is the first message of an unknown type.
    #[must_use]
    pub fn is_news(&self, kind: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < REMEMBERED && logged.insert(kind.to_owned())
    }

    /// Returns the event of a message.
    ///
    /// # Errors
    /// When the original's consumer would have raised.
    pub fn event(&self, message: LayerMessage) -> Result<Event, Strange> {
        let mut fields = message.fields;
        if matches!(self.kinds, Kinds::Packed) {
            return pack(fields).map(Event::Packed);
        }
        let kind = fields.iter().find(|(key, _)| key == "type");
        let kind = match kind {
            Some((_, Item::Plain(Value::Str(Text::Utf8(kind))))) => handler(kind),
            _ => return Err(Strange::NoType),
        };
        let Kinds::Chat { events, also } = &self.kinds else {
            return whole(fields).map(Event::Foreign);
        };
        if let Some(event) = events.read(&kind, &mut |name| take(&mut fields, name))? {
            return Ok(event);
        }
        if kind == control::HANDLER || also.contains(&kind) {
            return whole(fields).map(Event::Foreign);
        }
        Err(Strange::UnknownType(kind))
    }
}

fn take(fields: &mut Vec<(Text, Item)>, name: &'static str) -> Result<Value, Strange> {
    let place = fields.iter().position(|(key, _)| key == name);
    let (_, item) = fields.swap_remove(place.ok_or(Strange::Missing(name))?);
    item.into_value()
        .ok_or_else(|| Strange::NotJson(name.to_owned()))
}

fn whole(fields: Vec<(Text, Item)>) -> Result<Value, Strange> {
    let members = fields.into_iter().map(|(key, item)| {
        let Some(value) = item.into_value() else {
            return Err(Strange::NotJson(
                key.as_str().unwrap_or_default().to_owned(),
            ));
        };
        Ok((key, value))
    });
    members.collect::<Result<_, _>>().map(Value::Map)
}

fn pack(fields: Vec<(Text, Item)>) -> Result<Bytes, Strange> {
    let mut packed = Vec::with_capacity(256);
    msgpack::write_map_head(&mut packed, fields.len());
    for (key, item) in fields {
        let key = key.as_str().unwrap_or_default();
        msgpack::write_str(&mut packed, key);
        let written = msgpack::write_item(&mut packed, &item);
        written.map_err(|_| Strange::NotPackable(key.to_owned()))?;
    }
    Ok(packed.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::SentMessage,
        dialect::django::events::Events,
        python::{
            datetime::Zone,
            json::{Constants, loads},
        },
    };

    fn events() -> Arc<dyn EventTable> {
        Arc::new(Events { zone: Zone::utc() })
    }

    fn message(json: &str) -> LayerMessage {
        let item = Item::Plain(loads(json, Constants::Allow).unwrap());
        LayerMessage {
            route: None,
            resent: None,
            fields: item.into_members().unwrap(),
        }
    }

    fn event(json: &str) -> Result<Event, Strange> {
        Passthrough::new(events(), &["conversation.closed".to_owned()]).event(message(json))
    }

    #[test]
    fn dots_and_underscores_name_the_same_handler() {
        let want = Event::Typing {
            user_id: "a".into(),
            is_typing: true.into(),
        };
        for kind in ["typing_status", "typing.status"] {
            let json = format!(r#"{{"type": "{kind}", "is_typing": true, "user_id": "a"}}"#);
            assert_eq!(event(&json), Ok(want.clone()));
        }
    }

    #[test]
    fn a_handler_takes_its_own_fields_and_drops_all_others() {
        let json = r#"{"x": 1, "type": "chat.message", "message": {"z": 1, "a": null}, "y": 2}"#;
        let want = loads(r#"{"z": 1, "a": null}"#, Constants::Allow).unwrap();
        let want = SentMessage::Described {
            id: None,
            body: want,
        };
        assert_eq!(event(json), Ok(Event::MessageSent(want)));
    }

    #[test]
    fn a_missing_field_is_an_error_and_null_is_not() {
        let missing = event(r#"{"type": "message_read", "user_id": "a"}"#);
        assert_eq!(missing, Err(Strange::Missing("message_id")));
        let null = event(r#"{"type": "message_read", "user_id": null, "message_id": null}"#);
        assert!(null.is_ok());
    }

    #[test]
    fn what_json_cannot_hold_is_an_error_only_where_it_is_used() {
        let mut read = message(r#"{"type": "chat_message", "message": 1}"#);
        read.fields.push(("extra".into(), Item::Bytes(vec![1])));
        let passthrough = Passthrough::new(events(), &[]);
        assert!(passthrough.event(read.clone()).is_ok());
        read.fields[1].1 = Item::Ext(5, vec![1]);
        let error = passthrough.event(read).unwrap_err();
        assert_eq!(error, Strange::NotJson("message".to_owned()));
    }

    #[test]
    fn a_type_that_is_let_through_keeps_all_it_has() {
        let json = r#"{"type": "conversation.closed", "by": "a", "at": [1, 2]}"#;
        let want = loads(json, Constants::Allow).unwrap();
        assert_eq!(event(json), Ok(Event::Foreign(want)));
    }

    #[test]
    fn an_unknown_type_is_refused_and_news_once() {
        let unknown = event(r#"{"type": "task.done"}"#);
        assert_eq!(unknown, Err(Strange::UnknownType("task_done".to_owned())));
        for json in [r#"{"n": 1}"#, r#"{"type": 1}"#, r#"{"type": null}"#] {
            assert_eq!(event(json), Err(Strange::NoType));
        }
        let passthrough = Passthrough::new(events(), &[]);
        assert!(passthrough.is_news("task_done"));
        assert!(!passthrough.is_news("task_done"));
        for n in 0..2 * REMEMBERED {
            let _ = passthrough.is_news(&n.to_string());
        }
        assert!(!passthrough.is_news("one more"), "memory is bounded");
    }
}
