//! One socket as a state machine: something happened in, what to do about it out. It knows no
//! socket, no store and no clock, so every rule is tested without them.

use bytes::Bytes;
use fastwebsockets::OpCode;

use super::{
    heartbeat::Beat,
    protocol::{
        django::{self as protocol, Rejection, Request},
        token,
    },
    reader::{Incoming, Violation},
    writer::{close_frame, frame},
};
use crate::{auth::sockets::Ended, chat::policy::Caller, config::Secret, service::ChatError};

/// Next action of the socket's owner.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
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
    Perform(Request),
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

    /// The close code on the wire (RFC 6455 section 7.4 and IANA's list).
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

    /// The close frame.
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
#[derive(Debug, Default)]
pub struct Session {
    /// For whom the peer may speak.
    caller: Caller,
    /// The peer is known by a token, and may show a fresh one.
    renews: bool,
    /// We have sent a close frame and only wait for the other side's.
    closing: bool,
    /// Requests that the peer sent before it read our close frame are still done: it did nothing wrong,
    /// and will not say it again.
    hears: bool,
}

impl Session {
    #[must_use]
    pub fn new(caller: Caller, renews: bool) -> Self {
        Session {
            caller,
            renews,
            ..Session::default()
        }
    }

    /// For whom the peer may speak.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the action for a text, if it may be asked for.
    fn asked(&self, text: &str) -> Result<Action, Rejection> {
        let frame = protocol::read(text)?;
        if self.renews
            && let Some(token) = token::shown(&frame)
        {
            return Ok(Action::Renew(token));
        }
        let Some(request) = protocol::request(frame)? else {
            return Ok(Action::Ignore);
        };
        let may = self.caller == Caller::Anybody
            || request.speaker().is_some_and(|id| self.caller.is(&id));
        if may {
            Ok(Action::Perform(request))
        } else {
            Err(Rejection::NotYou)
        }
    }

