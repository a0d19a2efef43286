//! Requests of HTTP that a hosted application answers, with a worker that is played here. Real
//! applications are in `compat/consumers`.

use super::{ENDED, Worker, message, server};
use crate::support::{Connection, Server, until};

// Messages of Chatferry.
pub const REQUEST: u8 = 0x0d;
const BODY_IN: u8 = 0x0e;
const BODY_END_IN: u8 = 0x0f;
const GONE: u8 = 0x10;
const TAKEN_IN: u8 = 0x11;

// Messages of a worker.
const RESPONSE: u8 = 0x51;
const BODY: u8 = 0x52;
const BODY_END: u8 = 0x53;
const TAKEN: u8 = 0x54;

/// Heads of answers: 200 and 304 without headers, 200 with a length of 5, and what cannot be sent.
const OK: &[u8] = b"\x82\xa6status\xcc\xc8\xa7headers\x90";
const NOT_MODIFIED: &[u8] = b"\x82\xa6status\xcd\x01\x30\xa7headers\x90";
const FIVE: &[u8] = b"\x82\xa6status\xcc\xc8\xa7headers\x91\x92\xc4\x0econtent-length\xc4\x015";
const SWITCHING: &[u8] = b"\x82\xa6status\x65\xa7headers\x90";

const WINDOW: usize = 64 << 10;
const PART: usize = 32 << 10;

const ALL: (&str, &str) = ("host.http_routes", "/");

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(path: &str, framing: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n{body}")
}

fn holds(scope: &[u8], part: &str) -> bool {
    scope.windows(part.len()).any(|it| it == part.as_bytes())
}

/// The next request without a body, and its scope.
async fn asked(worker: &mut Worker) -> (u64, Vec<u8>) {
    let (number, scope) = worker.next(REQUEST).await;
    assert_eq!(worker.next(BODY_END_IN).await, (number, vec![]));
    (number, scope)
}

pub async fn answer(worker: &mut Worker, number: u64, body: &[u8]) {
    worker.say(RESPONSE, number, OK).await;
    worker.say(BODY_END, number, body).await;
    worker.say(ENDED, number, &[0xc2]).await;
}

async fn outcome(server: &Server, outcome: &str, count: f64) {
    let series = format!("chatferry_host_request_seconds_count{{outcome=\"{outcome}\"}}");
    until(outcome, async || server.metric(&series).await == count).await;
}

#[tokio::test]
async fn a_request_is_answered_by_the_application_on_a_connection_that_is_kept() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    let mut client = server.connect().await;
    client.send(get("/shop/%ED%99%8D/?a=%20")).await;
    let (number, scope) = asked(&mut worker).await;
    for part in [
        "/shop/홍/",
        "/shop/%ED%99%8D/",
        "a=%20",
        "GET",
        "http_version",
    ] {
        assert!(holds(&scope, part), "{part}");
    }
    worker.say(RESPONSE, number, OK).await;
    worker.say(BODY, number, "안".as_bytes()).await;
    worker.say(BODY_END, number, "녕".as_bytes()).await;
    worker.say(ENDED, number, &[0xc2]).await;
    let whole = client.answer().await;
    assert_eq!((whole.status, whole.text()), (200, "안녕"));
    assert_eq!(whole.header("transfer-encoding"), Some("chunked"));
    for _ in 0..2 {
        assert_eq!(worker.next(TAKEN_IN).await.0, number);
    }
    client.send(get("/again/")).await;
    let (number, _) = asked(&mut worker).await;
    worker.say(RESPONSE, number, FIVE).await;
    worker.say(BODY_END, number, b"12345").await;
    let whole = client.answer().await;
    assert_eq!(whole.text(), "12345");
    assert_eq!(whole.header("content-length"), Some("5"));
    outcome(&server, "answered", 2.0).await;
    // The application has not returned from the second.
    assert_eq!(server.metric("chatferry_host_requests_open").await, 0.0);
}

