//! The server is started before its database, or is not let in.

use std::{fs::File, process::Stdio};

use tokio::task::spawn_blocking;

use super::database::Database;
use crate::{
    cli::errors::{assert_on_the_page, told},
    support::{Directory, Process, process::chatferry, request, until},
};

#[tokio::test]
async fn a_process_started_before_its_database_serves_as_soon_as_that_is_up() {
    let Some(database) = Database::mortal().await else {
        return;
    };
    let cluster = database.cluster.clone();
    spawn_blocking(move || cluster.stop("INT")).await.unwrap();
    let directory = Directory::new();
    let log = directory.path().join("log");
    let url = format!("store.url={}", database.url);
    let bind = "server.bind=127.0.0.1:0";
    let arguments = [
        "serve",
        "--set",
        bind,
        "--set",
        &url,
        "--set",
        "store.wait_s=600",
    ];
    let mut command = chatferry(&directory, &arguments);
    command.stderr(Stdio::from(File::create(&log).unwrap()));
    let log = || std::fs::read_to_string(&log).unwrap();
    let (server, ()) = tokio::join!(Process::of(command), async {
        until("the first look", async || {
            log().contains("waiting for the database")
        })
        .await;
        let cluster = database.cluster.clone();
        spawn_blocking(move || cluster.start()).await.unwrap();
    });
    let ready = request("GET", "/readyz", &[], None);
    assert_eq!(server.connect().await.ask(ready).await.status, 200);
    server.signal("TERM").await;
    assert_eq!(server.ended().await.0, 0, "{}", log());
}

#[tokio::test]
async fn who_is_not_let_in_is_told_at_once() {
    let Some(database) = Database::empty().await else {
        return;
    };
    let directory = Directory::new();
    let (location, _) = database.url.rsplit_once('/').unwrap();
    let url = format!("store.url={location}/shop");
    let text = told(
        &directory,
        &["serve", "--set", &url, "--set", "store.wait_s=3600"],
    )
    .await;
    let masked = text.split("store.url = ").nth(1).unwrap();
    let (masked, _) = masked.split_once(',').unwrap();
    assert_on_the_page(&text.replace(masked, "postgres://chat:***@db/shop"));
}
