//! The domain: conversations, their messages, and who has read what.
//!
//! Values and pure rules. Nothing here knows a socket, an SQL dialect or a spelling of JSON; what
//! is done with them is in [`crate::service`].

pub mod attachment;
pub mod change;
pub mod conversation;
pub mod event;
pub mod group;
pub mod id;
pub mod message;
pub mod outbox;
pub mod policy;
pub mod receipt;
pub mod search;

pub use attachment::{Attachment, PlacedAttachment};
pub use change::{Change, NewChange};
pub use conversation::{Conversation, Participants};
pub use event::{Event, SentMessage};
pub use group::{Group, GroupAction, GroupMember, GroupRefusal, NewGroup, NewGroupChange, Role};
pub use message::{Message, NewMessage};
pub use outbox::{NewOutboxEvent, OutboxKind};
pub use receipt::Receipt;

/// The longest user id the tables hold, in code points (`varchar(255)` of the original's models).
pub const USER_ID_MAX: usize = 255;

/// The longest message type the table holds, in code points (`varchar(10)`).
pub const MESSAGE_TYPE_MAX: usize = 10;

/// Returns whether `text` fits a column of `max` code points. Trailing spaces do not count: MySQL
/// cuts them off without an error, and the original accepts such a text there.
#[must_use]
pub fn fits(text: &str, max: usize) -> bool {
    text.len() <= max || text.trim_end_matches(' ').chars().nth(max).is_none()
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_limit_counts_code_points_and_not_bytes() {
        assert!(fits(&"가".repeat(255), 255));
        assert!(!fits(&"가".repeat(256), 255));
    }

    #[test]
    fn trailing_spaces_do_not_count_against_a_limit() {
        assert!(fits(&format!("a{}", " ".repeat(300)), 255));
        assert!(!fits(&format!("{}a", " ".repeat(300)), 255));
    }
}
