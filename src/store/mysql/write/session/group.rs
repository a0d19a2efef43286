//! Groups, one after the other: they are rarely made and changed.

use std::collections::HashSet;

use mysql_async::{Row, prelude::Queryable};

use super::{DUPLICATE, Session, WriteFailure};
use crate::{
    chat::{Group, Message, NewGroup, NewGroupChange},
    id::ConversationId,
    store::{
        StoreError,
        commit::CommitOutcome,
        groups as rules,
        mysql::{changes, groups, pool::code, row::Columns, write::statement::Pending},
    },
};

impl Session {
    /// Makes a group, unless there is one of its id.
    pub(super) async fn create_group(
        &mut self,
        new: &NewGroup,
    ) -> Result<CommitOutcome, WriteFailure> {
        let found = self.locked_group(new.group.id).await?;
        let group = match rules::made(found, new) {
            Ok(group) => group,
            Err(outcome) => return Ok(outcome),
        };
        self.save_group(None, &group).await?;
        Ok(CommitOutcome::Group(Box::new(group), true))
    }

    /// Changes a group as far as its rules allow it.
    pub(super) async fn change_group(
        &mut self,
        new: &NewGroupChange,
    ) -> Result<CommitOutcome, WriteFailure> {
        let found = self.locked_group(new.change.conversation_id).await?;
        let made: Option<Row> = self
            .conn
            .query_first(changes::is_made(new.change.id))
            .await?;
        let group = match rules::changed(found.as_ref(), new, made.is_some()) {
            Ok(group) => group,
            Err(outcome) => return Ok(outcome),
        };
        self.save_group(found.as_ref(), &group).await?;
        let insert = changes::insert(new.change, group.updated_at);
        self.conn.query_drop(insert).await?;
        Ok(CommitOutcome::Group(Box::new(group), true))
    }

    /// Returns a group, which no other process changes until the transaction ends.
    async fn locked_group(&mut self, id: ConversationId) -> Result<Option<Group>, WriteFailure> {
        self.conn.query_drop(groups::lock(id)).await?;
        let rows: Vec<Row> = self.conn.query(groups::groups_of(&[id])).await?;
        Ok(groups::group_rows(rows)?.pop())
    }

    async fn save_group(
        &mut self,
        before: Option<&Group>,
        after: &Group,
    ) -> Result<(), WriteFailure> {
        for row in rules::difference(before, after) {
            match self.conn.query_drop(groups::write(after.id, row)).await {
                // Another process has just made it: the next try finds it.
                Err(error) if code(&error) == Some(DUPLICATE) && before.is_none() => {
                    return Err(StoreError::Conflict(error.to_string()).into());
                }
                written => written?,
            }
        }
        Ok(())
    }

    /// Leaves out the messages whose senders are no members of their groups.
    pub(super) async fn drop_strangers(
        &mut self,
        rows: &mut Vec<Pending<'_, Message>>,
    ) -> Result<(), WriteFailure> {
        if rows.is_empty() {
            return Ok(());
        }
        let of = rows.iter().map(|it| it.row.conversation_id);
        let users = rows.iter().map(|it| it.row.sender_id.as_str());
        let found: Vec<Row> = self.conn.query(groups::members(of, users)).await?;
        let members = found.into_iter().map(|row| {
            let mut columns = Columns::from(row);
            Ok((columns.id()?, columns.take()?))
        });
        let members: HashSet<(ConversationId, String)> =
            members.collect::<Result<_, StoreError>>()?;
        rows.retain(|it| members.contains(&(it.row.conversation_id, it.row.sender_id.clone())));
        Ok(())
    }
}
