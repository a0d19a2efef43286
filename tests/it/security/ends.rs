//! The lines about sockets that are closed, hosted and Django's too, and about orders to disconnect:
//! the reason, who and where, and nothing of what was said.

use std::sync::Arc;

use serde_json::{Value, json};

use super::log::Logged;
use crate::{
    auth::token::token_of,
    gateway::policy::django,
    host::{CLOSE_4001, CLOSED, DONE, ENDED, OPEN, Worker},
    redis::instance::Redis,
    support::{
        Directory, Server, Socket,
        process::run,
        socket::{CLOSE, PING, TEXT, chat_message, frame, handshake},
        soon, until,
    },
};

/// Part of all that is said here.
const SECRET: &str = "for your eyes only";

/// A line's event, reason, client and user.
fn facts(line: &Value) -> [&str; 4] {
    ["event", "reason", "client", "user"].map(|field| line[field].as_str().unwrap_or("-"))
}

/// Waits for a line of the security log with these facts, and gives it.
async fn line(it: &Logged, wanted: [&str; 4]) -> Value {
    let found = || {
        let mut lines = it.about(wanted[0]).into_iter();
        lines.find(|line| facts(line) == wanted)
    };
    until("the line", async || found().is_some()).await;
    found().unwrap()
}

/// What was logged has neither what was said nor a token.
fn keeps_quiet(it: &Logged) {
    let text = it.text();
    for kept in [SECRET, "eyJ", "token="] {
        assert!(!text.contains(kept), "{kept} in {text}");
    }
}

/// Sends nonsense until the socket is closed; returns the code.
async fn flood(socket: &mut Socket) -> u16 {
    let nonsense = frame(TEXT, format!("{{{SECRET}")).repeat(60);
    let closed = async {
        loop {
            socket.connection.push(&nonsense).await;
            for _ in 0..60 {
                let frame = socket.any().await.expect("a close frame before the end");
                if frame.opcode == CLOSE {
                    return frame.close_code();
                }
            }
        }
    };
    soon("the close", closed).await
}

const FLOODED: [&str; 2] = ["ws.frames_per_s=500", "ws.flood_s=1"];

#[tokio::test]
async fn a_flood_is_logged_when_it_is_slowed_down_and_when_it_is_closed() {
    let it = Logged::with(&FLOODED).await;
    let id = it.conversation("alice", "bob").await;
    let token = token_of("alice");
    let mut socket = it.socket(&id, "192.0.2.1", &token, "").await.unwrap();
    assert_eq!(flood(&mut socket).await, 1008);
    for facts in [
        ["limit", "frames", "192.0.2.1", "alice"],
        ["closed", "flooding", "192.0.2.1", "alice"],
    ] {
        assert_eq!(line(&it, facts).await["conversation_id"], json!(id));
    }
    keeps_quiet(&it);
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_logged() {
    let it = Logged::with(&["ws.queue_messages=1"]).await;
    let id = it.conversation("alice", "bob").await;
    let token = token_of("alice");
    let mut alice = it.socket(&id, "192.0.2.1", &token, "").await.unwrap();
    let bob = token_of("bob");
    let mut bob = it.socket(&id, "192.0.2.2", &bob, "").await.unwrap();
    let mut message = chat_message(SECRET);
    message["sender_id"] = json!("bob");
    // Those that share a commit come at once, and there is room for one.
    let many = frame(TEXT, message.to_string()).repeat(100);
    bob.connection.push(many).await;
    let code = loop {
        let frame = alice.frame().await;
        if frame.opcode != TEXT {
            break frame.close_code();
        }
    };
    assert_eq!(code, 1013);
    let closed = line(&it, ["closed", "slow", "192.0.2.1", "alice"]).await;
    assert_eq!(closed["conversation_id"], json!(id));
    keeps_quiet(&it);
}

#[tokio::test]
async fn an_order_to_disconnect_is_logged_with_each_socket_that_it_closes() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let hosts = format!("layer.hosts={}", redis.url());
    let layer = ["layer.backend=redis", hosts.as_str()];
    let it = Logged::with(&layer).await;
    let id = it.conversation("alice", "bob").await;
    let order = async |of: &[&str]| {
        let settings = ["--set", layer[0], "--set", layer[1]];
        let all = [&["disconnect"], of, &settings].concat();
        let done = run(&it.directory, &all).await;
        assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    };
    order(&["--user", "carol"]).await;
    line(&it, ["disconnect", "no socket", "-", "carol"]).await;
    let open = async |user: &str, client: &str| {
        let socket = it.socket(&id, client, &token_of(user), "").await;
        socket.unwrap()
    };
    let mut alice = open("alice", "192.0.2.1").await;
    let mut bob = open("bob", "192.0.2.2").await;
    order(&["--user", "alice"]).await;
    assert_eq!(alice.close_code().await, 1008);
    line(&it, ["disconnect", "ordered", "-", "alice"]).await;
    line(&it, ["closed", "refused", "192.0.2.1", "alice"]).await;
    order(&["--conversation", &id]).await;
    assert_eq!(bob.close_code().await, 1008);
    let ordered = line(&it, ["disconnect", "ordered", "-", "-"]).await;
    assert_eq!(ordered["conversation_id"], json!(id));
    line(&it, ["closed", "refused", "192.0.2.2", "bob"]).await;
    keeps_quiet(&it);
}