#[tokio::test]
async fn a_body_is_passed_on_as_it_is_taken() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    let mut client = server.connect().await;
    let size = 4 * WINDOW;
    let head = format!("Content-Length: {size}");
    client.send(post("/upload/", &head, "")).await;
    let sending = async { client.push(vec![b'x'; size]).await };
    let reading = async {
        let (number, _) = worker.next(REQUEST).await;
        let (mut got, mut untaken) = (0, 0);
        // What fits in the window, and no more until it is taken.
        while untaken < WINDOW - PART {
            untaken += worker.next(BODY_IN).await.1.len();
            assert!(untaken <= WINDOW);
        }
        worker.say(0x4e, 0, b"").await;
        while got + untaken < size {
            let mut taken = vec![0xce];
            taken.extend(u32::try_from(untaken).unwrap().to_be_bytes());
            got += std::mem::take(&mut untaken);
            worker.say(TAKEN, number, &taken).await;
            let (kind, _, body) = worker.any().await;
            assert!([BODY_IN, BODY_END_IN, 0x0a].contains(&kind), "{kind}");
            untaken += body.len();
        }
        number
    };
    let ((), number) = tokio::join!(sending, reading);
    answer(&mut worker, number, b"taken").await;
    assert_eq!(client.answer().await.text(), "taken");
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_has() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    let mut client = server.connect().await;
    client
        .send(post("/upload/", "Transfer-Encoding: chunked", "1\r\nx\r\n"))
        .await;
    let (number, _) = worker.next(REQUEST).await;
    assert_eq!(worker.next(BODY_IN).await, (number, b"x".to_vec()));
    answer(&mut worker, number, b"early").await;
    assert_eq!(client.answer().await.text(), "early");
    client.closed().await;
    outcome(&server, "answered", 1.0).await;
}

#[tokio::test]
async fn an_application_hears_that_its_client_has_left() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    for begun in [false, true] {
        let mut client = server.connect().await;
        client.send(get("/poll/")).await;
        let (number, _) = asked(&mut worker).await;
        if begun {
            worker.say(RESPONSE, number, OK).await;
            worker.say(BODY, number, b"first").await;
            assert_eq!(client.head().await.status, 200);
            client.expect("5\r\nfirst\r\n").await;
            assert_eq!(worker.next(TAKEN_IN).await.0, number);
        }
        drop(client);
        assert_eq!(worker.next(GONE).await, (number, vec![]));
        // What it says then is of no interest.
        worker.say(BODY, number, b"of nobody").await;
        worker.say(ENDED, number, &[0xc2]).await;
    }
    outcome(&server, "left", 2.0).await;
}

#[tokio::test]
async fn answers_that_have_no_body_get_none() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    let mut client = server.connect().await;
    for (method, head) in [("HEAD", OK), ("HEAD", FIVE), ("GET", NOT_MODIFIED)] {
        client
            .send(format!(
                "{method} /page/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ))
            .await;
        let (number, _) = asked(&mut worker).await;
        worker.say(RESPONSE, number, head).await;
        worker.say(BODY_END, number, b"12345").await;
        worker.say(ENDED, number, &[0xc2]).await;
        let head = client.head().await;
        assert!(matches!(head.status, 200 | 304));
        assert_eq!(head.header("transfer-encoding"), None);
        assert_eq!(worker.next(TAKEN_IN).await.0, number);
    }
    outcome(&server, "answered", 3.0).await;
}

#[tokio::test]
async fn an_application_that_fails_is_answered_for_or_cut_off() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    for (kind, body) in [(ENDED, &[0xc3][..]), (RESPONSE, SWITCHING), (BODY, b"x")] {
        let mut client = server.connect().await;
        client.send(get("/")).await;
        let (number, _) = asked(&mut worker).await;
        worker.say(kind, number, body).await;
        let whole = client.answer().await;
        assert_eq!(whole.status, 500);
        assert!(whole.text().contains("Exception inside application."));
        assert_eq!(worker.next(GONE).await.0, number);
        worker.say(ENDED, number, &[0xc3]).await;
    }
    let mut client = server.connect().await;
    client.send(get("/")).await;
    let (number, _) = asked(&mut worker).await;
    worker.say(RESPONSE, number, FIVE).await;
    worker.say(BODY, number, b"123").await;
    assert_eq!(client.head().await.header("content-length"), Some("5"));
    client.expect("123").await;
    worker.say(ENDED, number, &[0xc3]).await;
    client.closed().await;
    outcome(&server, "failed", 4.0).await;
}

