//! Messages of an assistant, consumed from brokers, with producers as others write them.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::brokers::{Broker, Kind, python};
use crate::support::{Directory, Process, Server, script::Script, until};

/// Type of the events.
const GENERATED: &str = "ai.message.generated";

impl Broker {
    /// Settings of a server that consumes from there.
    fn inward(&self) -> [(String, String); 2] {
        [
            (format!("events.inward.{}.url", self.name()), self.url()),
            ("events.inward.claim_s".to_owned(), "1".to_owned()),
        ]
    }

    /// A server that consumes from there, once it does.
    async fn consumer(&self, directory: Arc<Directory>) -> Server {
        let flags = self.inward();
        let flags = [0, 1].map(|at| (flags[at].0.as_str(), flags[at].1.as_str()));
        let server = Server::on(directory, &flags).await;
        // Only then there is something to publish to.
        until("the queue, or the stream", async || {
            self.look().await.is_some()
        })
        .await;
        server
    }

    /// Publishes events, and waits until the broker has them.
    async fn publish(&self, events: &[Value]) {
        let events = serde_json::to_string(events).unwrap();
        assert_eq!(
            self.produce(&["publish", &events]).await.as_deref(),
            Some("sent")
        );
    }

    /// How many events are left, and the dead letters; `None` if there is no place for any yet.
    async fn look(&self) -> Option<(u64, Vec<Dead>)> {
        let found: Value = serde_json::from_str(&self.produce(&["look"]).await?).unwrap();
        let dead = serde_json::from_value(found["dead"].clone()).unwrap();
        Some((found["left"].as_u64().unwrap(), dead))
    }

    async fn produce(&self, verb: &[&str]) -> Option<String> {
        let url = self.url();
        let arguments = [&[self.name(), &url], verb].concat();
        let file = "tests/it/events/producer.py";
        Script::start(python().unwrap(), file, &arguments)
            .answer()
            .await
    }
}

/// Reason, bytes and id of a dead letter.
type Dead = (String, usize, Option<String>);

fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// An event in the form of a `CloudEvent`.
fn event(id: &str, conversation: &str, content: &str) -> Value {
    let event = json!({
        "specversion": "1.0", "id": id, "type": GENERATED,
        "data": {"conversation_id": conversation, "content": content},
    });
    json!({"body": event.to_string()})
}

async fn everything_is_stored_once(kind: Kind, prefix: &str) {
    let Some(mut broker) = Broker::start(kind).await else {
        return;
    };
    let server = broker.consumer(Arc::new(Directory::new())).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let first = event(&new_id(), &id, "first");
    let data = json!({"conversation_id": id, "content": "binary", "sender_id": "robot"});
    let mut headers = json!({});
    headers[format!("{prefix}type")] = GENERATED.into();
    headers[format!("{prefix}id")] = new_id().into();
    let binary = json!({"body": data.to_string(), "headers": headers});
    broker
        .publish(&[first.clone(), first.clone(), binary])
        .await;
    assert_eq!(socket.heard().await, "first");
    assert_eq!(socket.heard().await, "binary");
    broker.kill();
    broker.run().await;
    until("the broker", async || broker.look().await.is_some()).await;
    broker
        .publish(&[first, event(&new_id(), &id, "second")])
        .await;
    assert_eq!(socket.heard().await, "second");
    assert_eq!(server.contents(&id).await, ["first", "binary", "second"]);
    until("nothing more", async || {
        broker.look().await == Some((0, Vec::new()))
    })
    .await;
}

