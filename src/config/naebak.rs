//! `[naebak]`: Naebak, a Flask service of messages between two people over Socket.IO.

use super::{Bind, Config, CorsOrigin, Hosts, Prefix, Secret, declare::settings};

/// Least length of the key of tokens, in bytes: a shorter one can be guessed from a token.
const KEY_MIN: usize = 16;

settings! {
    /// Naebak, a Flask service of messages between two people over Socket.IO. Served if `dialects`
    /// names it.
    pub struct Naebak in "naebak" {
        /// Address of its own, as `server.bind`; none for only below `prefix`.
        bind: Option<Bind> = "",
        /// Prefix of its paths on `server.bind`, a path that starts and ends with `/`; none for
        /// only at `bind`.
        prefix: Option<Prefix> = "",
        /// Its Redis, as an entry of `layer.hosts`; none for the first of those.
        redis: Hosts = [],
        /// Key of the tokens (HS256) that its users connect with, 16 bytes at least. None for
        /// `django.secret_key`.
        secret_key: Option<Secret> = "",
        /// Believe the `user_id` of the address without a token, as the original does: for where a
        /// gateway has looked at it before.
        trust_user_id: bool = false,
        /// Origins whose pages may connect: its `CORS_ALLOWED_ORIGINS`.
        allowed_origins: Vec<CorsOrigin> = ["*"],
    }
}

impl Config {
    /// Returns the key of its tokens; `None` if there is none that is long enough.
    #[must_use]
    pub fn naebak_key(&self) -> Option<&Secret> {
        let key = self.naebak.secret_key.as_ref();
        key.or(self.django.secret_key.as_ref())
            .filter(|key| key.expose().len() >= KEY_MIN)
    }
}
