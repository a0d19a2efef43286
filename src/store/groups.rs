//! Groups: conversations of several people, in tables of our own beside those of the chat.
//!
//! Django's messages have a foreign key on conversations of two, so a group needs messages and
//! receipts of its own. These tables are described by a [`Schema`] like those of any chat, and the
//! statements of history, receipts, changes, unread counts and overview are the same for both kinds.
//! `kinds` asks one or the other by the conversation's id, or both for lists.
//!
//! One store knows both kinds, and not two chats beside each other: sockets, the layer, the hub and
//! rights are then the same for all conversations. The connections that read are shared. A second
//! committer writes groups, and connects with the first write. Groups that are not used cost no
//! connection, and one query when conversations are listed.
//!
//! A message of a group is inserted only while its sender is a member, which the transaction of the
//! message locks: it is stored before a removal or refused. A change of a group locks the group,
//! applies the rules of [`Group::changed`] and writes the difference.

use async_trait::async_trait;

use super::{
    OpenDatabase, StoreError,
    commit::{AnnounceGroup, CommitOutcome},
    schema::{
        Column, ColumnKind, MESSAGES, MemberSource, OwnTable, RECEIPTS, Schema, Table, TableOrigin,
    },
};
use crate::{
    chat::{Group, GroupMember, GroupRefusal, NewGroup, NewGroupChange, Role},
    config::TableName,
    id::ConversationId,
};

/// Groups, with their members and roles.
#[async_trait]
pub trait Groups: OpenDatabase {
    /// Returns whether there are tables for groups. Without them nothing else here may be called.
    fn keeps_groups(&self) -> bool {
        false
    }

    /// Returns the groups of these ids, one at least. In no order.
    async fn groups_of(&self, _: &[ConversationId]) -> Result<Vec<Group>, StoreError> {
        Ok(Vec::new())
    }

    /// Makes a group, or returns the one that was made under its id; and whether it is new.
    async fn create_group(
        &self,
        new: NewGroup,
        announce: AnnounceGroup,
    ) -> Result<Result<(Group, bool), GroupRefusal>, StoreError> {
        self.committer().create_group(new, announce).await
    }

    /// Changes a group, and returns it as it is then.
    async fn change_group(
        &self,
        new: NewGroupChange,
        announce: AnnounceGroup,
    ) -> Result<Result<Group, GroupRefusal>, StoreError> {
        self.committer().change_group(new, announce).await
    }
}

/// The tables of groups. The name is that of the last one: interrupted, they are made again.
pub const TABLES: OwnTable = OwnTable {
    name: "chatferry_receipts",
    mysql: include_str!("../../migrations/mysql/0110_groups.sql"),
    postgres: include_str!("../../migrations/postgres/0110_groups.sql"),
    sqlite: include_str!("../../migrations/sqlite/0110_groups.sql"),
};

const CONVERSATIONS: &[Column] = &[
    Column::new("id", ColumnKind::Uuid),
    // A JSON list, written with the rows of the members: participants are read from one row.
    Column::named("participant1_id", "member_ids", ColumnKind::Text),
    Column::constant("participant2_id", "NULL"),
    Column::new("created_at", ColumnKind::Time),
    Column::new("updated_at", ColumnKind::Time),
    Column::new("is_active", ColumnKind::Bool),
];

const MEMBERS: &[Column] = &[
    Column::new("conversation_id", ColumnKind::Uuid),
    Column::new("user_id", ColumnKind::Text),
];

/// Returns the description of the tables of groups, which changes of messages are kept with.
#[must_use]
pub fn schema(changes: Option<OwnTable>) -> Schema {
    let table = |name, columns| Table::new(&TableName::ours(name), columns);
    Schema {
        conversations: table("chatferry_conversations", CONVERSATIONS),
        members: MemberSource::Kept(table("chatferry_members", MEMBERS)),
        messages: table("chatferry_messages", MESSAGES),
        receipts: table(TABLES.name, RECEIPTS),
        origin: TableOrigin::Elsewhere("run `chatferry migrate`"),
        changes,
        groups: None,
        // The table of uploads, and that of events, are kept with the conversations of two.
        attachments: None,
        outbox: None,
    }
}

