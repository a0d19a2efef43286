//! Where conversations, messages and receipts are kept: in the tables Django made.
//!
//! [`Store`] is all that the rest of the program knows of a database, split by subject in
//! [`ports`]. One file for each kind of database implements it ([`mysql`], [`postgres`],
//! [`sqlite`]); [`commit`] gathers the writes of many callers into one transaction; [`history`]
//! reads the messages of a conversation page by page, [`overview`] those of several; [`groups`] are
//! conversations of several people, which [`kinds`] joins with those of two; [`schema`] describes
//! the tables of a dialect, and [`look`] asks what they do look like; [`comparison`] says when two
//! user ids are one; [`outbox`] keeps events for other services.

mod attachment;
pub mod auto_now;
pub mod batch;
mod change;
pub mod commit;
pub mod comparison;
pub mod groups;
pub mod history;
pub mod kinds;
pub mod look;
pub mod mysql;
pub mod outbox;
pub mod overview;
mod placed;
mod ports;
pub mod postgres;
pub mod schema;
pub mod sqlite;
mod turns;
mod users;

use std::sync::Arc;

use uuid::Uuid;

use self::kinds::Kinds;
use crate::{
    chat::{Message, Receipt},
    config::{Config, Database},
    id::{ConversationId, MessageId},
    metrics::Metrics,
    python::{datetime::Timestamp, uuid::hex32},
};

pub use commit::{Announce, AnnounceChange, AnnounceGroup, AnnounceMark};
pub use comparison::{Comparison, Lookup};
pub use groups::Groups;
pub use overview::Overview;
pub use ports::{
    Attachments, Changes, Conversations, Logins, Members, Messages, OpenDatabase, Receipts, Store,
};
pub use schema::Schema;

/// Read marks of some conversations.
#[derive(Debug, Default)]
pub struct Marks {
    /// Each with its conversation.
    pub marks: Vec<(ConversationId, Receipt)>,
    /// Rows that cannot be read, which the log names.
    pub unreadable: usize,
}

impl Marks {
    /// Adds a row, or passes it over.
    fn add<E: std::fmt::Display>(&mut self, row: Result<(ConversationId, Receipt), E>) {
        match row {
            Ok(mark) => self.marks.push(mark),
            Err(error) => {
                tracing::error!(%error, "a receipt is passed over");
                self.unreadable += 1;
            }
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len() + self.unreadable
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A conversation, by its id or by a message in it.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    Conversation(ConversationId),
    /// The conversation of this message.
    Message(MessageId),
}

/// A row of `django_session`.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// As it is stored.
    pub key: String,
    /// Signed, see `signing` of the Django dialect.
    pub data: String,
    pub expires: Timestamp,
}

/// A row of REST framework's tokens.
#[derive(Clone)]
pub struct TokenRow {
    /// As it is stored.
    pub key: String,
    /// The user's primary key, as text.
    pub user: String,
}

/// A row of Django's users.
#[derive(Clone)]
pub struct UserRow {
    /// The primary key, as text.
    pub key: String,
    /// Hashed.
    pub password: String,
    pub is_active: bool,
    /// The user's id in the chat.
    pub chat_id: String,
}

/// Returns an id without the dashes, if it is a UUID.
#[must_use]
pub fn bare(id: &str) -> String {
    Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| hex32(&id))
}

/// Why the store could not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, is locked, full or read-only. Worth trying again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database answers and does not let us in: the account, its password or its rights are
    /// wrong, or there is no database of this name. Waiting does not help.
    #[error("the database does not let us in: {0}")]
    Denied(String),
    /// The database answers, and its configuration does not fit ours. `remedy` is what an operator
    /// can do.
    #[error("the database cannot be used as it is set up: {why}")]
    Unfit { why: String, remedy: &'static str },
    /// The database refused these values, and would again.
    #[error("the database refused the values: {0}")]
    Refused(String),
    /// The unique keys of the tables take a user id for another one of other bytes, and that one
    /// has the row. Nothing was stored.
    #[error("the database cannot tell a user id from another one that is in use")]
    Alike,
    /// The id that a client chose for a message is that of this one, which was there before.
    #[error("the message {} is there already", .0.id)]
    Taken(Arc<Message>),
    /// An upload is not there, is not the sender's or has been sent with another message. Nothing was
    /// stored.
    #[error("an attachment is not there, or has been sent")]
    Unattached,
    /// The transaction lost against another one (a deadlock, a lock that did not come free) and
    /// was rolled back. The committer tries again; callers see it only when that was in vain.
    #[error("the database is too busy: {0}")]
    Conflict(String),
    /// The connection died during the commit: the rows may be there or not. The committer finds
    /// out; callers see it only when the database stays away.
    #[error("the database did not confirm: {0}")]
    Unknown(String),
    /// The tables are not what they must be; `check` tells the details.
    #[error("{0}")]
    Schema(String),
    /// The store has been closed: the process is going away.
    #[error("the store is closed")]
    Closed,
}

/// Text for clients of [`StoreError::Refused`].
pub const REFUSED: &str = "The database cannot store these values.";

