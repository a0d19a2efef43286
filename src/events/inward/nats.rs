//! Events of other services from a stream of `JetStream`.
//!
//! All processes share one durable consumer. A message is acknowledged after its event is done with;
//! one that is not comes again after `events.inward.claim_s`. Dead letters go to a stream of their own.

use std::{convert::Infallible, time::Duration};

use async_nats::{
    ConnectOptions, HeaderMap, HeaderValue,
    jetstream::{
        self, Context, Message,
        consumer::pull,
        context::{PublishError, PublishErrorKind},
        message::PublishMessage,
        stream,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{ConsumeError, DEAD_MAX, Inbox, Incoming, PATIENCE, Source, Taken};
use crate::config::{self, events::Inward};

/// Messages that are asked for at once. Each is in memory.
const TOGETHER: usize = 10;

/// Most headers of a message that its dead letter has, and most bytes of one: those of a `CloudEvent`.
const HEADERS: usize = 32;
const HEADER: usize = 1024;

/// A stream with a durable consumer that is shared by all processes.
pub struct NatsSource {
    url: String,
    stream: String,
    subject: String,
    group: String,
    claim: Duration,
}

/// What one connection has.
struct Open {
    context: Context,
    messages: pull::Stream,
}

impl NatsSource {
    /// Uses the stream of the settings; `None` if there is none.
    pub fn new(settings: &Inward) -> Option<Self> {
        let nats = &settings.nats;
        let url = nats.url.as_ref().map(config::Secret::expose)?;
        Some(NatsSource {
            url: url.to_owned(),
            stream: nats.stream.clone(),
            subject: nats.subject.clone(),
            group: settings.group.clone(),
            claim: Duration::from_secs(settings.claim_s),
        })
    }

    /// Connects, and makes what is not there.
    async fn open(&self) -> Result<Open, ConsumeError> {
        let options = ConnectOptions::new()
            .name("chatferry inward")
            .connection_timeout(PATIENCE);
        let client = options
            .connect(self.url.as_str())
            .await
            .map_err(ConsumeError::broker)?;
        let mut context = jetstream::new(client);
        context.set_timeout(PATIENCE);
        let dead = stream::Config {
            name: format!("{}_DEAD", self.stream),
            subjects: vec![self.dead_subject()],
            max_messages: i64::from(DEAD_MAX),
            ..stream::Config::default()
        };
        context
            .get_or_create_stream(dead)
            .await
            .map_err(ConsumeError::broker)?;
        let subjects = format!("{}.>", self.subject);
        let wanted = stream::Config {
            name: self.stream.clone(),
            subjects: vec![subjects.clone()],
            ..stream::Config::default()
        };
        let stream = context
            .get_or_create_stream(wanted)
            .await
            .map_err(ConsumeError::broker)?;
        let shared = pull::Config {
            durable_name: Some(self.group.clone()),
            filter_subject: subjects,
            ack_wait: self.claim,
            ..pull::Config::default()
        };
        let consumer = stream
            .get_or_create_consumer(&self.group, shared)
            .await
            .map_err(ConsumeError::broker)?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(TOGETHER)
            .heartbeat(PATIENCE)
            .messages()
            .await
            .map_err(ConsumeError::broker)?;
        Ok(Open { context, messages })
    }

    /// It is none of those that are consumed.
    fn dead_subject(&self) -> String {
        format!("{}_dead", self.subject)
    }

    async fn do_one(
        &self,
        context: &Context,
        inbox: &Inbox,
        message: &Message,
    ) -> Result<(), ConsumeError> {
        let place = message.info().map_err(ConsumeError::broker)?;
        let place = place.stream_sequence.to_string();
        let event = Incoming {
            place: &place,
            id: header(message, "Nats-Msg-Id").or_else(|| header(message, "ce-id")),
            kind: header(message, "ce-type"),
            body: inbox.bounded(&message.payload),
        };
        if let Taken::Dead(why) = inbox.take(event).await? {
            self.bury(context, message, &place, &why).await?;
        }
        message.ack().await.map_err(ConsumeError::broker)
    }

    /// Copies a message to the stream of dead letters, with the reason and its place, and waits until
    /// it is there. The same one is there once, if it comes again within that stream's window.
    async fn bury(
        &self,
        context: &Context,
        message: &Message,
        place: &str,
        why: &str,
    ) -> Result<(), ConsumeError> {
        let mut headers = HeaderMap::new();
        headers.insert("Chatferry-Error", value(why));
        headers.insert("Chatferry-Subject", value(message.subject.as_str()));
        headers.insert("Chatferry-Sequence", value(place));
        if let Some(id) = header(message, "Nats-Msg-Id") {
            headers.insert("Chatferry-Id", value(&id));
        }
        let mut all = headers.clone();
        for (name, value) in cloud_headers(message).take(HEADERS) {
            all.insert(name, value);
        }
        let letter = |headers: HeaderMap, body: Bytes| {
            let letter = PublishMessage::build().payload(body).headers(headers);
            letter.message_id(format!("{}:{place}", self.stream))
        };
        let whole = self.publish(context, letter(all, message.payload.clone()));
        match whole.await {
            // What the letter says besides makes it too large: the message stays in its own stream.
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                let bare = self.publish(context, letter(headers, Bytes::new()));
                bare.await.map_err(ConsumeError::broker)
            }
            outcome => outcome.map_err(ConsumeError::broker),
        }
    }

    async fn publish(&self, context: &Context, letter: PublishMessage) -> Result<(), PublishError> {
        let sent = context.send_publish(self.dead_subject(), letter).await?;
        sent.await.map(|_| ())
    }
}

fn header(message: &Message, name: &str) -> Option<String> {
    let value = message.headers.as_ref()?.get(name)?;
    Some(value.as_str().to_owned())
}

/// Returns the headers of a binary `CloudEvent`. Others are left out, as the broker acts on some:
/// `Nats-Expected-Last-Sequence` would have each letter refused.
fn cloud_headers(message: &Message) -> impl Iterator<Item = (&str, HeaderValue)> {
    let headers = message.headers.iter().flat_map(HeaderMap::iter);
    headers.filter_map(|(name, values)| {
        let (name, value): (&str, _) = (name.as_ref(), values.first()?);
        let is_ours = name.starts_with("ce-") && value.as_str().len() <= HEADER;
        is_ours.then(|| (name, value.clone()))
    })
}

/// Makes the value of a header of any text.
fn value(text: &str) -> HeaderValue {
    let line = text.replace(|c: char| c.is_control(), " ");
    HeaderValue::from(line)
}

#[async_trait]
impl Source for NatsSource {
    async fn consume(&self, inbox: &Inbox) -> Result<Infallible, ConsumeError> {
        let opened = timeout(PATIENCE, self.open()).await;
        let mut open = opened.map_err(ConsumeError::broker)??;
        while let Some(message) = open.messages.next().await {
            let message = message.map_err(ConsumeError::broker)?;
            self.do_one(&open.context, inbox, &message).await?;
        }
        Err(ConsumeError::broker("the consumer was deleted"))
    }
}
