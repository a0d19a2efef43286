//! The statements of the outbox, the same for all databases as far as SQL is.
//!
//! Values stand in the text: numbers, names of sinks, ids, and texts that each database quotes in
//! its own way.

use std::{fmt::Write, time::Duration};

use super::{Lease, RECONCILED};
use crate::{chat::NewOutboxEvent, python::datetime::Timestamp};

/// Name of the row that holds the last place given.
const LAST: &str = "";

/// Condition of the rows that are sinks.
const IS_SINK: &str = "name NOT IN ('', '.reconciled')";

/// Columns of an event. A dead letter has no place.
const EVENT: &str = "event_id, event_type, conversation_id, made_at, data";

/// Most new events that a backlog counts one by one.
const COUNTED: usize = 10_000;

/// Differences between the databases.
#[derive(Clone, Copy, Debug)]
pub struct Spelling {
    /// Begins a transaction that will write.
    pub begin: &'static str,
    /// The time of the server in microseconds since 1970.
    pub now: &'static str,
    /// Locks the rows that a `SELECT` finds until the end of the transaction.
    pub locking: &'static str,
    /// Begins an `INSERT` whose rows are left out where their keys are taken, and ends it.
    pub insert_new: (&'static str, &'static str),
    /// Returns a text as SQL.
    pub quote: fn(&str) -> String,
}

/// The statements of one kind of database.
#[derive(Clone, Copy, Debug)]
pub struct Statements(Spelling);

impl Statements {
    #[must_use]
    pub fn new(spelling: Spelling) -> Self {
        Statements(spelling)
    }

    pub fn begin(&self) -> &'static str {
        self.0.begin
    }

    fn quoted(&self, text: &str) -> String {
        (self.0.quote)(text)
    }

    /// Makes the rows that are not there, of these sinks with this cursor.
    pub fn prepare(&self, sinks: &[&str], cursor: i64) -> String {
        let (insert, end) = self.0.insert_new;
        let row = |(name, place)| format!("({}, {place}, '', 0, 0)", self.quoted(name));
        let rows = sinks.iter().map(|name| row((*name, cursor)));
        let rows = rows.chain([row((LAST, 0)), row((RECONCILED, 0))]);
        format!(
            "{insert} INTO chatferry_outbox_sinks (name, place, owner, epoch, leased_until) \
             VALUES {}{end}",
            rows.collect::<Vec<_>>().join(", ")
        )
    }

    fn until(&self, lasts: Duration) -> String {
        format!("{} + {}", self.0.now, lasts.as_micros())
    }

    pub fn lease(&self, sink: &str, owner: &str, lasts: Duration) -> String {
        let (sink, owner, now) = (self.quoted(sink), self.quoted(owner), self.0.now);
        format!(
            "UPDATE chatferry_outbox_sinks SET owner = {owner}, epoch = epoch + 1, \
             leased_until = {} WHERE name = {sink} AND (leased_until < {now} OR owner = {owner})",
            self.until(lasts)
        )
    }

    pub fn leased(&self, sink: &str, owner: &str) -> String {
        let (sink, owner) = (self.quoted(sink), self.quoted(owner));
        format!(
            "SELECT place, epoch FROM chatferry_outbox_sinks \
             WHERE name = {sink} AND owner = {owner}"
        )
    }

    pub fn settle(&self, lease: &Lease, place: i64) -> String {
        format!(
            "UPDATE chatferry_outbox_sinks SET place = {place}, leased_until = {} \
             WHERE name = {} AND epoch = {}",
            self.until(lease.lasts),
            self.quoted(&lease.sink),
            lease.epoch
        )
    }

    pub fn release(&self, lease: &Lease) -> String {
        format!(
            "UPDATE chatferry_outbox_sinks SET owner = '', leased_until = 0 \
             WHERE name = {} AND epoch = {}",
            self.quoted(&lease.sink),
            lease.epoch
        )
    }

    pub fn add(&self, events: &[NewOutboxEvent]) -> String {
        let (insert, end) = self.0.insert_new;
        let rows = events.iter().map(|event| {
            format!(
                "('{}', '{}', '{}', {}, {})",
                event.id,
                event.kind.as_str(),
                event.conversation_id,
                event.at.micros(),
                self.quoted(&event.data)
            )
        });
        format!(
            "{insert} INTO chatferry_outbox ({EVENT}) VALUES {}{end}",
            rows.collect::<Vec<_>>().join(", ")
        )
    }

    pub fn bury(&self, sink: &str, place: i64, error: &str) -> String {
        let (insert, end) = self.0.insert_new;
        format!(
            "{insert} INTO chatferry_outbox_dead (sink, {EVENT}, error, again) \
             SELECT {}, {EVENT}, {}, 0 FROM chatferry_outbox WHERE place = {place}{end}",
            self.quoted(sink),
            self.quoted(error)
        )
    }

    /// Locks the last place given: one process at a time gives places.
    pub fn last_place(&self) -> String {
        let locking = self.0.locking;
        format!("SELECT place FROM chatferry_outbox_sinks WHERE name = '{LAST}'{locking}")
    }

    pub fn repeated(&self, sink: &str, most: usize) -> String {
        format!(
            "SELECT 0, {EVENT} FROM chatferry_outbox_dead WHERE sink = {} AND again = 1 \
             ORDER BY made_at, event_id LIMIT {most}",
            self.quoted(sink)
        )
    }

    pub fn bury_again(&self, sink: &str, event_id: &str, error: &str) -> String {
        format!(
            "UPDATE chatferry_outbox_dead SET again = 0, error = {} \
             WHERE sink = {} AND event_id = {}",
            self.quoted(error),
            self.quoted(sink),
            self.quoted(event_id)
        )
    }

    /// Selects the number of events, the number of dead letters, and the time of the oldest event.
    pub fn backlog(&self, sink: &str) -> String {
        let sink = self.quoted(sink);
        format!(
            "SELECT (SELECT place FROM chatferry_outbox_sinks WHERE name = '{LAST}') - s.place \
             + (SELECT COUNT(*) FROM (SELECT 1 FROM chatferry_outbox WHERE place IS NULL \
             LIMIT {COUNTED}) AS n), \
             (SELECT COUNT(*) FROM chatferry_outbox_dead WHERE sink = {sink}), \
             (SELECT made_at FROM chatferry_outbox WHERE place = s.place + 1) \
             FROM chatferry_outbox_sinks AS s WHERE s.name = {sink}"
        )
    }

    pub fn sinks(&self) -> String {
        let now = self.0.now;
        format!(
            "SELECT name, place, CASE WHEN leased_until < {now} THEN '' ELSE owner END \
             FROM chatferry_outbox_sinks WHERE {IS_SINK} ORDER BY name"
        )
    }

    pub fn dead_letters(&self, sink: Option<&str>, most: usize) -> String {
        let of = sink.map_or_else(String::new, |it| {
            format!(" WHERE sink = {}", self.quoted(it))
        });
        format!(
            "SELECT 0, {EVENT}, sink, error, again FROM chatferry_outbox_dead{of} \
             ORDER BY made_at, event_id LIMIT {most}"
        )
    }

    pub fn repeat(&self, sink: &str, event_id: Option<&str>) -> String {
        let those = self.dead(sink, event_id);
        format!("UPDATE chatferry_outbox_dead SET again = 1 WHERE again = 0 AND {those}")
    }

    pub fn drop_dead(&self, sink: &str, event_id: Option<&str>) -> String {
        let those = self.dead(sink, event_id);
        format!("DELETE FROM chatferry_outbox_dead WHERE {those}")
    }

    /// Returns the condition for dead letters of a sink: one event's, or all.
    fn dead(&self, sink: &str, event_id: Option<&str>) -> String {
        let sink = self.quoted(sink);
        match event_id {
            Some(id) => format!("sink = {sink} AND event_id = {}", self.quoted(id)),
            None => format!("sink = {sink}"),
        }
    }

    pub fn drop_sink(&self, sink: &str) -> String {
        format!(
            "DELETE FROM chatferry_outbox_sinks WHERE name = {} AND {IS_SINK}",
            self.quoted(sink)
        )
    }

    pub fn place_of(&self, event_id: &str) -> String {
        format!(
            "SELECT place FROM chatferry_outbox WHERE event_id = {} AND place IS NOT NULL",
            self.quoted(event_id)
        )
    }

    /// Moves a cursor back to before a place. The next lease has another epoch.
    pub fn rewind(&self, sink: &str, place: i64) -> String {
        format!(
            "UPDATE chatferry_outbox_sinks SET place = {place} - 1, epoch = epoch + 1, \
             leased_until = 0 WHERE name = {} AND place >= {place}",
            self.quoted(sink)
        )
    }
}

