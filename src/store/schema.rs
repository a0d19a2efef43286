//! The form that the tables must have, whatever the database.
//!
//! Columns that a newer version of the app has added are none of our business as long as they
//! can be left out of an `INSERT`; a column that is missing or holds something else is.

use uuid::Uuid;

use super::StoreError;
use crate::{
    chat::{Conversation, MESSAGE_TYPE_MAX, Message, Receipt, USER_ID_MAX, receipt::READ},
    config::Tables,
    python::datetime::Timestamp,
};

/// Type of values that a column must be able to hold. Each database spells these in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Uuid,
    Text,
    Time,
    Bool,
}

/// A column that is read and written.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const CONVERSATIONS: &[Column] = &[
    column("id", Kind::Uuid),
    column("participant1_id", Kind::Text),
    column("participant2_id", Kind::Text),
    column("created_at", Kind::Time),
    column("updated_at", Kind::Time),
    column("is_active", Kind::Bool),
];

const MESSAGES: &[Column] = &[
    column("id", Kind::Uuid),
    column("sender_id", Kind::Text),
    column("content", Kind::Text),
    column("message_type", Kind::Text),
    column("created_at", Kind::Time),
    column("updated_at", Kind::Time),
    column("is_deleted", Kind::Bool),
    column("conversation_id", Kind::Uuid),
];

const DELIVERY_RECEIPTS: &[Column] = &[
    column("id", Kind::Uuid),
    column("user_id", Kind::Text),
    column("status", Kind::Text),
    column("timestamp", Kind::Time),
    column("message_id", Kind::Uuid),
];

/// Returns the three tables by the names that the settings give them, with the columns each must
/// have.
#[must_use]
pub fn tables(names: &Tables) -> [(&str, &'static [Column]); 3] {
    [
        (names.conversations.as_str(), CONVERSATIONS),
        (names.messages.as_str(), MESSAGES),
        (names.delivery_receipts.as_str(), DELIVERY_RECEIPTS),
    ]
}

/// A difference between a live table and what is needed, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("table {0} is missing: run `chatferry migrate`, or Django's `manage.py migrate`")]
    MissingTable(String),
    #[error(
        "column {table}.{column} is missing: this table is not the chat's; \
         see `store.tables` for apps that name theirs differently"
    )]
    MissingColumn { table: String, column: &'static str },
    #[error("column {table}.{column} is {found}, wanted {wanted}: run Django's migrations first")]
    OtherType {
        table: String,
        column: &'static str,
        found: String,
        wanted: &'static str,
    },
    #[error(
        "column {table}.{column} must be given a value and is not known here: \
         give it a default or allow NULL"
    )]
    UnknownRequired { table: String, column: String },
    #[error(
        "table {table} has no unique key of exactly these columns: {columns}; \
         run Django's migrations first"
    )]
    MissingUnique { table: String, columns: String },
}

impl Finding {
    /// Makes the table lacks a unique key of these columns.
    #[must_use]
    pub fn without_key(table: &str, columns: &[&str]) -> Self {
        Finding::MissingUnique {
            table: table.to_owned(),
            columns: columns.join(", "),
        }
    }
}

/// Returns the unique keys that writes go by, with their columns in alphabetical order.
#[must_use]
pub fn keys(names: &Tables) -> [(&str, &'static [&'static str]); 2] {
    [
        (names.messages.as_str(), &["id"]),
        (names.delivery_receipts.as_str(), &["message_id", "user_id"]),
    ]
}

/// Returns the columns of user ids that unique keys or lookups go by.
#[must_use]
pub fn user_ids(names: &Tables) -> [(&str, &'static [&'static str]); 2] {
    [
        (
            names.conversations.as_str(),
            &["participant1_id", "participant2_id"],
        ),
        (names.delivery_receipts.as_str(), &["user_id"]),
    ]
}

