//! Differences between the tables of a database and what is needed, in words for an operator.

use super::{Column, ColumnKind, Table};
use crate::{
    chat::{MESSAGE_TYPE_MAX, USER_ID_MAX},
    store::StoreError,
};

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
    #[error(
        "column {table}.{column} is {found}: `chatferry migrate` did not make this table; \
         give it another name, and run that again"
    )]
    OtherOwn {
        table: String,
        column: &'static str,
        found: String,
    },
}

impl Finding {
    /// Returns a finding about a table of Django's as one about a table of our own.
    #[must_use]
    pub(super) fn of_our_own(self) -> Self {
        match self {
            Finding::MissingColumn { table, column } => Finding::OtherOwn {
                table,
                column,
                found: "missing".to_owned(),
            },
            Finding::OtherType {
                table,
                column,
                found,
                wanted,
            } => Finding::OtherOwn {
                table,
                column,
                found: format!("{found}, wanted {wanted}"),
            },
            other => other,
        }
    }

    /// Makes the finding that a table lacks a unique key of these columns.
    #[must_use]
    pub fn without_key(table: &str, columns: &[&str]) -> Self {
        Finding::MissingUnique {
            table: table.to_owned(),
            columns: columns.join(", "),
        }
    }
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
fn length(role: &str) -> Option<usize> {
    match role {
        "content" => None,
        "message_type" => Some(MESSAGE_TYPE_MAX),
        "status" => Some("delivered".len()),
        _ => Some(USER_ID_MAX),
    }
}

/// Finds the columns of texts that are too short; `limit` reads the length out of a column's type.
#[must_use]
pub fn short(
    table: &Table,
    live: &[LiveColumn],
    limit: fn(&str) -> Option<usize>,
) -> Vec<ShortColumn> {
    let short = table.columns.iter().filter_map(|column| {
        let (name, ColumnKind::Text) = column.stored()? else {
            return None;
        };
        let found = live.iter().find(|found| found.name == name)?;
        let characters = limit(&found.spelling)?;
        let wanted = length(column.role);
        let is_short = wanted.is_none_or(|wanted| characters < wanted);
        is_short.then(|| ShortColumn {
            table: table.name.to_string(),
            column: name,
            characters,
            wanted: wanted.map_or_else(|| "any number".to_owned(), |it| it.to_string()),
        })
    });
    short.collect()
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
pub struct ColumnDialect {
    /// Type that Django's backend makes, for error texts.
    pub spelling: fn(ColumnKind) -> &'static str,
    /// True if a column so spelled can be used as this kind.
    pub holds: fn(&str, ColumnKind) -> bool,
}

/// Returns the findings that keep a table from being used. No live columns at all means that it
/// does not exist.
#[must_use]
pub fn compare(table: &Table, live: &[LiveColumn], dialect: ColumnDialect) -> Vec<Finding> {
    let name = || table.name.to_string();
    if live.is_empty() {
        return vec![Finding::MissingTable(name())];
    }
    let wanted: Vec<(&'static str, ColumnKind)> =
        table.columns.iter().filter_map(Column::stored).collect();
    let mut findings = Vec::new();
    for &(column, kind) in &wanted {
        match live.iter().find(|found| found.name == column) {
            None => findings.push(Finding::MissingColumn {
                table: name(),
                column,
            }),
            Some(found) if !(dialect.holds)(&found.spelling, kind) => {
                findings.push(Finding::OtherType {
                    table: name(),
                    column,
                    found: found.spelling.clone(),
                    wanted: (dialect.spelling)(kind),
                });
            }
            Some(_) => {}
        }
    }
    let unknown = live
        .iter()
        .filter(|found| found.required && !wanted.iter().any(|(column, _)| *column == found.name));
    findings.extend(unknown.map(|found| Finding::UnknownRequired {
        table: name(),
        column: found.name.clone(),
    }));
    findings
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
    use crate::config::TableName;

    const COLUMNS: &[Column] = &[
        Column::new("sender_id", ColumnKind::Text),
        Column::new("content", ColumnKind::Text),
        Column::named("message_type", "type", ColumnKind::Text),
    ];

    fn live(name: &str, spelling: &str) -> LiveColumn {
        LiveColumn {
            name: name.to_owned(),
            spelling: spelling.to_owned(),
            required: false,
        }
    }

    #[test]
    fn a_text_column_is_short_if_it_holds_less_than_the_models() {
        let table = Table::new(&TableName::try_from("m".to_owned()).unwrap(), COLUMNS);
        let columns = [
            live("sender_id", "varchar(255)"),
            live("content", "varchar(200)"),
            live("type", "varchar(4)"),
        ];
        let found = short(&table, &columns, number_in);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["m.content (200 of any number)", "m.type (4 of 10)"]);
        assert!(short(&table, &[live("content", "text")], number_in).is_empty());
    }
}
