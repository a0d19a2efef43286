//! Whole servers, one of which is cut from Redis: every socket of both sees every stored message
//! once, each sender's in order.

use std::{sync::Arc, time::Duration};

use chatferry::{
    layer::control::{Control, Notice},
    python::datetime::Timestamp,
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, timeout},
};

use super::{cable::Cable, instance::Redis, world::Layer};
use crate::{
    postgres::database::Database,
    support::{Connection, Directory, Server, Socket, socket::TEXT, soon, until},
};

const BACKENDS: [&str; 2] = ["redis", "redis_pubsub"];

/// Two servers on one database; the second one's link can be cut.
struct Fleet {
    redis: Redis,
    cable: Cable,
    directory: Arc<Directory>,
    servers: [Server; 2],
    id: String,
}

impl Fleet {
    async fn start(backend: &str, more: &[(&str, &str)]) -> Option<Self> {
        let redis = Redis::start().await?;
        let cable = Cable::to(&redis).await;
        let directory = Arc::new(Directory::new());
        let (near, far) = (redis.url(), cable.url());
        let mut servers = Vec::new();
        for url in [&near, &far] {
            let mut flags = vec![("layer.backend", backend), ("layer.hosts", &**url)];
            flags.extend(more);
            servers.push(Server::on(Arc::clone(&directory), &flags).await);
        }
        let servers: [Server; 2] = servers.try_into().ok()?;
        let id = servers[0].conversation().await;
        Some(Fleet {
            redis,
            cable,
            directory,
            servers,
            id,
        })
    }

    /// Starts a third server, whose link cannot be cut.
    async fn third(&self, backend: &str) -> Server {
        let url = self.redis.url();
        let flags = [("layer.backend", backend), ("layer.hosts", &*url)];
        Server::on(Arc::clone(&self.directory), &flags).await
    }

    async fn ready(&self) {
        for server in &self.servers {
            until("readiness", async || {
                server.get("/readyz").await.status == 200
            })
            .await;
        }
    }

    /// Everybody sends, something happens meanwhile, and in the end every socket must have seen all
    /// that is stored, once and in the order of each sender.
    async fn talks_through(&self, weather: impl AsyncFnOnce(&Self)) {
        let mut tasks = Vec::new();
        let over = Arc::new(tokio::sync::watch::Sender::new(false));
        let mut sockets = Vec::new();
        for server in self.servers.iter().chain(&self.servers) {
            sockets.push(server.socket(&self.id).await);
        }
        for (place, socket) in sockets.into_iter().enumerate() {
            let name = (place < 2).then(|| format!("s{place}"));
            tasks.push(tokio::spawn(talk(socket, name, over.subscribe())));
        }
        sleep(Duration::from_millis(500)).await;
        weather(self).await;
        sleep(Duration::from_secs(1)).await;
        over.send_replace(true);
        // The last word of each sender tells a listener that it has seen all.
        for task in tasks {
            let seen = soon("a listener", task).await.unwrap();
            let stored = self.servers[0].contents(&self.id).await;
            let mut missing: Vec<&String> = stored.iter().filter(|it| !seen.contains(it)).collect();
            missing.truncate(5);
            assert!(
                missing.is_empty(),
                "missing {missing:?} of {}",
                stored.len()
            );
            assert_eq!(seen.len(), stored.len(), "some were seen twice");
            for sender in ["s0", "s1"] {
                let numbers: Vec<usize> =
                    seen.iter().filter_map(|text| count(text, sender)).collect();
                assert!(numbers.is_sorted(), "{sender}: {numbers:?}");
            }
        }
    }
}

fn count(text: &str, sender: &str) -> Option<usize> {
    text.strip_prefix(sender)?.strip_prefix(':')?.parse().ok()
}

