//! Statements over the tables.
//!
//! A message, and a delivery for each other member, are stored by one statement for all that are
//! sent at the same time. The queue of those who are away is the deliveries without a time.

use std::sync::Arc;

use super::{
    records::{Chat, Edit, Message, User, column, time},
    tables::{INDEXES, MISSING},
};
use crate::{
    config::StoreUrl,
    metrics::Metrics,
    python::datetime::Timestamp,
    store::{StoreError, batch::WritesTogether, postgres::own::OwnDatabase},
};

/// Messages of one page of those that wait for a user.
pub const PAGE: i64 = 200;

/// Opens the locks of pairs of users who have no chat yet, in `pg_advisory_xact_lock`.
const PAIRS: i64 = 0x6d65_7373_0000_0000;

/// Stores messages of members, and returns for each its place, id, time and members.
const SEND: &str = "\
    WITH sent AS (
        SELECT * FROM unnest($1::int8[], $2::int8[], $3::text[])
            WITH ORDINALITY AS s (chat_id, sender_id, content, place)),
    allowed AS (
        SELECT s.*, nextval(pg_get_serial_sequence('messages', 'id')) AS id,
            clock_timestamp() AS created_at
        FROM (SELECT sent.* FROM sent JOIN participants p
                ON p.chat_id = sent.chat_id AND p.user_id = sent.sender_id ORDER BY place) s),
    stored AS (
        INSERT INTO messages (id, chat_id, sender_id, content, created_at, is_deleted, is_edited)
        SELECT id, chat_id, sender_id, content, created_at, false, false FROM allowed),
    due AS (
        INSERT INTO message_deliveries (message_id, user_id)
        SELECT a.id, p.user_id FROM allowed a
            JOIN participants p ON p.chat_id = a.chat_id AND p.user_id <> a.sender_id)
    SELECT a.place::int8, a.id::int8, a.created_at,
        ARRAY(SELECT p.user_id::int8 FROM participants p WHERE p.chat_id = a.chat_id
              ORDER BY p.user_id)
    FROM allowed a";

/// Notes deliveries of messages to users.
const DELIVERED: &str = "\
    UPDATE message_deliveries d SET delivered_at = now()
    FROM unnest($1::int8[], $2::int8[]) AS n (message_id, user_id)
    WHERE d.message_id = n.message_id AND d.user_id = n.user_id AND d.delivered_at IS NULL";

/// Changes a message of its sender and keeps what it was; returns its sender and chat if it is there.
const EDIT: &str = "\
    WITH found AS (
        SELECT id, sender_id, chat_id, content FROM messages
        WHERE id = $1::int8 AND NOT is_deleted FOR UPDATE),
    changed AS (
        UPDATE messages SET content = $3::text, is_edited = true FROM found
        WHERE messages.id = found.id AND found.sender_id = $2::int8),
    kept AS (
        INSERT INTO message_edits (message_id, user_id, old_content, new_content, edited_at)
        SELECT id, sender_id, content, $3::text, now() AT TIME ZONE 'utc' FROM found
        WHERE sender_id = $2::int8)
    SELECT sender_id::int8, chat_id::int8, now() FROM found";

const DELETE: &str = "\
    WITH found AS (
        SELECT id, sender_id FROM messages WHERE id = $1::int8 AND NOT is_deleted FOR UPDATE),
    changed AS (
        UPDATE messages SET is_deleted = true FROM found
        WHERE messages.id = found.id AND found.sender_id = $2::int8)
    SELECT sender_id::int8 FROM found";

const READ: &str = "\
    UPDATE messages m SET read_at = now() FROM participants p
    WHERE m.id = ANY($1::int8[]) AND m.read_at IS NULL AND m.sender_id <> $2::int8
        AND p.chat_id = m.chat_id AND p.user_id = $2::int8";

/// The tables.
pub struct MessengerDatabase(OwnDatabase);

/// A message that is to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub chat_id: i64,
    pub sender_id: i64,
    pub content: String,
}

/// A message that was stored, and the members of its chat, its sender among them.
#[derive(Clone, Debug)]
pub struct Sent {
    pub message: Message,
    pub members: Vec<i64>,
}

/// Outcome of a change of a message by its sender.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed<T> {
    Done(T),
    /// There is none, or it is deleted.
    Nothing,
    /// It is another's.
    OfAnother,
}

