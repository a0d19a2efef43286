//! What is said on open sockets: who hears it, in which order, and how mistakes are answered.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Server,
    socket::{BINARY, CONTINUATION, TEXT, chat_message, frame, frame_with},
    until,
};

#[tokio::test]
async fn everyone_in_a_conversation_hears_what_is_said_in_it_and_nobody_else_does() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let other = server.conversation_of("carol", "dave").await;
    let mut sockets = [
        server.socket(&id).await,
        server.socket(&id).await,
        server.socket(&id).await,
    ];
    let mut elsewhere = server.socket(&other).await;
    sockets[0]
        .send(&json!({"type": "typing", "user_id": "alice", "is_typing": true}))
        .await;
    sockets[0].say("안녕").await;
    elsewhere.works().await;
    for socket in &mut sockets {
        let expected = r#"{"type": "typing_status", "user_id": "alice", "is_typing": true}"#;
        assert_eq!(socket.text().await, expected);
        let text = socket.text().await;
        let start = r#"{"type": "chat_message", "message": {"id": ""#;
        assert!(
            text.starts_with(start) && text.contains(r#""content": "\uc548\ub155""#),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_read_mark_is_told_as_it_was_sent_and_stored_once() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.say("x").await;
    let message = socket.json().await["message"]["id"].clone();
    for _ in 0..2 {
        socket
            .send(&json!({"type": "mark_as_read", "message_id": message, "user_id": "bob"}))
            .await;
        let expected = json!({"type": "message_read", "message_id": message, "user_id": "bob"});
        assert_eq!(socket.json().await, expected);
    }
    let status: String = server
        .directory
        .value("SELECT status FROM delivery_receipts");
    assert_eq!(status, "read");
}

#[tokio::test]
async fn a_frame_that_is_wrong_is_answered_to_its_sender_and_the_socket_goes_on() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let mut neighbour = server.socket(&id).await;
    let deep = "[".repeat(100_000);
    let long = json!({"type": "chat_message", "sender_id": "a".repeat(256), "content": "x"});
    for (text, expected) in [
        ("", "Invalid JSON format"),
        ("{", "Invalid JSON format"),
        ("\u{feff}{}", "Invalid JSON format"),
        (&deep, "Invalid JSON format"),
        ("[]", "A message must be a JSON object"),
        ("null", "A message must be a JSON object"),
        (
            r#"{"type": "chat_message"}"#,
            "sender_id와 content가 필요합니다.",
        ),
        (
            r#"{"type": "chat_message", "sender_id": 0, "content": "x"}"#,
            "sender_id와 content가 필요합니다.",
        ),
        (
            r#"{"type": "chat_message", "sender_id": "\ud800", "content": "x"}"#,
            "sender_id must be valid Unicode text",
        ),
        (
            r#"{"type": "chat_message", "sender_id": "a", "content": "x", "message_type": null}"#,
            "message_type may not be null",
        ),
        (
            &long.to_string(),
            "sender_id must have no more than 255 characters",
        ),
        (
            r#"{"type": "mark_as_read", "message_id": "nope", "user_id": "a"}"#,
            "message_id is not a valid UUID",
        ),
        (
            r#"{"type": "typing", "user_id": 18446744073709551616}"#,
            "user_id is out of range",
        ),
    ] {
        socket.send_text(text).await;
        assert_eq!(socket.error().await, expected, "{text:.60}");
    }
    for binary in [&b""[..], b"\0\xff"] {
        socket.connection.send(frame(BINARY, binary)).await;
        assert_eq!(socket.error().await, "Binary messages are not supported");
    }
    for ignored in [
        "{}",
        r#"{"type": "Chat_Message"}"#,
        r#"{"type": ["typing"]}"#,
        r#"{"type": "mark_as_read"}"#,
    ] {
        socket.send_text(ignored).await;
    }
    socket.works().await;
    assert_eq!(
        neighbour.heard().await,
        "still here",
        "the neighbour heard nothing before"
    );
    assert_eq!(server.contents(&id).await, ["still here"]);
}

#[tokio::test]
async fn a_message_may_come_in_fragments_cut_anywhere() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let text = chat_message("한국어 \u{1f600}").to_string();
    let bytes = text.as_bytes();
    socket.connection.send(frame_with(TEXT, &bytes[..1])).await;
    for byte in &bytes[1..bytes.len() - 1] {
        socket
            .connection
            .send(frame_with(CONTINUATION, [*byte]))
            .await;
    }
    socket
        .connection
        .send(frame(CONTINUATION, &bytes[bytes.len() - 1..]))
        .await;
    assert_eq!(socket.heard().await, "한국어 \u{1f600}");
}

