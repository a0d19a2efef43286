//! Holds the connections to one host, one for commands and one for subscriptions, and subscribes
//! anew whenever they had to be opened again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use redis::{
    Msg, Value,
    aio::{PubSubSink, PubSubStream},
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{Host, Inner, confirmed};
use crate::{
    django::datetime::Timestamp,
    layer::{
        LayerError,
        redis::{backoff::Backoff, link::RESPONSE},
    },
};

/// How long the start of the process waits for a host.
const START: Duration = Duration::from_secs(3);

/// How often both connections are asked whether they are alive.
const LOOK: Duration = Duration::from_secs(2);

/// Channels subscribed to in one write.
const CHUNK: usize = 500;

/// Starts the keeper of a host, and waits until it has tried to connect once.
pub(super) async fn start(inner: &Arc<Inner>, host: usize) -> JoinHandle<()> {
    let (tried, first) = oneshot::channel();
    let inner = Arc::clone(inner);
    let keeper = tokio::spawn(async move {
        if let Some(host) = inner.hosts.get(host) {
            inner.keep(host, tried).await;
        }
    });
    let _ = timeout(START, first).await;
    keeper
}

impl Inner {
    /// Never returns.
    async fn keep(&self, host: &Host, tried: oneshot::Sender<()>) {
        let mut tried = Some(tried);
        let mut backoff = Backoff::default();
        let mut well = Timestamp::now();
        loop {
            match self.set_up(host).await {
                Ok((sink, stream)) => {
                    if !backoff.is_fresh() {
                        tracing::info!(host = %host.link.address, "the channel layer is back");
                    }
                    self.inbox.back(host.number);
                    let _ = tried.take().map(|tried| tried.send(()));
                    let began = Instant::now();
                    let seen = Mutex::new(Timestamp::now());
                    let error = self.serve(host, sink, stream, &seen).await;
                    well = *seen.lock().unwrap_or_else(PoisonError::into_inner);
                    tracing::warn!(host = %host.link.address, %error, "the channel layer is away");
                    backoff.worked_for(began.elapsed());
                }
                Err(error) if backoff.is_fresh() => {
                    tracing::warn!(host = %host.link.address, %error, "no channel layer");
                }
                Err(error) => {
                    tracing::debug!(host = %host.link.address, %error, "no channel layer yet");
                }
            }
            let _ = tried.take().map(|tried| tried.send(()));
            host.link.take_down();
            {
                let mut state = host.state();
                state.sink = None;
                // What had not come back by the old connection never will.
                state.echoes.forget();
            }
            self.inbox.lost(host.number, well);
            sleep(backoff.next()).await;
        }
    }

    /// Connects and subscribes to everything.
    async fn set_up(&self, host: &Host) -> Result<(PubSubSink, PubSubStream), LayerError> {
        let commands = host.link.address.connect(RESPONSE).await?;
        let (mut sink, stream) = host.link.address.subscribe().await?.split();
        let is_home = std::ptr::eq(self.host_of(&self.own)?, host);
        if is_home {
            confirmed(sink.subscribe(&self.own)).await?;
        }
        // From here on whoever joins subscribes on this connection; who has joined is in the map.
        let names: Vec<String> = {
            let mut state = host.state();
            state.sink = Some(sink.clone());
            state.groups.keys().cloned().collect()
        };
        for chunk in names.chunks(CHUNK) {
            all(&sink, chunk, |mut sink, name| async move {
                sink.subscribe(name).await
            })
            .await?;
            let left: Vec<String> = {
                let state = host.state();
                let left = |name: &&String| !state.groups.contains_key(*name);
                chunk.iter().filter(left).cloned().collect()
            };
            all(&sink, &left, |mut sink, name| async move {
                sink.unsubscribe(name).await
            })
            .await?;
        }
        host.link.set_up(commands, None);
        Ok((sink, stream))
    }

    /// Reads and looks after both connections until something fails.
    async fn serve(
        &self,
        host: &Host,
        sink: PubSubSink,
        stream: PubSubStream,
        seen: &Mutex<Timestamp>,
    ) -> LayerError {
        tokio::select! {
            error = self.read(host, stream) => error,
            error = look_after(host, sink, seen) => error,
            () = host.link.broken() => LayerError::Unavailable("the connection is gone".to_owned()),
        }
    }

    async fn read(&self, host: &Host, mut stream: PubSubStream) -> LayerError {
        while let Some(message) = stream.next().await {
            self.take(host, &message).await;
        }
        LayerError::Unavailable("the subscription is gone".to_owned())
    }

    async fn take(&self, host: &Host, message: &Msg) {
        let (channel, bytes) = (message.get_channel_name(), message.get_payload_bytes());
        let locals = if channel == self.own {
            vec![String::new()]
        } else {
            let mut state = host.state();
            if state.echoes.is_known(channel, bytes) {
                return;
            }
            state.locals(channel)
        };
        let Some(message) = self.inbox.read(bytes) else {
            return;
        };
        if locals.is_empty() {
            return self.inbox.unroutable();
        }
        let Some(event) = self.inbox.event(message) else {
            return;
        };
        for local in locals {
            let _ = self.inbox.put(local, Arc::clone(&event)).await;
        }
    }
}

/// Changes many subscriptions in one write. One command for all of them would be answered once for
/// each channel, which the client takes for the answers of later commands.
async fn all<'a, F>(
    sink: &PubSubSink,
    names: &'a [String],
    change: impl Fn(PubSubSink, &'a String) -> F,
) -> Result<(), LayerError>
where
    F: Future<Output = redis::RedisResult<()>>,
{
    let changes = names
        .iter()
        .map(|name| confirmed(change(sink.clone(), name)));
    join_all(changes).await.into_iter().collect()
}

/// Asks both connections for a sign of life: neither would notice a server that just stops.
async fn look_after(host: &Host, mut sink: PubSubSink, seen: &Mutex<Timestamp>) -> LayerError {
    loop {
        sleep(LOOK).await;
        let now = Timestamp::now();
        let mut ping = redis::pipe();
        ping.cmd("PING");
        let commands = host.link.run(&ping).await;
        let subscription = confirmed(async { sink.ping::<Value>().await.map(|_| ()) }).await;
        for answer in [commands, subscription] {
            match answer {
                Ok(()) | Err(LayerError::Refused(_)) => {}
                Err(error) => return error,
            }
        }
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
