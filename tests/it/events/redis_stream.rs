//! The sink `redis_stream`, on a Redis of the test's own.

use serde_json::Value;

use super::{outbox_of, settings};
use crate::{
    redis::instance::Redis,
    support::{Server, until},
};

/// An entry of the stream.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    pub kind: String,
    pub key: String,
    pub event: Value,
}

/// Settings by which events go to a Redis.
pub fn flags(redis: &Redis) -> Vec<(&'static str, String)> {
    vec![
        ("events.sinks", "redis_stream".to_owned()),
        ("events.redis_stream.url", redis.url()),
        ("events.lease_s", "2".to_owned()),
    ]
}

/// Borrows the values.
pub fn borrowed<'a>(flags: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    flags.iter().map(|(key, value)| (*key, &**value)).collect()
}

/// All entries of the stream, in order.
pub async fn entries(redis: &Redis) -> Vec<Entry> {
    let stream: Vec<(String, Vec<String>)> = redis.ask("XRANGE chatferry.events - +").await;
    let entries = stream.into_iter().map(|(_, fields)| {
        let [id, kind, key, event] = ["id", "type", "key", "event"].map(|name| {
            let place = fields.iter().step_by(2).position(|it| it == name);
            fields[2 * place.unwrap() + 1].clone()
        });
        let event = serde_json::from_str(&event).unwrap();
        Entry {
            id,
            kind,
            key,
            event,
        }
    });
    entries.collect()
}

/// The contents of the messages that were created, as a consumer sees them that passes over
/// repeated events.
pub async fn contents(redis: &Redis) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let created = entries(redis).await.into_iter();
    let created = created.filter(|it| it.kind == "message.created" && seen.insert(it.id.clone()));
    created
        .map(|it| it.event["data"]["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_stream_gets_each_event_in_the_form_of_the_settings() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for (format, field) in [("original", "event_type"), ("cloudevents", "type")] {
        let mut flags = flags(&redis);
        flags.push(("events.format", format.to_owned()));
        let server = Server::with(&borrowed(&flags)).await;
        let id = server.conversation().await;
        let message = server.stored(&id, "alice", "a").await;
        until("the events", async || {
            let all = entries(&redis).await;
            all.iter().filter(|it| it.key == id).count() == 2
        })
        .await;
        let all = entries(&redis).await;
        let last = all.last().unwrap();
        assert_eq!((last.kind.as_str(), &last.key), ("message.created", &id));
        assert_eq!(last.event[field], "message.created");
        assert_eq!(last.event["data"]["message_id"], message["id"]);
        if format == "cloudevents" {
            assert_eq!(last.event["id"], last.id);
        }
    }
}

#[tokio::test]
async fn a_redis_that_was_away_gets_what_was_stored_meanwhile() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = Server::with(&borrowed(&flags(&redis))).await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "before").await;
    until("the first event", async || {
        contents(&redis).await == ["before"]
    })
    .await;
    redis.kill();
    let expected: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    for content in &expected {
        server.stored(&id, "alice", content).await;
    }
    let failed = "chatferry_events_failed_total{sink=\"redis_stream\"}";
    until("a failure", async || server.metric(failed).await > 0.0).await;
    redis.run().await;
    until("the rest", async || contents(&redis).await == expected).await;
    let outbox = outbox_of(&server);
    until("the cursor", async || {
        outbox.backlog("redis_stream").await.unwrap().events == 0
    })
    .await;
}

#[tokio::test]
async fn a_frozen_redis_holds_nothing_up_but_its_own_events() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = Server::with(&borrowed(&flags(&redis))).await;
    let id = server.conversation().await;
    until("the event", async || entries(&redis).await.len() == 1).await;
    redis.freeze();
    for number in 0..10 {
        server.stored(&id, "alice", &number.to_string()).await;
    }
    let failed = "chatferry_events_failed_total{sink=\"redis_stream\"}";
    until("a failure", async || server.metric(failed).await > 0.0).await;
    redis.thaw();
    let expected: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    until("the rest", async || contents(&redis).await == expected).await;
}

#[tokio::test]
async fn of_two_processes_one_publishes_and_the_other_takes_over() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = std::sync::Arc::new(crate::support::Directory::new());
    let flags = flags(&redis);
    let on = async || Server::on(directory.clone(), &borrowed(&flags)).await;
    let (first, second) = (on().await, on().await);
    let id = first.conversation().await;
    for number in 0..20 {
        let server = if number % 2 == 0 { &first } else { &second };
        server.stored(&id, "alice", &number.to_string()).await;
    }
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    until("all events", async || contents(&redis).await == expected).await;
    let owners = async |server: &Server| {
        let sinks = outbox_of(server).sinks().await.unwrap();
        sinks[0].owner.clone()
    };
    let owner = owners(&first).await;
    assert!(owner.is_some());
    // The one that publishes lets go of the sink; which one that is does not matter.
    first.site.events.as_ref().unwrap().close().await;
    second.stored(&id, "alice", "20").await;
    until("the last event", async || {
        contents(&redis).await.last().map(String::as_str) == Some("20")
    })
    .await;
    second.site.events.as_ref().unwrap().close().await;
    assert_eq!(owners(&second).await, None);
}

#[test]
fn an_address_that_is_none_is_refused() {
    let config = settings(
        "sqlite://x",
        &[
            ("events.sinks", "redis_stream"),
            ("events.redis_stream.url", "http://x"),
        ],
    );
    let sink = chatferry::events::sink::open(config.events.sinks[0], &config.events);
    let error = sink.err().unwrap().to_string();
    assert!(error.starts_with("events.redis_stream.url: "), "{error}");
}