async fn what_cannot_be_stored_is_a_dead_letter(kind: Kind, trap: Value) {
    let Some(broker) = Broker::start(kind).await else {
        return;
    };
    let server = broker.consumer(Arc::new(Directory::new())).await;
    let (id, nowhere) = (server.conversation().await, new_id());
    // It fits into a message of NATS, and with the reason no more.
    let most = (1 << 20) - 40;
    let large = json!({"size": most});
    broker
        .publish(&[
            json!({"body": "no JSON"}),
            event(&new_id(), &nowhere, "lost"),
            event("no UUID", &id, "lost"),
            json!({"body": "\u{ff}\u{fe}"}),
            json!({"body": "[".repeat(100_000)}),
            trap,
            large,
            json!({"body": "{\"event_type\": \"user.created\"}"}),
            event(&new_id(), &id, "good"),
        ])
        .await;
    until("the good one", async || {
        server.contents(&id).await == ["good"]
    })
    .await;
    let ignored = "chatferry_events_consumed_total{outcome=\"ignored\"}";
    assert_eq!(server.metric(ignored).await, 1.0);
    let mut dead = Vec::new();
    until("nothing more", async || {
        let (left, letters) = broker.look().await.unwrap();
        dead = letters;
        left == 0
    })
    .await;
    assert_eq!(dead.len(), 7, "{dead:?}");
    let reasons = [
        "expected",
        "conversation",
        "UUID",
        "",
        "recursion",
        "expected",
        "expected",
    ];
    for ((why, ..), expected) in dead.iter().zip(reasons) {
        assert!(why.contains(expected), "{dead:?}");
    }
    assert_eq!(dead[0].1, "no JSON".len());
    let kept = if kind == Kind::Nats { 0 } else { most };
    assert_eq!(
        dead[6].1, kept,
        "of a letter past the broker's bound there is the reason"
    );
}

async fn what_a_killed_process_was_given_is_taken_over(kind: Kind) {
    // More than a process is given before it has acknowledged.
    const MANY: usize = 60;
    let Some(broker) = Broker::start(kind).await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let mut words = broker
        .inward()
        .map(|(key, value)| format!("{key}={value}"))
        .to_vec();
    words.push(format!(
        "store.url=sqlite://{}",
        directory.database().display()
    ));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let process = Process::start(&directory, &words).await;
    let id = process.conversation().await;
    until("the queue, or the stream", async || {
        broker.look().await.is_some()
    })
    .await;
    let events: Vec<Value> = (0..MANY)
        .map(|number| event(&new_id(), &id, &number.to_string()))
        .collect();
    broker.publish(&events).await;
    until("some messages", async || {
        let metric = "chatferry_events_consumed_total{outcome=\"stored\"}";
        process.connect().await.metric(metric).await > 0.0
    })
    .await;
    process.signal("KILL").await;
    drop(process);
    let server = broker.consumer(directory).await;
    until("all of them", async || {
        server.contents(&id).await.len() >= MANY
    })
    .await;
    until("nothing more", async || {
        broker.look().await == Some((0, Vec::new()))
    })
    .await;
    let mut contents = server.contents(&id).await;
    contents.sort_by_key(|content| content.parse::<usize>().unwrap());
    let expected: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    assert_eq!(contents, expected, "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_in_rabbitmq_is_stored_once() {
    everything_is_stored_once(Kind::RabbitMq, "cloudEvents:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_in_nats_is_stored_once() {
    everything_is_stored_once(Kind::Nats, "ce-").await;
}

/// With a header of which the broker would send the letter elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_stored_is_a_dead_letter_in_rabbitmq() {
    let trap =
        json!({"body": "trap", "headers": {"CC": ["chatferry.inward"]}, "expiration": "60000"});
    what_cannot_be_stored_is_a_dead_letter(Kind::RabbitMq, trap).await;
}

/// With a header for which the broker would refuse each letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_stored_is_a_dead_letter_in_nats() {
    let trap = json!({"body": "trap", "headers": {"Nats-Expected-Last-Sequence": "5"}});
    what_cannot_be_stored_is_a_dead_letter(Kind::Nats, trap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_process_was_given_by_rabbitmq_is_taken_over() {
    what_a_killed_process_was_given_is_taken_over(Kind::RabbitMq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_process_was_given_by_nats_is_taken_over() {
    what_a_killed_process_was_given_is_taken_over(Kind::Nats).await;
}
