//! Groups: read, made and changed.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::{
    PostgresStore, connection::PostgresConnection, error::Fault, param::Params, row::time_at,
    storable, time::Time,
};
use crate::{
    chat::{Change, Group, GroupAction, GroupMember, GroupRefusal, NewGroup, NewGroupChange},
    id::ConversationId,
    store::{
        OpenDatabase, StoreError,
        commit::{AnnounceGroup, CommitOutcome},
        groups::{self, GroupRow, Groups, gather, member_ids, sort_members},
        schema::MemberSource,
    },
};

/// Selects groups with their members.
const GROUPS: &str = "SELECT c.id, c.name, c.version, c.created_at, c.updated_at, m.user_id, m.role, \
    m.joined_at FROM chatferry_conversations AS c \
    LEFT JOIN chatferry_members AS m ON m.conversation_id = c.id WHERE c.id = ANY($1)";

#[async_trait]
impl Groups for PostgresStore {
    fn keeps_groups(&self) -> bool {
        matches!(self.layout.schema.members, MemberSource::Kept(_))
    }

    async fn groups_of(&self, conversations: &[ConversationId]) -> Result<Vec<Group>, StoreError> {
        group_rows(&self.readers.query(GROUPS, &[&conversations]).await?)
    }

    async fn create_group(
        &self,
        new: NewGroup,
        announce: AnnounceGroup,
    ) -> Result<Result<(Group, bool), GroupRefusal>, StoreError> {
        storable([&new.group.name])?;
        for member in &new.group.members {
            storable([&member.user_id])?;
        }
        self.committer().create_group(new, announce).await
    }

    async fn change_group(
        &self,
        new: NewGroupChange,
        announce: AnnounceGroup,
    ) -> Result<Result<Group, GroupRefusal>, StoreError> {
        match &new.action {
            GroupAction::Invite(users) => {
                for user in users {
                    storable([user])?;
                }
            }
            GroupAction::Rename(name) => storable([name])?,
            // These are looked for among the members, and not written.
            GroupAction::Remove(_) | GroupAction::Leave | GroupAction::Assign(..) => {}
        }
        self.committer().change_group(new, announce).await
    }
}

fn group_rows(rows: &[Row]) -> Result<Vec<Group>, StoreError> {
    let mut found = Vec::new();
    for row in rows {
        let group = Group {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            version: row.try_get(2)?,
            created_at: time_at(row, 3)?,
            updated_at: time_at(row, 4)?,
            members: Vec::new(),
        };
        let member = match row.try_get::<_, Option<String>>(5)? {
            None => None,
            Some(user_id) => Some(GroupMember {
                user_id,
                role: groups::role(row.try_get(6)?)?,
                joined_at: time_at(row, 7)?,
            }),
        };
        gather(&mut found, group, member);
    }
    sort_members(&mut found);
    Ok(found)
}

/// Returns a group, which no other process changes until the transaction ends. Messages are stored
/// meanwhile.
async fn locked(db: &mut PostgresConnection, id: ConversationId) -> Result<Option<Group>, Fault> {
    let lock = "SELECT 1 FROM chatferry_conversations WHERE id = $1 FOR NO KEY UPDATE";
    db.query(lock, &[&id]).await?;
    let ids: &[ConversationId] = &[id];
    let rows = db.query(GROUPS, &[&ids]).await?;
    Ok(group_rows(&rows).map_err(Fault::Unreadable)?.pop())
}

/// Makes a group, unless there is one of its id. Another process that makes it at the same moment
/// lets the insert fail, and the next try finds it.
pub async fn create(db: &mut PostgresConnection, new: &NewGroup) -> Result<CommitOutcome, Fault> {
    let found = locked(db, new.group.id).await?;
    let group = match groups::made(found, new) {
        Ok(group) => group,
        Err(outcome) => return Ok(outcome),
    };
    save(db, None, &group).await?;
    Ok(CommitOutcome::Group(Box::new(group), true))
}

/// Changes a group as far as its rules allow it.
pub async fn change(
    db: &mut PostgresConnection,
    new: &NewGroupChange,
) -> Result<CommitOutcome, Fault> {
    let Change {
        id,
        conversation_id,
        message_id,
    } = new.change;
    let found = locked(db, conversation_id).await?;
    let done = "SELECT 1 FROM chatferry_changes WHERE id = $1";
    let is_done = !db.query(done, &[&id]).await?.is_empty();
    let group = match groups::changed(found.as_ref(), new, is_done) {
        Ok(group) => group,
        Err(outcome) => return Ok(outcome),
    };
    save(db, found.as_ref(), &group).await?;
    let insert = "INSERT INTO chatferry_changes (id, conversation_id, message_id, changed_at) \
                  VALUES ($1, $2, $3, $4)";
    let at = Time(group.updated_at);
    db.query(insert, &[&id, &conversation_id, &message_id, &at])
        .await?;
    Ok(CommitOutcome::Group(Box::new(group), true))
}

/// Writes a group that was as `before`, if it was.
async fn save(
    db: &mut PostgresConnection,
    before: Option<&Group>,
    after: &Group,
) -> Result<(), Fault> {
    let (id, is_active) = (after.id, true);
    let (users, updated_at) = (member_ids(after), Time(after.updated_at));
    for row in groups::difference(before, after) {
        match row {
            GroupRow::Made(group) => {
                let sql = "INSERT INTO chatferry_conversations \
                           (id, name, version, member_ids, created_at, updated_at, is_active) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let created_at = Time(group.created_at);
                let values: Params<'_> = &[
                    &id,
                    &group.name,
                    &group.version,
                    &users,
                    &created_at,
                    &updated_at,
                    &is_active,
                ];
                db.query(sql, values).await?;
            }
            GroupRow::Changed(group) => {
                let sql = "UPDATE chatferry_conversations SET name = $2, version = $3, \
                           member_ids = $4, updated_at = $5 WHERE id = $1";
                let values: Params<'_> = &[&id, &group.name, &group.version, &users, &updated_at];
                db.query(sql, values).await?;
            }
            GroupRow::Left(user) => {
                let sql =
                    "DELETE FROM chatferry_members WHERE conversation_id = $1 AND user_id = $2";
                db.query(sql, &[&id, &user]).await?;
            }
            GroupRow::Joined(member) => {
                let sql = "INSERT INTO chatferry_members (conversation_id, user_id, role, joined_at) \
                           VALUES ($1, $2, $3, $4)";
                let (role, joined_at) = (member.role.as_str(), Time(member.joined_at));
                db.query(sql, &[&id, &member.user_id, &role, &joined_at])
                    .await?;
            }
            GroupRow::Assigned(member) => {
                let sql = "UPDATE chatferry_members SET role = $3 \
                           WHERE conversation_id = $1 AND user_id = $2";
                let role = member.role.as_str();
                db.query(sql, &[&id, &member.user_id, &role]).await?;
            }
        }
    }
    Ok(())
}
