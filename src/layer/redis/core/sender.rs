//! Sends the events of one host's groups, in the order they came.
//!
//! There is no timer: what is sent next is whatever came while the last batch was under way. A
//! batch asks for the members of all its groups in one write, and then puts everything into the
//! queues of a host in one write and one script, so that a crowd costs Redis little more than a
//! lone event.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Core, Host, local_of, queue_key, queue_of};
use crate::layer::{
    LayerError,
    redis::{
        clock,
        codec::{Fields, Route},
        link::accepted,
        names::group_key,
        script::{Added, Entry},
        shard::shard,
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

/// A queue with members of a group.
struct Target {
    host: usize,
    key: String,
    names: Vec<String>,
    capacity: usize,
}

/// What a batch adds on one host: its entries, and for each the place of its job.
type Additions<'a> = HashMap<usize, (Vec<Entry<'a>>, Vec<usize>)>;

/// Ends when the layer is closed.
pub(super) async fn run(core: Arc<Core>, host: Arc<Host>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut gathered = Vec::new();
    while jobs.recv_many(&mut gathered, BATCH).await > 0 {
        let batch = std::mem::take(&mut gathered);
        let outcomes = core.send_batch(&host, &batch).await;
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            // A caller that has gone away no longer cares.
            let _ = job.done.send(outcome);
        }
    }
}

impl Core {
    /// One outcome for each job.
    async fn send_batch(&self, host: &Host, batch: &[Job]) -> Vec<Result<(), LayerError>> {
        let targets = match self.targets(host, batch).await {
            Ok(targets) => targets,
            Err(error) => return vec![Err(error); batch.len()],
        };
        let now = clock::seconds();
        let mut outcomes = vec![Ok(()); batch.len()];
        let mut additions: Additions<'_> = HashMap::new();
        for (place, (job, outcome)) in batch.iter().zip(&mut outcomes).enumerate() {
            match targets.get(job.group.as_str()) {
                Some(Ok(targets)) => self.put(&mut additions, place, job, targets, now),
                Some(Err(error)) => *outcome = Err(error.clone()),
                None => {}
            }
        }
        let life = self.life();
        let adding = additions
            .into_iter()
            .map(|(at, (entries, places))| async move {
                let added = match self.hosts.get(at) {
                    Some(host) => host.link.add(&entries, life).await,
                    None => Err(LayerError::Closed),
                };
                (added, places)
            });
        for (added, places) in join_all(adding).await {
            self.settle(added, &places, &mut outcomes);
        }
        outcomes
    }

    /// Adds the entries of one job.
    fn put<'a>(
        &self,
        additions: &mut Additions<'a>,
        place: usize,
        job: &Job,
        targets: &'a [Target],
        now: u64,
    ) {
        for target in targets {
            let names: Vec<&str> = target.names.iter().map(String::as_str).collect();
            let entry = Entry {
                key: &target.key,
                score: job.score,
                capacity: target.capacity,
                bytes: self.inbox.codec.seal(&job.fields, Route::Each(&names), now),
            };
            let (entries, places) = additions.entry(target.host).or_default();
            entries.push(entry);
            places.push(place);
        }
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

    /// The queues of other processes with members of the batch's groups.
    async fn targets<'a>(
        &self,
        host: &Host,
        batch: &'a [Job],
    ) -> Result<HashMap<&'a str, Result<Vec<Target>, LayerError>>, LayerError> {
        let mut groups: Vec<&str> = batch.iter().map(|job| job.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        let oldest = clock::seconds().saturating_sub(self.settings.group_expiry);
        let mut commands = redis::pipe();
        for group in &groups {
            let key = group_key(&self.settings.prefix, group);
            commands
                .cmd("ZREMRANGEBYSCORE")
                .arg(&key)
                .arg(0)
                .arg(oldest);
            commands.cmd("ZRANGE").arg(&key).arg(0).arg(-1);
        }
        let answers = host.link.ask(&commands).await?;
        let members = answers.into_iter().skip(1).step_by(2);
        let targets = groups.into_iter().zip(members).map(|(group, members)| {
            let others = accepted(members).map(|members| self.others(host, group, members));
            (group, others.map(|names| self.queues(names)))
        });
        Ok(targets.collect())
    }

    /// The members in other processes. If ours is not among them, Redis has forgotten us.
    fn others(&self, host: &Host, group: &str, members: Value) -> Vec<String> {
        let Value::Array(members) = members else {
            return Vec::new();
        };
        let mut ours = false;
        let mut others = Vec::with_capacity(members.len());
        for member in members {
            let Value::BulkString(name) = member else {
                continue;
            };
            match String::from_utf8(name) {
                Ok(name) if local_of(&name, &self.queue).is_some() => ours = true,
                Ok(name) => others.push(name),
                // Python fails at such a name, and nobody in the group hears anything.
                Err(_) => self.inbox.unroutable(),
            }
        }
        if !ours && host.members().is_told(group) {
            host.missing.notify_one();
        }
        others
    }

    /// The queues of these channels, in the order of their first names.
    fn queues(&self, names: Vec<String>) -> Vec<Target> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut targets: Vec<Target> = Vec::new();
        for name in names {
            let queue = queue_of(&name);
            let place = *places.entry(queue.to_owned()).or_insert_with(|| {
                targets.push(Target {
                    host: shard(queue.as_bytes(), self.hosts.len()),
                    key: queue_key(&self.settings.prefix, queue),
                    names: Vec::new(),
                    // As in the original, the first name decides for the whole queue.
                    capacity: self.settings.capacities.of(&name),
                });
                targets.len() - 1
            });
            if let Some(target) = targets.get_mut(place) {
                target.names.push(name);
            }
        }
        targets
    }
}
