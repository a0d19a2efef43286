//! `[matching]`: the matching chat, a FastAPI service of rooms for two groups.

use super::{
    Bind, Config, CorsOrigin, Database, Generation, Hosts, Prefix, Secret, StoreUrl,
    declare::{choice, settings},
};

/// Least length of the keys, in bytes: a shorter one can be guessed from a token.
const KEY_MIN: usize = 16;

settings! {
    /// The matching chat, a FastAPI service of rooms of 2 to 16 people from two groups. Served if
    /// `dialects` names it.
    pub struct Matching in "matching" {
        /// Address of its own, as `server.bind`; none for only below `prefix`.
        bind: Option<Bind> = "",
        /// Prefix of its paths on `server.bind`, a path that starts and ends with `/`; none for
        /// only at `bind`.
        prefix: Option<Prefix> = "",
        /// Where its paths are below that: `/`, `/api/v1/`, or both.
        prefixes: Vec<MatchingPrefix> = ["/", "/api/v1/"],
        /// Its PostgreSQL, as `store.url`; `postgresql+asyncpg://` is read too. None for that of
        /// `store.url`. Tables that are missing are made.
        database_url: Option<StoreUrl> = "",
        /// Connections to it.
        pool_size: usize = 30 in 2..=1000,
        /// Its Redis, as an entry of `layer.hosts`; none for the first of those.
        redis: Hosts = [],
        /// Key of the tokens (HS256) of its users, 16 bytes at least: its `SECRET_KEY`. None for
        /// `django.secret_key`.
        secret_key: Option<Secret> = "",
        /// Token with which another service makes rooms, 16 bytes at least; none for no rooms made
        /// here.
        service_token: Option<Secret> = "",
        /// Origins whose pages may use it.
        allowed_origins: Vec<CorsOrigin> = [],
        /// The release of FastAPI whose answers are given: `0.115`, `0.127` or `0.165`.
        fastapi: Generation = "0.115",
        /// Form of errors: `plain` is FastAPI's `{"detail": …}`; `wrapped` is
        /// `{"status": "error", "error": …, "request_id": …}`.
        errors: MatchingErrors = "plain",
        /// Form of a message on a socket: `nested` is `{"type": "new_message", "message": …}`;
        /// `flat` is `{"type": "message", …}` with its members.
        frames: MatchingFrames = "nested",
        /// Order within a page of messages: `asc` is oldest first, `desc` newest first.
        order: MatchingOrder = "asc",
        /// Id of a member of a blind room, for others: `user`, the id of the user, or `member`, an id
        /// of this room only.
        blind_ids: BlindIds = "user",
        /// Answer 403 for rooms that do not exist, as for those of others.
        hide_rooms: bool = false,
        /// Messages that a user may send to a room in a minute; 0 for any number.
        messages_per_minute: u32 = 60 in 0..=1_000_000,
        /// Add each message to the stream of its room in Redis, for the group `matching-workers`.
        streams: bool = false,
    }
}

choice! {
    /// A place of the paths.
    pub enum MatchingPrefix {
        Root = "/",
        ApiV1 = "/api/v1/",
    }
}

choice! {
    /// A form of errors.
    pub enum MatchingErrors {
        Plain = "plain",
        Wrapped = "wrapped",
    }
}

choice! {
    /// A form of messages on sockets.
    pub enum MatchingFrames {
        Nested = "nested",
        Flat = "flat",
    }
}

choice! {
    /// An order of messages.
    pub enum MatchingOrder {
        Ascending = "asc",
        Descending = "desc",
    }
}

choice! {
    /// The id of a member of a blind room.
    pub enum BlindIds {
        User = "user",
        Member = "member",
    }
}

impl Config {
    /// Returns the database of the matching chat; `None` if it has none of PostgreSQL.
    #[must_use]
    pub fn matching_database(&self) -> Option<&StoreUrl> {
        let url = self.matching.database_url.as_ref();
        Some(url.unwrap_or(&self.store.url)).filter(|url| url.database() == Database::Postgres)
    }

    /// Returns the key of its tokens; `None` if there is none that is long enough.
    #[must_use]
    pub fn matching_key(&self) -> Option<&Secret> {
        let key = self.matching.secret_key.as_ref();
        key.or(self.django.secret_key.as_ref())
            .filter(|key| is_long(key))
    }

    /// Returns the token of the service that makes rooms; `None` if none does.
    ///
    /// # Errors
    /// It is too short.
    pub fn matching_service(&self) -> Result<Option<&Secret>, &'static str> {
        match &self.matching.service_token {
            Some(token) if !is_long(token) => Err("matching.service_token needs 16 bytes at least"),
            token => Ok(token.as_ref()),
        }
    }
}

fn is_long(key: &Secret) -> bool {
    key.expose().len() >= KEY_MIN
}
