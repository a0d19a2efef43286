//! The tables of a chat, as its dialect describes them: names, columns, kinds of ids and of members.
//!
//! Statements know a column by its *role*, which is the name that it has in the Django chat. A
//! table whose columns have these names is read as it is. Any other is read through a subquery that
//! gives its columns their roles, and that every database merges into the statement around it
//! ([`layout`]). A role for which a table has no column is read as a constant and not written.
//!
//! Columns that a newer version of the app has added are none of our business as long as they
//! can be left out of an `INSERT`; a column that is missing or holds something else is.

mod findings;
pub mod layout;
mod own;
mod rehearsed;

use super::StoreError;
use crate::config::TableName;

pub use self::{
    findings::{
        ColumnDialect, Finding, LiveColumn, LooseColumn, NarrowColumn, ShortColumn, compare,
        number_in, require, short,
    },
    own::{compare_own, made_with},
    rehearsed::Rehearsed,
};

/// Type of values that a column must be able to hold. Each database spells these in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// An id that is made here.
    Uuid,
    /// An id that the database makes, or that of a user.
    Number,
    Text,
    Time,
    Bool,
}

/// A role of a table, and what has it.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub role: &'static str,
    pub source: ColumnSource,
}

#[derive(Clone, Copy, Debug)]
pub enum ColumnSource {
    /// A column of this name. A time that plays a flag is one that is set.
    Column {
        name: &'static str,
        kind: ColumnKind,
    },
    /// No column: it is read as this SQL.
    Constant(&'static str),
}

impl Column {
    /// A column with the name of its role.
    #[must_use]
    pub const fn new(role: &'static str, kind: ColumnKind) -> Self {
        Column::named(role, role, kind)
    }

    #[must_use]
    pub const fn named(role: &'static str, name: &'static str, kind: ColumnKind) -> Self {
        let source = ColumnSource::Column { name, kind };
        Column { role, source }
    }

    #[must_use]
    pub const fn constant(role: &'static str, sql: &'static str) -> Self {
        let source = ColumnSource::Constant(sql);
        Column { role, source }
    }

    /// Returns the name and the kind of the column, if there is one.
    #[must_use]
    pub const fn stored(&self) -> Option<(&'static str, ColumnKind)> {
        match self.source {
            ColumnSource::Column { name, kind } => Some((name, kind)),
            ColumnSource::Constant(_) => None,
        }
    }
}

/// Columns of messages whose names are those of their roles, as in the Django chat.
pub const MESSAGES: &[Column] = &[
    Column::new("id", ColumnKind::Uuid),
    Column::new("sender_id", ColumnKind::Text),
    Column::new("content", ColumnKind::Text),
    Column::new("message_type", ColumnKind::Text),
    Column::new("created_at", ColumnKind::Time),
    Column::new("updated_at", ColumnKind::Time),
    Column::new("is_deleted", ColumnKind::Bool),
    Column::new("conversation_id", ColumnKind::Uuid),
];

/// Columns of receipts, likewise.
pub const RECEIPTS: &[Column] = &[
    Column::new("id", ColumnKind::Uuid),
    Column::new("user_id", ColumnKind::Text),
    Column::new("status", ColumnKind::Text),
    Column::new("timestamp", ColumnKind::Time),
    Column::new("message_id", ColumnKind::Uuid),
];

/// A table with the columns that are read and written.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: TableName,
    pub columns: &'static [Column],
}

impl Table {
    #[must_use]
    pub fn new(name: &TableName, columns: &'static [Column]) -> Self {
        Table {
            name: name.clone(),
            columns,
        }
    }

    /// Returns the name and the kind of the column that has a role.
    #[must_use]
    pub fn column(&self, role: &str) -> Option<(&'static str, ColumnKind)> {
        let found = self.columns.iter().find(|column| column.role == role);
        found.and_then(Column::stored)
    }

    /// Returns the name of the column that has a role, or the role if none has it.
    #[must_use]
    pub fn name_of(&self, role: &'static str) -> &'static str {
        self.column(role).map_or(role, |(name, _)| name)
    }

    /// Returns whether the database makes the ids.
    #[must_use]
    pub fn makes_ids(&self) -> bool {
        matches!(self.column("id"), Some((_, ColumnKind::Number)))
    }

    /// Returns the names of the columns that have one of these roles.
    fn names<'a>(&'a self, roles: &'a [&str]) -> impl Iterator<Item = &'static str> + 'a {
        let found = roles.iter().filter_map(|role| self.column(role));
        found.map(|(name, _)| name)
    }

    /// Returns the columns of this kind.
    fn of_kind(&self, wanted: ColumnKind) -> Vec<&'static str> {
        let stored = self.columns.iter().filter_map(Column::stored);
        let found = stored.filter(|(_, kind)| *kind == wanted);
        found.map(|(name, _)| name).collect()
    }
}

/// Where the members of a conversation are kept.
#[derive(Clone, Debug)]
pub enum MemberSource {
    /// In the columns `participant1_id` and `participant2_id` of the conversation.
    Pair,
    /// In a table of their own, whose roles are `conversation_id` and `user_id`. It is read only.
    Listed(Table),
    /// In such a table of ours, and as a JSON list in the column `participant1_id` of the
    /// conversation. Only a member can send a message.
    Kept(Table),
}

