//! Workers that break the rules, or say more than anybody needs.

use tokio::{io::AsyncWriteExt, net::UnixStream};

use super::{
    ACCEPT, ANSWER, CLASS, CLOSED, DONE, ENDED, GROUP_ADD, HELLO, SEND, TEXT_OUT, Worker, event,
    message, open, server,
};
use crate::support::{
    Connection, Socket,
    socket::{CLOSE, TEXT, frame, handshake},
    until,
};

const VIOLATIONS: &str = "chatferry_host_workers_left_total{why=\"violation\"}";

#[tokio::test]
async fn a_worker_that_breaks_the_rules_is_ended_and_the_server_goes_on() {
    let (server, path) = server(&[]).await;
    let wrong: [&[u8]; 9] = [
        &[0, 0, 0, 9, 0x99, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x45],
        &[0, 0, 0, 0, 0x45],
        &message(0x41, 0, HELLO),
        &message(TEXT_OUT, 1, &[0xff]),
        &message(ENDED, 1, b"junk"),
        &message(DONE, 1, b"x"),
        &message(GROUP_ADD, 1, &[0xdd, 0xff, 0xff, 0xff, 0xff]),
        &message(0x47, 1, b"\x82\xa4code\xcd\x03\xe9\xa6reason\xa0"),
    ];
    for bytes in wrong {
        let mut worker = Worker::join(&path).await;
        worker.stream.write_all(bytes).await.unwrap();
        worker.ends_refused().await;
    }
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &message(DONE, 1, b"")] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        Worker { stream }.ends_refused().await;
    }
    assert_eq!(server.metric(VIOLATIONS).await, 11.0);
    let mut worker = Worker::join(&path).await;
    // Odd messages are ignored.
    for kind in [0x44, TEXT_OUT, DONE] {
        let body = if kind == 0x44 { ACCEPT } else { b"" };
        worker.say(kind, 12345, body).await;
    }
    for (request, name) in [
        (1, "specific!g1"),
        (2, "specific!x"),
        (3, "bad name"),
        (4, ""),
    ] {
        worker.say(SEND, request, &event(name, "a")).await;
        let (answered, error) = worker.next(ANSWER).await;
        assert_eq!(answered, request);
        assert!(
            error.windows(4).any(|it| it == b"name"),
            "{}",
            error.escape_ascii()
        );
    }
    let (mut socket, number) = open(&server, &mut worker).await;
    worker.say(TEXT_OUT, number, b"well").await;
    assert_eq!(socket.text().await, "well");
}

#[tokio::test]
async fn a_worker_that_sends_without_an_end_costs_its_socket_only() {
    let (server, path) = server(&[("ws.queue_bytes", "65536"), ("ws.queue_messages", "16")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut slow, number) = open(&server, &mut worker).await;
    let large = vec![b'x'; 60_000];
    // More than the system keeps for a client that does not read.
    for _ in 0..400 {
        worker.say(TEXT_OUT, number, &large).await;
    }
    let code = loop {
        let frame = slow.any().await.unwrap();
        if frame.opcode != TEXT {
            break frame.close_code();
        }
    };
    assert_eq!(code, 1013);
    slow.connection
        .send(frame(CLOSE, 1013u16.to_be_bytes()))
        .await;
    assert_eq!(worker.next(CLOSED).await, (number, vec![0xcd, 0x03, 0xf5]));
    let (mut socket, number) = open(&server, &mut worker).await;
    worker.say(TEXT_OUT, number, b"well").await;
    assert_eq!(socket.text().await, "well");
}

#[tokio::test]
async fn large_frames_that_a_client_does_not_read_have_a_bound_together() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let mut connection = Connection::narrow(server.address).await;
    connection.send(handshake("/ws/room/", "")).await;
    let mut slow = Socket::over(connection);
    let number = worker.accept().await;
    assert_eq!(slow.connection.head().await.status, 101);
    let large = vec![b'x'; 1_000_000];
    // Many times `ws.queue_bytes` and what the system keeps, and few frames.
    for _ in 0..30 {
        worker.say(TEXT_OUT, number, &large).await;
    }
    until("it to be noticed", async || {
        server.metric("chatferry_ws_dropped_events_total").await >= 1.0
    })
    .await;
}

#[tokio::test]
async fn classes_have_a_bound_together() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let mut class = b"\x85\xa4name\xda\xea\x60".to_vec();
    class.extend(vec![b'x'; 60_000]);
    class.extend(b"\xa6parked\xc3\xa3why\xa0\xa6source\xa1s\xa4once\x90");
    for number in 0..200 {
        worker.say(CLASS, number, &class).await;
    }
    let (mut socket, number) = open(&server, &mut worker).await;
    worker.say(TEXT_OUT, number, b"well").await;
    assert_eq!(socket.text().await, "well");
    let more = (0..200).flat_map(|number| message(CLASS, number, &class));
    // The end may come in the middle of it.
    let _ = worker.stream.write_all(&more.collect::<Vec<u8>>()).await;
    worker.ends_refused().await;
    assert_eq!(server.metric(VIOLATIONS).await, 1.0);
}
