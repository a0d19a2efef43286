//! Groups: conversations with a name and members who have roles, and the rules of their changes.
//!
//! The rules are pure. The store asks them inside its transaction, with the group locked, so two
//! changes at once are decided one after the other.

use crate::{
    chat::Change,
    id::{ConversationId, Key},
    python::datetime::Timestamp,
};

/// Longest name of a group, in code points (`varchar(100)`).
pub const GROUP_NAME_MAX: usize = 100;

/// Right of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Changes the group: name, members, roles. A group with members has one at least.
    Owner,
    Member,
}

impl Role {
    /// Returns the role as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Member => "member",
        }
    }

    /// Reads a role as [`as_str`](Self::as_str) writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Role::Owner, Role::Member];
        all.into_iter().find(|role| role.as_str() == text)
    }
}

/// A row of `chatferry_members`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMember {
    pub user_id: String,
    pub role: Role,
    pub joined_at: Timestamp,
}

/// A row of `chatferry_conversations`, with its members.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub id: ConversationId,
    pub name: String,
    /// Number of changes until now: of two states the one with the greater version is newer.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Sorted by user.
    pub members: Vec<GroupMember>,
}

/// A group that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewGroup {
    /// Made again under this id it is made once.
    pub group: Group,
    pub creator: String,
}

/// Change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// Adds these users as members; those who are members stay what they are.
    Invite(Vec<String>),
    /// Takes a user out. Somebody who is no member is out already.
    Remove(String),
    Leave,
    Rename(String),
    Assign(String, Role),
}

/// A change of a group that is about to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewGroupChange {
    /// Its row in the table of changes, by which other processes find it.
    pub change: Change,
    pub actor: String,
    pub action: GroupAction,
    pub at: Timestamp,
    /// Most members.
    pub most: usize,
}

/// Why a group was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// There is none, or the actor is no member.
    #[error("no such conversation")]
    NotThere,
    #[error("only an owner may do that")]
    NotOwner,
    #[error("the user is not a member of the group")]
    NoMember,
    #[error("a group begins with two members at least")]
    Alone,
    #[error("a group has no more than {0} members")]
    Full(usize),
    #[error("a group needs an owner: give the role to somebody else first")]
    LastOwner,
}

impl Group {
    /// Returns the member with this id.
    #[must_use]
    pub fn member(&self, user: &str) -> Option<&GroupMember> {
        self.members.iter().find(|it| it.user_id == user)
    }

    /// Returns the group as a change leaves it; `None` if it is that already.
    ///
    /// When the last owner leaves, the member who has been there longest becomes one.
    ///
    /// # Errors
    /// Why the actor may not do it.
    pub fn changed(&self, new: &NewGroupChange) -> Result<Option<Self>, GroupRefusal> {
        let actor = self.member(&new.actor).ok_or(GroupRefusal::NotThere)?;
        if new.action != GroupAction::Leave && actor.role != Role::Owner {
            return Err(GroupRefusal::NotOwner);
        }
        let mut next = self.clone();
        match &new.action {
            GroupAction::Invite(users) => next.invite(users, new)?,
            GroupAction::Remove(user) => next.remove(user),
            GroupAction::Leave => next.remove(&new.actor),
            GroupAction::Rename(name) => next.name.clone_from(name),
            GroupAction::Assign(user, role) => next.assign(user, *role)?,
        }
        if next == *self {
            return Ok(None);
        }
        next.version += 1;
        // Later than before, whatever the clock of this machine says.
        let later = Timestamp::from_micros(self.updated_at.micros().saturating_add(1));
        next.updated_at = new.at.max(later);
        Ok(Some(next))
    }

    fn invite(&mut self, users: &[String], new: &NewGroupChange) -> Result<(), GroupRefusal> {
        for user in users {
            if self.member(user).is_none() {
                self.members.push(GroupMember {
                    user_id: user.clone(),
                    role: Role::Member,
                    joined_at: new.at,
                });
            }
        }
        if self.members.len() > new.most && !users.is_empty() {
            return Err(GroupRefusal::Full(new.most));
        }
        self.members
            .sort_by(|one, other| one.user_id.cmp(&other.user_id));
        Ok(())
    }

    fn remove(&mut self, user: &str) {
        self.members.retain(|it| it.user_id != user);
        if !self.has_owner() {
            let oldest = self
                .members
                .iter_mut()
                .min_by_key(|it| (it.joined_at, it.user_id.clone()));
            if let Some(heir) = oldest {
                heir.role = Role::Owner;
            }
        }
    }

    fn assign(&mut self, user: &str, role: Role) -> Result<(), GroupRefusal> {
        let found = self.members.iter_mut().find(|it| it.user_id == user);
        found.ok_or(GroupRefusal::NoMember)?.role = role;
        if self.has_owner() {
            Ok(())
        } else {
            Err(GroupRefusal::LastOwner)
        }
    }

    fn has_owner(&self) -> bool {
        self.members.iter().any(|it| it.role == Role::Owner)
    }