/// A message that waits for a user.
#[derive(Clone, Debug)]
pub struct Due {
    pub message: Message,
    pub is_deleted: bool,
}

impl WritesTogether<NewMessage, Option<Sent>> for MessengerDatabase {
    /// Stores messages; `None` for each whose sender may not send there.
    async fn write_all(&self, all: &[NewMessage]) -> Result<Vec<Option<Sent>>, StoreError> {
        let chats: Vec<i64> = all.iter().map(|it| it.chat_id).collect();
        let senders: Vec<i64> = all.iter().map(|it| it.sender_id).collect();
        let contents: Vec<&str> = all.iter().map(|it| it.content.as_str()).collect();
        let rows = self.0.write(SEND, &[&chats, &senders, &contents]).await?;
        let mut sent: Vec<Option<Sent>> = all.iter().map(|_| None).collect();
        for row in &rows {
            let place: i64 = column(row, 0)?;
            let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
            let (Some(new), Some(slot)) = (all.get(place), sent.get_mut(place)) else {
                continue;
            };
            let message = Message {
                id: column(row, 1)?,
                chat_id: new.chat_id,
                sender_id: new.sender_id,
                content: new.content.clone(),
                created_at: time(row, 2)?.unwrap_or_else(Timestamp::now),
                read_at: None,
            };
            let members = column(row, 3)?;
            *slot = Some(Sent { message, members });
        }
        Ok(sent)
    }
}

impl MessengerDatabase {
    /// Connects, and makes the tables that are missing.
    ///
    /// # Errors
    /// When the database cannot be reached or used.
    pub async fn open(
        url: &StoreUrl,
        size: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let database = OwnDatabase::open(url, size, MISSING, metrics).await?;
        Ok(MessengerDatabase(database))
    }

    /// Adds the indexes of ours.
    pub async fn add_indexes(&self) {
        self.0.add_indexes(&INDEXES).await;
    }

