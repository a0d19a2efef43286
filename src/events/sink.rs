//! The places that events are published to.

mod log;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod redis_stream;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod waves;
mod webhook;

use async_trait::async_trait;
use tokio::time::Instant;

use std::time::Duration;

use self::{log::LogSink, redis_stream::RedisStreamSink, webhook::WebhookSink};
use super::envelope::Outgoing;
use crate::config::{self, SinkName};

/// Publishes events, and knows when they are safe.
#[async_trait]
pub trait Sink: Send {
    /// Publishes events in this order and waits until they are confirmed. After `until` it begins
    /// with no further ones. If one is not confirmed, no later one of its conversation may have been
    /// published. Dropped, it may have published any of them.
    async fn publish(&mut self, events: &[Outgoing], until: Instant) -> Published;
}

/// Outcome of publishing some events.
#[derive(Debug)]
pub struct Published {
    /// Events from the first on that are confirmed.
    pub confirmed: usize,
    /// Why the next one is not. `None` if all are, or the time is over.
    pub failure: Option<SinkError>,
}

impl Published {
    /// Nothing is confirmed, as the sink is away.
    pub(super) fn away(error: impl ToString) -> Self {
        Published {
            confirmed: 0,
            failure: Some(away(error)),
        }
    }
}

/// Why an event is not published.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It may be published later: the sink does not answer, or cannot take anything now.
    #[error("the sink is away: {0}")]
    Away(String),
    /// The sink takes others and not this one.
    #[error("the sink refuses an event: {0}")]
    Refused(String),
}

/// Makes an error of a sink that may take the event later.
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it can be named where errors are turned into ours"
)]
fn away(error: impl ToString) -> SinkError {
    SinkError::Away(error.to_string())
}

/// A setting of a sink that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {why}")]
pub struct SinkSettingsError {
    pub key: &'static str,
    pub why: String,
}

/// Makes a sink of its settings. It connects when it has something to publish.
///
/// # Errors
/// When a setting makes no sense.
pub fn open(name: SinkName, settings: &config::Events) -> Result<Box<dyn Sink>, SinkSettingsError> {
    // As long as a lease lasts, less what a batch may have taken before.
    let patience = Duration::from_secs(settings.lease_s) / 2;
    Ok(match name {
        SinkName::Log => Box::new(LogSink::default()),
        SinkName::RedisStream => Box::new(RedisStreamSink::new(&settings.redis_stream, patience)?),
        SinkName::Webhook => Box::new(WebhookSink::new(&settings.webhook, patience)?),
        #[cfg(feature = "rabbitmq")]
        SinkName::RabbitMq => Box::new(rabbitmq::RabbitMqSink::new(&settings.rabbitmq, patience)?),
        #[cfg(feature = "nats")]
        SinkName::Nats => Box::new(nats::NatsSink::new(&settings.nats, patience)),
        #[cfg(not(all(feature = "nats", feature = "rabbitmq")))]
        _ => {
            return Err(SinkSettingsError {
                key: "events.sinks",
                why: format!("this program was built without the sink {name}"),
            });
        }
    })
}
