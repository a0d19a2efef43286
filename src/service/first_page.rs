//! The history that sockets of one conversation get first, shared by those that open together.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::chat::Message;

/// The messages of a history that fits a page, and the frame of them once it has been made.
#[derive(Debug)]
pub struct FirstPage {
    pub messages: Vec<Message>,
    frame: OnceLock<Bytes>,
}

impl FirstPage {
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        FirstPage {
            messages,
            frame: OnceLock::new(),
        }
    }

    /// Returns the frame of the messages, made by the first who needs it.
    pub fn frame(&self, make: impl FnOnce(&[Message]) -> Bytes) -> Bytes {
        self.frame.get_or_init(|| make(&self.messages)).clone()
    }
}
