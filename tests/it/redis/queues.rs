//! What live Python processes and ours put into each other's queues, and what becomes of it when
//! nobody reads.

use chatferry::layer::{LayerError, redis::codec::ROUTE};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    instance::Redis,
    peer::{Pair, Peer, pythons},
    world::{Layer, counted, layers},
};
use crate::support::{Directory, process::chatferry, until};

fn count(n: usize) -> Value {
    json!({"type": "count.up", "n": n})
}

/// The entries of a queue as they stand in Redis.
async fn entries(redis: &Redis, queue: &str) -> Vec<String> {
    let entries: Vec<Vec<u8>> = redis.ask(&format!("ZRANGE {queue} 0 -1")).await;
    let text = |entry: &Vec<u8>| String::from_utf8_lossy(entry).into_owned();
    entries.iter().map(text).collect()
}

/// The queue of a channel.
fn queue_of(channel: &str) -> String {
    let (queue, _) = channel.split_once('!').unwrap();
    format!("asgi{queue}!")
}

#[tokio::test]
async fn python_takes_our_longest_usual_name() {
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        let group = "chat_95031212-7823-4748-bb78-b212d36b6db3";
        let channel = layer.layer.channel(group);
        assert_eq!(channel.len(), 83);
        peer.done(json!({"do": "group_add", "group": group, "channel": channel}))
            .await;
        peer.group_send(group, count(1)).await;
        assert_eq!(layer.heard().await, (group.to_owned(), count(1)));
    }
}

