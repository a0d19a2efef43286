//! Groups: read, and the statements that write them.

use async_trait::async_trait;
use mysql_async::Row;

use super::{
    MysqlStore,
    query::{id, ids, quoted, time},
    row::Columns,
};
use crate::{
    chat::{Group, GroupMember},
    id::ConversationId,
    store::{
        StoreError,
        groups::{self, GroupRow, Groups, gather, member_ids, sort_members},
        schema::MemberSource,
    },
};

#[async_trait]
impl Groups for MysqlStore {
    fn keeps_groups(&self) -> bool {
        matches!(self.layout.schema.members, MemberSource::Kept(_))
    }

    async fn groups_of(&self, conversations: &[ConversationId]) -> Result<Vec<Group>, StoreError> {
        group_rows(self.pool.rows(&groups_of(conversations)).await?)
    }
}

/// Selects groups with their members.
pub fn groups_of(of: &[ConversationId]) -> String {
    format!(
        "SELECT c.id, c.name, c.version, c.created_at, c.updated_at, m.user_id, m.role, m.joined_at \
         FROM chatferry_conversations AS c \
         LEFT JOIN chatferry_members AS m ON m.conversation_id = c.id WHERE c.id IN ({})",
        ids(of.iter().copied())
    )
}

/// # Errors
/// When the rows are not what [`groups_of`] asks for.
pub fn group_rows(rows: Vec<Row>) -> Result<Vec<Group>, StoreError> {
    let mut found = Vec::new();
    for row in rows {
        let mut columns = Columns::from(row);
        let group = Group {
            id: columns.id()?,
            name: columns.take()?,
            version: columns.take()?,
            created_at: columns.time()?,
            updated_at: columns.time()?,
            members: Vec::new(),
        };
        let member = match columns.take::<Option<String>>()? {
            None => None,
            Some(user_id) => Some(GroupMember {
                user_id,
                role: groups::role(&columns.take::<String>()?)?,
                joined_at: columns.time()?,
            }),
        };
        gather(&mut found, group, member);
    }
    sort_members(&mut found);
    Ok(found)
}

/// Locks a group until the transaction ends.
pub fn lock(of: ConversationId) -> String {
    format!(
        "SELECT 1 FROM chatferry_conversations WHERE id = {} FOR UPDATE",
        id(of)
    )
}

/// Selects the members of some groups who may be these, and keeps them from being removed until the
/// transaction ends.
pub fn members<'a>(
    of: impl IntoIterator<Item = ConversationId>,
    users: impl IntoIterator<Item = &'a str>,
) -> String {
    let users: Vec<String> = users.into_iter().map(quoted).collect();
    format!(
        "SELECT conversation_id, user_id FROM chatferry_members \
         WHERE conversation_id IN ({}) AND user_id IN ({}) LOCK IN SHARE MODE",
        ids(of),
        users.join(", ")
    )
}

/// Returns the statement that writes a row of a group.
pub fn write(of: ConversationId, row: GroupRow<'_>) -> String {
    let of = id(of);
    match row {
        GroupRow::Made(group) => format!(
            "INSERT INTO chatferry_conversations \
             (id, name, version, member_ids, created_at, updated_at, is_active) \
             VALUES ({of}, {}, {}, {}, {}, {}, TRUE)",
            quoted(&group.name),
            group.version,
            quoted(&member_ids(group)),
            time(group.created_at),
            time(group.updated_at)
        ),
        GroupRow::Changed(group) => format!(
            "UPDATE chatferry_conversations SET name = {}, version = {}, member_ids = {}, \
             updated_at = {} WHERE id = {of}",
            quoted(&group.name),
            group.version,
            quoted(&member_ids(group)),
            time(group.updated_at)
        ),
        GroupRow::Left(user) => format!(
            "DELETE FROM chatferry_members WHERE conversation_id = {of} AND user_id = {}",
            quoted(user)
        ),
        GroupRow::Joined(member) => format!(
            "INSERT INTO chatferry_members (conversation_id, user_id, role, joined_at) \
             VALUES ({of}, {}, '{}', {})",
            quoted(&member.user_id),
            member.role.as_str(),
            time(member.joined_at)
        ),
        GroupRow::Assigned(member) => format!(
            "UPDATE chatferry_members SET role = '{}' WHERE conversation_id = {of} AND user_id = {}",
            member.role.as_str(),
            quoted(&member.user_id)
        ),
    }
}
