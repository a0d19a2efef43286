//! Statements over the tables. Times there have no zone and are UTC.

use std::sync::Arc;

use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::tables::{INDEXES, MISSING};
use crate::{
    config::StoreUrl,
    metrics::Metrics,
    python::datetime::Timestamp,
    store::{
        StoreError,
        batch::WritesTogether,
        postgres::{own::OwnDatabase, time::Time},
    },
};

/// Columns of [`Message::of`]: of `matching_messages m` with its sender as member `s`, user `u` and
/// room `r`.
const MESSAGE: &str = "m.message_id, m.room_id, m.sender_id, s.member_id, \
    r.display_mode = 'blind', s.anonymous_name, u.username, m.message_type, m.content, \
    m.attachments, m.created_at AT TIME ZONE 'utc', m.updated_at AT TIME ZONE 'utc'";

const MESSAGES: &str = "matching_messages m JOIN matching_chat_rooms r USING (room_id) \
    LEFT JOIN matching_chat_members s ON s.room_id = m.room_id AND s.user_id = m.sender_id \
    LEFT JOIN \"user\" u ON u.id = m.sender_id";

/// Stores messages of active members in active rooms, all in one transaction.
const SEND: &str = "\
    WITH sent AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
            WITH ORDINALITY AS s (room, sender, kind, content, attachments, place)),
    allowed AS (
        SELECT s.*, gen_random_uuid() AS id, clock_timestamp() AT TIME ZONE 'utc' AS at
        FROM (SELECT sent.*, m.member_id, m.anonymous_name, r.display_mode FROM sent
            JOIN matching_chat_members m
                ON m.room_id = sent.room::uuid AND m.user_id = sent.sender AND m.is_active
            JOIN matching_chat_rooms r ON r.room_id = m.room_id AND r.is_active ORDER BY place) s),
    stored AS (
        INSERT INTO matching_messages (message_id, room_id, sender_id, message_type, content,
            attachments, created_at, updated_at)
        SELECT id, room::uuid, sender, kind, content,
            CASE WHEN attachments IS NULL THEN NULL
            ELSE ARRAY(SELECT jsonb_array_elements_text(attachments::jsonb)) END, at, at
        FROM allowed)
    SELECT a.place::int8, a.id, a.member_id, a.display_mode = 'blind', a.anonymous_name,
        u.username, a.at AT TIME ZONE 'utc'
    FROM allowed a LEFT JOIN \"user\" u ON u.id = a.sender";

/// Marks messages of others, up to a time and id, as read; moves the time of the member forward only;
/// returns it, and how many messages of others are after it.
const READ: &str = "\
    WITH marked AS (
        INSERT INTO matching_message_reads (message_id, user_id, read_at)
        SELECT m.message_id, $2::text, clock_timestamp() AT TIME ZONE 'utc' FROM matching_messages m
        WHERE m.room_id = $1::text::uuid AND m.sender_id <> $2::text AND m.deleted_at IS NULL
            AND (m.created_at, m.message_id) <= ($3::timestamptz AT TIME ZONE 'utc', $4::text::uuid)
            AND NOT EXISTS (SELECT 1 FROM matching_message_reads o
                WHERE o.message_id = m.message_id AND o.user_id = $2::text)
        ON CONFLICT (message_id, user_id) DO NOTHING)
    UPDATE matching_chat_members s
    SET last_read_at = greatest(s.last_read_at, $3::timestamptz AT TIME ZONE 'utc')
    WHERE s.room_id = $1::text::uuid AND s.user_id = $2::text
    RETURNING s.last_read_at AT TIME ZONE 'utc',
        (SELECT count(*) FROM matching_messages m WHERE m.room_id = s.room_id
            AND m.sender_id <> s.user_id AND m.deleted_at IS NULL
            AND m.created_at > s.last_read_at)";

/// The tables.
pub struct MatchingDatabase(OwnDatabase);

/// A user's place in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    pub room: Uuid,
    pub member_id: Uuid,
    pub is_blind: bool,
    pub anonymous_name: Option<String>,
    pub username: Option<String>,
    /// Messages can be sent.
    pub is_open: bool,
}

/// Why a user has no place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMember {
    NoRoom,
    /// It is others', or the user has left it.
    NotThere,
}

