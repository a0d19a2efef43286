//! Events of other services, consumed by groups that all processes share: messages that an assistant
//! has made.
//!
//! An event is confirmed once its message is committed. Its id becomes that of the message, so an
//! event that comes again is stored and broadcast once. What can never be stored is copied to the
//! source's dead letters with the reason, and confirmed: whatever an event holds, those behind it are
//! consumed.

mod message;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod redis_stream;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::watch, time::sleep};

use self::{message::message_of, redis_stream::RedisStreamSource};
use super::sink::SinkSettingsError;
use crate::{
    app::App,
    config::events::Inward,
    layer::{LayerError, redis::backoff::Backoff},
    service::ChatError,
    store::StoreError,
};

/// Longest wait for an answer of a source.
const PATIENCE: Duration = Duration::from_secs(10);

/// Dead letters that are kept of a source, nearly.
const DEAD_MAX: i32 = 100_000;

/// Why an event past the bound of what is read is a dead letter.
const TOO_MUCH: &str = "it is larger than layer.max_event_bytes";

/// A place that events come from.
#[async_trait]
trait Source: Send + Sync {
    /// Connects and consumes until something fails. What is under way then comes again, as does what
    /// is under way when this is dropped.
    async fn consume(&self, inbox: &Inbox) -> Result<Infallible, ConsumeError>;
}

/// An event as it came.
struct Incoming<'a> {
    /// Its place in its source, for the log.
    place: &'a str,
    /// Its id, if the source has a place for one.
    id: Option<String>,
    /// Type of a binary `CloudEvent`.
    kind: Option<String>,
    /// JSON, or why it cannot be read.
    body: Result<&'a [u8], &'static str>,
}

/// What became of an event that need not come again.
enum Taken {
    Done,
    /// It can never be stored, for this reason.
    Dead(String),
}

/// Why an event was not done with, or none came.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Connect(#[from] LayerError),
    #[error("the answer is unreadable: {0}")]
    Answer(#[from] redis::ParsingError),
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    #[error(transparent)]
    Broker(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
impl ConsumeError {
    /// Makes an error of a broker's client, or of a text.
    fn broker(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        ConsumeError::Broker(error.into())
    }
}

/// Stores what events ask for.
struct Inbox {
    app: Arc<App>,
    /// Word of the source in the log.
    source: &'static str,
    /// True once an event was done with, since the consumer last looked.
    has_worked: AtomicBool,
}

impl Inbox {
    /// Stores and broadcasts the message of an event, unless that was done before.
    ///
    /// # Errors
    /// When the database is away: the event must come again.
    async fn take(&self, event: Incoming<'_>) -> Result<Taken, StoreError> {
        let outcome = match message_of(&event) {
            Ok(None) => Ok("ignored"),
            Ok(Some(new)) => match self.app.chat.post_once(new).await {
                Ok((_, true)) => Ok("stored"),
                Ok((_, false)) => Ok("repeated"),
                Err(ChatError::Store(error)) if is_passing(&error) => return Err(error),
                Err(error) => Err(error.to_string()),
            },
            Err(why) => Err(why),
        };
        self.app
            .metrics
            .event_consumed(outcome.as_ref().map_or("dead", |it| *it));
        self.has_worked.store(true, Ordering::Relaxed);
        Ok(match outcome {
            Ok(_) => Taken::Done,
            Err(why) => {
                let (source, place) = (self.source, event.place);
                tracing::error!(source, place, why, "an event of others is put aside");
                Taken::Dead(why)
            }
        })
    }

    /// Returns the body of an event, if it is not too large.
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    fn bounded<'a>(&self, body: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let is_bounded = body.len() <= self.app.config.layer.max_event_bytes;
        if is_bounded { Ok(body) } else { Err(TOO_MUCH) }
    }
}

/// Returns whether the same may be stored later.
fn is_passing(error: &StoreError) -> bool {
    error.may_pass() || matches!(error, StoreError::Closed)
}

/// One source and what its events become.
pub struct Consumer {
    source: Box<dyn Source>,
    inbox: Inbox,
}

impl Consumer {
    /// Makes a consumer for each source of the settings.
    ///
    /// # Errors
    /// When the address of one cannot be used.
    pub fn all(app: &Arc<App>) -> Result<Vec<Self>, SinkSettingsError> {
        let settings = &app.config.events.inward;
        let mut consumers = Vec::new();
        let mut add = |name, source| {
            let app = Arc::clone(app);
            let inbox = Inbox {
                app,
                source: name,
                has_worked: AtomicBool::new(false),
            };
            consumers.push(Consumer { source, inbox });
        };
        let max_bytes = app.config.layer.max_event_bytes;
        if let Some(source) = RedisStreamSource::new(settings, max_bytes, super::owner())? {
            add("redis_stream", Box::new(source) as Box<dyn Source>);
        }
        if let Some(source) = rabbitmq(settings)? {
            add("rabbitmq", source);
        }
        if let Some(source) = nats(settings)? {
            add("nats", source);
        }
        Ok(consumers)
    }

    /// Consumes until it is to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let source = self.inbox.source;
        let mut backoff = Backoff::default();
        let mut is_reported = false;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                outcome = self.source.consume(&self.inbox) => {
                    let Err(error) = outcome;
                    if self.inbox.has_worked.swap(false, Ordering::Relaxed) {
                        (backoff, is_reported) = (Backoff::default(), false);
                    }
                    if std::mem::replace(&mut is_reported, true) {
                        tracing::debug!(source, %error, "events of others are still not consumed");
                    } else {
                        tracing::warn!(source, %error, "events of others are not consumed now");
                    }
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(backoff.next()) => {}
            }
        }
    }
}

/// Returns the queue of the settings.
#[cfg(feature = "rabbitmq")]
fn rabbitmq(settings: &Inward) -> Result<Option<Box<dyn Source>>, SinkSettingsError> {
    let source = rabbitmq::RabbitMqSource::new(&settings.rabbitmq)?;
    Ok(source.map(|source| Box::new(source) as _))
}

/// Returns the stream of the settings.
#[cfg(feature = "nats")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it may fail")]
fn nats(settings: &Inward) -> Result<Option<Box<dyn Source>>, SinkSettingsError> {
    let source = nats::NatsSource::new(settings);
    Ok(source.map(|source| Box::new(source) as _))
}

#[cfg(not(feature = "rabbitmq"))]
fn rabbitmq(settings: &Inward) -> Result<Option<Box<dyn Source>>, SinkSettingsError> {
    missing(
        "events.inward.rabbitmq.url",
        "rabbitmq",
        settings.rabbitmq.url.is_some(),
    )
}

#[cfg(not(feature = "nats"))]
fn nats(settings: &Inward) -> Result<Option<Box<dyn Source>>, SinkSettingsError> {
    missing(
        "events.inward.nats.url",
        "nats",
        settings.nats.url.is_some(),
    )
}

/// Refuses a source that this program has no client for.
#[cfg(not(all(feature = "nats", feature = "rabbitmq")))]
fn missing(
    key: &'static str,
    feature: &str,
    is_set: bool,
) -> Result<Option<Box<dyn Source>>, SinkSettingsError> {
    if is_set {
        let why = format!("this program was built without the feature {feature}");
        return Err(SinkSettingsError { key, why });
    }
    Ok(None)
}