#[tokio::test]
async fn without_a_worker_and_past_the_time_there_is_an_answer() {
    let settings = [
        ALL,
        ("host.call_timeout_s", "1"),
        ("host.max_requests", "1"),
    ];
    let (server, path) = server(&settings).await;
    assert_eq!(server.get("/").await.status, 503, "no worker");
    let mut worker = Worker::join(&path).await;
    let mut slow = server.connect().await;
    slow.send(get("/slow/")).await;
    let (number, _) = asked(&mut worker).await;
    let late = slow.answer().await;
    assert_eq!(late.status, 503);
    assert!(late.text().contains("within time limit"));
    assert_eq!(worker.next(GONE).await.0, number);
    // Its slot is taken until the application has returned.
    let full = server.get("/next/").await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    worker.say(ENDED, number, &[0xc2]).await;
    let mut next = server.connect().await;
    next.send(get("/next/")).await;
    let (_, _) = asked(&mut worker).await;
    drop(worker);
    assert_eq!(next.answer().await.status, 503, "it is gone");
    outcome(&server, "late", 1.0).await;
    outcome(&server, "lost", 3.0).await;
}

#[tokio::test]
async fn a_worker_that_sends_more_than_is_taken_is_ended() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    let mut client = server.connect().await;
    client.send(get("/")).await;
    let (number, _) = asked(&mut worker).await;
    // Before the head nothing is taken.
    let parts = [
        message(BODY, number, &vec![0; PART]),
        message(BODY, number, &vec![0; PART]),
        message(BODY, number, b"x"),
    ];
    let mut whole = message(RESPONSE, 9999, OK);
    whole.extend(parts.concat());
    worker.say(TAKEN, number, &[0xcf; 9]).await;
    worker.push(&whole).await;
    worker.ends_refused().await;
    assert!(matches!(client.answer().await.status, 500 | 503));
    let violations = "chatferry_host_workers_left_total{why=\"violation\"}";
    until("it has left", async || {
        server.metric(violations).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn requests_that_servers_read_differently_reach_no_application() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    for framing in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: +1",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Content-Length: 1\r\n Content-Length: 2",
    ] {
        let mut client = server.connect().await;
        client.send(post("/", framing, "x")).await;
        assert_eq!(client.answer().await.status, 400, "{framing}");
        client.closed().await;
    }
    let mut client = server.connect().await;
    let both = "Content-Length: 99\r\nTransfer-Encoding: chunked\r\nX_Real_IP: 1\r\nX-Real-IP: 2";
    client.send(post("/", both, "0\r\n\r\n")).await;
    let (number, scope) = worker.next(REQUEST).await;
    assert_eq!(worker.next(BODY_END_IN).await, (number, vec![]));
    for name in ["content-length", "x_real_ip", "x-real-ip"] {
        assert!(!holds(&scope, name), "{name}");
    }
    answer(&mut worker, number, b"").await;
    assert_eq!(client.answer().await.status, 200);
    // What comes after it may have been meant as a part of the body.
    client.closed().await;
}

#[tokio::test]
async fn what_is_served_here_stays_here() {
    let (server, path) = server(&[("host.http_routes", "/shop/,/api/chat/own/")]).await;
    let mut worker = Worker::join(&path).await;
    for path in ["/healthz", "/readyz", "/metrics", "/api/chat/"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/other/",
        "/shopping/",
        "/api/chat/other/",
        "/shop/%2e%2e/api/chat/",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    for path in ["/shop/", "/shop", "/shop/a;b/", "/api/chat/own/x/"] {
        let mut client = server.connect().await;
        client.send(get(path)).await;
        let (number, scope) = asked(&mut worker).await;
        assert!(holds(&scope, path));
        answer(&mut worker, number, b"theirs").await;
        assert_eq!(client.answer().await.text(), "theirs", "{path}");
        assert_eq!(worker.next(TAKEN_IN).await.0, number);
    }
}

#[tokio::test]
async fn an_address_is_a_path_and_its_host() {
    let (server, path) = server(&[ALL]).await;
    let mut worker = Worker::join(&path).await;
    let mut client: Connection = server.connect().await;
    client
        .send("GET http://shop.example/a/ HTTP/1.1\r\nHost: other\r\n\r\n")
        .await;
    let (number, scope) = asked(&mut worker).await;
    assert!(holds(&scope, "shop.example") && !holds(&scope, "other"));
    assert!(!holds(&scope, "http://"));
    answer(&mut worker, number, b"").await;
    assert_eq!(client.answer().await.status, 200);
}
