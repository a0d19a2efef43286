//! The groups of hosted channels.
//!
//! The channel layer knows one channel for each group that has a member here, however many there
//! are. The first member joins it, the last one leaves it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::layer::{ChannelLayer, LayerError};

/// Groups that may be joined or left at the same time.
const TURNS: usize = 64;

/// A channel of this process, by its local name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// `s<number>`: a socket whose consumer is parked.
    Socket(u64),
    /// `w<worker>.<number>`: one that the code of a worker has asked for.
    Worker { worker: u64, number: u64 },
}

/// The meaning of a local name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    Channel(Channel),
    /// `g<number>`: all channels of a group.
    Group(u64),
}

impl Local {
    /// Reads a local name; `None` for one that was never given out.
    #[must_use]
    pub fn parse(local: &str) -> Option<Self> {
        let number = |digits: &str| {
            // One name for each number.
            let number: u64 = digits.parse().ok()?;
            (number.to_string() == digits).then_some(number)
        };
        let (kind, rest) = local.split_at_checked(1)?;
        match kind {
            "s" => Some(Local::Channel(Channel::Socket(number(rest)?))),
            "g" => Some(Local::Group(number(rest)?)),
            "w" => {
                let (worker, channel) = rest.split_once('.')?;
                Some(Local::Channel(Channel::Worker {
                    worker: number(worker)?,
                    number: number(channel)?,
                }))
            }
            _ => None,
        }
    }
}

/// The groups of one server.
#[derive(Default)]
pub struct Groups {
    tables: Mutex<Tables>,
    /// Held while a group is joined or left in the layer, by the hash of its name.
    turns: Turns,
}

struct Turns {
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Tables {
    groups: HashMap<Arc<str>, Group>,
    names: HashMap<u64, Arc<str>>,
    memberships: HashMap<Channel, HashSet<Arc<str>>>,
    /// Memberships of all channels.
    count: usize,
    last: u64,
}

struct Group {
    number: u64,
    members: BTreeSet<Channel>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns {
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Turns {
    async fn of(&self, group: &str) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let hash = usize::try_from(self.hasher.hash_one(group) % TURNS as u64).unwrap_or_default();
        Some(self.turns.get(hash)?.lock().await)
    }
}

impl Groups {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a channel a member, if there are less than `most` memberships; the first one joins the
    /// layer's group.
    ///
    /// # Errors
    /// [`LayerError::Full`], and errors of the layer; the channel is then no member.
    pub async fn add(
        &self,
        layer: &dyn ChannelLayer,
        group: &str,
        channel: Channel,
        most: usize,
    ) -> Result<(), LayerError> {
        let _turn = self.turns.of(group).await;
        let first = {
            let mut tables = self.tables();
            if tables.count >= most {
                return Err(LayerError::Full(group.to_owned()));
            }
            tables.add(group, channel)
        };
        let Some(number) = first else { return Ok(()) };
        let joined = layer.group_add(group, &own(layer, number)).await;
        if joined.is_err() {
            self.tables().remove(group, channel);
        }
        joined
    }

    /// Ends a membership; the last one leaves the layer's group.
    ///
    /// # Errors
    /// Errors of the layer; the channel is no member in any case.
    pub async fn discard(
        &self,
        layer: &dyn ChannelLayer,
        group: &str,
        channel: Channel,
    ) -> Result<(), LayerError> {
        let _turn = self.turns.of(group).await;
        let last = self.tables().remove(group, channel);
        match last {
            Some(number) => layer.group_discard(group, &own(layer, number)).await,
            None => Ok(()),
        }
    }

    /// Ends all memberships of a channel.
    pub async fn leave_all(&self, layer: &dyn ChannelLayer, channel: Channel) {
        for group in self.of_channel(channel) {
            if let Err(error) = self.discard(layer, &group, channel).await {
                tracing::debug!(%error, "a group could not be left");
            }
        }
    }

    fn of_channel(&self, channel: Channel) -> Vec<Arc<str>> {
        let tables = self.tables();
        let groups = tables.memberships.get(&channel).into_iter().flatten();
        groups.cloned().collect()
    }

    /// Returns `true` if a channel is in any group.
    #[must_use]
    pub fn has(&self, channel: Channel) -> bool {
        self.tables().memberships.contains_key(&channel)
    }

    /// Returns the channels of a worker that are in any group.
    #[must_use]
    pub fn of_worker(&self, worker: u64) -> Vec<Channel> {
        let tables = self.tables();
        let channels = tables.memberships.keys();
        let of = |it: &&Channel| matches!(it, Channel::Worker { worker: of, .. } if *of == worker);
        channels.filter(of).copied().collect()
    }

