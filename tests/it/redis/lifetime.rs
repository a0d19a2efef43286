//! What a layer outlives: long memberships, a flushed or restarted Redis, cut connections.

use std::collections::HashSet;

use chatferry::{
    clock::since_1970,
    layer::{CONTROL, LayerError, Received, redis::shard::shard},
};

use super::{
    instance::Redis,
    world::{Layer, counted, json, layers, number, routed},
};
use crate::support::{soon, until};

/// Both layers, where it makes no difference.
const BACKENDS: [&str; 2] = ["redis", "redis_pubsub"];

async fn members(redis: &Redis, group: &str) -> Vec<String> {
    redis.ask(&format!("ZRANGE asgi:group:{group} 0 -1")).await
}

#[tokio::test]
async fn a_member_outlives_group_expiry() {
    let settings = [("layer.group_expiry", "9")];
    let Some((redis, [one, other])) = layers(&settings).await else {
        return;
    };
    one.join("g", "a").await;
    // Another joins after it and is never renewed.
    let now = since_1970().as_secs_f64();
    let join = format!("ZADD asgi:group:g {now} specific.other!x");
    let _: i64 = redis.ask(&join).await;
    let mut n = 0;
    until("the other membership to expire", async || {
        n += 1;
        other.layer.group_send("g", counted(n)).await.unwrap();
        assert_eq!(one.next().await.1, number(n));
        members(&redis, "g").await == [one.layer.channel("a")]
    })
    .await;
}

#[tokio::test]
async fn memberships_are_back_soon_after_a_flush() {
    let Some((redis, [one, other])) = layers(&[]).await else {
        return;
    };
    for n in 0..700 {
        one.join(&format!("g{n}"), "a").await;
    }
    let _: () = redis.ask("FLUSHALL").await;
    one.gap().await;
    for n in [0, 350, 699] {
        assert_eq!(
            members(&redis, &format!("g{n}")).await,
            [one.layer.channel("a")]
        );
    }
    other.layer.group_send("g699", counted(1)).await.unwrap();
    assert_eq!(one.next().await.1, number(1));
}

