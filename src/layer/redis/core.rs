//! The layer that keeps messages in Redis until they are read: stands in for
//! `channels_redis.core.RedisChannelLayer`.
//!
//! On the wire a peer of the original sees an ordinary process. What is ours is what it cannot
//! see, or what only helps it:
//!
//! - An event reaches the sockets of its own process in memory, before anything is written: once
//!   and in any weather. Through Redis it goes to all the others.
//! - The queue is read on every host, without the backup queue that loses and repeats messages.
//! - Sweep, count, add and renew are one script for all queues on a host.
//! - Memberships are renewed, looked after, restored on a host that came back, and ended at the
//!   end. [`Received::Gap`] tells when events may have been missed.
//! - What could not be sent is owed and sent again, once.
//! - Events of one group go out in the order of the calls, all that has gathered in one write; and
//!   in one round trip where the group has the members it had last time.
//!
//! `keeper` restores what we are members of; `reader` empties our queue; `sender` fills
//! those of others, which `audience` knows, and `pay` does so later where that was not possible.

mod audience;
mod keeper;
mod pay;
mod reader;
mod sender;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use self::{keeper::Keeper, sender::Job};
use super::{
    clock::Scores,
    codec::ChannelRoute,
    debts::OwedItem,
    inbox::Inbox,
    jobs::{self, Jobs},
    keeper::start,
    link::HostLink,
    members::GroupMembers,
    names::{check_channel, check_group, group_key, local_of, queue_key, queue_of, quoted},
    script::{Added, Entry, Life},
    shard::shard,
};
use crate::{
    chat::Event,
    config::capacity::Capacities,
    layer::{
        CONTROL, ChannelLayer, Departure, GOODBYE, LayerError, Received, Sent,
        control::{Control, Notice},
    },
    metrics::Metrics,
    python::datetime::Timestamp,
    random::{self, NoRandomness},
    vital::Vital,
};

/// Settings of the layer that are not in its parts.
pub struct Settings {
    pub prefix: String,
    /// Seconds an entry may wait in a queue.
    pub expiry: u64,
    /// Seconds a membership lasts.
    pub group_expiry: u64,
    pub capacities: Capacities,
}

/// The layer; closing it ends its tasks.
pub struct CoreLayer {
    core: Arc<Core>,
    tasks: Vec<JoinHandle<()>>,
    vital: Vital,
}

struct Core {
    settings: Settings,
    /// The non-local name of our channels: `specific.<32 hex>!`.
    queue: String,
    hosts: Vec<Arc<CoreHost>>,
    inbox: Inbox,
    scores: Scores,
    metrics: Arc<Metrics>,
}

/// One Redis, and what is the business of its groups.
struct CoreHost {
    number: usize,
    link: HostLink,
    /// Held for moments only.
    members: Mutex<GroupMembers>,
    /// Notified when a membership was found missing.
    missing: Notify,
    /// To the task that sends to this host's groups.
    jobs: Jobs<Job>,
}

impl CoreHost {
    fn members(&self) -> MutexGuard<'_, GroupMembers> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CoreLayer {
    /// Starts the layer and waits a moment for its hosts. One that is away is no error: its
    /// memberships are made when it is there.
    ///
    /// # Errors
    /// Without randomness for the name of its queue.
    pub async fn start(
        settings: Settings,
        links: Vec<HostLink>,
        inbox: Inbox,
        metrics: Arc<Metrics>,
    ) -> Result<Self, NoRandomness> {
        let queue = format!("specific.{}!", random::name()?);
        let mut queues = Vec::new();
        let mut hosts = Vec::new();
        for (number, link) in links.into_iter().enumerate() {
            let (jobs, queue) = jobs::queue();
            queues.push(queue);
            let (members, missing) = (Mutex::default(), Notify::new());
            hosts.push(Arc::new(CoreHost {
                number,
                link,
                members,
                missing,
                jobs,
            }));
        }
        let scores = Scores::new(Arc::clone(&inbox.clock), settings.expiry);
        let core = Arc::new(Core {
            settings,
            queue,
            hosts,
            inbox,
            scores,
            metrics,
        });
        let vital = Vital::default();
        let keepers = core.hosts.iter().map(|host| {
            let (core, host) = (Arc::clone(&core), Arc::clone(host));
            start(Keeper { core, host }, &vital)
        });
        let mut tasks = join_all(keepers).await;
        for (host, queue) in core.hosts.iter().zip(queues) {
            let (core, host) = (Arc::clone(&core), Arc::clone(host));
            tasks.push(vital.spawn("sender", sender::run(core, host, queue)));
        }
        Ok(CoreLayer { core, tasks, vital })
    }
}