impl StoreError {
    /// Returns whether the same may be done later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            StoreError::Unavailable(_)
                | StoreError::Denied(_)
                | StoreError::Unfit { .. }
                | StoreError::Conflict(_)
                | StoreError::Unknown(_)
        )
    }

    /// Returns the value of the `kind` label in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Denied(_) => "denied",
            StoreError::Unfit { .. } => "unfit",
            StoreError::Refused(_) => "refused",
            StoreError::Alike => "alike",
            StoreError::Taken(_) => "taken",
            StoreError::Unattached => "unattached",
            StoreError::Conflict(_) => "conflict",
            StoreError::Unknown(_) => "unknown",
            StoreError::Schema(_) => "schema",
            StoreError::Closed => "closed",
        }
    }
}

/// Opens the store that `store.url` names, over these tables. The file of the embedded default is
/// made here with its tables; anywhere else missing tables are an error that says to run `migrate`.
///
/// # Errors
/// When the database cannot be reached, or its tables are not those of the chat.
pub async fn open(
    config: &Config,
    schema: &Schema,
    metrics: Arc<Metrics>,
) -> Result<Arc<dyn Store>, StoreError> {
    let (settings, ids) = (&config.store, Comparison::of(config.auth.policy));
    // Files of groups are kept while there are no groups for clients.
    let needs_groups = config.native.has_groups() || config.attachments.place.is_some();
    let schema = &Schema {
        groups: schema.groups.filter(|_| needs_groups),
        ..with_outbox(config, schema)
    };
    Ok(match settings.url.database() {
        Database::Sqlite => both(sqlite::SqliteStore::open(settings, schema, ids, metrics).await?),
        Database::Postgres => {
            both(postgres::PostgresStore::open(settings, schema, ids, metrics).await?)
        }
        Database::Mysql => both(mysql::MysqlStore::open(settings, schema, ids, metrics).await?),
    })
}

/// Returns the tables with those of the outbox, if there are sinks.
fn with_outbox(config: &Config, schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    schema.outbox = (!config.events.sinks.is_empty()).then_some(outbox::TABLES);
    schema
}

/// Returns whether events are kept.
///
/// # Errors
/// [`StoreError::Schema`] if they shall be and the tables are not there.
fn keeps_events(schema: &Schema, has_tables: bool) -> Result<bool, StoreError> {
    match schema.outbox {
        None => Ok(false),
        Some(_) if has_tables => Ok(true),
        Some(own) => Err(StoreError::Schema(format!(
            "there is no table {}, which events.sinks needs: run `chatferry migrate`",
            own.name
        ))),
    }
}

/// Returns one store over conversations of two and groups, if there are any.
fn both<T: Store + 'static>((pairs, groups): (T, Option<T>)) -> Arc<dyn Store> {
    let pairs = Arc::new(pairs);
    match groups {
        Some(groups) => Arc::new(Kinds {
            pairs,
            groups: Arc::new(groups),
        }),
        None => pairs,
    }
}

/// Makes the tables that are missing and returns the statements it ran.
///
/// # Errors
/// When the database cannot be reached or changed.
pub async fn migrate(config: &Config, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let (settings, schema) = (&config.store, &with_outbox(config, schema));
    match settings.url.database() {
        Database::Sqlite => sqlite::migrate::run(&sqlite::path_of(settings)?, schema).await,
        Database::Postgres => {
            postgres::migrate::run(&postgres::address_of(settings)?, schema).await
        }
        Database::Mysql => mysql::migrate::run(settings, schema).await,
    }
}

/// Returns the statements that [`migrate`] would run now.
///
/// # Errors
/// When the database cannot be read.
pub async fn pending(config: &Config, schema: &Schema) -> Result<Vec<String>, StoreError> {
    let (settings, schema) = (&config.store, &with_outbox(config, schema));
    match settings.url.database() {
        Database::Sqlite => sqlite::migrate::plan(&sqlite::path_of(settings)?, schema).await,
        Database::Postgres => {
            postgres::migrate::plan(&postgres::address_of(settings)?, schema).await
        }
        Database::Mysql => mysql::migrate::plan(settings, schema).await,
    }
}

/// Makes the index for searches where it is missing, and returns the statements it ran; with `dry_run`
/// those that it would run.
///
/// # Errors
/// When the database cannot be reached or changed, or is of a kind that has no such index.
pub async fn index_for_search(
    config: &Config,
    schema: &Schema,
    dry_run: bool,
) -> Result<Vec<String>, StoreError> {
    let settings = &config.store;
    if settings.url.database() != Database::Postgres {
        return Err(StoreError::Unfit {
            why: "only PostgreSQL has an index that finds a text anywhere in a message".into(),
            remedy: "leave --search out: messages are then searched one by one",
        });
    }
    let address = postgres::address_of(settings)?;
    if dry_run {
        postgres::migrate::plan_search(&address, schema).await
    } else {
        postgres::migrate::run_search(&address, schema).await
    }
}

/// Returns the findings that keep the live tables from being used.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(config: &Config, schema: &Schema) -> Result<Vec<schema::Finding>, StoreError> {
    look::open(config, schema).await?.tables().await
}
