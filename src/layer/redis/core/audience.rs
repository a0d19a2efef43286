//! The recipients of a group's events: the queues of the other processes in it.
//!
//! Redis' answer about a group is kept with its digest, so that the next events are sent with the
//! question whether it is still so instead of after it.

use std::collections::HashMap;

use redis::Value;

use super::{Core, CoreHost, local_of, queue_key, queue_of};
use crate::layer::{
    LayerError,
    redis::{script::Changed, shard::shard},
};

/// Most groups whose members are kept: some 400 bytes each where few processes are in a group.
const KEPT: usize = 10_000;

/// Longer names of members are passed over, in bytes: no channel has one, and each event would have
/// to carry it.
const NAME: usize = 1024;

/// The groups of one host that were sent to, as they were then.
#[derive(Default)]
pub(super) struct Audiences {
    groups: HashMap<String, Audience>,
}

/// Other members of a group.
struct Audience {
    digest: String,
    targets: Vec<QueueTarget>,
}

/// A queue with members of a group.
pub(super) struct QueueTarget {
    /// The place of its host.
    pub host: usize,
    pub key: String,
    pub names: Vec<String>,
    pub capacity: usize,
}

impl Audiences {
    /// Makes room between two batches. Groups that are still in use are back after one more
    /// question each.
    pub fn bound(&mut self) {
        if self.groups.len() >= KEPT {
            self.groups.clear();
        }
    }

    /// Of the members that are known; empty if none are.
    pub fn digest(&self, group: &str) -> &str {
        let audience = self.groups.get(group);
        audience.map_or("", |audience| &audience.digest)
    }

    pub fn targets(&self, group: &str) -> &[QueueTarget] {
        let audience = self.groups.get(group);
        audience.map_or(&[], |audience| &audience.targets)
    }
}

impl Core {
    /// Takes over what Redis says of a group.
    pub(super) fn learn(
        &self,
        host: &CoreHost,
        audiences: &mut Audiences,
        group: &str,
        changed: Changed,
    ) -> Result<(), LayerError> {
        audiences.groups.remove(group);
        let targets = self.queues(self.others(host, group, changed.members?));
        let digest = changed.digest;
        let audience = Audience { digest, targets };
        audiences.groups.insert(group.to_owned(), audience);
        Ok(())
    }

    /// Returns the members in other processes. If ours is not among them, Redis has forgotten us.
    fn others(&self, host: &CoreHost, group: &str, members: Vec<Value>) -> Vec<String> {
        let mut ours = false;
        let mut others = Vec::with_capacity(members.len());
        for member in members {
            let Value::BulkString(name) = member else {
                continue;
            };
            match String::from_utf8(name) {
                Ok(name) if name.len() > NAME => self.inbox.unroutable(),
                Ok(name) if local_of(&name, &self.queue).is_some() => ours = true,
                Ok(name) => others.push(name),
                // Python fails at such a name, and no member of the group gets anything.
                Err(_) => self.inbox.unroutable(),
            }
        }
        if !ours && host.members().is_told(group) {
            host.missing.notify_one();
        }
        others
    }

    /// Returns the queues of these channels, in the order of their first names.
    pub(super) fn queues(&self, names: Vec<String>) -> Vec<QueueTarget> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut targets: Vec<QueueTarget> = Vec::new();
        for name in names {
            let queue = queue_of(&name);
            let place = *places.entry(queue.to_owned()).or_insert_with(|| {
                targets.push(QueueTarget {
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
