//! The sink `rabbitmq`: messages to a topic exchange, with publisher confirms.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout};

use super::{
    Published, Sink, SinkError, SinkSettingsError, away,
    waves::{Waves, opened},
};
use crate::{
    config::{self, events::RabbitMq},
    events::envelope::Outgoing,
};

/// A message is kept on disk.
const PERSISTENT: u8 = 2;

/// Publishes to one exchange.
pub struct RabbitMqSink {
    url: String,
    exchange: String,
    /// Messages that reach no queue are not confirmed.
    mandatory: bool,
    patience: Duration,
    open: Option<OpenChannel>,
}

/// A channel, and the connection that it is on.
struct OpenChannel {
    channel: Channel,
    _connection: Connection,
}

impl RabbitMqSink {
    /// Uses the exchange of the settings. `patience` bounds the wait for an answer.
    ///
    /// # Errors
    /// When the address is none of AMQP, or needs TLS that this program was built without.
    pub fn new(settings: &RabbitMq, patience: Duration) -> Result<Self, SinkSettingsError> {
        let url = settings.url.as_ref().map_or("", config::Secret::expose);
        check_url("events.rabbitmq.url", url)?;
        Ok(RabbitMqSink {
            url: url.to_owned(),
            exchange: settings.exchange.clone(),
            mandatory: settings.mandatory,
            patience,
            open: None,
        })
    }

    /// Connects, and makes the exchange if it is not there.
    async fn open(&self) -> lapin::Result<OpenChannel> {
        let properties =
            ConnectionProperties::default().with_connection_name("chatferry events".into());
        let connection = Connection::connect(&self.url, properties).await?;
        let channel = connection.create_channel().await?;
        channel
            .exchange_declare(
                self.exchange.as_str().into(),
                ExchangeKind::Topic,
                ExchangeDeclareOptions {
                    durable: true,
                    ..ExchangeDeclareOptions::default()
                },
                FieldTable::default(),
            )
            .await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(OpenChannel {
            channel,
            _connection: connection,
        })
    }

    async fn send(&self, channel: &Channel, event: &Outgoing) -> Result<(), SinkError> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            ..BasicPublishOptions::default()
        };
        let sent = channel.basic_publish(
            self.exchange.as_str().into(),
            event.kind.as_str().into(),
            options,
            event.body.as_bytes(),
            properties(event),
        );
        match sent.await.map_err(away)?.await.map_err(away)? {
            Confirmation::Ack(None) => Ok(()),
            // A message that is routed to no queue is lost: its event waits until one is bound.
            Confirmation::Ack(Some(_)) => {
                Err(away("no queue is bound for a message: it was returned"))
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                Err(away("a message was not confirmed"))
            }
        }
    }
}

/// Looks at the address of a `RabbitMQ`, the value of this setting.
///
/// # Errors
/// When it is none of AMQP, or needs TLS that this program was built without.
pub fn check_url(key: &'static str, url: &str) -> Result<(), SinkSettingsError> {
    let wrong = |why: &str| SinkSettingsError {
        key,
        why: why.to_owned(),
    };
    match url.split_once("://") {
        Some(("amqp", _)) => Ok(()),
        Some(("amqps", _)) if cfg!(feature = "rabbitmq-tls") => Ok(()),
        Some(("amqps", _)) => Err(wrong(
            "this program was built without amqps: build it with the feature rabbitmq-tls",
        )),
        _ => Err(wrong("expected amqp://user:password@host:port/vhost")),
    }
}

fn properties(event: &Outgoing) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("key".into(), text(&event.key));
    for (name, value) in &event.attributes {
        headers.insert(format!("cloudEvents:{name}").into(), text(value));
    }
    let at = u64::try_from(event.at.micros() / 1_000_000).unwrap_or_default();
    BasicProperties::default()
        .with_content_type(event.content_type.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(event.id.as_str().into())
        .with_type(event.kind.as_str().into())
        .with_timestamp(at)
        .with_headers(headers)
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[async_trait]
impl Sink for RabbitMqSink {
    async fn publish(&mut self, events: &[Outgoing], until: Instant) -> Published {
        let open = match self.open.take() {
            Some(open) if open.channel.status().connected() => open,
            _ => match opened(self.open(), self.patience).await {
                Ok(open) => open,
                Err(error) => return Published::away(error),
            },
        };
        let mut waves = Waves::new(events, until);
        while let Some(wave) = waves.next() {
            let sends = wave.iter().map(|&place| {
                let sent = self.send(&open.channel, &events[place]);
                async { timeout(self.patience, sent).await.unwrap_or_else(late) }
            });
            waves.note(join_all(sends).await);
        }
        let published = waves.published();
        if published.failure.is_none() {
            self.open = Some(open);
        }
        published
    }
}

fn late(_: tokio::time::error::Elapsed) -> Result<(), SinkError> {
    Err(away("no confirmation in time"))
}
