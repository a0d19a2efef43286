//! Subscribes anew whenever the connections to a host had to be opened again, and takes what comes
//! by them.

use std::sync::Arc;

use futures_util::{StreamExt, future::join_all};
use redis::{
    Msg, Value,
    aio::{ConnectionLike, PubSubSink, PubSubStream},
};
use tokio::time::sleep;

use super::{Inner, PubSubHost, confirmed};
use crate::{
    chat::Event,
    layer::{
        CONTROL, LayerError,
        control::Control,
        redis::{
            address::RedisConnection,
            bounds::Ahead,
            codec::ChannelRoute,
            inbox::Inbox,
            keeper::{KeptHost, LastSeen},
            link::{HostLink, LOOK, RESPONSE, is_master, means_gone},
            names::group_channel,
            script::{self, Once},
        },
    },
};

/// Channels subscribed to in one write.
const CHUNK: usize = 500;

/// The layer's business with one host.
pub(super) struct Keeper {
    pub inner: Arc<Inner>,
    pub host: Arc<PubSubHost>,
}

impl KeptHost for Keeper {
    type Incoming = (PubSubSink, PubSubStream, Arc<Ahead>);

    fn number(&self) -> usize {
        self.host.number
    }

    fn link(&self) -> &HostLink {
        &self.host.link
    }

    fn inbox(&self) -> &Inbox {
        &self.inner.inbox
    }

    async fn set_up(&self) -> Result<Self::Incoming, LayerError> {
        self.inner.subscribe_to_all(&self.host).await
    }

    async fn serve(&self, (sink, stream, ahead): Self::Incoming, seen: &LastSeen) -> LayerError {
        tokio::select! {
            error = self.inner.read(&self.host, stream, &ahead) => error,
            error = self.inner.look_after(&self.host, sink, seen) => error,
            error = self.host.link.moves() => error,
        }
    }

    fn lost(&self) {
        let mut state = self.host.state();
        state.sink = None;
        // Events that have not come back by the old connection never will.
        for (channel, event) in state.echoes.forget() {
            drop(state.put(&self.inner.inbox, &channel, &event, None));
        }
    }
}

