//! What a process could not pass on, it passes on later: once, in order, before anything newer, and
//! to every member.

use std::{path::Path, sync::Arc, time::Duration};

use chatferry::{
    chat::Event,
    dialect::django::events::Events,
    layer::{
        CONTROL, LayerError, Received,
        control::{Control, Follows},
        redis::event::Passthrough,
    },
    python::datetime::{Timestamp, Zone},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    cable::Cable,
    instance::Redis,
    peer::{Peer, pythons},
    world::{Layer, counted, hosts, number},
};
use crate::support::{soon, until};

/// In which an event that is sent twice comes a second time.
const QUIET: Duration = Duration::from_millis(500);

/// Both layers.
const BACKENDS: [&str; 2] = ["redis", "redis_pubsub"];

/// A Redis, and two members of `g`: one whose link can be cut, one whose link cannot.
struct Pair {
    redis: Redis,
    cable: Cable,
    one: Layer,
    other: Layer,
}

impl Pair {
    async fn start(backend: &str) -> Option<Self> {
        Pair::that_takes(backend, Passthrough::all).await
    }

    async fn that_takes(backend: &str, events: fn() -> Passthrough) -> Option<Self> {
        let redis = Redis::start().await?;
        let cable = Cable::to(&redis).await;
        let settings = [("layer.backend", backend)];
        let one = Layer::that_takes(events(), &cable.url(), &settings).await;
        let other = Layer::that_takes(events(), &redis.url(), &settings).await;
        one.join("g", "a").await;
        other.join("g", "a").await;
        Some(Pair {
            redis,
            cable,
            one,
            other,
        })
    }

    /// Sends something that cannot be passed on now, and is heard here at once.
    async fn owes(&self, n: usize) {
        let (sent, heard) =
            tokio::join!(self.one.layer.group_send("g", counted(n)), self.one.next());
        assert!(sent.is_err(), "{sent:?}");
        assert_eq!(heard.1, number(n));
    }

    async fn sends(&self, n: usize) {
        let (sent, heard) =
            tokio::join!(self.one.layer.group_send("g", counted(n)), self.one.next());
        assert_eq!(heard.1, number(n));
        drop(sent);
    }

    /// Sends something that the other hears and whose answer is lost. Before the link is back, Redis
    /// is asked this.
    async fn loses_the_answer(&self, n: usize, then: &str) {
        self.cable.lose_answers();
        let heard = async {
            assert_eq!(self.other.next().await.1, number(n));
            self.cable.cut();
            let _: () = self.redis.ask(then).await;
        };
        tokio::join!(self.owes(n), heard);
        self.cable.mend();
    }

    /// The other is told to read the conversation again.
    async fn is_to_read_again(&self) {
        let (local, notice) = self.other.heard().await;
        assert_eq!((local.as_str(), &notice["group"]), (CONTROL, &json!("g")));
    }

    /// Both hear what the layers tell each other.
    async fn join_control(&self) {
        for layer in [&self.one, &self.other] {
            layer.layer.join_control().await.unwrap();
        }
    }

    /// The other hears these numbers next, and nothing else.
    async fn hears(&self, numbers: impl Iterator<Item = usize>) {
        for n in numbers {
            assert_eq!(self.other.next().await.1, number(n));
        }
        self.owes_nothing().await;
        self.other.is_quiet_for(QUIET).await;
    }

    async fn owes_nothing(&self) {
        owes_nothing(&self.one).await;
    }
}

async fn owes_nothing(layer: &Layer) {
    until("the debts to be paid", async || {
        layer.metric("chatferry_layer_owed_events") == 0.0
    })
    .await;
}

#[tokio::test]
async fn what_a_cut_link_kept_back_comes_in_order_before_what_is_newer() {
    for backend in BACKENDS {
        let Some(pair) = Pair::start(backend).await else {
            return;
        };
        for round in [0, 10] {
            pair.cable.cut();
            for n in 0..5 {
                pair.owes(round + n).await;
            }
            pair.cable.mend();
            for n in 5..10 {
                pair.sends(round + n).await;
            }
            pair.hears(round..round + 10).await;
        }
        pair.one.is_quiet_for(QUIET).await;
    }
}

