//! Whole servers on one Redis: sockets on all of them see one stream, in any weather.

use std::sync::Arc;

use serde_json::json;

use super::instance::Redis;
use crate::{
    auth::{token::BY_SECRET, wire::Caller},
    support::{Directory, Process, Server, process::run, soon, until},
};

/// A server on this Redis whose database others may share.
async fn server(redis: &Redis, directory: &Arc<Directory>, backend: &str) -> Server {
    let flags = [("layer.backend", backend), ("layer.hosts", &redis.url())];
    Server::on(Arc::clone(directory), &flags).await
}

#[tokio::test]
async fn sockets_on_two_servers_see_one_stream_while_redis_comes_and_goes() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let directory = Arc::new(Directory::new());
        let servers = [
            server(&redis, &directory, backend).await,
            server(&redis, &directory, backend).await,
        ];
        let id = servers[0].conversation().await;
        let mut sockets = Vec::new();
        for server in servers.iter().chain(&servers) {
            sockets.push(server.socket(&id).await);
        }
        for round in 0..3 {
            let (before, away, after) = (
                format!("before {round}"),
                format!("away {round}"),
                format!("after {round}"),
            );
            sockets[0].say(&before).await;
            for socket in &mut sockets {
                assert_eq!(socket.heard().await, before, "{backend}");
            }
            redis.kill();
            sockets[1].say(&away).await;
            assert_eq!(sockets[1].heard().await, away);
            assert_eq!(sockets[3].heard().await, away);
            redis.run().await;
            // The other server finds it in the store.
            assert_eq!(sockets[0].heard().await, away, "{backend}");
            assert_eq!(sockets[2].heard().await, away);
            for server in &servers {
                until("readiness", async || {
                    server.get("/readyz").await.status == 200
                })
                .await;
            }
            sockets[2].say(&after).await;
            for socket in &mut sockets {
                assert_eq!(socket.heard().await, after, "{backend}");
            }
        }
        for socket in &mut sockets {
            socket.works().await;
        }
    }
}

#[tokio::test]
async fn a_socket_opens_without_redis_and_readyz_tells_who_is_missing() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = server(&redis, &Arc::new(Directory::new()), "redis").await;
    let id = server.conversation().await;
    redis.kill();
    until("the notice", async || {
        server.get("/readyz").await.status == 503
    })
    .await;
    assert!(server.get("/readyz").await.text().contains("layer"));
    let (mut one, mut other) = (server.socket(&id).await, server.socket(&id).await);
    one.say("hello").await;
    assert_eq!(one.heard().await, "hello");
    assert_eq!(other.heard().await, "hello");
    one.send(&json!({"type": "typing", "user_id": "a", "is_typing": true}))
        .await;
    assert_eq!(other.json().await["type"], "typing_status");
}

#[tokio::test]
async fn an_order_closes_sockets_on_every_server_whoever_gives_it() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let directory = Arc::new(Directory::new());
        let mut servers = Vec::new();
        for _ in 0..2 {
            let url = redis.url();
            let layer = [("layer.backend", backend), ("layer.hosts", url.as_str())];
            let settings = [&BY_SECRET[..], &layer].concat();
            servers.push(Server::on(Arc::clone(&directory), &settings).await);
        }
        let alice = Caller::known(&servers[0], "alice");
        let id = alice.conversation_of("alice", "bob").await;
        let open = async |user: &str| {
            let mut sockets = Vec::new();
            for server in &servers {
                let socket = Caller::known(server, user).socket(&id).await;
                let mut socket = socket.ok().unwrap();
                socket.history().await;
                sockets.push(socket);
            }
            sockets
        };
        let backend = format!("layer.backend={backend}");
        let hosts = format!("layer.hosts={}", redis.url());
        let order = async |order: &[&str]| {
            let settings = ["--set", &backend, "--set", &hosts];
            let done = run(&directory, &[order, &settings].concat()).await;
            assert_eq!((done.code, done.stderr.as_str()), (0, ""));
        };
        let mut bobs = open("bob").await;
        for as_django_does in [false, true] {
            let mut sockets = open("alice").await;
            if as_django_does {
                let event =
                    r#"{"type": "chatferry.control", "order": "disconnect", "user": "alice"}"#;
                order(&["layer", "send", "chatferry-control", event]).await;
            } else {
                order(&["disconnect", "--user", "alice"]).await;
            }
            for socket in &mut sockets {
                assert_eq!(socket.close_code().await, 1008, "{backend}");
            }
        }
        let typing = json!({"type": "typing", "user_id": "bob"});
        bobs[0].send(&typing).await;
        for socket in &mut bobs {
            assert_eq!(socket.json().await["type"], "typing_status");
        }
        order(&["disconnect", "--conversation", &id]).await;
        for socket in &mut bobs {
            assert_eq!(socket.close_code().await, 1008, "{backend}");
        }
    }
}