/// Returns the columns of texts.
#[must_use]
pub fn texts(names: &Tables) -> [(&str, Vec<&'static str>); 3] {
    tables(names).map(|(table, columns)| {
        let texts = columns.iter().filter(|column| column.kind == Kind::Text);
        (table, texts.map(|column| column.name).collect())
    })
}

/// A column of texts that is shorter than Django's model of the chat makes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}.{column} ({characters} of {wanted})")]
pub struct ShortColumn {
    pub table: String,
    pub column: &'static str,
    pub characters: usize,
    /// Characters that it should hold, in words.
    pub wanted: String,
}

/// Characters that a column of texts should hold: what the original's model allows, or the longest
/// of its choices. `None` for any number.
fn length(column: &str) -> Option<usize> {
    match column {
        "content" => None,
        "message_type" => Some(MESSAGE_TYPE_MAX),
        "status" => Some("delivered".len()),
        _ => Some(USER_ID_MAX),
    }
}

/// Finds the columns of texts that are too short; `limit` reads the length out of a column's type.
#[must_use]
pub fn short(
    table: &str,
    wanted: &'static [Column],
    live: &[LiveColumn],
    limit: fn(&str) -> Option<usize>,
) -> Vec<ShortColumn> {
    let texts = wanted.iter().filter(|column| column.kind == Kind::Text);
    texts
        .filter_map(|column| {
            let found = live.iter().find(|found| found.name == column.name)?;
            let characters = limit(&found.spelling)?;
            let wanted = length(column.name);
            let is_short = wanted.is_none_or(|wanted| characters < wanted);
            is_short.then(|| ShortColumn {
                table: table.to_owned(),
                column: column.name,
                characters,
                wanted: wanted.map_or_else(|| "any number".to_owned(), |it| it.to_string()),
            })
        })
        .collect()
}

/// Returns the number in a type like `varchar(255)`.
#[must_use]
pub fn number_in(spelling: &str) -> Option<usize> {
    let (_, rest) = spelling.split_once('(')?;
    rest.split_once(')')?.0.parse().ok()
}

/// A column of texts whose character set has no room for some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}.{column} ({charset})")]
pub struct NarrowColumn {
    pub table: String,
    pub column: String,
    pub charset: String,
}

/// A column of user ids whose collation takes some of other bytes for the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}.{column} ({collation})")]
pub struct LooseColumn {
    pub table: String,
    pub column: String,
    pub collation: String,
}

/// A column as it is in the database.
#[derive(Clone, Debug)]
pub struct LiveColumn {
    pub name: String,
    /// Its type, as the database spells it.
    pub spelling: String,
    /// True if an `INSERT` that leaves it out fails.
    pub required: bool,
}

/// A database's spelling of the kinds.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Type that Django's backend makes, for error texts.
    pub spelling: fn(Kind) -> &'static str,
    /// True if a column so spelled can be used as this kind.
    pub holds: fn(&str, Kind) -> bool,
}

/// Returns the findings that keep a table from being used. No live columns at all means that it
/// does not exist.
#[must_use]
pub fn compare(
    table: &str,
    wanted: &'static [Column],
    live: &[LiveColumn],
    dialect: Dialect,
) -> Vec<Finding> {
    if live.is_empty() {
        return vec![Finding::MissingTable(table.to_owned())];
    }
    let mut findings = Vec::new();
    for column in wanted {
        match live.iter().find(|found| found.name == column.name) {
            None => findings.push(Finding::MissingColumn {
                table: table.to_owned(),
                column: column.name,
            }),
            Some(found) if !(dialect.holds)(&found.spelling, column.kind) => {
                findings.push(Finding::OtherType {
                    table: table.to_owned(),
                    column: column.name,
                    found: found.spelling.clone(),
                    wanted: (dialect.spelling)(column.kind),
                });
            }
            Some(_) => {}
        }
    }
    let unknown = live
        .iter()
        .filter(|found| found.required && !wanted.iter().any(|column| column.name == found.name));
    findings.extend(unknown.map(|found| Finding::UnknownRequired {
        table: table.to_owned(),
        column: found.name.clone(),
    }));
    findings
}

