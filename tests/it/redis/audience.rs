//! Whom an event is sent to, when the group was sent to before.

use chatferry::layer::LayerError;

use super::{
    instance::Redis,
    world::{Layer, counted, layers, number},
};
use crate::support::until;

async fn send(layer: &Layer, group: &str, n: usize) {
    layer.layer.group_send(group, counted(n)).await.unwrap();
}

/// How often Redis was asked to run the script.
async fn scripts(redis: &Redis) -> usize {
    let stats: String = redis.ask("INFO commandstats").await;
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = calls.map_or("0", |rest| rest.split(',').next().unwrap());
    calls.parse().unwrap()
}

#[tokio::test]
async fn a_group_that_stays_as_it_is_takes_one_round_trip() {
    let Some((redis, [reader, sender])) = layers(&[]).await else {
        return;
    };
    reader.join("g", "a").await;
    send(&sender, "g", 0).await;
    let before = scripts(&redis).await;
    for n in 1..=20 {
        send(&sender, "g", n).await;
    }
    assert_eq!(scripts(&redis).await, before + 20);
    for n in 0..=20 {
        assert_eq!(reader.next().await.1, number(n));
    }
}

#[tokio::test]
async fn whoever_joined_since_the_last_event_gets_the_next_one() {
    let Some(servers) = Redis::several(2).await else {
        return;
    };
    let sender = Layer::on(&servers, &[]).await;
    let mut readers = Vec::new();
    for n in 0..8 {
        let reader = Layer::on(&servers, &[]).await;
        for group in ["room_1", "room_2", "room_3"] {
            reader.join(group, "a").await;
        }
        readers.push(reader);
        for group in ["room_1", "room_2", "room_3"] {
            send(&sender, group, n).await;
        }
        for reader in &readers {
            for _ in 0..3 {
                assert_eq!(reader.next().await, ("a".to_owned(), number(n)));
            }
        }
    }
}

#[tokio::test]
async fn whoever_left_since_the_last_event_gets_none() {
    let Some((redis, [staying, leaving, sender])) = layers(&[]).await else {
        return;
    };
    staying.join("g", "a").await;
    leaving.join("g", "a").await;
    send(&sender, "g", 1).await;
    for reader in [&staying, &leaving] {
        assert_eq!(reader.next().await.1, number(1));
    }
    leaving.leave("g", "a").await;
    send(&sender, "g", 2).await;
    assert_eq!(staying.next().await.1, number(2));
    leaving.got_no_more(&sender).await;
    // The same group by other names, for one process: its queue holds one entry for both.
    staying.join("g", "b").await;
    send(&sender, "g", 3).await;
    let mut got = [staying.next().await, staying.next().await];
    got.sort();
    assert_eq!(
        got,
        [("a".to_owned(), number(3)), ("b".to_owned(), number(3))]
    );
    drop(redis);
}

#[tokio::test]
async fn a_group_that_redis_cannot_read_fails_alone() {
    let Some((redis, [reader, sender])) = layers(&[]).await else {
        return;
    };
    reader.join("g", "a").await;
    for n in 0..3 {
        let _: () = redis.ask("SET asgi:group:h text").await;
        let (well, ill) = tokio::join!(
            sender.layer.group_send("g", counted(n)),
            sender.layer.group_send("h", counted(n)),
        );
        well.unwrap();
        assert!(matches!(&ill, Err(LayerError::Refused(why)) if why.contains("WRONGTYPE")));
        assert_eq!(reader.next().await.1, number(n));
    }
    let _: i64 = redis.ask("DEL asgi:group:h").await;
    until("the debts to be paid", async || {
        sender.metric("chatferry_layer_owed_events") == 0.0
    })
    .await;
    reader.join("h", "b").await;
    send(&sender, "h", 9).await;
    assert_eq!(reader.next().await, ("b".to_owned(), number(9)));
}
