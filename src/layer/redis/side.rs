//! Redis beside the channel layer: what a dialect shares with processes of its own kind.
//!
//! Commands are sent as they are asked for; a subscription is opened again whenever it is lost, and
//! tells so: what was published meanwhile was missed.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::{FromRedisValue, Pipeline};
use tokio::{sync::mpsc, time::sleep};

use super::{address::Address, addresses, backoff::Backoff, bounds::Ahead, single::SingleHost};
use crate::{
    config::{self, Hosts, redis_url::RedisUrl},
    layer::LayerError,
};

/// Messages of a subscription that wait to be taken; then it is read no further.
const WAITING: usize = 1024;

/// A message of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The subscription is there from now on, for the first time or again.
    Subscribed,
    /// Channel and payload.
    Message(String, Bytes),
}

/// Returns the address that a dialect's setting names, or the first of the layer's.
///
/// # Errors
/// [`LayerError::Settings`] for an address that is none.
pub fn address(own: &Hosts, layer: &config::Layer) -> Result<Address, LayerError> {
    if let Some(entry) = own.entries().first() {
        let url = RedisUrl::parse(entry).map_err(LayerError::Settings)?;
        return Ok(Address::from(url));
    }
    let first = addresses(layer)?.into_iter().next();
    first.ok_or_else(|| LayerError::Settings("no host is named".to_owned()))
}

impl SingleHost {
    /// Sends commands together, which are run one after the other without others between if the
    /// pipeline is atomic.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`] without an answer: some may have been run.
    pub async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, LayerError> {
        let mut connection = self.connection().await?;
        let answer = commands.query_async(&mut connection).await;
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&error).await),
        }
    }
}

/// Subscribes to patterns for as long as what it returns is held. `name` is for the log.
pub fn listen(
    address: Address,
    name: &'static str,
    patterns: Vec<String>,
) -> (mpsc::Receiver<Heard>, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let listening = async move {
        let mut backoff = Backoff::default();
        while !sender.is_closed() {
            let began = Instant::now();
            let lost = tokio::select! {
                lost = hear(&address, &patterns, &sender) => lost,
                () = sender.closed() => return,
            };
            backoff.worked_for(began.elapsed());
            if backoff.is_fresh() {
                tracing::warn!(error = %lost, "{name}: the subscription in Redis is lost");
            }
            sleep(backoff.next()).await;
        }
    };
    (receiver, listening)
}

/// Hears until the subscription is lost, and returns why.
async fn hear(address: &Address, patterns: &[String], heard: &mpsc::Sender<Heard>) -> LayerError {
    let ahead = Arc::<Ahead>::default();
    let subscribed = async {
        let (mut sink, stream) = address.subscribe(&ahead).await?.split();
        for pattern in patterns {
            let confirmed = sink.psubscribe(pattern).await;
            confirmed.map_err(|error| LayerError::Unavailable(error.to_string()))?;
        }
        Ok((sink, stream))
    };
    // The sink keeps the connection open.
    let (_sink, mut stream) = match subscribed.await {
        Ok(both) => both,
        Err(error) => return error,
    };
    ahead.taken();
    let _ = heard.send(Heard::Subscribed).await;
    loop {
        let next = tokio::select! {
            biased;
            next = stream.next() => next,
            () = ahead.stopped() => {
                ahead.taken();
                continue;
            }
        };
        let Some(message) = next else {
            return LayerError::Unavailable("the subscription is gone".to_owned());
        };
        let payload = Bytes::copy_from_slice(message.get_payload_bytes());
        let message = Heard::Message(message.get_channel_name().to_owned(), payload);
        if heard.send(message).await.is_err() {
            return LayerError::Unavailable("nothing is listened to any more".to_owned());
        }
    }
}
