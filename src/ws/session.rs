//! One socket as a state machine: something happened in, what to do about it out. It knows no
//! socket, no store and no clock, so every rule is tested without them.

use std::sync::Arc;

use bytes::Bytes;
use fastwebsockets::OpCode;

use super::{
    heartbeat::Beat,
    protocol::{FrameRequest as _, Protocol, Reading},
    reader::{Incoming, Violation},
    writer::{close_frame, frame},
};
use crate::{auth::sockets::Ended, chat::policy::Caller, config::Secret, service::ChatError};

/// Next action of the socket's owner.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<R> {
    /// Nothing.
    Wait,
    /// Write this frame.
    Write(Bytes),
    /// Write this frame: the peer has tried to speak as somebody else.
    Deny(Bytes),
    /// Write this frame: what the peer sent is refused.
    Refuse(Bytes),
    /// Nothing: what the peer sent asks for nothing that is known.
    Ignore,
    /// Do this, and tell the outcome by [`Session::done`]. One client's requests are done in their
    /// order, as one consumer of Channels does them.
    Perform(R),
    /// See whether this token is good, and let the socket live as long as it; until then nothing
    /// else is done.
    Renew(Secret),
    /// Write this close frame, then wait a moment for the other side's.
    Close { code: u16, frame: Bytes },
    /// Write this close frame and end: nothing more that the other side sends matters.
    CloseNow { code: u16, frame: Bytes },
    /// Drop the connection without a word, as Autobahn does on a broken protocol.
    Drop,
    /// Both sides have closed.
    End,
}

/// Why we close a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The socket is a day old.
    Age,
    /// The store failed in the middle of the history, whose message can have no end now.
    Broken,
    /// A message is larger than `ws.max_message_bytes`.
    TooBig,
    /// The process is going away; the client's reconnect finds another.
    Restart,
    /// The client reads too slowly; its reconnect finds everything in the history.
    Slow,
    /// The token or session it was opened with has run out, or is gone.
    Expired,
    /// The policy no longer admits its user, or an order has disconnected it.
    Refused,
    /// The client sends more frames than its budget allows.
    Flooding,
}

impl From<Ended> for Reason {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Unknown => Reason::Expired,
            Ended::Refused => Reason::Refused,
        }
    }
}

impl Reason {
    /// Returns the word of the security log for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Reason::Age => "age",
            Reason::Broken => "broken",
            Reason::TooBig => "too big",
            Reason::Restart => "restart",
            Reason::Slow => "slow",
            Reason::Expired => "expired",
            Reason::Refused => "refused",
            Reason::Flooding => "flooding",
        }
    }

    /// Returns `true` if the security log has a line for it.
    #[must_use]
    pub const fn is_noted(self) -> bool {
        matches!(
            self,
            Reason::Refused | Reason::Slow | Reason::Expired | Reason::Flooding
        )
    }

    /// Returns the close code on the wire (RFC 6455 section 7.4 and IANA's list).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Reason::Age => 1000,
            Reason::Refused | Reason::Flooding => 1008,
            Reason::TooBig => 1009,
            Reason::Broken => 1011,
            Reason::Restart => 1012,
            Reason::Slow => 1013,
            Reason::Expired => 4401,
        }
    }

    /// Returns the close frame.
    #[must_use]
    pub fn frame(self) -> Bytes {
        let text = if self == Reason::Flooding {
            "too many frames"
        } else {
            ""
        };
        frame(OpCode::Close, |payload| {
            payload.extend(self.code().to_be_bytes());
            payload.extend(text.bytes());
        })
    }
}

/// The rules of one socket.
#[derive(Debug)]
pub struct Session<P> {
    protocol: Arc<P>,
    /// For whom the peer may speak.
    caller: Caller,
    /// The peer is known by a token, and may show a fresh one.
    renews: bool,
    /// We have sent a close frame and only wait for the other side's.
    closing: bool,
    /// Requests that the peer sent before it read our close frame are still done: it did nothing
    /// wrong, and will not say it again.
    hears: bool,
}