impl Core {
    fn host_of(&self, name: &str) -> Result<&CoreHost, LayerError> {
        let host = self.hosts.get(shard(name.as_bytes(), self.hosts.len()));
        host.map(Arc::as_ref).ok_or(LayerError::Closed)
    }

    fn life(&self) -> Life {
        Life {
            now: Duration::try_from_secs_f64(self.scores.earliest())
                .unwrap_or_default()
                .as_secs(),
            expiry: self.settings.expiry,
            group_expiry: self.settings.group_expiry,
        }
    }

    /// Hands an event to our own channels in the group, and to the task that sends it to all
    /// others. Nothing is waited for.
    fn begin(&self, group: &str, event: Event) -> Result<Sent, LayerError> {
        check_group(group)?;
        let host = self.host_of(group)?;
        let locals = host.members().locals(group);
        let keeps = !event.goes_stale();
        self.begin_at(host, group, locals, event, (keeps, None))
    }

    fn begin_at(
        &self,
        host: &CoreHost,
        group: &str,
        locals: Vec<String>,
        event: Event,
        (keeps, notice): (bool, Option<Notice>),
    ) -> Result<Sent, LayerError> {
        if self.inbox.is_closed() {
            return Err(LayerError::Closed);
        }
        let fields = self.inbox.codec.fields(&event)?;
        let event = Arc::new(event);
        let sent = Some(Departure::now());
        let taken: Vec<_> = locals
            .into_iter()
            .map(|local| self.inbox.put(local, Arc::clone(&event), sent, None))
            .collect();
        let (done, outcome) = oneshot::channel();
        let score = self.scores.next();
        let item = OwedItem {
            group: group.to_owned(),
            fields,
            score,
            since: self.inbox.now(),
            keeps,
            notice,
        };
        let job = Job { item, done };
        host.jobs.add(job)?;
        Ok(Box::pin(async move {
            let outcome = outcome.await.unwrap_or(Err(LayerError::Closed));
            for taken in taken {
                let _ = taken.await;
            }
            outcome
        }))
    }

    /// Returns the key of the note that the task which sends to the groups of host `from` leaves on
    /// each host.
    fn note(&self, from: usize) -> String {
        let process = self.queue.trim_start_matches("specific.");
        let process = process.trim_end_matches('!');
        format!("{}:chatferry:{process}:{from}", self.settings.prefix)
    }

    fn count(&self, added: &Added) {
        self.metrics.layer_expired(added.swept);
        for _ in &added.full {
            self.metrics.layer_dropped();
        }
    }
}

#[async_trait]
impl ChannelLayer for CoreLayer {
    fn channel(&self, local: &str) -> String {
        format!("{}{local}", self.core.queue)
    }

    async fn group_add(&self, group: &str, channel: &str) -> Result<(), LayerError> {
        check_group(group)?;
        check_channel(channel)?;
        let core = &self.core;
        let host = core.host_of(group)?;
        let local = local_of(channel, &core.queue);
        if let Some(local) = local {
            host.members().add(group, local);
        }
        match core
            .join(host, &[(group.to_owned(), channel.to_owned())])
            .await
        {
            Ok(()) => {
                if let Some(local) = local {
                    host.members().told(group, local);
                }
                Ok(())
            }
            // The keeper makes up for it when the host is back, and tells of the gap.
            Err(LayerError::Unavailable(_)) if local.is_some() => Ok(()),
            // The same: an answer that is no better than none must not cost more.
            Err(error @ LayerError::Refused(_)) if local.is_some() => {
                host.link.refuse(&error);
                Ok(())
            }
            Err(error) => {
                if let Some(local) = local {
                    host.members().remove(group, local);
                }
                Err(error)
            }
        }
    }

    async fn group_discard(&self, group: &str, channel: &str) -> Result<(), LayerError> {
        let core = &self.core;
        let host = core.host_of(group)?;
        let local = local_of(channel, &core.queue);
        if let Some(local) = local {
            host.members().remove(group, local);
        }
        let left = core
            .leave(host, &[(group.to_owned(), channel.to_owned())])
            .await;
        match (left, local) {
            (Err(LayerError::Unavailable(_)), Some(local)) => {
                host.members().owe_goodbye(group, local);
                Ok(())
            }
            (left, _) => left,
        }
    }