#[tokio::test]
async fn a_plain_python_process_reaches_us_by_async_to_sync() {
    for (python, _) in pythons().await {
        for (kind, class, backend) in [
            ("core", "RedisChannelLayer", "redis"),
            ("pubsub", "RedisPubSubChannelLayer", "redis_pubsub"),
        ] {
            let Some(redis) = Redis::start().await else {
                return;
            };
            let layer = Layer::at(&redis.url(), &[("layer.backend", backend)]).await;
            layer.join("g", "a").await;
            let script = format!(
                "from asgiref.sync import async_to_sync\n\
                 from channels_redis.{kind} import {class}\n\
                 layer = {class}(hosts=['{}'])\n\
                 for n in range(3):\n    \
                     async_to_sync(layer.group_send)('g', {{'type': 'count.up', 'n': n}})\n",
                redis.url()
            );
            let done = Command::new(&python).args(["-c", &script]).output().await;
            let done = done.unwrap();
            assert!(done.status.success(), "{done:?}");
            for n in 0..3 {
                assert_eq!(layer.heard().await.1, count(n), "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn two_consumers_of_one_process_share_one_entry() {
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        let redis = &pair.servers[0];
        let mut channels = Vec::new();
        for _ in 0..2 {
            let channel = peer.ask(json!({"do": "new_channel"})).await.unwrap();
            peer.done(json!({"do": "group_add", "group": "g", "channel": channel}))
                .await;
            channels.push(channel.as_str().unwrap().to_owned());
        }
        layer.layer.group_send("g", counted(1)).await.unwrap();
        let entries = entries(redis, &queue_of(&channels[0])).await;
        assert_eq!(entries.len(), 1);
        for channel in &channels {
            assert!(entries[0].contains(channel), "{}", entries[0]);
        }
        for channel in &channels {
            peer.done(json!({"do": "consume", "channel": channel}))
                .await;
        }
        for channel in &channels {
            assert_eq!(peer.heard(channel).await, count(1));
            peer.was_told_no_more(channel, layer).await;
        }
    }
}

#[tokio::test]
async fn only_a_group_names_the_normal_channel_it_sends_to() {
    let Some((redis, [layer])) = layers(&[]).await else {
        return;
    };
    layer.layer.group_add("g", "plain-worker").await.unwrap();
    layer.layer.send("plain-worker", counted(1)).await.unwrap();
    layer.layer.group_send("g", counted(2)).await.unwrap();
    let entries = entries(&redis, "asgiplain-worker").await;
    assert_eq!(entries.len(), 2);
    assert!(!entries[0].contains(ROUTE), "{}", entries[0]);
    // An array of one text of twelve bytes.
    let named = format!("{ROUTE}\u{fffd}\u{fffd}plain-worker");
    assert!(entries[1].ends_with(&named), "{}", entries[1]);
}

#[tokio::test]
async fn python_is_told_of_our_full_queue_and_all_that_it_took_is_read() {
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        let redis = &pair.servers[0];
        layer.join("g", "a").await;
        let channel = layer.layer.channel("a");
        let queue = queue_of(&channel);
        let is_empty = async || redis.ask::<i64>(&format!("EXISTS {queue}")).await == 0;
        // Nobody takes what comes in: the first message is read, and then nothing more.
        peer.send(&channel, count(0)).await.unwrap();
        until("an empty queue", is_empty).await;
        let messages: Vec<Value> = (1..102).map(|n| json!([channel, count(n)])).collect();
        let refused = peer.ask(json!({"do": "send", "messages": messages})).await;
        assert_eq!(refused, Err("ChannelFull".to_owned()));
        assert_eq!(redis.ask::<i64>(&format!("ZCARD {queue}")).await, 100);
        peer.group_send("g", count(102)).await;
        let log = peer.ask(json!({"do": "log"})).await.unwrap();
        assert_eq!(log, json!(["1 of 1 channels over capacity in group g"]));
        for n in 0..101 {
            assert_eq!(layer.heard().await.1, count(n));
        }
        until("an empty queue", is_empty).await;
    }
}

#[tokio::test]
async fn whoever_is_gone_without_a_word_keeps_nobody_from_hearing() {
    for (python, _) in pythons().await {
        let Some(servers) = Redis::several(1).await else {
            return;
        };
        let directory = Directory::new();
        let hosts = format!("layer.hosts={}", servers[0].url());
        let settings = ["--set", "layer.backend=redis", "--set", &hosts];
        let tail = [&["layer", "tail", "g"], &settings[..]].concat();
        let mut gone = chatferry(&directory, &tail).spawn().unwrap();
        until("its membership", async || {
            servers[0].ask::<i64>("ZCARD asgi:group:g").await == 1
        })
        .await;
        gone.kill().await.unwrap();
        let mut peer = Peer::start(&python, "core", &servers, json!({}));
        let channel = peer.consumer(&["g"]).await;
        for n in 0..3 {
            peer.group_send("g", count(n)).await;
            assert_eq!(peer.heard(&channel).await, count(n));
        }
        let members: Vec<String> = servers[0].ask("ZRANGE asgi:group:g 0 -1").await;
        assert_eq!(members.len(), 2, "Python still sends to it");
        assert_eq!(entries(&servers[0], &queue_of(&members[0])).await.len(), 3);
    }
}

#[tokio::test]
async fn keys_that_python_ignores_leave_plain_text_which_is_counted() {
    const KEY: &str = "a-very-secret-key-of-at-least-32-bytes!!";
    for (python, version) in pythons().await {
        let theirs = json!({"symmetric_encryption_keys": [KEY]});
        let ours = [("layer.symmetric_encryption_keys", KEY)];
        let pair = Pair::start(&python, "pubsub", 1, theirs, &ours).await;
        let Some(Pair {
            mut peer, layer, ..
        }) = pair
        else {
            return;
        };
        layer.join("g", "a").await;
        peer.group_send("g", count(1)).await;
        if version == "4.2.0" {
            let undecodable = r#"chatferry_layer_rejected_total{why="undecodable"}"#;
            until("the refusal", async || layer.metric(undecodable) == 1.0).await;
        } else {
            assert_eq!(layer.heard().await.1, count(1));
        }
        assert!(layer.layer.ping().await.is_ok());
    }
}

#[tokio::test]
async fn a_normal_channel_is_a_worker_of_pythons() {
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        peer.done(json!({"do": "consume", "channel": "plain-worker"}))
            .await;
        peer.done(json!({"do": "group_add", "group": "g", "channel": "plain-worker"}))
            .await;
        layer.layer.send("plain-worker", counted(1)).await.unwrap();
        assert_eq!(
            peer.heard("plain-worker").await,
            json!({"type": "count.up", "n": 1})
        );
        layer.layer.group_send("g", counted(2)).await.unwrap();
        assert_eq!(
            peer.heard("plain-worker").await,
            json!({"type": "count.up", "n": 2})
        );
    }
}

#[tokio::test]
async fn a_python_that_is_full_makes_our_sends_full() {
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        let idle = peer.ask(json!({"do": "new_channel"})).await.unwrap();
        let idle = idle.as_str().unwrap();
        for n in 0..100 {
            layer.layer.send(idle, counted(n)).await.unwrap();
        }
        let full = layer.layer.send(idle, counted(100)).await;
        assert!(matches!(full, Err(LayerError::Full(_))), "{full:?}");
        peer.done(json!({"do": "group_add", "group": "g", "channel": idle}))
            .await;
        layer.layer.group_send("g", counted(101)).await.unwrap();
        assert_eq!(layer.metric("chatferry_layer_dropped_total"), 2.0);
        peer.done(json!({"do": "consume", "channel": idle})).await;
        for n in 0..100 {
            assert_eq!(peer.heard(idle).await["n"], n);
        }
        peer.was_told_no_more(idle, layer).await;
    }
}
