//! Events of other services from a queue of `RabbitMQ`.
//!
//! All processes consume from one queue. A message is acknowledged after its event is done with; what
//! a process leaves behind is queued again by the broker when its connection is gone. Dead letters go
//! to a queue of their own, with publisher confirms.

use std::convert::Infallible;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{ConsumeError, DEAD_MAX, Inbox, Incoming, PATIENCE, Source, Taken, message::GENERATED};
use crate::{
    config::{self, events::InwardRabbitMq},
    events::sink::{SinkSettingsError, rabbitmq::check_url},
};

/// Messages that a process is given before it has acknowledged the first. Each is in memory.
const TOGETHER: u16 = 10;

/// A message is kept on disk.
const PERSISTENT: u8 = 2;

/// Most headers of a message that its dead letter has, and most bytes of one: those of a `CloudEvent`.
const HEADERS: usize = 32;
const HEADER: usize = 1024;

/// Prefixes of the headers of a binary `CloudEvent`.
const PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];

/// A queue that is shared by all processes.
pub struct RabbitMqSource {
    url: String,
    queue: String,
    exchange: String,
}

impl RabbitMqSource {
    /// Uses the queue of the settings; `None` if there is none.
    ///
    /// # Errors
    /// When the address is none of AMQP, or needs TLS that this program was built without.
    pub fn new(settings: &InwardRabbitMq) -> Result<Option<Self>, SinkSettingsError> {
        let Some(url) = settings.url.as_ref().map(config::Secret::expose) else {
            return Ok(None);
        };
        check_url("events.inward.rabbitmq.url", url)?;
        Ok(Some(RabbitMqSource {
            url: url.to_owned(),
            queue: settings.queue.clone(),
            exchange: settings.exchange.clone(),
        }))
    }

    fn dead_queue(&self) -> String {
        format!("{}.dead", self.queue)
    }

    /// Connects, and makes what is not there. The channel lives as long as the connection.
    async fn open(&self) -> lapin::Result<(Connection, Channel)> {
        let properties =
            ConnectionProperties::default().with_connection_name("chatferry inward".into());
        let connection = Connection::connect(&self.url, properties).await?;
        let mut bounded = FieldTable::default();
        bounded.insert("x-max-length".into(), AMQPValue::LongInt(DEAD_MAX));
        make_queue(&connection, &self.dead_queue(), bounded).await?;
        make_queue(&connection, &self.queue, FieldTable::default()).await?;
        let channel = connection.create_channel().await?;
        self.bind(&channel).await?;
        channel
            .basic_qos(TOGETHER, BasicQosOptions::default())
            .await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok((connection, channel))
    }

    async fn bind(&self, channel: &Channel) -> lapin::Result<()> {
        if self.exchange.is_empty() {
            return Ok(());
        }
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (exchange, table) = (self.exchange.as_str(), FieldTable::default());
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, table.clone())
            .await?;
        let options = QueueBindOptions::default();
        let queue = self.queue.as_str().into();
        channel
            .queue_bind(queue, exchange.into(), GENERATED.into(), options, table)
            .await
    }

    async fn do_one(
        &self,
        channel: &Channel,
        inbox: &Inbox,
        delivery: &Delivery,
    ) -> Result<(), ConsumeError> {
        let event = Incoming {
            place: delivery.routing_key.as_str(),
            id: id_of(delivery),
            kind: cloud(delivery, "type"),
            body: inbox.bounded(&delivery.data),
        };
        if let Taken::Dead(why) = inbox.take(event).await? {
            let buried = timeout(PATIENCE, self.bury(channel, delivery, &why));
            buried.await.map_err(ConsumeError::broker)??;
        }
        let acknowledged = delivery.acker.ack(BasicAckOptions::default());
        acknowledged.await.map_err(ConsumeError::broker)?;
        Ok(())
    }

    /// Copies a message to the queue of dead letters, with the reason and whence it came, and waits
    /// until it is there.
    async fn bury(
        &self,
        channel: &Channel,
        delivery: &Delivery,
        why: &str,
    ) -> Result<(), ConsumeError> {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let sent = channel.basic_publish(
            "".into(),
            self.dead_queue().as_str().into(),
            mandatory,
            &delivery.data,
            dead_properties(delivery, why),
        );
        let sent = sent.await.map_err(ConsumeError::broker)?;
        match sent.await.map_err(ConsumeError::broker)? {
            Confirmation::Ack(None) => Ok(()),
            _ => Err(ConsumeError::broker("a dead letter was not confirmed")),
        }
    }
}

