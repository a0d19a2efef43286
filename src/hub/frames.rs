//! The frames of an event: one for each dialect that is spoken in a conversation, made once and
//! shared by its sockets.

use bytes::Bytes;

use crate::{chat::Event, id::ConversationId};

/// Makes the frame of an event of a conversation; an empty one if the dialect has no form for it.
pub type Encode = Box<dyn Fn(ConversationId, &Event) -> Bytes + Send + Sync>;

/// Place of a dialect among those that are mounted, the first one by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DialectSlot(usize);

impl DialectSlot {
    /// Returns whether it is the place of the first dialect.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.0 == 0
    }

    /// Returns the place after this many others.
    #[must_use]
    pub fn after(others: usize) -> Self {
        DialectSlot(others)
    }
}

/// The frames of one event.
#[derive(Clone, Debug, Default)]
pub struct EventFrames {
    first: Bytes,
    /// Those of the other dialects; none if only the first is spoken in the conversation.
    others: Vec<Bytes>,
}

impl EventFrames {
    /// Makes the frame of an event for the first dialect, and for the others if they are spoken.
    #[must_use]
    pub fn new(
        encoders: &[Encode],
        conversation_id: ConversationId,
        event: &Event,
        others_speak: bool,
    ) -> Self {
        let many = if others_speak { encoders.len() } else { 1 };
        let encoders = encoders.iter().take(many);
        let mut frames = encoders.map(|encode| encode(conversation_id, event));
        EventFrames {
            first: frames.next().unwrap_or_default(),
            others: frames.collect(),
        }
    }

    /// Returns the frame for sockets of a dialect; `None` if it has no form for the event, or was not
    /// spoken in the conversation when the event came: such a socket reads the rest first.
    #[must_use]
    pub fn of(&self, dialect: DialectSlot) -> Option<&Bytes> {
        let frame = match dialect.0.checked_sub(1) {
            None => Some(&self.first),
            Some(place) => self.others.get(place),
        };
        frame.filter(|frame| !frame.is_empty())
    }

    /// Returns the frame of the first dialect, which is there whatever else is.
    #[must_use]
    pub fn first(&self) -> &Bytes {
        &self.first
    }

    /// Returns the number of bytes of all of them.
    #[must_use]
    pub fn size(&self) -> usize {
        self.first.len() + self.others.iter().map(Bytes::len).sum::<usize>()
    }
}
