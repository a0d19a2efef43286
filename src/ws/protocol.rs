//! What is spoken on the sockets of a chat: a dialect's part of the engine.

use std::{
    fmt::Debug,
    future::{Future, pending},
    sync::Arc,
};

use bytes::Bytes;

use super::{history::FirstFrames, refusal::Refusal};
use crate::{
    app::App,
    auth::{
        Admission, Auth,
        identity::{Credentials, Denied},
        sockets::Registration,
    },
    chat::{Message, policy::Caller},
    config::Secret,
    hub::{Membership, frames::DialectSlot, queue::Queue},
    id::ConversationId,
    limits::{self, Meter, Throttled},
    metrics::Asked,
    service::ChatError,
};

/// The paths and frames of a chat's sockets. Frames are whole, with their headers.
pub trait Protocol: Send + Sync + 'static {
    type Request: FrameRequest;
    /// Destination of a path.
    type Target: Copy + Send;
    /// The conversations that a socket is in.
    type Place: Place;

    /// Returns the place of the dialect among those that are mounted.
    fn slot(&self) -> DialectSlot;

    /// Returns the destination of a percent-decoded path; `None` if it is no socket's.
    fn target(&self, path: &str) -> Option<Self::Target>;

    /// Returns the conversation of sockets that are in one for life.
    fn conversation(&self, target: Self::Target) -> Option<ConversationId>;

    /// Returns the path with names for what differs from one socket to another.
    fn template(&self) -> String;

    /// Returns the subprotocol that is agreed on.
    fn agreed(&self, auth: &Auth, asked: &Credentials<'_>) -> Option<String> {
        auth.protocol(asked)
    }

    /// Lets a client in whose identity is known. Returns its place, and what it is sent first.
    fn enter(
        &self,
        app: &Arc<App>,
        target: Self::Target,
        guest: &Guest<'_>,
    ) -> impl Future<Output = Result<(Self::Place, FirstFrames), Refusal>> + Send;

    /// Reads the text of a frame.
    ///
    /// # Errors
    /// The frame that answers a text which asks for nothing that can be done.
    fn read(&self, text: &str) -> Result<Reading<Self::Request>, Bytes>;

    /// Does what a frame asks for. Returns its answer, if it has one.
    fn perform(
        app: &App,
        place: &Self::Place,
        caller: &Caller,
        request: Self::Request,
    ) -> impl Future<Output = Result<Option<Bytes>, ChatError>> + Send;

    /// Answers a binary frame.
    fn binary(&self) -> Bytes;

    /// Answers a request that speaks for somebody else.
    fn not_you(&self, request: &Self::Request) -> Bytes;

    /// Answers a request past a limit; a fresh token if it is none.
    fn throttled(&self, request: Option<&Self::Request>, throttled: &Throttled) -> Bytes;

    /// Answers a fresh token that was not taken.
    fn denied(&self, denied: &Denied) -> Bytes;

    /// Answers a request that failed; `None` if there is no answer to it.
    fn failed(&self, error: &ChatError) -> Option<Bytes>;
}

/// The first frames of sockets that are in one conversation for life.
pub trait Histories: Protocol {
    /// Returns the first frame of a socket: the messages so far.
    fn history(&self, messages: &[Message]) -> Bytes;

    /// Begins a history that is too long for one frame.
    fn long_history(&self) -> Box<dyn LongHistory>;
}

/// The conversations that a socket is in. Dropped with the socket, which takes it out of them.
pub trait Place: Send + Sync + 'static {
    /// Notes that the socket's history shows these messages.
    fn is_shown(&self, messages: &[Message]);

    /// Does what is due without being asked. Ends only with the socket; may be cancelled.
    fn attend(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

impl Place for Membership {
    fn is_shown(&self, messages: &[Message]) {
        Membership::is_shown(self, messages);
    }
}

/// A client that is about to be let in.
#[derive(Clone, Copy)]
pub struct Guest<'a> {
    pub admission: &'a Admission,
    pub registration: &'a Registration,
    pub queue: &'a Arc<Queue>,
    pub meter: &'a Meter,
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
    /// Returns whether it speaks for nobody but the caller.
    fn is_of(&self, caller: &Caller) -> bool;

    /// Returns the size of a message's text, in bytes; `None` if it is something else.
    fn text_bytes(&self) -> Option<usize>;

    /// Returns whether its answer may be large: it is not begun before what was answered until then
    /// is written, so that a client which does not read is sent one such answer at most.
    fn wants_page(&self) -> bool {
        false
    }

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
