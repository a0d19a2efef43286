//! Sends the events of one host's groups, in the order they came.
//!
//! There is no timer: what is sent next is whatever came while the last batch was under way. A
//! batch puts everything into the queues of the group's host in one write and one script, which
//! sees at the same time whether the groups have the members they had; only what that leaves,
//! groups that have changed and queues on other hosts, takes a second round. So a crowd costs
//! Redis little more than a lone event, and a lone event takes one round trip.
//!
//! An event that a host does not take is owed to it: see [`ledger`](crate::layer::redis::ledger),
//! and [`pay`](super::pay). There is a lane of debts for each host that queues are on, as one that
//! is away must not keep the members on others from hearing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    Core, CoreHost,
    audience::{Audiences, QueueTarget},
};
use crate::{
    layer::{
        LayerError,
        redis::{
            codec::ChannelRoute,
            debts::{Debts, OwedItem, Placed},
            jobs::JobQueue,
            names::group_key,
            script::{Added, Entry, Group, Once},
        },
    },
    random::NoRandomness,
};

/// Most events sent together.
pub(super) const BATCH: usize = 256;

/// Number of times that groups which changed meanwhile are read anew before their events wait.
const ROUNDS: usize = 4;

/// An event that a caller hands over.
pub(super) struct Job {
    pub item: OwedItem,
    pub done: oneshot::Sender<Outcome>,
}

pub(super) type Outcome = Result<(), LayerError>;

/// The sending task of one host.
pub(super) struct CoreSender {
    pub(super) core: Arc<Core>,
    pub(super) host: Arc<CoreHost>,
    pub(super) audiences: Audiences,
    pub(super) debts: Debts,
    /// Of the last call.
    number: u64,
    /// The last place in the order that was taken for a debt: what came before it was paid and is
    /// sent after it must not overtake it in the queues.
    floor: f64,
}

/// Ends when the layer is closed.
pub(super) async fn run(core: Arc<Core>, host: Arc<CoreHost>, mut jobs: JobQueue<Job>) {
    let mut sender = CoreSender {
        debts: Debts::new(&core.inbox, Arc::clone(&core.metrics)),
        core,
        host,
        audiences: Audiences::default(),
        number: 0,
        floor: 0.0,
    };
    let mut gathered = Vec::new();
    loop {
        tokio::select! {
            taken = jobs.take(&mut gathered, BATCH) => {
                if taken == 0 {
                    return;
                }
                sender.send(std::mem::take(&mut gathered)).await;
            }
            () = sender.debts.due() => sender.pay().await,
        }
    }
}

impl CoreSender {
    async fn send(&mut self, jobs: Vec<Job>) {
        self.audiences.bound();
        let (mut items, waiting): (Vec<OwedItem>, Vec<_>) =
            jobs.into_iter().map(|job| (job.item, job.done)).unzip();
        self.keep_order(&mut items);
        let mut outcomes = Outcomes(vec![Ok(()); items.len()]);
        let items = items.into_iter().enumerate().collect();
        let items = self.queue_behind(items, &mut outcomes);
        let sent = self.send_home(items, None, &mut outcomes).await;
        self.send_elsewhere(sent, &mut outcomes).await;
        for (done, outcome) in waiting.into_iter().zip(outcomes.0) {
            // A caller that has gone away no longer cares.
            let _ = done.send(outcome);
        }
    }

    fn keep_order(&mut self, items: &mut [OwedItem]) {
        if items.first().is_none_or(|first| first.score > self.floor) {
            return;
        }
        for item in items {
            item.score = self.core.scores.next();
            self.floor = item.score;
        }
    }

    /// The places that were taken for debts.
    pub(super) fn place(&mut self, debts: &[Placed]) {
        if let Some((_, last)) = debts.last() {
            self.floor = self.floor.max(last.score);
        }
    }

    /// Leaves those that may be sent now.
    fn queue_behind(&mut self, items: Vec<Placed>, outcomes: &mut Outcomes) -> Vec<Placed> {
        let home = self.host.number;
        if self.debts.are_none(home) {
            return items;
        }
        let mut free = Vec::with_capacity(items.len());
        for (place, item) in items {
            if let Some(error) = self.debts.block(home, &item.group) {
                outcomes.failed(place, &error);
                self.debts.owe(home, item);
            } else {
                free.push((place, item));
            }
        }
        free
    }