#[tokio::test]
async fn what_is_sent_again_says_so_and_when_it_was_first_sent() {
    let Some(pair) = Pair::start("redis").await else {
        return;
    };
    pair.sends(0).await;
    pair.cable.cut();
    pair.owes(1).await;
    pair.cable.mend();
    let mut marks = Vec::new();
    while marks.len() < 2 {
        if let Some(Received::Event { resent, .. }) =
            soon("an event", pair.other.layer.receive()).await
        {
            marks.push(resent);
        }
    }
    assert_eq!(marks[0], None);
    assert!(marks[1].is_some());
}

#[tokio::test]
async fn a_link_that_only_stops_loses_and_doubles_nothing() {
    for backend in BACKENDS {
        let Some(pair) = Pair::start(backend).await else {
            return;
        };
        pair.cable.freeze();
        for n in 0..6 {
            pair.sends(n).await;
        }
        pair.hears(0..6).await;
        // The bytes that were held up arrive in the end.
        pair.cable.thaw().await;
        pair.hears(6..6).await;
    }
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_not_sent_twice() {
    for backend in BACKENDS {
        let Some(pair) = Pair::start(backend).await else {
            return;
        };
        pair.sends(0).await;
        pair.cable.lose_answers();
        pair.owes(1).await;
        pair.sends(2).await;
        pair.hears(0..3).await;
    }
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_not_published_again_on_a_redis_that_was_emptied() {
    let Some(pair) = Pair::start("redis_pubsub").await else {
        return;
    };
    pair.join_control().await;
    pair.sends(0).await;
    pair.hears(0..1).await;
    pair.loses_the_answer(1, "FLUSHALL").await;
    pair.is_to_read_again().await;
    let sent = pair.one.layer.group_send("g", counted(2)).await;
    assert!(sent.is_ok(), "{sent:?}");
    pair.hears(2..3).await;
    assert_eq!(pair.one.metric("chatferry_layer_given_up_total"), 1.0);
}

/// An answer is lost while Redis has no memory to note that the call was executed.
#[tokio::test]
async fn an_event_whose_answer_was_lost_is_not_published_again_by_a_redis_that_was_full() {
    let Some(pair) = Pair::start("redis_pubsub").await else {
        return;
    };
    pair.join_control().await;
    pair.sends(0).await;
    pair.hears(0..1).await;
    let _: () = pair.redis.ask("CONFIG SET maxmemory 1").await;
    pair.loses_the_answer(1, "CONFIG SET maxmemory 0").await;
    pair.is_to_read_again().await;
    pair.sends(2).await;
    pair.hears(2..3).await;
}

/// Redis answers the question whether scripts may be run too late, once.
#[tokio::test]
async fn an_event_whose_answer_was_lost_is_not_published_again_by_a_redis_that_is_slow() {
    let Some(pair) = Pair::start("redis_pubsub").await else {
        return;
    };
    pair.sends(0).await;
    pair.hears(0..1).await;
    // Longer than an answer is waited for. It holds scripts and PUBLISH, and nothing else.
    pair.loses_the_answer(1, "CLIENT PAUSE 5000 WRITE").await;
    pair.owes_nothing().await;
    pair.sends(2).await;
    pair.hears(2..3).await;
}

#[tokio::test]
async fn typing_whose_answer_was_lost_is_not_sent_again_to_a_group_that_was_emptied() {
    let events = || {
        let zone = Zone::utc();
        Passthrough::new(Arc::new(Events { zone }), &["count.up".to_owned()])
    };
    let Some(pair) = Pair::that_takes("redis", events).await else {
        return;
    };
    pair.sends(0).await;
    pair.hears(0..1).await;
    pair.cable.lose_answers();
    let typing = Event::Typing {
        user_id: "ana".into(),
        is_typing: true.into(),
    };
    let heard = async {
        assert_eq!(*pair.other.event().await, typing);
        pair.cable.cut();
        let _: () = pair.redis.ask("FLUSHALL").await;
        // It is back in the group.
        pair.other.gap().await;
    };
    let sent = pair.one.layer.group_send("g", typing.clone());
    let (sent, _, ()) = tokio::join!(sent, pair.one.event(), heard);
    assert!(sent.is_err(), "{sent:?}");
    pair.cable.mend();
    pair.owes_nothing().await;
    pair.sends(2).await;
    pair.hears(2..3).await;
}

#[tokio::test]
async fn what_redis_refuses_comes_when_it_takes_it() {
    let Some(pair) = Pair::start("redis").await else {
        return;
    };
    pair.sends(0).await;
    let _: () = pair.redis.ask("ACL SETUSER default -evalsha -eval").await;
    for n in 1..4 {
        pair.owes(n).await;
    }
    let _: () = pair.redis.ask("ACL SETUSER default +evalsha +eval").await;
    pair.sends(4).await;
    pair.hears(0..5).await;
}

#[tokio::test]
async fn one_group_that_is_refused_does_not_hold_up_others() {
    let Some(pair) = Pair::start("redis").await else {
        return;
    };
    let _: () = pair.redis.ask("SET asgi:group:broken text").await;
    pair.one.join("h", "b").await;
    pair.other.join("h", "b").await;
    for n in 0..3 {
        let refused = pair.one.layer.group_send("broken", counted(n)).await;
        assert!(
            matches!(refused, Err(LayerError::Refused(_))),
            "{refused:?}"
        );
        let (sent, _) = tokio::join!(pair.one.layer.group_send("h", counted(n)), pair.one.next());
        sent.unwrap();
        assert_eq!(pair.other.next().await, ("b".to_owned(), number(n)));
    }
    let _: i64 = pair.redis.ask("DEL asgi:group:broken").await;
    pair.owes_nothing().await;
}

#[tokio::test]
async fn past_the_bound_other_processes_are_told_to_read_again() {
    for backend in BACKENDS {
        let Some(pair) = Pair::start(backend).await else {
            return;
        };
        for layer in [&pair.one, &pair.other] {
            layer.layer.join_control().await.unwrap();
        }
        pair.one.leave("g", "a").await;
        pair.cable.cut();
        soon("the first failure", async {
            while pair.one.layer.group_send("g", counted(0)).await.is_ok() {
                pair.other.next().await;
            }
        })
        .await;
        for n in 0..21_000 {
            drop(pair.one.layer.group_send("g", counted(n)));
        }
        let given_up = "chatferry_layer_given_up_total";
        until("the bound", async || pair.one.metric(given_up) >= 20_000.0).await;
        pair.cable.mend();
        // What may have been sent before comes first.
        let order = loop {
            let (local, event) = pair.other.heard().await;
            if local == CONTROL {
                break event;
            }
            assert_eq!(event["n"], 0, "nothing newer comes before the notice");
        };
        assert_eq!(order["type"], "chatferry.control");
        assert_eq!(order["order"], "read_again");
        let group = order["group"].as_str().unwrap();
        assert_eq!(group, "g", "{order}");
        assert!(order["since"].as_i64().unwrap() > 0);
        let newer = pair.other.heard().await;
        assert_eq!(newer.0, "a", "what is newer follows: {newer:?}");
    }
}

#[tokio::test]
async fn what_goes_ahead_of_an_event_comes_before_it_or_the_conversation_is_read_again() {
    for backend in BACKENDS {
        let Some(pair) = Pair::start(backend).await else {
            return;
        };
        pair.other.layer.join_control().await.unwrap();
        let since = Timestamp::now();
        let follows = Control::Follows(Follows {
            conversation: Uuid::new_v4().into(),
            messages: vec![Uuid::new_v4().into()],
            since,
            until: since,
        });
        let send = async |n| {
            drop(pair.one.layer.send_ahead("g", since, &follows));
            pair.sends(n).await;
        };
        send(0).await;
        let (local, order) = pair.other.heard().await;
        assert_eq!((&*local, &order["order"]), (CONTROL, &json!("follows")));
        assert_eq!(pair.other.next().await.1, number(0));
        pair.cable.cut();
        pair.owes(1).await;
        send(2).await;
        pair.cable.mend();
        let (mut before, mut orders) = (Vec::new(), Vec::new());
        while before != [1, 2] {
            let (local, event) = pair.other.heard().await;
            if local == CONTROL {
                assert!(before.len() < 2, "too late");
                orders.push(event);
            } else {
                before.push(event["n"].as_u64().unwrap());
            }
        }
        let [order] = &orders[..] else {
            panic!("{orders:?}")
        };
        let is_same = |(name, value): (&str, serde_json::Value)| order[name] == value;
        let is_read_again = [
            ("order", json!("read_again")),
            ("group", json!("g")),
            ("since", json!(since.micros())),
        ];
        assert!(is_read_again.into_iter().all(is_same), "{order}");
    }
}

#[tokio::test]
async fn with_three_hosts_one_that_is_cut_off_is_owed_its_own_only() {
    let Some(servers) = Redis::several(3).await else {
        return;
    };
    let mut cables = Vec::new();
    for server in &servers {
        cables.push(Cable::to(server).await);
    }
    let urls: Vec<String> = cables.iter().map(Cable::url).collect();
    let one = Layer::at(&urls.join(","), &[]).await;
    let other = Layer::at(&hosts(&servers), &[]).await;
    let groups: Vec<String> = (0..12).map(|n| format!("room_{n}")).collect();
    for (place, group) in groups.iter().enumerate() {
        other.join(group, &place.to_string()).await;
    }
    for (round, cable) in cables.iter().enumerate() {
        cable.cut();
        for n in 0..3 {
            for group in &groups {
                let _ = one.layer.group_send(group, counted(3 * round + n)).await;
            }
        }
        cable.mend();
        let mut heard = vec![Vec::new(); groups.len()];
        for _ in 0..3 * groups.len() {
            let (local, event) = other.next().await;
            heard[local.parse::<usize>().unwrap()].push(event);
        }
        let want: Vec<String> = (0..3).map(|n| number(3 * round + n)).collect();
        for (group, heard) in groups.iter().zip(heard) {
            assert_eq!(heard, want, "{group}");
        }
        owes_nothing(&one).await;
        other.is_quiet_for(QUIET).await;
    }
}

#[tokio::test]
async fn a_python_member_hears_late_what_could_not_be_sent() {
    for (python, _) in pythons().await {
        for (kind, backend) in [("core", "redis"), ("pubsub", "redis_pubsub")] {
            python_hears(&python, kind, backend).await;
        }
    }
}

async fn python_hears(python: &Path, kind: &str, backend: &str) {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let cable = Cable::to(&redis).await;
    let one = Layer::at(&cable.url(), &[("layer.backend", backend)]).await;
    let servers = [redis];
    let mut peer = Peer::start(python, kind, &servers, json!({}));
    let channel = peer.consumer(&["g"]).await;
    if kind == "pubsub" {
        super::instance::subscribed(&servers, "asgi__group__g", 1).await;
    }
    cable.cut();
    until("the cut", async || {
        one.layer.group_send("g", counted(0)).await.is_err()
    })
    .await;
    for n in 1..4 {
        assert!(one.layer.group_send("g", counted(n)).await.is_err());
    }
    cable.mend();
    let mut numbers = Vec::new();
    while numbers.last() != Some(&3) {
        let heard = peer.heard(&channel).await;
        assert_eq!(heard["type"], "count.up");
        numbers.push(heard["n"].as_i64().unwrap());
    }
    numbers.dedup();
    assert_eq!(numbers, [0, 1, 2, 3], "{kind}");
    owes_nothing(&one).await;
    peer.was_told_no_more(&channel, &one).await;
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_although_nothing_is_cut() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let master = Redis::start().await.unwrap();
    let settings = [("layer.backend", "redis_pubsub")];
    let layer = Layer::at(&redis.url(), &settings).await;
    layer.join("g", "a").await;
    let follow = format!("REPLICAOF 127.0.0.1 {}", master.port.number);
    let _: () = redis.ask(&follow).await;
    until("the notice", async || layer.layer.ping().await.is_err()).await;
    let _: () = redis.ask("REPLICAOF NO ONE").await;
    layer.gap().await;
    assert!(layer.layer.ping().await.is_ok());
}
