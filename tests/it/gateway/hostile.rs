//! An upstream that answers with more than HTTP allows, or without an end: it costs the request, and
//! no memory.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::upstream::{Call, Upstream};
use crate::support::{
    Connection, Directory, Process, request,
    socket::{handshake, path_of},
    until,
};

/// What any answer may take while it is passed on, in KiB: buffers of two connections, and what the
/// program itself reads in.
const MOST_KIB: u64 = 8 * 1024;

/// Answers `/well/` well, and all else with `head` once and `again` for ever, as far as it is taken.
async fn upstream(head: Vec<u8>, again: Vec<u8>) -> Upstream {
    let (head, again) = (Arc::new(head), Arc::new(again));
    Upstream::start(move |mut call: Call| {
        let (head, again) = (Arc::clone(&head), Arc::clone(&again));
        async move {
            while let Some(asked) = call.head().await {
                if asked.starts_with("GET /well/") {
                    call.answer("well").await;
                    continue;
                }
                call.write(&*head).await;
                if again.is_empty() {
                    return while call.more().await {};
                }
                while call.stream.write_all(&again).await.is_ok() {}
                return;
            }
        }
    })
    .await
}

/// A server that waits for the head of an answer for so long.
async fn server_with(upstream: &Upstream, directory: &Directory, response_s: u32) -> Process {
    let url = format!("gateway.upstream={}", upstream.url());
    let response = format!("gateway.response_timeout_s={response_s}");
    let settings = [
        &url,
        "gateway.rollout_percent=0",
        &response,
        "gateway.idle_timeout_s=2",
    ];
    Process::start(directory, &settings).await
}

async fn server(upstream: &Upstream, directory: &Directory) -> Process {
    server_with(upstream, directory, 2).await
}

