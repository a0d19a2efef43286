//! Opening a WebSocket: who is let in, who is told what at the door, and what the first frame is.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Directory, Process, Server, Socket,
    socket::{TEXT, chat_message, frame, handshake, path_of},
    until,
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn the_first_frame_is_the_history_and_holds_what_is_not_deleted_oldest_first() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let (mut socket, history) = server.join(&id).await;
    assert!(history.is_empty());
    for content in ["one", "two", "three"] {
        socket.say(content).await;
        assert_eq!(socket.heard().await, content);
    }
    let sql = "UPDATE messages SET is_deleted = 1 WHERE content = 'two'";
    server.directory.open().execute(sql, []).unwrap();
    let (_, history) = server.join(&id).await;
    let contents: Vec<_> = history.iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, ["one", "three"]);
}

#[tokio::test]
async fn frames_that_come_in_one_segment_with_the_handshake_are_not_lost() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut bytes = handshake(&path_of(&id), "").into_bytes();
    for number in 0..20 {
        bytes.extend(frame(TEXT, chat_message(&number.to_string()).to_string()));
    }
    let mut connection = server.connect().await;
    assert_eq!(connection.ask(bytes).await.status, 101);
    let mut socket = Socket::over(connection);
    assert!(socket.history().await.is_empty());
    for number in 0..20 {
        assert_eq!(socket.heard().await, number.to_string());
    }
}

#[tokio::test]
async fn the_answer_to_a_good_handshake_is_the_standards_own() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut connection = server.connect().await;
    let headers = "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                   Cookie: sessionid=nope\r\nAuthorization: Basic !\r\n";
    let answer = connection.ask(handshake(&path_of(&id), headers)).await;
    assert_eq!(answer.status, 101);
    let accept = answer.header("sec-websocket-accept");
    assert_eq!(
        accept,
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "RFC 6455 section 1.3"
    );
    for unasked in [
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "set-cookie",
    ] {
        assert_eq!(answer.header(unasked), None);
    }
}

#[tokio::test]
async fn who_is_refused_is_told_so_at_once() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let inactive = server.conversation_of("carol", "dave").await;
    let sql = "UPDATE conversations SET is_active = 0 WHERE participant1_id = 'carol'";
    server.directory.open().execute(sql, []).unwrap();
    for (path, expected) in [
        (path_of(NOBODY), "HTTP/1.1 403 Access denied"),
        (path_of(&inactive), "HTTP/1.1 403 Access denied"),
        (
            path_of(&id.to_uppercase()),
            "HTTP/1.1 500 Internal server error",
        ),
        (
            path_of(&id.replace('-', "")),
            "HTTP/1.1 500 Internal server error",
        ),
        (
            format!("/ws/chat/{id}"),
            "HTTP/1.1 500 Internal server error",
        ),
        ("/elsewhere/".into(), "HTTP/1.1 500 Internal server error"),
    ] {
        // Daphne takes up to a second, every time; a busy machine does not.
        until("a refusal at once", async || {
            let began = Instant::now();
            let refused = Socket::try_open(server.connect().await, &path, "").await;
            assert_eq!(refused.err().unwrap().line, expected, "{path}");
            began.elapsed() < Duration::from_millis(500)
        })
        .await;
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let good = handshake(&path_of(&id), "");
    for (from, to, expected) in [
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
        ("Version: 13", "Version: 12", 400),
        ("Connection: Upgrade\r\n", "", 400),
        ("GET ", "POST ", 405),
        ("\r\n\r\n", "\r\nOrigin: not a url\r\n\r\n", 400),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, a\r\n\r\n", 400),
    ] {
        let answer = server.send(good.replacen(from, to, 1)).await;
        assert_eq!(
            answer.status, expected,
            "{to:?} for {from:?}: {}",
            answer.line
        );
    }
    let old = server
        .send(good.replace("Version: 13", "Version: 12"))
        .await;
    assert_eq!(old.header("sec-websocket-version"), Some("13,8"));
    assert_eq!(
        server
            .send(good.replace("Version: 13", "Version: 8"))
            .await
            .status,
        101
    );
}

