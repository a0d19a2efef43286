//! A process that ends gives Redis the time of its drain to take what could not be sent before.

use std::sync::Arc;

use super::{cable::Cable, instance::Redis};
use crate::support::{Directory, Process, Server, Socket, soon};

/// A process whose link can be cut, which owes something to another, and a socket of that.
struct Leaving {
    _redis: Redis,
    cable: Cable,
    process: Process,
    _other: Server,
    listener: Socket,
}

impl Leaving {
    /// It has said "a last word" and is told to end.
    async fn start(backend: &str, drain_s: &str) -> Option<Self> {
        let redis = Redis::start().await?;
        let cable = Cable::to(&redis).await;
        let directory = Arc::new(Directory::new());
        let near = redis.url();
        // Without a sweep the other process shows only what it is sent.
        let flags = [
            ("layer.backend", backend),
            ("layer.hosts", &*near),
            ("layer.sweep_s", "0"),
        ];
        let other = Server::on(Arc::clone(&directory), &flags).await;
        let settings = [
            format!("layer.backend={backend}"),
            format!("layer.hosts={}", cable.url()),
            format!("server.drain_s={drain_s}"),
        ];
        let settings = settings.each_ref().map(String::as_str);
        let mut process = Process::start(&directory, &settings).await;
        let id = other.conversation().await;
        let listener = other.socket(&id).await;
        let mut speaker = process.socket(&id).await;
        cable.cut();
        speaker.say("a last word").await;
        assert_eq!(speaker.heard().await, "a last word");
        drop(speaker);
        process.signal("TERM").await;
        process.logs("waiting for Redis to take the events").await;
        Some(Leaving {
            _redis: redis,
            cable,
            process,
            _other: other,
            listener,
        })
    }
}

#[tokio::test]
async fn a_process_that_drains_waits_for_a_redis_that_it_owes_something() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(mut leaving) = Leaving::start(backend, "300").await else {
            return;
        };
        leaving.cable.mend();
        let heard = soon("the last word", leaving.listener.heard());
        assert_eq!(heard.await, "a last word");
        let (code, log) = leaving.process.ended().await;
        assert_eq!(code, 0, "{log}");
    }
}

#[tokio::test]
async fn a_process_does_not_wait_for_redis_past_its_drain() {
    let Some(leaving) = Leaving::start("redis", "3").await else {
        return;
    };
    let (code, log) = leaving.process.ended().await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("Redis has not taken all events"), "{log}");
}
