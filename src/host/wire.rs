//! The wire between Chatferry and a worker: `u32 length · u8 kind · u64 subject · body`,
//! big-endian.
//!
//! `length` counts what follows it. The subject is a socket, a channel, a class, a request to
//! the layer or one of HTTP, by the kind. Texts are as they are; every other body is msgpack. See `README.md` for the table and
//! for vectors. A worker runs other people's code, so each kind has a bound, nothing is reserved
//! for what has not come, and whatever is not understood ends the connection.

mod bodies;

use bytes::{Buf, Bytes, BytesMut};

use self::bodies::{WireMembers, item, read};
use crate::layer::redis::codec::{
    item::{Item, ItemKey},
    msgpack,
};

/// Version of the protocol, the same at both ends.
pub const VERSION: u64 = 3;

/// Bytes of kind and subject.
pub const HEAD: usize = 1 + 8;

/// Most bytes of a frame for a client.
pub const MAX_FRAME: usize = 16 << 20;

/// Most bytes of an event.
pub const MAX_EVENT: usize = 4 << 20;

/// Most bytes of anything else.
const MAX_OTHER: usize = 64 << 10;

/// Most bytes of a part of the body of a request or an answer.
pub const MAX_PART: usize = 32 << 10;

/// Most headers of an answer.
const MAX_HEADERS: usize = 100;

/// Declares the kinds of one direction.
macro_rules! kinds {
    ($(#[doc = $about:literal])* $name:ident { $($kind:ident = $number:literal,)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($kind = $number,)* }

        impl $name {
            /// Every kind.
            #[cfg_attr(not(test), allow(dead_code, reason = "only what comes is looked up"))]
            const ALL: &'static [Self] = &[$(Self::$kind),*];
        }
    };
}

kinds! {
    /// Messages of Chatferry.
    Down {
        Welcome = 0x01,
        Open = 0x02,
        Text = 0x03,
        Binary = 0x04,
        Event = 0x05,
        Closed = 0x06,
        Channel = 0x07,
        Answer = 0x08,
        Forget = 0x09,
        Ping = 0x0a,
        Wake = 0x0b,
        Sleep = 0x0c,
        Request = 0x0d,
        Body = 0x0e,
        BodyEnd = 0x0f,
        Gone = 0x10,
        Taken = 0x11,
        Challenge = 0x12,
    }
}

kinds! {
    /// Messages of a worker.
    Up {
        Hello = 0x41,
        Class = 0x42,
        Serves = 0x43,
        Accept = 0x44,
        Text = 0x45,
        Binary = 0x46,
        Close = 0x47,
        Done = 0x48,
        Ended = 0x49,
        GroupAdd = 0x4a,
        GroupDiscard = 0x4b,
        GroupSend = 0x4c,
        Send = 0x4d,
        Pong = 0x4e,
        State = 0x4f,
        Refused = 0x50,
        Response = 0x51,
        Body = 0x52,
        BodyEnd = 0x53,
        Taken = 0x54,
    }
}

impl Up {
    fn of(number: u8) -> Option<Self> {
        let mut kinds = Self::ALL.iter().copied();
        kinds.find(|kind| *kind as u8 == number)
    }
}

/// Violations of the protocol, each of which ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a message of the kind {0:#04x}, which there is not")]
    Kind(u8),
    #[error("a message of the kind {kind:?} with {length} bytes")]
    Length { kind: Up, length: usize },
    #[error("a message that is shorter than its head")]
    Short,
    #[error("the body of a message of the kind {0:?} is not as it must be")]
    Body(Up),
}

/// A message of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerMessage {
    pub subject: u64,
    pub what: What,
}

/// The content of a message of a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Hello(Hello),
    Class(Class),
    /// The socket is served by the class of this number.
    Serves(u64),
    Accept(Accept),
    Text(Bytes),
    Binary(Bytes),
    Close {
        code: u16,
        reason: String,
    },
    Done,
    /// The application has returned, or has failed.
    Ended {
        failed: bool,
    },
    GroupAdd {
        group: String,
        channel: String,
    },
    GroupDiscard {
        group: String,
        channel: String,
    },
    GroupSend {
        group: String,
        event: Bytes,
    },
    Send {
        channel: String,
        event: Bytes,
    },
    Pong,
    /// The worker has let go of the socket; whatever its state is. A copy, which keeps nothing else
    /// of what was read with it.
    State(Box<[u8]>),
    /// The state could not be written, or woken, for this reason.
    Refused(String),
    /// The head of the answer to a request.
    Response(ResponseHead),
    /// A part of its body, and its last one.
    Body(Bytes),
    BodyEnd(Bytes),
    /// The application has taken this much of the body of a request.
    Taken(u64),
}

