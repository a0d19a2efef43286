//! The outbox: events for other services, written in the transaction of the rows they are of, and
//! read by the publishers of [`crate::events`].
//!
//! Rows get their numbers (`id`) when they are inserted and are seen when they are committed, and
//! transactions of several processes commit in another order than they insert. A reader that went by
//! `id` would pass over a row that is committed late. So a row is inserted without a place, and the
//! places are given afterwards: by one process at a time, which holds the lock of a row, and to
//! committed rows only, in the order of their numbers. Places have no gaps, and no row gets one
//! before a place that a reader has seen. A row that was made after another one was committed has
//! the higher number, so an edit comes after its message, whichever processes wrote them.
//!
//! A sink has a cursor, the last place that is settled, and is served by the process that holds its
//! lease. Each new lease has a higher epoch, and a cursor is moved only under the epoch of the lease:
//! a process that was paused cannot move it back.
//!
//! The statements are those of [`statements`]; what differs from database to database is a
//! [`Spelling`] and an [`OutboxConnection`].

mod rows;
mod statements;
mod values;

use std::time::Duration;

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

pub use self::{
    rows::{events_of, read_messages},
    statements::{Spelling, quoted},
    values::{Backlog, DeadLetter, Lease, OutboxRow, SinkState},
};
use self::{
    statements::Statements,
    values::{Columns, number},
};
use super::{StoreError, schema::OwnTable};
use crate::{chat::NewOutboxEvent, python::datetime::Timestamp};

/// The tables. The outbox itself is made last, so that all are there if it is.
pub const TABLES: OwnTable = OwnTable {
    name: "chatferry_outbox",
    mysql: include_str!("../../migrations/mysql/0130_outbox.sql"),
    postgres: include_str!("../../migrations/postgres/0130_outbox.sql"),
    sqlite: include_str!("../../migrations/sqlite/0130_outbox.sql"),
};

/// Longest wait for the answer to a statement.
const ANSWER: Duration = Duration::from_secs(10);

/// Most rows that get their places in one transaction, and that are deleted in one.
pub const TOGETHER: usize = 500;

/// Most bytes of data that are read at once, unless one event has more.
const READ_BYTES: i64 = 4 << 20;

/// Name of the row that holds until when the messages of other programs have been looked for, in
/// microseconds, as its place.
pub const RECONCILED: &str = ".reconciled";

/// Values of a row, as text.
pub type TextRow = Vec<Option<String>>;

/// A database with an outbox.
#[async_trait]
pub trait OutboxDatabase: Send + Sync {
    /// Opens a connection for the outbox alone.
    async fn connect(&self) -> Result<Box<dyn OutboxConnection>, StoreError>;

    fn spelling(&self) -> Spelling;
}

/// A connection that runs statements without parameters. An open transaction ends without a trace
/// when it is dropped.
#[async_trait]
pub trait OutboxConnection: Send {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, StoreError>;

    /// Returns how many rows were inserted, updated or deleted.
    async fn run(&mut self, sql: &str) -> Result<u64, StoreError>;
}

/// The outbox of one database. Its connection is opened when it is first needed.
pub struct Outbox {
    database: Box<dyn OutboxDatabase>,
    statements: Statements,
    connection: Mutex<Option<Box<dyn OutboxConnection>>>,
}

/// The connection while it is in use. Unless it is kept, it is closed.
struct Held<'a> {
    place: MutexGuard<'a, Option<Box<dyn OutboxConnection>>>,
    connection: Box<dyn OutboxConnection>,
}

impl Held<'_> {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, StoreError> {
        let rows = timeout(ANSWER, self.connection.rows(sql)).await;
        rows.unwrap_or_else(|_| Err(late()))
    }

    async fn run(&mut self, sql: &str) -> Result<u64, StoreError> {
        let done = timeout(ANSWER, self.connection.run(sql)).await;
        done.unwrap_or_else(|_| Err(late()))
    }

    /// Returns the first value of the first row as a number.
    async fn number(&mut self, sql: &str) -> Result<Option<i64>, StoreError> {
        let rows = self.rows(sql).await?;
        let first = rows.first().and_then(|row| row.first()?.as_deref());
        first.map(number).transpose()
    }

    fn keep(mut self) {
        *self.place = Some(self.connection);
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("a statement of the outbox took too long".into())
}

impl Outbox {
    #[must_use]
    pub fn new(database: impl OutboxDatabase + 'static) -> Self {
        Outbox {
            statements: Statements::new(database.spelling()),
            database: Box::new(database),
            connection: Mutex::default(),
        }
    }

