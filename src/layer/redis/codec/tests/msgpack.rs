//! msgpack beyond what events of the chat need.

use super::vectors::{Vector, item};
use crate::{
    layer::redis::codec::{msgpack, *},
    python::json::{Constants, loads},
};

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
