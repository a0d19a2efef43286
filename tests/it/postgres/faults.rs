//! The server goes away, comes back, or will not write: nothing acknowledged is lost, nothing is
//! written twice, and nobody has to be restarted.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::database::Database;
use crate::support::{
    Proxy, Server,
    faults::{
        Senders, assert_unavailable, everybody_hears_so, goes_on, lost_connections,
        unconfirmed_commits,
    },
    soon,
};

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
        server.stored(&id, "alice", "x").await;
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
        everybody_hears_so(&server, &id, &mut socket).await;
        let cluster = Arc::clone(&database.cluster);
        spawn_blocking(move || cluster.start()).await.unwrap();
        goes_on(&server, &id, "y").await;
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
    server.stored(&id, "alice", "before").await;
    let name: String = database.value("SELECT current_database()::text").await;
    let restart = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database
        .run(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on"
        ))
        .await;
    database.run(restart).await;
    assert_unavailable(&server.message(&id, "alice", "x").await);
    assert_unavailable(&server.message(&id, "alice", "x").await);
    assert_eq!(server.contents(&id).await, ["before"]);
    let healer = database.client().await;
    for sql in [
        "SET default_transaction_read_only = off",
        &format!("ALTER DATABASE {name} RESET default_transaction_read_only"),
    ] {
        healer.batch_execute(sql).await.unwrap();
    }
    server.stored(&id, "alice", "after").await;
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
    let count = async |rows: &str| {
        let rows: i64 = database
            .value(&format!("SELECT count(*) FROM {rows}"))
            .await;
        u64::try_from(rows).unwrap()
    };
    unconfirmed_commits(&server, &proxy, count).await;
}

#[tokio::test]
async fn connections_that_die_without_a_word_are_replaced() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.cluster.location).await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let url = format!("{}/{name}", proxy.location);
    let server = Server::with(&[("store.url", &url)]).await;
    lost_connections(&server, &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crashes_under_load_lose_nothing_acknowledged_and_write_nothing_twice() {
    let Some(database) = Database::mortal().await else {
        return;
    };
    let senders = Senders::start(database.server().await).await;
    senders.go_on().await;
    for signal in ["QUIT", "INT", "QUIT"] {
        let cluster = Arc::clone(&database.cluster);
        spawn_blocking(move || cluster.stop(signal)).await.unwrap();
        senders.are_refused().await;
        let cluster = Arc::clone(&database.cluster);
        spawn_blocking(move || cluster.start()).await.unwrap();
        senders.go_on().await;
    }
    senders.lost_nothing().await;
}