    /// Puts events into the queues on the groups' own host. Returns those that are through there;
    /// the others are owed. `number` is that of a call that is repeated with the same events.
    pub(super) async fn send_home(
        &mut self,
        items: Vec<Placed>,
        mut number: Option<u64>,
        outcomes: &mut Outcomes,
    ) -> Vec<Placed> {
        let home = self.host.number;
        let (mut open, mut through) = (items, Vec::new());
        for _ in 0..ROUNDS {
            if open.is_empty() {
                return through;
            }
            let is_repeated = number.is_some();
            let number = number.take().unwrap_or_else(|| self.next_number());
            let sent = {
                let groups = groups_of(&open);
                let sent = self.send_known(&open, &groups, number, is_repeated).await;
                sent.map(|added| self.learn_all(&groups, added))
            };
            let (again, refused) = match sent {
                Ok(changed) => changed,
                Err(error) => {
                    outcomes.all_failed(&open, &error);
                    self.debts.failed(home, number, open, &error);
                    return through;
                }
            };
            if again.is_empty() && refused.is_empty() {
                through.append(&mut open);
                return through;
            }
            let mut next = Vec::new();
            let mut owed: BTreeMap<String, Vec<Placed>> = BTreeMap::new();
            for (place, item) in open {
                if let Some(error) = refused.get(&item.group) {
                    outcomes.failed(place, error);
                    let group = item.group.clone();
                    owed.entry(group).or_default().push((place, item));
                } else if again.contains(&item.group) {
                    // Events that go stale are sent in the first attempt only.
                    if item.keeps || !is_repeated {
                        next.push((place, item));
                    }
                } else {
                    through.push((place, item));
                }
            }
            for (group, items) in owed {
                if let Some(error) = refused.get(&group) {
                    self.debts.refused(home, items, error);
                }
            }
            open = next;
        }
        let error = LayerError::Unavailable("the group changes all the time".into());
        outcomes.all_failed(&open, &error);
        self.debts.refused(home, open, &error);
        through
    }

    /// Takes over what Redis says of groups that have changed. Returns those to whose queues here
    /// their events still have to be sent, and those that cannot be read.
    fn learn_all(
        &mut self,
        groups: &[&str],
        added: Added,
    ) -> (HashSet<String>, HashMap<String, LayerError>) {
        self.note(&added);
        let (mut again, mut refused) = (HashSet::new(), HashMap::new());
        // It was executed, but its answer did not come: these groups are asked for anew.
        for place in added.before.into_iter().flatten() {
            again.extend(groups.get(place).map(|group| (*group).to_owned()));
        }
        for changed in added.changed {
            let Some(group) = groups.get(changed.group) else {
                continue;
            };
            let learned = self
                .core
                .learn(&self.host, &mut self.audiences, group, changed);
            match learned {
                Ok(()) => {
                    let mut targets = self.audiences.targets(group).iter();
                    if targets.any(|target| target.host == self.host.number) {
                        again.insert((*group).to_owned());
                    }
                }
                Err(error) => {
                    refused.insert((*group).to_owned(), error);
                }
            }
        }
        (again, refused)
    }

    /// Puts what is for queues on the groups' own host there, if the groups are still as we know
    /// them.
    async fn send_known(
        &self,
        items: &[Placed],
        groups: &[&str],
        number: u64,
        is_repeated: bool,
    ) -> Result<Added, LayerError> {
        let asked = self.known(groups);
        let mut entries = Vec::new();
        let now = self.core.inbox.now_s();
        for (_, item) in items {
            if is_repeated && !item.keeps {
                continue;
            }
            let group = groups.binary_search(&item.group.as_str()).ok();
            let targets = self.audiences.targets(&item.group).iter();
            for target in targets.filter(|target| target.host == self.host.number) {
                self.core.put(&mut entries, item, target, group, now)?;
            }
        }
        let once = self.core.once(self.host.number, number);
        let link = &self.host.link;
        link.add(&asked, &entries, self.core.life(), Some(&once))
            .await
    }

