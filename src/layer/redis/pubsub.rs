//! The layer that keeps nothing: stands in for `channels_redis.pubsub.RedisPubSubChannelLayer`.
//!
//! A group is a Redis channel, and this process subscribes to it once however many channels of
//! ours are in the group. An event of our own comes back to us by that subscription, like anybody
//! else's; only when the send has failed, or the subscription, and it has not come back is it
//! delivered in memory, so that the sockets here get it once in any weather.

mod echo;
mod keeper;
mod sender;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::aio::PubSubSink;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use self::{echo::Echoes, keeper::Keeper, sender::Job};
use super::{
    codec::ChannelRoute,
    debts::OwedItem,
    inbox::{Inbox, Taken},
    jobs::{self, Jobs},
    keeper::start,
    link::{HostLink, RESPONSE, means_gone},
    names::{check_group, group_channel, quoted},
    shard::shard,
};
use crate::{
    chat::Event,
    layer::{
        CONTROL, ChannelLayer, GOODBYE, LayerError, Received, Sent,
        control::{Control, Notice},
    },
    python::datetime::Timestamp,
    random::{self, NoRandomness},
    vital::Vital,
};

/// The layer; closing it ends its tasks.
pub struct PubSubLayer {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
    vital: Vital,
}

struct Inner {
    prefix: String,
    /// Our own channel: `asgispecific.<32 hex>`. It has no local part in this layer.
    own: String,
    hosts: Vec<Arc<PubSubHost>>,
    inbox: Inbox,
}

/// One Redis, and what is the business of the channels there.
struct PubSubHost {
    number: usize,
    link: HostLink,
    /// Held for moments only.
    state: Mutex<PubSubState>,
    /// To the task that publishes on this host.
    jobs: Jobs<Job>,
}

#[derive(Default)]
struct PubSubState {
    /// Redis channel of a group → the local names of our channels in it.
    groups: HashMap<String, Vec<String>>,
    /// Sink for subscriptions, while there is a connection.
    sink: Option<PubSubSink>,
    /// Events of ours that are on their way and may come back.
    echoes: Echoes,
}

impl PubSubHost {
    fn state(&self) -> MutexGuard<'_, PubSubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a channel of ours a member of the group with this Redis channel.
    async fn join(&self, name: String, local: &str) -> Result<(), LayerError> {
        let sink = {
            let mut state = self.state();
            let members = state.groups.entry(name.clone()).or_default();
            if !members.iter().any(|member| member == local) {
                members.push(local.to_owned());
            }
            // Subscribing again is harmless, and the caller may only go on when it is confirmed.
            state.sink.clone()
        };
        let Some(mut sink) = sink else {
            // The keeper subscribes when the host is back, and tells of the gap.
            return Ok(());
        };
        match confirmed(sink.subscribe(&name)).await {
            Err(LayerError::Unavailable(_)) => {
                self.link.fail();
                Ok(())
            }
            // An answer that is no better than none must not cost more.
            Err(error @ LayerError::Refused(_)) => {
                self.link.refuse(&error);
                Ok(())
            }
            joined => joined,
        }
    }
}

impl PubSubLayer {
    /// Starts the layer and waits a moment for its hosts. One that is away is no error: its
    /// subscriptions are made when it is there.
    ///
    /// # Errors
    /// Without randomness for the name of its channels.
    pub async fn start(
        prefix: String,
        links: Vec<HostLink>,
        inbox: Inbox,
    ) -> Result<Self, NoRandomness> {
        let own = format!("{prefix}specific.{}", random::name()?);
        let mut queues = Vec::new();
        let mut hosts = Vec::new();
        for (number, link) in links.into_iter().enumerate() {
            let (jobs, queue) = jobs::queue();
            queues.push(queue);
            let state = Mutex::default();
            hosts.push(Arc::new(PubSubHost {
                number,
                link,
                state,
                jobs,
            }));
        }
        let inner = Arc::new(Inner {
            prefix,
            own,
            hosts,
            inbox,
        });
        let vital = Vital::default();
        let keepers = inner.hosts.iter().map(|host| {
            let (inner, host) = (Arc::clone(&inner), Arc::clone(host));
            start(Keeper { inner, host }, &vital)
        });
        let mut tasks = join_all(keepers).await;
        for (host, queue) in inner.hosts.iter().zip(queues) {
            let (inner, host) = (Arc::clone(&inner), Arc::clone(host));
            tasks.push(vital.spawn("sender", sender::run(inner, host, queue)));
        }
        Ok(PubSubLayer {
            inner,
            tasks,
            vital,
        })
    }
}

