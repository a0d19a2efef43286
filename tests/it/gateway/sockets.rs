//! WebSockets through the gateway.

use std::sync::Arc;

use tokio::{io::AsyncWriteExt, sync::Notify};

use super::upstream::{Call, Upstream};
use crate::support::{
    Port, Server, Socket,
    socket::{CLOSE, PING, TEXT, frame, frame_with, handshake, path_of},
    soon, until,
};

const ID: &str = "95031212-7823-4748-bb78-b212d36bffff";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// Takes every socket, and sends back the bytes it gets, unmasked frames or not.
async fn echo() -> Upstream {
    Upstream::start(|mut call: Call| async move {
        let head = call.head().await.unwrap();
        assert!(
            head.to_lowercase().contains("\r\nupgrade: websocket\r\n"),
            "{head}"
        );
        assert!(
            head.to_lowercase().contains("\r\nconnection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("dGhlIHNhbXBsZSBub25jZQ=="), "{head}");
        call.write(format!("{SWITCH}X-Django: yes\r\n\r\n")).await;
        loop {
            let bytes = std::mem::take(&mut call.buffer);
            call.write(bytes).await;
            if !call.more().await {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_socket_of_another_app_goes_both_ways_as_raw_bytes() {
    let upstream = echo().await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    let answer = client.ask(handshake("/ws/other/?x=1", "")).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("x-django"), Some("yes"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    let accept = answer.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // Fragments, a control frame between them, every form of length.
    let mut bytes = frame_with(TEXT, "frag");
    bytes.extend(frame(PING, "p"));
    bytes.extend(frame_with(0x80, "ment"));
    bytes.extend(frame(TEXT, vec![b'x'; 300]));
    bytes.extend(frame(TEXT, vec![b'y'; 100_000]));
    client.send(&bytes).await;
    assert_eq!(client.take(bytes.len()).await, bytes);
}

#[tokio::test]
async fn bytes_that_come_with_the_handshake_are_kept_on_both_sides() {
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await.unwrap();
        let mut answer = format!("{SWITCH}\r\n").into_bytes();
        answer.extend(b"\x81\x05early");
        call.write(answer).await;
        let first = call.exactly(10).await;
        call.write(first).await;
    })
    .await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    let mut bytes = handshake("/ws/other/", "").into_bytes();
    bytes.extend(frame(TEXT, "mine"));
    assert_eq!(client.ask(bytes).await.status, 101);
    assert_eq!(client.take(7).await, b"\x81\x05early");
    assert_eq!(client.take(10).await, frame(TEXT, "mine"));
    client.closed().await;
}

#[tokio::test]
async fn a_refused_handshake_is_passed_back_with_its_body() {
    let upstream = Upstream::answering(
        "HTTP/1.1 403 Access denied\r\nX-Why: no\r\nContent-Length: 2\r\n\r\nno",
    )
    .await;
    let server = upstream.gateway(&[]).await;
    let answer = server.send(handshake("/ws/other/", "")).await;
    assert_eq!(answer.line, "HTTP/1.1 403 Access denied");
    assert_eq!((answer.header("x-why"), answer.text()), (Some("no"), "no"));
}

#[tokio::test]
async fn a_client_that_drops_its_socket_ends_the_upstream_s() {
    let upstream = echo().await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    client.ask(handshake("/ws/other/", "")).await;
    let open = async || server.metric("chatferry_gateway_ws_open").await;
    until("the socket to be counted", async || open().await > 0.5).await;
    drop(client);
    until("the socket to be gone", async || open().await < 0.5).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_the_upstream_s_socket() {
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await.unwrap();
        call.write(format!("{SWITCH}\r\n")).await;
        let mut frame = vec![0x82, 126, 0xea, 0x60];
        frame.resize(60_004, b'x');
        while call.stream.write_all(&frame).await.is_ok() {}
    })
    .await;
    let impatient = [("ws.ping_interval_s", "1"), ("ws.ping_timeout_s", "1")];
    let server = upstream.gateway(&impatient).await;
    let mut client = server.connect().await;
    client.push(handshake("/ws/other/", "")).await;
    let open = async || server.metric("chatferry_gateway_ws_open").await;
    until("the socket to be counted", async || open().await > 0.5).await;
    until("the socket to be gone", async || open().await < 0.5).await;
    drop(client);
}

#[tokio::test]
async fn without_an_upstream_a_handshake_is_a_502() {
    let nobody = Port::claim();
    let url = format!("http://127.0.0.1:{}", nobody.number);
    let server = Server::with(&[("gateway.upstream", &url)]).await;
    assert_eq!(server.send(handshake("/ws/other/", "")).await.status, 502);
}

#[tokio::test]
async fn a_drain_closes_passed_sockets_with_1012_between_frames() {
    // The upstream has begun a frame that it ends when it is told to; on another socket it says
    // nothing.
    let end = Arc::new(Notify::new());
    let told = Arc::clone(&end);
    let upstream = Upstream::start(move |mut call: Call| {
        let told = Arc::clone(&told);
        async move {
            let head = call.head().await.unwrap();
            call.write(format!("{SWITCH}\r\n")).await;
            if head.contains("/ws/silent/") {
                return while call.more().await {};
            }
            call.write(b"\x81\x06one").await;
            told.notified().await;
            call.write(b"two").await;
            // What the client still said before it knew, and its goodbye.
            let last = call.exactly(6 + 4 + 6 + 2).await;
            assert_eq!(last[..10], frame(TEXT, "last"));
            assert_eq!(last[10], 0x80 | CLOSE);
        }
    })
    .await;
    let server = upstream.gateway(&[("server.drain_s", "0")]).await;
    let mut socket = Socket::try_open(server.connect().await, "/ws/other/", "")
        .await
        .unwrap();
    assert_eq!(socket.connection.take(5).await, b"\x81\x06one");
    let silent = Socket::try_open(server.connect().await, "/ws/silent/", "").await;
    server.app.drain.begin();
    // The drain has come to the sockets in the middle of the frame.
    assert_eq!(silent.unwrap().close_code().await, 1012);
    end.notify_one();
    assert_eq!(socket.connection.take(3).await, b"two");
    socket.connection.send(frame(TEXT, "last")).await;
    assert_eq!(socket.close_code().await, 1012);
    socket
        .connection
        .send(frame(CLOSE, 1012_u16.to_be_bytes()))
        .await;
    soon("the end", socket.ended()).await;
}

#[tokio::test]
async fn a_chat_socket_that_is_django_s_goes_there() {
    let upstream = echo().await;
    let server = upstream.gateway(&[("gateway.rollout_percent", "50")]).await;
    let answer = server.send(handshake(&path_of(ID), "")).await;
    assert_eq!(answer.header("x-django"), Some("yes"));
}