    /// Puts events into the queues that are on other hosts than their groups.
    pub(super) async fn send_elsewhere(&mut self, items: Vec<Placed>, outcomes: &mut Outcomes) {
        if self.core.hosts.len() < 2 {
            return;
        }
        let mut hosts: BTreeMap<usize, HashSet<usize>> = BTreeMap::new();
        let mut behind: Vec<(usize, usize)> = Vec::new();
        for (place, item) in &items {
            for target in self.audiences.targets(&item.group) {
                let there = (target.host, *place);
                if target.host == self.host.number || behind.last() == Some(&there) {
                    continue;
                }
                if self.debts.block(target.host, &item.group).is_some() {
                    behind.retain(|known| *known != there);
                    behind.push(there);
                } else {
                    hosts.entry(target.host).or_default().insert(*place);
                }
            }
        }
        let numbers: Vec<_> = hosts.iter().map(|_| self.next_number()).collect();
        let sending = hosts.iter().zip(&numbers).map(|((at, places), number)| {
            let chosen = items.iter().filter(|(place, _)| places.contains(place));
            self.add_at(*at, *number, chosen, false)
        });
        let sent = join_all(sending).await;
        for (((at, places), number), added) in hosts.into_iter().zip(numbers).zip(sent) {
            if let Err(error) = added {
                let failed: Vec<Placed> = items
                    .iter()
                    .filter(|(place, _)| places.contains(place))
                    .map(copy)
                    .collect();
                outcomes.all_failed(&failed, &error);
                self.debts.failed(at, number, failed, &error);
            }
        }
        for (at, place) in behind {
            for (_, item) in items.iter().filter(|(it, _)| *it == place).map(copy) {
                if let Some(error) = self.debts.block(at, &item.group) {
                    outcomes.failed(place, &error);
                }
                self.debts.owe(at, item);
            }
        }
    }

    /// Puts events into the queues of their groups that are on one host, whatever the groups are by
    /// now.
    pub(super) async fn add_at<'a>(
        &'a self,
        at: usize,
        number: u64,
        items: impl Iterator<Item = &'a Placed>,
        is_repeated: bool,
    ) -> Result<(), LayerError> {
        let mut entries = Vec::new();
        let now = self.core.inbox.now_s();
        for (_, item) in items.filter(|(_, item)| item.keeps || !is_repeated) {
            let targets = self.audiences.targets(&item.group).iter();
            for target in targets.filter(|target| target.host == at) {
                self.core.put(&mut entries, item, target, None, now)?;
            }
        }
        let host = self.core.hosts.get(at).ok_or(LayerError::Closed)?;
        let once = self.core.once(self.host.number, number);
        let life = self.core.life();
        let added = host.link.add(&[], &entries, life, Some(&once));
        self.core.count(&added.await?);
        Ok(())
    }

    fn note(&mut self, added: &Added) {
        self.core.count(added);
        if !added.full.is_empty() {
            self.debts.full();
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Returns the groups as this process knows them.
    fn known(&self, groups: &[&str]) -> Vec<Group<'_>> {
        let known = groups.iter().map(|group| Group {
            key: group_key(&self.core.settings.prefix, group),
            digest: self.audiences.digest(group),
        });
        known.collect()
    }

    /// Learns who is in the groups of these events now.
    pub(super) async fn learn_anew(&mut self, items: &[Placed]) -> Result<(), LayerError> {
        let groups = groups_of(items);
        let asked = self.known(&groups);
        let life = self.core.life();
        let added = self.host.link.add(&asked, &[], life, None).await?;
        self.learn_all(&groups, added);
        Ok(())
    }
}

fn copy((place, item): &Placed) -> Placed {
    let item = OwedItem {
        group: item.group.clone(),
        fields: item.fields.clone(),
        score: item.score,
        since: item.since,
        keeps: item.keeps,
        notice: item.notice.clone(),
    };
    (*place, item)
}

/// Returns the groups of these events, in order.
fn groups_of(items: &[Placed]) -> Vec<&str> {
    let mut groups: Vec<&str> = items.iter().map(|(_, item)| &*item.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Answers to callers, by the places of their events. Repeated events have no caller.
#[derive(Default)]
pub(super) struct Outcomes(pub Vec<Outcome>);

impl Outcomes {
    fn failed(&mut self, place: usize, error: &LayerError) {
        if let Some(outcome) = self.0.get_mut(place) {
            *outcome = Err(error.clone());
        }
    }

    fn all_failed(&mut self, items: &[Placed], error: &LayerError) {
        for (place, _) in items {
            self.failed(*place, error);
        }
    }
}

impl Core {
    /// Adds the entry of one item for one queue.
    fn put<'a>(
        &self,
        entries: &mut Vec<Entry<'a>>,
        item: &OwedItem,
        target: &'a QueueTarget,
        group: Option<usize>,
        now: u64,
    ) -> Result<(), NoRandomness> {
        let names: Vec<&str> = target.names.iter().map(String::as_str).collect();
        entries.push(Entry {
            group,
            key: &target.key,
            score: item.score,
            capacity: target.capacity,
            bytes: self
                .inbox
                .codec
                .seal(&item.fields, ChannelRoute::Each(&names), now)?,
        });
        Ok(())
    }

    /// Makes a call of the task that sends to the groups of host `from`.
    fn once(&self, from: usize, number: u64) -> Once {
        let note = self.note(from);
        Once { note, number }
    }
}