/// Sends numbered messages until the talk is over, and collects what is shown until the last word
/// of each sender has come.
async fn talk(
    mut socket: Socket,
    name: Option<String>,
    over: tokio::sync::watch::Receiver<bool>,
) -> Vec<String> {
    let (mut seen, mut last_words, mut n) = (Vec::new(), 0, 0);
    let mut next = Instant::now();
    let mut said_goodbye = name.is_none();
    while last_words < 2 {
        if let Some(name) = &name
            && !said_goodbye
            && Instant::now() >= next
        {
            said_goodbye = *over.borrow();
            let content = if said_goodbye {
                format!("{name} says goodbye")
            } else {
                format!("{name}:{n}")
            };
            let message = json!({"type": "chat_message", "sender_id": name, "content": content});
            socket.send(&message).await;
            n += 1;
            next = Instant::now() + Duration::from_millis(25);
        }
        let Connection { io, buffer } = &mut socket.connection;
        if buffer.is_empty() {
            // A frame that has begun is read to its end below.
            let begun = timeout(Duration::from_millis(10), io.read_buf(buffer)).await;
            match begun {
                Ok(read) => assert!(read.unwrap() > 0, "the socket was closed"),
                Err(_) => continue,
            }
        }
        let shown = socket.json().await;
        if shown["type"] == "chat_message" {
            let content = shown["message"]["content"].as_str().unwrap().to_owned();
            last_words += usize::from(content.ends_with("goodbye"));
            seen.push(content);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_cut_from_redis_leaves_no_socket_without_a_message() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        fleet
            .talks_through(async |fleet| {
                for _ in 0..2 {
                    fleet.cable.cut();
                    sleep(Duration::from_secs(2)).await;
                    fleet.cable.mend();
                    fleet.ready().await;
                }
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_half_open_leaves_no_socket_without_a_message() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        fleet
            .talks_through(async |fleet| {
                fleet.cable.freeze();
                sleep(Duration::from_secs(2)).await;
                fleet.cable.cut();
                sleep(Duration::from_millis(500)).await;
                fleet.cable.mend();
                fleet.ready().await;
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_leaves_no_socket_without_a_message() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        fleet
            .talks_through(async |fleet| {
                fleet.redis.kill();
                sleep(Duration::from_secs(1)).await;
                fleet.redis.run().await;
                fleet.ready().await;
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_leaves_every_sender_in_order() {
    let Some(fleet) = Fleet::start("redis", &[]).await else {
        return;
    };
    fleet
        .talks_through(async |fleet| {
            for _ in 0..3 {
                let _: () = fleet.redis.ask("FLUSHALL").await;
                sleep(Duration::from_secs(3)).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_read_mark_is_shown_late_rather_than_never() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        let [near, far] = &fleet.servers;
        let message = near.stored(&fleet.id, "alice", "hello").await;
        let (mut here, mut there) = (near.socket(&fleet.id).await, far.socket(&fleet.id).await);
        fleet.cable.cut();
        until("the cut", async || far.get("/readyz").await.status == 503).await;
        let read = json!({"type": "mark_as_read", "message_id": message["id"], "user_id": "bob"});
        there.send(&read).await;
        assert_eq!(there.json().await["type"], "message_read");
        fleet.cable.mend();
        let late: Value = soon("the mark", here.json()).await;
        assert_eq!(late["type"], "message_read");
        assert_eq!(late["message_id"], message["id"]);
        here.works().await;
    }
}

/// A frame that marks a message as read.
fn mark(message: &Value, user: &str) -> Value {
    json!({"type": "mark_as_read", "message_id": message["id"], "user_id": user})
}

/// The user of the next read mark that a socket is shown.
async fn reader(socket: &mut Socket) -> String {
    let shown = soon("a mark", socket.json()).await;
    assert_eq!(shown["type"], "message_read", "{shown}");
    shown["user_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_read_mark_that_a_process_could_not_hear_is_found_in_the_store_once() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        let [near, far] = &fleet.servers;
        let message = near.stored(&fleet.id, "alice", "hello").await;
        let (mut here, mut there) = (near.socket(&fleet.id).await, far.socket(&fleet.id).await);
        here.send(&mark(&message, "before")).await;
        assert_eq!(reader(&mut there).await, "before");
        fleet.cable.cut();
        until("the cut", async || far.get("/readyz").await.status == 503).await;
        for user in ["first", "second"] {
            here.send(&mark(&message, user)).await;
        }
        for user in ["before", "first", "second"] {
            assert_eq!(reader(&mut here).await, user);
        }
        // What waits in Redis for the process is lost too.
        let _: () = fleet.redis.ask("FLUSHALL").await;
        fleet.cable.mend();
        for user in ["first", "second"] {
            let shown = soon("a mark", there.json()).await;
            let want =
                json!({"type": "message_read", "message_id": message["id"], "user_id": user});
            assert_eq!(shown, want, "{backend}");
        }
        assert_eq!(far.metric("chatferry_read_marks_repaired_total").await, 2.0);
        here.works().await;
        there.works().await;
    }
}

#[tokio::test]
async fn a_sender_who_comes_from_elsewhere_is_shown_in_order_while_redis_is_away() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        let [near, far] = &fleet.servers;
        let (mut here, mut there) = (near.socket(&fleet.id).await, far.socket(&fleet.id).await);
        fleet.cable.cut();
        until("the cut", async || far.get("/readyz").await.status == 503).await;
        for round in 0..3 {
            let (first, then) = (format!("first {round}"), format!("then {round}"));
            here.say(&first).await;
            assert_eq!(soon("its own", here.heard()).await, first);
            let mut moved = far.socket(&fleet.id).await;
            moved.say(&then).await;
            for expected in [&first, &then] {
                assert_eq!(
                    &soon("in order", there.heard()).await,
                    expected,
                    "{backend}"
                );
            }
            assert_eq!(soon("its own", moved.heard()).await, then);
        }
        fleet.cable.mend();
        for round in 0..3 {
            assert_eq!(soon("late", here.heard()).await, format!("then {round}"));
        }
        here.works().await;
        there.works().await;
    }
}

#[tokio::test]
async fn a_sender_who_comes_from_a_process_that_is_cut_off_is_shown_in_order_everywhere() {
    for backend in BACKENDS {
        let Some(fleet) = Fleet::start(backend, &[]).await else {
            return;
        };
        let [near, far] = &fleet.servers;
        let third = fleet.third(backend).await;
        let alone = near.conversation_of("alice", "carol").await;
        let mut here = near.socket(&fleet.id).await;
        let mut there = third.socket(&fleet.id).await;
        // Of this conversation the server that alice comes to has no socket.
        let mut there_alone = third.socket(&alone).await;
        fleet.cable.cut();
        until("the cut", async || far.get("/readyz").await.status == 503).await;
        for round in 0..3 {
            let (first, then) = (format!("first {round}"), format!("then {round}"));
            for id in [&fleet.id, &alone] {
                let mut before = far.socket(id).await;
                before.say(&first).await;
                assert_eq!(soon("its own", before.heard()).await, first);
                let mut moved = near.socket(id).await;
                moved.say(&then).await;
                assert_eq!(soon("its own", moved.heard()).await, then);
            }
            for (name, socket) in [
                ("here", &mut here),
                ("there", &mut there),
                ("alone", &mut there_alone),
            ] {
                for expected in [&first, &then] {
                    let heard = soon("in order", socket.heard()).await;
                    assert_eq!(&heard, expected, "{name}, {backend}");
                }
            }
        }
        fleet.cable.mend();
        fleet.ready().await;
        for socket in [&mut here, &mut there, &mut there_alone] {
            socket.works().await;
        }
    }
}

#[tokio::test]
async fn what_a_sender_stored_by_rest_elsewhere_stays_quiet_when_it_speaks() {
    let Some(fleet) = Fleet::start("redis", &[]).await else {
        return;
    };
    let [near, far] = &fleet.servers;
    let (mut here, mut there) = (near.socket(&fleet.id).await, far.socket(&fleet.id).await);
    far.stored(&fleet.id, "alice", "quiet").await;
    let mut moved = near.socket(&fleet.id).await;
    moved.say("loud").await;
    for socket in [&mut here, &mut there, &mut moved] {
        assert_eq!(soon("what was said", socket.heard()).await, "loud");
        socket.works().await;
    }
}

#[tokio::test]
async fn what_nobody_told_of_is_found_in_the_store_and_what_came_by_rest_is_not() {
    let Some(fleet) = Fleet::start("redis", &[("layer.sweep_s", "1")]).await else {
        return;
    };
    let [near, far] = &fleet.servers;
    let mut socket = near.socket(&fleet.id).await;
    // By REST, on either server: the original does not broadcast these.
    let message = near.stored(&fleet.id, "alice", "quiet here").await;
    far.stored(&fleet.id, "alice", "quiet there").await;
    let path = format!(
        "/api/chat/messages/{}/read/",
        message["id"].as_str().unwrap()
    );
    for (server, user) in [(near, "quiet here"), (far, "quiet there")] {
        let marked = server.put(&path, json!({"user_id": user})).await;
        assert_eq!(marked.status, 200);
    }
    // As a process that died before it could send.
    let id = || uuid::Uuid::new_v4().simple();
    let said = format!(
        "INSERT INTO messages (id, conversation_id, sender_id, content, message_type, created_at, \
         updated_at, is_deleted) SELECT '{}', conversation_id, 'alice', 'unheard', 'text', \
         created_at, updated_at, 0 FROM messages WHERE content = 'quiet there'",
        id()
    );
    // Of the same time, so that one sweep finds both: a repair of the one shows the other.
    let read = format!(
        "INSERT INTO delivery_receipts (id, message_id, user_id, status, timestamp) \
         SELECT '{}', r.message_id, 'unheard', r.status, m.created_at \
         FROM delivery_receipts r, messages m \
         WHERE r.user_id = 'quiet there' AND m.content = 'unheard'",
        id()
    );
    let mut database = rusqlite::Connection::open(near.directory.database()).unwrap();
    let both = database.transaction().unwrap();
    for sql in [said, read] {
        assert_eq!(both.execute(&sql, []).unwrap(), 1);
    }
    both.commit().unwrap();
    assert_eq!(soon("the sweep", socket.heard()).await, "unheard");
    assert_eq!(reader(&mut socket).await, "unheard");
    assert_eq!(near.metric("chatferry_messages_swept_total").await, 1.0);
    assert_eq!(near.metric("chatferry_read_marks_swept_total").await, 1.0);
    socket.works().await;
}

#[tokio::test]
async fn a_socket_is_closed_with_1013_if_more_was_missed_than_is_remembered() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = redis.url();
    let flags = [
        ("layer.backend", "redis"),
        ("layer.hosts", &*url),
        ("layer.sweep_s", "0"),
    ];
    let server = Server::with(&flags).await;
    let id = server.conversation().await;
    let (mut socket, mut other) = (server.socket(&id).await, server.socket(&id).await);
    socket.works().await;
    let elsewhere = Layer::at(&url, &[]).await;
    let read_again = async |seconds: i64| {
        let now = Timestamp::now().micros();
        let since = Timestamp::from_micros(now - seconds * 1_000_000);
        let order = Control::ReadAgain(Notice { group: None, since });
        let _ = elsewhere.layer.send_control(&order).await;
    };
    read_again(1000).await;
    socket.works().await;
    pass(Duration::from_secs(100)).await;
    // With the next event that waits for no repair it is forgotten what was shown before.
    let mut last = None;
    until("the end of what is remembered", async || {
        if server.metric("chatferry_repairs_open").await > 0.0 {
            return false;
        }
        other.say("next").await;
        let next = soon("a frame", socket.frame()).await;
        read_again(1000).await;
        let is_over = next.opcode != TEXT;
        last = Some(next);
        is_over
    })
    .await;
    let code = last.map(|frame| frame.close_code());
    assert_eq!(code, Some(1013));
    let given_up = server.metric("chatferry_repairs_given_up_total").await;
    assert!(given_up > 0.0);
}

#[tokio::test]
async fn a_repair_that_does_not_end_makes_a_process_not_ready() {
    let (Some(redis), Some(database)) = (Redis::start().await, Database::new().await) else {
        return;
    };
    let url = redis.url();
    let flags = [("layer.backend", "redis_pubsub"), ("layer.hosts", &*url)];
    let server = database.server_with(&flags).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    let locker = database.client().await;
    let lock = "BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE";
    locker.batch_execute(lock).await.unwrap();
    redis.cut_connections().await;
    let waits = async || server.metric("chatferry_repairs_open").await == 1.0;
    until("the repair", waits).await;
    until("Redis", async || server.app.layer.ping().await.is_ok()).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    pass(Duration::from_secs(61)).await;
    let answer = server.get("/readyz").await;
    let body = answer.json();
    assert_eq!(answer.status, 503, "{body}");
    let parts = [&body["status"], &body["store"], &body["layer"]];
    assert_eq!(parts, ["unavailable", "ok", "ok"]);
    let repairs = body["repairs"].as_str().unwrap();
    assert!(repairs.starts_with("1 conversations wait"), "{repairs}");
    locker.batch_execute("ROLLBACK").await.unwrap();
    until("readiness", async || {
        server.get("/readyz").await.status == 200
    })
    .await;
    socket.works().await;
}

/// Time passes, for all but the time of day.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