#[tokio::test]
async fn without_an_upgrade_the_path_is_an_ordinary_404() {
    let server = Server::start().await;
    let id = server.conversation().await;
    assert_eq!(server.get(&path_of(&id)).await.status, 404);
    let other =
        handshake(&path_of(&id), "").replace("Upgrade: websocket", "Upgrade: h2c, websocket");
    assert_eq!(server.send(other).await.status, 404);
}

#[tokio::test]
async fn only_allowed_origins_may_open_a_socket() {
    let allowed = ("ws.allowed_origins", "https://chat.example,same");
    let server = Server::with(&[allowed]).await;
    let id = server.conversation().await;
    for (origin, status) in [
        ("Origin: https://chat.example\r\n", 101),
        ("Origin: https://CHAT.example\r\n", 101),
        ("Origin: http://localhost\r\n", 101),
        ("", 101),
        ("Origin: http://localhost:81\r\n", 403),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: http://chat.example\r\n", 403),
        ("Origin: https://chat.example.evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        let answer = server.send(handshake(&path_of(&id), origin)).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[tokio::test]
async fn without_a_list_any_origin_may() {
    let server = Server::start().await;
    let id = server.conversation().await;
    for origin in ["https://evil.example", "null", "file://"] {
        let bytes = handshake(&path_of(&id), &format!("Origin: {origin}\r\n"));
        assert_eq!(server.send(bytes).await.status, 101, "{origin}");
    }
}

#[tokio::test]
async fn a_history_can_be_limited_to_the_newest() {
    let server = Server::with(&[("ws.history_limit", "2")]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for content in ["one", "two", "three"] {
        socket.say(content).await;
        assert_eq!(socket.heard().await, content);
    }
    let (_, history) = server.join(&id).await;
    let contents: Vec<_> = history.iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, ["two", "three"]);
    assert_eq!(server.contents(&id).await.len(), 3, "REST has all");
}

#[tokio::test]
async fn the_chat_can_be_mounted_elsewhere() {
    let prefixes = [
        ("django.url_prefix", "/v1/talk/"),
        ("django.ws_prefix", "/live/"),
    ];
    let server = Server::with(&prefixes).await;
    let body = json!({"participant1_id": "a", "participant2_id": "b"});
    assert_eq!(
        server
            .post("/api/chat/conversations/", body.clone())
            .await
            .status,
        404
    );
    let made = server.post("/v1/talk/conversations/", body).await;
    assert_eq!(made.status, 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let refused = Socket::try_open(server.connect().await, &path_of(&id), "").await;
    assert_eq!(refused.err().unwrap().status, 500);
    let socket = Socket::try_open(server.connect().await, &format!("/live/{id}/"), "").await;
    let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert!(socket.history().await.is_empty());
    socket.works().await;
    let page = server.get("/v1/talk/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("/v1/talk/") && page.text().contains("/live/"));
}

#[tokio::test]
async fn a_refused_origin_is_counted_each_time_and_logged_once() {
    let directory = Directory::new();
    let allowed = "ws.allowed_origins=https://.example.com";
    let mut server = Process::start(&directory, &[allowed]).await;
    let id = server.conversation().await;
    let open = async |origin: &str| {
        let header = format!("Origin: {origin}\r\n");
        Socket::try_open(server.connect().await, &path_of(&id), &header).await
    };
    for origin in ["https://example.com", "https://chat.example.com"] {
        assert!(open(origin).await.is_ok(), "{origin}");
    }
    for _ in 0..3 {
        assert_eq!(open("https://example.org").await.err().unwrap().status, 403);
    }
    let mut metrics = server.connect().await;
    let refused = metrics.metric("chatferry_ws_origins_refused_total").await;
    assert_eq!(refused.to_bits(), 3_f64.to_bits());
    server.logs("ws.allowed_origins").await;
    server.signal("TERM").await;
    let (_, log) = server.ended().await;
    assert_eq!(log.matches("https://example.org").count(), 1, "{log}");
}