/// A header as an application gives it: name and value.
pub type HeaderLine = (Vec<u8>, Vec<u8>);

/// The first message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hello {
    pub version: u64,
    pub pid: u32,
    pub application: String,
    /// The backend of the project's channel layer, by its dotted name; empty if it has none.
    pub layer: String,
    /// Order of an operator's command, which is no worker.
    pub order: Option<String>,
    /// Over TCP: random bytes of the worker's own, and its proof that it knows the secret.
    pub proof: Option<HelloProof>,
}

/// Answer of a worker to a challenge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HelloProof {
    pub nonce: Vec<u8>,
    pub proof: Vec<u8>,
}

/// A class of consumers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    pub name: String,
    /// Set if no task runs for its idle sockets.
    pub parked: bool,
    /// Reason for its level.
    pub why: String,
    /// Tells this version of the class from any other; the same in every worker.
    pub source: String,
    /// The handlers that depend on their event alone.
    pub once: Vec<String>,
}

impl Class {
    /// Returns the bytes that it takes, or a little more.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.name, &self.why, &self.source];
        let texts = texts.into_iter().chain(&self.once);
        texts.map(|text| size_of::<Self>() + text.len()).sum()
    }
}

/// A handshake that the application has accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accept {
    pub subprotocol: Option<String>,
    pub headers: Vec<HeaderLine>,
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseHead {
    pub status: u16,
    pub headers: Vec<HeaderLine>,
}

/// Takes the next message out of what has come; `None` until it is whole.
///
/// # Errors
/// After an error the stream has lost its meaning.
pub fn take(buffer: &mut BytesMut) -> Result<Option<WorkerMessage>, WireError> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let body = length.checked_sub(HEAD).ok_or(WireError::Short)?;
    let Some(&number) = rest.first() else {
        return Ok(None);
    };
    let kind = Up::of(number).ok_or(WireError::Kind(number))?;
    if body > most(kind) {
        return Err(WireError::Length { kind, length: body });
    }
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(4 + 1);
    let subject = buffer.get_u64();
    let body = buffer.split_to(body).freeze();
    let what = read(kind, body).ok_or(WireError::Body(kind))?;
    Ok(Some(WorkerMessage { subject, what }))
}

/// Most bytes of a body.
fn most(kind: Up) -> usize {
    match kind {
        Up::Text | Up::Binary => MAX_FRAME,
        Up::Body | Up::BodyEnd => MAX_PART,
        // A name, and the heads of the parts.
        Up::GroupSend | Up::Send => MAX_EVENT + 1024,
        Up::Done | Up::Pong => 0,
        Up::Hello
        | Up::Class
        | Up::Serves
        | Up::Accept
        | Up::Close
        | Up::Ended
        | Up::GroupAdd
        | Up::GroupDiscard
        | Up::State
        | Up::Refused
        | Up::Response
        | Up::Taken => MAX_OTHER,
    }
}

/// Returns the handler that Channels calls for an event; `None` if it has no `type` that is a text.
#[must_use]
pub fn handler_of(event: &[u8]) -> Option<String> {
    let mut members = WireMembers::of(item(event)?)?;
    members.text("type").map(|kind| kind.replace('.', "_"))
}

/// Appends a message whose body is there.
pub fn put(out: &mut BytesMut, kind: Down, subject: u64, body: &[u8]) {
    put_kind(out, kind as u8, subject, body);
}

/// Adds a message of either end, by the number of its kind.
pub fn put_kind(out: &mut BytesMut, kind: u8, subject: u64, body: &[u8]) {
    let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[kind]);
    out.extend_from_slice(&subject.to_be_bytes());
    out.extend_from_slice(body);
}

/// Writes a map in msgpack, with members in this order.
#[must_use]
pub fn map(members: Vec<(&'static str, Item)>) -> Vec<u8> {
    let mut body = Vec::with_capacity(512);
    let members = members
        .into_iter()
        .map(|(key, item)| (ItemKey::Text(key.to_owned()), item));
    // It cannot fail: no number here is larger than 64 bits, and nothing is deep.
    let _ = msgpack::write_item(&mut body, &Item::map(members.collect()));
    body
}

#[cfg(test)]
pub(super) mod tests;
