//! Questions of `chatferry check` to a SQLite file. One that is not there is not made.

use std::path::PathBuf;

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    migrate,
    pool::{blocking, connect},
    write,
};
use crate::{
    config::Tables,
    store::{
        StoreError,
        look::Look,
        schema::{self, Finding, LooseColumn, NarrowColumn, ShortColumn},
    },
};

/// A look at the tables in one file.
pub struct SqliteLook {
    path: PathBuf,
    tables: Tables,
}

impl SqliteLook {
    #[must_use]
    pub fn new(path: PathBuf, tables: &Tables) -> Self {
        SqliteLook {
            path,
            tables: tables.clone(),
        }
    }

    /// Asks the file, if there is one with tables.
    async fn ask<T, F>(&self, ask: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&mut Connection, &Tables) -> Result<T, StoreError> + Send + 'static,
    {
        if migrate::is_new(&self.path).await? {
            return Ok(T::default());
        }
        let (path, tables) = (self.path.clone(), self.tables.clone());
        blocking(move || ask(&mut connect(&path)?, &tables)).await
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
        migrate::check(&self.path, &self.tables).await
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
        self.ask(|db, tables| {
            let mut loose = Vec::new();
            let mut statement = db.prepare(
                "SELECT DISTINCT x.coll FROM pragma_index_list(?1) AS i, \
                 pragma_index_xinfo(i.name) AS x \
                 WHERE x.name = ?2 AND x.key AND upper(x.coll) <> 'BINARY'",
            )?;
            for (table, columns) in schema::user_ids(tables) {
                for column in columns {
                    for collation in statement.query_map([table, column], |row| row.get(0))? {
                        loose.push(LooseColumn {
                            table: table.to_owned(),
                            column: (*column).to_owned(),
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
        self.ask(|db, tables| Ok(write::rehearse(db, tables)?))
            .await
    }

    /// Its clock is ours.
    async fn now(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }
}
