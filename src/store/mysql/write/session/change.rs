//! Changes of messages, one after the other: they are rare.

use mysql_async::{Row, prelude::Queryable};

use super::{Session, WriteFailure};
use crate::{
    chat::NewChange,
    python::datetime::Timestamp,
    store::{
        change::changed,
        commit::CommitOutcome,
        mysql::{changes, row},
    },
};

impl Session {
    /// Changes a message, unless it is gone or deleted, or an earlier try has changed it.
    pub(super) async fn change(&mut self, new: &NewChange) -> Result<CommitOutcome, WriteFailure> {
        let layout = &self.statements.layout;
        let find = changes::to_be_changed(layout, new.change.message_id);
        let found: Vec<Row> = self.conn.query(find).await?;
        let found = row::page(found, false).whole()?.messages.into_iter().next();
        let made: Option<Row> = self
            .conn
            .query_first(changes::is_made(new.change.id))
            .await?;
        let message = match changed(found, new, made.is_some()) {
            Ok(message) => message,
            Err(outcome) => return Ok(outcome),
        };
        self.conn
            .query_drop(changes::update(layout, &message))
            .await?;
        let insert = changes::insert(new.change, message.updated_at);
        self.conn.query_drop(insert).await?;
        Ok(CommitOutcome::Changed(Box::new(message)))
    }

    /// Deletes some of the changes that were made before a time.
    pub(super) async fn forget(
        &mut self,
        before: Timestamp,
    ) -> Result<CommitOutcome, WriteFailure> {
        self.conn.query_drop(changes::forget(before)).await?;
        Ok(CommitOutcome::Stored)
    }
}
