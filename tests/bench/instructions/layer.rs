//! Messages of the channel layer in Redis: written, and read.

use std::{hint::black_box, sync::Arc};

use chatferry::{
    config::Serializer,
    dialect::django::events::Events,
    layer::{
        events::EventTable,
        redis::{
            codec::{ChannelRoute, Codec},
            event::Passthrough,
        },
    },
};

use super::{
    Go,
    world::{seoul, told},
};

const NOW: u64 = 1_700_000_000;
const CHANNELS: [&str; 1] =
    ["specific.0123456789abcdef0123456789abcdef!9503121278234748bb78b212d36b6db3"];

/// As the core layer writes it: to a channel of another process.
pub fn send() -> Go {
    let (codec, event) = (codec(12), told(0));
    Box::new(move |times| {
        for _ in 0..times {
            let fields = codec.fields(&event).unwrap();
            black_box(
                codec
                    .seal(&fields, ChannelRoute::Each(&CHANNELS), NOW)
                    .unwrap(),
            );
        }
    })
}

pub fn core() -> Go {
    read(codec(12), ChannelRoute::Each(&CHANNELS))
}

pub fn pubsub() -> Go {
    read(codec(0), ChannelRoute::Plain)
}

fn read(codec: Codec, route: ChannelRoute<'_>) -> Go {
    let fields = codec.fields(&told(0)).unwrap();
    let stored = codec.seal(&fields, route, NOW).unwrap();
    let passthrough = Passthrough::new(events(), &[]);
    Box::new(move |times| {
        for _ in 0..times {
            let message = codec.open(&stored, NOW).unwrap();
            black_box(passthrough.event(message).unwrap());
        }
    })
}

fn codec(prefix_len: usize) -> Codec {
    Codec {
        format: Serializer::Msgpack,
        prefix_len,
        keys: None,
        token_life: None,
        event_max: usize::MAX,
        events: Some(events()),
    }
}

fn events() -> Arc<dyn EventTable> {
    Arc::new(Events { zone: seoul() })
}
