//! Frames of sockets: read, made, and handed to many.

use std::{hint::black_box, sync::Arc};

use bytes::BytesMut;
use chatferry::{
    chat::policy::Caller,
    dialect::django::{
        consumer::Consumer,
        events::Events,
        frames::{event_frame, history_frame},
    },
    hub::{
        Hub,
        queue::{Queue, QueueLimits},
    },
    layer::{ChannelLayer, memory::MemoryLayer},
    metrics::Metrics,
    vital::Vital,
    ws::{
        reader::Reader,
        session::{Action, Session},
        transfer::transfer,
        writer::Writer,
    },
};
use tokio::io::{empty, join, sink};

use super::{
    Go,
    nowhere::Nowhere,
    wire,
    world::{CONVERSATION, chat_message, config, messages, one_thread, seoul, told},
};

const TEXT: u8 = 1;
const SOCKETS: usize = 100;
const GROUP: &str = "chat_95031212-7823-4748-bb78-b212d36b6db3";

pub fn read() -> Go {
    let frame = wire::masked(TEXT, chat_message().as_bytes());
    let mut reader = Reader::new(BytesMut::new(), 1 << 20);
    let consumer = Consumer::new(&config(&[]));
    let mut session = Session::new(Arc::new(consumer), Caller::Anybody, false);
    Box::new(move |times| {
        for _ in 0..times {
            reader.buffer.extend_from_slice(&frame);
            let incoming = reader.take_message().unwrap().unwrap();
            reader.give_back();
            let action = black_box(session.incoming(incoming));
            assert!(matches!(action, Action::Perform(_)));
        }
    })
}

pub fn history() -> Go {
    let (messages, zone) = (messages(), seoul());
    Box::new(move |times| {
        for _ in 0..times {
            black_box(history_frame(&messages, &zone));
        }
    })
}

pub fn fan_out() -> Go {
    let (runtime, events) = (one_thread(), Events { zone: seoul() });
    let metrics = Arc::new(Metrics::new());
    let layer = Arc::new(MemoryLayer::new());
    let mut sockets = Vec::new();
    runtime.block_on(async {
        let hub = Arc::new(Hub::new(
            Arc::clone(&layer) as _,
            Arc::new(Nowhere::new(Arc::clone(&metrics))),
            Arc::clone(&metrics),
            vec![Box::new(move |_, event| event_frame(&events, event))],
            false,
            Vital::default(),
        ));
        let fan_out = Arc::clone(&hub);
        tokio::spawn(async move { fan_out.run(Box::new(|_| ())).await });
        for _ in 0..SOCKETS {
            let queue = Arc::new(Queue::new(QueueLimits {
                frames: 16,
                bytes: 1 << 20,
            }));
            queue.history_is_told();
            let joining = hub.join(CONVERSATION, GROUP.into(), Arc::clone(&queue));
            sockets.push((joining.await.unwrap(), queue, Writer::default()));
        }
    });
    // Each message is delivered once.
    let mut numbers = 0..;
    let mut stream = join(empty(), sink());
    Box::new(move |times| {
        runtime.block_on(async {
            for number in numbers.by_ref().take(times) {
                layer.group_send(GROUP, told(number)).await.unwrap();
                for (_, queue, writer) in &mut sockets {
                    queue.filled().await;
                    writer.append(queue.take().unwrap().frames);
                    transfer(&mut stream, None, Some(writer)).await;
                    metrics.frames_out(&mut writer.news);
                    assert!(writer.is_empty());
                }
            }
        });
    })
}
