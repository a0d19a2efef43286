//! Limits as a client meets them, and whose they are when proxies stand in between.

use serde_json::json;

use crate::{
    gateway::upstream::Upstream,
    support::{
        Answer, Connection, Server, Socket, request,
        socket::{CLOSE, frame, handshake, path_of},
        until,
    },
};

/// What a request from behind a proxy adds.
fn from(client: &str) -> [(&str, &str); 1] {
    [("X-Forwarded-For", client)]
}

/// A refusal in the words of Django REST framework.
fn is_throttled(answer: &Answer) -> bool {
    let Some(seconds) = answer.header("retry-after") else {
        return false;
    };
    let plural = if seconds == "1" { "" } else { "s" };
    let text = format!("Request was throttled. Expected available in {seconds} second{plural}.");
    answer.status == 429 && answer.json() == json!({"detail": text})
}

/// How often a limit has refused something.
fn refused(server: &Server, limit: &str) -> f64 {
    let text = server.app.metrics.render();
    let series = format!("chatferry_limited_total{{limit=\"{limit}\",by=\"address\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn requests_past_the_limit_are_answered_as_django_rest_framework_does() {
    let server = Server::with(&[("limits.address.requests", "3/day")]).await;
    let mut connection = server.connect().await;
    let list = request("GET", "/api/chat/users/alice/conversations/", &[], None);
    for _ in 0..3 {
        assert_eq!(connection.ask(&list).await.status, 200);
    }
    let answer = connection.ask(&list).await;
    assert!(is_throttled(&answer), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(is_throttled(&server.get("/nothing/").await), "any path");
    assert_eq!(server.get("/healthz").await.status, 200);
    assert!(refused(&server, "requests") >= 2.0);
}

#[tokio::test]
async fn a_refused_request_with_a_body_does_not_become_two() {
    let server = Server::with(&[("limits.address.requests", "1/day")]).await;
    server.get("/api/chat/").await;
    let inner = request("POST", "/api/chat/conversations/", &[], None);
    let length = inner.len();
    let bytes = format!(
        "POST /api/chat/conversations/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{inner}"
    );
    let mut connection = server.connect().await;
    assert_eq!(connection.ask(bytes).await.status, 429);
    let next = request("GET", "/healthz", &[], None);
    connection.push(next).await;
    // Either it is read on from behind the body, or the connection ends.
    assert!(
        connection
            .next()
            .await
            .is_none_or(|answer| answer.status == 200)
    );
}

#[tokio::test]
async fn the_refusal_is_in_the_servers_language() {
    let flags = [
        ("limits.address.requests", "1/hour"),
        ("django.language", "ko"),
    ];
    let server = Server::with(&flags).await;
    server.get("/api/chat/").await;
    let text = server.get("/api/chat/").await.json()["detail"].to_string();
    assert!(
        text.starts_with("\"요청이 지연(throttled)되었습니다. Expected"),
        "{text}"
    );
}

#[tokio::test]
async fn messages_and_read_marks_are_limited_together_wherever_they_come_from() {
    let server = Server::with(&[("limits.address.messages", "3/day")]).await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let said = json!({"sender_id": "alice", "content": "by REST"});
    let message = server.post(&path, said.clone()).await;
    assert_eq!(message.status, 201);
    let mut socket = server.socket(&id).await;
    socket.say("by socket").await;
    assert_eq!(socket.heard().await, "by socket");
    let message = message.json()["id"].as_str().unwrap().to_owned();
    let read = format!("/api/chat/messages/{message}/read/");
    let reader = json!({"user_id": "bob"});
    assert_eq!(server.put(&read, reader.clone()).await.status, 200);

    let answer = server.post(&path, said).await;
    assert!(is_throttled(&answer), "{answer:?}");
    assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    assert!(is_throttled(&server.put(&read, reader).await));
    socket.say("too much").await;
    let error = socket.error().await;
    assert!(
        error.starts_with("Request was throttled. Expected available in "),
        "{error}"
    );
    let mark = json!({"type": "mark_as_read", "message_id": message, "user_id": "bob"});
    socket.send(&mark).await;
    socket.error().await;
    socket.is_open().await;
    assert_eq!(server.contents(&id).await, ["by REST", "by socket"]);
    assert!(refused(&server, "messages") >= 4.0);
}

#[tokio::test]
async fn a_bad_message_uses_nothing_up() {
    let server = Server::with(&[("limits.address.messages", "1/day")]).await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    for _ in 0..3 {
        assert_eq!(server.post(&path, json!({})).await.status, 400);
    }
    let good = json!({"sender_id": "alice", "content": "good"});
    assert_eq!(server.post(&path, good).await.status, 201);
}

#[tokio::test]
async fn typing_has_a_limit_of_its_own() {
    let server = Server::with(&[("limits.address.typing", "2/day")]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let typing = json!({"type": "typing", "user_id": "alice", "is_typing": true});
    for _ in 0..2 {
        socket.send(&typing).await;
        assert_eq!(socket.json().await["type"], "typing_status");
    }
    socket.send(&typing).await;
    socket.error().await;
    socket.works().await;
}

#[tokio::test]
async fn conversations_are_limited_by_the_hour() {
    let server = Server::with(&[("limits.address.conversations", "2/hour")]).await;
    server.conversation_of("a", "b").await;
    server.conversation_of("a", "c").await;
    let body = json!({"participant1_id": "a", "participant2_id": "d"});
    let answer = server.post("/api/chat/conversations/", body).await;
    assert!(is_throttled(&answer), "{answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1000..=1800).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn handshakes_past_the_limit_are_refused() {
    let server = Server::with(&[("limits.address.sockets", "2/day")]).await;
    let id = server.conversation().await;
    let denied = Socket::try_open(server.connect().await, "/ws/chat/nowhere/", "").await;
    assert_eq!(denied.err().unwrap().status, 500);
    server.socket(&id).await.works().await;
    let refused = Socket::try_open(server.connect().await, &path_of(&id), "").await;
    let refused = refused.err().unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn a_socket_counts_as_open_until_it_has_ended() {
    let server = Server::with(&[("limits.address.open_sockets", "2")]).await;
    let id = server.conversation().await;
    let open = async || {
        let connection = server.connect().await;
        Socket::try_open(connection, &path_of(&id), "").await
    };
    let (Ok(mut first), Ok(second)) = (open().await, open().await) else {
        panic!("two are allowed");
    };
    let refused = open().await.err().unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("10"))
    );
    first.connection.send(frame(CLOSE, [3, 232])).await;
    let mut third = None;
    until("room for another", async || {
        third = open().await.ok();
        third.is_some()
    })
    .await;
    assert_eq!(open().await.err().unwrap().status, 429);
    drop(second);
    until("room after a lost connection", async || {
        open().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_have_limits_of_their_own() {
    let flags = [
        ("limits.address.requests", "1/day"),
        ("server.trusted_proxies", "127.0.0.1"),
    ];
    let server = Server::with(&flags).await;
    let ask = async |client| {
        let bytes = request("GET", "/api/chat/", &from(client), None);
        server.send(bytes).await.status
    };
    assert_eq!(ask("192.0.2.1").await, 200);
    assert_eq!(ask("192.0.2.1").await, 429);
    assert_eq!(ask("192.0.2.2").await, 200);
    assert_eq!(
        ask("6.6.6.6, 192.0.2.2").await,
        429,
        "what a client made up"
    );
    assert_eq!(ask("2001:db8::1").await, 200);
    assert_eq!(ask("2001:db8::ffff").await, 429, "the same /64");
    for _ in 0..3 {
        assert_eq!(
            server.get("/api/chat/").await.status,
            200,
            "the proxy itself"
        );
    }
}

#[tokio::test]
async fn whom_a_stranger_claims_to_speak_for_is_nobody() {
    let flags = [
        ("limits.address.requests", "1/day"),
        ("server.trusted_proxies", "10.0.0.0/8"),
    ];
    let server = Server::with(&flags).await;
    let ask = async |client| {
        let bytes = request("GET", "/api/chat/", &from(client), None);
        server.send(bytes).await.status
    };
    assert_eq!(ask("192.0.2.1").await, 200);
    assert_eq!(ask("192.0.2.2").await, 429);
    let header = "PROXY TCP4 192.0.2.3 127.0.0.1 4711 80\r\n";
    let bytes = header.to_owned() + &request("GET", "/api/chat/", &[], None);
    assert_eq!(server.send(bytes).await.status, 400);
}

/// A header of version 2 for a client at 192.0.2.9, with something after the addresses.
fn binary_header() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".to_vec();
    header.extend([192, 0, 2, 9, 127, 0, 0, 1, 0x12, 0x34, 0, 80]);
    header.extend([4, 0, 1, 42]);
    header
}

#[tokio::test]
async fn a_proxy_header_says_whose_connection_it_is() {
    let flags = [
        ("limits.address.requests", "1/day"),
        ("server.trusted_proxies", "127.0.0.0/8"),
        ("server.proxy_protocol", "true"),
    ];
    let server = Server::with(&flags).await;
    let page = request("GET", "/api/chat/", &[], None);
    let ask = async |header: &[u8]| {
        let bytes = [header, page.as_bytes()].concat();
        server.send(bytes).await.status
    };
    let first = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n";
    assert_eq!(ask(first).await, 200);
    assert_eq!(ask(first).await, 429);
    assert_eq!(ask(&binary_header()).await, 200);
    assert_eq!(ask(&binary_header()).await, 429);
    for _ in 0..3 {
        assert_eq!(
            ask(b"PROXY UNKNOWN\r\n").await,
            200,
            "the proxy's own health check"
        );
    }
    let mut connection = server.connect().await;
    connection.push(&page).await;
    connection.closed().await;
    let text = server.app.metrics.render();
    assert!(
        text.contains("chatferry_proxy_headers_refused_total 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_not_waited_for_long() {
    let flags = [
        ("server.trusted_proxies", "127.0.0.1"),
        ("server.proxy_protocol", "true"),
        ("server.header_timeout_s", "1"),
    ];
    let server = Server::with(&flags).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.send("PROXY TCP4 192").await;
    silent.closed().await;
    slow.closed().await;
}

#[tokio::test]
async fn django_is_told_the_address_that_the_proxy_header_gave() {
    let upstream = Upstream::echo().await;
    let flags = [
        ("server.trusted_proxies", "127.0.0.1"),
        ("server.proxy_protocol", "true"),
    ];
    let server = upstream.gateway(&flags).await;
    let sent = request("GET", "/other/", &from("6.6.6.6"), None);
    let bytes = [&binary_header(), sent.as_bytes()].concat();
    let answer = server.send(bytes).await;
    let head = answer.text();
    assert!(head.contains("X-Forwarded-For: 192.0.2.9\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_passed_on_to_django_is_limited_too() {
    let upstream = Upstream::echo().await;
    let flags = [
        ("limits.address.requests", "2/day"),
        ("limits.address.sockets", "1/day"),
    ];
    let server = upstream.gateway(&flags).await;
    let path = "/ws/other/";
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let mut connection: Connection = server.connect().await;
        statuses.push(connection.ask(handshake(path, "")).await.status);
    }
    assert_eq!(
        statuses,
        [200, 429, 429],
        "one for the socket, one for the request"
    );
    assert_eq!(upstream.accepted(), 1);
}