#[tokio::test]
async fn what_one_client_sends_is_done_and_heard_in_its_order() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut neighbour = server.socket(&id).await;
    let mut socket = server.socket(&id).await;
    let mut bytes = Vec::new();
    for number in 0..200 {
        bytes.extend(frame(TEXT, chat_message(&number.to_string()).to_string()));
        let typing = json!({"type": "typing", "user_id": number});
        bytes.extend(frame(TEXT, typing.to_string()));
    }
    socket.connection.send(bytes).await;
    for number in 0..200 {
        for socket in [&mut socket, &mut neighbour] {
            assert_eq!(socket.heard().await, number.to_string());
            assert_eq!(socket.json().await["user_id"], number);
        }
    }
    let expected: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(server.contents(&id).await, expected);
}

#[tokio::test]
async fn messages_that_follow_each_other_are_answered_in_their_order_whatever_becomes_of_each() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    // One of three is refused before it reaches the store, and so told at once if it were not for
    // those before it.
    let mut bytes = Vec::new();
    for number in 0..90 {
        let sender = "a".repeat(if number % 3 == 1 { 256 } else { 1 });
        let said =
            json!({"type": "chat_message", "sender_id": sender, "content": number.to_string()});
        bytes.extend(frame(TEXT, said.to_string()));
    }
    bytes.extend(frame(TEXT, "{"));
    socket.connection.send(bytes).await;
    // Events take another way than answers: only each of the two is in order.
    let (mut heard, mut answers) = (Vec::new(), Vec::new());
    while heard.len() < 60 || answers.len() < 31 {
        let told = socket.json().await;
        match told["error"].as_str() {
            None => heard.push(told["message"]["content"].clone()),
            Some(error) => answers.push(error.to_owned()),
        }
    }
    assert_eq!(answers.pop().unwrap(), "Invalid JSON format", "the last");
    let too_long = "sender_id must have no more than 255 characters";
    assert!(answers.iter().all(|answer| answer == too_long));
    let accepted = (0..90).filter(|number| number % 3 != 1);
    let accepted: Vec<_> = accepted.map(|number| number.to_string()).collect();
    assert_eq!(heard, accepted);
    assert_eq!(server.contents(&id).await, accepted);
}

#[tokio::test]
async fn what_a_client_has_said_before_it_hung_up_is_stored() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let said = (0..100).flat_map(|number| {
        let said = chat_message(&number.to_string());
        frame(TEXT, said.to_string())
    });
    socket.connection.send(said.collect::<Vec<_>>()).await;
    socket.connection.io.shutdown().await.unwrap();
    until("all of it is stored", async || {
        server.contents(&id).await.len() == 100
    })
    .await;
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(server.contents(&id).await, expected);
}

#[tokio::test]
async fn two_servers_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (Server::start().await, Server::start().await);
    let id = one.conversation().await;
    let copy = one.directory.open();
    let row: (String, String) = copy
        .query_row("SELECT id, created_at FROM conversations", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let sql = "INSERT INTO conversations VALUES (?1, 'alice', 'bob', ?2, ?2, 1)";
    two.directory.open().execute(sql, [row.0, row.1]).unwrap();
    let mut here = one.socket(&id).await;
    let mut there = two.socket(&id).await;
    here.say("here").await;
    there.say("there").await;
    assert_eq!(here.heard().await, "here");
    assert_eq!(there.heard().await, "there");
    assert_eq!(one.contents(&id).await, ["here"]);
}

#[tokio::test]
async fn a_conversation_that_is_deleted_under_a_socket_is_silent_and_one_made_inactive_goes_on() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let db = server.directory.open();
    db.execute("UPDATE conversations SET is_active = 0", [])
        .unwrap();
    socket.works().await;
    db.execute_batch("DELETE FROM messages; DELETE FROM conversations")
        .unwrap();
    socket.say("into the void").await;
    socket.is_open().await;
    let count: i64 = server.directory.value("SELECT count(*) FROM messages");
    assert_eq!(count, 0);
}
