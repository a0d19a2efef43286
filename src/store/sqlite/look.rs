//! Questions of `chatferry check` to a SQLite file. One that is not there is not made.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    SPELLING, migrate,
    pool::{blocking, connect},
    write,
};
use crate::store::{
    StoreError,
    look::Look,
    schema::{Finding, LooseColumn, NarrowColumn, Schema, ShortColumn, layout::Layout},
};

/// A look at the tables in one file.
pub struct SqliteLook {
    path: PathBuf,
    schema: Schema,
}

impl SqliteLook {
    #[must_use]
    pub fn new(path: PathBuf, schema: &Schema) -> Self {
        SqliteLook {
            path,
            schema: schema.clone(),
        }
    }

    /// Asks the file, if there is one with tables.
    async fn ask<T, F>(&self, ask: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&mut Connection, &Schema) -> Result<T, StoreError> + Send + 'static,
    {
        if migrate::is_new(&self.path).await? {
            return Ok(T::default());
        }
        let (path, schema) = (self.path.clone(), self.schema.clone());
        blocking(move || ask(&mut connect(&path)?, &schema)).await
    }
}

#[async_trait]
impl Look for SqliteLook {
    async fn version(&mut self) -> Result<String, StoreError> {
        let version = rusqlite::version();
        let is_new = migrate::is_new(&self.path).await?;
        let state = if is_new { ", made by `serve`" } else { "" };
        Ok(format!("SQLite {version}{state}"))
    }

    async fn tables(&mut self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = migrate::check(&self.path, &self.schema).await?;
        let own = self.ask(|db, schema| migrate::own_findings(db, schema));
        findings.extend(own.await?);
        Ok(findings)
    }

    /// SQLite keeps to no length.
    async fn lengths(&mut self) -> Result<Vec<ShortColumn>, StoreError> {
        Ok(Vec::new())
    }

    async fn charsets(&mut self) -> Result<Vec<NarrowColumn>, StoreError> {
        Ok(Vec::new())
    }

    /// Of a column's own collation only its indexes tell.
    async fn collations(&mut self) -> Result<Vec<LooseColumn>, StoreError> {
        self.ask(|db, schema| {
            let mut loose = Vec::new();
            let mut statement = db.prepare(
                "SELECT DISTINCT x.coll FROM pragma_index_list(?1) AS i, \
                 pragma_index_xinfo(i.name) AS x \
                 WHERE x.name = ?2 AND x.key AND upper(x.coll) <> 'BINARY'",
            )?;
            for (table, columns) in schema.user_ids() {
                for column in columns {
                    for collation in statement.query_map([table, column], |row| row.get(0))? {
                        loose.push(LooseColumn {
                            table: table.to_owned(),
                            column: column.to_owned(),
                            collation: collation?,
                        });
                    }
                }
            }
            Ok(loose)
        })
        .await
    }

    async fn rehearse(&mut self) -> Result<(), StoreError> {
        self.ask(|db, schema| write::rehearse(db, Arc::new(Layout::new(schema, SPELLING))))
            .await
    }

    /// Its clock is ours.
    async fn now(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }
}