#[tokio::test]
async fn a_disconnect_that_reaches_nobody_says_so() {
    let directory = Directory::new();
    let alone = run(&directory, &["disconnect", "--user", "alice"]).await;
    assert_eq!(alone.code, 1);
    assert!(alone.stderr.contains("layer.backend = redis"), "{alone:?}");
    let nobody = run(&directory, &["disconnect"]).await;
    assert_eq!(nobody.code, 2, "{nobody:?}");
    let away = ["layer.backend=redis", "layer.hosts=redis://127.0.0.1:1/0"];
    let order = [
        "disconnect",
        "--user",
        "alice",
        "--set",
        away[0],
        "--set",
        away[1],
    ];
    let away = run(&directory, &order).await;
    assert_eq!(away.code, 1);
    assert!(away.stderr.contains("start Redis"), "{away:?}");
}

#[tokio::test]
async fn an_event_of_django_code_is_shown_if_the_settings_list_it() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = redis.url();
    let flags = [
        ("layer.backend", "redis"),
        ("layer.hosts", &*url),
        ("layer.passthrough", "conversation_closed"),
    ];
    let server = Server::with(&flags).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let directory = Directory::new();
    let hosts = format!("layer.hosts={url}");
    let group = format!("chat_{id}");
    let send = async |json: &str| {
        let arguments = [
            "layer",
            "send",
            &group,
            json,
            "--set",
            "layer.backend=redis",
            "--set",
            &hosts,
        ];
        run(&directory, &arguments).await
    };
    assert_eq!(send(r#"{"type": "nobody.knows", "n": 1}"#).await.code, 0);
    assert_eq!(
        send(r#"{"type": "message.read", "user_id": "a"}"#)
            .await
            .code,
        0
    );
    let closed = r#"{"type": "conversation.closed", "by": "관리자", "at": [1, 2]}"#;
    assert_eq!(send(closed).await.code, 0);
    let shown = soon("the event", socket.json()).await;
    assert_eq!(
        shown,
        json!({"type": "conversation.closed", "by": "관리자", "at": [1, 2]})
    );
    let typing = r#"{"type": "typing.status", "x": 1, "is_typing": 1, "user_id": null}"#;
    assert_eq!(send(typing).await.code, 0);
    let text = socket.text().await;
    assert_eq!(
        text,
        r#"{"type": "typing_status", "user_id": null, "is_typing": 1}"#
    );
    for why in ["unknown_type", "missing_field"] {
        let name = format!("chatferry_layer_rejected_total{{why=\"{why}\"}}");
        assert_eq!(server.metric(&name).await, 1.0, "{why}");
    }
    let refused = send(r#"{"type": "websocket.receive", "text": "{}"}"#).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("must be the name of an event handler"),
        "{}",
        refused.stderr
    );
    assert!(send("nonsense").await.stderr.contains("not JSON"));
    socket.works().await;
}

/// What the server's process says on standard error from its start to its end, and meanwhile.
async fn log_of(settings: &[&str], meanwhile: impl AsyncFnOnce(&Process, &Directory)) -> String {
    let directory = Directory::new();
    let process = Process::start(&directory, settings).await;
    meanwhile(&process, &directory).await;
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, 0, "{log}");
    log
}

#[tokio::test]
async fn an_unknown_type_is_logged_once_however_often_it_comes() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let hosts = format!("layer.hosts={}", redis.url());
    let settings = ["layer.backend=redis", &*hosts, "server.drain_s=1"];
    let log = log_of(&settings, async |process, directory| {
        let id = process.conversation().await;
        let mut socket = process.socket(&id).await;
        let group = format!("chat_{id}");
        let typing = r#"{"type": "typing.status", "is_typing": 1, "user_id": 2}"#;
        let unknown = r#"{"type": "nobody.knows"}"#;
        for event in [unknown, unknown, unknown, typing] {
            let backend = "layer.backend=redis";
            let send = [
                "layer", "send", &group, event, "--set", backend, "--set", &hosts,
            ];
            assert_eq!(run(directory, &send).await.code, 0);
        }
        assert_eq!(socket.json().await["type"], "typing_status");
    })
    .await;
    assert_eq!(log.matches("nobody_knows").count(), 1, "{log}");
}

