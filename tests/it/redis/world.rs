//! Layers of Chatferry on the servers of a test.

use std::{sync::Arc, time::Duration};

use chatferry::{
    chat::Event,
    layer::{
        ChannelLayer, Received,
        redis::{self, event::Passthrough},
    },
    metrics::Metrics,
    python::{
        datetime::Timestamp,
        json::{Constants, loads},
    },
    value::Value,
};

use super::instance::Redis;
use crate::support::{http::value_of, server::load, soon};

/// One process' view of the layer.
pub struct Layer {
    pub layer: Arc<dyn ChannelLayer>,
    pub metrics: Arc<Metrics>,
}

/// The URLs of hosts, as a setting has them.
pub fn hosts(servers: &[Redis]) -> String {
    let urls: Vec<String> = servers.iter().map(Redis::url).collect();
    urls.join(",")
}

/// A Redis of the test's own, and so many layers on it with these settings; `None` if there is no
/// Redis here.
pub async fn layers<const COUNT: usize>(
    settings: &[(&str, &str)],
) -> Option<(Redis, [Layer; COUNT])> {
    let redis = Redis::start().await?;
    let mut layers = Vec::new();
    for _ in 0..COUNT {
        layers.push(Layer::at(&redis.url(), settings).await);
    }
    let layers = layers.try_into().ok()?;
    Some((redis, layers))
}

impl Layer {
    /// A layer on these servers that takes every event as it is.
    pub async fn on(servers: &[Redis], settings: &[(&str, &str)]) -> Self {
        Layer::at(&hosts(servers), settings).await
    }

    pub async fn at(hosts: &str, settings: &[(&str, &str)]) -> Self {
        Layer::that_takes(Passthrough::all(), hosts, settings).await
    }

    pub async fn that_takes(events: Passthrough, hosts: &str, settings: &[(&str, &str)]) -> Self {
        let ours = [("layer.backend", "redis"), ("layer.hosts", hosts)];
        let config = load(&ours, settings);
        let metrics = Arc::new(Metrics::new());
        let opened = redis::open(&config.layer, events, Arc::default(), Arc::clone(&metrics));
        Layer {
            layer: opened.await.unwrap(),
            metrics,
        }
    }

    /// Makes this process' channel `local` a member of a group.
    pub async fn join(&self, group: &str, local: &str) {
        self.layer
            .group_add(group, &self.layer.channel(local))
            .await
            .unwrap();
    }

    pub async fn leave(&self, group: &str, local: &str) {
        self.layer
            .group_discard(group, &self.layer.channel(local))
            .await
            .unwrap();
    }

    /// The next event: the channel it is for, and its JSON. Notices are passed over.
    pub async fn next(&self) -> (String, String) {
        let (local, event) = self.received().await;
        (local, json(&event))
    }

    /// The next event, of any kind.
    pub async fn event(&self) -> Arc<Event> {
        self.received().await.1
    }

    async fn received(&self) -> (String, Arc<Event>) {
        soon("an event", async {
            loop {
                if let Received::Event { local, event, .. } = self.layer.receive().await.unwrap() {
                    return (local, event);
                }
            }
        })
        .await
    }

    /// The next event, where the order of its members does not matter.
    pub async fn heard(&self) -> (String, serde_json::Value) {
        let (local, json) = self.next().await;
        (local, serde_json::from_str(&json).unwrap())
    }

    /// Joins a group of its own and waits for an event that `sender` sends there: all that `sender`
    /// or Redis had for this layer before would have come before it.
    pub async fn got_no_more(&self, sender: &Layer) {
        self.join("the_last", "last").await;
        sender
            .layer
            .group_send("the_last", counted(999))
            .await
            .unwrap();
        assert_eq!(self.next().await, ("last".to_owned(), number(999)));
    }

    /// Hears nothing for so long: late events have no last one that could be waited for.
    pub async fn is_quiet_for(&self, time: Duration) {
        let next = async {
            loop {
                match self.layer.receive().await {
                    Some(Received::Event { local, event, .. }) => return (local, json(&event)),
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let next = tokio::time::timeout(time, next).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// Waits for the notice that events may have been missed; returns since when.
    pub async fn gap(&self) -> Timestamp {
        soon("a gap", async {
            loop {
                if let Received::Gap { since } = self.layer.receive().await.unwrap() {
                    return since;
                }
            }
        })
        .await
    }

    /// The value of a counter.
    pub fn metric(&self, name: &str) -> f64 {
        value_of(&self.metrics.render(), name)
    }
}

/// The entry of an event of type `a` for one channel, as it stands in Redis.
pub fn routed(channel: &str) -> Vec<u8> {
    let mut bytes = b"twelve bytes\x82\xa4type\xa1a\xb0__asgi_channel__".to_vec();
    bytes.push(0xd9);
    bytes.push(u8::try_from(channel.len()).unwrap());
    bytes.extend(channel.as_bytes());
    bytes
}

/// An event of Django code's own making.
pub fn event(json: &str) -> Event {
    Event::Foreign(loads(json, Constants::Allow).unwrap())
}

/// The compact JSON of an event.
pub fn json(event: &Event) -> String {
    let Event::Foreign(body) = event else {
        panic!("every event is taken as it is: {event:?}");
    };
    let mut out = Vec::new();
    chatferry::python::json::write_utf8(&mut out, body);
    String::from_utf8(out).unwrap()
}

/// An event that says only `n`, as [`Layer::next`] returns it.
pub fn number(n: usize) -> String {
    format!(r#"{{"type":"count.up","n":{n}}}"#)
}

/// An event that says only `n`.
pub fn counted(n: usize) -> Event {
    let members = vec![
        ("type".into(), Value::from("count.up")),
        ("n".into(), Value::Int(n as i128)),
    ];
    Event::Foreign(Value::Map(members))
}
