//! Messages of an assistant, consumed from a stream of Redis.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    redis::instance::Redis,
    support::{Directory, Process, Server, until},
};

const STREAM: &str = "chatferry.inward";

/// Settings of a server that consumes.
fn flags(redis: &Redis) -> [(&'static str, String); 2] {
    [
        ("events.inward.url", redis.url()),
        ("events.inward.claim_s", "1".to_owned()),
    ]
}

async fn server(redis: &Redis, directory: Arc<Directory>) -> Server {
    let flags = flags(redis);
    let flags = [0, 1].map(|at| (flags[at].0, flags[at].1.as_str()));
    Server::on(directory, &flags).await
}

/// An event in the original's form.
fn event(conversation: &str, content: &str) -> Value {
    json!({
        "event_type": "ai.message.generated",
        "timestamp": "2026-11-30T10:00:00",
        "data": {"conversation_id": conversation, "content": content, "sender_id": "robot"},
    })
}

/// Adds an entry with this id of an event.
async fn add(redis: &Redis, id: &str, event: &str) {
    let mut add = redis::cmd("XADD");
    add.arg(STREAM).arg("*").arg("id").arg(id);
    add.arg("event").arg(event);
    let _: String = redis.command(&add).await;
}

fn new_id() -> String {
    Uuid::now_v7().to_string()
}

async fn dead_letters(redis: &Redis) -> usize {
    redis.ask(&format!("XLEN {STREAM}.dead")).await
}

/// Entries that were given to a consumer and are not confirmed.
async fn pending(redis: &Redis) -> i64 {
    let answer: Vec<redis::Value> = redis.ask(&format!("XPENDING {STREAM} chatferry")).await;
    redis::from_redis_value(answer.into_iter().next().unwrap()).unwrap()
}

#[tokio::test]
async fn a_message_of_an_assistant_is_stored_and_broadcast_once() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = server(&redis, Arc::new(Directory::new())).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let message = new_id();
    for _ in 0..2 {
        add(&redis, &message, &event(&id, "generated").to_string()).await;
    }
    let cloud = json!({
        "specversion": "1.0", "id": new_id(), "type": "ai.message.generated",
        "data": {"conversation_id": id, "content": "cloud"},
    });
    let mut bare = redis::cmd("XADD");
    bare.arg(STREAM)
        .arg("*")
        .arg("event")
        .arg(cloud.to_string());
    let _: String = redis.command(&bare).await;
    assert_eq!(socket.heard().await, "generated");
    assert_eq!(socket.heard().await, "cloud");
    assert_eq!(server.contents(&id).await, ["generated", "cloud"]);
    let list = format!("/api/chat/conversations/{id}/messages/");
    let messages = server.get(&list).await.json();
    assert_eq!(messages[0]["id"], message.as_str());
    assert_eq!(messages[0]["sender_id"], "robot");
    assert_eq!(messages[1]["sender_id"], "assistant");
    let repeated = "chatferry_events_consumed_total{outcome=\"repeated\"}";
    until("the repeated one", async || {
        server.metric(repeated).await == 1.0
    })
    .await;
    until("the last confirmation", async || pending(&redis).await == 0).await;
    assert_eq!(dead_letters(&redis).await, 0);
}

#[tokio::test]
async fn what_cannot_be_stored_is_put_aside_and_what_is_not_meant_is_passed_over() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = server(&redis, Arc::new(Directory::new())).await;
    let (id, nowhere) = (server.conversation().await, new_id());
    add(&redis, &new_id(), "no JSON").await;
    add(&redis, &new_id(), &event(&nowhere, "lost").to_string()).await;
    add(&redis, "no UUID", &event(&id, "lost").to_string()).await;
    add(&redis, &new_id(), "{\"event_type\": \"user.created\"}").await;
    add(&redis, &new_id(), &event(&id, "good").to_string()).await;
    until("the good one", async || {
        server.contents(&id).await == ["good"]
    })
    .await;
    until("the confirmations", async || pending(&redis).await == 0).await;
    assert_eq!(dead_letters(&redis).await, 3);
    let ignored = "chatferry_events_consumed_total{outcome=\"ignored\"}";
    assert_eq!(server.metric(ignored).await, 1.0);
}

#[tokio::test]
async fn no_entry_stops_those_behind_it_whatever_it_holds() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = server(&redis, Arc::new(Directory::new())).await;
    let id = server.conversation().await;
    let large = vec![b'a'; (8 << 20) + 1];
    let deep = "[".repeat(100_000);
    let event = event(&id, "good").to_string();
    for (name, value) in [
        (&b"event"[..], &b"\xff\xfe"[..]),
        (b"\xff", b""),
        (b"event", b"{\"event_type\": \"\xc3\"}"),
        (b"event", deep.as_bytes()),
        (b"event", &large),
        (&large, b"a"),
        (b"event", event.as_bytes()),
    ] {
        let mut add = redis::cmd("XADD");
        add.arg(STREAM).arg("*").arg("id").arg(new_id());
        add.arg(name).arg(value);
        let _: String = redis.command(&add).await;
    }
    until("the good one", async || {
        server.contents(&id).await == ["good"]
    })
    .await;
    until("the confirmations", async || pending(&redis).await == 0).await;
    assert_eq!(dead_letters(&redis).await, 6);
}

#[tokio::test]
async fn an_entry_is_stored_though_those_before_it_are_too_much_for_one_answer() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let first = Server::on(Arc::clone(&directory), &[]).await;
    let id = first.conversation().await;
    drop(first);
    let other = json!({"event_type": "user.created", "data": "a".repeat(7 << 20)}).to_string();
    for _ in 0..12 {
        add(&redis, &new_id(), &other).await;
    }
    let good = event(&id, &"good ".repeat(50)).to_string();
    add(&redis, &new_id(), &good).await;
    let server = server(&redis, directory).await;
    until("the good one", async || {
        server.contents(&id).await == ["good ".repeat(50)]
    })
    .await;
    until("the confirmations", async || pending(&redis).await == 0).await;
    assert_eq!(dead_letters(&redis).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_entries_of_a_process_that_is_killed_are_taken_over() {
    const MANY: usize = 60;
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let words = flags(&redis).map(|(key, value)| format!("{key}={value}"));
    let file = format!("store.url=sqlite://{}", directory.database().display());
    let words = [words[0].as_str(), words[1].as_str(), &file];
    let process = Process::start(&directory, &words).await;
    let id = process.conversation().await;
    for number in 0..MANY {
        let event = event(&id, &number.to_string()).to_string();
        add(&redis, &new_id(), &event).await;
    }
    until("some messages", async || {
        let metric = "chatferry_events_consumed_total{outcome=\"stored\"}";
        process.connect().await.metric(metric).await > 0.0
    })
    .await;
    process.signal("KILL").await;
    drop(process);
    let server = server(&redis, directory).await;
    until("all of them", async || {
        server.contents(&id).await.len() == MANY
    })
    .await;
    until("the confirmations", async || pending(&redis).await == 0).await;
    let mut contents = server.contents(&id).await;
    contents.sort_by_key(|content| content.parse::<usize>().unwrap());
    let expected: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    assert_eq!(contents, expected, "each once");
}
