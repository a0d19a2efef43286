//! The server goes away, comes back, or will not write: nothing acknowledged is lost, nothing is
//! written twice, and nobody has to be restarted.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chatferry::app::App;
use mysql_async::prelude::Queryable;
use serde_json::json;
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    database::Database,
    instance::{Flavour, Instance},
};
use crate::{
    postgres::proxy::Proxy,
    support::{Answer, Server, soon, until},
};

/// How soon everything must work once the database does.
const RESUMED: Duration = Duration::from_secs(2);

async fn send(server: &Server, conversation: &str, content: &str) -> Answer {
    let path = format!("/api/chat/conversations/{conversation}/messages/send/");
    let body = json!({"sender_id": "alice", "content": content});
    server.post(&path, body).await
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert!(answer.json()["detail"].is_string());
}

async fn apart<T: Send + 'static>(
    database: &Database,
    act: impl FnOnce(&Instance) -> T + Send + 'static,
) -> T {
    let instance = Arc::clone(&database.instance);
    spawn_blocking(move || act(&instance)).await.unwrap()
}

pub async fn killed_connections_are_replaced_before_anybody_notices(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for _ in 0..5 {
        database.kill_all().await;
        socket.works().await;
        assert_eq!(send(&server, &id, "x").await.status, 201);
    }
    assert_eq!(server.contents(&id).await.len(), 10);
}

pub async fn without_the_server_everybody_hears_so_and_with_it_all_goes_on(on: Flavour) {
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let quiet = [("ws.ping_interval_s", "600")];
    let server = database.server_with(&quiet).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for signal in ["TERM", "KILL"] {
        apart(&database, move |instance| instance.stop(signal)).await;
        let began = Instant::now();
        assert_unavailable(&send(&server, &id, "x").await);
        let list = format!("/api/chat/conversations/{id}/messages/");
        assert_unavailable(&server.get(&list).await);
        let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
        assert_unavailable(&server.post("/api/chat/conversations/", pair).await);
        assert_eq!(server.get("/readyz").await.status, 503);
        assert_eq!(server.get("/healthz").await.status, 200);
        socket.say("lost").await;
        assert!(socket.error().await.contains("try again"));
        assert!(began.elapsed() < RESUMED, "{:?}", began.elapsed());

        apart(&database, Instance::start).await;
        let back = Instant::now();
        until("a message", async || {
            send(&server, &id, "y").await.status == 201
        })
        .await;
        assert!(back.elapsed() < RESUMED, "{:?}", back.elapsed());
        socket.works().await;
        assert_eq!(server.get("/readyz").await.status, 200);
    }
    assert!(!server.contents(&id).await.contains(&"lost".to_owned()));
}

pub async fn a_server_that_may_only_be_read_is_read_and_comes_back_by_itself(on: Flavour) {
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    assert_eq!(send(&server, &id, "before").await.status, 201);
    let mut root = database.instance.root().await;
    root.query_drop("SET GLOBAL read_only = 1").await.unwrap();
    assert_unavailable(&send(&server, &id, "x").await);
    assert_unavailable(&send(&server, &id, "x").await);
    assert_eq!(server.contents(&id).await, ["before"]);
    root.query_drop("SET GLOBAL read_only = 0").await.unwrap();
    assert_eq!(send(&server, &id, "after").await.status, 201);
    assert_eq!(server.contents(&id).await, ["before", "after"]);
}

pub async fn a_table_that_stays_locked_costs_a_503_and_never_a_hanging_client(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = Arc::new(database.server_with(&[("store.pool_size", "2")]).await);
    let id = server.conversation().await;
    let list = format!("/api/chat/conversations/{id}/messages/");
    let mut locker = database.client().await;
    let lock = "LOCK TABLES conversations WRITE, messages WRITE";
    locker.query_drop(lock).await.unwrap();
    let mut asking = Vec::new();
    for number in 0..6 {
        let (server, list, id) = (Arc::clone(&server), list.clone(), id.clone());
        asking.push(tokio::spawn(async move {
            match number % 2 {
                0 => server.get(&list).await,
                _ => send(&server, &id, "x").await,
            }
        }));
    }
    for asking in asking {
        assert_unavailable(&soon("an answer", asking).await.unwrap());
    }
    locker.query_drop("UNLOCK TABLES").await.unwrap();
    assert_eq!(send(&server, &id, "y").await.status, 201);
    assert_eq!(server.contents(&id).await, ["y"]);
}

