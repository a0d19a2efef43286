//! The statements that write.

use std::sync::Arc;

use crate::{
    chat::{
        Conversation, Message, Receipt,
        receipt::{DELIVERED, SENT},
    },
    id::Key,
    store::{
        Comparison,
        mysql::query,
        schema::{
            Table,
            layout::{CONVERSATION, Layout, MESSAGE, RECEIPT},
        },
    },
};

/// A statement ends before the row that would make it longer than this, in bytes.
pub const STATEMENT: usize = 1 << 20;

/// Room in a packet for what is not a row.
pub const PACKET_MARGIN: usize = 1024;

/// A row that belongs to a row of another table.
pub trait Child {
    fn id(&self) -> Key;
    fn parent(&self) -> Key;
    /// Returns a value as SQL, by its place among the roles of the row.
    fn value(&self, place: usize) -> String;
}

impl Child for Message {
    fn id(&self) -> Key {
        self.id.into()
    }

    fn parent(&self) -> Key {
        self.conversation_id.into()
    }

    fn value(&self, place: usize) -> String {
        match place {
            0 => query::id(self.id),
            1 => query::id(self.conversation_id),
            2 => query::quoted(&self.sender_id),
            3 => query::quoted(&self.content),
            4 => query::quoted(&self.message_type),
            5 => query::time(self.created_at),
            6 => query::time(self.updated_at),
            _ => self.is_deleted.to_string(),
        }
    }
}

impl Child for Receipt {
    fn id(&self) -> Key {
        self.id.into()
    }

    fn parent(&self) -> Key {
        self.message_id.into()
    }

    fn value(&self, place: usize) -> String {
        match place {
            0 => query::id(self.id),
            1 => query::id(self.message_id),
            2 => query::quoted(&self.user_id),
            3 => query::quoted(&self.status),
            _ => query::time(self.timestamp),
        }
    }
}

/// A row with its place in the batch.
pub struct Pending<'a, T> {
    pub place: usize,
    pub row: &'a T,
    /// `(value, …)` as SQL.
    pub values: String,
}

/// A table that rows go into, and the table their parents are in, as statements read them.
pub struct InsertTarget {
    pub own: String,
    pub parents: String,
    head: String,
    /// Places of the values that are written.
    takes: Vec<usize>,
    tail: String,
}

impl InsertTarget {
    fn new(layout: &Layout, table: &Table, roles: &[&str], sources: [&String; 2]) -> Self {
        let [own, parents] = sources.map(Clone::clone);
        let written = layout.written(table, roles);
        InsertTarget {
            own,
            parents,
            head: format!(
                "INSERT INTO {} ({}) VALUES ",
                layout.table(table),
                layout.names(&written)
            ),
            takes: written.iter().map(|it| it.place).collect(),
            tail: String::new(),
        }
    }

    fn messages(layout: &Layout) -> Self {
        let sources = [&layout.messages, &layout.conversations];
        InsertTarget::new(layout, &layout.schema.messages, &MESSAGE, sources)
    }

    fn receipts(layout: &Layout, ids: Comparison) -> Self {
        let receipts = &layout.schema.receipts;
        let sources = [&layout.receipts, &layout.messages];
        let mut target = InsertTarget::new(layout, receipts, &RECEIPT, sources);
        let name = |role| layout.quoted(receipts.name_of(role));
        let (message, user) = (name("message_id"), name("user_id"));
        // MySQL has another spelling by now, which MariaDB does not know.
        let update = match (receipts.column("status"), ids) {
            (None, _) => format!("{message} = VALUES({message})"),
            (Some((status, _)), Comparison::Collation) => {
                format!(
                    "{status} = IF({}, VALUES({status}), {status})",
                    raises(status)
                )
            }
            // The receipt of another user is left alone.
            (Some((status, _)), Comparison::Bytes) => format!(
                "{status} = IF(CAST({user} AS BINARY) = CAST(VALUES({user}) AS BINARY) AND {}, \
                 VALUES({status}), {status})",
                raises(status)
            ),
        };
        target.tail = format!(" ON DUPLICATE KEY UPDATE {update}");
        target
    }

