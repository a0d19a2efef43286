//! `[messenger]`: Messenger Core, a FastAPI service: users, private chats and offline delivery over one socket.

use super::{Bind, Prefix, declare::settings};

settings! {
    /// Messenger Core, a FastAPI service: users, private chats and offline delivery over one socket. Served if `dialects` names it.
    pub struct Messenger in "messenger" {
        /// Address of its own, as `server.bind`; none for only below `prefix`.
        bind: Option<Bind> = "",
        /// Prefix of its paths on `server.bind`, a path that starts and ends with `/`; none for
        /// only at `bind`.
        prefix: Option<Prefix> = "",
    }
}