impl Inner {
    async fn subscribe_to_all(
        &self,
        host: &PubSubHost,
    ) -> Result<(PubSubSink, PubSubStream, Arc<Ahead>), LayerError> {
        let (mut commands, server) = host.link.address.connect_to(RESPONSE).await?;
        let script = self.load(host, &mut commands).await?;
        let time = redis::cmd("TIME").query_async::<Value>(&mut commands).await;
        host.link.look_at_clock(host.number, time.ok().as_ref());
        let ahead = Arc::default();
        let (mut sink, stream) = host.link.address.subscribe(&ahead).await?.split();
        self.inbox.returning(host.number);
        confirmed(sink.subscribe(&self.own)).await?;
        is_heard(&self.own, &mut commands).await?;
        // From here on new members subscribe on this connection; the others are in the map.
        let names: Vec<String> = {
            let mut state = host.state();
            state.sink = Some(sink.clone());
            state.groups.keys().cloned().collect()
        };
        let mut refusal = None;
        for chunk in names.chunks(CHUNK) {
            refusal = subscribe(&sink, chunk).await?.or(refusal);
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
        match refusal {
            Some(error) => host.link.refuse(&error),
            None => host.link.accept(),
        }
        if let Some(notice) = host.link.moved.notice(&server, self.inbox.now()) {
            self.inbox.reach_back(host.number, notice.since);
            let event = Control::ReadAgain(notice).event();
            self.publish_notice(&event, &mut commands).await?;
        }
        host.link.moved.settle(server, self.inbox.now());
        host.link.set_up(commands, script);
        Ok((sink, stream, ahead))
    }

    /// Says something to the other Chatferry processes, before anything else is published.
    async fn publish_notice(
        &self,
        notice: &Event,
        commands: &mut RedisConnection,
    ) -> Result<(), LayerError> {
        let codec = &self.inbox.codec;
        let fields = codec.fields(notice)?;
        let bytes = codec.seal(&fields, ChannelRoute::Plain, self.inbox.now_s())?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(group_channel(&self.prefix, CONTROL)).arg(bytes);
        let published = publish.query_async::<Value>(commands).await;
        published.map_err(|error| LayerError::Unavailable(error.to_string()))?;
        Ok(())
    }

    /// Returns the server's name for the script that publishes, if it lets us run scripts.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`] if it gave no answer to that. Without the script a call of the
    /// last connection would be repeated whether or not it was executed.
    async fn load(
        &self,
        host: &PubSubHost,
        commands: &mut RedisConnection,
    ) -> Result<Option<Arc<str>>, LayerError> {
        let once = Once {
            note: self.note(),
            number: 0,
        };
        let loaded = script::load_publish().query_async::<String>(commands).await;
        let tried = match &loaded {
            Ok(name) => {
                let nothing = std::iter::empty();
                let call = script::publish(Some(name), &once, false, nothing);
                call.query_async::<Value>(commands).await.map(|_| ())
            }
            Err(error) => Err(error.clone()),
        };
        match tried {
            Ok(()) => Ok(loaded.ok().map(Arc::from)),
            Err(error) if means_gone(&error) => Err(LayerError::Unavailable(error.to_string())),
            Err(error) => {
                tracing::warn!(
                    host = %host.link.address, %error,
                    "no script may be run: an event whose publishing is not confirmed may come twice"
                );
                Ok(None)
            }
        }
    }

    async fn read(&self, host: &PubSubHost, mut stream: PubSubStream, ahead: &Ahead) -> LayerError {
        ahead.taken();
        loop {
            let next = tokio::select! {
                biased;
                next = stream.next() => next,
                () = ahead.stopped() => {
                    ahead.taken();
                    continue;
                }
            };
            match next {
                Some(message) => self.take(host, &message).await,
                None => break,
            }
        }
        LayerError::Unavailable("the subscription is gone".to_owned())
    }

    async fn take(&self, host: &PubSubHost, message: &Msg) {
        let (channel, bytes) = (message.get_channel_name(), message.get_payload_bytes());
        let Some(message) = self.inbox.read(bytes) else {
            return;
        };
        let resent = message.resent;
        let Some(event) = self.inbox.event(message) else {
            return;
        };
        if channel == self.own {
            let _ = self.inbox.put(String::new(), event, None, resent).await;
            return;
        }
        let taken = {
            let mut state = host.state();
            if state.echoes.is_known(channel, bytes) {
                return;
            }
            state.put(&self.inbox, channel, &event, resent)
        };
        if taken.is_empty() {
            return self.inbox.unroutable();
        }
        for taken in taken {
            let _ = taken.await;
        }
    }

    /// Asks both connections for a sign of life: neither would notice a server that just stops. And
    /// subscribes again where that was refused.
    async fn look_after(
        &self,
        host: &PubSubHost,
        mut sink: PubSubSink,
        seen: &LastSeen,
    ) -> LayerError {
        loop {
            sleep(LOOK).await;
            let now = self.inbox.now();
            let mut look = redis::pipe();
            look.cmd("ROLE");
            look.cmd("PUBSUB").arg("NUMSUB").arg(&self.own);
            look.cmd("TIME");
            let commands = host.link.ask(&look).await;
            let commands = commands.and_then(|answers| {
                host.link.look_at_clock(host.number, answers.get(2));
                heard(&answers)
            });
            let subscription = confirmed(async { sink.ping::<Value>().await.map(|_| ()) }).await;
            let resubscribed = self.resubscribe(host, &sink).await;
            for answer in [commands, subscription, resubscribed] {
                match answer {
                    Ok(()) | Err(LayerError::Refused(_)) => {}
                    Err(error) => return error,
                }
            }
            seen.set(now);
        }
    }

    async fn resubscribe(&self, host: &PubSubHost, sink: &PubSubSink) -> Result<(), LayerError> {
        let Some(since) = host.link.refuses_since() else {
            return Ok(());
        };
        // As good as away.
        self.inbox.lost(host.number, since);
        let names: Vec<String> = host.state().groups.keys().cloned().collect();
        for chunk in names.chunks(CHUNK) {
            if let Some(error) = subscribe(sink, chunk).await? {
                host.link.refuse(&error);
                return Ok(());
            }
        }
        host.link.accept();
        self.inbox.back(host.number);
        Ok(())
    }
}

/// Subscribes to all of these; what the server said instead, if it would not.
async fn subscribe(sink: &PubSubSink, names: &[String]) -> Result<Option<LayerError>, LayerError> {
    let subscribed = all(sink, names, |mut sink, name| async move {
        sink.subscribe(name).await
    });
    match subscribed.await {
        Ok(()) => Ok(None),
        Err(error @ LayerError::Refused(_)) => Ok(Some(error)),
        Err(error) => Err(error),
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

/// Fails unless what these commands publish is heard by everybody: the server is a master, and the
/// one that we are subscribed at, where `own` is our channel. After a failover either may be no
/// longer so, and no connection need be cut.
async fn is_heard(own: &str, commands: &mut impl ConnectionLike) -> Result<(), LayerError> {
    let mut look = redis::pipe();
    look.cmd("ROLE");
    look.cmd("PUBSUB").arg("NUMSUB").arg(own);
    let count = look.len();
    let answers = commands.req_packed_commands(&look, 0, count).await;
    let answers = answers.map_err(|error| LayerError::Unavailable(error.to_string()))?;
    heard(&answers)
}

/// Reads the answers of [`is_heard`]; a server that refuses the question is believed.
fn heard(answers: &[Value]) -> Result<(), LayerError> {
    is_master(answers.first())?;
    if let Some(Value::Array(count)) = answers.get(1)
        && let Some(Value::Int(0)) = count.get(1)
    {
        let why = "we are subscribed at another server".to_owned();
        return Err(LayerError::Unavailable(why));
    }
    Ok(())
}
