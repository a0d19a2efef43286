//! Hosted sockets, with a worker that is played here: it says what workers say, and what they must not.
//! Real workers with real consumers are in `compat/consumers`.

mod floods;
mod hostile;
mod moving;
mod remote;
mod routes;
mod web;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
};

use crate::support::{
    Directory, Process, Server, Socket,
    socket::{BINARY, CLOSE, PING, PONG, frame, handshake},
    soon, until,
};

// Messages of Chatferry.
pub const OPEN: u8 = 0x02;
const TEXT_IN: u8 = 0x03;
const BINARY_IN: u8 = 0x04;
const EVENT: u8 = 0x05;
pub const CLOSED: u8 = 0x06;
const ANSWER: u8 = 0x08;
const FORGET: u8 = 0x09;

// Messages of a worker.
const CLASS: u8 = 0x42;
const SERVES: u8 = 0x43;
const TEXT_OUT: u8 = 0x45;
const BINARY_OUT: u8 = 0x46;
pub const DONE: u8 = 0x48;
pub const ENDED: u8 = 0x49;
const GROUP_ADD: u8 = 0x4a;
const GROUP_SEND: u8 = 0x4c;
const SEND: u8 = 0x4d;

/// A greeting of version 3, an accept without anything, a close with 4001 and `bye`.
const HELLO: &[u8] = b"\x84\xa7version\x03\xa3pid\x07\xabapplication\xa1a\xa5layer\xa0";
const ACCEPT: &[u8] = b"\x82\xabsubprotocol\xc0\xa7headers\x90";
pub const CLOSE_4001: &[u8] = b"\x82\xa4code\xcd\x0f\xa1\xa6reason\xa3bye";

