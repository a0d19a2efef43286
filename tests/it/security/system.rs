//! Files, descriptors and clocks of the system.

use std::{os::unix::fs::PermissionsExt, process::Stdio};

use serde_json::json;
use tokio::process::Command;

use crate::support::{
    Connection, Directory, Process,
    process::{BINARY, run},
    request, until,
};

fn mode(directory: &Directory, name: &str) -> u32 {
    let file = directory.path().join(name);
    let about = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    about.permissions().mode() & 0o777
}

/// The server as a command that `sh` runs after `first`.
fn after(first: &str, directory: &Directory, settings: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("{first} && exec \"$0\" \"$@\""),
            BINARY,
            "serve",
        ])
        .args([
            "--set",
            "server.bind=127.0.0.1:0",
            "--set",
            "server.drain_s=1",
        ])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT"] {
        command.env_remove(name);
    }
    command
}

#[tokio::test]
async fn a_database_that_is_made_here_is_for_its_owner_alone() {
    let directory = Directory::new();
    let server = Process::of(after("umask 000", &directory, &[])).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    for name in [
        "chat.sqlite3",
        "chat.sqlite3-wal",
        "chat.sqlite3-shm",
        "chat.sqlite3.lock",
    ] {
        assert_eq!(mode(&directory, name), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_database_that_others_may_read_is_reported_and_left_as_it_is() {
    let directory = Directory::new();
    drop(Process::start(&directory, &[]).await);
    let file = directory.database();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let check = run(&directory, &["check"]).await;
    assert_eq!(check.code, 0, "{check:?}");
    assert!(
        check
            .stderr
            .contains("chat.sqlite3 has the permissions 0644"),
        "{check:?}"
    );
    assert_eq!(mode(&directory, "chat.sqlite3"), 0o644);
}

#[tokio::test]
async fn a_second_process_that_would_not_hear_the_first_is_refused() {
    let directory = Directory::new();
    let first = Process::start(&directory, &[]).await;
    let second = run(&directory, &["serve", "--set", "server.bind=127.0.0.1:0"]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second
            .stderr
            .contains("another Chatferry serves chat.sqlite3"),
        "{second:?}"
    );
    // A new version beside the old one is wanted, and reported.
    let mut beside = Process::start(&directory, &["server.reuse_port=true"]).await;
    beside
        .logs("sockets there and sockets here do not hear each other")
        .await;
    drop(beside);
    first.signal("KILL").await;
    first.ended().await;
    let next = Process::start(&directory, &[]).await;
    assert_eq!(
        next.connect()
            .await
            .ask(request("GET", "/readyz", &[], None))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn more_connections_than_files_are_lowered_and_reported() {
    let directory = Directory::new();
    let settings = ["server.max_connections=5000"];
    let mut server = Process::of(after("ulimit -n 400", &directory, &settings)).await;
    server
        .logs("server.max_connections is lowered from 5000 to 189")
        .await;
    let mut held = Vec::new();
    let healthz = request("GET", "/healthz", &[], None);
    for _ in 0..189 {
        let mut connection = server.connect().await;
        assert_eq!(connection.ask(&healthz).await.status, 200);
        held.push(connection);
    }
    let page = request("GET", "/api/chat/", &[], None);
    assert_eq!(server.connect().await.ask(&page).await.status, 503);
    assert_eq!(server.connect().await.ask(&healthz).await.status, 200);
}

#[tokio::test]
async fn a_process_without_descriptors_still_says_that_it_is_well() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    server.conversation().await;
    server.limit_descriptors(server.open_files() + 20).await;
    let healthz = request("GET", "/healthz", &[], None);
    let mut held = Vec::new();
    // Past those that are left for connections, the spare ones are lent.
    for _ in 0..60 {
        let mut connection = Connection::to(server.address).await;
        assert_eq!(connection.ask(&healthz).await.status, 200);
        held.push(connection);
    }
    let page = request("GET", "/api/chat/", &[], None);
    let answer = server.connect().await.ask(&page).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    held.clear();
    until("a place", async || {
        server.connect().await.ask(&page).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_server_that_could_not_write_lately_is_not_ready() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    let id = server.conversation().await;
    let readyz = request("GET", "/readyz", &[], None);
    assert_eq!(server.connect().await.ask(&readyz).await.status, 200);
    server.limit_files("64K").await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x".repeat(100_000)});
    let send = request("POST", &path, &[], Some(&body));
    // There may be room for the first ones in the write-ahead log.
    until("a write that fails", async || {
        server.connect().await.ask(&send).await.status == 503
    })
    .await;
    let answer = server.connect().await.ask(&readyz).await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["store"],
        "the last commit has failed: unavailable"
    );
    server.limit_files("unlimited").await;
    assert_eq!(server.connect().await.ask(&send).await.status, 201);
    assert_eq!(server.connect().await.ask(&readyz).await.status, 200);
}
