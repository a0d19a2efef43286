//! `[events]`: events for other services.

use std::path::PathBuf;

use super::{
    Secret,
    declare::{choice, settings},
};

settings! {
    /// Events for other services: what is stored is also kept in tables of our own, in the same
    /// transaction, and published from there to each sink, at least once and in the order of its
    /// conversation. Off without `events.sinks`.
    pub struct Events in "events" {
        /// Sinks that get the events: `log`, `redis_stream`, `webhook`, `rabbitmq`, `nats`. `chatferry migrate`
        /// makes the tables.
        sinks: Vec<SinkName> = [],
        /// Form of an event: `original`, which is that of the Django service's event log,
        /// `cloudevents` for `CloudEvents` 1.0 in JSON, or `cloudevents_binary` for their binary
        /// mode: the data alone, and the rest in headers. Sinks without headers (`log` and
        /// `redis_stream`) get JSON then too.
        format: EventFormat = "original",
        /// The `source` of `CloudEvents`.
        source: String = "chatferry",
        /// Times that a sink may refuse an event before it is put aside as a dead letter. A sink that
        /// does not answer is tried for ever.
        attempts: u32 = 5 in 1..=1000,
        /// Seconds that events are kept after all sinks have got them.
        keep_s: u64 = 86400 in 60..=31_536_000,
        /// Seconds after which another process takes over from one that is gone.
        lease_s: u64 = 15 in 2..=300,
        /// Seconds between two looks for messages that other programs have stored, as a Django beside
        /// this server does, whose events are added then. 0 never looks. A look reads an index entry
        /// of each conversation.
        reconcile_s: u64 = 0 in 0..=86_400,
    }
    with { redis_stream: RedisStream, webhook: Webhook, rabbitmq: RabbitMq, nats: Nats, inward: Inward }
}

settings! {
    /// The sink `redis_stream`: an entry of a stream (`XADD`) for each event, with the fields `id`,
    /// `type`, `key` (the conversation) and `event`.
    pub struct RedisStream in "events.redis_stream" {
        /// Redis, as an entry of `layer.hosts`.
        url: Option<Secret> = "",
        /// Key of the stream.
        stream: String = "chatferry.events",
        /// Entries that the stream is cut to, nearly.
        max_len: u64 = 1000000 in 1..=1_000_000_000,
    }
}

settings! {
    /// The sink `webhook`: a POST for each event, one after the other. An answer of 2xx confirms it;
    /// 400, 410, 413, 415 and 422 refuse it for good; anything else is tried again.
    pub struct Webhook in "events.webhook" {
        /// An `http://` or `https://` address. Redirections are not followed.
        url: Option<Secret> = "",
        /// Signs each request: `Webhook-Signature: v1,` and the HMAC-SHA256, in base64, of
        /// `Webhook-Id`, `Webhook-Timestamp` and the body with dots between them. 16 bytes at least.
        secret: Option<Secret> = "",
        /// Allow addresses that are not of the public internet: loopback, private, link-local. The
        /// address is looked at after the name has been resolved, and it is the one connected to.
        allow_private: bool = false,
        /// PEM file with the authorities that are trusted; empty are the system's.
        authorities: Option<PathBuf> = "",
    }
}

settings! {
    /// The sink `rabbitmq`: a persistent message to a topic exchange for each event, whose routing key
    /// is the type, with publisher confirms.
    pub struct RabbitMq in "events.rabbitmq" {
        /// `amqp://user:password@host:port/vhost`; `amqps://…` if the program was built with the
        /// feature `rabbitmq-tls`.
        url: Option<Secret> = "",
        /// The exchange, which is made as a durable one if it is not there.
        exchange: String = "chatferry.events",
        /// Wait while no queue is bound for an event: it would be lost.
        mandatory: bool = true,
    }
}

settings! {
    /// The sink `nats`: a message to a stream of `JetStream` for each event, whose subject is
    /// `SUBJECT.TYPE.CONVERSATION`.
    pub struct Nats in "events.nats" {
        /// `nats://user:password@host:port`, or `tls://…`; several with commas between them.
        url: Option<Secret> = "",
        /// The stream, which is made with all subjects of ours if it is not there.
        stream: String = "CHATFERRY",
        /// Begins each subject.
        subject: String = "chatferry.events",
    }
}

settings! {
    /// Events of other services that are consumed: `ai.message.generated` is stored as a message of an
    /// assistant and broadcast, once for each event id. Off without an address: here of a Redis, below
    /// of brokers.
    pub struct Inward in "events.inward" {
        /// Redis, as an entry of `layer.hosts`.
        url: Option<Secret> = "",
        /// Key of the stream that is read. An entry has the field `event`, in either form of
        /// `events.format`, and the event's id, a UUID, in the field `id` or in the event. What can
        /// never be stored is copied to the stream of this name with `.dead` behind it.
        stream: String = "chatferry.inward",
        /// Group of consumers, which all processes share; in NATS the durable consumer.
        group: String = "chatferry",
        /// Seconds after which an entry of a consumer that has not confirmed it is another's, in Redis
        /// and in NATS.
        claim_s: u64 = 30 in 1..=3600,
    }
    with { rabbitmq: InwardRabbitMq, nats: InwardNats }
}