fn message(kind: u8, subject: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(9 + body.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.push(kind);
    bytes.extend(subject.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A text in msgpack.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xd9, u8::try_from(text.len()).unwrap()];
    bytes.extend(text.as_bytes());
    bytes
}

/// A name and an event of this type, as they are sent to groups and channels.
fn event(name: &str, kind: &str) -> Vec<u8> {
    let mut event = b"\x81\xa4type".to_vec();
    event.extend(text(kind));
    let mut body = vec![0x92];
    body.extend(text(name));
    body.extend([0xc4, u8::try_from(event.len()).unwrap()]);
    body.extend(event);
    body
}

fn pair(one: &str, two: &str) -> Vec<u8> {
    [vec![0x92], text(one), text(two)].concat()
}

/// A worker that has joined.
pub struct Worker<S = UnixStream> {
    stream: S,
}

impl Worker {
    pub async fn join(path: &Path) -> Self {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(&message(0x41, 0, HELLO)).await.unwrap();
        let mut worker = Worker { stream };
        let (kind, _, body) = worker.any().await;
        assert_eq!(kind, 0x01);
        assert!(body.windows(9).any(|it| it == b"specific!"), "{body:?}");
        worker
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Worker<S> {
    pub async fn any(&mut self) -> (u8, u64, Vec<u8>) {
        let read = async {
            let length = self.stream.read_u32().await.unwrap();
            let kind = self.stream.read_u8().await.unwrap();
            let subject = self.stream.read_u64().await.unwrap();
            let mut body = vec![0; usize::try_from(length).unwrap() - 9];
            self.stream.read_exact(&mut body).await.unwrap();
            (kind, subject, body)
        };
        soon("a message of Chatferry", read).await
    }

    /// The next message that is no ping, which must be of this kind.
    pub async fn next(&mut self, wanted: u8) -> (u64, Vec<u8>) {
        loop {
            let (kind, subject, body) = self.any().await;
            if kind != 0x0a {
                assert_eq!(kind, wanted, "{subject} {}", body.escape_ascii());
                return (subject, body);
            }
        }
    }

    pub async fn say(&mut self, kind: u8, subject: u64, body: &[u8]) {
        self.push(&message(kind, subject, body)).await;
    }

    pub async fn push(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn accept(&mut self) -> u64 {
        let (socket, _) = self.next(OPEN).await;
        self.say(0x44, socket, ACCEPT).await;
        self.say(DONE, socket, b"").await;
        socket
    }

    /// Chatferry has ended the connection.
    pub async fn ends_refused(mut self) {
        let mut rest = Vec::new();
        soon("the end", self.stream.read_to_end(&mut rest))
            .await
            .ok();
    }
}

/// A server that hosts, and where its workers join.
async fn server(settings: &[(&str, &str)]) -> (Server, PathBuf) {
    let directory = Arc::new(Directory::new());
    let path = directory.path().join("workers.sock");
    let socket = path.display().to_string();
    let mut all = vec![("host.socket", &*socket), ("host.workers", "0")];
    all.extend(settings);
    (Server::on(directory, &all).await, path)
}

async fn shake(server: &Server, path: &str) -> Socket {
    let mut connection = server.connect().await;
    connection.send(handshake(path, "")).await;
    Socket::over(connection)
}

/// A socket that the worker has accepted, and its number.
async fn open(server: &Server, worker: &mut Worker) -> (Socket, u64) {
    let mut socket = shake(server, "/ws/room/").await;
    let number = worker.accept().await;
    let answer = socket.connection.head().await;
    assert_eq!(answer.status, 101);
    (socket, number)
}

#[tokio::test]
async fn a_hosted_socket_opens_talks_and_closes() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let mut socket = shake(&server, "/ws/room/%ED%99%8D/?a=1").await;
    let (number, scope) = worker.next(OPEN).await;
    for part in ["/ws/room/홍/", "/ws/room/%ED%99%8D/", "a=1", "websocket"] {
        assert!(
            scope.windows(part.len()).any(|it| it == part.as_bytes()),
            "{part}"
        );
    }
    let accept = b"\x82\xabsubprotocol\xc0\xa7headers\x92\x92\xc4\x03x-a\xc4\x011\x92\xc4\x06server\xc4\x01x";
    worker.say(0x44, number, accept).await;
    worker.say(TEXT_OUT, number, "안녕".as_bytes()).await;
    worker.say(BINARY_OUT, number, &[0, 255]).await;
    worker.say(DONE, number, b"").await;
    let answer = socket.connection.head().await;
    assert_eq!((answer.status, answer.header("x-a")), (101, Some("1")));
    assert_eq!(socket.text().await, "안녕");
    assert_eq!(socket.frame().await.payload, [0, 255]);
    socket.send_text("one").await;
    socket.connection.send(frame(BINARY, [1, 2])).await;
    assert_eq!(worker.next(TEXT_IN).await, (number, b"one".to_vec()));
    worker.say(DONE, number, b"").await;
    assert_eq!(worker.next(BINARY_IN).await, (number, vec![1, 2]));
    worker.say(DONE, number, b"").await;
    socket
        .connection
        .send(frame(CLOSE, 4001u16.to_be_bytes()))
        .await;
    assert_eq!(socket.close_code().await, 1000, "as Daphne answers");
    assert_eq!(worker.next(CLOSED).await, (number, vec![0xcd, 0x0f, 0xa1]));
    worker.say(ENDED, number, &[0xc2]).await;
    until("the socket is gone", async || {
        server.metric("chatferry_host_ws_open").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_socket_has_one_call_at_a_time_and_pings_are_answered_meanwhile() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    for text in ["one", "two"] {
        socket.send_text(text).await;
    }
    assert_eq!(worker.next(TEXT_IN).await.1, b"one");
    socket.connection.send(frame(PING, b"p")).await;
    assert_eq!(socket.any().await.unwrap().opcode, PONG);
    worker.say(TEXT_OUT, number, b"said in the first").await;
    assert_eq!(socket.text().await, "said in the first");
    // Whatever else the worker hears first, it is not the second frame.
    worker
        .say(GROUP_ADD, 9, &pair("room", "specific!s999"))
        .await;
    assert_eq!(worker.next(ANSWER).await, (9, vec![]));
    worker.say(DONE, number, b"").await;
    assert_eq!(worker.next(TEXT_IN).await.1, b"two");
}

#[tokio::test]
async fn the_end_of_an_application_is_that_of_its_socket_as_on_daphne() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    for (kind, body, code) in [
        (ENDED, &[0xc3][..], 1011),
        (ENDED, &[0xc2], 1000),
        (0x47, CLOSE_4001, 4001),
    ] {
        let (mut socket, number) = open(&server, &mut worker).await;
        worker.say(TEXT_OUT, number, b"before").await;
        worker.say(kind, number, body).await;
        worker.say(TEXT_OUT, number, b"after").await;
        assert_eq!(socket.text().await, "before");
        let end = socket.frame().await;
        assert_eq!(end.close_code(), code);
        socket.connection.send(frame(CLOSE, end.payload)).await;
        if kind == 0x47 {
            assert_eq!(worker.next(CLOSED).await, (number, vec![0xcd, 0x0f, 0xa1]));
            worker.say(ENDED, number, &[0xc2]).await;
        }
    }
}

#[tokio::test]
async fn a_handshake_is_refused_as_on_daphne() {
    let (server, path) = server(&[("host.call_timeout_s", "1")]).await;
    let mut none = shake(&server, "/ws/room/").await;
    assert_eq!(none.connection.head().await.status, 503, "no worker");
    let mut worker = Worker::join(&path).await;
    let foreign = b"\x82\xabsubprotocol\xa1x\xa7headers\x90";
    for (kind, body, status) in [
        (0x47, CLOSE_4001, 403),
        (ENDED, &[0xc3][..], 500),
        (TEXT_OUT, b"early", 500),
        (0x44, foreign, 500),
        (0x4e, b"", 503),
    ] {
        let mut socket = shake(&server, "/ws/room/").await;
        let (number, _) = worker.next(OPEN).await;
        worker.say(kind, number, body).await;
        assert_eq!(socket.connection.head().await.status, status, "{kind:#x}");
        if kind != ENDED {
            assert_eq!(worker.next(CLOSED).await, (number, vec![0xcd, 0x03, 0xee]));
            worker.say(ENDED, number, &[0xc2]).await;
        }
    }
    let mut odd = shake(&server, "/ws/room/").await;
    drop(odd.connection);
    odd = shake(&server, "/ws/room/").await;
    // One that has gone is closed for the application too, whenever that is seen.
    let mut told = Vec::new();
    while told.len() < 3 {
        let (kind, number, _) = worker.any().await;
        if kind != 0x0a {
            told.push((kind, number));
        }
    }
    let gone = told.iter().find(|it| it.0 == CLOSED).unwrap().1;
    assert!(told.contains(&(OPEN, gone)), "{told:?}");
    drop(odd);
}

#[tokio::test]
async fn events_of_a_group_reach_its_members_in_their_order() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let (_one, first) = open(&server, &mut worker).await;
    let (_two, second) = open(&server, &mut worker).await;
    for (request, number) in [(1, first), (2, second)] {
        let name = format!("specific!s{number}");
        worker.say(GROUP_ADD, request, &pair("room", &name)).await;
        assert_eq!(worker.next(ANSWER).await, (request, vec![]));
    }
    worker.say(GROUP_SEND, 3, &event("room", "a")).await;
    worker.say(GROUP_SEND, 4, &event("room", "b")).await;
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let (kind, subject, body) = worker.any().await;
        if kind == EVENT {
            heard.push((subject, *body.last().unwrap()));
            worker.say(DONE, subject, b"").await;
        }
    }
    for number in [first, second] {
        let of: Vec<u8> = heard
            .iter()
            .filter(|it| it.0 == number)
            .map(|it| it.1)
            .collect();
        assert_eq!(of, b"ab");
    }
    worker
        .say(SEND, 5, &event(&format!("specific!s{second}"), "c"))
        .await;
    loop {
        let (kind, subject, body) = worker.any().await;
        if kind == EVENT {
            assert_eq!((subject, body.last()), (second, Some(&b'c')));
            break;
        }
    }
}

#[tokio::test]
async fn a_pure_handler_is_called_for_one_member_and_all_get_its_bytes() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let class = b"\x85\xa4name\xa1C\xa6parked\xc3\xa3why\xa0\xa6source\xa1s\xa4once\x91\xa1a";
    worker.say(CLASS, 1, class).await;
    let mut sockets = Vec::new();
    for request in 0..5 {
        let (socket, number) = open(&server, &mut worker).await;
        worker.say(SERVES, number, &[1]).await;
        let name = format!("specific!s{number}");
        worker.say(GROUP_ADD, request, &pair("room", &name)).await;
        assert_eq!(worker.next(ANSWER).await, (request, vec![]));
        sockets.push(socket);
    }
    worker.say(GROUP_SEND, 9, &event("room", "a")).await;
    let mut calls = 0;
    let mut answered = false;
    while calls == 0 || !answered {
        let (kind, subject, _) = worker.any().await;
        match kind {
            EVENT => {
                calls += 1;
                worker.say(TEXT_OUT, subject, b"for all").await;
                worker.say(DONE, subject, b"").await;
            }
            ANSWER => answered = true,
            _ => {}
        }
    }
    for socket in &mut sockets {
        assert_eq!(socket.text().await, "for all");
    }
    assert_eq!(calls, 1);
    let once = "chatferry_host_events_encoded_once_total";
    assert_eq!(server.metric(once).await, 4.0);
}

#[tokio::test]
async fn sockets_and_exceptions_are_counted_by_class_and_calls_under_way() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let class = b"\x85\xa4name\xa6a.Room\xa6parked\xc3\xa3why\xa0\xa6source\xa1s\xa4once\x90";
    worker.say(CLASS, 1, class).await;
    let parked = "chatferry_host_class_ws_open{class=\"a.Room\",level=\"parked\"}";
    let raised = "chatferry_host_exceptions_total{class=\"a.Room\"}";
    let calls = "chatferry_host_calls_open";
    let (mut socket, number) = open(&server, &mut worker).await;
    worker.say(SERVES, number, &[1]).await;
    until("the class is known", async || {
        server.metric(parked).await == 1.0
    })
    .await;
    assert_eq!(server.metric(calls).await, 0.0);
    socket.send_text("a").await;
    worker.next(TEXT_IN).await;
    assert_eq!(server.metric(calls).await, 1.0);
    worker.say(ENDED, number, &[0xc3]).await;
    assert_eq!(socket.close_code().await, 1011);
    until("the socket is gone", async || {
        server.metric(parked).await == 0.0
    })
    .await;
    assert_eq!(server.metric(raised).await, 1.0);
    let mut refused = shake(&server, "/ws/room/").await;
    let (number, _) = worker.next(OPEN).await;
    worker.say(SERVES, number, &[1]).await;
    worker.say(ENDED, number, &[0xc3]).await;
    assert_eq!(refused.connection.head().await.status, 500);
    assert_eq!(server.metric(raised).await, 2.0);
    assert_eq!(server.metric(calls).await, 0.0);
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_its_socket_and_no_other() {
    let (server, path) = server(&[("host.call_timeout_s", "1")]).await;
    let mut worker = Worker::join(&path).await;
    let (mut late, number) = open(&server, &mut worker).await;
    late.send_text("never answered").await;
    assert_eq!(worker.next(TEXT_IN).await.0, number);
    assert_eq!(late.close_code().await, 1011);
    assert_eq!(worker.next(FORGET).await.0, number);
    let (mut socket, number) = open(&server, &mut worker).await;
    worker.say(TEXT_OUT, number, b"well").await;
    assert_eq!(socket.text().await, "well");
    let late = server
        .metric("chatferry_host_failures_total{kind=\"late\"}")
        .await;
    assert_eq!(late, 1.0);
}

#[tokio::test]
async fn the_sockets_of_a_worker_that_is_gone_are_closed_with_1012() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let (mut one, _) = open(&server, &mut worker).await;
    drop(worker);
    assert_eq!(one.close_code().await, 1012);
    let mut other = Worker::join(&path).await;
    let (_two, number) = open(&server, &mut other).await;
    other.say(TEXT_OUT, number, b"well").await;
}