pub async fn a_frozen_server_costs_a_503_and_is_used_again_when_it_thaws(on: Flavour) {
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let url = format!(
        "{}?connect_timeout=1&read_timeout=1&write_timeout=1",
        database.url
    );
    let server = Server::with(&[("store.url", &url)]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    apart(&database, |instance| instance.signal("STOP")).await;
    let began = Instant::now();
    assert_unavailable(&send(&server, &id, "x").await);
    assert!(began.elapsed() < Duration::from_secs(4));
    socket.say("lost").await;
    assert!(socket.error().await.contains("try again"));
    apart(&database, |instance| instance.signal("CONT")).await;
    let back = Instant::now();
    socket.works().await;
    assert!(back.elapsed() < RESUMED, "{:?}", back.elapsed());
    assert_eq!(server.contents(&id).await, ["still here", "still here"]);
}

pub async fn a_full_disk_is_told_and_survived(on: Flavour) {
    const FULL: &[&str] = &[
        "--innodb-file-per-table=0",
        "--innodb-autoextend-increment=1",
        "--innodb-data-file-path=ibdata1:12M:autoextend:max:32M",
    ];
    const ROOM: &[&str] = &[
        "--innodb-file-per-table=0",
        "--innodb-autoextend-increment=1",
        "--innodb-data-file-path=ibdata1:12M:autoextend:max:64M",
    ];
    let Some(database) = Database::mortal(on, FULL).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let big = "x".repeat(400_000);
    let mut stored = 0;
    let full = loop {
        let answer = send(&server, &id, &big).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 200, "the disk does not get full");
    };
    assert_unavailable(&full);
    assert_eq!(server.contents(&id).await.len(), stored);
    apart(&database, |instance| instance.restart_with(ROOM)).await;
    until("room", async || {
        send(&server, &id, "small").await.status == 201
    })
    .await;
}

pub async fn a_commit_that_was_not_confirmed_is_looked_up_before_anything_is_said(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let (location, name) = database.url.rsplit_once('/').unwrap();
    let proxy = Proxy::before(location).await;
    let url = format!("{}/{name}", proxy.location);
    let server = Server::with(&[("store.url", &url)]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    for number in 0..3 {
        proxy.lose_answers();
        let content = format!("unconfirmed {number}");
        socket.say(&content).await;
        let rows = format!("SELECT count(*) FROM messages WHERE content = '{content}'");
        until("the commit", async || {
            database.value::<u64>(&rows).await == 1
        })
        .await;
        assert_eq!(socket.heard().await, content);
        assert_eq!(database.value::<u64>(&rows).await, 1);
    }
    // Receipts and conversations as well.
    let list = format!("/api/chat/conversations/{id}/messages/");
    let messages = server.get(&list).await.json();
    let message = messages[0]["id"].as_str().unwrap();
    let read = format!("/api/chat/messages/{message}/read/");
    proxy.lose_answers();
    let marked = server.put(&read, json!({"user_id": "bob"})).await;
    assert_eq!(marked.status, 200);
    proxy.lose_answers();
    let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
    let made = server.post("/api/chat/conversations/", pair).await;
    assert_eq!(made.status, 201);
    let rows = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<u64>(rows).await, 2);
}

pub async fn crashes_under_load_lose_nothing_acknowledged_and_write_nothing_twice(on: Flavour) {
    const SENDERS: usize = 20;
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let server = Arc::new(database.server().await);
    let id = server.conversation().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut sending = Vec::new();
    for sender in 0..SENDERS {
        let (server, id, stop) = (Arc::clone(&server), id.clone(), Arc::clone(&stop));
        sending.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let content = format!("{sender}-{number}");
                let answer = send(&server, &id, &content).await;
                if answer.status == 201 {
                    acknowledged.push(content);
                } else {
                    assert_unavailable(&answer);
                    sleep(Duration::from_millis(20)).await;
                }
            }
            acknowledged
        }));
    }
    for _ in 0..20 {
        database.kill_all().await;
        sleep(Duration::from_millis(20)).await;
    }
    for signal in ["KILL", "TERM", "KILL"] {
        sleep(Duration::from_millis(500)).await;
        apart(&database, move |instance| {
            instance.stop(signal);
            std::thread::sleep(Duration::from_millis(300));
            instance.start();
        })
        .await;
        let back = Instant::now();
        until("a message", async || {
            send(&server, &id, "back").await.status == 201
        })
        .await;
        assert!(back.elapsed() < RESUMED, "{:?}", back.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for sending in sending {
        acknowledged.extend(soon("a sender", sending).await.unwrap());
    }
    let mut found: HashMap<String, usize> = HashMap::new();
    for content in server.contents(&id).await {
        *found.entry(content).or_default() += 1;
    }
    found.remove("back");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    for content in &acknowledged {
        assert!(found.contains_key(content), "{content} was acknowledged");
    }
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

pub async fn a_connection_may_be_encrypted_and_go_through_a_socket(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let Some((socket, ca)) = database.instance.files() else {
        return;
    };
    let start = async |options: &str| {
        let url = format!("{}?{options}", database.url);
        App::start(database.config(&[("store.url", &url)])).await
    };
    start(&format!("unix_socket={}", socket.display()))
        .await
        .unwrap();
    if !ca.exists() {
        return;
    }
    start("ssl-mode=required").await.unwrap();
    start(&format!("ssl-ca={}", ca.display())).await.unwrap();
    let unknown = start("ssl-mode=verify_ca").await.err().unwrap();
    assert!(unknown.to_string().contains("not available"), "{unknown}");
}
