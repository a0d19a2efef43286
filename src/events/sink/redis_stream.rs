//! The sink `redis_stream`: entries of a stream in Redis.
//!
//! Some entries are added in one transaction, so that they are all there, or none, in their order.
//! A Redis that refuses one entry would refuse all (out of memory, read-only, a key of another type),
//! so no event is refused for good.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Published, Sink, SinkError, SinkSettingsError, away};
use crate::{
    config::{self, events::RedisStream, redis_url::RedisUrl},
    events::envelope::Outgoing,
    layer::redis::address::{Address, RedisConnection},
};

/// Entries that are added in one transaction.
const TOGETHER: usize = 100;

/// Adds entries to a stream.
pub struct RedisStreamSink {
    address: Address,
    stream: String,
    max_len: u64,
    patience: Duration,
    connection: Option<RedisConnection>,
}

impl RedisStreamSink {
    /// Uses the Redis and the stream of the settings. `patience` bounds the wait for an answer.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn new(settings: &RedisStream, patience: Duration) -> Result<Self, SinkSettingsError> {
        let url = settings.url.as_ref().map_or("", config::Secret::expose);
        let url = RedisUrl::parse(url).map_err(|why| SinkSettingsError {
            key: "events.redis_stream.url",
            why,
        })?;
        Ok(RedisStreamSink {
            address: url.into(),
            stream: settings.stream.clone(),
            max_len: settings.max_len,
            patience,
            connection: None,
        })
    }

    async fn add(&mut self, events: &[Outgoing]) -> Result<(), SinkError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.address.connect(self.patience).await.map_err(away)?,
        };
        let mut entries = redis::pipe();
        entries.atomic();
        for event in events {
            entries
                .cmd("XADD")
                .arg(&self.stream)
                .arg("MAXLEN")
                .arg("~")
                .arg(self.max_len)
                .arg("*")
                .arg(&[
                    ("id", &event.id),
                    ("type", &event.kind),
                    ("key", &event.key),
                    ("event", &event.body),
                ])
                .ignore();
        }
        entries
            .query_async::<()>(&mut connection)
            .await
            .map_err(away)?;
        self.connection = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl Sink for RedisStreamSink {
    async fn publish(&mut self, events: &[Outgoing], until: Instant) -> Published {
        let mut confirmed = 0;
        for some in events.chunks(TOGETHER) {
            if confirmed > 0 && Instant::now() >= until {
                break;
            }
            if let Err(error) = self.add(some).await {
                let failure = Some(error);
                return Published { confirmed, failure };
            }
            confirmed += some.len();
        }
        Published {
            confirmed,
            failure: None,
        }
    }
}
