//! The vectors of the wire contract: what the original wrote, byte for byte, and what it refused.
//!
//! They were made by `channels_redis` itself, with its random prefix, its clock and its IVs held
//! still; 4.2.0 and 4.3.0 gave equal bytes.

mod json;
mod msgpack;
mod token;
mod vectors;

use self::vectors::{Vector, number, unhex};
use super::*;
use crate::{
    chat::Event,
    dialect::django::events::Events,
    layer::redis::shard::shard,
    python::{
        datetime::Zone,
        json::{Constants, loads},
    },
};

/// `-0.0 == 0.0`, so equality alone would not see a lost sign.
fn same(one: &LayerMessage, other: &LayerMessage) -> bool {
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
        let event = Event::Foreign(Value::Map(members));
        let codec = vector.codec(&vector.keys("key"));
        let fields = Fields::new(codec.format, &event, None).unwrap();
        let names = message.route.unwrap_or_default();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let route = match vector.0.get("message").unwrap().get(ROUTE) {
            None => ChannelRoute::Plain,
            Some(Value::Str(_)) => ChannelRoute::One(names[0]),
            Some(_) => ChannelRoute::Each(&names),
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

/// Checklist 11 and 58.
#[test]
fn what_kills_a_python_consumer_is_only_an_error_here() {
    for vector in Vector::all("reject") {
        let codec = vector.codec(&vector.keys("key"));
        let read = codec.open(&vector.stored(), vector.clock());
        assert!(read.is_err(), "{}: {read:?}", vector.text("name"));
    }
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
        event_max: usize::MAX,
        events: None,
    };
    let event = Event::Typing {
        user_id: "a".into(),
        is_typing: true.into(),
    };
    let fields = Fields::new(Serializer::Msgpack, &event, Some(&events())).unwrap();
    let sealed = (0..1000).map(|_| codec.seal(&fields, ChannelRoute::Plain, 0).unwrap());
    let different: std::collections::HashSet<Vec<u8>> = sealed.collect();
    assert_eq!(different.len(), 1000);
}

fn events() -> Events {
    Events { zone: Zone::utc() }
}

fn sendable(json: &str, format: Serializer) -> Result<(), Unsendable> {
    let event = Event::Foreign(loads(json, Constants::Allow).unwrap());
    Fields::new(format, &event, None).map(|_| ())
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
        let deep = |depth| (1..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        let typing = |is_typing| Event::Typing {
            user_id: "a".into(),
            is_typing,
        };
        let written = |event| Fields::new(format, &event, Some(&events()));
        assert!(written(typing(deep(MAX_SENT_DEPTH))).is_ok());
        let deeper = written(typing(deep(MAX_SENT_DEPTH + 1)));
        assert_eq!(deeper.err(), Some(Unsendable::TooDeep));
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