impl Inner {
    /// Everything in this layer is where its Redis channel is.
    fn host_of(&self, channel: &str) -> Result<&PubSubHost, LayerError> {
        let host = self.hosts.get(shard(channel.as_bytes(), self.hosts.len()));
        host.map(Arc::as_ref).ok_or(LayerError::Closed)
    }

    /// Returns the local name of a channel of ours.
    fn local<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let local = channel.strip_prefix(&self.own)?;
        Some(local.strip_prefix('!').unwrap_or(local))
    }

    /// Returns the key of the note that the task which publishes leaves on a host.
    fn note(&self) -> String {
        let process = self.own.rsplit('.').next().unwrap_or_default();
        format!("{}:chatferry:{process}", self.prefix)
    }

    /// Hands an event to the task that publishes it. Nothing is waited for.
    fn begin(&self, channel: String, event: Event, to_group: bool) -> Result<Sent, LayerError> {
        let host = self.host_of(&channel)?;
        // A direct message is repeated by its sender alone.
        let keeps = to_group && !event.goes_stale();
        self.begin_at(host, channel, event, to_group, (keeps, None))
    }

    fn begin_at(
        &self,
        host: &PubSubHost,
        channel: String,
        event: Event,
        to_group: bool,
        (keeps, notice): (bool, Option<Notice>),
    ) -> Result<Sent, LayerError> {
        if self.inbox.is_closed() {
            return Err(LayerError::Closed);
        }
        let fields = self.inbox.codec.fields(&event)?;
        let bytes = self
            .inbox
            .codec
            .seal(&fields, ChannelRoute::Plain, self.inbox.now_s())?;
        let event = Arc::new(event);
        let echo = to_group.then(|| host.state().echoes.expect(&channel, &bytes, &event));
        let (done, outcome) = oneshot::channel();
        let item = OwedItem {
            group: channel,
            fields,
            score: 0.0,
            since: self.inbox.now(),
            keeps,
            notice,
        };
        let job = Job {
            item,
            bytes,
            echo,
            done,
        };
        host.jobs.add(job)?;
        Ok(Box::pin(async move {
            outcome.await.unwrap_or(Err(LayerError::Closed))
        }))
    }
}

/// Waits for the server's confirmation, but not for ever.
async fn confirmed(change: impl Future<Output = redis::RedisResult<()>>) -> Result<(), LayerError> {
    match tokio::time::timeout(RESPONSE, change).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if means_gone(&error) => Err(LayerError::Unavailable(error.to_string())),
        Ok(Err(error)) => Err(LayerError::Refused(error.to_string())),
        Err(_) => Err(LayerError::Unavailable("no answer".to_owned())),
    }
}

#[async_trait]
impl ChannelLayer for PubSubLayer {
    fn channel(&self, local: &str) -> String {
        format!("{}!{local}", self.inner.own)
    }

    async fn group_add(&self, group: &str, channel: &str) -> Result<(), LayerError> {
        check_group(group)?;
        let foreign = || LayerError::Name(channel.to_owned());
        let local = self.inner.local(channel).ok_or_else(foreign)?;
        let name = group_channel(&self.inner.prefix, group);
        let host = self.inner.host_of(&name)?;
        host.join(name, local).await
    }

    async fn group_discard(&self, group: &str, channel: &str) -> Result<(), LayerError> {
        let name = group_channel(&self.inner.prefix, group);
        let host = self.inner.host_of(&name)?;
        let Some(local) = self.inner.local(channel) else {
            return Ok(());
        };
        let sink = {
            let mut state = host.state();
            let was_last = state.leave(&name, local);
            state.sink.clone().filter(|_| was_last)
        };
        match sink {
            // A connection that is gone has no subscriptions.
            Some(mut sink) => match confirmed(sink.unsubscribe(&name)).await {
                Err(LayerError::Unavailable(_)) => {
                    host.link.fail();
                    Ok(())
                }
                left => left,
            },
            None => Ok(()),
        }
    }

