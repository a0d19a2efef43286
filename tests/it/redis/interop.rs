//! Live Python processes and ours in the same groups, both ways, on both layers. No Python
//! consumer dies of anything we send: each is asked again at the end.

use std::path::Path;

use futures_util::future::join_all;
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
        "hangul": "안녕하세요", "emoji": "😀", "nul": "a\u{0}b", "long": "긴 글 ".repeat(10_000),
        "ints": [0, 127, 128, 255, 256, 65536, 4_294_967_296u64, u64::MAX, -1, -33, -129, i64::MIN],
        "floats": [1.5, -2.25, 1e308, 5e-324], "flags": [true, false, null],
        "empty": [[], {}], "nested": {"a": [{"b": [1, [2]]}]},
    })
}

/// What takes long is done by all Pythons at once.
async fn with_every_python(test: impl AsyncFn(&Path, &str)) {
    let pythons = pythons().await;
    let tests = pythons
        .iter()
        .map(|(python, version)| test(python, version));
    join_all(tests).await;
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
    for n in 0..3 {
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
                subscribed(&servers, channel, 1).await;
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
            peer.was_told_no_more(channel, &layer).await;
        }
        layer.layer.send(&one, counted(n)).await.unwrap();
        assert_eq!(peer.heard(&one).await, json!({"type": "count.up", "n": n}));
        peer.was_told_no_more(&two, &layer).await;
    }
}

#[tokio::test]
async fn groups_and_channels_work_both_ways_on_every_number_of_hosts() {
    with_every_python(async |python, _| {
        for kind in ["core", "pubsub"] {
            for hosts in [1, 2, 3, 5] {
                meet(python, kind, hosts, json!({}), &[]).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn encrypted_messages_work_both_ways_and_keys_rotate() {
    with_every_python(async |python, version| {
        for kind in ["core", "pubsub"] {
            if kind == "pubsub" && version == "4.2.0" {
                continue;
            }
            let theirs = |keys: &[&str]| json!({"symmetric_encryption_keys": keys});
            let keys = "layer.symmetric_encryption_keys";
            meet(python, kind, 1, theirs(&[KEY]), &[(keys, KEY)]).await;
            meet(
                python,
                kind,
                2,
                theirs(&[KEY, OLD_KEY]),
                &[(keys, &format!("{OLD_KEY},{KEY}"))],
            )
            .await;
            // The order of our keys decides: with the old one first, a Python without the new one
            // reads us.
            meet(
                python,
                kind,
                1,
                theirs(&[OLD_KEY]),
                &[(keys, &format!("{OLD_KEY},{KEY}"))],
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn json_bodies_and_other_prefixes_work_both_ways() {
    with_every_python(async |python, version| {
        if version == "4.2.0" {
            return;
        }
        let json = ("layer.serializer_format", "json");
        for kind in ["core", "pubsub"] {
            meet(
                python,
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
        meet(python, "core", 1, theirs, &ours).await;
        let prefix = ("layer.prefix", "한글");
        meet(python, "core", 3, json!({"prefix": "한글"}), &[prefix]).await;
    })
    .await;
}

#[tokio::test]
async fn a_plain_reader_and_an_encrypted_writer_only_miss_each_other() {
    for mut pair in Pair::each(&[("layer.symmetric_encryption_keys", KEY)]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        layer.join("g", "a").await;
        peer.group_send("g", json!({"type": "a.b"})).await;
        let rejected = r#"chatferry_layer_rejected_total{why="undecodable"}"#;
        until("the refusal", async || layer.metric(rejected) > 0.0).await;
        assert!(layer.layer.ping().await.is_ok());
    }
}

#[tokio::test]
async fn every_direct_message_of_python_arrives_although_it_is_sent_to_the_wrong_host() {
    with_every_python(async |python, _| {
        for hosts in [1, 2, 3, 5] {
            let pair = Pair::start(python, "core", hosts, json!({}), &[]).await;
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
    })
    .await;
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
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
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
async fn pythons_flush_does_not_stop_us() {
    for mut pair in Pair::each(&[]).await {
        let (peer, layer) = (&mut pair.peer, &pair.layer);
        layer.join("g", "a").await;
        peer.done(json!({"do": "flush"})).await;
        layer.gap().await;
        let channel = peer.consumer(&["g"]).await;
        peer.group_send("g", count(1)).await;
        assert_eq!(layer.heard().await.1, count(1));
        assert_eq!(peer.heard(&channel).await, count(1));
    }
}
