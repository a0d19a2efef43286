//! A process that ends passes on what was said to it: it waits for the database to confirm it, and
//! for Redis to take it.

use std::sync::Arc;

use chatferry::{
    id::{Key, MessageId},
    layer::control::Control,
};
use serde_json::{Value, json};

use super::{cable::Cable, instance::Redis, world::Layer};
use crate::{
    postgres::database::Database,
    support::{Directory, Process, Proxy, Server, Socket, http::value_of, request, soon, until},
};

/// Both layers.
const BACKENDS: [&str; 2] = ["redis", "redis_pubsub"];

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
        process
            .logs("waiting for Redis and for sinks to take their events")
            .await;
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
    for backend in BACKENDS {
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
    assert!(log.contains("not all events are taken"), "{log}");
}

/// Returns the events that a socket gets before the message that says `end`.
async fn events_before(listener: &mut Socket, end: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = soon(end, listener.json()).await;
        if event["message"]["content"] == end {
            return events;
        }
        events.push(event);
    }
}

#[tokio::test]
async fn what_is_confirmed_after_the_drain_is_sent_before_the_end() {
    for backend in BACKENDS {
        let (Some(redis), Some(database)) = (Redis::start().await, Database::new().await) else {
            return;
        };
        let proxy = Proxy::before(&database.cluster.location).await;
        let (_, name) = database.url.rsplit_once('/').unwrap();
        let hosts = redis.url();
        // Without a sweep the other process shows only what it is sent.
        let flags = [
            ("layer.backend", backend),
            ("layer.hosts", &*hosts),
            ("layer.sweep_s", "0"),
        ];
        let other = database.server_with(&flags).await;
        let settings = [
            format!("store.url={}/{name}", proxy.location),
            format!("layer.backend={backend}"),
            format!("layer.hosts={hosts}"),
            "server.drain_s=1".to_owned(),
        ];
        let settings = settings.each_ref().map(String::as_str);
        let directory = Directory::new();
        let mut process = Process::start(&directory, &settings).await;
        // Its trial of the rights would wait for the lock too.
        process.logs("all is well").await;
        let id = other.conversation().await;
        let first = other.stored(&id, "alice", "before").await;
        let mut listener = other.socket(&id).await;
        let mut speaker = process.socket(&id).await;
        let mut reader = process.socket(&id).await;
        let locker = database.client().await;
        let lock = "BEGIN; LOCK TABLE messages IN EXCLUSIVE MODE";
        locker.batch_execute(lock).await.unwrap();
        speaker.say("a last word").await;
        until("the commit", async || {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                           AND relation = 'messages'::regclass";
            database.value::<i64>(waiting).await == 1
        })
        .await;
        let mark = json!({"type": "mark_as_read", "message_id": first["id"], "user_id": "bob"});
        reader.send(&mark).await;
        let mut operator = process.connect().await;
        until("the mark", async || {
            let metrics = operator.ask(request("GET", "/metrics", &[], None)).await;
            let asked = "chatferry_ws_requests_total{type=\"mark_as_read\"}";
            value_of(metrics.text(), asked) == 1.0
        })
        .await;
        let held = proxy.hold();
        process.signal("TERM").await;
        process.logs("waiting for the database to confirm").await;
        locker.batch_execute("ROLLBACK").await.unwrap();
        let stored = "SELECT count(*) FROM messages WHERE content = 'a last word'";
        held.lose_that_of(async || database.value::<i64>(stored).await > 0)
            .await;
        process.ended().await;
        other.socket(&id).await.say("after").await;
        let events = events_before(&mut listener, "after").await;
        let [said, read] = &*events else {
            panic!("{backend}: {events:?}");
        };
        assert_eq!(said["message"]["content"], "a last word");
        assert_eq!(read["message_id"], first["id"]);
    }
}

#[tokio::test]
async fn an_event_that_waits_behind_another_is_sent_before_the_end() {
    for backend in BACKENDS {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let cable = Cable::to(&redis).await;
        let directory = Arc::new(Directory::new());
        let hosts = redis.url();
        let flags = [
            ("layer.backend", backend),
            ("layer.hosts", &*hosts),
            ("layer.sweep_s", "0"),
        ];
        let other = Server::on(Arc::clone(&directory), &flags).await;
        let settings = [
            format!("layer.backend={backend}"),
            format!("layer.hosts={}", cable.url()),
            "server.drain_s=1".to_owned(),
        ];
        let settings = settings.each_ref().map(String::as_str);
        let mut process = Process::start(&directory, &settings).await;
        let id = other.conversation().await;
        let mut listener = other.socket(&id).await;
        let said = ["one", "two"];
        let mut speakers = Vec::new();
        for _ in said {
            speakers.push(process.socket(&id).await);
        }
        cable.freeze();
        for (number, (speaker, word)) in (1..).zip(speakers.iter_mut().zip(said)) {
            speaker.say(word).await;
            until("the message", async || {
                directory.value::<i64>("SELECT count(*) FROM messages") == number
            })
            .await;
        }
        process.signal("TERM").await;
        process
            .logs("waiting for Redis and for sinks to take their events")
            .await;
        cable.thaw().await;
        process.ended().await;
        other.socket(&id).await.say("after").await;
        let events = events_before(&mut listener, "after").await;
        let heard: Vec<&Value> = events.iter().map(|it| &it["message"]["content"]).collect();
        assert_eq!(heard, said, "{backend}");
    }
}

#[tokio::test]
async fn others_know_what_was_stored_without_an_event_when_a_process_has_ended() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let other = Layer::at(&redis.url(), &[]).await;
    other.layer.join_control().await.unwrap();
    let hosts = format!("layer.hosts={}", redis.url());
    let settings = ["layer.backend=redis", &hosts, "server.drain_s=5"];
    let directory = Directory::new();
    let process = Process::start(&directory, &settings).await;
    let id = process.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "by REST"});
    let send = request("POST", &path, &[], Some(&body));
    let stored = process.connect().await.ask(send).await.json();
    process.signal("TERM").await;
    process.ended().await;
    let marker = Layer::at(&redis.url(), &[]).await;
    let nothing = marker.layer.send_control(&Control::Unannounced(Vec::new()));
    nothing.await.unwrap();
    let Some(Control::Unannounced(ids)) = Control::read(&*other.event().await) else {
        panic!("it is another order");
    };
    let id: MessageId = stored["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(ids, [Key::from(id)]);
}
