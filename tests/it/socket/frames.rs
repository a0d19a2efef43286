//! The WebSocket protocol itself: pings, closes, limits, and peers that break its rules.

use std::{pin::pin, time::Duration};

use tokio::{io::AsyncWriteExt, time::timeout};

use crate::support::{
    Connection, Directory, Process, Server, Socket,
    socket::{CLOSE, CONTINUATION, PING, PONG, TEXT, chat_message, frame, frame_with},
    until,
};

#[tokio::test]
async fn a_ping_is_answered_with_its_own_bytes_even_inside_a_message() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for payload in ["", "hello", &"x".repeat(125)] {
        socket.connection.send(frame(PING, payload)).await;
        let pong = socket.frame().await;
        assert_eq!(
            (pong.opcode, pong.payload),
            (PONG, payload.as_bytes().to_vec())
        );
    }
    let text = chat_message("in two").to_string();
    let (one, two) = text.split_at(9);
    socket.connection.send(frame_with(TEXT, one)).await;
    socket.connection.send(frame(PING, "between")).await;
    socket.connection.send(frame(PONG, "unasked")).await;
    assert_eq!(socket.frame().await.payload, b"between");
    socket.connection.send(frame(CONTINUATION, two)).await;
    assert_eq!(socket.heard().await, "in two");
}

#[tokio::test]
async fn a_close_is_answered_with_1000_whatever_its_code() {
    let server = Server::start().await;
    let id = server.conversation().await;
    for payload in [
        &b""[..],
        &[3, 0xe8],
        &[3, 0xe9, b'b', b'y', b'e'],
        &[0x0f, 0xa0],
    ] {
        let mut socket = server.socket(&id).await;
        socket.connection.send(frame(CLOSE, payload)).await;
        let close = socket.frame().await;
        assert_eq!(
            (close.opcode, close.payload),
            (CLOSE, vec![3, 0xe8]),
            "{payload:?}"
        );
        socket.ended().await;
    }
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_dropped_without_a_word() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut neighbour = server.socket(&id).await;
    for (what, bytes) in [
        ("an unmasked frame", vec![0x81, 2, b'{', b'}']),
        ("a reserved bit", frame_with(0xc1, "{}")),
        ("a reserved opcode", frame(3, "")),
        ("a reserved control opcode", frame(11, "")),
        ("a fragmented ping", frame_with(PING, "")),
        ("a long ping", frame(PING, "x".repeat(126))),
        ("a continuation of nothing", frame(CONTINUATION, "{}")),
        (
            "a message inside a message",
            [frame_with(TEXT, "{"), frame(TEXT, "{}")].concat(),
        ),
        ("text that is not UTF-8", frame(TEXT, b"\xff")),
        (
            "a length longer than need be",
            vec![0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'{', b'}'],
        ),
        ("half a close code", frame(CLOSE, [3])),
        ("a close code nobody may send", frame(CLOSE, [3, 0xed])),
        (
            "a close reason that is not UTF-8",
            frame(CLOSE, [3, 0xe8, 0xff]),
        ),
    ] {
        let mut socket = server.socket(&id).await;
        socket.connection.push(bytes).await;
        assert_eq!(socket.next().await, None, "{what}");
    }
    neighbour.works().await;
}

#[tokio::test]
async fn a_message_past_the_limit_is_refused_with_1009_and_one_within_is_not() {
    let server = Server::with(&[("ws.max_message_bytes", "1000")]).await;
    let id = server.conversation().await;
    let message = |length: usize| {
        let empty = chat_message("").to_string().len();
        chat_message(&"x".repeat(length - empty)).to_string()
    };
    // 256 bytes are allowed for the JSON around a text.
    let mut socket = server.socket(&id).await;
    socket.send_text(&message(1256)).await;
    assert_eq!(
        socket.heard().await.len(),
        1256 - chat_message("").to_string().len()
    );
    socket.connection.push(frame(TEXT, message(1257))).await;
    assert_eq!(socket.close_code().await, 1009);

    let mut socket = server.socket(&id).await;
    let text = message(1257);
    socket.connection.send(frame_with(TEXT, &text[..700])).await;
    socket
        .connection
        .push(frame(CONTINUATION, &text[700..]))
        .await;
    assert_eq!(socket.close_code().await, 1009, "fragments are added up");
    assert_eq!(server.contents(&id).await.len(), 1);
}

#[tokio::test]
async fn a_frame_that_announces_exabytes_costs_no_memory() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    let id = server.conversation().await;
    let (before, files) = (server.resident_kib(), server.open_files());
    for length in [1_u64 << 62, 1 << 40, 1 << 31, (1 << 63) - 1] {
        let mut socket = server.socket(&id).await;
        let mut bytes = vec![0x81, 0xff];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([0; 1000]);
        socket.connection.push(bytes).await;
        assert_eq!(socket.close_code().await, 1009, "{length}");
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB more");
    // A connection to the file has up to three; one may have been opened for the history.
    until("the sockets to be given back", async || {
        server.open_files() <= files + 3
    })
    .await;
}

