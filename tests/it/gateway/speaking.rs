//! What is said on sockets that Django serves, with `auth.policy = participants`: each participant
//! speaks for itself, and what it may say reaches Django in the very bytes it came in.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    policy::{Pair, bearer_line, django, pair},
    upstream::Upstream,
};
use crate::support::{
    Server, Socket,
    socket::{BINARY, CLOSE, CONTINUATION, PING, TEXT, chat_message, frame, frame_with, handshake},
    soon, until,
};

/// A socket of this user's that Django serves.
async fn socket(pair: &Pair, user: &str) -> Socket {
    let path = format!("/ws/chat/{}/", pair.conversation);
    let connection = pair.server.connect().await;
    let socket = Socket::try_open(connection, &path, &bearer_line(user)).await;
    socket.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

fn text(value: &Value) -> Vec<u8> {
    frame(TEXT, value.to_string())
}

const NOT_YOU: &str = "you can send, mark and type as yourself only";

/// Frames in which bob speaks as somebody else, each with the answer.
fn forged(message: &str) -> Vec<(Vec<u8>, &'static str)> {
    let as_alice = [
        chat_message("forged"),
        json!({"type": "typing", "user_id": "alice"}),
        json!({"type": "typing"}),
        json!({"type": "mark_as_read", "user_id": "alice", "message_id": message}),
        json!({"type": "chat_message", "sender_id": ["bob"], "content": "x"}),
        json!({"type": "chat_message", "sender_id": "Bob", "content": "x"}),
    ];
    let twice = r#"{"type":"chat_message","sender_id":"bob","content":"x","sender_id":"alice"}"#;
    let hidden = r#"{"type":"chat_message","sender\u005fid":"alice","content":"x"}"#;
    let begun = [
        frame_with(TEXT, &twice[..20]),
        frame_with(CONTINUATION, ""),
        frame_with(0x80 | CONTINUATION, &twice[20..]),
    ];
    let mut all: Vec<_> = as_alice.iter().map(|it| (text(it), NOT_YOU)).collect();
    all.extend([
        (frame(TEXT, twice), NOT_YOU),
        (frame(TEXT, hidden), NOT_YOU),
        (begun.concat(), NOT_YOU),
        (frame(TEXT, "{"), "Invalid JSON format"),
        (frame(BINARY, twice), "Binary messages are not supported"),
    ]);
    all
}

#[tokio::test]
async fn nobody_speaks_as_another_on_a_socket_of_django_s() {
    let pair = pair(&[]).await;
    let mut socket = socket(&pair, "bob").await;
    for (frames, answer) in forged(&pair.message) {
        socket.connection.send(&frames).await;
        assert_eq!(socket.error().await, answer, "{}", frames.escape_ascii());
    }
    let own = text(&json!({"type": "typing", "user_id": "bob"}));
    socket.connection.send(&own).await;
    let heard = pair.upstream.heard(own.len()).await;
    assert_eq!(heard, own, "and nothing of the rest");
}

#[tokio::test]
async fn what_may_be_said_reaches_django_as_it_came() {
    let pair = pair(&[]).await;
    let mut socket = socket(&pair, "bob").await;
    let own = |content: &str| {
        json!({"type": "chat_message", "sender_id": "bob", "content": content}).to_string()
    };
    let long = own(&"x".repeat(100_000));
    let (begin, end) = long.split_at(50_000);
    let mark = json!({"type": "mark_as_read", "user_id": "bob", "message_id": pair.message});
    let pieces = [
        frame(TEXT, own("한 글")),
        frame(PING, "p"),
        frame_with(TEXT, begin),
        frame_with(CONTINUATION, ""),
        frame_with(0x80 | CONTINUATION, end),
        frame(TEXT, r#"{"type": "something else", "by": "alice"}"#),
        text(&mark),
        frame(TEXT, &long),
    ];
    let bytes = pieces.concat();
    for piece in bytes.chunks(7919) {
        socket.connection.send(piece).await;
    }
    assert!(pair.upstream.heard(bytes.len()).await == bytes);
    // A control frame between two fragments goes before them.
    let close = frame(CLOSE, [3, 232]);
    let between = [frame_with(TEXT, "{"), close.clone()].concat();
    socket.connection.send(&between).await;
    assert_eq!(pair.upstream.heard(close.len()).await, close);
}

#[tokio::test]
async fn a_message_of_another_conversation_is_not_marked_by_way_of_django() {
    let pair = pair(&[]).await;
    let open = Server::on(Arc::clone(&pair.server.directory), &[]).await;
    let theirs = open.conversation_of("carol", "dave").await;
    let message = open.stored(&theirs, "carol", "secret").await;
    drop(open);
    let mut socket = socket(&pair, "bob").await;
    let mark = json!({"type": "mark_as_read", "user_id": "bob", "message_id": message["id"]});
    socket.connection.send(text(&mark)).await;
    let own = text(&json!({"type": "typing", "user_id": "bob"}));
    socket.connection.send(&own).await;
    assert_eq!(pair.upstream.heard(own.len()).await, own);
}

#[tokio::test]
async fn limits_hold_on_sockets_of_django_s_too() {
    let pair = pair(&[("limits.user.typing", "1/day")]).await;
    let mut socket = socket(&pair, "bob").await;
    let typing = text(&json!({"type": "typing", "user_id": "bob"}));
    socket.connection.send(typing.repeat(2)).await;
    assert!(socket.error().await.starts_with("Request was throttled."));
    assert_eq!(pair.upstream.heard(typing.len()).await, typing);
    assert_eq!(pair.upstream.unheard(), 0);
}

#[tokio::test]
async fn a_flood_on_a_socket_of_django_s_is_closed_with_1008() {
    let pair = pair(&[("ws.frames_per_s", "500"), ("ws.flood_s", "1")]).await;
    let mut socket = socket(&pair, "bob").await;
    let chunk = frame(TEXT, "{").repeat(60);
    let closed = async {
        loop {
            socket.connection.push(&chunk).await;
            for _ in 0..60 {
                let frame = socket.any().await.expect("a close frame before the end");
                if frame.opcode == CLOSE {
                    return frame.close_code();
                }
            }
        }
    };
    assert_eq!(soon("the close", closed).await, 1008);
}

#[tokio::test]
async fn what_is_too_large_or_broken_ends_a_socket_of_django_s_as_one_of_ours() {
    let pair = pair(&[("ws.max_message_bytes", "1000")]).await;
    let mut large = socket(&pair, "bob").await;
    large.connection.send(frame(TEXT, vec![b' '; 2000])).await;
    assert_eq!(large.close_code().await, 1009);
    let mut endless = socket(&pair, "bob").await;
    endless.connection.push(frame_with(TEXT, "")).await;
    let empty = frame_with(CONTINUATION, "");
    endless.connection.push(empty.repeat(500)).await;
    assert_eq!(endless.close_code().await, 1009);
    for broken in [
        // Compressed, as nobody has agreed to; not masked; no text.
        frame_with(0xc1, "x"),
        b"\x81\x01x".to_vec(),
        frame(TEXT, [0xff]),
    ] {
        let mut socket = socket(&pair, "bob").await;
        socket.connection.push(&broken).await;
        socket.ended().await;
    }
    until("nothing to be left open", async || {
        pair.server.metric("chatferry_gateway_ws_open").await < 0.5
    })
    .await;
}

#[tokio::test]
async fn no_extension_is_agreed_to_where_frames_are_read() {
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let pair = pair(&[]).await;
    let path = format!("/ws/chat/{}/", pair.conversation);
    let headers = format!("{extension}{}", bearer_line("bob"));
    let answer = pair.server.send(handshake(&path, &headers)).await;
    assert_eq!(answer.status, 101);
    let head = pair.upstream.last_head().to_lowercase();
    assert!(!head.contains("sec-websocket-extensions"), "{head}");

    let stubborn = Upstream::answering(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extension}\r\n"
    ))
    .await;
    let url = stubborn.url();
    let second = super::policy::pair(&[("gateway.upstream", &url)]).await;
    let path = format!("/ws/chat/{}/", second.conversation);
    let asked = handshake(&path, &bearer_line("bob"));
    assert_eq!(second.server.send(asked).await.status, 502);
}

#[tokio::test]
async fn without_a_policy_frames_are_not_read() {
    let upstream = django().await;
    let server = upstream.gateway(&[("gateway.rollout_percent", "0")]).await;
    let path = "/ws/chat/95031212-7823-4748-bb78-b212d36bffff/";
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut client = server.connect().await;
    assert_eq!(client.ask(handshake(path, extension)).await.status, 101);
    let head = upstream.last_head().to_lowercase();
    assert!(head.contains("sec-websocket-extensions"), "{head}");
    let odd = frame_with(0xc1, "whatever");
    client.send(&odd).await;
    assert_eq!(upstream.heard(odd.len()).await, odd);
}
