//! The statements that write.

use crate::{
    chat::{Conversation, Message, Receipt},
    config::Tables,
    id::Key,
    store::{Comparison, mysql::query},
};

/// A statement ends before the row that would make it longer than this, in bytes.
pub const STATEMENT: usize = 1 << 20;

/// Room in a packet for what is not a row.
pub const PACKET_MARGIN: usize = 1024;

/// A row that belongs to a row of another table.
pub trait Child {
    fn id(&self) -> Key;
    fn parent(&self) -> Key;
    /// `(value, …)` as SQL, in the order of the columns of its [`Target`].
    fn values(&self) -> String;
}

impl Child for Message {
    fn id(&self) -> Key {
        self.id.into()
    }

    fn parent(&self) -> Key {
        self.conversation_id.into()
    }

    fn values(&self) -> String {
        format!(
            "({}, {}, {}, {}, {}, {}, {}, {})",
            query::id(self.id),
            query::id(self.conversation_id),
            query::quoted(&self.sender_id),
            query::quoted(&self.content),
            query::quoted(&self.message_type),
            query::time(self.created_at),
            query::time(self.updated_at),
            self.is_deleted
        )
    }
}

impl Child for Receipt {
    fn id(&self) -> Key {
        self.id.into()
    }

    fn parent(&self) -> Key {
        self.message_id.into()
    }

    fn values(&self) -> String {
        format!(
            "({}, {}, {}, {}, {})",
            query::id(self.id),
            query::id(self.message_id),
            query::quoted(&self.user_id),
            query::quoted(&self.status),
            query::time(self.timestamp)
        )
    }
}

/// A row with its place in the batch.
pub struct Pending<'a, T> {
    pub place: usize,
    pub row: &'a T,
    pub values: String,
}

impl<'a, T: Child> Pending<'a, T> {
    pub fn new(place: usize, row: &'a T) -> Self {
        Pending {
            place,
            row,
            values: row.values(),
        }
    }
}

/// A table that rows go into, and the table their parents are in.
pub struct Target {
    pub own: String,
    pub parents: String,
    head: String,
    tail: &'static str,
}

impl Target {
    pub fn messages(tables: &Tables) -> Self {
        Target {
            own: tables.messages.to_string(),
            parents: tables.conversations.to_string(),
            head: format!(
                "INSERT INTO `{}` (id, conversation_id, sender_id, content, message_type, \
                 created_at, updated_at, is_deleted) VALUES ",
                tables.messages
            ),
            tail: "",
        }
    }

    pub fn receipts(tables: &Tables, ids: Comparison) -> Self {
        Target {
            own: tables.delivery_receipts.to_string(),
            parents: tables.messages.to_string(),
            head: format!(
                "INSERT INTO `{}` (id, message_id, user_id, status, timestamp) VALUES ",
                tables.delivery_receipts
            ),
            // MySQL has another spelling by now, which MariaDB does not know.
            tail: match ids {
                Comparison::Collation => " ON DUPLICATE KEY UPDATE status = VALUES(status)",
                // The receipt of another user is left alone.
                Comparison::Bytes => {
                    " ON DUPLICATE KEY UPDATE status = IF(CAST(user_id AS BINARY) = \
                     CAST(VALUES(user_id) AS BINARY), VALUES(status), status)"
                }
            },
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
            statement.push_str(self.tail);
        }
        statements
    }
}

pub fn insert_conversation(tables: &Tables, row: &Conversation) -> String {
    format!(
        "INSERT INTO `{}` (id, participant1_id, participant2_id, created_at, updated_at, \
         is_active) VALUES ({}, {}, {}, {}, {}, {})",
        tables.conversations,
        query::id(row.id),
        query::quoted(&row.participant1_id),
        query::quoted(&row.participant2_id),
        query::time(row.created_at),
        query::time(row.updated_at),
        row.is_active
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_takes_as_many_rows_as_fit() {
        let target = Target::receipts(&Tables::default(), Comparison::Collation);
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
        assert!(all.starts_with("INSERT INTO `delivery_receipts` (id, "));
        assert!(all.ends_with("x ON DUPLICATE KEY UPDATE status = VALUES(status)"));
    }
}