/// Returns the statements of `script`, a line each, that make the `missing` tables, their
/// constraints and their indexes.
///
/// # Errors
/// [`StoreError::Schema`]: tables with names of their own are not ours to make but Django's.
pub fn statements<'a>(
    script: &'a str,
    missing: &[&str],
    tables: &Tables,
) -> Result<Vec<&'a str>, StoreError> {
    match missing.first() {
        Some(first) if *tables != Tables::default() => Err(StoreError::Schema(format!(
            "table {first} is missing, and tables with names of their own are made by Django: run \
             `manage.py migrate` first"
        ))),
        _ => Ok(script
            .lines()
            .filter(|line| missing.iter().any(|table| is_about(line, table)))
            .collect()),
    }
}

fn is_about(statement: &str, table: &str) -> bool {
    ['"', '`'].into_iter().any(|quote| {
        let name = format!("{quote}{table}{quote}");
        statement.starts_with(&format!("CREATE TABLE {name} "))
            || statement.starts_with(&format!("ALTER TABLE {name} "))
            || statement.contains(&format!(" ON {name} "))
    })
}

/// Rows of each table that are written and taken back, of users that do not exist.
#[derive(Debug)]
pub struct Rehearsed {
    pub conversation: Conversation,
    pub message: Message,
    pub receipt: Receipt,
}

impl Rehearsed {
    /// Makes rows of new ids.
    #[must_use]
    pub fn new() -> Self {
        let (id, message_id) = (Uuid::new_v4().into(), Uuid::new_v4().into());
        let now = Timestamp::now();
        let user_id = format!("chatferry check {id}");
        Rehearsed {
            conversation: Conversation {
                id,
                participant1_id: user_id.clone(),
                participant2_id: String::new(),
                created_at: now,
                updated_at: now,
                is_active: false,
            },
            message: Message {
                id: message_id,
                conversation_id: id,
                sender_id: user_id.clone(),
                content: String::new(),
                message_type: "text".to_owned(),
                created_at: now,
                updated_at: now,
                is_deleted: true,
            },
            receipt: Receipt {
                id: Uuid::new_v4().into(),
                message_id,
                user_id,
                status: READ.to_owned(),
                timestamp: now,
            },
        }
    }
}

impl Default for Rehearsed {
    fn default() -> Self {
        Rehearsed::new()
    }
}

/// Refuses tables that cannot be used.
///
/// # Errors
/// [`StoreError::Schema`] with every finding on a line of its own.
pub fn require(findings: &[Finding]) -> Result<(), StoreError> {
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Err(StoreError::Schema(lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_column_is_short_if_it_holds_less_than_the_models() {
        let live = |name: &str, spelling: &str| LiveColumn {
            name: name.to_owned(),
            spelling: spelling.to_owned(),
            required: false,
        };
        let columns = [
            live("sender_id", "varchar(255)"),
            live("content", "varchar(200)"),
            live("message_type", "varchar(4)"),
        ];
        let found = short("m", MESSAGES, &columns, number_in);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = ["m.content (200 of any number)", "m.message_type (4 of 10)"];
        assert_eq!(found, expected);
        assert!(short("m", MESSAGES, &[live("content", "text")], number_in).is_empty());
    }

    #[test]
    fn every_statement_belongs_to_one_table() {
        for script in [
            include_str!("../../migrations/mysql/0001_chat.sql"),
            include_str!("../../migrations/postgres/0001_chat.sql"),
            include_str!("../../migrations/sqlite/0001_chat.sql"),
        ] {
            for line in script.lines() {
                let names = ["conversations", "messages", "delivery_receipts"];
                let about = names.iter().filter(|name| is_about(line, name)).count();
                assert_eq!(about, 1, "{line}");
            }
        }
    }
}
