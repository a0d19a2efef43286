//! Questions of `chatferry check` to a PostgreSQL server, on one connection.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    SPELLING,
    address::Address,
    connection::PostgresConnection,
    migrate::{self, quoted},
    write::PostgresStatements,
};
use crate::store::{
    Comparison, StoreError,
    commit::CommitOutcome,
    look::Look,
    schema::{
        self, Finding, LooseColumn, NarrowColumn, Rehearsed, Schema, ShortColumn, layout::Layout,
    },
};

/// A look at the tables in one PostgreSQL database.
pub struct PostgresLook {
    db: PostgresConnection,
    schema: Schema,
}

impl PostgresLook {
    /// Connects to the database at this address.
    ///
    /// # Errors
    /// When the server cannot be reached or does not let us in.
    pub async fn open(address: &Address, schema: &Schema) -> Result<Self, StoreError> {
        Ok(PostgresLook {
            db: PostgresConnection::open(address).await?,
            schema: schema.clone(),
        })
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let layout = Arc::new(Layout::new(&self.schema, SPELLING));
        let statements = PostgresStatements::new(layout, Comparison::Collation, false);
        let db = &mut self.db;
        let Rehearsed {
            conversation,
            message,
            receipt,
        } = &Rehearsed::new();
        let outcomes = &mut [CommitOutcome::Missing];
        statements.insert_conversation(db, conversation).await?;
        let messages = vec![(0, message)];
        statements
            .insert_messages(db, messages, false, outcomes)
            .await?;
        statements
            .upsert_receipts(db, &[(0, receipt)], outcomes)
            .await?;
        Ok(())
    }
}

#[async_trait]
impl Look for PostgresLook {
    async fn version(&mut self) -> Result<String, StoreError> {
        let sql = "SELECT split_part(current_setting('server_version'), ' ', 1)";
        let (rows, _) = self.db.read(sql, &[], usize::MAX).await?;
        let number: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
        let through = if self.db.is_pooled() {
            ", through a pooler"
        } else {
            ""
        };
        Ok(format!(
            "PostgreSQL {}{through}",
            number.unwrap_or_default()
        ))
    }

    async fn tables(&mut self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = migrate::findings(&mut self.db, &self.schema).await?;
        findings.extend(migrate::own_findings(&mut self.db, &self.schema).await?);
        Ok(findings)
    }

    async fn lengths(&mut self) -> Result<Vec<ShortColumn>, StoreError> {
        let mut found = Vec::new();
        for table in self.schema.tables() {
            let live = migrate::live_columns(&mut self.db, table.name.as_str()).await?;
            found.extend(schema::short(table, &live, schema::number_in));
        }
        Ok(found)
    }

    /// A database of PostgreSQL has one encoding, which the connection reports.
    async fn charsets(&mut self) -> Result<Vec<NarrowColumn>, StoreError> {
        Ok(Vec::new())
    }

    /// Finds those with a collation that an operator has made nondeterministic.
    async fn collations(&mut self) -> Result<Vec<LooseColumn>, StoreError> {
        // Older servers have no such collations, and no column that says so.
        let sql = "SELECT a.attname::text, c.collname::text FROM pg_attribute AS a \
                   JOIN pg_collation AS c ON c.oid = a.attcollation \
                   WHERE a.attrelid = to_regclass($1) AND a.attname::text = ANY ($2::text[]) \
                   AND to_jsonb(c) ->> 'collisdeterministic' = 'false' ORDER BY a.attnum";
        let mut loose = Vec::new();
        for (table, columns) in self.schema.user_ids() {
            for row in self.db.query(sql, &[&quoted(table), &columns]).await? {
                loose.push(LooseColumn {
                    table: table.to_owned(),
                    column: row.try_get(0)?,
                    collation: row.try_get(1)?,
                });
            }
        }
        Ok(loose)
    }

    async fn rehearse(&mut self) -> Result<(), StoreError> {
        self.db.begin().await?;
        let written = self.write().await;
        let ended = self.db.roll_back().await;
        written?;
        Ok(ended?)
    }

    async fn now(&mut self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let (rows, _) = self.db.read(sql, &[], usize::MAX).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }
}
