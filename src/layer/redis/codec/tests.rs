//! The vectors of the wire contract: what the original wrote, byte for byte, and what it refused.
//!
//! They were made by `channels_redis` itself, with its random prefix, its clock and its IVs held
//! still; 4.2.0 and 4.3.0 gave equal bytes.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{item::Key, msgpack, *};
use crate::{
    chat::Event,
    django::json::{Constants, loads},
    layer::redis::shard::shard,
};

const VECTORS: &str = include_str!("vectors.json");

/// One line of the file.
struct Vector(Value);

impl Vector {
    fn all(expect: &str) -> Vec<Vector> {
        let Value::List(vectors) = loads(VECTORS, Constants::Allow).unwrap() else {
            panic!("a list");
        };
        let wanted = |vector: &Value| vector.get("expect").unwrap().as_str() == Some(expect);
        let found: Vec<_> = vectors.into_iter().filter(wanted).map(Vector).collect();
        assert!(!found.is_empty());
        found
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        number(self.0.get(name)?)
    }

    fn fernet(&self, name: &str) -> Option<u64> {
        number(self.0.get("fernet")?.get(name)?)
    }

    fn stored(&self) -> Vec<u8> {
        unhex(self.text("hex"))
    }

    fn keys(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::List(keys)) => keys.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn codec(&self, keys: &[&str]) -> Codec {
        Codec {
            format: match self.text("serializer") {
                "json" => Serializer::Json,
                _ => Serializer::Msgpack,
            },
            prefix_len: self.number("prefix_len").unwrap().try_into().unwrap(),
            keys: Keys::new(keys.iter().copied()),
            token_life: (self.text("layer") == "core").then_some(70),
        }
    }

    /// When the message was made, or any time where it does not say.
    fn clock(&self) -> u64 {
        self.fernet("timestamp").unwrap_or(1_754_978_645)
    }

