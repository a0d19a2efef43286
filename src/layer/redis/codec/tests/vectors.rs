//! The file of vectors, line by line.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    layer::redis::codec::{item::ItemKey, *},
    python::json::{Constants, loads},
};

const VECTORS: &str = include_str!("../vectors.json");

/// One line of the file.
pub struct Vector(pub Value);

impl Vector {
    pub fn all(expect: &str) -> Vec<Vector> {
        let Value::List(vectors) = loads(VECTORS, Constants::Allow).unwrap() else {
            panic!("a list");
        };
        let wanted = |vector: &Value| vector.get("expect").unwrap().as_str() == Some(expect);
        let found: Vec<_> = vectors.into_iter().filter(wanted).map(Vector).collect();
        assert!(!found.is_empty());
        found
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        number(self.0.get(name)?)
    }

    pub fn fernet(&self, name: &str) -> Option<u64> {
        number(self.0.get("fernet")?.get(name)?)
    }

    pub fn stored(&self) -> Vec<u8> {
        unhex(self.text("hex"))
    }

    pub fn keys(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::List(keys)) => keys.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    pub fn codec(&self, keys: &[&str]) -> Codec {
        Codec {
            format: match self.text("serializer") {
                "json" => Serializer::Json,
                _ => Serializer::Msgpack,
            },
            prefix_len: self.number("prefix_len").unwrap().try_into().unwrap(),
            keys: Keys::new(keys.iter().copied()),
            token_life: (self.text("layer") == "core").then_some(70),
            event_max: usize::MAX,
            events: None,
        }
    }

    /// When the message was made, or any time where it does not say.
    pub fn clock(&self) -> u64 {
        self.fernet("timestamp").unwrap_or(1_754_978_645)
    }

    pub fn message(&self) -> LayerMessage {
        LayerMessage::new(item(self.0.get("message").unwrap())).unwrap()
    }
}

pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

pub fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Returns a message of the file, where JSON stands for what it cannot hold.
pub fn item(value: &Value) -> Item {
    let base64 = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    match value {
        Value::List(items) => Item::list(items.iter().map(item).collect()),
        Value::Map(members) => match members.as_slice() {
            [(key, bytes)] if key == "$bytes" => Item::Bytes(base64(bytes)),
            [(key, ext)] if key == "$ext" => {
                let code = number(ext.get("code").unwrap()).unwrap();
                Item::Ext(code.try_into().unwrap(), base64(ext.get("data").unwrap()))
            }
            [(key, at)] if key == "$timestamp" => Item::Ext(-1, timestamp(at)),
            members => Item::map(
                members
                    .iter()
                    .map(|(key, value)| (ItemKey::Text(key.as_str().unwrap().into()), item(value)))
                    .collect(),
            ),
        },
        value => Item::Plain(value.clone()),
    }
}

/// msgpack's own three forms of a timestamp.
fn timestamp(at: &Value) -> Vec<u8> {
    let (Some(Value::Int(seconds)), Some(Value::Int(nanos))) =
        (at.get("seconds"), at.get("nanoseconds"))
    else {
        panic!("a timestamp");
    };
    match (u32::try_from(*seconds), *nanos) {
        (Ok(seconds), 0) => seconds.to_be_bytes().to_vec(),
        (Ok(seconds), nanos) => (u64::try_from(nanos).unwrap() << 34 | u64::from(seconds))
            .to_be_bytes()
            .to_vec(),
        (Err(_), nanos) => {
            let mut out = u32::try_from(nanos).unwrap().to_be_bytes().to_vec();
            out.extend(i64::try_from(*seconds).unwrap().to_be_bytes());
            out
        }
    }
}