async fn is_well(server: &Process) {
    let mut connection = server.connect().await;
    let answer = connection.ask(request("GET", "/well/", &[], None)).await;
    assert_eq!((answer.status, answer.text()), (200, "well"));
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What is sent once, what is sent without an end, and the status that the client gets.
fn answers() -> Vec<(&'static str, Vec<u8>, Vec<u8>, u16)> {
    let x = vec![b'x'; 1 << 16];
    let many: Vec<u8> = (0..1000)
        .flat_map(|number| format!("X-{number}: x\r\n").into_bytes())
        .collect();
    let with = |head: &[u8], more: &[u8]| [head, more].concat();
    vec![
        ("a header without an end", with(OK, b"X: "), x.clone(), 502),
        (
            "headers without an end",
            OK.to_vec(),
            b"X: x\r\n".repeat(1000),
            502,
        ),
        (
            "a thousand headers",
            with(OK, &with(&many, b"\r\n")),
            vec![],
            502,
        ),
        (
            "a status line without an end",
            b"HTTP/1.1 200 ".to_vec(),
            x.clone(),
            502,
        ),
        ("no status line", b"220 smtp\r\n\r\n".to_vec(), vec![], 502),
        ("nothing but bytes", vec![], x.clone(), 502),
        (
            "interim answers without an end",
            vec![],
            b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100),
            502,
        ),
        (
            "an upgrade that nobody asked for",
            b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n".to_vec(),
            vec![],
            502,
        ),
        (
            "two lengths",
            with(OK, b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
            vec![],
            502,
        ),
        ("no answer", vec![], vec![], 504),
    ]
}

#[tokio::test]
async fn a_head_that_no_server_should_send_is_a_502_and_takes_no_memory() {
    for (what, head, again, status) in answers() {
        let upstream = upstream(head, again).await;
        let directory = Directory::new();
        // Debug code on a busy machine reads interim answers for seconds.
        let response_s = if status == 504 { 2 } else { 60 };
        let server = server_with(&upstream, &directory, response_s).await;
        is_well(&server).await;
        let before = server.resident_kib();
        for _ in 0..3 {
            let mut connection = server.connect().await;
            let answer = connection.ask(request("GET", "/", &[], None)).await;
            assert_eq!(answer.status, status, "{what}");
        }
        let mut connection = server.connect().await;
        let path = path_of("95031212-7823-4748-bb78-b212d36bffff");
        let answer = connection.ask(handshake(&path, "")).await;
        assert!(
            matches!(answer.status, 101 | 502 | 504),
            "{what}: {answer:?}"
        );
        is_well(&server).await;
        let grown = server.peak_kib().saturating_sub(before);
        assert!(grown <= MOST_KIB, "{what}: {grown} KiB more");
    }
}

/// Reads so many bytes of an answer and leaves.
async fn some(connection: &mut Connection, bytes: usize) {
    connection.send(request("GET", "/", &[], None)).await;
    let _ = connection.take(bytes).await;
}

#[tokio::test]
async fn a_body_without_an_end_is_passed_on_for_as_long_as_it_is_read_and_takes_no_memory() {
    let x = vec![b'x'; 1 << 16];
    let chunk = [b"10000\r\n", &*x, b"\r\n"].concat();
    for (what, head, again) in [
        ("chunks", CHUNKED.to_vec(), chunk),
        (
            "a large chunk",
            [CHUNKED, b"FFFFFFFFFFFF\r\n"].concat(),
            x.clone(),
        ),
        ("until the end", [OK, b"\r\n"].concat(), x.clone()),
        (
            "a length",
            [OK, b"Content-Length: 999999999999\r\n\r\n"].concat(),
            x.clone(),
        ),
    ] {
        let upstream = upstream(head, again).await;
        let directory = Directory::new();
        let server = server(&upstream, &directory).await;
        is_well(&server).await;
        let before = server.resident_kib();
        some(&mut server.connect().await, 30 << 20).await;
        // One that reads nothing more holds buffers.
        let mut silent = Connection::narrow(server.address).await;
        some(&mut silent, 1000).await;
        server.rests().await;
        is_well(&server).await;
        let grown = server.peak_kib().saturating_sub(before);
        assert!(grown <= MOST_KIB, "{what}: {grown} KiB more");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_the_rules_in_its_body_breaks_off() {
    let x = vec![b'x'; 1 << 16];
    for (what, rest, again) in [
        (
            "a size that is no number",
            b"5\r\nhello\r\nzz\r\n".to_vec(),
            vec![],
        ),
        (
            "an extension without an end",
            b"5\r\nhello\r\n5;".to_vec(),
            x.clone(),
        ),
        (
            "a trailer without an end",
            b"5\r\nhello\r\n0\r\nX: ".to_vec(),
            x.clone(),
        ),
        (
            "trailers without an end",
            b"5\r\nhello\r\n0\r\n".to_vec(),
            b"X: x\r\n".repeat(1000),
        ),
        ("a pause without an end", b"5\r\nhello\r\n".to_vec(), vec![]),
    ] {
        let upstream = upstream([CHUNKED, &rest].concat(), again).await;
        let directory = Directory::new();
        let server = server(&upstream, &directory).await;
        let before = server.resident_kib();
        let mut connection = server.connect().await;
        connection.send(request("GET", "/", &[], None)).await;
        let body = connection.rest().await;
        assert!(body.contains("hello"), "{what}: {body}");
        assert!(!body.ends_with("0\r\n\r\n"), "{what}: {body}");
        is_well(&server).await;
        let grown = server.peak_kib().saturating_sub(before);
        assert!(grown <= MOST_KIB, "{what}: {grown} KiB more");
    }
}

#[tokio::test]
async fn frames_of_any_size_on_a_socket_of_django_s_take_no_memory() {
    let switch =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let head = [&switch[..], b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"].concat();
    let upstream = upstream(head, vec![b'x'; 1 << 16]).await;
    let directory = Directory::new();
    let server = server(&upstream, &directory).await;
    is_well(&server).await;
    let before = server.resident_kib();
    let mut client = server.connect().await;
    let path = path_of("95031212-7823-4748-bb78-b212d36bffff");
    assert_eq!(client.ask(handshake(&path, "")).await.status, 101);
    client.take(30 << 20).await;
    let mut silent = Connection::narrow(server.address).await;
    assert_eq!(silent.ask(handshake(&path, "")).await.status, 101);
    until("both to be open", async || {
        server
            .connect()
            .await
            .metric("chatferry_gateway_ws_open")
            .await
            >= 2.0
    })
    .await;
    is_well(&server).await;
    let grown = server.peak_kib().saturating_sub(before);
    assert!(grown <= MOST_KIB, "{grown} KiB more");
}