    /// Returns the ids of the members, sorted.
    #[must_use]
    pub fn users(&self) -> Vec<String> {
        self.members.iter().map(|it| it.user_id.clone()).collect()
    }
}

impl Change {
    /// Returns whether it is a change of a group and not of a message: it names the conversation
    /// twice.
    #[must_use]
    pub fn is_of_group(&self) -> bool {
        Key::from(self.message_id) == Key::from(self.conversation_id)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000 + seconds * 1_000_000)
    }

    /// A group of alice, who owns it, and bob and carol, who came in this order.
    fn group() -> Group {
        let member = |(user, role, joined): (&str, Role, i64)| GroupMember {
            user_id: user.to_owned(),
            role,
            joined_at: at(joined),
        };
        let members = [
            ("alice", Role::Owner, 0),
            ("bob", Role::Member, 2),
            ("carol", Role::Member, 1),
        ];
        Group {
            id: Uuid::from_u128(1).into(),
            name: "team".to_owned(),
            version: 1,
            created_at: at(0),
            updated_at: at(9),
            members: members.map(member).into(),
        }
    }

    fn change(group: &Group, actor: &str, action: GroupAction) -> NewGroupChange {
        NewGroupChange {
            change: Change {
                id: Uuid::from_u128(2).into(),
                conversation_id: group.id,
                message_id: Key::from(group.id).into(),
            },
            actor: actor.to_owned(),
            action,
            at: at(5),
            most: 4,
        }
    }

    fn done(
        group: &Group,
        actor: &str,
        action: GroupAction,
    ) -> Result<Option<Group>, GroupRefusal> {
        group.changed(&change(group, actor, action))
    }

    fn roles(group: &Group) -> Vec<(&str, &str)> {
        let members = group.members.iter();
        members
            .map(|it| (it.user_id.as_str(), it.role.as_str()))
            .collect()
    }

    #[test]
    fn only_an_owner_changes_a_group_and_a_stranger_finds_none() {
        let group = group();
        let actions = || {
            [
                GroupAction::Invite(vec!["dave".to_owned()]),
                GroupAction::Remove("alice".to_owned()),
                GroupAction::Rename("ours".to_owned()),
                GroupAction::Assign("bob".to_owned(), Role::Owner),
            ]
        };
        for action in actions() {
            assert_eq!(
                done(&group, "bob", action.clone()),
                Err(GroupRefusal::NotOwner)
            );
            assert_eq!(
                done(&group, "dave", action.clone()),
                Err(GroupRefusal::NotThere)
            );
            let changed = done(&group, "alice", action).unwrap().unwrap();
            assert_eq!(changed.version, 2);
            // Later than the version before, though the clock is behind.
            assert!(changed.updated_at > group.updated_at);
        }
        assert_eq!(
            done(&group, "dave", GroupAction::Leave),
            Err(GroupRefusal::NotThere)
        );
    }

    #[test]
    fn the_last_owner_who_leaves_is_followed_by_who_came_first() {
        let mut left = done(&group(), "alice", GroupAction::Leave)
            .unwrap()
            .unwrap();
        assert_eq!(roles(&left), [("bob", "member"), ("carol", "owner")]);
        left = done(&left, "carol", GroupAction::Leave).unwrap().unwrap();
        assert_eq!(roles(&left), [("bob", "owner")]);
        left = done(&left, "bob", GroupAction::Leave).unwrap().unwrap();
        assert_eq!(roles(&left), []);
    }

    #[test]
    fn a_group_keeps_an_owner_when_roles_change() {
        let give = |role| GroupAction::Assign("alice".to_owned(), role);
        assert_eq!(
            done(&group(), "alice", give(Role::Member)),
            Err(GroupRefusal::LastOwner)
        );
        let to_bob = GroupAction::Assign("bob".to_owned(), Role::Owner);
        let two = done(&group(), "alice", to_bob).unwrap().unwrap();
        let one = done(&two, "alice", give(Role::Member)).unwrap().unwrap();
        assert_eq!(roles(&one)[..2], [("alice", "member"), ("bob", "owner")]);
        let nobody = GroupAction::Assign("dave".to_owned(), Role::Owner);
        assert_eq!(done(&group(), "alice", nobody), Err(GroupRefusal::NoMember));
    }

    #[test]
    fn a_group_has_no_more_members_than_its_limit() {
        let invite = |users: &[&str]| {
            GroupAction::Invite(users.iter().map(|user| (*user).to_owned()).collect())
        };
        let full = done(&group(), "alice", invite(&["dave", "bob", "dave"]));
        let full = full.unwrap().unwrap();
        assert_eq!(full.users(), ["alice", "bob", "carol", "dave"]);
        assert_eq!(
            done(&full, "alice", invite(&["erin"])),
            Err(GroupRefusal::Full(4))
        );
        assert_eq!(done(&full, "alice", invite(&["bob"])), Ok(None));
        let gone = GroupAction::Remove("erin".to_owned());
        assert_eq!(done(&full, "alice", gone), Ok(None));
    }
}