impl<P: Protocol> Session<P> {
    #[must_use]
    pub fn new(protocol: Arc<P>, caller: Caller, renews: bool) -> Self {
        Session {
            protocol,
            caller,
            renews,
            closing: false,
            hears: false,
        }
    }

    /// Returns the protocol that is spoken.
    #[must_use]
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Returns for whom the peer may speak.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the action for a text.
    fn asked(&self, text: &str) -> Action<P::Request> {
        match self.protocol.read(text) {
            Err(answer) => Action::Refuse(answer),
            Ok(Reading::Token(token)) if self.renews => Action::Renew(token),
            Ok(Reading::Token(_) | Reading::Nothing) => Action::Ignore,
            Ok(Reading::Request(request)) => {
                if request.is_of(&self.caller) {
                    Action::Perform(request)
                } else {
                    Action::Deny(self.protocol.not_you(&request))
                }
            }
        }
    }

    /// Takes what the peer sent.
    pub fn incoming(&mut self, incoming: Incoming) -> Action<P::Request> {
        if self.closing {
            return match incoming {
                Incoming::Close(_) => Action::End,
                Incoming::Text(text) if self.hears => match self.asked(&text) {
                    Action::Perform(request) => Action::Perform(request),
                    _ => Action::Wait,
                },
                _ => Action::Wait,
            };
        }
        match incoming {
            Incoming::Text(text) => self.asked(&text),
            Incoming::Binary(_) => Action::Refuse(self.protocol.binary()),
            Incoming::Ping(payload) => {
                Action::Write(frame(OpCode::Pong, |out| out.extend_from_slice(&payload)))
            }
            Incoming::Pong => Action::Wait,
            // Daphne answers 1000 and no reason, whatever valid code it was sent.
            Incoming::Close(_) => Action::CloseNow {
                code: 1000,
                frame: close_frame(1000),
            },
        }
    }

    /// Takes note that the peer sent what cannot be read.
    pub fn violation(&mut self, violation: Violation) -> Action<P::Request> {
        match violation {
            // The rest of the message is not parsed any more, only dropped.
            Violation::TooBig if !std::mem::replace(&mut self.closing, true) => {
                let (code, frame) = (Reason::TooBig.code(), Reason::TooBig.frame());
                Action::CloseNow { code, frame }
            }
            Violation::TooBig | Violation::Protocol(_) => Action::Drop,
        }
    }

    /// Takes the outcome of a request.
    pub fn done(&mut self, outcome: Result<Option<Bytes>, ChatError>) -> Action<P::Request> {
        match outcome {
            Ok(Some(answer)) if !self.closing => Action::Write(answer),
            Err(error) if !self.closing => {
                let answer = self.protocol.failed(&error);
                answer.map_or(Action::Wait, Action::Write)
            }
            _ => Action::Wait,
        }
    }

    /// Answers a request that was not done.
    #[must_use]
    pub fn refused(&self, answer: Bytes) -> Action<P::Request> {
        if self.closing {
            return Action::Wait;
        }
        Action::Write(answer)
    }

    /// Takes a beat of the heart.
    pub fn beat(&mut self, beat: &Beat) -> Action<P::Request> {
        match beat {
            _ if self.closing => Action::Wait,
            Beat::Nothing => Action::Wait,
            Beat::Ping(payload) => {
                Action::Write(frame(OpCode::Ping, |out| out.extend_from_slice(payload)))
            }
            Beat::Dead => Action::Drop,
            Beat::Old => self.close(Reason::Age),
        }
    }

    /// Begins to close; the second time has no effect.
    pub fn close(&mut self, reason: Reason) -> Action<P::Request> {
        if std::mem::replace(&mut self.closing, true) {
            return Action::Wait;
        }
        self.hears = reason == Reason::Restart;
        Action::Close {
            code: reason.code(),
            frame: reason.frame(),
        }
    }

    /// Returns whether events are still of interest to the peer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.closing
    }
}

#[cfg(test)]
mod tests;
