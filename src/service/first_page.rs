//! The history that sockets of one conversation get first, shared by those that open together.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::{chat::Message, hub::frames::DialectSlot};

/// The messages of a history that fits a page, and the frame of them once it has been made.
#[derive(Debug)]
pub struct FirstPage {
    pub messages: Vec<Message>,
    /// That of the dialect that was first to need it.
    frame: OnceLock<(DialectSlot, Bytes)>,
}

impl FirstPage {
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        FirstPage {
            messages,
            frame: OnceLock::new(),
        }
    }

    /// Returns the frame of the messages for a dialect. Sockets of the first dialect that needs one
    /// share it.
    pub fn frame(&self, dialect: DialectSlot, make: impl Fn(&[Message]) -> Bytes) -> Bytes {
        let frame = || (dialect, make(&self.messages));
        match self.frame.get_or_init(frame) {
            (of, frame) if *of == dialect => frame.clone(),
            _ => make(&self.messages),
        }
    }
}
