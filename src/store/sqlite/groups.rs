//! Groups: read, made and changed.

use async_trait::async_trait;
use rusqlite::{Connection, Row, Transaction, params, params_from_iter};

use super::{
    SqliteStore,
    row::{time_at, unreadable},
};
use crate::{
    chat::{Change, Group, GroupMember, NewGroup, NewGroupChange, Role},
    id::ConversationId,
    python::datetime::to_sqlite,
    store::{
        StoreError,
        commit::CommitOutcome,
        groups::{self, GroupRow, Groups, gather, member_ids, sort_members},
        schema::MemberSource,
    },
};

#[async_trait]
impl Groups for SqliteStore {
    fn keeps_groups(&self) -> bool {
        matches!(self.layout.schema.members, MemberSource::Kept(_))
    }

    async fn groups_of(&self, conversations: &[ConversationId]) -> Result<Vec<Group>, StoreError> {
        let ids = conversations.to_vec();
        self.readers.read(move |db| groups_of(db, &ids)).await
    }
}

fn groups_of(db: &Connection, ids: &[ConversationId]) -> rusqlite::Result<Vec<Group>> {
    let places = vec!["?"; ids.len()].join(", ");
    let sql = format!(
        "SELECT c.id, c.name, c.version, c.created_at, c.updated_at, m.user_id, m.role, m.joined_at \
         FROM chatferry_conversations AS c \
         LEFT JOIN chatferry_members AS m ON m.conversation_id = c.id WHERE c.id IN ({places})"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(ids))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (group, member) = group_row(row)?;
        gather(&mut found, group, member);
    }
    sort_members(&mut found);
    Ok(found)
}

fn group_row(row: &Row<'_>) -> rusqlite::Result<(Group, Option<GroupMember>)> {
    let group = Group {
        id: row.get(0)?,
        name: row.get(1)?,
        version: row.get(2)?,
        created_at: time_at(row, 3)?,
        updated_at: time_at(row, 4)?,
        members: Vec::new(),
    };
    let Some(user_id) = row.get(5)? else {
        return Ok((group, None));
    };
    let role = Role::parse(row.get_ref(6)?.as_str()?);
    let member = GroupMember {
        user_id,
        role: role.ok_or_else(|| unreadable(6, "not a role"))?,
        joined_at: time_at(row, 7)?,
    };
    Ok((group, Some(member)))
}

/// Makes a group, unless there is one of its id.
pub fn create(db: &Transaction<'_>, new: &NewGroup) -> rusqlite::Result<CommitOutcome> {
    let found = groups_of(db, &[new.group.id])?.pop();
    let group = match groups::made(found, new) {
        Ok(group) => group,
        Err(outcome) => return Ok(outcome),
    };
    save(db, None, &group)?;
    Ok(CommitOutcome::Group(Box::new(group), true))
}

/// Changes a group as far as its rules allow it. No other process writes until the transaction ends.
pub fn change(db: &Transaction<'_>, new: &NewGroupChange) -> rusqlite::Result<CommitOutcome> {
    let Change {
        id,
        conversation_id,
        message_id,
    } = new.change;
    let found = groups_of(db, &[conversation_id])?.pop();
    let is_done = db
        .prepare_cached("SELECT 1 FROM chatferry_changes WHERE id = ?1")?
        .exists([id])?;
    let group = match groups::changed(found.as_ref(), new, is_done) {
        Ok(group) => group,
        Err(outcome) => return Ok(outcome),
    };
    save(db, found.as_ref(), &group)?;
    db.prepare_cached(
        "INSERT INTO chatferry_changes (id, conversation_id, message_id, changed_at) \
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        id,
        conversation_id,
        message_id,
        to_sqlite(group.updated_at)
    ])?;
    Ok(CommitOutcome::Group(Box::new(group), true))
}

/// Writes a group that was as `before`, if it was.
fn save(db: &Transaction<'_>, before: Option<&Group>, after: &Group) -> rusqlite::Result<()> {
    let id = after.id;
    for row in groups::difference(before, after) {
        match row {
            GroupRow::Made(group) => db
                .prepare_cached(
                    "INSERT INTO chatferry_conversations \
                     (id, name, version, member_ids, created_at, updated_at, is_active) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, TRUE)",
                )?
                .execute(params![
                    id,
                    group.name,
                    group.version,
                    member_ids(group),
                    to_sqlite(group.created_at),
                    to_sqlite(group.updated_at)
                ])?,
            GroupRow::Changed(group) => db
                .prepare_cached(
                    "UPDATE chatferry_conversations SET name = ?2, version = ?3, member_ids = ?4, \
                     updated_at = ?5 WHERE id = ?1",
                )?
                .execute(params![
                    id,
                    group.name,
                    group.version,
                    member_ids(group),
                    to_sqlite(group.updated_at)
                ])?,
            GroupRow::Left(user) => db
                .prepare_cached(
                    "DELETE FROM chatferry_members WHERE conversation_id = ?1 AND user_id = ?2",
                )?
                .execute(params![id, user])?,
            GroupRow::Joined(member) => db
                .prepare_cached(
                    "INSERT INTO chatferry_members (conversation_id, user_id, role, joined_at) \
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    id,
                    member.user_id,
                    member.role.as_str(),
                    to_sqlite(member.joined_at)
                ])?,
            GroupRow::Assigned(member) => db
                .prepare_cached(
                    "UPDATE chatferry_members SET role = ?3 \
                     WHERE conversation_id = ?1 AND user_id = ?2",
                )?
                .execute(params![id, member.user_id, member.role.as_str()])?,
        };
    }
    Ok(())
}