    fn group_send(&self, group: &str, event: Event) -> Sent {
        let name = group_channel(&self.inner.prefix, group);
        let begun = check_group(group).and_then(|()| self.inner.begin(name, event, true));
        begun.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))))
    }

    async fn send(&self, channel: &str, event: Event) -> Result<(), LayerError> {
        self.inner.begin(channel.to_owned(), event, false)?.await
    }

    async fn join_control(&self) -> Result<(), LayerError> {
        for host in &self.inner.hosts {
            let name = group_channel(&self.inner.prefix, CONTROL);
            host.join(name, CONTROL).await?;
        }
        Ok(())
    }

    fn send_control(&self, control: &Control) -> Sent {
        let inner = &self.inner;
        let mut up = inner.hosts.iter().filter(|host| host.link.is_up());
        let host = up.next().or(inner.hosts.first());
        let name = group_channel(&inner.prefix, CONTROL);
        let begun = match host {
            Some(host) => {
                let owed = (!control.goes_stale(), None);
                inner.begin_at(host, name, control.event(), true, owed)
            }
            None => Err(LayerError::Closed),
        };
        begun.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))))
    }

    fn send_ahead(&self, group: &str, since: Timestamp, control: &Control) -> Sent {
        let inner = &self.inner;
        let control_name = group_channel(&inner.prefix, CONTROL);
        let name = group_channel(&inner.prefix, group);
        let event = control.event();
        let begun = inner.host_of(&name).and_then(|host| {
            let group = Some(name.clone());
            let notice = Some(Notice { group, since });
            inner.begin_at(host, control_name, event, true, (true, notice))
        });
        begun.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))))
    }

    fn may_miss(&self, group: &str) -> bool {
        let inner = &self.inner;
        let host = inner.host_of(&group_channel(&inner.prefix, group));
        inner.hosts.len() == 1 || host.is_ok_and(|host| inner.inbox.is_away(host.number))
    }

    async fn receive(&self) -> Option<Received> {
        self.inner.inbox.receive().await
    }

    fn has_more(&self) -> bool {
        self.inner.inbox.has_more()
    }

    async fn groups(&self, pattern: &str) -> Result<Vec<String>, LayerError> {
        let head = group_channel(&self.inner.prefix, "");
        let mut groups = Vec::new();
        for host in &self.inner.hosts {
            let mut channels = redis::cmd("PUBSUB");
            channels
                .arg("CHANNELS")
                .arg(format!("{}{pattern}", quoted(&head)));
            let names: Vec<Vec<u8>> = host.link.read(channels).await?;
            let names = names.into_iter().flat_map(String::from_utf8);
            groups.extend(names.filter_map(|name| Some(name.strip_prefix(&head)?.to_owned())));
        }
        Ok(groups)
    }

    async fn members(&self, group: &str) -> Result<u64, LayerError> {
        check_group(group)?;
        let name = group_channel(&self.inner.prefix, group);
        let mut count = redis::cmd("PUBSUB");
        count.arg("NUMSUB").arg(&name);
        let (_, members): (Vec<u8>, u64) = self.inner.host_of(&name)?.link.read(count).await?;
        Ok(members)
    }

    fn vital(&self) -> Vital {
        self.vital.clone()
    }

    async fn ping(&self) -> Result<(), LayerError> {
        if self.inner.inbox.is_closed() {
            return Err(LayerError::Closed);
        }
        for host in &self.inner.hosts {
            host.link.ping().await?;
        }
        Ok(())
    }

    async fn settled(&self) {
        join_all(self.inner.hosts.iter().map(|host| host.jobs.tried())).await;
        self.inner.inbox.settled().await;
    }

    async fn close(&self) {
        self.inner.inbox.close();
        for task in &self.tasks {
            task.abort();
        }
        let mut goodbye = redis::pipe();
        goodbye.cmd("DEL").arg(self.inner.note());
        let goodbyes = self.inner.hosts.iter().map(|host| host.link.run(&goodbye));
        let _ = timeout(GOODBYE, join_all(goodbyes)).await;
        // With the connections go the subscriptions: nothing stays behind in Redis.
        for host in &self.inner.hosts {
            host.link.take_down();
            host.state().sink = None;
        }
    }
}

impl PubSubState {
    /// Returns whether it was the last of its group.
    fn leave(&mut self, name: &str, local: &str) -> bool {
        let Some(members) = self.groups.get_mut(name) else {
            return false;
        };
        members.retain(|member| member != local);
        let is_empty = members.is_empty();
        if is_empty {
            self.groups.remove(name);
            self.echoes.leave(name);
        }
        is_empty
    }

    /// Hands an event of a channel to our own channels in its group. The lock of the state keeps
    /// what comes by the subscription and what is delivered from here in one order.
    fn put(
        &self,
        inbox: &Inbox,
        name: &str,
        event: &Arc<Event>,
        resent: Option<Timestamp>,
    ) -> Vec<Taken> {
        let locals = self.locals(name).into_iter();
        let put = |local| inbox.put(local, Arc::clone(event), None, resent);
        locals.map(put).collect()
    }

    /// Returns the local names of our channels in the group of this Redis channel.
    fn locals(&self, name: &str) -> Vec<String> {
        self.groups.get(name).cloned().unwrap_or_default()
    }
}
