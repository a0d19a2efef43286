//! A conversation between participants.

use crate::{id::ConversationId, python::datetime::Timestamp};

/// A row of `conversations`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    pub participants: Participants,
    pub created_at: Timestamp,
    /// Set when the row is made and never moved: the original saves a conversation only once.
    pub updated_at: Timestamp,
    /// An inactive conversation is in no list and takes no new socket, but can still be read.
    pub is_active: bool,
}

impl Conversation {
    #[must_use]
    pub fn times(&self) -> [Timestamp; 2] {
        [self.created_at, self.updated_at]
    }
}

/// User ids of those who take part in a conversation, as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Participants {
    /// Two columns of the conversation, in their order.
    Pair([String; 2]),
    /// Rows of a table of members, sorted.
    Many(Vec<String>),
}

impl Participants {
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Participants::Pair(pair) => pair,
            Participants::Many(many) => many,
        }
    }

    /// Returns the first two, for what knows conversations of two people only. An empty text stands
    /// for one that is not there.
    #[must_use]
    pub fn pair(&self) -> [&str; 2] {
        let mut all = self.as_slice().iter().map(String::as_str);
        std::array::from_fn(|_| all.next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Participants;

    #[test]
    fn a_pair_is_the_first_two() {
        let many = |names: &[&str]| {
            Participants::Many(names.iter().map(|name| (*name).to_owned()).collect())
        };
        assert_eq!(many(&["a", "b", "c"]).pair(), ["a", "b"]);
        assert_eq!(many(&["a"]).pair(), ["a", ""]);
        let pair = Participants::Pair(["b".to_owned(), "a".to_owned()]);
        assert_eq!(pair.pair(), ["b", "a"]);
    }
}