#[tokio::test]
async fn a_silent_socket_is_pinged_and_dropped_only_if_it_does_not_answer() {
    // Time enough to answer on a busy machine.
    let times = [("ws.ping_interval_s", "1"), ("ws.ping_timeout_s", "20")];
    let server = Server::with(&times).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for _ in 0..2 {
        let ping = socket.any().await.unwrap();
        assert_eq!((ping.opcode, ping.payload.len()), (PING, 12));
        socket.connection.send(frame(PONG, ping.payload)).await;
    }
    assert_eq!(socket.any().await.unwrap().opcode, PING);
    socket.ended().await;
    until("it to be forgotten", async || {
        server.metric("chatferry_ws_open").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_slow_client_is_closed_with_1013_and_its_neighbour_hears_everything() {
    let limits = [("ws.queue_messages", "8"), ("ws.queue_bytes", "1000000")];
    let server = Server::with(&limits).await;
    let id = server.conversation().await;
    let mut slow = Socket::open(Connection::narrow(server.address).await, &id).await;
    slow.history().await;
    let mut neighbour = server.socket(&id).await;
    let content = "x".repeat(200_000);
    let mut said = 0;
    until("the slow one to be noticed", async || {
        neighbour.say(&format!("{said}{content}")).await;
        assert!(neighbour.heard().await.starts_with(&said.to_string()));
        said += 1;
        server.metric("chatferry_ws_dropped_events_total").await >= 1.0
    })
    .await;
    // It reads nothing for longer than anybody else has for the close frame, and says meanwhile that
    // it lives.
    let mut silent = server.socket(&id).await;
    silent
        .connection
        .push(&frame(TEXT, "x".repeat(2 << 20))[..14])
        .await;
    assert_eq!(silent.close_code().await, 1009);
    let mut given_up = pin!(silent.ended());
    while timeout(Duration::from_millis(500), &mut given_up)
        .await
        .is_err()
    {
        slow.connection.send(frame(PING, "")).await;
    }
    let mut told = 0;
    let code = loop {
        let next = slow.frame().await;
        match next.opcode {
            CLOSE => break next.close_code(),
            TEXT => told += 1,
            opcode => assert_eq!(opcode, PONG),
        }
    };
    assert_eq!(code, 1013);
    assert!(told < said, "{told}");
    let goodbye = frame(CLOSE, code.to_be_bytes());
    slow.connection.send(goodbye).await;
    slow.ended().await;
    let closed = "chatferry_ws_closed_total{code=\"1013\"}";
    until("the end", async || server.metric(closed).await > 0.5).await;
    neighbour.works().await;
    assert_eq!(
        server.contents(&id).await.len(),
        said + 1,
        "its reconnect finds everything"
    );
}

#[tokio::test]
async fn sockets_that_vanish_are_forgotten() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut neighbour = server.socket(&id).await;
    for _ in 0..50 {
        let _ = server.socket(&id).await;
    }
    until("them to be forgotten", async || {
        server.metric("chatferry_ws_open").await <= 1.0
    })
    .await;
    neighbour.works().await;
    until("their connections to be gone", async || {
        server.metric("chatferry_connections_open").await <= 2.0
    })
    .await;
}

#[tokio::test]
async fn who_reads_no_answers_is_not_read_any_further() {
    const ENOUGH: usize = 64 * 1024 * 1024;
    let directory = Directory::new();
    // So many pings are a flood, which has an end of its own.
    let settings = ["ws.ping_interval_s=3600", "ws.frames_per_s=0"];
    let server = Process::start(&directory, &settings).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let ping = frame(PING, [b'x'; 125]);
    let pings = ping.repeat(500);
    let mut sent = 0;
    // What the kernel and the server hold is a few megabytes; the last write may be half done.
    loop {
        tokio::select! {
            written = socket.connection.io.write(&pings[sent % pings.len()..]) => {
                sent += written.unwrap();
            }
            () = server.rests() => break,
        }
        assert!(
            sent < ENOUGH,
            "the server takes everything and keeps the answers"
        );
    }
    for _ in 0..sent / ping.len() {
        assert_eq!(socket.frame().await.opcode, PONG);
    }
    // The half that the kernel took of the last one.
    if sent % ping.len() > 0 {
        socket.connection.send(&ping[sent % ping.len()..]).await;
        assert_eq!(socket.frame().await.opcode, PONG);
    }
    socket.works().await;
}
