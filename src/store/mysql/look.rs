//! Questions of `chatferry check` to a MySQL or MariaDB server, on one connection.

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::{Conn, Row, prelude::Queryable};

use super::{SPELLING, migrate, row::Columns, write::MysqlStatements};
use crate::{
    config,
    store::{
        Comparison, StoreError,
        look::Look,
        schema::{
            self, Finding, LooseColumn, NarrowColumn, Rehearsed, Schema, ShortColumn,
            layout::Layout,
        },
    },
};

/// Longest statement of a rehearsal.
const LIMIT: usize = 1 << 16;

/// A look at the tables in one MySQL or MariaDB database.
pub struct MysqlLook {
    conn: Conn,
    schema: Schema,
}

impl MysqlLook {
    /// Connects to the database of `store.url`.
    ///
    /// # Errors
    /// When the server cannot be reached or does not let us in.
    pub async fn open(settings: &config::Store, schema: &Schema) -> Result<Self, StoreError> {
        Ok(MysqlLook {
            conn: migrate::open(settings).await?,
            schema: schema.clone(),
        })
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let Rehearsed {
            conversation,
            message,
            receipt,
        } = &Rehearsed::new();
        let layout = Layout::new(&self.schema, SPELLING);
        let write = MysqlStatements::new(Arc::new(layout), Comparison::Collation, false);
        let mut statements = vec![write.insert_conversation(conversation)];
        let message = write.messages.pending(0, message);
        statements.extend(write.messages.statements(&[message], LIMIT));
        let receipt = [write.receipts.pending(0, receipt)];
        // The second time it updates.
        for _ in 0..2 {
            statements.extend(write.receipts.statements(&receipt, LIMIT));
        }
        for statement in statements {
            self.conn.query_drop(statement).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Look for MysqlLook {
    async fn version(&mut self) -> Result<String, StoreError> {
        let version: Option<String> = self.conn.query_first("SELECT VERSION()").await?;
        Ok(named(&version.unwrap_or_default()))
    }

    async fn tables(&mut self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = migrate::findings(&mut self.conn, &self.schema).await?;
        findings.extend(migrate::own_findings(&mut self.conn, &self.schema).await?);
        Ok(findings)
    }

    async fn lengths(&mut self) -> Result<Vec<ShortColumn>, StoreError> {
        let mut found = Vec::new();
        for table in self.schema.tables() {
            let live = migrate::columns_of(&mut self.conn, table.name.as_str()).await?;
            found.extend(schema::short(table, &live, characters));
        }
        Ok(found)
    }

    async fn charsets(&mut self) -> Result<Vec<NarrowColumn>, StoreError> {
        let mut narrow = Vec::new();
        for (table, columns) in self.schema.texts() {
            let is_narrow = "character_set_name <> 'utf8mb4'";
            let sql = of_columns("character_set_name", table, &columns, is_narrow);
            let rows: Vec<Row> = self.conn.query(sql).await?;
            for row in rows {
                let mut columns = Columns::from(row);
                narrow.push(NarrowColumn {
                    table: table.to_owned(),
                    column: columns.take()?,
                    charset: columns.take()?,
                });
            }
        }
        Ok(narrow)
    }

    async fn collations(&mut self) -> Result<Vec<LooseColumn>, StoreError> {
        let mut loose = Vec::new();
        for (table, columns) in self.schema.user_ids() {
            let is_text = "collation_name IS NOT NULL";
            let sql = of_columns("collation_name", table, &columns, is_text);
            let rows: Vec<Row> = self.conn.query(sql).await?;
            for row in rows {
                let mut columns = Columns::from(row);
                let (column, collation) = (columns.take()?, columns.take::<String>()?);
                if !compares_bytes(&collation) {
                    loose.push(LooseColumn {
                        table: table.to_owned(),
                        column,
                        collation,
                    });
                }
            }
        }
        Ok(loose)
    }

    async fn rehearse(&mut self) -> Result<(), StoreError> {
        self.conn.query_drop("START TRANSACTION").await?;
        let written = self.write().await;
        let ended = self.conn.query_drop("ROLLBACK").await;
        written?;
        Ok(ended?)
    }

    async fn now(&mut self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";
        Ok(self.conn.query_first(sql).await?)
    }
}

/// Makes a query for the names of some columns of a table and for one of their properties.
fn of_columns(property: &str, table: &str, columns: &[&str], which: &str) -> String {
    format!(
        "SELECT column_name, {property} FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = '{table}' \
         AND column_name IN ('{}') AND {which} ORDER BY ordinal_position",
        columns.join("', '")
    )
}

/// Returns the version after the name of the server.
fn named(version: &str) -> String {
    let number = version.split('-').next().unwrap_or_default();
    let name = if version.contains("MariaDB") {
        "MariaDB"
    } else {
        "MySQL"
    };
    format!("{name} {number}")
}

/// Returns the characters, or bytes, that a column of this type holds; `None` if that is more than
/// any message.
fn characters(spelling: &str) -> Option<usize> {
    match spelling {
        "tinytext" => Some(255),
        "text" => Some(65_535),
        other => schema::number_in(other),
    }
}

/// Returns whether a collation tells any two texts of other bytes apart. Most of the `_bin` ones
/// pass over spaces at the end.
fn compares_bytes(collation: &str) -> bool {
    collation.ends_with("_nopad_bin") || collation == "utf8mb4_0900_bin"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collation_that_passes_over_spaces_does_not_compare_bytes() {
        assert!(compares_bytes("utf8mb4_nopad_bin") && compares_bytes("utf8mb4_0900_bin"));
        for loose in ["utf8mb4_bin", "utf8mb4_unicode_ci", "utf8mb4_0900_as_cs"] {
            assert!(!compares_bytes(loose), "{loose}");
        }
    }

    #[test]
    fn a_version_comes_with_the_name_of_its_server() {
        assert_eq!(named("10.11.19-MariaDB-0+deb12u1"), "MariaDB 10.11.19");
        assert_eq!(named("9.7.4-2"), "MySQL 9.7.4");
    }
}