    /// Asks whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.0.query("SELECT 1", &[]).await.map(drop)
    }

    /// Takes no more callers.
    pub fn close(&self) {
        self.0.close();
    }

    /// Returns whether somebody has this name or address.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_taken(&self, username: &str, email: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM users WHERE username = $1 OR email = $2 LIMIT 1";
        Ok(!self.0.query(sql, &[&username, &email]).await?.is_empty())
    }

    /// Makes a user; returns the id, or `None` if the name or the address is taken.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_user(
        &self,
        username: &str,
        email: &str,
        hash: &str,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "INSERT INTO users (username, email, hashed_password, is_active, created_at)
            VALUES ($1, $2, $3, true, now()) ON CONFLICT DO NOTHING RETURNING id::int8";
        let rows = self.0.write(sql, &[&username, &email, &hash]).await?;
        rows.first().map(|row| column(row, 0)).transpose()
    }

    /// Returns id, password hash and activity of whoever has this name or address.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn login(&self, name: &str) -> Result<Option<(i64, String, bool)>, StoreError> {
        let sql = "SELECT id::int8, hashed_password, coalesce(is_active, false) FROM users
            WHERE username = $1 OR email = $1 ORDER BY email = $1 DESC LIMIT 1";
        let rows = self.0.query(sql, &[&name]).await?;
        let of = |row| Ok((column(row, 0)?, column(row, 1)?, column(row, 2)?));
        rows.first().map(of).transpose()
    }

    /// Returns a user who is active.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn user(&self, id: i64) -> Result<Option<User>, StoreError> {
        let sql = format!(
            "SELECT {} FROM users u WHERE u.id = $1::int8 AND u.is_active",
            User::COLUMNS
        );
        let rows = self.0.query(&sql, &[&id]).await?;
        rows.first().map(|row| User::of(row, 0)).transpose()
    }

    /// Returns those of these users who are active.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn active(&self, ids: Vec<i64>) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT id::int8 FROM users WHERE id = ANY($1::int8[]) AND is_active";
        let rows = self.0.query(sql, &[&ids]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// Returns active users whose name is like this pattern of SQL, in the order of their ids,
    /// without one of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn search(&self, like: &str, but: i64, most: i64) -> Result<Vec<User>, StoreError> {
        let sql = format!(
            "SELECT {} FROM users u WHERE u.username ILIKE $1 AND u.id <> $2::int8 AND u.is_active
             ORDER BY u.id LIMIT $3",
            User::COLUMNS
        );
        let rows = self.0.query(&sql, &[&like, &but, &most]).await?;
        rows.iter().map(|row| User::of(row, 0)).collect()
    }

    /// Returns the chat of two users, which is made if there is none; `None` if the second is not
    /// there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn chat_of(&self, one: i64, other: i64) -> Result<Option<Chat>, StoreError> {
        if let Some(id) = self.find_chat(one, other).await? {
            return self.chat(id).await;
        }
        if self.user_is_there(other).await? {
            let id = self.make_chat(one, other).await?;
            return self.chat(id).await;
        }
        Ok(None)
    }

    async fn user_is_there(&self, id: i64) -> Result<bool, StoreError> {
        let rows = self
            .0
            .query("SELECT 1 FROM users WHERE id = $1::int8", &[&id])
            .await?;
        Ok(!rows.is_empty())
    }

    async fn find_chat(&self, one: i64, other: i64) -> Result<Option<i64>, StoreError> {
        let rows = self.0.query(FIND, &[&one, &other]).await?;
        rows.first().map(|row| column(row, 0)).transpose()
    }

    /// Two that ask at once get one chat.
    async fn make_chat(&self, one: i64, other: i64) -> Result<i64, StoreError> {
        let mut transaction = self.0.begin().await?;
        let pair = PAIRS ^ one.min(other).rotate_left(20) ^ one.max(other);
        let lock = "SELECT 1 FROM pg_advisory_xact_lock($1)";
        transaction.query(lock, &[&pair]).await?;
        let found = transaction.query(FIND, &[&one, &other]).await?;
        if let Some(row) = found.first() {
            return column(row, 0);
        }
        let made = transaction
            .query(
                "WITH made AS (INSERT INTO chat_rooms (is_group, created_at)
                    VALUES (false, now()) RETURNING id),
                 joined AS (INSERT INTO participants (user_id, chat_id)
                    SELECT unnest(ARRAY[$1, $2]::int8[]), id FROM made)
                 SELECT id::int8 FROM made",
                &[&one, &other],
            )
            .await?;
        let id = made.first().map(|row| column(row, 0));
        transaction.commit().await?;
        id.unwrap_or_else(|| Err(StoreError::Schema("no chat was made".to_owned())))
    }

    async fn chat(&self, id: i64) -> Result<Option<Chat>, StoreError> {
        let sql = format!(
            "SELECT c.id::int8, c.name, coalesce(c.is_group, false), c.created_at, {}
             FROM chat_rooms c JOIN participants p ON p.chat_id = c.id
                JOIN users u ON u.id = p.user_id
             WHERE c.id = $1::int8 ORDER BY u.id",
            User::COLUMNS
        );
        let rows = self.0.query(&sql, &[&id]).await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let members = rows.iter().map(|row| User::of(row, 4));
        Ok(Some(Chat {
            id: column(first, 0)?,
            name: column(first, 1)?,
            is_group: column(first, 2)?,
            created_at: time(first, 3)?,
            members: members.collect::<Result<_, _>>()?,
        }))
    }

    /// Returns the chats of a user, in the order of their ids.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn chats(&self, user: i64) -> Result<Vec<i64>, StoreError> {
        let sql =
            "SELECT chat_id::int8 FROM participants WHERE user_id = $1::int8 ORDER BY chat_id";
        let rows = self.0.query(sql, &[&user]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// Returns the members of a chat.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn members(&self, chat: i64) -> Result<Vec<i64>, StoreError> {
        let sql =
            "SELECT user_id::int8 FROM participants WHERE chat_id = $1::int8 ORDER BY user_id";
        let rows = self.0.query(sql, &[&chat]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// Returns messages of a chat, the newest first; `None` if the user is no member of it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn messages(
        &self,
        (chat, user): (i64, i64),
        (most, skipped): (i64, i64),
        with_deleted: bool,
    ) -> Result<Option<Vec<Message>>, StoreError> {
        let member = "SELECT 1 FROM participants WHERE chat_id = $1::int8 AND user_id = $2::int8";
        if self.0.query(member, &[&chat, &user]).await?.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {} FROM messages m WHERE m.chat_id = $1::int8 AND (NOT m.is_deleted OR $4)
             ORDER BY m.id DESC LIMIT $2 OFFSET $3",
            Message::COLUMNS
        );
        let rows = self
            .0
            .query(&sql, &[&chat, &most, &skipped, &with_deleted])
            .await?;
        let messages = rows.iter().map(Message::of);
        messages.collect::<Result<_, _>>().map(Some)
    }

    /// Changes a message.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn edit(
        &self,
        (message, user): (i64, i64),
        content: &str,
    ) -> Result<Changed<Edit>, StoreError> {
        let rows = self.0.write(EDIT, &[&message, &user, &content]).await?;
        let Some(row) = rows.first() else {
            return Ok(Changed::Nothing);
        };
        if column::<Option<i64>>(row, 0)? != Some(user) {
            return Ok(Changed::OfAnother);
        }
        Ok(Changed::Done(Edit {
            message_id: message,
            chat_id: column::<Option<i64>>(row, 1)?.unwrap_or_default(),
            content: content.to_owned(),
            edited_at: time(row, 2)?.unwrap_or_else(Timestamp::now),
        }))
    }

    /// Deletes a message; its row stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete(&self, message: i64, user: i64) -> Result<Changed<()>, StoreError> {
        let rows = self.0.write(DELETE, &[&message, &user]).await?;
        let Some(row) = rows.first() else {
            return Ok(Changed::Nothing);
        };
        Ok(match column::<Option<i64>>(row, 0)? {
            Some(sender) if sender == user => Changed::Done(()),
            _ => Changed::OfAnother,
        })
    }

    /// Notes that a user has read messages of others, in chats of his; others are passed over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(&self, messages: Vec<i64>, user: i64) -> Result<(), StoreError> {
        self.0.write(READ, &[&messages, &user]).await.map(drop)
    }

    /// Returns messages after an id that wait for a user, the oldest first, [`PAGE`] of them at most.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn due(&self, user: i64, after: i64) -> Result<Vec<Due>, StoreError> {
        let sql = format!(
            "SELECT {}, m.is_deleted FROM message_deliveries d JOIN messages m ON m.id = d.message_id
             WHERE d.user_id = $1::int8 AND d.message_id > $2::int8 AND d.delivered_at IS NULL
             ORDER BY d.message_id LIMIT $3",
            Message::COLUMNS
        );
        let rows = self.0.query(&sql, &[&user, &after, &PAGE]).await?;
        let due = |row| {
            Ok(Due {
                message: Message::of(row)?,
                is_deleted: column(row, 6)?,
            })
        };
        rows.iter().map(due).collect()
    }

    /// Returns messages that wait for any of these users although they were stored seconds ago, each
    /// with its user, the oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn overdue(&self, users: Vec<i64>) -> Result<Vec<(i64, Message)>, StoreError> {
        let sql = format!(
            "SELECT {}, d.user_id::int8 FROM message_deliveries d
                JOIN messages m ON m.id = d.message_id
             WHERE d.user_id = ANY($1::int8[]) AND d.delivered_at IS NULL AND NOT m.is_deleted
                AND m.created_at < now() - interval '3 seconds'
             ORDER BY d.message_id LIMIT 1000",
            Message::COLUMNS
        );
        let rows = self.0.query(&sql, &[&users]).await?;
        let overdue = |row| Ok((column(row, 6)?, Message::of(row)?));
        rows.iter().map(overdue).collect()
    }

    /// Returns those of these messages that were to be delivered to a user, delivered or not.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn known(&self, user: i64, messages: Vec<i64>) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT message_id::int8 FROM message_deliveries
            WHERE user_id = $1::int8 AND message_id = ANY($2::int8[])";
        let rows = self.0.query(sql, &[&user, &messages]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// Notes deliveries: message and user of each.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delivered(&self, all: &[(i64, i64)]) -> Result<(), StoreError> {
        let (messages, users): (Vec<i64>, Vec<i64>) = all.iter().copied().unzip();
        self.0
            .write(DELIVERED, &[&messages, &users])
            .await
            .map(drop)
    }
}

/// Finds the chat of two users; the first, if a peer has made two.
const FIND: &str = "\
    SELECT c.id::int8 FROM chat_rooms c
        JOIN participants a ON a.chat_id = c.id AND a.user_id = $1::int8
        JOIN participants b ON b.chat_id = c.id AND b.user_id = $2::int8
    WHERE NOT coalesce(c.is_group, false) ORDER BY c.id LIMIT 1";
