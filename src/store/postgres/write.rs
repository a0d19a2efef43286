//! Writes: one batch, one transaction.
//!
//! When the connection breaks and it is unknown whether the transaction was committed, the
//! committer comes again with the same batch. If it was, the first id that is there already says
//! so, and the rows are found by their ids; if the old transaction is still at work, PostgreSQL
//! lets us wait.

mod statement;

use std::sync::Arc;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

pub use self::statement::PostgresStatements;
use self::statement::pair_of;
use super::{
    address::Address,
    attachments, changes,
    connection::{ANSWER, PostgresConnection},
    error::{Fault, describe, is_answer, leaves_usable, loses_statements, no_answer},
    groups, outbox,
    pool::PostgresPool,
};
use crate::{
    chat::{Conversation, Message, Receipt},
    id::AttachmentId,
    store::{
        StoreError,
        commit::{Attempt, Backend, CommitOutcome, Write},
    },
};

/// The one connection that writes. It belongs to the committer, and is opened again when it broke.
pub struct PostgresWriter {
    address: Address,
    statements: PostgresStatements,
    db: Option<PostgresConnection>,
    /// True if rows of the batch that comes next are in the tables already. Looking always would
    /// cost a quarter of the speed.
    repeated: bool,
    /// Those that read, of which one ends if there would be too many.
    readers: Arc<PostgresPool>,
}

impl PostgresWriter {
    pub fn new(
        address: Address,
        statements: PostgresStatements,
        readers: Arc<PostgresPool>,
    ) -> Self {
        PostgresWriter {
            address,
            statements,
            db: None,
            repeated: false,
            readers,
        }
    }

    async fn connection(&mut self) -> Result<PostgresConnection, StoreError> {
        if let Some(mut db) = self.db.take()
            && db.lives().await
        {
            return Ok(db);
        }
        self.readers.make_room().await
    }
}

impl Backend for PostgresWriter {
    async fn write(
        &mut self,
        batch: Arc<Vec<Write>>,
        attempt: Attempt,
    ) -> Result<Vec<CommitOutcome>, StoreError> {
        let repeated = std::mem::take(&mut self.repeated) || self.statements.must_look(attempt);
        let mut db = self.connection().await?;
        let writing = write_all(&mut db, &self.statements, &batch, repeated);
        let error = match timeout(ANSWER, writing).await {
            Ok(Ok(outcomes)) => {
                self.db = Some(db);
                return Ok(outcomes);
            }
            Ok(Err(Fault::Server(error))) if is_answer(&error) => error,
            // Nothing was committed: the transaction ends with the connection.
            Ok(Err(Fault::TooMany)) if db.has_begun() => return Err(Fault::TooMany.into()),
            Ok(Err(fault)) => return Err(without_answer(fault.into())),
            Err(_) => return Err(StoreError::Unknown(no_answer(ANSWER))),
        };
        // A server that does not answer keeps nobody waiting: the connection is dropped.
        if leaves_usable(&error) && matches!(timeout(ANSWER, db.roll_back()).await, Ok(Ok(()))) {
            self.db = Some(db);
        }
        if loses_statements(&error) {
            self.address.found_pooler();
            return Err(StoreError::Conflict(describe(&error)));
        }
        self.repeated = !repeated && error.code() == Some(&SqlState::UNIQUE_VIOLATION);
        if self.repeated || error.code().is_some_and(is_passing) {
            return Err(StoreError::Conflict(describe(&error)));
        }
        Err(error.into())
    }
}

fn without_answer(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unknown(why),
        // A column has been given another type: nothing was sent.
        other => other,
    }
}

/// Deadlocks, serialization failures, and a parent row deleted between our look and our commit:
/// the next attempt sees what the others have done.
fn is_passing(code: &SqlState) -> bool {
    [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::FOREIGN_KEY_VIOLATION,
    ]
    .contains(code)
}

/// A row with its place in the batch.
type Placed<'a, T> = (usize, &'a T);

/// The rows of a batch by kind.
#[derive(Default)]
struct Sorted<'a> {
    conversations: Vec<Placed<'a, Conversation>>,
    messages: Vec<Placed<'a, Message>>,
    receipts: Vec<Placed<'a, Receipt>>,
    /// Done one after the other: they are rare.
    others: Vec<Placed<'a, Write>>,
}

impl<'a> Sorted<'a> {
    fn new(batch: &'a [Write]) -> Self {
        let mut sorted = Sorted::default();
        for (place, write) in batch.iter().enumerate() {
            match write {
                Write::Conversation(row) => sorted.conversations.push((place, row)),
                Write::Message(row) => sorted.messages.push((place, row)),
                Write::Receipt(row) => sorted.receipts.push((place, row)),
                _ => sorted.others.push((place, write)),
            }
        }
        sorted
    }

    /// Returns whether one statement writes all, and is a transaction by itself.
    fn is_one_statement(&self) -> bool {
        self.conversations.is_empty()
            && self.others.is_empty()
            && (self.messages.is_empty() || self.receipts.is_empty())
    }
}

async fn write_all(
    db: &mut PostgresConnection,
    statements: &PostgresStatements,
    batch: &[Write],
    repeated: bool,
) -> Result<Vec<CommitOutcome>, Fault> {
    let mut rows = Sorted::new(batch);
    let mut outcomes = vec![CommitOutcome::Missing; batch.len()];
    // Behind a pooler the settings of a session hold for a transaction only.
    let several = db.is_pooled() || statements.keeps_events() || !rows.is_one_statement();
    if several {
        db.begin().await?;
    }
    // Locks are taken in one order by every process, so that none waits for another in a circle.
    rows.conversations.sort_by_key(|(_, row)| pair_of(row));
    for (place, row) in rows.conversations {
        outcomes[place] = statements.insert_conversation(db, row).await?;
    }
    let messages = rows.messages;
    statements
        .insert_messages(db, messages, repeated, &mut outcomes)
        .await?;
    statements
        .upsert_receipts(db, &rows.receipts, &mut outcomes)
        .await?;
    for (place, write) in rows.others {
        outcomes[place] = match write {
            Write::Change(new) => changes::change(db, statements.layout(), new).await?,
            Write::NewGroup(new) => groups::create(db, new).await?,
            Write::GroupChange(new) => groups::change(db, new).await?,
            Write::ForgetChanges(before) => changes::forget(db, *before).await?,
            Write::Attachments(write) => attachments::write(db, write).await?,
            Write::Attached(row, ids) => {
                let attached = (row, ids.as_slice());
                insert_attached(db, statements, attached, repeated).await?
            }
            _ => continue,
        };
    }
    if statements.keeps_events() {
        outbox::note(db, statements.layout(), batch, &outcomes).await?;
    }
    if several {
        db.commit().await?;
    }
    Ok(outcomes)
}

/// Inserts a message with its uploads, if it may have all of them.
async fn insert_attached(
    db: &mut PostgresConnection,
    statements: &PostgresStatements,
    (row, ids): (&Message, &[AttachmentId]),
    repeated: bool,
) -> Result<CommitOutcome, Fault> {
    if !attachments::are_free(db, row, ids).await? {
        return Ok(CommitOutcome::Unattached);
    }
    let mut outcome = [CommitOutcome::Missing];
    let rows = vec![(0, row)];
    statements
        .insert_messages(db, rows, repeated, &mut outcome)
        .await?;
    let [outcome] = outcome;
    if outcome == CommitOutcome::Stored {
        attachments::send(db, row, ids).await?;
    }
    Ok(outcome)
}
