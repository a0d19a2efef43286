//! Uploads, one after the other: they are rare.

use std::sync::Arc;

use mysql_async::{Row, prelude::Queryable};

use super::{Session, WriteFailure};
use crate::{
    chat::{Attachment, Message},
    id::AttachmentId,
    store::{
        attachment::{may_be_sent, size},
        commit::{AttachmentWrite, CommitOutcome, Write},
        mysql::attachments,
    },
};

impl Session {
    /// Inserts the message at this place of the batch with its uploads, if it may have all of them.
    pub(super) async fn insert_attached(
        &mut self,
        (batch, place): (&[Write], usize),
        (message, ids): (&Message, &[AttachmentId]),
        outcomes: &mut [CommitOutcome],
    ) -> Result<(), WriteFailure> {
        let found: Vec<Row> = self.conn.query(attachments::to_be_sent(ids)).await?;
        let found = found.into_iter().map(attachments::owned);
        if !may_be_sent(&found.collect::<Result<Vec<_>, _>>()?, message, ids) {
            outcomes[place] = CommitOutcome::Unattached;
            return Ok(());
        }
        let statements = Arc::clone(&self.statements);
        let into = &statements.messages;
        let rows = vec![self.pending(into, place, message)?];
        let repeated = self.insert_messages(into, rows, outcomes).await?;
        self.compare(batch, &repeated, outcomes).await?;
        if outcomes[place] == CommitOutcome::Stored {
            self.conn
                .query_drop(attachments::send(message, ids))
                .await?;
        }
        Ok(())
    }

    /// Changes the table of uploads.
    pub(super) async fn write_attachments(
        &mut self,
        write: &AttachmentWrite,
    ) -> Result<CommitOutcome, WriteFailure> {
        let sql = match write {
            AttachmentWrite::Add(new, quota) if self.is_full(new, *quota).await? => {
                return Ok(CommitOutcome::Full);
            }
            AttachmentWrite::Add(new, _) => attachments::add(new),
            AttachmentWrite::Abandon(ids) => attachments::abandon(ids),
            AttachmentWrite::Forget(ids) => attachments::forget(ids),
        };
        self.conn.query_drop(sql).await?;
        Ok(CommitOutcome::Stored)
    }

    async fn is_full(&mut self, new: &Attachment, quota: u64) -> Result<bool, WriteFailure> {
        let taken: Option<i64> = self.conn.query_first(attachments::taken(new)).await?;
        Ok(size(taken.unwrap_or_default()).saturating_add(new.size) > quota)
    }
}
