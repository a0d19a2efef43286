//! The fields of an event, written once for all the queues it goes to.

use super::{ChannelRoute, MAX_SENT_DEPTH, RESENT, ROUTE, Unsendable, item::Item, msgpack};
use crate::{
    chat::Event,
    config::Serializer,
    layer::events::{EventMembers, EventTable},
    python::{
        datetime::Timestamp,
        json::{write_ascii_ref, write_ascii_str},
    },
    value::{Text, Value, ValueRef},
};

/// Names of methods and of ASGI messages that a `type` would run in a Python consumer as if they
/// were event handlers.
const RUNS_SOMETHING_ELSE: &[&str] = &[
    "send",
    "close",
    "accept",
    "connect",
    "disconnect",
    "receive",
    "dispatch",
    "scope",
];

/// The members of a message's map but for its route, in one of the two formats.
#[derive(Clone)]
pub struct Fields {
    format: Serializer,
    count: usize,
    bytes: Vec<u8>,
    is_marked: bool,
}

impl Fields {
    /// Writes the fields of an event; `events` has the names of those of a chat.
    ///
    /// # Errors
    /// When the event would kill the consumers of a Python process.
    pub fn new(
        format: Serializer,
        event: &Event,
        events: Option<&dyn EventTable>,
    ) -> Result<Self, Unsendable> {
        let mut fields = Fields {
            format,
            count: 0,
            bytes: Vec::with_capacity(256),
            is_marked: false,
        };
        match event {
            Event::Foreign(body) => fields.foreign(body)?,
            Event::Packed(body) => fields.packed(body)?,
            named => {
                let mut written = Err(Unsendable::Type);
                if let Some(events) = events {
                    events.describe(named, &mut |kind, members| {
                        written = fields.named(kind, members);
                    });
                }
                written?;
            }
        }
        Ok(fields)
    }

    /// Marks an event that is sent again, once.
    pub fn mark(&mut self, first_sent: Timestamp) {
        if std::mem::replace(&mut self.is_marked, true) {
            return;
        }
        // A number of 64 bits is never refused.
        let first_sent = Value::Int(first_sent.micros().into());
        let _ = self.member(RESENT, ValueRef::Value(&first_sent));
    }

    /// Returns the number of bytes of the fields.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Reads an event of a chat.
    fn named(&mut self, kind: &str, members: EventMembers<'_>) -> Result<(), Unsendable> {
        self.key("type");
        self.text(kind);
        let mut members = members.iter();
        members.try_for_each(|(name, value)| self.member(name, *value))
    }

    /// Reads an event of Django code's own making, as it is.
    fn foreign(&mut self, body: &Value) -> Result<(), Unsendable> {
        let Value::Map(members) = body else {
            return Err(Unsendable::NotAMap);
        };
        let kind = body.get("type").and_then(Value::as_str);
        kind.filter(|kind| names_a_handler(kind))
            .ok_or(Unsendable::Type)?;
        for (key, value) in members {
            match key {
                Text::Utf8(key) if key == ROUTE => return Err(Unsendable::Route),
                Text::Utf8(key) => self.member(key, ValueRef::Value(value))?,
                Text::Surrogates(_) => return Err(Unsendable::Surrogates),
            }
        }
        Ok(())
    }

    /// Reads an event of a hosted application. As in the original any map will do, and a route is
    /// written over.
    fn packed(&mut self, body: &[u8]) -> Result<(), Unsendable> {
        let members = msgpack::read(body).ok().and_then(Item::into_members);
        for (key, item) in members.ok_or(Unsendable::NotAMap)? {
            let key = key.as_str().ok_or(Unsendable::Surrogates)?;
            if key == ROUTE {
                continue;
            }
            match (self.format, item) {
                (_, Item::Plain(value)) => self.member(key, ValueRef::Value(&value))?,
                (Serializer::Json, _) => return Err(Unsendable::NotJson),
                (Serializer::Msgpack, item) => {
                    self.key(key);
                    msgpack::write_item(&mut self.bytes, &item)?;
                }
            }
        }
        Ok(())
    }

