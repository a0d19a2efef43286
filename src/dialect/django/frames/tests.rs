use super::*;
use crate::dialect::django::events::Events;

/// Returns the payload of an unmasked frame shorter than 64 KiB.
fn payload(frame: &[u8]) -> &str {
    let header = if frame[1] < 126 { 2 } else { 4 };
    std::str::from_utf8(&frame[header..]).unwrap()
}

#[test]
fn a_chat_message_needs_a_sender_and_a_content_that_python_takes_for_true() {
    for falsy in [r#""""#, "0", "-0.0", "null", "false", "[]", "{}"] {
        let text = format!(r#"{{"type":"chat_message","sender_id":"a","content":{falsy}}}"#);
        assert_eq!(read(&text), Err(Required), "{falsy}");
    }
    assert_eq!(
        read(r#"{"type":"chat_message","content":"x"}"#),
        Err(Required)
    );
}

#[test]
fn a_chat_message_stores_text_and_shows_the_type_as_it_was_sent() {
    let text = r#"{"type":"chat_message","sender_id":5,"content":[1,"a"],"message_type":["x"]}"#;
    let Ok(Reading::Request(ChatRequest::Say {
        sender_id,
        content,
        message_type,
        shown_type,
    })) = read(text)
    else {
        panic!("a message")
    };
    assert_eq!((sender_id.as_str(), content.as_str()), ("5", "[1, 'a']"));
    assert_eq!(message_type, "['x']");
    assert_eq!(shown_type, Value::List(vec!["x".into()]));
}

#[test]
fn what_the_original_ignores_is_ignored() {
    for text in [
        "{}",
        r#"{"type":"nope"}"#,
        r#"{"type":null}"#,
        r#"{"type":["chat_message"]}"#,
        r#"{"type":"Chat_Message","sender_id":"a","content":"b"}"#,
        r#"{"type":"mark_as_read","message_id":"x"}"#,
        r#"{"type":"mark_as_read","message_id":0,"user_id":"a"}"#,
    ] {
        assert_eq!(read(text), Ok(Reading::Nothing), "{text}");
    }
}

#[test]
fn what_crashes_the_original_is_rejected() {
    for (text, rejection) in [
        ("[]", NotAnObject),
        ("null", NotAnObject),
        (
            r#"{"type":"chat_message","sender_id":"a","content":"b","message_type":null}"#,
            Null("message_type"),
        ),
        (
            r#"{"type":"chat_message","sender_id":"a","content":"\ud800"}"#,
            Surrogates("content"),
        ),
        (
            r#"{"type":"typing","user_id":18446744073709551616}"#,
            OutOfRange("user_id"),
        ),
        (
            r#"{"type":"typing","is_typing":[{"a":-9223372036854775809}]}"#,
            OutOfRange("is_typing"),
        ),
        (
            r#"{"type":"typing","user_id":{"\ud800":1}}"#,
            Surrogates("user_id"),
        ),
        (
            r#"{"type":"mark_as_read","message_id":"nope","user_id":"a"}"#,
            NotUuid,
        ),
        (
            r#"{"type":"mark_as_read","message_id":[1],"user_id":"a"}"#,
            NotUuid,
        ),
    ] {
        assert_eq!(read(text), Err(rejection), "{text}");
    }
}

#[test]
fn typing_echoes_whatever_was_sent() {
    let events = Events { zone: Zone::utc() };
    let Ok(Reading::Request(ChatRequest::Typing(event))) =
        read(r#"{"type":"typing","user_id":{"b":1,"a":NaN}}"#)
    else {
        panic!("typing")
    };
    assert_eq!(
        payload(&event_frame(&events, &event)),
        r#"{"type": "typing_status", "user_id": {"b": 1, "a": NaN}, "is_typing": false}"#
    );
}

#[test]
fn errors_are_written_as_python_writes_them() {
    assert_eq!(
        payload(&error_frame(&Required.to_string())),
        r#"{"error": "sender_id\uc640 content\uac00 \ud544\uc694\ud569\ub2c8\ub2e4."}"#
    );
}

#[test]
fn an_empty_history_is_a_frame_too() {
    assert_eq!(
        payload(&history_frame(&[], &Zone::utc())),
        r#"{"type": "conversation_history", "messages": []}"#
    );
}

#[test]
fn a_message_of_unknown_fate_is_not_asked_for_again() {
    let told = |error: StoreError| {
        let frame = failure_frame(&ChatError::Store(error)).unwrap();
        payload(&frame).to_owned()
    };
    let away = told(StoreError::Unavailable("away".into()));
    assert!(away.contains("could not be stored, try again"), "{away}");
    let unknown = told(StoreError::Unknown("gone".into()));
    assert!(unknown.contains("not known whether"), "{unknown}");
    assert!(!unknown.contains("again"), "{unknown}");
}
