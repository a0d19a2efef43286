//! Subscribes anew whenever the connections to a host had to be opened again, and takes what comes
//! by them.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use redis::{
    Msg, Value,
    aio::{PubSubSink, PubSubStream},
};
use tokio::time::sleep;

use super::{Host, Inner, confirmed};
use crate::{
    django::datetime::Timestamp,
    layer::{
        LayerError,
        redis::{
            inbox::Inbox,
            keeper::{Kept, Seen},
            link::{Link, RESPONSE},
        },
    },
};

/// How often both connections are asked whether they are alive.
const LOOK: Duration = Duration::from_secs(2);

/// Channels subscribed to in one write.
const CHUNK: usize = 500;

/// The layer's business with one host.
pub(super) struct Keeper {
    pub inner: Arc<Inner>,
    pub host: Arc<Host>,
}

impl Kept for Keeper {
    type Incoming = (PubSubSink, PubSubStream);

    fn number(&self) -> usize {
        self.host.number
    }

    fn link(&self) -> &Link {
        &self.host.link
    }

    fn inbox(&self) -> &Inbox {
        &self.inner.inbox
    }

    async fn set_up(&self) -> Result<Self::Incoming, LayerError> {
        self.inner.subscribe_to_all(&self.host).await
    }

    async fn serve(&self, (sink, stream): Self::Incoming, seen: &Seen) -> LayerError {
        tokio::select! {
            error = self.inner.read(&self.host, stream) => error,
            error = look_after(&self.host, sink, seen) => error,
        }
    }

    fn lost(&self) {
        let mut state = self.host.state();
        state.sink = None;
        // What had not come back by the old connection never will.
        state.echoes.forget();
    }
}

impl Inner {
    async fn subscribe_to_all(
        &self,
        host: &Host,
    ) -> Result<(PubSubSink, PubSubStream), LayerError> {
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
            let _ = self.inbox.put(local, Arc::clone(&event), None).await;
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
async fn look_after(host: &Host, mut sink: PubSubSink, seen: &Seen) -> LayerError {
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
        seen.set(now);
    }
}
