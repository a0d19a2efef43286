//! The memberships that this process wants on one host, so that they can be restored there.

use std::collections::{HashMap, HashSet};

/// The groups of one host with channels of ours. The key is the group's name.
#[derive(Debug, Default)]
pub struct GroupMembers {
    groups: HashMap<String, Vec<GroupMember>>,
    /// Memberships that ended while the host was away: group and local name.
    left: HashSet<(String, String)>,
}

#[derive(Debug)]
struct GroupMember {
    local: String,
    /// True if the membership is in Redis.
    told: bool,
}

impl GroupMembers {
    pub fn add(&mut self, group: &str, local: &str) {
        self.left.remove(&(group.to_owned(), local.to_owned()));
        let members = self.groups.entry(group.to_owned()).or_default();
        if !members.iter().any(|member| member.local == local) {
            members.push(GroupMember {
                local: local.to_owned(),
                told: false,
            });
        }
    }

    /// Redis knows of the membership now.
    pub fn told(&mut self, group: &str, local: &str) {
        let members = self.groups.get_mut(group).into_iter().flatten();
        for member in members.filter(|member| member.local == local) {
            member.told = true;
        }
    }

    pub fn remove(&mut self, group: &str, local: &str) {
        if let Some(members) = self.groups.get_mut(group) {
            members.retain(|member| member.local != local);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// Notes a membership that ended and is still in Redis.
    pub fn owe_goodbye(&mut self, group: &str, local: &str) {
        self.left.insert((group.to_owned(), local.to_owned()));
    }

    /// Returns the ended memberships that are still in Redis.
    #[must_use]
    pub fn goodbyes(&self) -> Vec<(String, String)> {
        self.left.iter().cloned().collect()
    }

    /// Notes that these are no longer in Redis.
    pub fn said(&mut self, goodbyes: &[(String, String)]) {
        for goodbye in goodbyes {
            self.left.remove(goodbye);
        }
    }

    #[must_use]
    pub fn contains(&self, group: &str, local: &str) -> bool {
        let members = self.groups.get(group).into_iter().flatten();
        members.into_iter().any(|member| member.local == local)
    }

    /// Returns the local names of our channels in `group`.
    #[must_use]
    pub fn locals(&self, group: &str) -> Vec<String> {
        let members = self.groups.get(group).into_iter().flatten();
        members.map(|member| member.local.clone()).collect()
    }

    /// Returns whether Redis must know one of our channels in `group`.
    #[must_use]
    pub fn is_told(&self, group: &str) -> bool {
        let members = self.groups.get(group);
        members.is_some_and(|members| members.iter().any(|member| member.told))
    }

    /// Every membership: group and local name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, String)> {
        let pairs = |(group, members): (&String, &Vec<GroupMember>)| -> Vec<(String, String)> {
            let pair = |member: &GroupMember| (group.clone(), member.local.clone());
            members.iter().map(pair).collect()
        };
        self.groups.iter().flat_map(pairs).collect()
    }

    /// Returns memberships that are in Redis, at most `most` from the place `skip` on.
    #[must_use]
    pub fn samples(&self, skip: usize, most: usize) -> Vec<(String, String)> {
        let told = self.groups.iter().flat_map(|(group, members)| {
            let told = members.iter().filter(|member| member.told);
            told.map(move |member| (group, &member.local))
        });
        let some = told.skip(skip).take(most);
        some.map(|(group, local)| (group.clone(), local.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_is_kept_once_and_gone_when_it_ends() {
        let mut members = GroupMembers::default();
        for local in ["a", "b", "a"] {
            members.add("g", local);
        }
        assert_eq!(members.locals("g"), ["a", "b"]);
        members.remove("g", "a");
        assert!(!members.contains("g", "a") && members.contains("g", "b"));
        members.remove("g", "b");
        assert!(members.all().is_empty());
    }

    #[test]
    fn only_what_redis_was_told_can_be_missed_there() {
        let mut members = GroupMembers::default();
        members.add("g", "a");
        assert!(members.samples(0, 9).is_empty());
        assert!(!members.is_told("g"));
        members.told("g", "a");
        assert_eq!(members.samples(0, 9), [("g".to_owned(), "a".to_owned())]);
        assert!(members.samples(1, 9).is_empty());
    }

    #[test]
    fn a_goodbye_is_owed_until_it_is_said_or_the_member_is_back() {
        let mut members = GroupMembers::default();
        members.owe_goodbye("g", "a");
        members.owe_goodbye("h", "b");
        members.add("g", "a");
        let owed = members.goodbyes();
        assert_eq!(owed, [("h".to_owned(), "b".to_owned())]);
        members.said(&owed);
        assert!(members.goodbyes().is_empty());
    }
}
