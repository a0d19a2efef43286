//! `[matching]`: The matching chat, a FastAPI service: rooms of the members of two groups.

use super::{Bind, Prefix, declare::settings};

settings! {
    /// The matching chat, a FastAPI service: rooms of the members of two groups. Served if `dialects` names it.
    pub struct Matching in "matching" {
        /// Address of its own, as `server.bind`; none for only below `prefix`.
        bind: Option<Bind> = "",
        /// Prefix of its paths on `server.bind`, a path that starts and ends with `/`; none for
        /// only at `bind`.
        prefix: Option<Prefix> = "",
    }
}
