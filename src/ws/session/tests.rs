//! The rules of a socket, with the frames of the original's consumer.

use super::*;
use crate::{config::Config, dialect::django::consumer::Consumer};

fn session_of(caller: Caller, renews: bool) -> Session<Consumer> {
    let protocol = Consumer::new(&Config::of(&[]));
    Session::new(Arc::new(protocol), caller, renews)
}

fn session() -> Session<Consumer> {
    session_of(Caller::Anybody, false)
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[test]
fn bad_json_is_answered_and_the_socket_stays() {
    let mut session = session();
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
    let mut session = session();
    let Action::Refuse(frame) = session.incoming(Incoming::Binary(vec![1])) else {
        panic!("an answer")
    };
    assert!(frame[2..].starts_with(br#"{"error": "#));
    assert!(session.is_open());
}

#[test]
fn a_peer_who_is_known_speaks_for_nobody_else_not_even_after_a_restart() {
    let mut session = session_of(Caller::Only("alice".into()), false);
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
    let action = session().incoming(text(auth));
    assert_eq!(action, Action::Ignore, "as every type nobody knows");
    let mut session = session_of(Caller::Only("alice".into()), true);
    let action = session.incoming(text(auth));
    assert_eq!(action, Action::Renew("a.b.c".to_owned().into()));
    assert!(!format!("{action:?}").contains("a.b.c"));
    session.close(Reason::Restart);
    assert_eq!(session.incoming(text(auth)), Action::Wait);
}

#[test]
fn a_ping_is_answered_with_its_own_payload() {
    let action = session().incoming(Incoming::Ping(b"hello".to_vec()));
    assert_eq!(action, Action::Write(Bytes::from_static(b"\x8a\x05hello")));
}

#[test]
fn a_close_is_answered_with_1000_and_no_reason() {
    let action = session().incoming(Incoming::Close(Some(1000)));
    let frame = Bytes::from_static(b"\x88\x02\x03\xe8");
    assert_eq!(action, Action::CloseNow { code: 1000, frame });
}

#[test]
fn after_our_close_only_theirs_matters() {
    let mut session = session();
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
    let mut session = session();
    session.close(Reason::Restart);
    let said = text(r#"{"type":"chat_message","sender_id":"a","content":"last"}"#);
    assert!(matches!(session.incoming(said), Action::Perform(_)));
    assert_eq!(session.incoming(text("{")), Action::Wait);
    assert_eq!(session.incoming(Incoming::Close(Some(1000))), Action::End);
}

#[test]
fn a_broken_protocol_ends_without_a_word_and_a_big_message_with_1009() {
    assert_eq!(session().violation(Violation::Protocol("x")), Action::Drop);
    let action = session().violation(Violation::TooBig);
    assert!(matches!(action, Action::CloseNow { code: 1009, .. }));
}

#[test]
fn a_failure_is_told_to_the_sender_unless_the_original_is_silent() {
    let mut session = session();
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
