//! Ids of rows: of which table a row is, and what its primary key is.
//!
//! The id of a conversation cannot be passed for one of a message. Which kind of key a table has is
//! known to the store and to the dialect whose table it is; here all kinds are alike.

use std::{fmt, io::Write, str::FromStr};

use uuid::Uuid;

/// Most bytes of a key as a text.
pub const KEY_MAX: usize = 36;

/// A primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Uuid(Uuid),
    /// A number that the database has made.
    Number(i64),
}

impl Key {
    /// Reads a key as peers and databases write it: a UUID with or without dashes, or a decimal
    /// number of 64 bits. A number has at most 19 digits, so no text is both.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = || Uuid::try_parse(text).ok().map(Key::Uuid);
        uuid().or_else(|| text.parse().ok().map(Key::Number))
    }

    /// Returns bits that no other key has. Those of a number are in no UUID of RFC 9562.
    #[must_use]
    pub const fn bits(self) -> u128 {
        match self {
            Key::Uuid(id) => id.as_u128(),
            Key::Number(number) => 1 << 64 | number.cast_unsigned() as u128,
        }
    }

    /// Returns the key in its shortest form that [`Key::parse`] reads.
    #[must_use]
    pub fn short(self) -> String {
        match self {
            Key::Uuid(id) => id.simple().to_string(),
            Key::Number(number) => number.to_string(),
        }
    }

    /// Writes the key as [`fmt::Display`] does, without an allocation.
    #[must_use]
    pub fn encode(self, buffer: &mut [u8; KEY_MAX]) -> &str {
        match self {
            Key::Uuid(id) => id.hyphenated().encode_lower(buffer),
            Key::Number(number) => {
                let mut rest = &mut buffer[..];
                // There is room for 20 characters.
                let _ = write!(rest, "{number}");
                let written = KEY_MAX - rest.len();
                str::from_utf8(&buffer[..written]).unwrap_or_default()
            }
        }
    }

    /// Returns the UUID; `None` for a key of another kind.
    #[must_use]
    pub const fn uuid(self) -> Option<Uuid> {
        match self {
            Key::Uuid(id) => Some(id),
            Key::Number(_) => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Uuid(id) => id.fmt(f),
            Key::Number(number) => number.fmt(f),
        }
    }
}

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a UUID nor a number")]
pub struct NotAnId;

impl From<Uuid> for Key {
    fn from(id: Uuid) -> Self {
        Key::Uuid(id)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Key);

        impl $name {
            /// Returns the UUID; `None` for an id of another kind.
            #[must_use]
            pub const fn uuid(self) -> Option<Uuid> {
                self.0.uuid()
            }

            /// Returns bits that no other id of this kind of row has.
            #[must_use]
            pub const fn bits(self) -> u128 {
                self.0.bits()
            }
        }

        /// Reads an id as [`Key::parse`] does.
        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Key::parse(text).map($name).ok_or(NotAnId)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                $name(Key::Uuid(id))
            }
        }

        impl From<Key> for $name {
            fn from(key: Key) -> Self {
                $name(key)
            }
        }

        impl From<$name> for Key {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

impl ConversationId {
    /// Returns whether it is that of a group: a UUID of version 5, which neither Django's models nor
    /// this program makes for a conversation of two. So the kind of a conversation is known without a
    /// query.
    #[must_use]
    pub fn is_group(self) -> bool {
        self.uuid().is_some_and(|id| id.get_version_num() == 5)
    }
}

ids! {
    /// The id of a conversation.
    ConversationId,
    /// The id of a message.
    MessageId,
    /// The id of a receipt.
    ReceiptId,
    /// The id of a change of a message.
    ChangeId,
    /// The id of an attachment.
    AttachmentId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let id = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        assert_eq!(Key::parse(&id.to_string()), Some(Key::Uuid(id)));
        assert_eq!(Key::parse(&id.simple().to_string()), Some(Key::Uuid(id)));
        for number in [0, 1, i64::MAX, i64::MIN] {
            let (key, mut buffer) = (Key::Number(number), [0; KEY_MAX]);
            assert_eq!(Key::parse(key.encode(&mut buffer)), Some(key));
            assert_eq!(Key::parse(&key.short()), Some(key));
        }
        for text in ["", "x", "1.0", "99999999999999999999"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_two_keys_of_a_kind_have_the_same_bits() {
        let numbers = [0, 1, -1, i64::MAX, i64::MIN].map(|number| Key::Number(number).bits());
        let distinct: std::collections::HashSet<u128> = numbers.into();
        assert_eq!(distinct.len(), numbers.len());
    }
}
