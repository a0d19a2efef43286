//! What Redis holds: messages of the channel layer, plain and encrypted.

use std::sync::{Arc, LazyLock};

use chatferry::{
    config::Serializer,
    dialect::django::events::Events,
    layer::redis::{codec::Codec, crypto::Keys, event::Passthrough},
    python::datetime::Zone,
};

const NOW: u64 = 1_800_000_000;
const MINUTE: Option<u64> = Some(60);

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(["first", "second"]).unwrap());

/// A stored message in either format and with either length of prefix; one that was read becomes an
/// event or an error.
pub fn layer_message(input: &[u8]) {
    for (format, prefix_len) in [
        (Serializer::Msgpack, 12),
        (Serializer::Msgpack, 0),
        (Serializer::Json, 12),
        (Serializer::Json, 0),
    ] {
        let codec = Codec {
            format,
            prefix_len,
            keys: None,
            token_life: None,
            event_max: usize::MAX,
            events: None,
        };
        if let Ok(message) = codec.open(input, NOW) {
            let _ = Passthrough::all().event(message.clone());
            let events = Events { zone: Zone::utc() };
            let _ = Passthrough::new(Arc::new(events), &[]).event(message);
        }
    }
}

/// Bytes that claim to be a token are none, since nobody guesses a key; and what we encrypt comes
/// back, once all of it is there.
pub fn fernet_token(input: &[u8]) {
    let token = KEYS.encrypt(input, NOW, [7; 16]);
    assert_eq!(KEYS.decrypt(&token, NOW, MINUTE).as_deref(), Ok(input));
    assert!(KEYS.decrypt(&token[1..], NOW, MINUTE).is_err());
    assert!(KEYS.decrypt(input, NOW, MINUTE).is_err());
}
