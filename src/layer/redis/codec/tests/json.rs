//! JSON beyond what other parsers take.

use crate::layer::redis::codec::*;

/// Checklist 68.
#[test]
fn json_that_only_python_takes_is_read() {
    let codec = Codec {
        format: Serializer::Json,
        prefix_len: 0,
        keys: None,
        token_life: None,
        event_max: usize::MAX,
        events: None,
    };
    let body = br#"{"type": "a", "n": NaN, "i": -Infinity, "big": 1000000000000000000000000000000, "s": "\ud800"}"#;
    let message = codec.open(body, 0).unwrap();
    assert_eq!(message.fields.len(), 5);
}
