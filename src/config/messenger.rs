//! `[messenger]`: Messenger Core, a FastAPI service of private chats.

use super::{
    Bind, Config, CorsOrigin, Database, Hosts, Prefix, Secret, StoreUrl, declare::settings,
};

/// Least length of the key that signs tokens, in bytes: the original refuses a shorter one.
const KEY_MIN: usize = 32;

settings! {
    /// Messenger Core, a FastAPI service of users, private chats and offline delivery over one
    /// socket for each user. Served if `dialects` names it.
    pub struct Messenger in "messenger" {
        /// Address of its own, as `server.bind`; none for only below `prefix`.
        bind: Option<Bind> = "",
        /// Prefix of its paths on `server.bind`, a path that starts and ends with `/`; none for
        /// only at `bind`.
        prefix: Option<Prefix> = "",
        /// Its PostgreSQL, as `store.url`; `postgresql+asyncpg://` is read too. None for that of
        /// `store.url`. Tables that are missing are made.
        database_url: Option<StoreUrl> = "",
        /// Connections to it.
        pool_size: usize = 10 in 2..=1000,
        /// Its Redis, as an entry of `layer.hosts`; none for the first of those.
        redis: Hosts = [],
        /// Key that signs tokens, 32 bytes at least: its `SECRET_KEY`. None for
        /// `django.secret_key`.
        secret_key: Option<Secret> = "",
        /// Minutes for which an access token is good: its `ACCESS_TOKEN_EXPIRE_MINUTES`.
        access_minutes: u64 = 15 in 1..=525_600,
        /// Days for which a refresh token is good: its `REFRESH_TOKEN_EXPIRE_DAYS`.
        refresh_days: u64 = 7 in 1..=3650,
        /// Origins whose pages may use it: its `ALLOWED_ORIGINS`.
        allowed_origins: Vec<CorsOrigin> = [],
        /// Show deleted messages in the list of a chat, as the original does.
        show_deleted: bool = false,
        /// Messages that a user may send on a socket in ten seconds; 0 for any number. The
        /// original means 5.
        messages_in_10_s: u32 = 0 in 0..=1_000_000,
    }
}

impl Config {
    /// Returns the database of Messenger Core; `None` if it has none of PostgreSQL.
    #[must_use]
    pub fn messenger_database(&self) -> Option<&StoreUrl> {
        let url = self.messenger.database_url.as_ref();
        Some(url.unwrap_or(&self.store.url)).filter(|url| url.database() == Database::Postgres)
    }

    /// Returns the key of its tokens; `None` if there is none that is long enough.
    #[must_use]
    pub fn messenger_key(&self) -> Option<&Secret> {
        let key = self.messenger.secret_key.as_ref();
        key.or(self.django.secret_key.as_ref())
            .filter(|key| key.expose().len() >= KEY_MIN)
    }
}
