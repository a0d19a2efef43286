//! The bodies of a worker's messages.

use bytes::Bytes;

use super::{
    Accept, Class, HeaderLine, Hello, HelloProof, MAX_EVENT, MAX_HEADERS, ResponseHead, Up, What,
};
use crate::{
    layer::redis::codec::{item::Item, msgpack},
    value::{Text, Value},
};

/// Reads the body of a message; `None` if it is not as it must be.
pub(super) fn read(kind: Up, body: Bytes) -> Option<What> {
    match kind {
        Up::Text => str::from_utf8(&body).is_ok().then_some(What::Text(body)),
        Up::Binary => Some(What::Binary(body)),
        Up::Done => Some(What::Done),
        Up::Pong => Some(What::Pong),
        Up::State => Some(What::State(body.as_ref().into())),
        Up::Refused => text(item(&body)?).map(What::Refused),
        Up::Hello => hello(item(&body)?).map(What::Hello),
        Up::Class => class(item(&body)?).map(What::Class),
        Up::Serves => number(&item(&body)?).map(What::Serves),
        Up::Accept => accept(item(&body)?).map(What::Accept),
        Up::Close => close(item(&body)?),
        Up::Ended => match item(&body)? {
            Item::Plain(Value::Bool(failed)) => Some(What::Ended { failed }),
            _ => None,
        },
        Up::GroupAdd => {
            let (group, channel) = names(item(&body)?)?;
            Some(What::GroupAdd { group, channel })
        }
        Up::GroupDiscard => {
            let (group, channel) = names(item(&body)?)?;
            Some(What::GroupDiscard { group, channel })
        }
        Up::GroupSend => {
            let (group, event) = event(item(&body)?)?;
            Some(What::GroupSend { group, event })
        }
        Up::Send => {
            let (channel, event) = event(item(&body)?)?;
            Some(What::Send { channel, event })
        }
        Up::Response => response(item(&body)?).map(What::Response),
        Up::Body => Some(What::Body(body)),
        Up::BodyEnd => Some(What::BodyEnd(body)),
        Up::Taken => number(&item(&body)?).map(What::Taken),
    }
}

/// Reads one value of msgpack.
pub(super) fn item(body: &[u8]) -> Option<Item> {
    msgpack::read(body).ok()
}

/// The members of a map of texts and plain values.
pub(super) struct WireMembers(Vec<(Text, Item)>);

impl WireMembers {
    pub(super) fn of(item: Item) -> Option<Self> {
        item.into_members().map(WireMembers)
    }

    fn take(&mut self, key: &str) -> Option<Item> {
        let place = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(place).1)
    }

    fn bytes(&mut self, key: &str) -> Option<Vec<u8>> {
        match self.take(key)? {
            Item::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key).and_then(text)
    }
}

fn text(item: Item) -> Option<String> {
    match item {
        Item::Plain(Value::Str(Text::Utf8(text))) => Some(text.into_owned()),
        _ => None,
    }
}

fn number(item: &Item) -> Option<u64> {
    match item {
        Item::Plain(Value::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn list(item: Item) -> Option<Vec<Item>> {
    match item {
        Item::Plain(Value::List(items)) => Some(items.into_iter().map(Item::Plain).collect()),
        Item::List(items) => Some(items),
        _ => None,
    }
}

fn hello(item: Item) -> Option<Hello> {
    let mut members = WireMembers::of(item)?;
    Some(Hello {
        version: number(&members.take("version")?)?,
        pid: u32::try_from(number(&members.take("pid")?)?).ok()?,
        application: members.text("application")?,
        layer: members.text("layer")?,
        order: members.text("order"),
        proof: match (members.bytes("nonce"), members.bytes("proof")) {
            (Some(nonce), Some(proof)) => Some(HelloProof { nonce, proof }),
            _ => None,
        },
    })
}

fn class(item: Item) -> Option<Class> {
    let mut members = WireMembers::of(item)?;
    let Item::Plain(Value::Bool(parked)) = members.take("parked")? else {
        return None;
    };
    let once = list(members.take("once")?)?;
    Some(Class {
        name: members.text("name")?,
        parked,
        why: members.text("why")?,
        source: members.text("source")?,
        once: once.into_iter().map(text).collect::<Option<_>>()?,
    })
}

fn accept(item: Item) -> Option<Accept> {
    let mut members = WireMembers::of(item)?;
    let subprotocol = match members.take("subprotocol")? {
        Item::Plain(Value::Null) => None,
        other => Some(text(other)?),
    };
    Some(Accept {
        subprotocol,
        headers: headers(members.take("headers")?)?,
    })
}

fn response(item: Item) -> Option<ResponseHead> {
    let mut members = WireMembers::of(item)?;
    Some(ResponseHead {
        status: u16::try_from(number(&members.take("status")?)?).ok()?,
        headers: headers(members.take("headers")?)?,
    })
}

fn headers(item: Item) -> Option<Vec<HeaderLine>> {
    let headers = list(item)?;
    if headers.len() > MAX_HEADERS {
        return None;
    }
    let headers = headers.into_iter().map(|header| {
        let pair: [Item; 2] = list(header)?.try_into().ok()?;
        match pair {
            [Item::Bytes(name), Item::Bytes(value)] => Some((name, value)),
            _ => None,
        }
    });
    headers.collect()
}

fn close(item: Item) -> Option<What> {
    let mut members = WireMembers::of(item)?;
    let code = u16::try_from(number(&members.take("code")?)?).ok()?;
    let reason = members.text("reason")?;
    // The values that a close frame may hold.
    let valid = (code == 1000 || (3000..5000).contains(&code)) && reason.len() <= 123;
    valid.then_some(What::Close { code, reason })
}

fn names(item: Item) -> Option<(String, String)> {
    let pair: [Item; 2] = list(item)?.try_into().ok()?;
    let [group, channel] = pair;
    Some((text(group)?, text(channel)?))
}

fn event(item: Item) -> Option<(String, Bytes)> {
    let pair: [Item; 2] = list(item)?.try_into().ok()?;
    match pair {
        [name, Item::Bytes(event)] if event.len() <= MAX_EVENT => Some((text(name)?, event.into())),
        _ => None,
    }
}