/// Selects the place before the oldest event that is kept.
pub fn first_cursor() -> String {
    format!(
        "SELECT COALESCE((SELECT MIN(place) - 1 FROM chatferry_outbox), \
         (SELECT place FROM chatferry_outbox_sinks WHERE name = '{LAST}'), 0)"
    )
}

pub fn has_new() -> &'static str {
    "SELECT 1 FROM chatferry_outbox WHERE place IS NULL LIMIT 1"
}

pub fn new_rows(most: usize) -> String {
    format!("SELECT id FROM chatferry_outbox WHERE place IS NULL ORDER BY id LIMIT {most}")
}

/// Gives these rows the places after `last`, in their order.
pub fn give_places(ids: &[i64], last: i64) -> String {
    let mut places = String::new();
    for (place, id) in (last + 1..).zip(ids) {
        let _ = write!(places, " WHEN {id} THEN {place}");
    }
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!(
        "UPDATE chatferry_outbox SET place = CASE id{places} END WHERE id IN ({})",
        ids.join(", ")
    )
}

pub fn set_last_place(last: i64, given: usize) -> String {
    format!("UPDATE chatferry_outbox_sinks SET place = {last} + {given} WHERE name = '{LAST}'")
}

pub fn sizes(after: i64, most: usize) -> String {
    format!(
        "SELECT place, OCTET_LENGTH(data) FROM chatferry_outbox \
         WHERE place > {after} ORDER BY place LIMIT {most}"
    )
}

pub fn between(after: i64, last: i64) -> String {
    format!(
        "SELECT place, {EVENT} FROM chatferry_outbox \
         WHERE place > {after} AND place <= {last} ORDER BY place"
    )
}

/// Selects the last place, of the first `most`, that every sink has settled and that is old.
pub fn prunable(before: Timestamp, most: usize) -> String {
    format!(
        "SELECT MAX(place) FROM (SELECT place, made_at FROM chatferry_outbox \
         WHERE place IS NOT NULL AND place <= (SELECT MIN(place) FROM chatferry_outbox_sinks \
         WHERE {IS_SINK}) ORDER BY place LIMIT {most}) AS o WHERE made_at < {}",
        before.micros()
    )
}

pub fn prune(last: i64) -> String {
    format!("DELETE FROM chatferry_outbox WHERE place <= {last}")
}

/// Returns a text as standard SQL has it. There is no character U+0000 in `PostgreSQL`.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"))
}
