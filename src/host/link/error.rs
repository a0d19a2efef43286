//! Why the connection of a worker ends.

use std::io;

use crate::host::wire::{VERSION, WireError};

/// Reasons for the end of a worker's connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("it has closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("it speaks version {0} of the protocol, and this is version {VERSION}")]
    Version(u64),
    #[error("its first message is not a greeting, or did not come")]
    Greeting,
    #[error("it does not prove that it knows host.secret")]
    Proof,
    #[error("it has too many classes")]
    Classes,
    #[error("it sends more of an answer than its client has taken")]
    Overrun,
    #[error("it does not read what it is sent")]
    Unread,
    #[error("it says nothing")]
    Silent,
    #[error("another one has taken its place")]
    Replaced,
}

impl LinkError {
    /// Returns the value of the `why` label in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            LinkError::Closed | LinkError::Io(_) => "ended",
            LinkError::Wire(_)
            | LinkError::Version(_)
            | LinkError::Greeting
            | LinkError::Proof
            | LinkError::Classes
            | LinkError::Overrun => "violation",
            LinkError::Unread | LinkError::Silent => "stuck",
            LinkError::Replaced => "replaced",
        }
    }
}
