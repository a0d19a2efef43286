//! The end of a process: what it promised is kept, its clients are told, and its exit code says
//! how it went.

use serde_json::json;

use crate::support::{
    Connection, Directory, Process, Server, Socket, request,
    socket::{TEXT, chat_message, frame, handshake, path_of},
    until,
};
use chatferry::server::Ended;

#[tokio::test]
async fn a_terminated_process_closes_its_sockets_with_1012_and_exits_with_0() {
    let directory = Directory::new();
    let server = Process::start(&directory, &["server.drain_s=30"]).await;
    let id = server.conversation().await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(server.socket(&id).await);
    }
    let mut idle = server.connect().await;
    idle.ask(request("GET", "/healthz", &[], None)).await;
    server.signal("TERM").await;
    idle.closed().await;
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 1012);
    }
    drop(sockets);
    let (code, log) = server.ended().await;
    assert_eq!(code, 0, "{log}");
}

#[tokio::test]
async fn everything_that_was_acknowledged_before_the_end_is_in_the_file() {
    let directory = Directory::new();
    let server = Process::start(&directory, &["server.drain_s=5"]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let mut heard: i64 = 0;
    for number in 0..200 {
        let message = chat_message(&number.to_string()).to_string();
        socket.connection.push(frame(TEXT, message)).await;
        if number == 100 {
            assert_eq!(socket.heard().await, "0");
            heard += 1;
            server.signal("TERM").await;
        }
    }
    while let Some(frame) = socket.next().await
        && frame.opcode == TEXT
    {
        heard += 1;
    }
    drop(socket);
    server.ended().await;
    let stored: i64 = directory.value("SELECT count(*) FROM messages");
    assert!(stored >= heard, "{heard} of {stored}");
    let again = Process::start(&directory, &[]).await;
    let mut socket = Socket::open(again.connect().await, &id).await;
    assert_eq!(
        socket.history().await.len(),
        usize::try_from(stored).unwrap()
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for number in 0..50 {
        socket.say(&number.to_string()).await;
        assert_eq!(socket.heard().await, number.to_string());
    }
    server.signal("KILL").await;
    server.ended().await;
    let again = Process::start(&directory, &[]).await;
    let mut socket = Socket::open(again.connect().await, &id).await;
    assert_eq!(socket.history().await.len(), 50);
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    let directory = Directory::new();
    let server = Process::start(&directory, &["server.drain_s=300"]).await;
    let id = server.conversation().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(server.socket(&id).await);
    }
    server.signal("INT").await;
    until("the listener to be gone", async || {
        tokio::net::TcpStream::connect(server.address)
            .await
            .is_err()
    })
    .await;
    server.signal("TERM").await;
    let (code, log) = server.ended().await;
    assert_eq!(code, 1);
    let told = "3 connections were still open when a second signal ended the drain";
    assert!(log.contains(told), "{log}");
}

#[tokio::test]
async fn a_drain_logs_how_many_connections_are_left() {
    let directory = Directory::new();
    let mut server = Process::start(&directory, &["server.drain_s=300"]).await;
    let id = server.conversation().await;
    let _sockets = [server.socket(&id).await, server.socket(&id).await];
    server.signal("TERM").await;
    server.logs("draining open=2").await;
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_opens_no_sockets() {
    let server = Server::with(&[("server.drain_s", "600")]).await;
    let id = server.conversation().await;
    // A request whose body is still to come keeps its connection through the drain.
    let mut busy = server.connect().await;
    let body = json!({"participant1_id": "a", "participant2_id": "b"});
    let expect = [("Expect", "100-continue")];
    let text = request("POST", "/api/chat/conversations/", &expect, Some(&body));
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(busy.ask(format!("{head}\r\n\r\n")).await.status, 100);
    let mut late = server.connect().await;
    let mut ready = server.connect().await;
    let readyz = request("GET", "/readyz", &[], None);
    assert_eq!(ready.ask(&readyz).await.status, 200);
    server.app.drain.begin();
    ready.push(&readyz).await;
    let answer = ready.next().await;
    assert!(answer.is_none_or(|answer| answer.status == 503));
    late.push(handshake(&path_of(&id), "")).await;
    let answer = late.next().await;
    assert!(answer.is_none_or(|answer| answer.status == 503));
    busy.send(rest).await;
    assert_eq!(busy.answer().await.status, 201);
    busy.closed().await;
    drop((busy, late, ready));
    assert_eq!(server.drained().await, Ended::Drained);
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_does_not_hold_the_drain() {
    let server = Server::with(&[("server.drain_s", "0")]).await;
    let id = server.conversation().await;
    let mut deaf = server.socket(&id).await;
    let address = server.address;
    let ended = server.drained().await;
    assert!(matches!(ended, Ended::Drained | Ended::Abandoned(..)));
    until("the listener to be gone", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    let code = deaf.next().await.map(|frame| frame.close_code());
    assert!(matches!(code, Some(1012) | None));
}

#[tokio::test]
async fn the_line_on_standard_output_tells_the_address() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    let answer = Connection::to(server.address)
        .await
        .ask(request("GET", "/readyz", &[], None))
        .await;
    assert_eq!(answer.status, 200);
    let expected = json!({"status": "ok", "store": "ok", "layer": "ok"});
    assert_eq!(answer.json(), expected);
}