#[tokio::test]
async fn a_sender_notices_at_once_that_its_own_membership_is_gone() {
    let Some((redis, [layer])) = layers(&[]).await else {
        return;
    };
    layer.join("g", "a").await;
    let _: () = redis.ask("FLUSHALL").await;
    let (sent, _) = tokio::join!(layer.layer.group_send("g", counted(1)), layer.next());
    sent.unwrap();
    until("the membership", async || {
        !members(&redis, "g").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_restart_is_outlived_and_told() {
    for backend in BACKENDS {
        let settings = [("layer.backend", backend)];
        let Some((redis, [one, other])) = layers(&settings).await else {
            return;
        };
        one.join("g", "a").await;
        one.join("h", "b").await;
        one.leave("h", "b").await;
        redis.kill();
        let away = soon("the notice", one.layer.receive()).await;
        assert!(matches!(away, Some(Received::Away { .. })), "{away:?}");
        // Nothing can be asked of Redis now, and still nothing fails or hangs.
        one.join("later", "c").await;
        one.leave("g", "a").await;
        one.join("g", "a").await;
        let (failed, heard) = tokio::join!(one.layer.group_send("later", counted(0)), one.next());
        assert!(
            matches!(failed, Err(LayerError::Unavailable(_))),
            "{failed:?}"
        );
        assert_eq!(heard, ("c".to_owned(), number(0)));
        redis.run().await;
        one.gap().await;
        other.gap().await;
        for (n, group) in ["g", "later"].into_iter().enumerate() {
            other.layer.group_send(group, counted(n)).await.unwrap();
            assert_eq!(one.next().await.1, number(n), "{backend} {group}");
        }
        assert!(one.layer.ping().await.is_ok());
    }
}

#[tokio::test]
async fn cut_connections_are_opened_again() {
    for backend in BACKENDS {
        let settings = [("layer.backend", backend)];
        let Some((redis, [one, other])) = layers(&settings).await else {
            return;
        };
        one.join("g", "a").await;
        for n in 0..3 {
            redis.cut_connections().await;
            one.gap().await;
            other.gap().await;
            other.layer.group_send("g", counted(n)).await.unwrap();
            assert_eq!(one.next().await.1, number(n), "{backend}");
        }
    }
}

#[tokio::test]
async fn a_redis_that_only_stops_is_noticed_and_local_channels_are_served_once() {
    for backend in BACKENDS {
        let Some((redis, [layer])) = layers(&[("layer.backend", backend)]).await else {
            return;
        };
        layer.join("g", "a").await;
        redis.freeze();
        let mut heard = Vec::new();
        for n in 0..5 {
            let (sent, next) = tokio::join!(layer.layer.group_send("g", counted(n)), layer.next());
            assert!(
                matches!(sent, Err(LayerError::Unavailable(_))),
                "{backend} {sent:?}"
            );
            heard.push(next.1);
        }
        redis.thaw();
        layer.gap().await;
        let other = Layer::at(&redis.url(), &[("layer.backend", backend)]).await;
        layer.got_no_more(&other).await;
        let all: Vec<String> = (0..5).map(number).collect();
        assert_eq!(heard, all, "{backend}");
    }
}

#[tokio::test]
async fn a_layer_starts_without_its_redis_and_joins_it_later() {
    for backend in BACKENDS {
        let Some(redis) = Redis::start().await else {
            return;
        };
        redis.kill();
        let settings = [("layer.backend", backend)];
        let one = Layer::at(&redis.url(), &settings).await;
        one.join("g", "a").await;
        assert!(matches!(
            one.layer.ping().await,
            Err(LayerError::Unavailable(_))
        ));
        redis.run().await;
        one.gap().await;
        let other = Layer::at(&redis.url(), &settings).await;
        other.layer.group_send("g", counted(1)).await.unwrap();
        assert_eq!(one.next().await.1, number(1));
    }
}

#[tokio::test]
async fn one_host_of_three_that_is_away_stops_only_its_own_groups() {
    let Some(servers) = Redis::several(3).await else {
        return;
    };
    let [one, other] = [
        Layer::on(&servers, &[]).await,
        Layer::on(&servers, &[]).await,
    ];
    let groups: Vec<String> = (0..12).map(|n| format!("room_{n}")).collect();
    for group in &groups {
        one.join(group, group).await;
    }
    servers[1].kill();
    let (mut heard, mut refused) = (0, HashSet::new());
    for group in &groups {
        match other.layer.group_send(group, counted(1)).await {
            Ok(()) => {
                one.next().await;
                heard += 1;
            }
            Err(LayerError::Unavailable(_)) => {
                refused.insert(group.clone());
            }
            Err(error) => panic!("{error}"),
        }
    }
    // Which host the reader's queue is on is a matter of chance; it may be the dead one.
    assert!(
        heard + refused.len() == 12 && !refused.is_empty(),
        "{heard} heard, {refused:?} refused"
    );
    servers[1].run().await;
    other.gap().await;
    until("nothing is owed", async || {
        other.metric("chatferry_layer_owed_events") == 0.0
    })
    .await;
    // What was refused comes before anything newer, unless it was sent again before its reader was
    // a member again. That is within the gap.
    let mut has_gap = false;
    for group in &groups {
        other.layer.group_send(group, counted(2)).await.unwrap();
        loop {
            match soon("what is new", one.layer.receive()).await {
                Some(Received::Event { local, event, .. }) if json(&event) == number(1) => {
                    assert!(refused.remove(&local), "{local} heard it twice, or late");
                }
                Some(Received::Event { local, event, .. }) => {
                    assert_eq!((&local, json(&event)), (group, number(2)));
                    refused.remove(group);
                    break;
                }
                Some(Received::Gap { .. }) => has_gap = true,
                _ => {}
            }
        }
    }
    assert!(has_gap);
}

#[tokio::test]
async fn a_queue_that_ran_full_is_told_as_a_gap() {
    let settings = [("layer.capacity", "20")];
    let Some((_redis, [one, other])) = layers(&settings).await else {
        return;
    };
    one.join("g", "a").await;
    let sends = (0..200).map(|n| other.layer.group_send("g", counted(n)));
    let outcomes = futures_util::future::join_all(sends).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(other.metric("chatferry_layer_dropped_total") > 0.0);
    one.gap().await;
}

#[tokio::test]
async fn nothing_newer_than_what_a_full_queue_refused_comes_before_that_is_told() {
    let settings = [("layer.capacity", "20")];
    let Some((_redis, [one, other])) = layers(&settings).await else {
        return;
    };
    one.join("g", "a").await;
    let sends = async {
        for n in 0..2000 {
            drop(other.layer.group_send("g", counted(n)));
            if n % 40 == 0 {
                tokio::task::yield_now().await;
            }
        }
        loop {
            // Until one finds room.
            let dropped = other.metric("chatferry_layer_dropped_total");
            let last = other.layer.group_send("g", counted(2000)).await;
            last.unwrap();
            if other.metric("chatferry_layer_dropped_total") == dropped {
                return;
            }
        }
    };
    let hears = async {
        let (mut next, mut is_held, mut was_gap) = (0, false, false);
        loop {
            match soon("the last", one.layer.receive()).await {
                Some(Received::Event { event, .. }) => {
                    let text = json(&event);
                    let n = (0..=2000).find(|n| number(*n) == text).unwrap();
                    assert!(n == next || is_held || was_gap, "{n} instead of {next}");
                    if n == 2000 {
                        return;
                    }
                    (next, was_gap) = (n + 1, false);
                }
                Some(Received::Returning) => is_held = true,
                Some(Received::Gap { .. }) => (is_held, was_gap) = (false, true),
                _ => {}
            }
        }
    };
    tokio::join!(sends, hears);
    assert!(other.metric("chatferry_layer_dropped_total") > 0.0);
}

#[tokio::test]
async fn nothing_newer_than_what_a_flush_took_from_a_queue_comes_before_that_is_told() {
    let Some(servers) = Redis::several(3).await else {
        return;
    };
    let one = Layer::on(&servers, &[]).await;
    one.layer.join_control().await.unwrap();
    let channel = one.layer.channel("a");
    let queue = channel.strip_suffix('a').unwrap();
    let host = shard(queue.as_bytes(), servers.len());
    // Other hosts are not flushed, and the members of their groups stay: what is newer comes at once.
    let text = "redis.call('FLUSHALL') return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])";
    let mut flush = redis::cmd("EVAL");
    flush.arg(text).arg(1).arg(format!("asgi{queue}"));
    flush.arg(since_1970().as_secs_f64()).arg(routed(&channel));
    let _: i64 = servers[host].command(&flush).await;
    let (mut is_held, mut has_gap) = (false, false);
    loop {
        match soon("what is newer", one.layer.receive()).await.unwrap() {
            Received::Event { .. } => break,
            Received::Returning => is_held = true,
            Received::Gap { .. } => has_gap = true,
            Received::Away { .. } => {}
        }
    }
    assert!(is_held || has_gap, "nothing was said of what is lost");
    if !has_gap {
        one.gap().await;
    }
    let control = format!("ZSCORE asgi:group:{CONTROL} {}", one.layer.channel(CONTROL));
    until("the membership", async || {
        servers[host].ask::<Option<f64>>(&control).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_membership_that_was_lost_among_many_is_not_renewed_in_silence() {
    let Some((redis, [layer])) = layers(&[("layer.group_expiry", "3")]).await else {
        return;
    };
    // More than are looked up at once; all are renewed after a second.
    for n in 0..1500 {
        layer.join(&format!("g{n}"), "a").await;
    }
    for n in 0..3 {
        let _: i64 = redis.ask(&format!("DEL asgi:group:g{}", 100 * n)).await;
        layer.gap().await;
    }
}

#[tokio::test]
async fn nothing_stays_for_ever_after_much_coming_and_going() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut layers = Vec::new();
    for _ in 0..3 {
        layers.push(Layer::at(&redis.url(), &[]).await);
    }
    let mut seed = 7u32;
    let mut random = move |below: u32| {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (seed >> 16) % below
    };
    for n in 0..1500 {
        let layer = &layers[random(3) as usize];
        let group = format!("g{}", random(20));
        match random(3) {
            0 => layer.join(&group, "a").await,
            1 => layer.leave(&group, "a").await,
            _ => drop(layer.layer.group_send(&group, counted(n))),
        }
    }
    for (key, left) in redis.keys().await {
        assert!(left > 0, "{key}");
    }
    for layer in &layers {
        layer.layer.close().await;
    }
    assert!(redis.keys().await.is_empty(), "{:?}", redis.keys().await);
}