/// Makes a queue that is not there. One that is there is used as it was made, of whatever kind.
async fn make_queue(
    connection: &Connection,
    name: &str,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let channel = connection.create_channel().await?;
    let found = channel.queue_declare(name.into(), passive, FieldTable::default());
    if found.await.is_ok() {
        return Ok(());
    }
    // The broker has closed the channel, as it does on an error.
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let made = channel.queue_declare(name.into(), durable, arguments).await;
    made.map(|_| ())
}

fn id_of(delivery: &Delivery) -> Option<String> {
    let id = delivery.properties.message_id().as_ref();
    id.map(|id| id.as_str().to_owned())
        .or_else(|| cloud(delivery, "id"))
}

/// Returns an attribute of a binary `CloudEvent`.
fn cloud(delivery: &Delivery, attribute: &str) -> Option<String> {
    let headers = delivery.properties.headers().as_ref()?;
    PREFIXES.iter().find_map(|prefix| {
        let value = headers.inner().get(format!("{prefix}{attribute}").as_str());
        value.and_then(text_of)
    })
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// Returns the properties of a dead letter. Only those of the message are taken over that the broker
/// neither checks nor acts on: another's `user_id` is refused, `expiration` would delete the letter,
/// the header `CC` would send it elsewhere.
fn dead_properties(delivery: &Delivery, why: &str) -> BasicProperties {
    let of = &delivery.properties;
    let mut headers = FieldTable::default();
    let theirs = of.headers().as_ref().map(FieldTable::inner);
    let theirs = theirs.into_iter().flatten().filter(|(name, value)| {
        PREFIXES
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
            && text_of(value).is_some_and(|text| text.len() <= HEADER)
    });
    for (name, value) in theirs.take(HEADERS) {
        headers.insert(name.clone(), value.clone());
    }
    for (name, text) in [
        ("error", why),
        ("exchange", delivery.exchange.as_str()),
        ("routing_key", delivery.routing_key.as_str()),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    if let Some(id) = of.message_id() {
        properties = properties.with_message_id(id.clone());
    }
    if let Some(kind) = of.kind() {
        properties = properties.with_type(kind.clone());
    }
    if let Some(content_type) = of.content_type() {
        properties = properties.with_content_type(content_type.clone());
    }
    if let Some(encoding) = of.content_encoding() {
        properties = properties.with_content_encoding(encoding.clone());
    }
    properties
}

#[async_trait]
impl Source for RabbitMqSource {
    async fn consume(&self, inbox: &Inbox) -> Result<Infallible, ConsumeError> {
        let opened = timeout(PATIENCE, self.open()).await;
        // Dropped, the connection is closed, and what is not acknowledged is queued again.
        let (_connection, channel) = opened
            .map_err(ConsumeError::broker)?
            .map_err(ConsumeError::broker)?;
        let queue = self.queue.as_str().into();
        let options = BasicConsumeOptions::default();
        let mut deliveries = channel
            .basic_consume(queue, "".into(), options, FieldTable::default())
            .await
            .map_err(ConsumeError::broker)?;
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery.map_err(ConsumeError::broker)?;
            self.do_one(&channel, inbox, &delivery).await?;
        }
        Err(ConsumeError::broker("the queue was deleted"))
    }
}
