//! `[auth]`: who is asking, and what they may do.

use super::declare::{choice, settings};

settings! {
    /// Who is asking, and what they may do.
    pub struct Auth in "auth" {
        /// How a caller is known. `none`: the ids a caller gives are believed, as in the original.
        /// `django_session` and `jwt` are not served yet.
        identity: Identity = "none",
        /// What a caller may do. `open`: everything, as in the original. `participants` is not
        /// served yet.
        policy: Policy = "open",
        /// Must be true to listen on an address other machines can reach while `auth.identity` is
        /// `none`: everybody who reaches it can read and write as anybody.
        allow_anonymous: bool = false,
    }
}

choice! {
    /// How a caller is known.
    pub enum Identity {
        None = "none",
        DjangoSession = "django_session",
        Jwt = "jwt",
    }
}

choice! {
    /// What a caller may do.
    pub enum Policy {
        Open = "open",
        Participants = "participants",
    }
}
