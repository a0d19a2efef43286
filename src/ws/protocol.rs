//! What is spoken on the sockets of a chat: a dialect's part of the engine.

use std::{borrow::Cow, fmt::Debug, future::Future};

use bytes::Bytes;

use crate::{
    auth::identity::Denied,
    chat::{Message, policy::Caller},
    config::Secret,
    hub::frames::DialectSlot,
    id::ConversationId,
    limits::{self, Throttled},
    metrics::Asked,
    service::{Chat, ChatError},
};

/// The paths and frames of a chat's sockets. Frames are whole, with their headers.
pub trait Protocol: Send + Sync + 'static {
    type Request: FrameRequest;

    /// Returns the place of the dialect among those that are mounted.
    fn slot(&self) -> DialectSlot;

    /// Returns the conversation of a percent-decoded path; `None` if it is no socket's.
    fn conversation(&self, path: &str) -> Option<ConversationId>;

    /// Returns the path with names for what differs from one socket to another.
    fn template(&self) -> String;

    /// Reads the text of a frame.
    ///
    /// # Errors
    /// The frame that answers a text which asks for nothing that can be done.
    fn read(&self, text: &str) -> Result<Reading<Self::Request>, Bytes>;

    /// Does what a frame asks for.
    fn perform(
        chat: &Chat,
        caller: &Caller,
        conversation_id: ConversationId,
        request: Self::Request,
    ) -> impl Future<Output = Result<(), ChatError>> + Send;

    /// Answers a binary frame.
    fn binary(&self) -> Bytes;

    /// Answers a request that speaks for somebody else.
    fn not_you(&self) -> Bytes;

    /// Answers a request past a limit.
    fn throttled(&self, throttled: &Throttled) -> Bytes;

    /// Answers a fresh token that was not taken.
    fn denied(&self, denied: &Denied) -> Bytes;

    /// Answers a request that failed; `None` if there is no answer to it.
    fn failed(&self, error: &ChatError) -> Option<Bytes>;

    /// Returns the first frame of a socket: the messages so far.
    fn history(&self, messages: &[Message]) -> Bytes;

    /// Begins a history that is too long for one frame.
    fn long_history(&self) -> Box<dyn LongHistory>;
}

/// What a frame of text holds.
#[derive(Debug, PartialEq)]
pub enum Reading<R> {
    /// Nothing that is known.
    Nothing,
    /// A fresh token of the user who has opened the socket.
    Token(Secret),
    Request(R),
}

/// A request of the chat that a frame makes.
pub trait FrameRequest: Clone + Debug + PartialEq + Send + 'static {
    /// Returns the user it speaks for; `None` if that is none who could have opened a socket.
    fn speaker(&self) -> Option<Cow<'_, str>>;

    /// Returns the size of a message's text, in bytes; `None` if it is something else.
    fn text_bytes(&self) -> Option<usize>;

    /// Returns the label in the metrics.
    fn asked(&self) -> Asked;

    /// Returns the kind for the limits.
    fn action(&self) -> limits::LimitedAction;
}

/// A history in fragments of one message.
pub trait LongHistory: Send {
    /// Returns the messages that come next.
    fn fragment(&mut self, messages: &[Message]) -> Bytes;

    /// Returns the fragment after the last message.
    fn end(self: Box<Self>) -> Bytes;
}
