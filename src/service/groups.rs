//! Groups: made, changed and looked at.

use std::{collections::BTreeSet, sync::Arc};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{Chat, ChatError, whole};
use crate::{
    chat::{
        Change, Group, GroupAction, GroupMember, GroupRefusal, NewGroup, NewGroupChange, Role,
        USER_ID_MAX, group::GROUP_NAME_MAX, policy::Caller,
    },
    id::{ConversationId, Key},
    layer::control::{Changed, Control, Disconnect, Membership},
    python::datetime::Timestamp,
    store::{AnnounceGroup, StoreError},
};

/// Users who become members by a change, and those who are none any more.
#[derive(Default)]
struct Moved {
    joined: Vec<String>,
    gone: Vec<String>,
}

impl Moved {
    fn by(actor: &str, action: &GroupAction) -> Self {
        let (mut joined, mut gone) = (Vec::new(), Vec::new());
        match action {
            GroupAction::Invite(users) => joined.clone_from(users),
            GroupAction::Remove(user) => gone.push(user.clone()),
            GroupAction::Leave => gone.push(actor.to_owned()),
            GroupAction::Rename(_) | GroupAction::Assign(..) => {}
        }
        Moved { joined, gone }
    }
}

impl Chat {
    /// Returns whether there are groups.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.store.keeps_groups()
    }

    /// Makes a group of its creator, who owns it, and others. Under the same `key` a creator makes it
    /// once. Returns it, and whether it is new.
    ///
    /// # Errors
    /// [`ChatError::Off`] if there are no groups, [`ChatError::NotYou`], [`ChatError::TooLong`], or
    /// [`ChatError::Group`] for too few or too many members.
    pub async fn create_group(
        &self,
        caller: &Caller,
        creator: &str,
        name: String,
        users: &[String],
        key: Option<&str>,
    ) -> Result<(Group, bool), ChatError> {
        if !self.has_groups() {
            return Err(ChatError::Off);
        }
        self.admit_as(caller, creator)?;
        whole("name", &name, GROUP_NAME_MAX)?;
        let all: BTreeSet<&str> = users.iter().map(String::as_str).chain([creator]).collect();
        for user in &all {
            whole("members", user, USER_ID_MAX)?;
        }
        if all.len() < 2 {
            return Err(ChatError::Group(GroupRefusal::Alone));
        }
        if all.len() > self.members_max {
            return Err(ChatError::Group(GroupRefusal::Full(self.members_max)));
        }
        let now = Timestamp::by(self.store.committer().clock());
        let member = |user: &str| GroupMember {
            user_id: user.to_owned(),
            role: if user == creator {
                Role::Owner
            } else {
                Role::Member
            },
            joined_at: now,
        };
        let group = Group {
            id: group_id(creator, key),
            name,
            version: 1,
            created_at: now,
            updated_at: now,
            members: all.into_iter().map(member).collect(),
        };
        let moved = Moved {
            joined: group.users(),
            ..Moved::default()
        };
        let new = NewGroup {
            group,
            creator: creator.to_owned(),
        };
        let made = self.store.create_group(new, self.announce_group(moved));
        made.await?.map_err(ChatError::Group)
    }

    /// Changes a group for one of its members, and shows it to the others. A member who is taken out
    /// loses the rights to it on every process. Returns the group as it is then.
    ///
    /// # Errors
    /// [`ChatError::NotAGroup`], [`ChatError::Group`] if the rules are against it,
    /// [`ChatError::TooLong`], or as [`admit_socket`](Self::admit_socket).
    pub async fn change_group(
        &self,
        caller: &Caller,
        id: ConversationId,
        actor: &str,
        action: GroupAction,
    ) -> Result<Group, ChatError> {
        self.admit_socket(caller, id).await?;
        if !id.is_group() {
            return Err(ChatError::NotAGroup);
        }
        self.admit_as(caller, actor)?;
        match &action {
            GroupAction::Rename(name) => whole("name", name, GROUP_NAME_MAX)?,
            GroupAction::Invite(users) => {
                for user in users {
                    whole("members", user, USER_ID_MAX)?;
                }
            }
            GroupAction::Remove(_) | GroupAction::Leave | GroupAction::Assign(..) => {}
        }
        let committer = self.store.committer();
        let at = Timestamp::by(committer.clock());
        let change = Change {
            id: committer.change_id(at),
            conversation_id: id,
            message_id: Key::from(id).into(),
        };
        let announce = self.announce_group(Moved::by(actor, &action));
        let new = NewGroupChange {
            change,
            actor: actor.to_owned(),
            action,
            at,
            most: self.members_max,
        };
        let changed = self.store.change_group(new, announce).await?;
        changed.map_err(|refusal| {
            if refusal == GroupRefusal::NotOwner {
                self.metrics.policy_denied("change");
            }
            ChatError::Group(refusal)
        })
    }

    /// Returns the group of this id, to callers who were admitted to it; `None` for a conversation of
    /// two.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn group_of(&self, id: ConversationId) -> Result<Option<Group>, ChatError> {
        Ok(self.groups_of(&[id]).await?.pop())
    }

    /// Returns those of these conversations that are groups. No query if none is.
    pub(super) async fn groups_of(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<Group>, StoreError> {
        let groups = conversations.iter().copied().filter(|id| id.is_group());
        let groups: Vec<ConversationId> = groups.collect();
        if groups.is_empty() || !self.has_groups() {
            return Ok(Vec::new());
        }
        self.store.groups_of(&groups).await
    }

    /// Returns the callback for the commit of a group.
    fn announce_group(&self, moved: Moved) -> AnnounceGroup {
        let (layer, noted) = (Arc::clone(&self.layer), Arc::clone(&self.changes));
        Box::new(move |group: &Group| {
            let Moved { joined, gone } = moved;
            // The layer owes what it cannot take now. What is lost all the same is found by a sweep, and
            // rights are looked at again from time to time.
            for user in &gone {
                let order = Disconnect {
                    user: Some(user.clone()),
                    conversation: Some(group.id),
                };
                drop(layer.send_control(&Control::Disconnect(order)));
            }
            if group.version > 1 {
                noted.note(group.id, group.updated_at);
                let notice = Changed {
                    conversation: group.id,
                    at: group.updated_at,
                };
                drop(layer.send_control(&Control::Changed(notice)));
            }
            if !joined.is_empty() || !gone.is_empty() {
                let membership = Membership {
                    conversation: group.id,
                    joined,
                    gone,
                };
                drop(layer.send_control(&Control::Membership(membership)));
            }
        })
    }
}

/// Returns the id of a new group, a UUID of version 5: of its creator and the key, or a random one.
fn group_id(creator: &str, key: Option<&str>) -> ConversationId {
    let Some(key) = key else {
        let random = Uuid::new_v4().into_bytes();
        return Builder::from_sha1_bytes(random).into_uuid().into();
    };
    let mut hash = Sha256::new();
    for part in [creator, key] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    Builder::from_sha1_bytes(bytes).into_uuid().into()
}

#[cfg(test)]
mod tests {
    use super::group_id;

    #[test]
    fn a_key_makes_the_same_group_for_its_creator_only() {
        let id = group_id;
        let made = id("alice", Some("trip"));
        assert!(made.is_group());
        assert_eq!(id("alice", Some("trip")), made);
        assert_ne!(id("bob", Some("trip")), made);
        assert_ne!(id("alicet", Some("rip")), made);
        let any = id("alice", None);
        assert!(any.is_group() && any != id("alice", None));
    }
}