/// A row that a change of a group writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GroupRow<'a> {
    Made(&'a Group),
    Changed(&'a Group),
    Left(&'a str),
    Joined(&'a GroupMember),
    Assigned(&'a GroupMember),
}

/// Returns the rows to be written for a group that was as `before`, if it was.
#[must_use]
pub fn difference<'a>(before: Option<&'a Group>, after: &'a Group) -> Vec<GroupRow<'a>> {
    let Some(before) = before else {
        let members = after.members.iter().map(GroupRow::Joined);
        return [GroupRow::Made(after)].into_iter().chain(members).collect();
    };
    let gone = before.members.iter();
    let gone = gone.filter(|it| after.member(&it.user_id).is_none());
    let mut rows = vec![GroupRow::Changed(after)];
    rows.extend(gone.map(|it| GroupRow::Left(&it.user_id)));
    for member in &after.members {
        match before.member(&member.user_id) {
            None => rows.push(GroupRow::Joined(member)),
            Some(was) if was.role != member.role => rows.push(GroupRow::Assigned(member)),
            Some(_) => {}
        }
    }
    rows
}

/// Returns the members of a group as its row has them.
#[must_use]
pub fn member_ids(group: &Group) -> String {
    // A list of texts: nothing here can fail.
    serde_json::to_string(&group.users()).unwrap_or_default()
}

/// Adds a row of a group and one of its members to the groups that were read; a group without
/// members has one row.
pub fn gather(groups: &mut Vec<Group>, group: Group, member: Option<GroupMember>) {
    let place = groups.iter().position(|it| it.id == group.id);
    let place = place.unwrap_or_else(|| {
        groups.push(group);
        groups.len() - 1
    });
    groups[place].members.extend(member);
}

/// Reads a role as it is stored.
///
/// # Errors
/// [`StoreError::Schema`] for any other text.
pub fn role(text: &str) -> Result<Role, StoreError> {
    Role::parse(text).ok_or_else(|| StoreError::Schema(format!("{text:?} is not a role")))
}

/// Sorts the members of groups that were read, as the rules have them.
pub fn sort_members(groups: &mut [Group]) {
    for group in groups {
        group
            .members
            .sort_by(|one, other| one.user_id.cmp(&other.user_id));
    }
}

/// Returns the group to be written for one that is about to be made, or the outcome if there is one
/// of its id: that of an earlier try, which its members may know of.
///
/// # Errors
/// The outcome, if there is nothing to be written.
pub fn made(found: Option<Group>, new: &NewGroup) -> Result<Group, CommitOutcome> {
    match found {
        None => Ok(new.group.clone()),
        Some(found) if found.member(&new.creator).is_some() => {
            Err(CommitOutcome::Group(Box::new(found), false))
        }
        Some(_) => Err(CommitOutcome::GroupRefused(GroupRefusal::NotThere)),
    }
}

/// Returns the group as a change leaves it, to be written; `is_done` if an earlier try has written
/// it.
///
/// # Errors
/// The outcome, if there is nothing to be written.
pub fn changed(
    found: Option<&Group>,
    new: &NewGroupChange,
    is_done: bool,
) -> Result<Group, CommitOutcome> {
    let Some(group) = found else {
        return Err(CommitOutcome::GroupRefused(GroupRefusal::NotThere));
    };
    if is_done {
        return Err(CommitOutcome::Group(Box::new(group.clone()), true));
    }
    match group.changed(new) {
        Ok(Some(next)) => Ok(next),
        Ok(None) => Err(CommitOutcome::Group(Box::new(group.clone()), false)),
        Err(refusal) => Err(CommitOutcome::GroupRefused(refusal)),
    }
}