    fn group_send(&self, group: &str, event: Event) -> Sent {
        match self.core.begin(group, event) {
            Ok(sent) => sent,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    async fn send(&self, channel: &str, event: Event) -> Result<(), LayerError> {
        check_channel(channel)?;
        let core = &self.core;
        let fields = core.inbox.codec.fields(&event)?;
        let queue = queue_of(channel);
        let route = if queue.ends_with('!') {
            ChannelRoute::One(channel)
        } else {
            ChannelRoute::Plain
        };
        let entry = Entry {
            group: None,
            key: &queue_key(&core.settings.prefix, queue),
            score: core.scores.next(),
            capacity: core.settings.capacities.of(channel),
            bytes: core.inbox.codec.seal(&fields, route, core.inbox.now_s())?,
        };
        // The host where Python reads, which is not where Python would send.
        let host = core.host_of(queue)?;
        let added = host.link.add(&[], &[entry], core.life(), None).await?;
        core.count(&added);
        if added.full.is_empty() {
            Ok(())
        } else {
            Err(LayerError::Full(channel.to_owned()))
        }
    }

    async fn join_control(&self) -> Result<(), LayerError> {
        let core = &self.core;
        let channel = self.channel(CONTROL);
        for host in &core.hosts {
            host.members().add(CONTROL, CONTROL);
            match core
                .join(host, &[(CONTROL.to_owned(), channel.clone())])
                .await
            {
                Ok(()) => host.members().told(CONTROL, CONTROL),
                // The keeper makes up for it.
                Err(LayerError::Unavailable(_)) => {}
                Err(error @ LayerError::Refused(_)) => host.link.refuse(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send_control(&self, control: &Control) -> Sent {
        let core = &self.core;
        let mut up = core.hosts.iter().filter(|host| host.link.is_up());
        let host = up.next().or(core.hosts.first());
        let begun = match host {
            Some(host) => {
                let owed = (!control.goes_stale(), None);
                let locals = host.members().locals(CONTROL);
                core.begin_at(host, CONTROL, locals, control.event(), owed)
            }
            None => Err(LayerError::Closed),
        };
        begun.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))))
    }

    fn send_ahead(&self, group: &str, since: Timestamp, control: &Control) -> Sent {
        let core = &self.core;
        let (event, group) = (control.event(), group.to_owned());
        let begun = core.host_of(&group).and_then(|host| {
            let group = Some(group.clone());
            let notice = Some(Notice { group, since });
            core.begin_at(host, CONTROL, Vec::new(), event, (true, notice))
        });
        begun.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))))
    }

    fn may_miss(&self, group: &str) -> bool {
        let core = &self.core;
        // Events of others come by our queue, on the host that Python would take for it.
        let hosts = [core.host_of(group), core.host_of(queue_of(&core.queue))];
        let mut hosts = hosts.into_iter().flatten();
        core.hosts.len() == 1 || hosts.any(|host| core.inbox.is_away(host.number))
    }

    async fn receive(&self) -> Option<Received> {
        self.core.inbox.receive().await
    }

    fn has_more(&self) -> bool {
        self.core.inbox.has_more()
    }

    async fn groups(&self, pattern: &str) -> Result<Vec<String>, LayerError> {
        let head = group_key(&self.core.settings.prefix, "");
        let mut groups = Vec::new();
        for host in &self.core.hosts {
            let keys = host
                .link
                .keys(&format!("{}{pattern}", quoted(&head)))
                .await?;
            groups.extend(
                keys.iter()
                    .filter_map(|key| key.strip_prefix(&head))
                    .map(str::to_owned),
            );
        }
        Ok(groups)
    }

    async fn members(&self, group: &str) -> Result<u64, LayerError> {
        check_group(group)?;
        let settings = &self.core.settings;
        // Older memberships count for nothing.
        let now = self.core.inbox.clock.micros().unsigned_abs() / 1_000_000;
        let least = now.saturating_sub(settings.group_expiry);
        let mut count = redis::cmd("ZCOUNT");
        count
            .arg(group_key(&settings.prefix, group))
            .arg(least)
            .arg("+inf");
        self.core.host_of(group)?.link.read(count).await
    }

    fn vital(&self) -> Vital {
        self.vital.clone()
    }

    async fn ping(&self) -> Result<(), LayerError> {
        if self.core.inbox.is_closed() {
            return Err(LayerError::Closed);
        }
        for host in &self.core.hosts {
            host.link.ping().await?;
        }
        Ok(())
    }

    async fn settled(&self) {
        join_all(self.core.hosts.iter().map(|host| host.jobs.tried())).await;
        self.core.inbox.settled().await;
    }

    async fn close(&self) {
        if self.core.inbox.is_closed() {
            return;
        }
        self.core.inbox.close();
        for task in &self.tasks {
            task.abort();
        }
        let goodbyes = self
            .core
            .hosts
            .iter()
            .map(|host| self.core.say_goodbye(host));
        let _ = tokio::time::timeout(GOODBYE, join_all(goodbyes)).await;
    }
}