/// A message with what is shown of its sender.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: Uuid,
    pub room: Uuid,
    pub sender: Sender,
    pub kind: String,
    pub content: String,
    pub attachments: Option<Vec<String>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The sender of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    pub user: String,
    pub member_id: Option<Uuid>,
    pub is_blind: bool,
    pub anonymous_name: Option<String>,
    pub username: Option<String>,
}

/// A message that is to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub room: Uuid,
    pub sender: String,
    pub kind: String,
    pub content: String,
    pub attachments: Option<Vec<String>>,
}

/// A page of messages, oldest first.
#[derive(Clone, Debug)]
pub struct Page {
    pub messages: Vec<Message>,
    pub has_more: bool,
}

/// A room in a list.
#[derive(Clone, Debug)]
pub struct ListedRoom {
    pub id: Uuid,
    pub name: String,
    pub mode: String,
    pub members: i64,
    pub unread: i64,
    /// Content, name of the sender, and time.
    pub last: Option<(String, String, Timestamp)>,
    pub created_at: Timestamp,
}

/// A room with its members.
#[derive(Clone, Debug)]
pub struct Room {
    pub id: Uuid,
    pub name: String,
    pub mode: String,
    /// JSON of each group.
    pub groups: [String; 2],
    pub members: Vec<RoomMember>,
    pub created_at: Timestamp,
}

/// A member of a room.
#[derive(Clone, Debug)]
pub struct RoomMember {
    pub user: String,
    pub member_id: Uuid,
    /// `A` or `B`.
    pub group: String,
    pub anonymous_name: Option<String>,
    pub username: Option<String>,
}

/// A room that is to be made.
#[derive(Clone, Debug)]
pub struct NewRoom {
    pub proposal: Uuid,
    pub name: String,
    pub mode: String,
    /// JSON of each group.
    pub groups: [String; 2],
    /// Users of each group, in their order.
    pub members: [Vec<String>; 2],
}

impl Message {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Message {
            id: column(row, 0)?,
            room: column(row, 1)?,
            sender: Sender {
                user: column(row, 2)?,
                member_id: column(row, 3)?,
                is_blind: column(row, 4)?,
                anonymous_name: column(row, 5)?,
                username: column(row, 6)?,
            },
            kind: column(row, 7)?,
            content: column(row, 8)?,
            attachments: column(row, 9)?,
            created_at: time(row, 10)?,
            updated_at: time(row, 11)?,
        })
    }
}

impl Sender {
    /// Returns the name that others see.
    #[must_use]
    pub fn name(&self) -> &str {
        let blind = self.anonymous_name.as_deref().filter(|_| self.is_blind);
        blind
            .or(self.username.as_deref().filter(|_| !self.is_blind))
            .unwrap_or(&self.user)
    }
}

impl WritesTogether<NewMessage, Option<Message>> for MatchingDatabase {
    /// Stores messages; `None` for each whose sender may not send there.
    async fn write_all(&self, all: &[NewMessage]) -> Result<Vec<Option<Message>>, StoreError> {
        let rooms: Vec<String> = all.iter().map(|it| it.room.to_string()).collect();
        let senders: Vec<&str> = all.iter().map(|it| it.sender.as_str()).collect();
        let kinds: Vec<&str> = all.iter().map(|it| it.kind.as_str()).collect();
        let contents: Vec<&str> = all.iter().map(|it| it.content.as_str()).collect();
        let attachments: Vec<Option<String>> = all.iter().map(attached).collect();
        let rows = self
            .0
            .write(SEND, &[&rooms, &senders, &kinds, &contents, &attachments])
            .await?;
        let mut sent: Vec<Option<Message>> = all.iter().map(|_| None).collect();
        for row in &rows {
            let place: i64 = column(row, 0)?;
            let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
            let (Some(new), Some(slot)) = (all.get(place), sent.get_mut(place)) else {
                continue;
            };
            let at = time(row, 6)?;
            *slot = Some(Message {
                id: column(row, 1)?,
                room: new.room,
                sender: Sender {
                    user: new.sender.clone(),
                    member_id: column(row, 2)?,
                    is_blind: column(row, 3)?,
                    anonymous_name: column(row, 4)?,
                    username: column(row, 5)?,
                },
                kind: new.kind.clone(),
                content: new.content.clone(),
                attachments: new.attachments.clone(),
                created_at: at,
                updated_at: at,
            });
        }
        Ok(sent)
    }
}

