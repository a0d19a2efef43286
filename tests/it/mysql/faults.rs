//! The server goes away, comes back, or will not write: nothing acknowledged is lost, nothing is
//! written twice, and nobody has to be restarted.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use tokio::task::spawn_blocking;

use super::{
    database::Database,
    instance::{Flavour, Instance},
};
use crate::support::{
    Proxy, Server,
    faults::{
        Senders, assert_unavailable, everybody_hears_so, goes_on, lost_connections,
        unconfirmed_commits,
    },
    soon,
};

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
        server.stored(&id, "alice", "x").await;
    }
    assert_eq!(server.contents(&id).await.len(), 10);
}

pub async fn without_the_server_everybody_hears_so_and_with_it_all_goes_on(on: Flavour) {
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    for signal in ["TERM", "KILL"] {
        apart(&database, move |instance| instance.stop(signal)).await;
        everybody_hears_so(&server, &id, &mut socket).await;
        apart(&database, Instance::start).await;
        goes_on(&server, &id, "y").await;
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
    server.stored(&id, "alice", "before").await;
    let mut root = database.instance.root().await;
    root.query_drop("SET GLOBAL read_only = 1").await.unwrap();
    assert_unavailable(&server.message(&id, "alice", "x").await);
    assert_unavailable(&server.message(&id, "alice", "x").await);
    assert_eq!(server.contents(&id).await, ["before"]);
    root.query_drop("SET GLOBAL read_only = 0").await.unwrap();
    server.stored(&id, "alice", "after").await;
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
                _ => server.message(&id, "alice", "x").await,
            }
        }));
    }
    for asking in asking {
        assert_unavailable(&soon("an answer", asking).await.unwrap());
    }
    locker.query_drop("UNLOCK TABLES").await.unwrap();
    server.stored(&id, "alice", "y").await;
    assert_eq!(server.contents(&id).await, ["y"]);
}

pub async fn a_frozen_server_costs_a_503_and_is_used_again_when_it_thaws(on: Flavour) {
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let url = format!("{}?connect_timeout=4&read_timeout=4", database.url);
    let server = Server::with(&[("store.url", &url)]).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    apart(&database, Instance::freeze).await;
    everybody_hears_so(&server, &id, &mut socket).await;
    apart(&database, Instance::thaw).await;
    goes_on(&server, &id, "thawed").await;
    socket.works().await;
    assert_eq!(server.get("/readyz").await.status, 200);
    let said = ["still here", "thawed", "still here"];
    assert_eq!(server.contents(&id).await, said);
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
        let answer = server.message(&id, "alice", &big).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 200, "the disk does not get full");
    };
    if database.instance.has_ended() {
        // MariaDB 11.8 ends itself when there is no room to roll back in.
        assert_eq!(full.status, 503, "{}", full.text());
    } else {
        assert_unavailable(&full);
        assert_eq!(server.contents(&id).await.len(), stored);
    }
    apart(&database, |instance| instance.restart_with(ROOM)).await;
    goes_on(&server, &id, "small").await;
    assert_eq!(server.contents(&id).await.len(), stored + 1);
}

pub async fn a_commit_that_was_not_confirmed_is_looked_up_before_anything_is_said(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let (location, name) = database.url.rsplit_once('/').unwrap();
    let proxy = Proxy::before(location).await;
    let url = format!("{}/{name}", proxy.location);
    let server = Server::with(&[("store.url", &url)]).await;
    let count = async |rows: &str| {
        database
            .value(&format!("SELECT count(*) FROM {rows}"))
            .await
    };
    unconfirmed_commits(&server, &proxy, count).await;
}

pub async fn crashes_under_load_lose_nothing_acknowledged_and_write_nothing_twice(on: Flavour) {
    let Some(database) = Database::mortal(on, &[]).await else {
        return;
    };
    let senders = Senders::start(database.server().await).await;
    for _ in 0..20 {
        database.kill_all().await;
        senders.go_on().await;
    }
    for signal in ["KILL", "TERM", "KILL"] {
        apart(&database, move |instance| instance.stop(signal)).await;
        senders.are_refused().await;
        apart(&database, Instance::start).await;
        senders.go_on().await;
    }
    senders.lost_nothing().await;
}

pub async fn connections_that_die_without_a_word_are_replaced(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let (location, name) = database.url.rsplit_once('/').unwrap();
    let proxy = Proxy::before(location).await;
    let url = format!("{}/{name}", proxy.location);
    let server = Server::with(&[("store.url", &url)]).await;
    lost_connections(&server, &proxy).await;
}
