//! Where conversations, messages and receipts are kept: in the tables Django made.
//!
//! [`Store`] is all that the rest of the program knows of a database. One file for each kind of
//! database implements it ([`mysql`], [`postgres`], [`sqlite`]); [`commit`] gathers the writes of
//! many callers into one transaction; [`history`] reads the messages of a conversation page by page;
//! [`schema`] holds what the tables must look like, and [`look`] asks what they do look like; [`comparison`] says when two user ids are one.

pub mod auto_now;
pub mod commit;
pub mod comparison;
pub mod history;
pub mod look;
pub mod mysql;
pub mod postgres;
pub mod schema;
pub mod sqlite;
mod turns;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    chat::{Conversation, Message, NewMessage, Receipt},
    config::{self, Config, Database, DjangoSession, TableName},
    metrics::Metrics,
    python::{datetime::Timestamp, uuid::hex32},
};

use history::{ConversationPage, Deleted, Page, Place};

pub use commit::Announce;
pub use comparison::{Comparison, Lookup};

use commit::Committer;

/// The tables of one chat. Every call that writes returns after the commit, never before.
#[async_trait]
pub trait Store: Send + Sync {
    /// Returns the committer; every write goes through it.
    fn committer(&self) -> &Committer;

    /// The conversation of the two participants, in either order, and whether this call made it.
    ///
    /// # Errors
    /// [`StoreError::Alike`] if the tables have one of ids that only the database takes for these.
    async fn get_or_create_conversation(
        &self,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), StoreError> {
        let found = self.conversation_of_pair(&participant1_id, &participant2_id);
        if let Some(conversation) = found.await? {
            return Ok((conversation, false));
        }
        let (made, is_new) = self
            .committer()
            .create_conversation(participant1_id, participant2_id)
            .await?;
        if is_new {
            return Ok((made, true));
        }
        Ok((made, false))
    }

    /// The conversation of the two participants, in either order.
    async fn conversation_of_pair(
        &self,
        participant1_id: &str,
        participant2_id: &str,
    ) -> Result<Option<Conversation>, StoreError>;

    async fn conversation(&self, id: Uuid) -> Result<Option<Conversation>, StoreError>;

    /// Returns whether the conversation exists, and if so whether it is active.
    async fn conversation_is_active(&self, id: Uuid) -> Result<Option<bool>, StoreError>;

    /// The page of active conversations of a user that come after a place, the newest `updated_at`
    /// first.
    async fn conversations_of(
        &self,
        user_id: String,
        after: Option<Place>,
    ) -> Result<ConversationPage, StoreError>;

    /// All messages of some conversations, oldest first in each, as far as they may be read together:
    /// the page is full if there may be more.
    async fn messages_of(&self, conversations: &[Uuid]) -> Result<Page, StoreError>;

