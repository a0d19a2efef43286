//! Rows of the outbox as values.

use std::time::Duration;

use super::TextRow;
use crate::{python::datetime::Timestamp, store::StoreError};

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// 0 for a dead letter.
    pub place: i64,
    pub event_id: String,
    pub event_type: String,
    pub conversation_id: String,
    pub made_at: Timestamp,
    pub data: String,
}

/// The right to publish to a sink and to move its cursor, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(super) sink: String,
    pub(super) epoch: i64,
    /// Last place that is settled.
    pub place: i64,
    pub(super) lasts: Duration,
}

/// Events that a sink has not got yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub events: i64,
    /// Time of the oldest.
    pub since: Option<Timestamp>,
    /// Events that the sink has refused for good, and that are kept.
    pub dead: i64,
}

/// A sink as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkState {
    pub name: String,
    pub place: i64,
    /// The process that publishes now.
    pub owner: Option<String>,
}

/// An event that a sink has refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub sink: String,
    pub event: OutboxRow,
    pub error: String,
    /// It is to be published again.
    pub again: bool,
}

/// The values of a row, one after the other.
pub struct Columns(std::vec::IntoIter<Option<String>>);

impl From<TextRow> for Columns {
    fn from(row: TextRow) -> Self {
        Columns(row.into_iter())
    }
}

impl Columns {
    pub fn text(&mut self) -> Result<String, StoreError> {
        let missing = || StoreError::Schema("a value of the outbox is missing".into());
        self.0.next().flatten().ok_or_else(missing)
    }

    pub fn number(&mut self) -> Result<i64, StoreError> {
        number(&self.text()?)
    }

    pub fn optional(&mut self) -> Result<Option<i64>, StoreError> {
        let value = self.0.next().flatten();
        value.as_deref().map(number).transpose()
    }

    pub fn event(&mut self) -> Result<OutboxRow, StoreError> {
        Ok(OutboxRow {
            place: self.number()?,
            event_id: self.text()?,
            event_type: self.text()?,
            conversation_id: self.text()?,
            made_at: Timestamp::from_micros(self.number()?),
            data: self.text()?,
        })
    }
}

/// Reads a number.
pub fn number(text: &str) -> Result<i64, StoreError> {
    let unreadable = || StoreError::Schema(format!("the outbox has {text} for a number"));
    text.parse().map_err(|_| unreadable())
}
