//! The columns of our own tables, as `migrations/` makes them.

use super::{Column, ColumnDialect, ColumnKind, Finding, LiveColumn, OwnTable, Table, compare};
use crate::config::TableName;

use ColumnKind::{Bool, Number, Text, Time, Uuid};

/// A table that is made together with others, and all of them with their columns.
type Made = (&'static str, &'static [(&'static str, &'static [Column])]);

const MADE: &[Made] = &[
    (
        "chatferry_changes",
        &[(
            "chatferry_changes",
            &[
                Column::new("id", Uuid),
                Column::new("conversation_id", Uuid),
                Column::new("message_id", Uuid),
                Column::new("changed_at", Time),
            ],
        )],
    ),
    (
        "chatferry_receipts",
        &[
            (
                "chatferry_conversations",
                &[
                    Column::new("id", Uuid),
                    Column::new("name", Text),
                    Column::new("version", Number),
                    Column::new("member_ids", Text),
                    Column::new("created_at", Time),
                    Column::new("updated_at", Time),
                    Column::new("is_active", Bool),
                ],
            ),
            (
                "chatferry_members",
                &[
                    Column::new("conversation_id", Uuid),
                    Column::new("user_id", Text),
                    Column::new("role", Text),
                    Column::new("joined_at", Time),
                ],
            ),
            ("chatferry_messages", super::MESSAGES),
            ("chatferry_receipts", super::RECEIPTS),
        ],
    ),
    (
        "chatferry_attachments",
        &[(
            "chatferry_attachments",
            &[
                Column::new("id", Uuid),
                Column::new("uploader_id", Text),
                Column::new("message_id", Uuid),
                Column::new("name", Text),
                Column::new("media_type", Text),
                Column::new("size", Number),
                Column::new("width", Number),
                Column::new("height", Number),
                Column::new("has_thumbnail", Bool),
                Column::new("created_at", Time),
            ],
        )],
    ),
    (
        "chatferry_outbox",
        &[
            (
                "chatferry_outbox_sinks",
                &[
                    Column::new("name", Text),
                    Column::new("place", Number),
                    Column::new("owner", Text),
                    Column::new("epoch", Number),
                    Column::new("leased_until", Number),
                ],
            ),
            (
                "chatferry_outbox_dead",
                &[
                    Column::new("sink", Text),
                    Column::new("event_id", Text),
                    Column::new("event_type", Text),
                    Column::new("conversation_id", Text),
                    Column::new("made_at", Number),
                    Column::new("data", Text),
                    Column::new("error", Text),
                    Column::new("again", Number),
                ],
            ),
            (
                "chatferry_outbox",
                &[
                    Column::new("id", Number),
                    Column::new("place", Number),
                    Column::new("event_id", Text),
                    Column::new("event_type", Text),
                    Column::new("conversation_id", Text),
                    Column::new("made_at", Number),
                    Column::new("data", Text),
                ],
            ),
        ],
    ),
];

/// Returns the tables that are made with one of our own.
#[must_use]
pub fn made_with(own: &OwnTable) -> Vec<Table> {
    let made = MADE.iter().find(|(name, _)| *name == own.name);
    let tables = made.into_iter().flat_map(|(_, tables)| *tables);
    tables
        .map(|(name, columns)| Table::new(&TableName::ours(name), columns))
        .collect()
}

/// Returns the findings of a table of our own, as [`compare`] does for those of Django's.
#[must_use]
pub fn compare_own(table: &Table, live: &[LiveColumn], dialect: ColumnDialect) -> Vec<Finding> {
    let findings = compare(table, live, dialect).into_iter();
    findings.map(Finding::of_our_own).collect()
}