    /// The newest messages of a conversation, as many as fit a page and no more than `limit`. Whether
    /// there is such a conversation is not asked.
    async fn newest_messages(
        &self,
        conversation_id: Uuid,
        deleted: Deleted,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// The page of messages that come after the one place, and not after the other.
    async fn messages(
        &self,
        conversation_id: Uuid,
        deleted: Deleted,
        after: Option<Place>,
        until: Option<Place>,
    ) -> Result<Page, StoreError>;

    /// The place of the message that has `newer` newer ones, none of them deleted.
    async fn place(&self, conversation_id: Uuid, newer: usize)
    -> Result<Option<Place>, StoreError>;

    /// Returns the conversations, of those given, in which a message was made at `since` or later.
    async fn spoken_in(
        &self,
        conversations: &[Uuid],
        since: Timestamp,
    ) -> Result<Vec<Uuid>, StoreError>;

    /// The messages that some conversations got between two times (the second excluded) and that are
    /// not deleted, the oldest first and no more than `most`: conversation, message, and when it was
    /// made. A time that cannot be read is taken for the first of the two.
    async fn stored_between(
        &self,
        conversations: &[Uuid],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<(Uuid, Uuid, Timestamp)>, StoreError>;

    /// The receipts with the status `read` that were made between two times (the second excluded), of
    /// the newest messages of some conversations, as many of each as stands beside it. The oldest first, and no more than `most` rows.
    async fn marked_between(
        &self,
        newest: &[(Uuid, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError>;

    /// The receipts with the status `read` whose ids are between two (the second excluded), of messages
    /// of some conversations. In the order of the ids, and no more than `most` rows.
    async fn marked_by_id(
        &self,
        conversations: &[Uuid],
        between: (Uuid, Uuid),
        most: usize,
    ) -> Result<Marks, StoreError>;

    async fn message_exists(&self, id: Uuid) -> Result<bool, StoreError>;

    /// Gives the message its id and times, and stores it; `None` and nothing stored if its
    /// conversation is gone. Messages are stamped, stored and announced in one order.
    async fn insert_message(
        &self,
        new: NewMessage,
        announce: Announce,
    ) -> Result<Option<Arc<Message>>, StoreError> {
        self.committer().insert(new, announce).await
    }

    /// Raises the receipt of this user for this message to `read`, making it if there is none.
    /// `None` and nothing stored if there is no such message.
    ///
    /// # Errors
    /// [`StoreError::Alike`] if there is a receipt of an id that only the database takes for this.
    async fn mark_read(
        &self,
        message_id: Uuid,
        user_id: String,
    ) -> Result<Option<Receipt>, StoreError> {
        self.committer().mark_read(message_id, user_id).await
    }

    /// Returns whether the database, by its own comparison, finds rows of user ids of other bytes
    /// too.
    async fn finds_others(&self, lookup: Lookup) -> Result<bool, StoreError>;

    /// Returns how a conversation stands; `None` if it is not there.
    async fn standing(&self, of: Of) -> Result<Option<Standing>, StoreError>;

    /// Returns the conversations, of those given, that are active, with their participants.
    async fn active_participants(
        &self,
        conversations: &[Uuid],
    ) -> Result<Vec<(Uuid, [String; 2])>, StoreError>;

    /// Returns the rows of Django's session table for these keys, without expired ones.
    async fn sessions(&self, keys: &[String]) -> Result<Vec<SessionRow>, StoreError>;

    /// Returns the rows of REST framework's token table for these keys, as the database compares.
    async fn tokens(&self, table: &TableName, keys: &[String])
    -> Result<Vec<TokenRow>, StoreError>;

    /// Django's session of one key.
    async fn session(&self, key: String) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.sessions(&[key]).await?.into_iter().next())
    }

    /// Django's users of these primary keys, as sessions write them. Table and columns are those of
    /// the settings.
    async fn users(
        &self,
        columns: &DjangoSession,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError>;

    /// Django's user of one primary key.
    async fn user(&self, columns: &DjangoSession, id: &str) -> Result<Option<UserRow>, StoreError> {
        let users = self.users(columns, &[id.to_owned()]).await?;
        Ok(users.into_iter().next())
    }

    /// Fails unless the database answers now.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Commits what is pending and lets go of the database. Later calls fail.
    async fn close(&self);
}

/// Read marks of some conversations.
#[derive(Debug, Default)]
pub struct Marks {
    /// Each with its conversation.
    pub marks: Vec<(Uuid, Receipt)>,
    /// Rows that cannot be read, which the log names.
    pub unreadable: usize,
}

impl Marks {
    /// Adds a row, or passes it over.
    fn add<E: std::fmt::Display>(&mut self, row: Result<(Uuid, Receipt), E>) {
        match row {
            Ok(mark) => self.marks.push(mark),
            Err(error) => {
                tracing::error!(%error, "a receipt is passed over");
                self.unreadable += 1;
            }
        }
    }

    /// The number of rows.
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
pub enum Of {
    Conversation(Uuid),
    /// The conversation of this message.
    Message(Uuid),
}

/// Values of a conversation that decide who may know of it, and open a socket.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The two participants, as they are stored.
    pub participants: [String; 2],
    pub is_active: bool,
}

impl Standing {
    #[must_use]
    pub fn participants(&self) -> [&str; 2] {
        let [one, two] = &self.participants;
        [one, two]
    }
}

/// A row of `django_session`.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// As it is stored.
    pub key: String,
    /// Signed, see [`crate::django::signing`].
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

/// An id without the dashes, if it is a UUID.
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

    /// The value of the `kind` label in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Denied(_) => "denied",
            StoreError::Unfit { .. } => "unfit",
            StoreError::Refused(_) => "refused",
            StoreError::Alike => "alike",
            StoreError::Conflict(_) => "conflict",
            StoreError::Unknown(_) => "unknown",
            StoreError::Schema(_) => "schema",
            StoreError::Closed => "closed",
        }
    }
}

/// Opens the store that `store.url` names. The file of the embedded default is made here with its
/// tables; anywhere else missing tables are an error that says to run `migrate`.
///
/// # Errors
/// When the database cannot be reached, or its tables are not those of the chat.
pub async fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Arc<dyn Store>, StoreError> {
    let (settings, ids) = (&config.store, Comparison::of(config.auth.policy));
    Ok(match settings.url.database() {
        Database::Sqlite => Arc::new(sqlite::SqliteStore::open(settings, ids, metrics).await?),
        Database::Postgres => {
            Arc::new(postgres::PostgresStore::open(settings, ids, metrics).await?)
        }
        Database::Mysql => Arc::new(mysql::MysqlStore::open(settings, ids, metrics).await?),
    })
}

/// Makes the tables that are missing and returns the statements it ran.
///
/// # Errors
/// When the database cannot be reached or changed.
pub async fn migrate(config: &Config) -> Result<Vec<String>, StoreError> {
    let config::Store { url, tables, .. } = &config.store;
    match url.database() {
        Database::Sqlite => sqlite::migrate::run(&sqlite::path_of(&config.store)?, tables).await,
        Database::Postgres => {
            postgres::migrate::run(&postgres::address_of(&config.store)?, tables).await
        }
        Database::Mysql => mysql::migrate::run(&config.store).await,
    }
}

/// The statements that [`migrate`] would run now.
///
/// # Errors
/// When the database cannot be read.
pub async fn pending(config: &Config) -> Result<Vec<String>, StoreError> {
    let config::Store { url, tables, .. } = &config.store;
    match url.database() {
        Database::Sqlite => sqlite::migrate::plan(&sqlite::path_of(&config.store)?, tables).await,
        Database::Postgres => {
            postgres::migrate::plan(&postgres::address_of(&config.store)?, tables).await
        }
        Database::Mysql => mysql::migrate::plan(&config.store).await,
    }
}

/// Returns the findings that keep the live tables from being used.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(config: &Config) -> Result<Vec<schema::Finding>, StoreError> {
    look::open(config).await?.tables().await
}
