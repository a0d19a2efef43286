//! The sink `nats`: messages to a stream of `JetStream`.
//!
//! The id of an event is its `Nats-Msg-Id`, by which the stream drops repeated ones that come within
//! its window.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, HeaderMap,
    connection::State,
    jetstream::{self, Context, context::PublishErrorKind, message::PublishMessage, stream},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Published, Sink, SinkError, away,
    waves::{Waves, opened},
};
use crate::{
    config::{self, events::Nats},
    events::envelope::Outgoing,
};

/// Publishes to one stream.
pub struct NatsSink {
    url: String,
    stream: String,
    subject: String,
    patience: Duration,
    open: Option<(Client, Context)>,
}

impl NatsSink {
    /// Uses the stream of the settings. `patience` bounds the wait for an answer.
    pub fn new(settings: &Nats, patience: Duration) -> Self {
        let url = settings.url.as_ref().map_or("", config::Secret::expose);
        NatsSink {
            url: url.to_owned(),
            stream: settings.stream.clone(),
            subject: settings.subject.clone(),
            patience,
            open: None,
        }
    }

    /// Connects, and makes the stream if it is not there.
    async fn open(&self) -> Result<(Client, Context), SinkError> {
        let options = ConnectOptions::new()
            .name("chatferry events")
            .connection_timeout(self.patience);
        let client = options.connect(self.url.as_str()).await.map_err(away)?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(self.patience);
        let wanted = stream::Config {
            name: self.stream.clone(),
            subjects: vec![format!("{}.>", self.subject)],
            ..stream::Config::default()
        };
        context.get_or_create_stream(wanted).await.map_err(away)?;
        Ok((client, context))
    }

    async fn send(&self, context: &Context, event: &Outgoing) -> Result<(), SinkError> {
        let subject = format!("{}.{}.{}", self.subject, event.kind, event.key);
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", event.content_type);
        for (name, value) in &event.attributes {
            headers.insert(format!("ce-{name}"), value.as_str());
        }
        let message = PublishMessage::build()
            .payload(Bytes::from(event.body.clone()))
            .headers(headers)
            .message_id(&event.id);
        let sent = context.send_publish(subject, message).await;
        let stored = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        stored.map(|_| ()).map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => SinkError::Refused(error.to_string()),
            _ => away(error),
        })
    }
}

#[async_trait]
impl Sink for NatsSink {
    async fn publish(&mut self, events: &[Outgoing], until: Instant) -> Published {
        let open = match self.open.take() {
            // The client would connect again by itself, and then send what was given up here.
            Some(open) if open.0.connection_state() == State::Connected => open,
            _ => match opened(self.open(), self.patience).await {
                Ok(open) => open,
                Err(error) => return Published::away(error),
            },
        };
        let mut waves = Waves::new(events, until);
        while let Some(wave) = waves.next() {
            let sends = wave.iter().map(|&place| self.send(&open.1, &events[place]));
            waves.note(join_all(sends).await);
        }
        let published = waves.published();
        if !matches!(published.failure, Some(SinkError::Away(_))) {
            self.open = Some(open);
        }
        published
    }
}