    /// Returns the members of the group of this number.
    #[must_use]
    pub fn members(&self, number: u64) -> Vec<Channel> {
        let tables = self.tables();
        let name = tables.names.get(&number);
        let group = name.and_then(|name| tables.groups.get(name));
        let members = group.into_iter().flat_map(|group| &group.members);
        members.copied().collect()
    }
}

/// Returns the channel of this process for all members of a group.
fn own(layer: &dyn ChannelLayer, number: u64) -> String {
    layer.channel(&format!("g{number}"))
}

impl Tables {
    /// Returns the group's number if it has its first member now.
    fn add(&mut self, name: &str, channel: Channel) -> Option<u64> {
        let known = self.groups.get_key_value(name);
        let (name, is_first) = match known {
            Some((name, _)) => (Arc::clone(name), false),
            None => (Arc::from(name), true),
        };
        if is_first {
            self.last += 1;
            self.names.insert(self.last, Arc::clone(&name));
        }
        let last = self.last;
        let group = self
            .groups
            .entry(Arc::clone(&name))
            .or_insert_with(|| Group {
                number: last,
                members: BTreeSet::new(),
            });
        group.members.insert(channel);
        let number = group.number;
        let groups = self.memberships.entry(channel).or_default();
        self.count += usize::from(groups.insert(name));
        is_first.then_some(number)
    }

    /// Returns the group's number if that was its last member.
    fn remove(&mut self, name: &str, channel: Channel) -> Option<u64> {
        if let Some(groups) = self.memberships.get_mut(&channel) {
            self.count -= usize::from(groups.remove(name));
            if groups.is_empty() {
                self.memberships.remove(&channel);
            }
        }
        let group = self.groups.get_mut(name)?;
        group.members.remove(&channel);
        if !group.members.is_empty() {
            return None;
        }
        let number = group.number;
        self.groups.remove(name);
        self.names.remove(&number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::memory::MemoryLayer;

    const ONE: Channel = Channel::Socket(1);
    const TWO: Channel = Channel::Worker {
        worker: 3,
        number: 2,
    };

    #[test]
    fn local_names_are_read_in_one_spelling() {
        assert_eq!(
            Local::parse("s12"),
            Some(Local::Channel(Channel::Socket(12)))
        );
        assert_eq!(Local::parse("w3.2"), Some(Local::Channel(TWO)));
        assert_eq!(Local::parse("g7"), Some(Local::Group(7)));
        for odd in [
            "",
            "s",
            "s01",
            "s+1",
            "x1",
            "w3",
            "w3.",
            "w.2",
            "채1",
            "s99999999999999999999",
        ] {
            assert_eq!(Local::parse(odd), None, "{odd:?}");
        }
    }

    #[tokio::test]
    async fn the_first_member_joins_and_the_last_one_leaves() {
        let (groups, layer) = (Groups::default(), MemoryLayer::new());
        groups.add(&layer, "room", ONE, 9).await.unwrap();
        groups.add(&layer, "room", TWO, 9).await.unwrap();
        groups.add(&layer, "room", TWO, 9).await.unwrap();
        assert_eq!(layer.group_size("room"), 1, "one channel for all");
        assert_eq!(groups.members(1), [ONE, TWO]);
        groups.discard(&layer, "room", ONE).await.unwrap();
        groups.discard(&layer, "room", ONE).await.unwrap();
        assert_eq!(layer.group_size("room"), 1);
        groups.leave_all(&layer, TWO).await;
        assert_eq!(layer.group_size("room"), 0);
        assert!(groups.members(1).is_empty());
        assert!(groups.tables().memberships.is_empty());
        assert!(groups.tables().names.is_empty());
    }

    #[tokio::test]
    async fn a_group_that_comes_back_is_another_one_to_the_layer() {
        let (groups, layer) = (Groups::default(), MemoryLayer::new());
        groups.add(&layer, "room", ONE, 9).await.unwrap();
        groups.discard(&layer, "room", ONE).await.unwrap();
        groups.add(&layer, "room", TWO, 9).await.unwrap();
        assert!(groups.members(1).is_empty());
        assert_eq!(groups.members(2), [TWO]);
        assert_eq!(groups.of_worker(3), [TWO]);
    }

    #[tokio::test]
    async fn memberships_have_a_bound_together() {
        let (groups, layer) = (Groups::default(), MemoryLayer::new());
        let add = async |group: &str, channel| groups.add(&layer, group, channel, 3).await;
        for (group, channel) in [("a", ONE), ("a", TWO), ("a", TWO), ("b", ONE)] {
            assert!(add(group, channel).await.is_ok());
        }
        let full = add("b", TWO).await;
        assert!(matches!(full, Err(LayerError::Full(_))), "{full:?}");
        assert_eq!(groups.of_channel(TWO).len(), 1);
        groups.discard(&layer, "a", ONE).await.unwrap();
        groups.discard(&layer, "a", ONE).await.unwrap();
        assert!(add("b", TWO).await.is_ok());
        assert!(add("c", TWO).await.is_err());
    }
}
