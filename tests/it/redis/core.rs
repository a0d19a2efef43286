//! What the core layer leaves in Redis, key by key.

use chatferry::{
    clock::since_1970,
    layer::{LayerError, redis::shard::shard},
};

use super::{
    instance::Redis,
    world::{Layer, counted, event, layers, number, routed},
};

fn now() -> f64 {
    since_1970().as_secs_f64()
}

async fn score(redis: &Redis, key: &str, member: &str) -> f64 {
    redis
        .ask::<Option<f64>>(&format!("ZSCORE {key} {member}"))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_membership_stands_in_redis_as_pythons_do() {
    let Some((redis, [layer])) = layers(&[]).await else {
        return;
    };
    let channel = layer.layer.channel("a");
    assert!(channel.starts_with("specific.") && channel.ends_with("!a") && channel.len() == 43);
    let before = now();
    layer.join("room_1", "a").await;
    let first = score(&redis, "asgi:group:room_1", &channel).await;
    assert!((before..=now()).contains(&first), "{before} {first}");
    let left: i64 = redis.ask("TTL asgi:group:room_1").await;
    assert!((86_000..=86_400).contains(&left), "{left}");

    let _: i64 = redis.ask("EXPIRE asgi:group:room_1 50").await;
    layer.join("room_1", "a").await;
    assert!(score(&redis, "asgi:group:room_1", &channel).await > first);
    assert_eq!(redis.ask::<i64>("ZCARD asgi:group:room_1").await, 1);
    assert!(redis.ask::<i64>("TTL asgi:group:room_1").await > 86_000);

    layer.leave("room_1", "a").await;
    layer.leave("room_1", "a").await;
    assert!(redis.keys().await.is_empty());
}

#[tokio::test]
async fn every_key_begins_with_the_prefix_and_has_an_end() {
    let Some((redis, [one, other])) = layers(&[("layer.prefix", "x")]).await else {
        return;
    };
    one.join("g", "a").await;
    other.join("g", "a").await;
    other.layer.send("plain-worker", counted(1)).await.unwrap();
    one.layer.send("specific.gone!x", counted(1)).await.unwrap();
    for n in 0..20 {
        let (sent, _) = tokio::join!(one.layer.group_send("g", counted(n)), one.next());
        sent.unwrap();
    }
    for (key, left) in redis.keys().await {
        assert!(key.starts_with('x'), "{key}");
        assert!(!key.ends_with("$inflight"), "{key}");
        assert!(left > 0, "{key} would stay for {left} s");
    }
}

#[tokio::test]
async fn a_clean_end_leaves_nothing_behind() {
    let Some((redis, [one, other])) = layers(&[]).await else {
        return;
    };
    for n in 0..30 {
        one.join(&format!("g{n}"), "a").await;
        other.join(&format!("g{n}"), "a").await;
    }
    other.layer.close().await;
    let channel = other.layer.channel("a");
    for n in 0..30 {
        let members: Vec<String> = redis.ask(&format!("ZRANGE asgi:group:g{n} 0 -1")).await;
        assert!(!members.contains(&channel));
        let (sent, _) = tokio::join!(
            one.layer.group_send(&format!("g{n}"), counted(n)),
            one.next()
        );
        sent.unwrap();
    }
    one.layer.close().await;
    assert!(redis.keys().await.is_empty());
    assert!(one.layer.receive().await.is_none());
    assert!(matches!(one.layer.ping().await, Err(LayerError::Closed)));
}

#[tokio::test]
async fn a_queue_never_passes_its_capacity_whoever_sends_at_once() {
    let settings = [
        ("layer.capacity", "100"),
        ("layer.channel_capacity", "specific.gone!*=10"),
    ];
    let Some((redis, [layer])) = layers(&settings).await else {
        return;
    };
    let sends = (0..60).map(|n| layer.layer.send("specific.gone!x", counted(n)));
    let outcomes = futures_util::future::join_all(sends).await;
    let full = |outcome: &&Result<(), LayerError>| matches!(outcome, Err(LayerError::Full(_)));
    assert_eq!(outcomes.iter().filter(full).count(), 50);
    assert_eq!(redis.ask::<i64>("ZCARD asgispecific.gone!").await, 10);

    let _: i64 = redis
        .ask(&format!("ZADD asgi:group:g {} specific.gone!x", now()))
        .await;
    let sends = (0..60).map(|n| layer.layer.group_send("g", counted(n)));
    for outcome in futures_util::future::join_all(sends).await {
        assert!(
            outcome.is_ok(),
            "as in Python, a full queue is nobody's error: {outcome:?}"
        );
    }
    assert_eq!(redis.ask::<i64>("ZCARD asgispecific.gone!").await, 10);
    assert!(layer.metric("chatferry_layer_dropped_total") >= 110.0);
    let left: i64 = redis.ask("TTL asgispecific.gone!").await;
    assert!((1..=60).contains(&left), "{left}");
}

#[tokio::test]
async fn what_has_expired_is_swept_and_nothing_younger() {
    let Some((redis, [layer])) = layers(&[("layer.capacity", "2")]).await else {
        return;
    };
    let queue = "asgispecific.other!";
    for (age, entry) in [(61.5, "old"), (1.0, "young")] {
        let _: i64 = redis
            .ask(&format!("ZADD {queue} {} {entry}", now() - age))
            .await;
    }
    for (age, name) in [
        (86_402.0, "specific.dead!x"),
        (86_000.0, "specific.other!x"),
    ] {
        let _: i64 = redis
            .ask(&format!("ZADD asgi:group:g {} {name}", now() - age))
            .await;
    }
    layer.layer.group_send("g", counted(1)).await.unwrap();
    let members: Vec<String> = redis.ask("ZRANGE asgi:group:g 0 -1").await;
    assert_eq!(members, ["specific.other!x"]);
    assert_eq!(redis.ask::<i64>("EXISTS asgispecific.dead!").await, 0);
    assert_eq!(
        redis.ask::<i64>(&format!("ZCARD {queue}")).await,
        2,
        "swept before counted"
    );
    assert_eq!(
        redis
            .ask::<Option<f64>>(&format!("ZSCORE {queue} old"))
            .await,
        None
    );
    assert_eq!(layer.metric("chatferry_layer_expired_total"), 1.0);
}

#[tokio::test]
async fn one_name_that_is_no_text_does_not_silence_a_group() {
    let Some((redis, [one, other])) = layers(&[]).await else {
        return;
    };
    one.join("g", "a").await;
    let mut add = redis::cmd("ZADD");
    add.arg("asgi:group:g")
        .arg(now())
        .arg(&b"specific.\xff!x"[..]);
    let _: i64 = redis.command(&add).await;
    other.layer.group_send("g", counted(1)).await.unwrap();
    assert_eq!(one.next().await, ("a".to_owned(), number(1)));
}

#[tokio::test]
async fn a_message_nobody_can_use_is_counted_and_the_next_one_arrives() {
    let Some((redis, [layer])) = layers(&[]).await else {
        return;
    };
    layer.join("g", "a").await;
    let channel = layer.layer.channel("a");
    let queue = format!("asgi{}", channel.strip_suffix('a').unwrap());
    let entries = [
        b"garbage".to_vec(),
        b"twelve bytes\xc1".to_vec(),
        b"twelve bytes\x81\xa4type\xa1a".to_vec(),
        b"twelve bytes\x80".to_vec(),
        routed("specific.another!x"),
        routed(&channel),
    ];
    for (place, entry) in entries.iter().enumerate() {
        let mut add = redis::cmd("ZADD");
        add.arg(&queue)
            .arg(now() + place as f64 / 1000.0)
            .arg(entry);
        let _: i64 = redis.command(&add).await;
    }
    assert_eq!(
        layer.next().await,
        ("a".to_owned(), r#"{"type":"a"}"#.to_owned())
    );
    let rejected = |why| layer.metric(&format!("chatferry_layer_rejected_total{{why=\"{why}\"}}"));
    assert_eq!(rejected("undecodable"), 2.0);
    assert_eq!(rejected("unroutable"), 3.0);
}

#[tokio::test]
async fn events_arrive_in_the_order_of_the_calls_whoever_awaits_them() {
    let settings = [("layer.capacity", "1000")];
    let Some((_redis, [reader, sender])) = layers(&settings).await else {
        return;
    };
    reader.join("g", "a").await;
    sender.join("g", "b").await;
    let sends: Vec<_> = (0..500)
        .map(|n| sender.layer.group_send("g", counted(n)))
        .collect();
    let taking = async {
        for n in 0..500 {
            assert_eq!(sender.next().await.1, number(n));
        }
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(sends), taking);
    assert!(outcomes.iter().all(Result::is_ok));
    for n in 0..500 {
        assert_eq!(reader.next().await.1, number(n));
    }
}

#[tokio::test]
async fn an_event_reaches_its_own_process_once_and_not_by_redis() {
    let Some((_redis, [layer, other])) = layers(&[]).await else {
        return;
    };
    layer.join("g", "a").await;
    layer.join("g", "b").await;
    let sent = layer.layer.group_send("g", counted(1));
    let mut got = vec![layer.next().await.0, layer.next().await.0];
    got.sort();
    assert_eq!(got, ["a", "b"]);
    sent.await.unwrap();
    layer.got_no_more(&other).await;
}

#[tokio::test]
async fn the_script_may_be_forgotten() {
    let Some((redis, [one, other])) = layers(&[]).await else {
        return;
    };
    one.join("g", "a").await;
    for n in 0..3 {
        let _: () = redis.ask("SCRIPT FLUSH").await;
        other.layer.group_send("g", counted(n)).await.unwrap();
        assert_eq!(one.next().await.1, number(n));
    }
}

#[tokio::test]
async fn with_three_hosts_everything_is_where_python_looks_for_it() {
    let Some(servers) = Redis::several(3).await else {
        return;
    };
    let mut layers = Vec::new();
    for _ in 0..6 {
        layers.push(Layer::on(&servers, &[]).await);
    }
    for n in 0..20 {
        let group = format!("room_{n}");
        for layer in &layers {
            layer.join(&group, "a").await;
        }
        for (place, server) in servers.iter().enumerate() {
            let there: i64 = server.ask(&format!("EXISTS asgi:group:{group}")).await;
            assert_eq!(there == 1, place == shard(group.as_bytes(), 3), "{group}");
        }
        let (sender, others) = layers.split_first().unwrap();
        let sent = sender.layer.group_send(&group, counted(n));
        for layer in std::iter::once(sender).chain(others) {
            assert_eq!(layer.next().await, ("a".to_owned(), number(n)));
        }
        sent.await.unwrap();
    }
}

#[tokio::test]
async fn hosts_in_another_order_do_not_meet() {
    let Some(mut servers) = Redis::several(2).await else {
        return;
    };
    let [one, like_one] = [
        Layer::on(&servers, &[]).await,
        Layer::on(&servers, &[]).await,
    ];
    servers.reverse();
    let other = Layer::on(&servers, &[]).await;
    one.join("room_1", "a").await;
    other.layer.group_send("room_1", counted(1)).await.unwrap();
    one.got_no_more(&like_one).await;
}

#[tokio::test]
async fn what_python_could_not_read_is_refused_and_nobody_gets_it() {
    let Some((_redis, [one, other])) = layers(&[]).await else {
        return;
    };
    one.join("g", "a").await;
    other.join("g", "a").await;
    for json in [
        r#"{"type": "websocket.receive"}"#,
        r#"{"type": "a", "n": 99999999999999999999}"#,
        r#"{"type": "a", "__asgi_channel__": ["x"]}"#,
        "{}",
    ] {
        let refused = one.layer.group_send("g", event(json)).await;
        assert!(
            matches!(refused, Err(LayerError::Unsendable(_))),
            "{json}: {refused:?}"
        );
    }
    assert!(matches!(
        one.layer.group_send("a b", counted(1)).await,
        Err(LayerError::Name(_))
    ));
    let sent = one.layer.group_send("g", counted(7));
    assert_eq!(one.next().await.1, number(7));
    sent.await.unwrap();
    assert_eq!(other.next().await.1, number(7));
}
