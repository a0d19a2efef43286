//! Live Python processes and ours in the same groups, both ways, on both layers. No Python
//! consumer dies of anything we send: each is asked again at the end.

use std::path::Path;

use chatferry::layer::LayerError;
use serde_json::{Value, json};

use super::{
    instance::subscribed,
    peer::{Pair, pythons},
    world::{counted, event},
};
use crate::support::until;

const KEY: &str = "a-very-secret-key-of-at-least-32-bytes!!";
const OLD_KEY: &str = "the-previous-secret-key-now-rotated-out";

fn count(n: usize) -> Value {
    json!({"type": "count.up", "n": n})
}

/// Everything JSON can hold that both sides must carry unchanged.
fn everything() -> Value {
    json!({
        "type": "chat.message",
        "hangul": "안녕하세요", "emoji": "😀", "nul": "a\u{0}b", "long": "긴 글 ".repeat(9_000),
        "ints": [0, 127, 128, 255, 256, 65536, 4_294_967_296u64, u64::MAX, -1, -33, -129, i64::MIN],
        "floats": [1.5, -2.25, 1e308, 5e-324], "flags": [true, false, null],
        "empty": [[], {}], "nested": {"a": [{"b": [1, [2]]}]},
    })
}

/// Both sides send everything once, to a group and to each other's channel.
async fn meet(python: &Path, kind: &str, hosts: usize, theirs: Value, ours: &[(&str, &str)]) {
    let pair = Pair::start(python, kind, hosts, theirs, ours).await;
    let Some(Pair {
        servers,
        mut peer,
        layer,
    }) = pair
    else {
        return;
    };
    for n in 0..6 {
        let group = format!("room_{n}");
        let (one, two) = (
            peer.consumer(&[&group]).await,
            peer.consumer(&[&group]).await,
        );
        layer.join(&group, "a").await;
        layer.join(&group, "b").await;
        if kind == "pubsub" {
            // Python goes on before Redis has confirmed its subscriptions.
            subscribed(&servers, &format!("asgi__group__{group}"), 2).await;
            for channel in [&one, &two] {
                subscribed(&servers, &format!("asgi{channel}"), 1).await;
            }
        }

        peer.group_send(&group, everything()).await;
        for local in ["a", "b"] {
            assert_eq!(layer.heard().await, (local.to_owned(), everything()));
        }
        for channel in [&one, &two] {
            assert_eq!(peer.heard(channel).await, everything());
        }
        let sent = layer
            .layer
            .group_send(&group, event(&everything().to_string()));
        for local in ["a", "b"] {
            assert_eq!(layer.heard().await, (local.to_owned(), everything()));
        }
        sent.await.unwrap();
        for channel in [&one, &two] {
            assert_eq!(peer.heard(channel).await, everything(), "{kind} {hosts}");
            peer.is_quiet(channel).await;
        }
        layer.layer.send(&one, counted(n)).await.unwrap();
        assert_eq!(peer.heard(&one).await, json!({"type": "count.up", "n": n}));
        peer.is_quiet(&two).await;
    }
}

#[tokio::test]
async fn groups_and_channels_work_both_ways_on_one_to_three_hosts() {
    for (python, _) in pythons().await {
        for kind in ["core", "pubsub"] {
            for hosts in 1..=3 {
                meet(&python, kind, hosts, json!({}), &[]).await;
            }
        }
    }
}

