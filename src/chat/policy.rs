//! The rights of a caller, decided from values alone. Where the values come from, and what is
//! answered when something may not be done, is for the callers.

use std::sync::Arc;

/// For whom a request or a socket may speak, and whose conversations it may know of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// For anybody, of all: `auth.policy = open`.
    #[default]
    Anybody,
    /// For this user, of their own: `auth.policy = participants`. Ids are the same if their
    /// characters are, whatever the database's collation thinks.
    Only(Arc<str>),
}

impl Caller {
    /// Returns whether it may send, mark or type as `user`, and list the conversations of `user`.
    #[must_use]
    pub fn is(&self, user: &str) -> bool {
        match self {
            Caller::Anybody => true,
            Caller::Only(own) => **own == *user,
        }
    }

    /// Returns whether it may know of a conversation between these.
    #[must_use]
    pub fn takes_part(&self, participants: &[impl AsRef<str>]) -> bool {
        match self {
            Caller::Anybody => true,
            Caller::Only(own) => participants.iter().any(|it| **own == *it.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Caller;

    #[test]
    fn anybody_may_do_everything() {
        assert!(Caller::Anybody.is("alice") && Caller::Anybody.takes_part(&["alice", "bob"]));
    }

    #[test]
    fn a_user_is_nobody_else_however_alike_the_database_finds_them() {
        let alice = Caller::Only("alice".into());
        assert!(alice.is("alice"));
        assert!(alice.takes_part(&["bob", "alice"]) && alice.takes_part(&["alice", "alice"]));
        for other in ["Alice", "alice ", "al\u{ed}ce", "alic", "", "bob"] {
            assert!(!alice.is(other), "{other}");
            assert!(!alice.takes_part(&[other, "bob"]), "{other}");
        }
    }
}
