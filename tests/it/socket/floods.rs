//! Clients that send more frames than anybody needs: they are read slower, and closed in the end.
//! What that is worth to their neighbours is measured by `tests/bench/floods.py`.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Server, Socket,
    socket::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, chat_message, frame, frame_with},
    until,
};

const SLOWED: &str = "chatferry_ws_floods_total{outcome=\"slowed\"}";
const CLOSED: &str = "chatferry_ws_floods_total{outcome=\"closed\"}";

/// A small budget, so that few frames are a flood.
const SMALL: [(&str, &str); 2] = [("ws.frames_per_s", "400"), ("ws.flood_s", "1")];

/// What a client may send again and again, after what it sends once.
fn kinds() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let text = |text: &str| frame(TEXT, text);
    vec![
        ("pings", Vec::new(), frame(PING, "")),
        ("pongs", Vec::new(), frame(PONG, "")),
        (
            "empty fragments",
            frame_with(TEXT, ""),
            frame_with(CONTINUATION, ""),
        ),
        ("bad JSON", Vec::new(), text("{")),
        ("no object", Vec::new(), text("7")),
        ("unknown types", Vec::new(), text(r#"{"type":"dance"}"#)),
        ("binary", Vec::new(), frame(BINARY, "x")),
        (
            "typing",
            Vec::new(),
            text(r#"{"type":"typing","user_id":"a"}"#),
        ),
        ("many values", Vec::new(), text(&many_values())),
    ]
}

/// Two thousand values in 4 KiB.
fn many_values() -> String {
    let values = "0,".repeat(2000);
    format!(r#"{{"type":"typing","user_id":"a","is_typing":[{values}0]}}"#)
}

/// Sends until the server has closed the socket; returns the close frame's payload.
async fn flood(socket: &mut Socket, first: &[u8], again: &[u8]) -> Vec<u8> {
    socket.connection.push(first).await;
    let chunk = again.repeat(60);
    loop {
        socket.connection.push(&chunk).await;
        let pause = tokio::time::sleep(Duration::from_millis(100));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                frame = socket.any() => {
                    let frame = frame.expect("a close frame before the end");
                    if frame.opcode == CLOSE {
                        return frame.payload;
                    }
                }
                () = &mut pause => break,
            }
        }
    }
}

#[tokio::test]
async fn a_flood_of_any_kind_is_closed_with_1008_and_says_why() {
    let server = Server::with(&SMALL).await;
    let id = server.conversation_of("mallory", "bob").await;
    for (number, (kind, first, again)) in kinds().into_iter().enumerate() {
        let mut socket = server.socket(&id).await;
        let goodbye = flood(&mut socket, &first, &again).await;
        let wanted = [&1008_u16.to_be_bytes()[..], b"too many frames"].concat();
        assert_eq!(goodbye, wanted, "{kind}");
        let closed = number as f64 + 1.0;
        assert_eq!(server.metric(CLOSED).await, closed, "{kind}");
        assert!(server.metric(SLOWED).await >= closed, "{kind}");
    }
    let code = "chatferry_ws_closed_total{code=\"1008\"}";
    until("all to be gone", async || {
        server.metric(code).await >= kinds().len() as f64
    })
    .await;
}

#[tokio::test]
async fn a_hundred_messages_after_a_reconnect_and_fast_typing_are_no_flood() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let outbox: Vec<u8> = (0..100)
        .flat_map(|number| frame(TEXT, chat_message(&number.to_string()).to_string()))
        .collect();
    socket.connection.push(&outbox).await;
    for number in 0..100 {
        assert_eq!(socket.heard().await, number.to_string());
    }
    let typing = json!({"type": "typing", "user_id": "alice"});
    for _ in 0..100 {
        socket.send(&typing).await;
    }
    for _ in 0..100 {
        assert_eq!(socket.json().await["type"], "typing_status");
    }
    assert_eq!(server.metric(SLOWED).await, 0.0);
}

#[tokio::test]
async fn what_is_read_slower_is_done_whole_and_in_order() {
    let server = Server::with(&[("ws.frames_per_s", "40")]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let outbox: Vec<u8> = (0..150)
        .flat_map(|number| frame(TEXT, chat_message(&number.to_string()).to_string()))
        .collect();
    socket.connection.push(&outbox).await;
    socket.connection.push(frame(CLOSE, [3, 232])).await;
    for number in 0..150 {
        assert_eq!(socket.heard().await, number.to_string());
    }
    assert_eq!(socket.close_code().await, 1000);
    assert_eq!(server.metric(SLOWED).await, 1.0);
    assert_eq!(server.metric(CLOSED).await, 0.0);
    assert_eq!(server.contents(&id).await.len(), 150);
}

#[tokio::test]
async fn what_is_past_a_limit_is_told_as_ever_and_counts_as_a_frame() {
    let settings = [
        ("limits.address.messages", "1/day"),
        ("ws.frames_per_s", "100"),
    ];
    let server = Server::with(&settings).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let message = frame(TEXT, chat_message("x").to_string());
    socket.connection.push(message.repeat(60)).await;
    // What is refused is answered before what has to be stored.
    let mut refused = 0;
    for _ in 0..60 {
        let answer = socket.json().await;
        match answer["error"].as_str() {
            Some(why) => {
                assert!(why.starts_with("Request was throttled."), "{why}");
                refused += 1;
            }
            None => assert_eq!(answer["message"]["content"], "x"),
        }
    }
    assert_eq!(refused, 59);
    assert_eq!(server.metric(SLOWED).await, 0.0);
    // The same number of frames that are wrong is a flood.
    socket.connection.push(frame(TEXT, "{").repeat(60)).await;
    for _ in 0..60 {
        assert_eq!(socket.error().await, "Invalid JSON format");
    }
    assert_eq!(server.metric(SLOWED).await, 1.0);
}

#[tokio::test]
async fn a_neighbour_is_served_while_a_flood_waits() {
    let server = Server::with(&[("ws.frames_per_s", "10")]).await;
    let id = server.conversation().await;
    let theirs = server.conversation_of("mallory", "bob").await;
    let mut socket = server.socket(&id).await;
    let mut flooder = server.socket(&theirs).await;
    flooder.connection.push(frame(PING, "").repeat(1000)).await;
    until("the flood to be noticed", async || {
        server.metric(SLOWED).await == 1.0
    })
    .await;
    for _ in 0..5 {
        socket.works().await;
    }
    assert_eq!(server.metric(SLOWED).await, 1.0);
}

#[tokio::test]
async fn a_few_frames_with_many_values_are_a_flood() {
    // So few that a busy machine cannot earn them while it reads the frames.
    let server = Server::with(&[("ws.frames_per_s", "40")]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket
        .connection
        .push(frame(TEXT, many_values()).repeat(20))
        .await;
    assert_eq!(socket.json().await["type"], "typing_status");
    until("the flood to be noticed", async || {
        server.metric(SLOWED).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn without_a_budget_nothing_is_slowed_down() {
    let server = Server::with(&[("ws.frames_per_s", "0")]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.connection.push(frame(PING, "").repeat(20_000)).await;
    socket.connection.push(frame(PING, "last")).await;
    while socket.any().await.unwrap().payload != b"last" {}
    assert_eq!(server.metric(SLOWED).await, 0.0);
}
