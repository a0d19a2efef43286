//! The pub/sub layer: which Redis channels it listens on, and what comes of bad messages.

use super::{
    cable::Cable,
    instance::Redis,
    world::{Layer, counted, layers, number},
};
use crate::support::until;
use chatferry::layer::redis::shard::shard;

const PUBSUB: (&str, &str) = ("layer.backend", "redis_pubsub");

#[tokio::test]
async fn one_subscription_serves_a_group_and_ends_with_its_last_channel() {
    let Some((redis, [layer])) = layers(&[PUBSUB]).await else {
        return;
    };
    layer.join("room_1", "a").await;
    layer.join("room_1", "b").await;
    assert_eq!(redis.listeners("asgi__group__room_1").await, 1);
    let mut channels: Vec<String> = redis.ask("PUBSUB CHANNELS").await;
    channels.sort();
    assert_eq!(channels[0], "asgi__group__room_1");
    assert!(
        channels[1].starts_with("asgispecific.") && channels[1].len() == 45,
        "{channels:?}"
    );
    layer.leave("room_1", "a").await;
    assert_eq!(redis.listeners("asgi__group__room_1").await, 1);
    layer.leave("room_1", "b").await;
    assert_eq!(redis.listeners("asgi__group__room_1").await, 0);
    assert!(redis.keys().await.is_empty(), "nothing is kept");
    layer.layer.close().await;
    until("the end", async || {
        redis.ask::<Vec<String>>("PUBSUB CHANNELS").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn every_channel_begins_with_the_prefix() {
    let settings = [PUBSUB, ("layer.prefix", "x")];
    let Some((redis, [one, other])) = layers(&settings).await else {
        return;
    };
    one.join("g", "a").await;
    other.layer.group_send("g", counted(1)).await.unwrap();
    assert_eq!(one.next().await.1, number(1));
    let mut channels: Vec<String> = redis.ask("PUBSUB CHANNELS").await;
    channels.sort();
    assert_eq!(channels.remove(0), "x__group__g");
    assert_eq!(channels.len(), 2, "{channels:?}");
    assert!(
        channels.iter().all(|own| own.starts_with("xspecific.")),
        "{channels:?}"
    );
}

#[tokio::test]
async fn whoever_has_joined_misses_nothing_that_is_published_then() {
    let Some((_redis, [one, other])) = layers(&[PUBSUB]).await else {
        return;
    };
    for n in 0..50 {
        let group = format!("g{n}");
        one.join(&group, "a").await;
        other.layer.group_send(&group, counted(n)).await.unwrap();
        assert_eq!(one.next().await, ("a".to_owned(), number(n)));
    }
}

#[tokio::test]
async fn an_event_reaches_every_channel_once_its_own_processes_too() {
    let Some((_redis, [one, other])) = layers(&[PUBSUB]).await else {
        return;
    };
    for local in ["a", "b"] {
        one.join("g", local).await;
        other.join("g", local).await;
    }
    one.layer.group_send("g", counted(1)).await.unwrap();
    for layer in [&one, &other] {
        let mut got = vec![layer.next().await, layer.next().await];
        got.sort();
        assert_eq!(
            got,
            [("a".to_owned(), number(1)), ("b".to_owned(), number(1))]
        );
    }
    one.got_no_more(&other).await;
    other.got_no_more(&one).await;
}

#[tokio::test]
async fn a_payload_is_the_bare_message_and_a_bad_one_is_skipped() {
    let Some((redis, [layer])) = layers(&[PUBSUB]).await else {
        return;
    };
    layer.join("g", "a").await;
    for payload in [&b"\xc1"[..], b"", b"\x80", b"\x81\xa4type\xa1a"] {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("asgi__group__g").arg(payload);
        assert_eq!(redis.command::<i64>(&publish).await, 1);
    }
    assert_eq!(layer.next().await.1, r#"{"type":"a"}"#);
    let undecodable = layer.metric(r#"chatferry_layer_rejected_total{why="undecodable"}"#);
    assert_eq!(undecodable, 2.0);
}

#[tokio::test]
async fn with_three_hosts_a_subscription_is_where_its_whole_name_says() {
    let Some(servers) = Redis::several(3).await else {
        return;
    };
    let [one, other] = [
        Layer::on(&servers, &[PUBSUB]).await,
        Layer::on(&servers, &[PUBSUB]).await,
    ];
    for n in 0..8 {
        let (group, channel) = (format!("room_{n}"), format!("asgi__group__room_{n}"));
        one.join(&group, "a").await;
        for (place, server) in servers.iter().enumerate() {
            let here = i64::from(place == shard(channel.as_bytes(), 3));
            assert_eq!(server.listeners(&channel).await, here, "{channel}");
        }
        other.layer.group_send(&group, counted(n)).await.unwrap();
        assert_eq!(one.next().await.1, number(n));
    }
}

#[tokio::test]
async fn many_groups_are_subscribed_again_after_a_restart() {
    let Some((redis, [layer])) = layers(&[PUBSUB]).await else {
        return;
    };
    for n in 0..1200 {
        layer.join(&format!("g{n}"), "a").await;
    }
    redis.restart().await;
    layer.gap().await;
    for n in [0, 600, 1199] {
        assert_eq!(
            redis.listeners(&format!("asgi__group__g{n}")).await,
            1,
            "g{n}"
        );
        layer.leave(&format!("g{n}"), "a").await;
        assert_eq!(
            redis.listeners(&format!("asgi__group__g{n}")).await,
            0,
            "g{n}"
        );
    }
}

#[tokio::test]
async fn an_event_of_ours_that_is_lost_on_its_way_back_comes_before_what_is_newer() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let cable = Cable::to(&redis).await;
    let [one, other] = [
        Layer::at(&cable.url(), &[PUBSUB]).await,
        Layer::at(&redis.url(), &[PUBSUB]).await,
    ];
    for layer in [&one, &other] {
        layer.join("g", "a").await;
    }
    cable.lose_published();
    for n in 0..2 {
        one.layer.group_send("g", counted(n)).await.unwrap();
        assert_eq!(other.next().await.1, number(n));
    }
    cable.cut();
    until("the cut", async || one.layer.ping().await.is_err()).await;
    let newer = one.layer.group_send("g", counted(2));
    let (sent, heard) = tokio::join!(newer, async {
        [one.next().await.1, one.next().await.1, one.next().await.1]
    });
    assert!(sent.is_err(), "{sent:?}");
    assert_eq!(heard, [number(0), number(1), number(2)]);
    cable.mend();
    assert_eq!(other.next().await.1, number(2));
    one.got_no_more(&other).await;
}