#[tokio::test]
async fn encrypted_messages_work_both_ways_and_keys_rotate() {
    for (python, version) in pythons().await {
        for kind in ["core", "pubsub"] {
            if kind == "pubsub" && version == "4.2.0" {
                continue;
            }
            let theirs = |keys: &[&str]| json!({"symmetric_encryption_keys": keys});
            let keys = "layer.symmetric_encryption_keys";
            meet(&python, kind, 1, theirs(&[KEY]), &[(keys, KEY)]).await;
            meet(
                &python,
                kind,
                2,
                theirs(&[KEY, OLD_KEY]),
                &[(keys, &format!("{OLD_KEY},{KEY}"))],
            )
            .await;
            // The order of our keys decides: with the old one first, a Python without the new one reads us.
            meet(
                &python,
                kind,
                1,
                theirs(&[OLD_KEY]),
                &[(keys, &format!("{OLD_KEY},{KEY}"))],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn json_bodies_and_other_prefixes_work_both_ways() {
    for (python, version) in pythons().await {
        if version == "4.2.0" {
            continue;
        }
        let json = ("layer.serializer_format", "json");
        for kind in ["core", "pubsub"] {
            meet(
                &python,
                kind,
                2,
                json!({"serializer_format": "json"}),
                &[json],
            )
            .await;
        }
        let theirs = json!({"serializer_format": "json", "symmetric_encryption_keys": [KEY], "random_prefix_length": 8});
        let ours = [
            json,
            ("layer.symmetric_encryption_keys", KEY),
            ("layer.random_prefix_length", "8"),
        ];
        meet(&python, "core", 1, theirs, &ours).await;
        let prefix = ("layer.prefix", "한글");
        meet(&python, "core", 3, json!({"prefix": "한글"}), &[prefix]).await;
    }
}

#[tokio::test]
async fn a_plain_reader_and_an_encrypted_writer_only_miss_each_other() {
    for pair in Pair::each(&[("layer.symmetric_encryption_keys", KEY)]).await {
        let Pair {
            mut peer, layer, ..
        } = pair;
        layer.join("g", "a").await;
        peer.group_send("g", json!({"type": "a.b"})).await;
        let rejected = r#"chatferry_layer_rejected_total{why="undecodable"}"#;
        until("the refusal", async || layer.metric(rejected) > 0.0).await;
        assert!(layer.layer.ping().await.is_ok());
    }
}

#[tokio::test]
async fn every_direct_message_of_python_arrives_although_it_is_sent_to_the_wrong_host() {
    for (python, _) in pythons().await {
        for hosts in [1, 2, 3, 5] {
            let pair = Pair::start(&python, "core", hosts, json!({}), &[]).await;
            let Some(Pair {
                mut peer, layer, ..
            }) = pair
            else {
                return;
            };
            for n in 0..50 {
                let local = format!("{:032x}", 0x9e37_79b9_7f4a_7c15_u128 * (n + 1));
                peer.send(
                    &layer.layer.channel(&local),
                    json!({"type": "a", "n": n.to_string()}),
                )
                .await
                .unwrap();
                let message = json!({"type": "a", "n": n.to_string()});
                assert_eq!(layer.heard().await, (local, message));
            }
        }
    }
}

#[tokio::test]
async fn a_hundred_messages_arrive_in_order_both_ways() {
    for (python, _) in pythons().await {
        for kind in ["core", "pubsub"] {
            let pair = Pair::start(&python, kind, 1, json!({}), &[]).await;
            let Some(Pair {
                mut peer, layer, ..
            }) = pair
            else {
                return;
            };
            layer.join("ours", "a").await;
            let channel = peer.consumer(&["theirs"]).await;
            let messages: Vec<Value> = (0..100)
                .map(|n| json!({"type": "count.up", "n": n}))
                .collect();
            peer.done(json!({"do": "group_send", "group": "ours", "messages": messages}))
                .await;
            for n in 0..100 {
                assert_eq!(layer.heard().await.1, count(n));
            }
            for n in 0..100 {
                layer.layer.group_send("theirs", counted(n)).await.unwrap();
            }
            for message in messages {
                assert_eq!(peer.heard(&channel).await, message);
            }
        }
    }
}

#[tokio::test]
async fn bytes_and_their_kind_do_not_disturb_us() {
    for pair in Pair::each(&[]).await {
        let Pair {
            mut peer, layer, ..
        } = pair;
        layer.join("g", "a").await;
        peer.group_send("g", json!({"type": "a", "n": {"$bytes": "AAH/"}}))
            .await;
        peer.group_send("g", json!({"type": "a", "n": 2})).await;
        assert_eq!(layer.heard().await.1, json!({"type": "a", "n": 2}));
        assert_eq!(
            layer.metric(r#"chatferry_layer_rejected_total{why="not_json"}"#),
            1.0
        );
    }
}

#[tokio::test]
async fn a_normal_channel_is_a_worker_of_pythons() {
    for pair in Pair::each(&[]).await {
        let Pair {
            mut peer, layer, ..
        } = pair;
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
async fn a_queue_we_do_not_read_is_refused_at_capacity_and_then_read_whole() {
    for pair in Pair::each(&[]).await {
        let Pair {
            servers,
            mut peer,
            layer,
        } = pair;
        layer.join("g", "a").await;
        let channel = layer.layer.channel("a");
        let queue = format!("asgi{}", channel.strip_suffix('a').unwrap());
        // Nobody takes what comes in: the first message is read, and then nothing more.
        peer.send(&channel, count(0)).await.unwrap();
        until("an empty queue", async || {
            servers[0].ask::<i64>(&format!("EXISTS {queue}")).await == 0
        })
        .await;
        let messages = (1..102).map(|n| json!([channel, count(n)]));
        let messages: Vec<Value> = messages.collect();
        let refused = peer.ask(json!({"do": "send", "messages": messages})).await;
        assert_eq!(refused, Err("ChannelFull".to_owned()));
        assert_eq!(servers[0].ask::<i64>(&format!("ZCARD {queue}")).await, 100);
        for n in 0..101 {
            assert_eq!(layer.heard().await.1, count(n));
        }
        until("an empty queue", async || {
            servers[0].ask::<i64>(&format!("EXISTS {queue}")).await == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_python_that_is_full_makes_our_sends_full() {
    for pair in Pair::each(&[]).await {
        let Pair {
            mut peer, layer, ..
        } = pair;
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
    }
}

#[tokio::test]
async fn pythons_flush_does_not_stop_us_and_our_absence_does_not_stop_python() {
    for pair in Pair::each(&[]).await {
        let Pair {
            servers,
            mut peer,
            layer,
        } = pair;
        layer.join("g", "a").await;
        peer.done(json!({"do": "flush"})).await;
        layer.gap().await;
        let channel = peer.consumer(&["g"]).await;
        peer.group_send("g", json!({"type": "count.up", "n": 1}))
            .await;
        assert_eq!(layer.heard().await.1, count(1));
        assert_eq!(peer.heard(&channel).await["n"], 1);
        // Gone without a word: its name stays in the group.
        drop(layer);
        servers[0].cut_connections().await;
    }
}
