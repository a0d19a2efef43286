//! Processes whose clock is wrong, or set wrong while they run: what they leave in Redis and in the tables,
//! and what they take from others.

use std::path::{Path, PathBuf};

use chatferry::{
    clock::since_1970,
    python::datetime::{Timestamp, from_sqlite},
};

use super::instance::Redis;
use crate::support::{Directory, Process, Socket, process::chatferry, skip, until};

const CONTROL: &str = "asgi:group:chatferry-control";

/// What stands for another process, which reads nothing.
const OTHER: &str = "specific.other!";

/// In microseconds.
const SECOND: i64 = 1_000_000;

/// A server with a clock of its own, and a socket on it.
struct Skewed {
    redis: Redis,
    clock: PathBuf,
    id: String,
    socket: Socket,
    _process: Process,
    _directory: Directory,
}

/// The library that shows a process another time, if it is there.
fn library() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let library = |place: std::fs::DirEntry| place.path().join("faketime/libfaketimeMT.so.1");
    libraries.map(library).find(|library| library.exists())
}

fn now() -> f64 {
    since_1970().as_secs_f64()
}

fn set(clock: &Path, ahead_s: i64) {
    std::fs::write(clock, format!("{ahead_s:+}\n")).unwrap();
}

impl Skewed {
    async fn start(backend: &str, ahead_s: i64) -> Option<Self> {
        let Some(library) = library() else {
            skip("no libfaketime");
            return None;
        };
        let redis = Redis::start().await?;
        let directory = Directory::new();
        let clock = directory.path().join("clock");
        set(&clock, ahead_s);
        let backend = format!("layer.backend={backend}");
        let hosts = format!("layer.hosts={}", redis.url());
        let settings = ["server.bind=127.0.0.1:0", &backend, &hosts];
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = ["serve"].into_iter().chain(settings).collect();
        let mut command = chatferry(&directory, &arguments);
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let process = Process::of(command).await;
        let id = process.conversation().await;
        let socket = process.socket(&id).await;
        Some(Skewed {
            redis,
            clock,
            id,
            socket,
            _process: process,
            _directory: directory,
        })
    }

    /// Sets the clock wrong, and waits until the process has looked after Redis twice.
    async fn step(&self, ahead_s: i64) {
        set(&self.clock, ahead_s);
        for _ in 0..2 {
            let before = self.shown_up().await;
            until("a look", async || self.shown_up().await != before).await;
        }
    }

    /// The scores of the processes that are no test's.
    async fn shown_up(&self) -> Vec<String> {
        let mut shown: Vec<String> = self
            .redis
            .ask(&format!("ZRANGE {CONTROL} 0 -1 WITHSCORES"))
            .await;
        if let Some(place) = shown.iter().position(|name| name.starts_with(OTHER)) {
            shown.drain(place..place + 2);
        }
        shown
    }

    /// Makes the other process a member of the conversation and of Chatferry's own group.
    async fn add_other(&self) {
        for group in [format!("asgi:group:chat_{}", self.id), CONTROL.to_owned()] {
            let join = format!("ZADD {group} {} {OTHER}x", now());
            assert_eq!(self.redis.ask::<i64>(&join).await, 1);
        }
    }

    /// What waits for the other process: scores and, of those that are ours, nothing else.
    async fn waiting(&self) -> Vec<f64> {
        let count = format!("ZCARD asgi{OTHER}");
        until("an entry", async || self.redis.ask::<i64>(&count).await > 0).await;
        let ask = format!("ZRANGE asgi{OTHER} 0 -1 WITHSCORES");
        let entries: Vec<(redis::Value, f64)> = self.redis.ask(&ask).await;
        entries.into_iter().map(|(_, score)| score).collect()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_takes_nothing_from_other_processes() {
    takes_nothing(0).await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_at_the_start_takes_nothing_from_other_processes() {
    takes_nothing(300).await;
}

async fn takes_nothing(ahead_at_start_s: i64) {
    let Some(mut skewed) = Skewed::start("redis", ahead_at_start_s).await else {
        return;
    };
    skewed.add_other().await;
    let waits = format!("ZADD asgi{OTHER} {} waits", now() - 1.0);
    assert_eq!(skewed.redis.ask::<i64>(&waits).await, 1);
    skewed.step(300).await;
    let member = format!("ZSCORE {CONTROL} {OTHER}x");
    assert!(skewed.redis.ask::<Option<f64>>(&member).await.is_some());
    skewed.socket.works().await;
    let queue = format!("ZRANGE asgi{OTHER} 0 -1");
    until("the entry", async || {
        let entries: Vec<Vec<u8>> = skewed.redis.ask(&queue).await;
        entries.iter().any(|entry| entry != b"waits")
    })
    .await;
    let waits = format!("ZSCORE asgi{OTHER} waits");
    assert!(skewed.redis.ask::<Option<f64>>(&waits).await.is_some());
}

#[tokio::test]
async fn what_a_clock_sends_that_is_set_back_is_not_older_than_it_is() {
    let Some(mut skewed) = Skewed::start("redis", 0).await else {
        return;
    };
    skewed.add_other().await;
    let before = now();
    skewed.step(-124).await;
    skewed.socket.works().await;
    for score in skewed.waiting().await {
        assert!(score >= before, "{score} {before}");
    }
}

/// Others look for what they missed by its time.
#[tokio::test]
async fn a_message_is_dated_by_the_clock_of_redis_if_that_of_the_process_was_set_wrong() {
    for backend in ["redis", "redis_pubsub"] {
        for ahead_s in [300, -124] {
            let Some(mut skewed) = Skewed::start(backend, 0).await else {
                return;
            };
            set(&skewed.clock, ahead_s);
            let before = Timestamp::now().micros();
            skewed.socket.say("late").await;
            let shown = skewed.socket.json().await;
            let created_at = shown["message"]["created_at"].as_str().unwrap();
            let created_at = from_sqlite(created_at).unwrap().micros();
            let between = before - SECOND..Timestamp::now().micros() + SECOND;
            assert!(
                between.contains(&created_at),
                "{backend} {ahead_s}: {created_at} {between:?}"
            );
        }
    }
}
