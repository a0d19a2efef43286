//! Questions to a database before it is used, and while it is, on one connection that writes
//! nothing that stays.

use async_trait::async_trait;

use super::{
    StoreError, mysql, postgres,
    schema::{Finding, LooseColumn, NarrowColumn, Schema, ShortColumn},
    sqlite, with_outbox,
};
use crate::config::{Config, Database};

/// A connection that looks. Each call fails when the database cannot be read.
#[async_trait]
pub trait Look: Send {
    /// Returns the server and its version.
    async fn version(&mut self) -> Result<String, StoreError>;

    /// Returns the findings that keep the tables from being used.
    async fn tables(&mut self) -> Result<Vec<Finding>, StoreError>;

    /// Returns the columns of texts that are shorter than Django's model makes them.
    async fn lengths(&mut self) -> Result<Vec<ShortColumn>, StoreError>;

    /// Returns the columns of texts whose character set cannot hold every text.
    async fn charsets(&mut self) -> Result<Vec<NarrowColumn>, StoreError>;

    /// The columns of user ids whose collation takes some of other bytes for the same.
    async fn collations(&mut self) -> Result<Vec<LooseColumn>, StoreError>;

    /// Writes a row of each table, and takes them back.
    async fn rehearse(&mut self) -> Result<(), StoreError>;

    /// Returns the time of the server's clock, in microseconds since 1970; none if it has ours.
    async fn now(&mut self) -> Result<Option<i64>, StoreError>;
}

/// Connects to the database of the settings, to look at these tables.
///
/// # Errors
/// When it cannot be reached, or does not let us in.
pub async fn open(config: &Config, schema: &Schema) -> Result<Box<dyn Look>, StoreError> {
    let (settings, schema) = (&config.store, &with_outbox(config, schema));
    Ok(match settings.url.database() {
        Database::Sqlite => Box::new(sqlite::look::SqliteLook::new(
            sqlite::path_of(settings)?,
            schema,
        )),
        Database::Postgres => {
            let address = postgres::address_of(settings)?;
            Box::new(postgres::look::PostgresLook::open(&address, schema).await?)
        }
        Database::Mysql => Box::new(mysql::look::MysqlLook::open(settings, schema).await?),
    })
}
