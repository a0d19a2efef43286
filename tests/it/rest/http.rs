//! HTTP as it really arrives: kept-alive, pipelined, in pieces, too big, too slow, malformed, and
//! shaped so that two readers would disagree where a request ends.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::UnixStream;

use crate::support::{Connection, Directory, Server, request, server::config, soon, until};

const CLOSING: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The statuses of everything that is answered to `bytes` and a last good request after them.
async fn statuses(server: &Server, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    let mut connection = server.connect().await;
    connection.push(bytes).await;
    connection.push(CLOSING).await;
    let mut statuses = Vec::new();
    while let Some(answer) = connection.next().await {
        statuses.push(answer.status);
    }
    statuses
}

fn create(headers: &str, body: &str) -> String {
    format!(
        "POST /api/chat/conversations/ HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\n{headers}\r\n{body}"
    )
}

const PAIR: &str = r#"{"participant1_id":"a","participant2_id":"b"}"#;

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    for _ in 0..3 {
        let answer = connection.ask(request("GET", "/healthz", &[], None)).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"status": "ok"}))
        );
    }
    let unknown = connection.ask(request("GET", "/nothing/", &[], None)).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(connection.ask(CLOSING).await.status, 200);
    connection.closed().await;
    assert!(server.metric("chatferry_connections_accepted_total").await >= 2.0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::start().await;
    let made = create(&format!("Content-Length: {}\r\n", PAIR.len()), PAIR);
    let unknown = request("GET", "/nothing/", &[], None);
    let bytes = [made.as_str(), &unknown, &made].concat();
    assert_eq!(statuses(&server, bytes).await, [201, 404, 200, 200]);
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let answer = connection.ask("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(
        (answer.line.as_str(), answer.status),
        ("HTTP/1.0 200 OK", 200)
    );
    connection.closed().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let server = Server::start().await;
    let bytes = create(&format!("Content-Length: {}\r\n", PAIR.len()), PAIR);
    let mut connection = server.connect().await;
    for byte in bytes.as_bytes() {
        connection.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(connection.answer().await.status, 201);
}

#[tokio::test]
async fn a_chunked_body_is_read() {
    let server = Server::start().await;
    let (one, two) = PAIR.split_at(10);
    let chunks = format!(
        "{:x}\r\n{one}\r\n{:x};x=y\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let bytes = create("Transfer-Encoding: chunked\r\n", &chunks);
    assert_eq!(statuses(&server, bytes).await, [201, 200]);
}

#[tokio::test]
async fn who_expects_to_be_told_to_continue_is_told() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let headers = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", PAIR.len());
    connection.send(create(&headers, "")).await;
    assert_eq!(connection.answer().await.status, 100);
    assert_eq!(connection.ask(PAIR).await.status, 201);
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_refused_before_it_comes() {
    for (memory_mib, limit_mib) in [("256", 64), ("8", 8)] {
        let server = Server::with(&[("server.body_memory_mib", memory_mib)]).await;
        let mut connection = server.connect().await;
        let length = limit_mib * 1024 * 1024 + 1;
        let bytes = create(&format!("Content-Length: {length}\r\n"), "{");
        assert_eq!(connection.ask(bytes).await.status, 413);
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_costs_the_connection() {
    let server = Server::with(&[("server.header_timeout_s", "1")]).await;
    let began = Instant::now();
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.push("GET /healthz HTTP/1.1\r\nHost:").await;
    silent.closed().await;
    assert!(began.elapsed() > Duration::from_millis(900));
    assert!(slow.next().await.is_none_or(|answer| answer.status == 408));
}

#[tokio::test]
async fn who_has_been_answered_may_be_silent_for_longer_than_a_head_may_take() {
    let server = Server::with(&[("server.header_timeout_s", "5")]).await;
    let mut connection = server.connect().await;
    let healthz = request("GET", "/healthz", &[], None);
    assert_eq!(connection.ask(&healthz).await.status, 200);
    // One that begins to be silent later is closed for it.
    server.connect().await.closed().await;
    assert_eq!(connection.ask(&healthz).await.status, 200);
}

#[tokio::test]
async fn a_head_of_more_than_16_kib_is_refused() {
    let server = Server::start().await;
    for head in [
        format!(
            "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
            "x".repeat(17 * 1024)
        ),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(17 * 1024)),
        format!(
            "GET /healthz HTTP/1.1\r\n{}\r\n",
            "Some-Name: some value\r\n".repeat(800)
        ),
    ] {
        assert_eq!(statuses(&server, &head).await, [431], "{}", &head[..40]);
    }
    let allowed = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(15 * 1024)
    );
    assert_eq!(statuses(&server, allowed).await, [200, 200]);
}

#[tokio::test]
async fn more_than_500_headers_are_refused() {
    let server = Server::start().await;
    let head = |count| format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(statuses(&server, head(500)).await, [200, 200]);
    assert_eq!(statuses(&server, head(501)).await, [431]);
}

#[tokio::test]
async fn what_is_no_http_gets_a_400_and_the_end() {
    let server = Server::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nSpace In Name: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nNul: \0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?\xed\x95\x9c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(statuses(&server, bytes).await, [400], "{text:?}");
    }
}

#[tokio::test]
async fn nothing_is_smuggled_in_the_body_of_another_request() {
    let server = Server::start().await;
    let length = PAIR.len();
    // Each could hide a request from one of two readers. Refused, or read in the one sound way.
    for (shape, bytes) in [
        (
            "both lengths",
            create(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "the other order",
            create(
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "two lengths",
            create("Content-Length: 0\r\nContent-Length: 45\r\n", PAIR),
        ),
        (
            "a list of lengths",
            create("Content-Length: 0, 45\r\n", PAIR),
        ),
        ("a signed length", create("Content-Length: +45\r\n", PAIR)),
        (
            "a length that is no number",
            create("Content-Length: 45x\r\n", PAIR),
        ),
        (
            "a length past 64 bits",
            create("Content-Length: 18446744073709551616\r\n", ""),
        ),
        (
            "an unknown coding",
            create("Transfer-Encoding: cow\r\n", PAIR),
        ),
        (
            "chunked not last",
            create("Transfer-Encoding: chunked, cow\r\n", "0\r\n\r\n"),
        ),
        (
            "a bare CR in a value",
            create(
                &format!("X: a\rContent-Length: 0\r\nContent-Length: {length}\r\n"),
                PAIR,
            ),
        ),
        (
            "a space before the colon",
            create(&format!("Content-Length : {length}\r\n"), PAIR),
        ),
        (
            "a chunk size that is no number",
            create("Transfer-Encoding: chunked\r\n", "x\r\n\r\n"),
        ),
        (
            "a chunk size past 64 bits",
            create("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"),
        ),
        (
            "a chunk longer than its size",
            create("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"),
        ),
    ] {
        let statuses = statuses(&server, bytes).await;
        assert!(matches!(statuses[..], [400] | []), "{shape}: {statuses:?}");
    }
    let same_twice = format!("Content-Length: {length}\r\nContent-Length: {length}\r\n");
    let statuses = statuses(&server, create(&same_twice, PAIR)).await;
    assert!(matches!(statuses[..], [400] | [201, 200]), "{statuses:?}");
}

#[tokio::test]
async fn a_folded_header_is_refused_or_is_one_header() {
    let server = Server::start().await;
    let bytes = create(
        &format!(
            "X: a\r\n Content-Length: 0\r\nContent-Length: {}\r\n",
            PAIR.len()
        ),
        PAIR,
    );
    let statuses = statuses(&server, bytes).await;
    assert!(matches!(statuses[..], [400] | [201, 200]), "{statuses:?}");
}

#[tokio::test]
async fn an_address_with_scheme_and_host_is_no_path() {
    let server = Server::start().await;
    let bytes = "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(server.send(bytes).await.status, 404);
}

#[tokio::test]
async fn a_client_that_breaks_off_disturbs_nobody() {
    let server = Server::start().await;
    let mut neighbour = server.connect().await;
    let healthz = request("GET", "/healthz", &[], None);
    assert_eq!(neighbour.ask(healthz).await.status, 200);
    for _ in 0..20 {
        let mut rude = server.connect().await;
        rude.send(create("Content-Length: 1000\r\n", "{\"partici"))
            .await;
    }
    assert_eq!(neighbour.ask(CLOSING).await.status, 200);
    until("the rude ones to be forgotten", async || {
        server.metric("chatferry_connections_open").await <= 1.0
    })
    .await;
}

#[tokio::test]
async fn a_unix_socket_is_served_like_any_other_and_one_left_behind_is_replaced() {
    let directory = Directory::new();
    let path = directory.path().join("chat.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let bind = format!("unix:{}", path.display());
    let settings = config(&directory, &[("server.bind", &bind)]);
    let site = chatferry::server::Site::start(settings).await.unwrap();
    let server = chatferry::server::Server::bind(site).await.unwrap();
    assert_eq!(server.address().unwrap(), bind);
    tokio::spawn(server.run());
    let stream = soon("a connection", UnixStream::connect(&path))
        .await
        .unwrap();
    let answer = Connection::over(stream).ask(CLOSING).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_its_owner_goes_on() {
    let server = Server::start().await;
    let directory = Directory::new();
    let settings = config(&directory, &[("server.bind", &server.address.to_string())]);
    let site = chatferry::server::Site::start(settings).await.unwrap();
    assert!(chatferry::server::Server::bind(site).await.is_err());
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn our_own_pages_and_answers_are_only_to_be_read() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/api/chat/",
    ] {
        for (method, status) in [("GET", 200), ("POST", 405), ("DELETE", 405)] {
            let answer = connection.ask(request(method, path, &[], None)).await;
            assert_eq!(answer.status, status, "{method} {path}");
        }
        connection.send(request("HEAD", path, &[], None)).await;
        assert_eq!(connection.head().await.status, 200, "HEAD {path}");
    }
}

#[tokio::test]
async fn a_browser_that_opens_the_root_comes_to_the_chat_page_and_no_other_client_does() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let opened = [("Upgrade-Insecure-Requests", "1")];
    let answer = client.ask(request("GET", "/", &opened, None)).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("/api/chat/"))
    );
    for (method, headers) in [("GET", &[][..]), ("POST", &opened[..])] {
        let answer = client.ask(request(method, "/", headers, None)).await;
        assert_eq!(answer.status, 404, "{method}");
    }
}
