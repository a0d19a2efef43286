//! Sends the events of one host's groups, in the order they came.
//!
//! There is no timer: what is sent next is whatever came while the last batch was under way. A
//! batch puts everything into the queues of the group's host in one write and one script, which
//! sees at the same time whether the groups have the members they had; only what that leaves,
//! groups that have changed and queues on other hosts, takes a second round. So a crowd costs
//! Redis little more than a lone event, and a lone event takes one round trip.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::{
    Core, Host,
    audience::{Audiences, Target},
};
use crate::{
    clock::since_1970,
    layer::{
        LayerError,
        redis::{
            codec::{Fields, Route},
            names::group_key,
            script::{Added, Entry, Group},
        },
    },
};

/// Most events sent together.
const BATCH: usize = 256;

/// An event on its way to one group.
pub(super) struct Job {
    pub group: String,
    pub fields: Fields,
    /// Taken when the event came, and never the same twice: the order in the queues.
    pub score: f64,
    pub done: oneshot::Sender<Result<(), LayerError>>,
}

/// The entries for one host, and for each the place of its job.
#[derive(Default)]
struct Additions<'a> {
    entries: Vec<Entry<'a>>,
    places: Vec<usize>,
}

/// Ends when the layer is closed.
pub(super) async fn run(core: Arc<Core>, host: Arc<Host>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut audiences = Audiences::default();
    let mut gathered = Vec::new();
    while jobs.recv_many(&mut gathered, BATCH).await > 0 {
        let batch = std::mem::take(&mut gathered);
        audiences.bound();
        let outcomes = core.send_batch(&host, &batch, &mut audiences).await;
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            // A caller that has gone away no longer cares.
            let _ = job.done.send(outcome);
        }
    }
}

impl Core {
    /// One outcome for each job.
    async fn send_batch(
        &self,
        host: &Host,
        batch: &[Job],
        audiences: &mut Audiences,
    ) -> Vec<Result<(), LayerError>> {
        let mut groups: Vec<&str> = batch.iter().map(|job| job.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        let added = match self.send_known(host, batch, &groups, audiences).await {
            Ok(added) => added,
            Err(error) => return vec![Err(error); batch.len()],
        };
        self.count(&added);
        let mut outcomes = vec![Ok(()); batch.len()];
        let mut changed = HashSet::new();
        for group in added.changed {
            let Some(name) = groups.get(group.group) else {
                continue;
            };
            changed.insert(*name);
            if let Err(error) = self.learn(host, audiences, name, group) {
                let jobs = batch.iter().zip(&mut outcomes);
                for (_, outcome) in jobs.filter(|(job, _)| job.group == *name) {
                    *outcome = Err(error.clone());
                }
            }
        }
        self.send_rest(host, batch, audiences, &changed, &mut outcomes)
            .await;
        outcomes
    }

    /// Puts what is for queues on the groups' own host there, if the groups are still as we know
    /// them.
    async fn send_known(
        &self,
        host: &Host,
        batch: &[Job],
        groups: &[&str],
        audiences: &Audiences,
    ) -> Result<Added, LayerError> {
        let asked: Vec<Group<'_>> = groups
            .iter()
            .map(|group| Group {
                key: group_key(&self.settings.prefix, group),
                digest: audiences.digest(group),
            })
            .collect();
        let mut additions = Additions::default();
        let now = since_1970().as_secs();
        for (place, job) in batch.iter().enumerate() {
            let group = groups.binary_search(&job.group.as_str()).ok();
            let targets = audiences.targets(&job.group).iter();
            for target in targets.filter(|target| target.host == host.number) {
                self.put(&mut additions, (place, job), target, group, now);
            }
        }
        let link = &host.link;
        link.add(&asked, &additions.entries, self.life()).await
    }

    /// Sends what is left: to groups that have `changed` and are known anew, and to other hosts.
    async fn send_rest(
        &self,
        host: &Host,
        batch: &[Job],
        audiences: &Audiences,
        changed: &HashSet<&str>,
        outcomes: &mut [Result<(), LayerError>],
    ) {
        let mut hosts: HashMap<usize, Additions<'_>> = HashMap::new();
        let now = since_1970().as_secs();
        for (place, job) in batch.iter().enumerate() {
            let has_changed = changed.contains(job.group.as_str());
            let targets = audiences.targets(&job.group).iter();
            for target in targets.filter(|target| has_changed || target.host != host.number) {
                let additions = hosts.entry(target.host).or_default();
                self.put(additions, (place, job), target, None, now);
            }
        }
        let adding = hosts.into_iter().map(|(at, additions)| async move {
            let added = match self.hosts.get(at) {
                Some(host) => host.link.add(&[], &additions.entries, self.life()).await,
                None => Err(LayerError::Closed),
            };
            (added, additions.places)
        });
        for (added, places) in join_all(adding).await {
            self.settle(added, &places, outcomes);
        }
    }

    /// Adds the entry of one job, which is the `place`th, for one queue.
    fn put<'a>(
        &self,
        additions: &mut Additions<'a>,
        (place, job): (usize, &Job),
        target: &'a Target,
        group: Option<usize>,
        now: u64,
    ) {
        let names: Vec<&str> = target.names.iter().map(String::as_str).collect();
        additions.entries.push(Entry {
            group,
            key: &target.key,
            score: job.score,
            capacity: target.capacity,
            bytes: self.inbox.codec.seal(&job.fields, Route::Each(&names), now),
        });
        additions.places.push(place);
    }

    /// What one host's answer means for the jobs. A full queue is none of the sender's failures.
    fn settle(
        &self,
        added: Result<Added, LayerError>,
        places: &[usize],
        outcomes: &mut [Result<(), LayerError>],
    ) {
        let error = match added {
            Ok(added) => return self.count(&added),
            Err(error) => error,
        };
        for place in places {
            if let Some(outcome) = outcomes.get_mut(*place) {
                *outcome = Err(error.clone());
            }
        }
    }
}