    /// Makes the row ready to be written; `place` is its place in the batch.
    pub fn pending<'a, T: Child>(&self, place: usize, row: &'a T) -> Pending<'a, T> {
        let values = self.takes.iter().map(|&it| row.value(it));
        let values = values.collect::<Vec<_>>().join(", ");
        Pending {
            place,
            row,
            values: format!("({values})"),
        }
    }

    /// Statements whose rows are at most `limit` bytes, or one row, and that are as few as that
    /// allows.
    pub fn statements<T>(&self, rows: &[Pending<'_, T>], limit: usize) -> Vec<String> {
        let mut statements: Vec<String> = Vec::new();
        let mut room = 0;
        for Pending { values, .. } in rows {
            match statements.last_mut() {
                Some(statement) if values.len() + 2 <= room => {
                    statement.push_str(", ");
                    statement.push_str(values);
                    room -= values.len() + 2;
                }
                _ => {
                    statements.push([&self.head, values.as_str()].concat());
                    room = limit.saturating_sub(values.len());
                }
            }
        }
        for statement in &mut statements {
            statement.push_str(&self.tail);
        }
        statements
    }
}

/// Returns the condition that the new status says more than the one that is there.
fn raises(status: &str) -> String {
    format!("(VALUES({status}) <> '{DELIVERED}' OR {status} = '{SENT}')")
}

/// The statements that write, made once.
pub struct MysqlStatements {
    pub layout: Arc<Layout>,
    pub ids: Comparison,
    pub messages: InsertTarget,
    pub receipts: InsertTarget,
    /// True if there are sinks that get events.
    pub keeps_events: bool,
}

impl MysqlStatements {
    pub fn new(layout: Arc<Layout>, ids: Comparison, keeps_events: bool) -> Self {
        MysqlStatements {
            keeps_events,
            messages: InsertTarget::messages(&layout),
            receipts: InsertTarget::receipts(&layout, ids),
            layout,
            ids,
        }
    }

    pub fn insert_conversation(&self, row: &Conversation) -> String {
        let (layout, conversations) = (&self.layout, &self.layout.schema.conversations);
        let [one, two] = row.participants.pair();
        let values = [
            query::id(row.id),
            query::quoted(one),
            query::quoted(two),
            query::time(row.created_at),
            query::time(row.updated_at),
            row.is_active.to_string(),
        ];
        let written = layout.written(conversations, &CONVERSATION);
        let taken = written.iter().map(|it| values[it.place].as_str());
        format!(
            "INSERT INTO {} ({}) VALUES ({})",
            layout.table(conversations),
            layout.names(&written),
            taken.collect::<Vec<_>>().join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Tables, dialect::django::tables::schema, store::mysql::SPELLING};

    #[test]
    fn a_statement_takes_as_many_rows_as_fit() {
        let layout = Layout::new(&schema(&Tables::default()), SPELLING);
        let target = InsertTarget::receipts(&layout, Comparison::Collation);
        let rows = [10, 10, 10, 90, 10].map(|n| Pending {
            place: 0,
            row: &(),
            values: "x".repeat(n),
        });
        let sizes = |limit| {
            let statements = target.statements(&rows, limit);
            let sizes = statements.iter().map(|sql| sql.matches(", x").count() + 1);
            sizes.collect::<Vec<_>>()
        };
        assert_eq!(sizes(1000), [5]);
        assert_eq!(sizes(24), [2, 1, 1, 1]);
        assert_eq!(sizes(1), [1; 5]);
        assert!(target.statements::<()>(&[], 10).is_empty());
        let all = target.statements(&rows, 1000).concat();
        assert!(all.starts_with("INSERT INTO `delivery_receipts` (`id`, "));
        assert!(all.contains("x ON DUPLICATE KEY UPDATE status = IF((VALUES(status) <> "));
    }
}