#[tokio::test]
async fn keys_on_pubsub_come_with_a_warning_of_plain_text() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let hosts = format!("layer.hosts={}", redis.url());
    let backend = "layer.backend=redis_pubsub";
    let keys = "layer.symmetric_encryption_keys=a-very-secret-key";
    let warned = log_of(&[backend, &hosts, keys], async |_, _| ()).await;
    assert!(warned.contains("sends plain text"), "{warned}");
    assert!(!warned.contains("a-very-secret-key"), "{warned}");
    let silent = log_of(&[backend, &hosts], async |_, _| ()).await;
    assert!(!silent.contains("sends plain text"), "{silent}");
}

#[tokio::test]
async fn tail_prints_what_a_group_is_told_line_by_line() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Directory::new();
    let hosts = format!("layer.hosts={}", redis.url());
    let settings = ["--set", "layer.backend=redis", "--set", &hosts];
    let mut arguments = vec!["layer", "tail", "g", "h"];
    arguments.extend(settings);
    let mut tail = crate::support::process::chatferry(&directory, &arguments)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    until("both memberships", async || {
        redis.ask::<i64>("EXISTS asgi:group:g asgi:group:h").await == 2
    })
    .await;
    for (group, json) in [
        ("g", r#"{"type": "a", "n": "채팅"}"#),
        ("h", r#"{"type": "b"}"#),
    ] {
        let mut arguments = vec!["layer", "send", group, json];
        arguments.extend(settings);
        assert_eq!(run(&directory, &arguments).await.code, 0);
    }
    let first = soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(first, r#"{"group": "g", "event": {"type":"a","n":"채팅"}}"#);
    let second = soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(second, r#"{"group": "h", "event": {"type":"b"}}"#);
    let pid = tail.id().unwrap().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(soon("the end", tail.wait()).await.unwrap().success());
    assert!(redis.keys().await.is_empty());
}

#[tokio::test]
async fn tail_follows_a_pattern_and_send_tells_how_many_members_have_it() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let Some(redis) = Redis::start().await else {
        return;
    };
    let hosts = format!("layer.hosts={}", redis.url());
    for backend in ["layer.backend=redis", "layer.backend=redis_pubsub"] {
        let directory = Directory::new();
        let settings = ["--set", backend, "--set", &hosts];
        let tail = |name| {
            let mut arguments = vec!["layer", "tail", name];
            arguments.extend(settings);
            let mut command = crate::support::process::chatferry(&directory, &arguments);
            command.spawn().unwrap()
        };
        let send = async |group| {
            let mut arguments = vec!["layer", "send", group, r#"{"type": "a"}"#];
            arguments.extend(settings);
            let sent = run(&directory, &arguments).await;
            assert_eq!(sent.code, 0, "{sent:?}");
            sent.stdout
        };
        let mut all = tail("room_*");
        let mut lines = BufReader::new(all.stdout.take().unwrap()).lines();
        assert_eq!(send("room_1").await, "Sent to 0 members of room_1.\n");
        // The group comes to be later, and another one that does not match beside it.
        let (_one, _other) = (tail("room_1"), tail("hall_1"));
        until("both members", async || {
            send("hall_1").await == "Sent to 1 member of hall_1.\n"
                && send("room_1").await == "Sent to 2 members of room_1.\n"
        })
        .await;
        let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
        assert_eq!(line, r#"{"group": "room_1", "event": {"type":"a"}}"#);
    }
}

#[tokio::test]
async fn check_tells_whether_the_layer_answers() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Directory::new();
    let hosts = format!("layer.hosts={}", redis.url());
    let arguments = ["--set", "layer.backend=redis", "--set", &hosts, "check"];
    run(&directory, &["migrate"]).await;
    let fine = run(&directory, &arguments).await;
    assert_eq!(fine.code, 0, "{}", fine.stderr);
    redis.kill();
    let missing = run(&directory, &arguments).await;
    assert_eq!(missing.code, 1);
    assert!(
        missing
            .stderr
            .contains("the channel layer is not available"),
        "{}",
        missing.stderr
    );
    let alone = run(&directory, &["layer", "send", "g", "{}"]).await;
    assert!(
        alone
            .stderr
            .contains("layer.backend = memory reaches no other process")
    );
}
