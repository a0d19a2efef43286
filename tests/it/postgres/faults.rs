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

use serde_json::json;
use tokio::{task::spawn_blocking, time::sleep};

use super::{database::Database, proxy::Proxy};
use crate::support::{Answer, Server, soon, until};

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

#[tokio::test]
async fn killed_connections_are_replaced_before_anybody_notices() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for _ in 0..5 {
        database
            .run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        socket.works().await;
        assert_eq!(send(&server, &id, "x").await.status, 201);
    }
    assert_eq!(server.contents(&id).await.len(), 10);
}

#[tokio::test]
async fn without_the_database_everybody_hears_so_and_with_it_all_goes_on() {
    let Some(database) = Database::mortal().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for signal in ["INT", "QUIT"] {
        let cluster = Arc::clone(&database.cluster);
        spawn_blocking(move || cluster.stop(signal)).await.unwrap();
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

        let cluster = Arc::clone(&database.cluster);
        spawn_blocking(move || cluster.start()).await.unwrap();
        let back = Instant::now();
        until("a message", async || {
            send(&server, &id, "y").await.status == 201
        })
        .await;
        assert!(back.elapsed() < RESUMED, "{:?}", back.elapsed());
        socket.works().await;
        assert_eq!(server.get("/readyz").await.status, 200);
    }
    let said = ["y", "still here", "y", "still here"];
    assert_eq!(server.contents(&id).await, said);
}

#[tokio::test]
async fn a_database_that_may_only_be_read_is_read_and_comes_back_by_itself() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    assert_eq!(send(&server, &id, "before").await.status, 201);
    let name: String = database.value("SELECT current_database()::text").await;
    let restart = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database
        .run(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on"
        ))
        .await;
    database.run(restart).await;
    assert_unavailable(&send(&server, &id, "x").await);
    assert_unavailable(&send(&server, &id, "x").await);
    assert_eq!(server.contents(&id).await, ["before"]);
    let healer = database.client().await;
    for sql in [
        "SET default_transaction_read_only = off",
        &format!("ALTER DATABASE {name} RESET default_transaction_read_only"),
    ] {
        healer.batch_execute(sql).await.unwrap();
    }
    assert_eq!(send(&server, &id, "after").await.status, 201);
    assert_eq!(server.contents(&id).await, ["before", "after"]);
}

#[tokio::test]
async fn a_table_that_stays_locked_costs_a_503_and_never_a_hanging_client() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = Arc::new(database.server_with(&[("store.pool_size", "2")]).await);
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/");
    let locker = database.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE conversations")
        .await
        .unwrap();
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (server, path) = (Arc::clone(&server), path.clone());
            tokio::spawn(async move { server.get(&path).await })
        })
        .collect();
    for asking in asking {
        assert_unavailable(&soon("an answer", asking).await.unwrap());
    }
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(server.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_commit_that_was_not_confirmed_is_looked_up_before_anything_is_said() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.cluster.location).await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
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
            database.value::<i64>(&rows).await == 1
        })
        .await;
        assert_eq!(socket.heard().await, content);
        assert_eq!(database.value::<i64>(&rows).await, 1);
    }
    // Receipts and conversations as well.
    let message: String = database.value("SELECT min(id::text) FROM messages").await;
    let read = format!("/api/chat/messages/{message}/read/");
    proxy.lose_answers();
    let marked = server.put(&read, json!({"user_id": "bob"})).await;
    assert_eq!(marked.status, 200);
    proxy.lose_answers();
    let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
    let made = server.post("/api/chat/conversations/", pair).await;
    assert_eq!(made.status, 201);
    let rows: i64 = database.value("SELECT count(*) FROM conversations").await;
    assert_eq!(rows, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crashes_under_load_lose_nothing_acknowledged_and_write_nothing_twice() {
    const SENDERS: usize = 20;
    let Some(database) = Database::mortal().await else {
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
    for signal in ["QUIT", "INT", "QUIT"] {
        sleep(Duration::from_millis(700)).await;
        let cluster = Arc::clone(&database.cluster);
        spawn_blocking(move || {
            cluster.stop(signal);
            std::thread::sleep(Duration::from_millis(300));
            cluster.start();
        })
        .await
        .unwrap();
        let back = Instant::now();
        until("a message", async || {
            send(&server, &id, "back").await.status == 201
        })
        .await;
        assert!(back.elapsed() < RESUMED, "{:?}", back.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let mut found: HashMap<String, usize> = HashMap::new();
    let mut acknowledged = Vec::new();
    for sending in sending {
        acknowledged.extend(soon("a sender", sending).await.unwrap());
    }
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