    async fn hold(&self) -> Result<Held<'_>, StoreError> {
        let mut place = self.connection.lock().await;
        let connection = match place.take() {
            Some(connection) => connection,
            None => self.database.connect().await?,
        };
        Ok(Held { place, connection })
    }

    /// Makes the rows of these sinks. A new one begins with the oldest event that is kept.
    pub async fn prepare(&self, sinks: &[&str]) -> Result<(), StoreError> {
        let mut held = self.hold().await?;
        let first = held.number(&statements::first_cursor()).await?;
        let prepare = self.statements.prepare(sinks, first.unwrap_or_default());
        held.run(&prepare).await?;
        held.keep();
        Ok(())
    }

    /// Takes the lease of a sink for this owner; `None` while another one has it.
    pub async fn lease(
        &self,
        sink: &str,
        owner: &str,
        lasts: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let mut held = self.hold().await?;
        let taken = held.run(&self.statements.lease(sink, owner, lasts)).await?;
        let rows = match taken {
            0 => Vec::new(),
            _ => held.rows(&self.statements.leased(sink, owner)).await?,
        };
        held.keep();
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let mut columns = Columns::from(row);
        Ok(Some(Lease {
            sink: sink.to_owned(),
            place: columns.number()?,
            epoch: columns.number()?,
            lasts,
        }))
    }

    /// Makes the lease last from now, with the cursor at this place. Returns `false` if it is
    /// another's by now, and then nothing has changed.
    pub async fn settle(&self, lease: &mut Lease, place: i64) -> Result<bool, StoreError> {
        let mut held = self.hold().await?;
        let settle = self.statements.settle(lease, place);
        let is_held = held.run(&settle).await? > 0;
        held.keep();
        if is_held {
            lease.place = place;
        }
        Ok(is_held)
    }

    /// Puts an event aside that the sink has refused, and moves the cursor past it. Returns `false`
    /// if the lease is another's by now.
    pub async fn bury(
        &self,
        lease: &mut Lease,
        place: i64,
        error: &str,
    ) -> Result<bool, StoreError> {
        let statements = &self.statements;
        let mut held = self.hold().await?;
        held.run(statements.begin()).await?;
        if held.run(&statements.settle(lease, place)).await? == 0 {
            return Ok(false);
        }
        held.run(&statements.bury(&lease.sink, place, error))
            .await?;
        held.run("COMMIT").await?;
        held.keep();
        lease.place = place;
        Ok(true)
    }

    /// Ends the lease, so that another process need not wait.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut held = self.hold().await?;
        held.run(&self.statements.release(lease)).await?;
        held.keep();
        Ok(())
    }

    /// Gives places to events that have none, [`TOGETHER`] at most, and returns how many.
    pub async fn give_places(&self) -> Result<usize, StoreError> {
        let statements = &self.statements;
        let mut held = self.hold().await?;
        if held.rows(statements::has_new()).await?.is_empty() {
            held.keep();
            return Ok(0);
        }
        held.run(statements.begin()).await?;
        let last = held.number(&statements.last_place()).await?;
        let last = last.ok_or_else(|| StoreError::Schema("the outbox is not prepared".into()))?;
        let rows = held.rows(&statements::new_rows(TOGETHER)).await?;
        let ids = rows.into_iter().map(|row| Columns::from(row).number());
        let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
        if !ids.is_empty() {
            held.run(&statements::give_places(&ids, last)).await?;
            held.run(&statements::set_last_place(last, ids.len()))
                .await?;
        }
        held.run("COMMIT").await?;
        held.keep();
        Ok(ids.len())
    }

    /// Returns the events after a place, in their order: `most` at most, and no more than 4 MiB of
    /// data together unless the first has more.
    pub async fn after(&self, place: i64, most: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let mut held = self.hold().await?;
        let sizes = held.rows(&statements::sizes(place, most)).await?;
        let (mut last, mut bytes) = (None, 0);
        for row in sizes {
            let mut columns = Columns::from(row);
            let (place, size) = (columns.number()?, columns.number()?);
            bytes += size;
            if bytes > READ_BYTES && last.is_some() {
                break;
            }
            last = Some(place);
        }
        let rows = match last {
            Some(last) => held.rows(&statements::between(place, last)).await?,
            None => Vec::new(),
        };
        held.keep();
        rows.into_iter()
            .map(|row| Columns::from(row).event())
            .collect()
    }

    /// Returns dead letters of a sink that are to be published again.
    pub async fn to_be_repeated(
        &self,
        sink: &str,
        most: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let mut held = self.hold().await?;
        let rows = held.rows(&self.statements.repeated(sink, most)).await?;
        held.keep();
        rows.into_iter()
            .map(|row| Columns::from(row).event())
            .collect()
    }

    /// Notes that the sink has refused a dead letter again.
    pub async fn bury_again(
        &self,
        sink: &str,
        event_id: &str,
        error: &str,
    ) -> Result<(), StoreError> {
        let mut held = self.hold().await?;
        held.run(&self.statements.bury_again(sink, event_id, error))
            .await?;
        held.keep();
        Ok(())
    }

    /// Adds events, unless they are there. Returns how many were not.
    pub async fn add(&self, events: &[NewOutboxEvent]) -> Result<u64, StoreError> {
        if events.is_empty() {
            return Ok(0);
        }
        self.change(&self.statements.add(events)).await
    }

    /// Returns what a sink has not got yet.
    pub async fn backlog(&self, sink: &str) -> Result<Backlog, StoreError> {
        let mut held = self.hold().await?;
        let rows = held.rows(&self.statements.backlog(sink)).await?;
        held.keep();
        let Some(row) = rows.into_iter().next() else {
            return Ok(Backlog::default());
        };
        let mut columns = Columns::from(row);
        Ok(Backlog {
            events: columns.number()?,
            dead: columns.number()?,
            since: columns.optional()?.map(Timestamp::from_micros),
        })
    }

    /// Deletes events that were made before a time and that every sink has got: [`TOGETHER`] at most.
    /// Returns how many.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut held = self.hold().await?;
        let prunable = statements::prunable(before, TOGETHER);
        let pruned = match held.number(&prunable).await? {
            Some(last) => held.run(&statements::prune(last)).await?,
            None => 0,
        };
        held.keep();
        Ok(pruned)
    }

    /// Returns the sinks that have a cursor, in the order of their names.
    pub async fn sinks(&self) -> Result<Vec<SinkState>, StoreError> {
        let mut held = self.hold().await?;
        let rows = held.rows(&self.statements.sinks()).await?;
        held.keep();
        let sinks = rows.into_iter().map(|row| {
            let mut columns = Columns::from(row);
            Ok(SinkState {
                name: columns.text()?,
                place: columns.number()?,
                owner: Some(columns.text()?).filter(|owner| !owner.is_empty()),
            })
        });
        sinks.collect()
    }

    /// Returns dead letters, of one sink or of all: the oldest first.
    pub async fn dead_letters(
        &self,
        sink: Option<&str>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut held = self.hold().await?;
        let rows = held.rows(&self.statements.dead_letters(sink, most)).await?;
        held.keep();
        let letters = rows.into_iter().map(|row| {
            let mut columns = Columns::from(row);
            Ok(DeadLetter {
                event: columns.event()?,
                sink: columns.text()?,
                error: columns.text()?,
                again: columns.number()? != 0,
            })
        });
        letters.collect()
    }

    /// Has dead letters of a sink published again: one event's, or all. Returns how many.
    pub async fn repeat(&self, sink: &str, event_id: Option<&str>) -> Result<u64, StoreError> {
        self.change(&self.statements.repeat(sink, event_id)).await
    }

    /// Deletes dead letters of a sink: one event's, or all. Returns how many.
    pub async fn drop_dead(&self, sink: &str, event_id: Option<&str>) -> Result<u64, StoreError> {
        self.change(&self.statements.drop_dead(sink, event_id))
            .await
    }

    /// Forgets a sink and its cursor, so that no events are kept for it. Returns whether there was
    /// one.
    pub async fn drop_sink(&self, sink: &str) -> Result<bool, StoreError> {
        Ok(self.change(&self.statements.drop_sink(sink)).await? > 0)
    }

    /// Moves the cursor of a sink back, so that it gets this event and all later ones again. Returns
    /// `false` if the event is not kept any more, or there is no such sink.
    pub async fn rewind(&self, sink: &str, event_id: &str) -> Result<bool, StoreError> {
        let mut held = self.hold().await?;
        let place = held.number(&self.statements.place_of(event_id)).await?;
        let moved = match place {
            Some(place) => held.run(&self.statements.rewind(sink, place)).await?,
            None => 0,
        };
        held.keep();
        Ok(moved > 0)
    }

    async fn change(&self, sql: &str) -> Result<u64, StoreError> {
        let mut held = self.hold().await?;
        let changed = held.run(sql).await?;
        held.keep();
        Ok(changed)
    }
}