    fn member(&mut self, key: &str, value: ValueRef<'_>) -> Result<(), Unsendable> {
        self.key(key);
        match self.format {
            Serializer::Msgpack => msgpack::write_ref(&mut self.bytes, value)?,
            Serializer::Json => {
                check_depth_of_ref(value, MAX_SENT_DEPTH)?;
                write_ascii_ref(&mut self.bytes, value);
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &str) {
        match self.format {
            Serializer::Msgpack => {}
            Serializer::Json if self.count == 0 => {}
            Serializer::Json => self.bytes.extend(b", "),
        }
        self.count += 1;
        self.text(key);
        if self.format == Serializer::Json {
            self.bytes.extend(b": ");
        }
    }

    fn text(&mut self, text: &str) {
        match self.format {
            Serializer::Msgpack => msgpack::write_str(&mut self.bytes, text),
            Serializer::Json => write_ascii_str(&mut self.bytes, text),
        }
    }

    /// Appends the whole map, the route last.
    pub(super) fn write(&self, out: &mut Vec<u8>, route: ChannelRoute<'_>) {
        match self.format {
            Serializer::Msgpack => self.write_msgpack(out, route),
            Serializer::Json => self.write_json(out, route),
        }
    }

    fn write_msgpack(&self, out: &mut Vec<u8>, route: ChannelRoute<'_>) {
        let routed = usize::from(!matches!(route, ChannelRoute::Plain));
        msgpack::write_map_head(out, self.count + routed);
        out.extend_from_slice(&self.bytes);
        match route {
            ChannelRoute::Plain => {}
            ChannelRoute::One(name) => {
                msgpack::write_str(out, ROUTE);
                msgpack::write_str(out, name);
            }
            ChannelRoute::Each(names) => {
                msgpack::write_str(out, ROUTE);
                msgpack::write_list_head(out, names.len());
                for name in names {
                    msgpack::write_str(out, name);
                }
            }
        }
    }

    fn write_json(&self, out: &mut Vec<u8>, route: ChannelRoute<'_>) {
        out.push(b'{');
        out.extend_from_slice(&self.bytes);
        if !matches!(route, ChannelRoute::Plain) {
            out.extend(b", ");
            write_ascii_str(out, ROUTE);
            out.extend(b": ");
        }
        match route {
            ChannelRoute::Plain => {}
            ChannelRoute::One(name) => write_ascii_str(out, name),
            ChannelRoute::Each(names) => {
                for (place, name) in names.iter().enumerate() {
                    out.extend(if place == 0 { &b"["[..] } else { b", " });
                    write_ascii_str(out, name);
                }
                out.push(b']');
            }
        }
        out.push(b'}');
    }
}

/// Returns whether a Python consumer would look for an event handler of this name. It dies of any
/// other, or runs one of its own methods with the event for an argument.
fn names_a_handler(kind: &str) -> bool {
    let method = kind.replace('.', "_");
    !method.is_empty()
        && !method.starts_with('_')
        && !method.starts_with("websocket_")
        && !method.starts_with("http_")
        && !RUNS_SOMETHING_ELSE.contains(&method.as_str())
}

fn check_depth_of_ref(value: ValueRef<'_>, depth: usize) -> Result<(), Unsendable> {
    match value {
        ValueRef::Value(value) => check_depth(value, depth),
        ValueRef::Map(members) => {
            let depth = depth.checked_sub(1).ok_or(Unsendable::TooDeep)?;
            let mut members = members.iter();
            members.try_for_each(|(_, member)| check_depth_of_ref(*member, depth))
        }
        ValueRef::Text(_) | ValueRef::Bool(_) => Ok(()),
    }
}

fn check_depth(value: &Value, depth: usize) -> Result<(), Unsendable> {
    let depth = depth.checked_sub(1).ok_or(Unsendable::TooDeep)?;
    match value {
        Value::List(items) => items.iter().try_for_each(|item| check_depth(item, depth)),
        Value::Map(members) => members
            .iter()
            .try_for_each(|(_, item)| check_depth(item, depth)),
        _ => Ok(()),
    }
}
