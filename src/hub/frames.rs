//! The frames of an event: one for each dialect that is mounted, made once and shared by its
//! sockets.

use bytes::Bytes;

use crate::chat::Event;

/// Makes the frame of an event.
pub type Encode = Box<dyn Fn(&Event) -> Bytes + Send + Sync>;

/// Place of a dialect among those that are mounted, the first one by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DialectSlot(usize);

impl DialectSlot {
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
    /// Those of the other dialects; nearly always there are none.
    others: Vec<Bytes>,
}

impl EventFrames {
    /// Makes the frames of an event.
    #[must_use]
    pub fn new(encoders: &[Encode], event: &Event) -> Self {
        let mut frames = encoders.iter().map(|encode| encode(event));
        EventFrames {
            first: frames.next().unwrap_or_default(),
            others: frames.collect(),
        }
    }

    /// Returns the frame for sockets of a dialect.
    #[must_use]
    pub fn of(&self, dialect: DialectSlot) -> &Bytes {
        match dialect.0.checked_sub(1) {
            None => &self.first,
            // A socket's dialect is one of those that are mounted.
            Some(place) => self.others.get(place).unwrap_or(&self.first),
        }
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