settings! {
    /// Events of other services from a queue of `RabbitMQ`, which all processes share. The event's id
    /// is the `message_id`, or in the event. What can never be stored is copied to the queue of this
    /// name with `.dead` behind it.
    pub struct InwardRabbitMq in "events.inward.rabbitmq" {
        /// As `events.rabbitmq.url`.
        url: Option<Secret> = "",
        /// The queue, which is made as a durable one if it is not there.
        queue: String = "chatferry.inward",
        /// The topic exchange that the queue is bound to with the types that are consumed, made as a
        /// durable one if it is not there. Empty binds to nothing: publish to the queue by its name.
        exchange: String = "chatferry.inward",
    }
}

settings! {
    /// Events of other services from a stream of `JetStream`. The event's id is its `Nats-Msg-Id`, or
    /// in the event. What can never be stored is copied to the stream of this name with `_DEAD` behind
    /// it.
    pub struct InwardNats in "events.inward.nats" {
        /// As `events.nats.url`.
        url: Option<Secret> = "",
        /// The stream, which is made if it is not there.
        stream: String = "CHATFERRY_INWARD",
        /// Begins each subject that is consumed, with a dot and anything behind it.
        subject: String = "chatferry.inward",
    }
}

choice! {
    /// A place that events are published to.
    pub enum SinkName {
        Log = "log",
        RedisStream = "redis_stream",
        Webhook = "webhook",
        RabbitMq = "rabbitmq",
        Nats = "nats",
    }
}

choice! {
    /// Form of an event.
    pub enum EventFormat {
        Original = "original",
        CloudEvents = "cloudevents",
        CloudEventsBinary = "cloudevents_binary",
    }
}

/// Least bytes of `events.webhook.secret`.
const SECRET: usize = 16;

impl SinkName {
    /// Returns whether an event may have headers there.
    #[must_use]
    pub fn has_headers(self) -> bool {
        !matches!(self, SinkName::Log | SinkName::RedisStream)
    }
}

impl Events {
    /// Returns whether a sink is set.
    #[must_use]
    pub fn has(&self, sink: SinkName) -> bool {
        self.sinks.contains(&sink)
    }

    /// Returns what is wrong with the settings of each sink that is set.
    pub(super) fn conflicts(&self) -> [(bool, &'static str); 6] {
        let is_repeated =
            (1..self.sinks.len()).any(|place| self.sinks[place..].contains(&self.sinks[place - 1]));
        let lacks_redis = self.has(SinkName::RedisStream) && self.redis_stream.url.is_none();
        let lacks_url = self.has(SinkName::Webhook) && self.webhook.url.is_none();
        let lacks_rabbitmq = self.has(SinkName::RabbitMq) && self.rabbitmq.url.is_none();
        let lacks_nats = self.has(SinkName::Nats) && self.nats.url.is_none();
        let secret = self.webhook.secret.as_ref();
        let lacks_secret = self.has(SinkName::Webhook)
            && secret.is_none_or(|secret| secret.expose().len() < SECRET);
        [
            (is_repeated, "events.sinks: each sink may be named once"),
            (
                lacks_redis,
                "events.redis_stream.url: the sink redis_stream needs it",
            ),
            (lacks_url, "events.webhook.url: the sink webhook needs it"),
            (
                lacks_rabbitmq,
                "events.rabbitmq.url: the sink rabbitmq needs it",
            ),
            (lacks_nats, "events.nats.url: the sink nats needs it"),
            (
                lacks_secret,
                "events.webhook.secret: the sink webhook needs one, of 16 bytes at least",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn errors(flags: &[(&str, &str)]) -> String {
        let flags = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let flags: Vec<_> = flags.collect();
        match Config::load(None, std::iter::empty(), &flags) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    }

    #[test]
    fn a_sink_without_its_settings_is_refused() {
        assert_eq!(errors(&[("events.sinks", "log")]), "");
        assert!(errors(&[("events.sinks", "log,log")]).contains("named once"));
        assert!(errors(&[("events.sinks", "pigeon")]).contains("`redis_stream`"));
        let redis = errors(&[("events.sinks", "redis_stream")]);
        assert!(redis.contains("events.redis_stream.url"), "{redis}");
        let hook = ("events.webhook.url", "http://example.org/");
        let webhook = errors(&[("events.sinks", "webhook"), hook]);
        assert!(webhook.contains("events.webhook.secret"), "{webhook}");
    }
}