/// The tables of one chat.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Roles: `id`, `created_at`, `updated_at`, `is_active`, and those of [`MemberSource::Pair`].
    pub conversations: Table,
    pub members: MemberSource,
    /// Roles: `id`, `conversation_id`, `sender_id`, `content`, `message_type`, `created_at`,
    /// `updated_at`, `is_deleted`.
    pub messages: Table,
    /// Roles: `id`, `message_id`, `user_id`, `status`, `timestamp`.
    pub receipts: Table,
    pub origin: TableOrigin,
    /// Keeps the changes of messages. The chat works without it; messages then cannot be changed.
    pub changes: Option<OwnTable>,
    /// Keeps events for other services, if there are sinks for them.
    pub outbox: Option<OwnTable>,
    /// Keeps what files were uploaded. Without it none can be.
    pub attachments: Option<OwnTable>,
    /// Tables of groups beside these. The chat works without them; there are no groups then.
    pub groups: Option<OwnTable>,
}

/// A table of our own beside those of the chat, and the statements that make it: one on each line.
#[derive(Clone, Copy, Debug)]
pub struct OwnTable {
    pub name: &'static str,
    pub mysql: &'static str,
    pub postgres: &'static str,
    pub sqlite: &'static str,
}

/// Maker of the tables.
#[derive(Clone, Copy, Debug)]
pub enum TableOrigin {
    Here(Scripts),
    /// Somebody else, and how.
    Elsewhere(&'static str),
}

/// The statements that make the tables, for each kind of database.
#[derive(Clone, Copy, Debug)]
pub struct Scripts {
    pub mysql: Script,
    pub postgres: Script,
    pub sqlite: Script,
}

#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// One statement on each line, about one table each.
    pub tables: &'static str,
    /// Makes the table in which `note` is put.
    pub notes: &'static str,
    /// Records that the tables have been made.
    pub note: &'static str,
}

impl OwnTable {
    /// Returns the statements of a script.
    #[must_use]
    pub fn statements(&self, script: impl FnOnce(&Self) -> &'static str) -> Vec<String> {
        let lines = script(self).lines();
        lines
            .map(|line| line.trim_end_matches(';').to_owned())
            .collect()
    }
}

impl Schema {
    /// Returns the tables of our own beside them.
    pub fn own_tables(&self) -> impl Iterator<Item = &OwnTable> {
        let native = self.changes.iter().chain(&self.groups);
        native.chain(&self.attachments).chain(&self.outbox)
    }

    /// Returns the tables, parents first.
    #[must_use]
    pub fn tables(&self) -> Vec<&Table> {
        let mut tables = vec![&self.conversations];
        if let MemberSource::Listed(members) | MemberSource::Kept(members) = &self.members {
            tables.push(members);
        }
        tables.extend([&self.messages, &self.receipts]);
        tables
    }

    /// Returns the unique keys that writes go by, with their columns in alphabetical order.
    #[must_use]
    pub fn keys(&self) -> Vec<(&str, Vec<&'static str>)> {
        let key = |table: &Table, roles: &[&str]| {
            let mut columns: Vec<_> = table.names(roles).collect();
            columns.sort_unstable();
            columns
        };
        let receipts = key(&self.receipts, &["message_id", "user_id"]);
        let mut keys = vec![(self.receipts.name.as_str(), receipts)];
        if !self.messages.makes_ids() {
            keys.push((self.messages.name.as_str(), key(&self.messages, &["id"])));
        }
        keys
    }

    /// Returns the columns of user ids that unique keys or lookups go by.
    #[must_use]
    pub fn user_ids(&self) -> Vec<(&str, Vec<&'static str>)> {
        let roles = ["participant1_id", "participant2_id", "user_id"];
        let tables = self.tables().into_iter();
        tables
            .map(|table| (table.name.as_str(), table.names(&roles).collect()))
            .filter(|(_, columns): &(_, Vec<_>)| !columns.is_empty())
            .collect()
    }

    /// Returns the columns of texts.
    #[must_use]
    pub fn texts(&self) -> Vec<(&str, Vec<&'static str>)> {
        let tables = self.tables().into_iter();
        tables
            .map(|table| (table.name.as_str(), table.of_kind(ColumnKind::Text)))
            .collect()
    }

    /// Returns the statements of the script that make the `missing` tables, their constraints and
    /// their indexes.
    ///
    /// # Errors
    /// [`StoreError::Schema`] if these tables are not ours to make.
    pub fn making(
        &self,
        script: impl FnOnce(&Scripts) -> Script,
        missing: &[&str],
    ) -> Result<(Vec<&'static str>, Script), StoreError> {
        match &self.origin {
            TableOrigin::Elsewhere(how) => Err(StoreError::Schema(format!(
                "missing tables: {}; {how}",
                missing.join(", ")
            ))),
            TableOrigin::Here(scripts) => {
                let script = script(scripts);
                let lines = script.tables.lines();
                let lines = lines.filter(|line| missing.iter().any(|table| is_about(line, table)));
                Ok((lines.collect(), script))
            }
        }
    }
}

/// Returns whether a statement makes a table, or something of it.
#[must_use]
pub fn is_about(statement: &str, table: &str) -> bool {
    ['"', '`'].into_iter().any(|quote| {
        let name = format!("{quote}{table}{quote}");
        statement.starts_with(&format!("CREATE TABLE {name} "))
            || statement.starts_with(&format!("ALTER TABLE {name} "))
            || statement.contains(&format!(" ON {name} "))
    })
}