impl MatchingDatabase {
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
        Ok(MatchingDatabase(database))
    }

    /// Adds the index of ours.
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

    /// Returns the place of an active user in a room.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn member(
        &self,
        room: Uuid,
        user: &str,
    ) -> Result<Result<Membership, NoMember>, StoreError> {
        let sql = "SELECT r.room_id, m.member_id, r.display_mode = 'blind', m.anonymous_name,
                u.username, r.is_active
            FROM matching_chat_rooms r
            LEFT JOIN matching_chat_members m
                ON m.room_id = r.room_id AND m.user_id = $2::text AND m.is_active
            LEFT JOIN \"user\" u ON u.id = m.user_id
            WHERE r.room_id = $1::text::uuid AND coalesce(u.is_active, true)";
        let rows = self.0.query(sql, &[&room.to_string(), &user]).await?;
        let Some(row) = rows.first() else {
            return Ok(Err(NoMember::NoRoom));
        };
        let Some(member_id) = column::<Option<Uuid>>(row, 1)? else {
            return Ok(Err(NoMember::NotThere));
        };
        Ok(Ok(Membership {
            room: column(row, 0)?,
            member_id,
            is_blind: column(row, 2)?,
            anonymous_name: column(row, 3)?,
            username: column(row, 4)?,
            is_open: column(row, 5)?,
        }))
    }

    /// Returns a message of a room that is not deleted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn message(&self, room: Uuid, id: Uuid) -> Result<Option<Message>, StoreError> {
        let sql = format!(
            "SELECT {MESSAGE} FROM {MESSAGES} WHERE m.room_id = $1::text::uuid
             AND m.message_id = $2::text::uuid AND m.deleted_at IS NULL"
        );
        let rows = self
            .0
            .query(&sql, &[&room.to_string(), &id.to_string()])
            .await?;
        rows.first().map(Message::of).transpose()
    }

    /// Returns the newest of these messages of a room; `None` if one of them is not there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn newest(&self, room: Uuid, ids: &[Uuid]) -> Result<Option<Message>, StoreError> {
        let sql = format!(
            "SELECT {MESSAGE} FROM {MESSAGES} WHERE m.room_id = $1::text::uuid
             AND m.message_id = ANY($2::text[]::uuid[]) AND m.deleted_at IS NULL
             ORDER BY m.created_at DESC, m.message_id DESC"
        );
        let mut asked: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        asked.sort();
        asked.dedup();
        let rows = self.0.query(&sql, &[&room.to_string(), &asked]).await?;
        if rows.len() < asked.len() {
            return Ok(None);
        }
        rows.first().map(Message::of).transpose()
    }

    /// Returns the newest messages of a room before a message, or of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn page(
        &self,
        room: Uuid,
        before: Option<&Message>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let sql = format!(
            "SELECT {MESSAGE} FROM {MESSAGES} WHERE m.room_id = $1::text::uuid
             AND m.deleted_at IS NULL AND (m.created_at, m.message_id)
                < ($2::timestamptz AT TIME ZONE 'utc', $3::text::uuid)
             ORDER BY m.created_at DESC, m.message_id DESC LIMIT $4"
        );
        let (at, id) = match before {
            Some(message) => (Time(message.created_at), message.id),
            None => (Time::LAST, Uuid::max()),
        };
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let params = (room.to_string(), id.to_string());
        let rows = self
            .0
            .query(&sql, &[&params.0, &at, &params.1, &most])
            .await?;
        let messages = rows.iter().take(limit).rev().map(Message::of);
        Ok(Page {
            messages: messages.collect::<Result<_, _>>()?,
            has_more: rows.len() > limit,
        })
    }

    /// Returns messages of these rooms that were stored in the last seconds, the oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recent(&self, rooms: &[Uuid], seconds: i64) -> Result<Vec<Message>, StoreError> {
        let sql = format!(
            "SELECT {MESSAGE} FROM {MESSAGES} WHERE m.room_id = ANY($1::text[]::uuid[])
             AND m.deleted_at IS NULL AND m.created_at
                > (clock_timestamp() AT TIME ZONE 'utc') - $2::int8 * interval '1 second'
             ORDER BY m.created_at, m.message_id LIMIT 1000"
        );
        let rooms: Vec<String> = rooms.iter().map(Uuid::to_string).collect();
        let rows = self.0.query(&sql, &[&rooms, &seconds]).await?;
        rows.iter().map(Message::of).collect()
    }

    /// Marks messages up to this one as read; returns the time up to which all is read, and the number
    /// of messages that are not.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(
        &self,
        user: &str,
        message: &Message,
    ) -> Result<(Timestamp, i64), StoreError> {
        let (room, id) = (message.room.to_string(), message.id.to_string());
        let at = Time(message.created_at);
        let rows = self.0.write(READ, &[&room, &user, &at, &id]).await?;
        match rows.first() {
            Some(row) => Ok((time(row, 0)?, column(row, 1)?)),
            None => Ok((message.created_at, 0)),
        }
    }

    /// Returns the rooms that a user is in, those with the newest message first; `active` is whether
    /// they are, or `None` for all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rooms(
        &self,
        user: &str,
        active: Option<bool>,
    ) -> Result<Vec<ListedRoom>, StoreError> {
        let sql = "
            SELECT r.room_id, r.room_name, r.display_mode,
                (SELECT count(*) FROM matching_chat_members o
                    WHERE o.room_id = r.room_id AND o.is_active),
                (SELECT count(*) FROM matching_messages m WHERE m.room_id = r.room_id
                    AND m.sender_id <> me.user_id AND m.deleted_at IS NULL
                    AND (me.last_read_at IS NULL OR m.created_at > me.last_read_at)),
                last.content, last.name, last.created_at AT TIME ZONE 'utc',
                r.created_at AT TIME ZONE 'utc'
            FROM matching_chat_members me JOIN matching_chat_rooms r USING (room_id)
            LEFT JOIN LATERAL (
                SELECT m.content, m.created_at, CASE WHEN r.display_mode = 'blind'
                    THEN coalesce(s.anonymous_name, m.sender_id)
                    ELSE coalesce(u.username, m.sender_id) END AS name
                FROM matching_messages m
                LEFT JOIN matching_chat_members s
                    ON s.room_id = m.room_id AND s.user_id = m.sender_id
                LEFT JOIN \"user\" u ON u.id = m.sender_id
                WHERE m.room_id = r.room_id AND m.deleted_at IS NULL
                ORDER BY m.created_at DESC, m.message_id DESC LIMIT 1) last ON true
            WHERE me.user_id = $1::text AND me.is_active AND ($2::bool OR r.is_active = $3::bool)
            ORDER BY coalesce(last.created_at, r.created_at) DESC, r.room_id LIMIT 1000";
        let (all, wanted) = (active.is_none(), active.unwrap_or_default());
        let rows = self.0.query(sql, &[&user, &all, &wanted]).await?;
        let listed = |row| {
            let last = match column::<Option<String>>(row, 5)? {
                Some(content) => Some((content, column(row, 6)?, time(row, 7)?)),
                None => None,
            };
            Ok(ListedRoom {
                id: column(row, 0)?,
                name: column(row, 1)?,
                mode: column(row, 2)?,
                members: column(row, 3)?,
                unread: column(row, 4)?,
                last,
                created_at: time(row, 8)?,
            })
        };
        rows.iter().map(listed).collect()
    }

    /// Returns a room with its members who have not left, in the order of their groups.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn room(&self, id: Uuid) -> Result<Option<Room>, StoreError> {
        let sql = "SELECT r.room_id, r.room_name, r.display_mode, r.group_a_info::text,
                r.group_b_info::text, r.created_at AT TIME ZONE 'utc', m.user_id, m.member_id,
                m.group_label, m.anonymous_name, u.username
            FROM matching_chat_rooms r
            LEFT JOIN matching_chat_members m ON m.room_id = r.room_id AND m.is_active
            LEFT JOIN \"user\" u ON u.id = m.user_id
            WHERE r.room_id = $1::text::uuid ORDER BY m.group_label, m.member_index";
        let rows = self.0.query(sql, &[&id.to_string()]).await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let mut members = Vec::new();
        for row in &rows {
            if let Some(user) = column::<Option<String>>(row, 6)? {
                members.push(RoomMember {
                    user,
                    member_id: column(row, 7)?,
                    group: column(row, 8)?,
                    anonymous_name: column(row, 9)?,
                    username: column(row, 10)?,
                });
            }
        }
        Ok(Some(Room {
            id: column(first, 0)?,
            name: column(first, 1)?,
            mode: column(first, 2)?,
            groups: [column(first, 3)?, column(first, 4)?],
            created_at: time(first, 5)?,
            members,
        }))
    }

    /// Makes a room with its members, in one transaction. Returns its id, and whether it was made: a
    /// proposal has one room.
    ///
    /// # Errors
    /// Those of the database: [`StoreError::Refused`] for a user or a proposal that is not there.
    pub async fn make_room(&self, new: &NewRoom) -> Result<(Uuid, bool), StoreError> {
        let proposal = new.proposal.to_string();
        let mut transaction = self.0.begin().await?;
        let made = transaction
            .query(
                "INSERT INTO matching_chat_rooms
                    (proposal_id, room_name, display_mode, group_a_info, group_b_info, created_at,
                     updated_at)
                 VALUES ($1::text::uuid, $2::text, $3::text, $4::text::json, $5::text::json,
                    now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc')
                 ON CONFLICT (proposal_id) DO NOTHING RETURNING room_id",
                &[
                    &proposal,
                    &new.name,
                    &new.mode,
                    &new.groups[0],
                    &new.groups[1],
                ],
            )
            .await?;
        let Some(row) = made.first() else {
            let sql = "SELECT room_id FROM matching_chat_rooms WHERE proposal_id = $1::text::uuid";
            let found = transaction.query(sql, &[&proposal]).await?;
            let missing = || StoreError::Conflict("a room came and went".to_owned());
            return Ok((column(found.first().ok_or_else(missing)?, 0)?, false));
        };
        let id: Uuid = column(row, 0)?;
        for (label, users) in ["A", "B"].into_iter().zip(&new.members) {
            let names: Vec<String> = (1..=users.len()).map(|n| format!("{label}{n}")).collect();
            let sql = "INSERT INTO matching_chat_members
                    (room_id, user_id, group_label, member_index, anonymous_name, joined_at)
                 SELECT $1::text::uuid, n.user_id, $2::text, n.place::int4, n.name,
                    now() AT TIME ZONE 'utc'
                 FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS n (user_id, name, place)";
            transaction
                .query(sql, &[&id.to_string(), &label, users, &names])
                .await?;
        }
        transaction.commit().await?;
        Ok((id, true))
    }

    /// Takes a user out of a room; the last one out ends it. Returns whether the user was there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn leave(&self, room: Uuid, user: &str) -> Result<bool, StoreError> {
        let room = room.to_string();
        let mut transaction = self.0.begin().await?;
        // Two who leave at once see each other.
        let lock = "SELECT 1 FROM matching_chat_rooms WHERE room_id = $1::text::uuid FOR UPDATE";
        transaction.query(lock, &[&room]).await?;
        let left = transaction
            .query(
                "UPDATE matching_chat_members
                 SET is_active = false, left_at = now() AT TIME ZONE 'utc'
                 WHERE room_id = $1::text::uuid AND user_id = $2::text AND is_active RETURNING 1",
                &[&room, &user],
            )
            .await?;
        let end = "UPDATE matching_chat_rooms r
            SET is_active = false, updated_at = now() AT TIME ZONE 'utc'
            WHERE r.room_id = $1::text::uuid AND r.is_active AND NOT EXISTS (
                SELECT 1 FROM matching_chat_members m WHERE m.room_id = r.room_id AND m.is_active)";
        transaction.query(end, &[&room]).await?;
        transaction.commit().await?;
        Ok(!left.is_empty())
    }

    /// Returns those of these places, room and user, that are not there any more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn gone(&self, places: &[(Uuid, String)]) -> Result<Vec<(Uuid, String)>, StoreError> {
        let rooms: Vec<String> = places.iter().map(|it| it.0.to_string()).collect();
        let users: Vec<&str> = places.iter().map(|it| it.1.as_str()).collect();
        let sql = "SELECT p.room::uuid, p.user_id FROM unnest($1::text[], $2::text[]) AS p (room, user_id)
            WHERE NOT EXISTS (SELECT 1 FROM matching_chat_members m
                LEFT JOIN \"user\" u ON u.id = m.user_id
                WHERE m.room_id = p.room::uuid AND m.user_id = p.user_id AND m.is_active
                    AND coalesce(u.is_active, true))";
        let rows = self.0.query(sql, &[&rooms, &users]).await?;
        rows.iter()
            .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
            .collect()
    }
}

fn attached(new: &NewMessage) -> Option<String> {
    let attachments = new.attachments.as_ref()?;
    serde_json::to_string(attachments).ok()
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, StoreError> {
    Ok(row.try_get(place)?)
}

fn time(row: &Row, place: usize) -> Result<Timestamp, StoreError> {
    let time = column::<Option<Time>>(row, place)?;
    Ok(time.map_or(Timestamp::from_micros(0), |time| time.0))
}