    fn message(&self) -> Message {
        Message::new(item(self.0.get("message").unwrap())).unwrap()
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A message of the file, where JSON stands for what it cannot hold.
fn item(value: &Value) -> Item {
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
                    .map(|(key, value)| (Key::Text(key.as_str().unwrap().into()), item(value)))
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

/// `-0.0 == 0.0`, so equality alone would not see a lost sign.
fn same(one: &Message, other: &Message) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Checklist 9, 10, 13, 15, 16, 17.
#[test]
fn every_message_the_original_wrote_is_read() {
    for vector in Vector::all("encode_and_decode") {
        let codec = vector.codec(&vector.keys("key"));
        let read = codec.open(&vector.stored(), vector.clock());
        let want = vector.message();
        assert!(
            same(&read.clone().unwrap(), &want),
            "{}: {read:?} is not {want:?}",
            vector.text("name")
        );
    }
}

/// Checklist 10.
#[test]
fn every_form_the_original_reads_is_read() {
    for vector in Vector::all("decode_only") {
        let read = vector
            .codec(&vector.keys("key"))
            .open(&vector.stored(), vector.clock());
        assert!(
            same(&read.unwrap(), &vector.message()),
            "{}",
            vector.text("name")
        );
    }
}

/// Checklist 9: through the very road that events of the chat take.
#[test]
fn every_event_is_written_to_the_same_bytes() {
    let mut written = 0;
    for vector in Vector::all("encode_and_decode") {
        let message = vector.message();
        let values = message.fields.into_iter();
        let values = values.map(|(key, item)| item.into_value().map(|value| (key, value)));
        let Some(members) = values.collect::<Option<Vec<_>>>() else {
            continue;
        };
        let event = Event::Other(Value::Map(members));
        let codec = vector.codec(&vector.keys("key"));
        let fields = Fields::new(codec.format, &event).unwrap();
        let names = message.route.unwrap_or_default();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let route = match vector.0.get("message").unwrap().get(ROUTE) {
            None => Route::Plain,
            Some(Value::Str(_)) => Route::One(names[0]),
            Some(_) => Route::Each(&names),
        };
        let stored = vector.stored();
        let (prefix, _) = stored.split_at(codec.prefix_len);
        let iv = vector.0.get("fernet").and_then(|fernet| fernet.get("iv"));
        let iv = iv.map_or([0; 16], |iv| {
            unhex(iv.as_str().unwrap()).try_into().unwrap()
        });
        let got = codec.seal_with(&fields, route, vector.clock(), prefix, iv);
        assert_eq!(got, stored, "{}", vector.text("name"));
        written += 1;
    }
    assert!(written > 15, "only {written} vectors hold nothing but JSON");
}

/// Checklist 9 and 16: bytes and all that JSON cannot hold.
#[test]
fn what_json_cannot_hold_is_written_to_the_same_bytes() {
    for name in ["core_all_types", "core_lengths", "pubsub_all_types"] {
        let vectors = Vector::all("encode_and_decode");
        let vector = vectors
            .iter()
            .find(|vector| vector.text("name") == name)
            .unwrap();
        let stored = vector.stored();
        let prefix_len = vector.codec(&[]).prefix_len;
        let mut got = stored[..prefix_len].to_vec();
        msgpack::write_item(&mut got, &item(vector.0.get("message").unwrap())).unwrap();
        assert_eq!(got, stored, "{name}");
    }
}

/// Checklist 11 and 58.
#[test]
fn what_kills_a_python_consumer_is_only_an_error_here() {
    for vector in Vector::all("reject") {
        let codec = vector.codec(&vector.keys("key"));
        let read = codec.open(&vector.stored(), vector.clock());
        assert!(read.is_err(), "{}: {read:?}", vector.text("name"));
    }
}

/// Checklist 55, second by second at both ends.
#[test]
fn tokens_are_good_for_exactly_as_long_as_in_python() {
    let mut seen = 0;
    for vector in Vector::all("encode_and_decode") {
        let codec = vector.codec(&vector.keys("key"));
        let (Some(from), Some(until)) = (vector.fernet("valid_from"), vector.fernet("valid_until"))
        else {
            if codec.keys.is_some() {
                assert!(
                    codec.open(&vector.stored(), 0).is_ok(),
                    "pub/sub minds no clock"
                );
            }
            continue;
        };
        let open = |now| codec.open(&vector.stored(), now);
        assert!(open(from).is_ok() && open(until).is_ok());
        let refused = Err(Undecodable::Token(InvalidToken));
        assert_eq!(open(from - 1), refused);
        assert_eq!(open(until + 1), refused);
        seen += 1;
    }
    assert!(seen >= 5);
}

/// Checklist 57.
#[test]
fn a_rotated_key_still_decrypts() {
    let vectors = Vector::all("encode_and_decode");
    let old = vectors
        .iter()
        .find(|v| v.text("name") == "core_encrypted_with_old_key")
        .unwrap();
    let both = old.codec(&old.keys("also_decrypts_with"));
    assert!(both.open(&old.stored(), old.clock()).is_ok());
    let new_only = old.codec(&old.keys("also_decrypts_with")[..1]);
    assert!(new_only.open(&old.stored(), old.clock()).is_err());
}

/// Checklist 8.
#[test]
fn every_name_is_on_the_host_where_python_looks_for_it() {
    for vector in Vector::all("hash") {
        let name = vector.text("message").as_bytes();
        let Some(Value::Map(shards)) = vector.0.get("shard") else {
            panic!("shards");
        };
        for (hosts, want) in shards {
            let hosts = hosts.as_str().unwrap().parse().unwrap();
            assert_eq!(
                Some(shard(name, hosts) as u64),
                number(want),
                "{}",
                vector.text("name")
            );
        }
    }
}

/// Checklist 12.
#[test]
fn equal_messages_are_kept_apart_by_their_prefix() {
    let codec = Codec {
        format: Serializer::Msgpack,
        prefix_len: 12,
        keys: None,
        token_life: None,
    };
    let event = Event::TypingStatus {
        user_id: "a".into(),
        is_typing: true.into(),
    };
    let fields = Fields::new(Serializer::Msgpack, &event).unwrap();
    let sealed = (0..1000).map(|_| codec.seal(&fields, Route::Plain, 0));
    let different: std::collections::HashSet<Vec<u8>> = sealed.collect();
    assert_eq!(different.len(), 1000);
}

fn sendable(json: &str, format: Serializer) -> Result<(), Unsendable> {
    let event = Event::Other(loads(json, Constants::Allow).unwrap());
    Fields::new(format, &event).map(|_| ())
}

/// Checklist 14, 18, 70.
#[test]
fn nothing_is_sent_that_would_kill_a_python_consumer() {
    for format in [Serializer::Msgpack, Serializer::Json] {
        for kind in [
            "",
            "_private",
            ".dot",
            "send",
            "close",
            "accept",
            "connect",
            "dispatch",
            "websocket.receive",
            "websocket_disconnect",
            "websocket.send",
            "http.request",
        ] {
            let json = format!(r#"{{"type": "{kind}"}}"#);
            assert_eq!(sendable(&json, format), Err(Unsendable::Type), "{kind}");
        }
        for json in [r#"{"n": 1}"#, r#"{"type": 1}"#, r#"{"type": null}"#, "{}"] {
            assert_eq!(sendable(json, format), Err(Unsendable::Type), "{json}");
        }
        assert_eq!(sendable("[1]", format), Err(Unsendable::NotAMap));
        let routed = r#"{"type": "a", "__asgi_channel__": "x"}"#;
        assert_eq!(sendable(routed, format), Err(Unsendable::Route));
        let deep = format!(
            r#"{{"type": "a", "n": {}1{}}}"#,
            "[".repeat(100),
            "]".repeat(100)
        );
        assert_eq!(sendable(&deep, format), Err(Unsendable::TooDeep));
        assert_eq!(
            sendable(r#"{"type": "chat.message", "n": [[1]]}"#, format),
            Ok(())
        );
    }
    let big = |number: &str| {
        sendable(
            &format!(r#"{{"type": "a", "n": {number}}}"#),
            Serializer::Msgpack,
        )
    };
    assert_eq!(big("18446744073709551615"), Ok(()));
    assert_eq!(big("-9223372036854775808"), Ok(()));
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "1e400, \"m\": 9e999",
        &"9".repeat(50),
    ] {
        let expected = if number.starts_with("1e") {
            Ok(())
        } else {
            Err(Unsendable::OutOfRange)
        };
        assert_eq!(big(number), expected, "{number}");
    }
    let lone = r#"{"type": "a", "n": "\ud800"}"#;
    assert_eq!(
        sendable(lone, Serializer::Msgpack),
        Err(Unsendable::Surrogates)
    );
    assert_eq!(sendable(lone, Serializer::Json), Ok(()));
}

/// Checklist 68.
#[test]
fn json_that_only_python_takes_is_read() {
    let codec = Codec {
        format: Serializer::Json,
        prefix_len: 0,
        keys: None,
        token_life: None,
    };
    let body = br#"{"type": "a", "n": NaN, "i": -Infinity, "big": 1000000000000000000000000000000, "s": "\ud800"}"#;
    let message = codec.open(body, 0).unwrap();
    assert_eq!(message.fields.len(), 5);
}

#[test]
fn a_repeated_key_keeps_its_place_and_takes_its_last_value() {
    let mut small = vec![0x83];
    for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
        msgpack::write_str(&mut small, key);
        small.push(value);
    }
    let want = loads(r#"{"a": 3, "b": 2}"#, Constants::Allow).unwrap();
    assert_eq!(msgpack::read(&small), Ok(Item::Plain(want)));
    let mut large = vec![0xDE, 0, 40];
    for n in 0..40u8 {
        msgpack::write_str(&mut large, &format!("k{}", n % 20));
        large.push(n);
    }
    let Ok(Item::Plain(Value::Map(members))) = msgpack::read(&large) else {
        panic!("a map");
    };
    assert_eq!(members.len(), 20);
    assert_eq!(members[3], ("k3".into(), Value::Int(23)));
}

#[test]
fn a_length_that_is_only_claimed_takes_no_memory() {
    for head in [
        [0xDD, 0xFF, 0xFF, 0xFF, 0xFF],
        [0xDF, 0xFF, 0xFF, 0xFF, 0xFF],
        [0xDB, 0xFF, 0xFF, 0xFF, 0xFF],
    ] {
        assert!(msgpack::read(&head).is_err());
    }
}
