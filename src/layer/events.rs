//! The form of a chat's events in group messages. The layer carries what a dialect's table says.

use crate::{
    chat::Event,
    value::{Value, ValueRef},
};

/// Members of a group message, without its `type`.
pub type EventMembers<'a> = &'a [(&'static str, ValueRef<'a>)];

/// Takes a member out of a group message.
///
/// # Errors
/// When it is missing, or JSON cannot hold it.
pub type Take<'a> = dyn FnMut(&'static str) -> Result<Value, Strange> + 'a;

/// The events of one dialect and their group messages. The `type` is the name of a method of the
/// original's consumer, which takes its own members and ignores all others.
pub trait EventTable: Send + Sync {
    /// Calls `write` with the `type` and the members of an event. Does nothing for one that it has
    /// no name for.
    fn describe(&self, event: &Event, write: &mut dyn FnMut(&'static str, EventMembers<'_>));

    /// Reads the event of the method `handler`; `None` if there is no such method.
    ///
    /// # Errors
    /// When the original's consumer would have raised.
    fn read(&self, handler: &str, take: &mut Take<'_>) -> Result<Option<Event>, Strange>;
}

/// Returns the method that Channels calls for a `type`.
#[must_use]
pub fn handler(kind: &str) -> String {
    kind.replace('.', "_")
}

/// Why a group message is no event of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Strange {
    #[error("it has no `type`")]
    NoType,
    #[error("nobody handles the type `{0}`")]
    UnknownType(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` cannot be written as JSON")]
    NotJson(String),
    #[error("`{0}` cannot be written in msgpack")]
    NotPackable(String),
}

impl Strange {
    /// Returns the value of the `why` label in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Strange::NoType => "no_type",
            Strange::UnknownType(_) => "unknown_type",
            Strange::Missing(_) => "missing_field",
            Strange::NotJson(_) => "not_json",
            Strange::NotPackable(_) => "not_packable",
        }
    }
}