#[tokio::test]
async fn the_chat_keeps_its_paths_unless_a_route_names_them() {
    let chat = "/ws/chat/6ba7b810-9dad-11d1-80b4-00c04fd430c8/";
    let (server, path) = server(&[]).await;
    let _worker = Worker::join(&path).await;
    for (target, status) in [
        (chat, 403),
        ("/ws/chat/lobby/", 500),
        ("/other/room/", 500),
        ("//ws/room/", 500),
        ("/ws/../ws/room/", 500),
        ("/ws/x/..%2fchat/lobby/", 500),
        ("/ws/room/%2e%2e/chat/lobby/", 500),
    ] {
        let mut socket = shake(&server, target).await;
        assert_eq!(socket.connection.head().await.status, status, "{target}");
    }
    drop(server);
    let (server, path) = self::server(&[("host.routes", "/,/ws/chat/")]).await;
    let mut worker = Worker::join(&path).await;
    let mut sockets = Vec::new();
    for target in [chat, "/ws/chat/lobby/", "/other/"] {
        let mut socket = shake(&server, target).await;
        worker.accept().await;
        assert_eq!(socket.connection.head().await.status, 101, "{target}");
        // None has gone, so the worker hears of the next one only.
        sockets.push(socket);
    }
}

#[tokio::test]
async fn a_drain_closes_hosted_sockets_and_lets_their_applications_finish() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    server.app.drain.begin();
    assert_eq!(socket.close_code().await, 1012);
    socket
        .connection
        .send(frame(CLOSE, 1012u16.to_be_bytes()))
        .await;
    assert_eq!(worker.next(CLOSED).await, (number, vec![0xcd, 0x03, 0xf4]));
    worker.say(ENDED, number, &[0xc2]).await;
    server.ended().await;
}

#[tokio::test]
async fn the_log_says_at_which_level_a_class_is_served() {
    for (hibernate, parked) in [("false", "parked"), ("true", "hibernated")] {
        let directory = Directory::new();
        let path = directory.path().join("workers.sock");
        let settings = [
            format!("host.socket={}", path.display()),
            "host.workers=0".to_owned(),
            format!("host.hibernate={hibernate}"),
        ];
        let settings = settings.each_ref().map(String::as_str);
        let mut process = Process::start(&directory, &settings).await;
        let mut worker = Worker::join(&path).await;
        for (number, level, is_parked) in [(1, parked, b"\xc3"), (2, "awake", b"\xc2")] {
            let class = [
                b"\x85\xa4name\xa5app.C\xa6parked",
                &is_parked[..],
                b"\xa3why\xa0\xa6source\xa15\xa4once\x90",
            ];
            worker.say(CLASS, number, &class.concat()).await;
            process.logs(&format!("level=\"{level}\"")).await;
        }
    }
}
