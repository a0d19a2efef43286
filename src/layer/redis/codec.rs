//! The form of a message in Redis: `random prefix ‖ body`, the body in msgpack or JSON, inside
//! a Fernet token where there are keys.
//!
//! Stands in for `channels_redis.serializers`. The fields of an event are written once
//! ([`Fields`]) and sealed for each queue with the names it is for; what is read is a [`LayerMessage`],
//! of which [`super::event`] makes an event.

mod fields;
pub mod item;
mod json;
pub mod msgpack;

pub use fields::Fields;

use std::sync::Arc;

use item::Item;

use super::crypto::{InvalidToken, Keys};
use crate::{
    chat::Event,
    config::{Serializer, layer::ROOM},
    layer::events::EventTable,
    python::{datetime::Timestamp, json::MAX_DEPTH},
    random::{self, NoRandomness},
    value::{Text, Value},
};

/// The entry of the map that says which channels of the process a message is for.
pub const ROUTE: &str = "__asgi_channel__";

/// The entry of the map that marks an event which is sent again, as it could not be sent or may not
/// have arrived: when it was first sent, in Unix microseconds. Only Chatferry reads it. The
/// handlers of a Python consumer take their own fields and ignore all others.
pub const RESENT: &str = "chatferry_resent";

/// Both layers write this; what differs is set here.
pub struct Codec {
    pub format: Serializer,
    /// Random bytes before the body, which keep equal messages apart in a sorted set.
    pub prefix_len: usize,
    pub keys: Option<Keys>,
    /// Seconds after which a token is refused; `None` on pub/sub, which checks no time.
    pub token_life: Option<u64>,
    /// Most bytes of an event in Redis.
    pub event_max: usize,
    /// The events that have names of their own.
    pub events: Option<Arc<dyn EventTable>>,
}

/// The channels of one process that a message is for.
#[derive(Clone, Copy, Debug)]
pub enum ChannelRoute<'a> {
    /// None: the message goes to a normal channel, or by pub/sub.
    Plain,
    /// `send`: a string.
    One(&'a str),
    /// `group_send`: always a list.
    Each(&'a [&'a str]),
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMessage {
    /// The full names of the channels it is for; `None` if it does not say.
    pub route: Option<Vec<String>>,
    /// When it was first sent; `None` unless it is sent again.
    pub resent: Option<Timestamp>,
    /// Everything else, in the sender's order. Keys that are bytes are left out.
    pub fields: Vec<(Text, Item)>,
}

/// Why a message cannot be read. Python's consumer dies of each of these; we skip the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("shorter than the random prefix")]
    Short,
    #[error(transparent)]
    Token(#[from] InvalidToken),
    #[error("not msgpack: {0}")]
    Msgpack(&'static str),
    #[error("not JSON: {0}")]
    Json(String),
    #[error("not a map")]
    NotAMap,
}

/// Why an event cannot be sent: no Python process could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    #[error("an integer is outside -2^63..2^64-1")]
    OutOfRange,
    #[error("a text has lone surrogates")]
    Surrogates,
    #[error("it is nested deeper than {MAX_SENT_DEPTH} levels")]
    TooDeep,
    #[error("it is not an object")]
    NotAMap,
    #[error("it holds bytes, which JSON cannot")]
    NotJson,
    #[error("its `type` must be the name of an event handler")]
    Type,
    #[error("it must not contain `{ROUTE}`")]
    Route,
    #[error("it is larger than layer.max_event_bytes")]
    TooLarge,
}

/// Levels of nesting we send: all that a client can say, as the original does. Python's C decoder
/// takes 1,024; the one in plain Python takes fewer, and fails at such an event of the original
/// too.
pub const MAX_SENT_DEPTH: usize = MAX_DEPTH;

impl Codec {
    /// Returns the fields of an event that can be sent.
    ///
    /// # Errors
    /// [`Unsendable`]
    pub fn fields(&self, event: &Event) -> Result<Fields, Unsendable> {
        let fields = Fields::new(self.format, event, self.events.as_deref())?;
        // A token is in Base64.
        let size = match self.keys {
            Some(_) => fields.size().div_ceil(3) * 4,
            None => fields.size(),
        };
        if size > self.event_max.saturating_sub(ROOM) {
            return Err(Unsendable::TooLarge);
        }
        Ok(fields)
    }

    /// Returns the bytes to be stored: `fields` with its route, made at `now` (Unix seconds).
    ///
    /// # Errors
    /// Without randomness: equal messages would fold into one and IVs repeat.
    pub fn seal(
        &self,
        fields: &Fields,
        route: ChannelRoute<'_>,
        now: u64,
    ) -> Result<Vec<u8>, NoRandomness> {
        let mut random = [[0; 16]; 5];
        random::fill(random.as_flattened_mut())?;
        let [iv, prefix @ ..] = random;
        let prefix = prefix.as_flattened();
        let prefix = prefix.get(..self.prefix_len).unwrap_or(prefix);
        Ok(self.seal_with(fields, route, now, prefix, iv))
    }

    /// [`seal`](Self::seal) with its randomness chosen.
    fn seal_with(
        &self,
        fields: &Fields,
        route: ChannelRoute<'_>,
        now: u64,
        prefix: &[u8],
        iv: [u8; 16],
    ) -> Vec<u8> {
        let mut stored = prefix.to_vec();
        match &self.keys {
            None => fields.write(&mut stored, route),
            Some(keys) => {
                let mut body = Vec::new();
                fields.write(&mut body, route);
                stored.extend(keys.encrypt(&body, now, iv));
            }
        }
        stored
    }

    /// Returns the message in stored bytes, read at `now` (Unix seconds).
    ///
    /// # Errors
    /// When Python could not read it either.
    pub fn open(&self, stored: &[u8], now: u64) -> Result<LayerMessage, Undecodable> {
        let body = stored.get(self.prefix_len..).ok_or(Undecodable::Short)?;
        let item = match &self.keys {
            None => self.parse(body),
            Some(keys) => self.parse(&keys.decrypt(body, now, self.token_life)?),
        }?;
        LayerMessage::new(item)
    }

    fn parse(&self, body: &[u8]) -> Result<Item, Undecodable> {
        match self.format {
            Serializer::Msgpack => msgpack::read(body).map_err(Undecodable::Msgpack),
            Serializer::Json => json::read(body).map(Item::Plain).map_err(Undecodable::Json),
        }
    }
}

impl LayerMessage {
    fn new(item: Item) -> Result<Self, Undecodable> {
        let mut fields = item.into_members().ok_or(Undecodable::NotAMap)?;
        let place = fields.iter().position(|(key, _)| key == ROUTE);
        let route = place.and_then(|place| names(fields.remove(place).1));
        let place = fields.iter().position(|(key, _)| key == RESENT);
        let resent = place.and_then(|place| micros(&fields.remove(place).1));
        Ok(LayerMessage {
            route,
            resent,
            fields,
        })
    }
}

fn micros(item: &Item) -> Option<Timestamp> {
    match item {
        Item::Plain(Value::Int(micros)) => i64::try_from(*micros).ok().map(Timestamp::from_micros),
        _ => None,
    }
}

/// Returns the names of a route, which is a string or a list of strings.
fn names(route: Item) -> Option<Vec<String>> {
    let name = |value| match value {
        Value::Str(Text::Utf8(name)) => Some(name.into_owned()),
        _ => None,
    };
    match route {
        Item::Plain(Value::List(names)) => names.into_iter().map(name).collect(),
        Item::Plain(value) => name(value).map(|name| vec![name]),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