    /// The peer sent something.
    pub fn incoming(&mut self, incoming: Incoming) -> Action {
        if self.closing {
            return match incoming {
                Incoming::Close(_) => Action::End,
                Incoming::Text(text) if self.hears => match self.asked(&text) {
                    Ok(Action::Perform(request)) => Action::Perform(request),
                    _ => Action::Wait,
                },
                _ => Action::Wait,
            };
        }
        match incoming {
            Incoming::Text(text) => self.asked(&text).unwrap_or_else(refuse),
            Incoming::Binary(_) => refuse(Rejection::Binary),
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

    /// The peer sent what cannot be read.
    pub fn violation(&mut self, violation: Violation) -> Action {
        match violation {
            // The rest of the message is not parsed any more, only dropped.
            Violation::TooBig if !std::mem::replace(&mut self.closing, true) => {
                let (code, frame) = (Reason::TooBig.code(), Reason::TooBig.frame());
                Action::CloseNow { code, frame }
            }
            Violation::TooBig | Violation::Protocol(_) => Action::Drop,
        }
    }

    /// A request has been performed.
    pub fn done(&mut self, outcome: Result<(), ChatError>) -> Action {
        match outcome {
            Err(error) if !self.closing => {
                protocol::failure_frame(&error).map_or(Action::Wait, Action::Write)
            }
            _ => Action::Wait,
        }
    }

    /// Refuses a request; the peer gets the reason.
    #[must_use]
    pub fn refused(&self, why: &str) -> Action {
        if self.closing {
            return Action::Wait;
        }
        Action::Write(protocol::error_frame(why))
    }

    /// The heart has beaten.
    pub fn beat(&mut self, beat: &Beat) -> Action {
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

    /// We want to close; the second time is of no effect.
    pub fn close(&mut self, reason: Reason) -> Action {
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

fn refuse(why: Rejection) -> Action {
    let frame = protocol::error_frame(&why.to_string());
    match why {
        Rejection::NotYou => Action::Deny(frame),
        _ => Action::Refuse(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Incoming {
        Incoming::Text(text.to_owned())
    }

    #[test]
    fn bad_json_is_answered_and_the_socket_stays() {
        let mut session = Session::default();
        let Action::Refuse(frame) = session.incoming(text("{")) else {
            panic!("an answer")
        };
        assert_eq!(&frame[2..], br#"{"error": "Invalid JSON format"}"#);
        assert!(session.is_open());
        assert!(matches!(
            session.incoming(text(r#"{"type":"typing"}"#)),
            Action::Perform(_)
        ));
    }

    #[test]
    fn a_binary_message_is_answered_and_the_socket_stays() {
        let mut session = Session::default();
        let Action::Refuse(frame) = session.incoming(Incoming::Binary(vec![1])) else {
            panic!("an answer")
        };
        assert!(frame[2..].starts_with(br#"{"error": "#));
        assert!(session.is_open());
    }

    #[test]
    fn a_peer_who_is_known_speaks_for_nobody_else_not_even_after_a_restart() {
        let mut session = Session::new(Caller::Only("alice".into()), false);
        let as_user = |id: &str| {
            [
                format!(r#"{{"type":"chat_message","sender_id":{id},"content":"x"}}"#),
                format!(
                    r#"{{"type":"mark_as_read","user_id":{id},"message_id":"{}"}}"#,
                    uuid::Uuid::nil()
                ),
                format!(r#"{{"type":"typing","user_id":{id}}}"#),
            ]
        };
        for frame in as_user("\"alice\"") {
            let action = session.incoming(text(&frame));
            assert!(matches!(action, Action::Perform(_)), "{frame}");
        }
        for id in [
            "\"bob\"",
            "\"Alice\"",
            "\"alice \"",
            "5",
            "[\"alice\"]",
            "true",
        ] {
            for frame in as_user(id) {
                let Action::Deny(answer) = session.incoming(text(&frame)) else {
                    panic!("an answer to {frame}")
                };
                assert!(answer.ends_with(b"as yourself only\"}"), "{frame}");
            }
        }
        let nobody = session.incoming(text(r#"{"type":"typing"}"#));
        assert!(matches!(nobody, Action::Deny(_)));
        session.close(Reason::Restart);
        let [_, _, typing] = as_user("\"bob\"");
        assert_eq!(session.incoming(text(&typing)), Action::Wait);
    }

    #[test]
    fn a_fresh_token_is_looked_at_only_of_a_peer_that_is_known_by_one() {
        let auth = r#"{"type":"auth","token":"a.b.c"}"#;
        let action = Session::default().incoming(text(auth));
        assert_eq!(action, Action::Ignore, "as every type nobody knows");
        let mut session = Session::new(Caller::Only("alice".into()), true);
        let action = session.incoming(text(auth));
        assert_eq!(action, Action::Renew("a.b.c".to_owned().into()));
        assert!(!format!("{action:?}").contains("a.b.c"));
        session.close(Reason::Restart);
        assert_eq!(session.incoming(text(auth)), Action::Wait);
    }

    #[test]
    fn a_ping_is_answered_with_its_own_payload() {
        let action = Session::default().incoming(Incoming::Ping(b"hello".to_vec()));
        assert_eq!(action, Action::Write(Bytes::from_static(b"\x8a\x05hello")));
    }

    #[test]
    fn a_close_is_answered_with_1000_and_no_reason() {
        let action = Session::default().incoming(Incoming::Close(Some(1000)));
        let frame = Bytes::from_static(b"\x88\x02\x03\xe8");
        assert_eq!(action, Action::CloseNow { code: 1000, frame });
    }

    #[test]
    fn after_our_close_only_theirs_matters() {
        let mut session = Session::default();
        assert!(matches!(
            session.close(Reason::Slow),
            Action::Close { code: 1013, .. }
        ));
        assert_eq!(session.close(Reason::Restart), Action::Wait);
        assert_eq!(session.incoming(text("{")), Action::Wait);
        assert_eq!(session.beat(&Beat::Ping([0; 12])), Action::Wait);
        assert_eq!(session.incoming(Incoming::Close(Some(1000))), Action::End);
    }

    #[test]
    fn what_was_said_before_a_restart_was_known_is_still_done() {
        let mut session = Session::default();
        session.close(Reason::Restart);
        let said = text(r#"{"type":"chat_message","sender_id":"a","content":"last"}"#);
        assert!(matches!(session.incoming(said), Action::Perform(_)));
        assert_eq!(session.incoming(text("{")), Action::Wait);
        assert_eq!(session.incoming(Incoming::Close(Some(1000))), Action::End);
    }

    #[test]
    fn a_broken_protocol_ends_without_a_word_and_a_big_message_with_1009() {
        assert_eq!(
            Session::default().violation(Violation::Protocol("x")),
            Action::Drop
        );
        let action = Session::default().violation(Violation::TooBig);
        assert!(matches!(action, Action::CloseNow { code: 1009, .. }));
    }

    #[test]
    fn a_failure_is_told_to_the_sender_unless_the_original_is_silent() {
        let mut session = Session::default();
        assert_eq!(session.done(Err(ChatError::NoConversation)), Action::Wait);
        let too_long = ChatError::TooLong {
            field: "sender_id",
            max: 255,
        };
        let Action::Write(frame) = session.done(Err(too_long)) else {
            panic!("an answer")
        };
        assert_eq!(
            &frame[2..],
            br#"{"error": "sender_id must have no more than 255 characters"}"#
        );
    }
}
