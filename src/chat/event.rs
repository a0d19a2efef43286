//! Events that the connected members of a conversation receive.

use bytes::Bytes;

use crate::value::Value;

/// A group event of the original consumer. Its fields are what the sender wrote, of any type,
/// because Django code beside us may send events of its own making.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `message` has the seven fields of a message as they stand on the wire.
    ChatMessage {
        message: Value,
    },
    MessageRead {
        message_id: Value,
        user_id: Value,
    },
    TypingStatus {
        user_id: Value,
        is_typing: Value,
    },
    /// An event that the original has no handler for: the whole of it, its `type` included. Only
    /// what `layer.passthrough` lists comes this far.
    Other(Value),
    /// An event of a hosted application, which only its own code understands: a map in msgpack. The
    /// chat neither sends nor gets any.
    Packed(Bytes),
}
