//! Places in a conversation, as clients keep them. To a client a cursor is a text without meaning.
//!
//! There are two kinds. One with which a client *comes back* says that it has been shown all that was
//! stored up to a time. Rows may still appear a little before it: another process or Django may
//! commit later what it has dated earlier, on a machine whose clock is behind. So reading begins
//! [`OVERLAP`] earlier, and clients know by its id what they have. One that *goes on* in a page is
//! exact, and begins with `=`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use uuid::Uuid;

use crate::{
    chat::Message,
    id::{Key, MessageId},
    python::datetime::Timestamp,
};

/// Time before a cursor from which messages are read again: longer than a commit is waited for
/// (`store::commit::SETTLE_MAX`) and than the clocks of machines may differ.
pub const OVERLAP: Duration = Duration::from_secs(90);

/// A place in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// All that was stored up to then has been shown.
    Shown(Timestamp, MessageId),
    /// Next to this message.
    Exact(Timestamp, MessageId),
}

impl Cursor {
    /// Returns the cursor of a client that has been shown a message now. A time ahead of the clock
    /// does not count: what is said until then would be left out.
    #[must_use]
    pub fn shown(message: &Message, now: Timestamp) -> Self {
        let at = Timestamp::from_micros(message.created_at.micros().min(now.micros()));
        Cursor::Shown(at, message.id)
    }

    /// Returns the cursor of a client that has been shown everything.
    #[must_use]
    pub fn all(now: Timestamp) -> Self {
        Cursor::Shown(now, MIN)
    }

    /// Returns the place of a message in a page.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        Cursor::Exact(message.created_at, message.id)
    }

    /// Returns the time and the id behind which newer messages are read.
    #[must_use]
    pub fn start(self, now: Timestamp) -> (Timestamp, MessageId) {
        match self {
            Cursor::Exact(at, id) => (at, id),
            Cursor::Shown(at, _) => {
                let overlap = i64::try_from(OVERLAP.as_micros()).unwrap_or(i64::MAX);
                let at = at.micros().min(now.micros()).saturating_sub(overlap);
                (Timestamp::from_micros(at), MIN)
            }
        }
    }

    /// Returns the time and the id before which older messages are read.
    #[must_use]
    pub fn place(self) -> (Timestamp, MessageId) {
        match self {
            Cursor::Exact(at, id) | Cursor::Shown(at, id) => (at, id),
        }
    }
}

/// An id before all others.
const MIN: MessageId = MessageId(Key::Uuid(Uuid::nil()));

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, id) = self.place();
        let sign = if matches!(self, Cursor::Exact(..)) {
            "="
        } else {
            ""
        };
        write!(f, "{sign}{}.{}", at.micros(), id.0.short())
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this server")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let exact = text.strip_prefix('=');
        let (at, id) = exact.unwrap_or(text).split_once('.').ok_or(NotACursor)?;
        let at = Timestamp::from_micros(at.parse().map_err(|_| NotACursor)?);
        let id = Uuid::try_parse(id).map_err(|_| NotACursor)?.into();
        // Beyond these years no database has a row, and some take no time.
        if !(FIRST..LAST).contains(&at.micros()) {
            return Err(NotACursor);
        }
        Ok(match exact {
            Some(_) => Cursor::Exact(at, id),
            None => Cursor::Shown(at, id),
        })
    }
}

/// 1971-01-01, in microseconds.
const FIRST: i64 = 365 * 86_400_000_000;

/// Some time in 9966.
const LAST: i64 = 253_000_000_000_000_000;

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000 + seconds * 1_000_000)
    }

    const ID: MessageId = MessageId(Key::Uuid(Uuid::from_u128(7)));

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for cursor in [Cursor::Shown(at(0), ID), Cursor::Exact(at(0), ID)] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in [
            "",
            "=",
            "1",
            "1.",
            ".1",
            "=1795000000000000.7",
            "1.x",
            "-1.x",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
        let never = format!("{}.{}", i64::MAX, ID.0.short());
        assert_eq!(never.parse::<Cursor>(), Err(NotACursor));
    }

    #[test]
    fn who_comes_back_is_told_what_may_have_been_committed_late() {
        assert_eq!(Cursor::Shown(at(100), ID).start(at(200)), (at(10), MIN));
        assert_eq!(Cursor::Exact(at(100), ID).start(at(200)), (at(100), ID));
    }

    #[test]
    fn a_time_ahead_of_the_clock_hides_nothing() {
        assert_eq!(Cursor::Shown(at(5000), ID).start(at(200)), (at(110), MIN));
    }
}