#[tokio::test]
async fn what_is_refused_on_a_socket_of_django_s_is_logged_as_on_ours() {
    let directory = Arc::new(Directory::new());
    let open = Server::on(Arc::clone(&directory), &[]).await;
    let id = open.conversation().await;
    drop(open);
    let upstream = django().await;
    let url = format!("gateway.upstream={}", upstream.url());
    let settings = [
        &FLOODED[..],
        &[
            &url,
            "gateway.rollout_percent=0",
            "limits.user.typing=1/day",
        ],
    ];
    let it = Logged::on(directory, &settings.concat()).await;
    let path = format!("/ws/chat/{id}/?token={}", token_of("bob"));
    let client = "X-Forwarded-For: 192.0.2.1\r\n";
    let socket = Socket::try_open(it.server.connect().await, &path, client).await;
    let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let forged = json!({"type": "chat_message", "sender_id": "alice", "content": SECRET});
    socket.send(&forged).await;
    socket.error().await;
    for _ in 0..2 {
        let typing = json!({"type": "typing", "user_id": "bob"});
        socket.send(&typing).await;
    }
    socket.error().await;
    assert_eq!(flood(&mut socket).await, 1008);
    for (event, reason) in [
        ("policy", "speak"),
        ("limit", "typing"),
        ("limit", "frames"),
        ("closed", "flooding"),
    ] {
        let line = line(&it, [event, reason, "192.0.2.1", "bob"]).await;
        assert_eq!(line["conversation_id"], json!(id), "{reason}");
    }
    keeps_quiet(&it);
}

/// Shakes hands for a hosted socket of this client.
async fn shake(it: &Logged, client: &str) -> Socket {
    let path = format!("/ws/room/?token={}", token_of("alice"));
    let headers = format!("X-Forwarded-For: {client}\r\n");
    let mut connection = it.server.connect().await;
    connection.send(handshake(&path, &headers)).await;
    Socket::over(connection)
}

#[tokio::test]
async fn what_is_refused_to_clients_of_hosted_sockets_is_logged_with_their_path() {
    let it = Logged::with(&[
        "host.socket=workers.sock",
        "host.workers=0",
        "host.frames_per_s=10",
        "ws.queue_messages=1",
        "limits.address.sockets=2/day",
    ])
    .await;
    let mut worker = Worker::join(&it.directory.path().join("workers.sock")).await;
    let path = async |facts: [&str; 4]| line(&it, facts).await["path"] == "/ws/room/";

    let mut denied = shake(&it, "192.0.2.1").await;
    let (number, _) = worker.next(OPEN).await;
    worker.say(0x47, number, CLOSE_4001).await;
    assert_eq!(denied.connection.head().await.status, 403);
    assert!(path(["policy", "application", "192.0.2.1", "-"]).await);
    worker.next(CLOSED).await;
    worker.say(ENDED, number, &[0xc2]).await;

    let mut socket = shake(&it, "192.0.2.1").await;
    let number = worker.accept().await;
    assert_eq!(socket.connection.head().await.status, 101);
    let mut third = shake(&it, "192.0.2.1").await;
    assert_eq!(third.connection.head().await.status, 429);
    assert!(path(["limit", "sockets", "192.0.2.1", "-"]).await);

    let pings = frame(PING, SECRET).repeat(20);
    socket.connection.push(pings).await;
    assert!(path(["limit", "frames", "192.0.2.1", "-"]).await);
    for _ in 0..400 {
        worker.say(0x45, number, &vec![b'x'; 60_000]).await;
    }
    assert!(path(["closed", "slow", "192.0.2.1", "-"]).await);
    worker.say(DONE, number, b"").await;
    keeps_quiet(&it);
}
