//! The comparison of user ids: by the database's collation, as Django does, or byte by byte.
//!
//! A collation may take two ids for one: letters of either case, with and without accents, in full
//! width, with spaces at the end. Without a policy that is the original's behaviour and is kept.
//! With `auth.policy = participants` ids are identities, and a row is found by them only if its
//! bytes are the same. The unique keys of the tables still follow the collation, so a row of other
//! bytes can stand where a new one would have to be: the write is then refused with
//! [`StoreError::Alike`](super::StoreError::Alike), and the row is neither shown nor changed.

use crate::{config::Policy, id::MessageId};

/// Comparison of a requested user id with the one of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// As the database compares, which is how Django finds rows.
    Collation,
    /// Byte by byte.
    Bytes,
}

impl Comparison {
    /// Makes the comparison that a policy needs.
    #[must_use]
    pub fn of(policy: Policy) -> Self {
        match policy {
            Policy::Open => Comparison::Collation,
            Policy::Participants => Comparison::Bytes,
        }
    }

    /// Returns whether a row was found that is another user's.
    #[must_use]
    pub fn is_other(self, asked: &str, found: &str) -> bool {
        self == Comparison::Bytes && asked != found
    }
}

/// Rows that are looked up by user ids.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The conversation of two users, in either order.
    Pair(String, String),
    /// The receipt of a user for a message.
    Receipt(MessageId, String),
    /// The conversations of a user.
    Conversations(String),
}
