//! `[layer]`: the channel layer that carries events between processes.

use std::fmt;

use serde::Deserialize;

use super::{
    Secret, Ws,
    capacity::Rule,
    declare::{choice, settings},
    redis_url::RedisUrl,
    secret::{masked, unencoded},
};

settings! {
    /// The channel layer.
    pub struct Layer in "layer" {
        /// `memory` for one process. `redis` (`channels_redis.core`) and `redis_pubsub` share
        /// events with other processes and with Django; every process must name the same one.
        backend: Backend = "memory",
        /// Redis, in Django's order, which says what is where:
        /// `redis://user:password@host:port/db`, `rediss://…`, `unix:///path?db=0` or
        /// `sentinel://host:port,host:port/master/db`. None is `redis://localhost:6379`. TLS has
        /// redis-py's options: `ssl_ca_certs=FILE`, `ssl_cert_reqs=none`,
        /// `ssl_check_hostname=false`, `ssl_certfile=FILE` and `ssl_keyfile=FILE`; with Sentinels
        /// `ssl=true` is TLS to the master and `sentinel_ssl=true` to them. Special characters of a
        /// password are percent-encoded, `#` as `%23`.
        hosts: Hosts = [],
        /// Start of every key, as in Django's settings.
        prefix: String = "asgi",
        /// Messages that wait in one channel; past it a send is dropped and counted.
        capacity: usize = 100 in 1..=1_000_000,
        /// Seconds a message waits before it is dropped.
        expiry: u64 = 60 in 1..=86_400,
        /// Seconds a channel stays in a group without being renewed.
        group_expiry: u64 = 86400 in 1..=31_536_000,
        /// Capacities of channels by name, the first that matches: `PATTERN=N` with a glob for the
        /// whole name, or with `re:` and a regular expression for its beginning.
        channel_capacity: Vec<ChannelCapacity> = [],
        /// Encrypts messages. The first key encrypts, each may decrypt. `channels_redis` 4.2.0
        /// ignores its keys on `redis_pubsub` and sends plain text, which is refused here.
        symmetric_encryption_keys: Vec<Secret> = [],
        /// Random bytes before each message of `redis`; `channels_redis` before 4.2.1 has always
        /// 12.
        random_prefix_length: usize = 12 in 0..=64,
        /// `msgpack` or `json`; `channels_redis` before 4.2.1 has always msgpack.
        serializer_format: Serializer = "msgpack",
        /// Events of Django code's own making that are sent to the sockets as they are, by their
        /// `type`: `conversation_closed`. All others are counted and dropped.
        passthrough: Vec<String> = [],
        /// Bytes of one event in Redis; a larger one is dropped as it comes, and counted. The text
        /// of a message may take six times its bytes there in JSON, and a third more if it is
        /// encrypted.
        max_event_bytes: usize = 8388608 in 262_144..=536_870_912,
        /// Seconds between two comparisons of what was shown with what is stored, with `redis` and
        /// `redis_pubsub`: a message or read mark that no event came for is shown then, those that
        /// Django stored by REST among them. 0 never compares.
        sweep_s: u64 = 10 in 0..=60,
    }
}

/// Bytes of an event beside its message: names of channels, above all.
pub const ROOM: usize = 128 * 1024;

impl Layer {
    /// Returns whether an event can hold the largest message of a socket.
    #[must_use]
    pub fn carries(&self, ws: &Ws) -> bool {
        ws.max_message_bytes.saturating_add(ROOM) <= self.max_event_bytes
    }
}

choice! {
    /// How messages are written.
    pub enum Serializer {
        Msgpack = "msgpack",
        Json = "json",
    }
}

/// The entries of `layer.hosts`, each an address that can be read.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Hosts(Vec<String>);

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|host| masked(host)))
            .finish()
    }
}

impl Hosts {
    /// In the order that decides what is where.
    #[must_use]
    pub fn entries(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl TryFrom<Vec<String>> for Hosts {
    type Error = String;

    /// What has no scheme belongs to the entry before: a variable's list is split at its commas,
    /// and those between Sentinels are not meant.
    fn try_from(parts: Vec<String>) -> Result<Self, String> {
        let mut entries: Vec<String> = Vec::new();
        for part in parts {
            match entries.last_mut() {
                Some(entry) if !part.contains("://") => {
                    entry.push(',');
                    entry.push_str(&part);
                }
                _ => entries.push(part),
            }
        }
        for entry in &entries {
            if let Some(special) = unencoded(entry) {
                return Err(special);
            }
            RedisUrl::parse(entry)?;
        }
        Ok(Self(entries))
    }
}

/// One entry of `layer.channel_capacity`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ChannelCapacity {
    text: String,
    rule: Rule,
}

impl ChannelCapacity {
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }
}

impl TryFrom<String> for ChannelCapacity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rule = Rule::parse(&text)?;
        Ok(Self { text, rule })
    }
}

impl PartialEq for ChannelCapacity {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

choice! {
    /// What a channel layer runs on.
    pub enum Backend {
        Memory = "memory",
        Redis = "redis",
        RedisPubsub = "redis_pubsub",
    }
}
