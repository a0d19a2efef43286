//! `[naebak]`: Naebak, a Flask service: messages of two people over Socket.IO.

use super::{Bind, Prefix, declare::settings};

settings! {
    /// Naebak, a Flask service: messages of two people over Socket.IO. Served if `dialects` names it.
    pub struct Naebak in "naebak" {
        /// Address of its own, as `server.bind`; none for only below `prefix`.
        bind: Option<Bind> = "",
        /// Prefix of its paths on `server.bind`, a path that starts and ends with `/`; none for
        /// only at `bind`.
        prefix: Option<Prefix> = "",
    }
}
