//! `chatferry events`.

use serde_json::json;

use super::KEPT;
use crate::support::{Directory, Server, process::run};

/// Runs a command on the outbox of a directory; its exit code and what it printed.
async fn events(directory: &Directory, words: &[&str]) -> (i32, String) {
    let url = format!("store.url=sqlite://{}", directory.database().display());
    let set = KEPT.map(|(key, value)| format!("{key}={value}"));
    let mut arguments = vec!["--set", &url, "--set", &set[0], "--set", &set[1], "events"];
    arguments.extend(words);
    let outcome = run(directory, &arguments).await;
    (outcome.code, outcome.stdout + &outcome.stderr)
}

#[tokio::test]
async fn sinks_and_dead_letters_are_listed_replayed_and_dropped() {
    let server = Server::with(&KEPT).await;
    let directory = &server.directory;
    let id = server.conversation().await;
    let message = server.stored(&id, "alice", "a").await;
    server
        .put(
            &format!(
                "/api/chat/messages/{}/read/",
                message["id"].as_str().unwrap()
            ),
            json!({"user_id": "bob"}),
        )
        .await;
    let outbox = super::outbox_of(&server);
    let mut lease = super::lease(outbox, "old").await;
    let all = super::events_after(outbox, 0).await;
    assert!(outbox.bury(&mut lease, 1, "no\nway").await.unwrap());
    outbox.release(&lease).await.unwrap();
    let (code, text) = events(directory, &["list"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("redis_stream: 3 events to publish, the oldest of "),
        "{text}"
    );
    assert!(
        text.contains("old: 2 events to publish")
            && text.contains("1 dead letters; published by no process"),
        "{text}"
    );
    let dead = format!("dead: old {} conversation.created ", all[0].event_id);
    assert!(
        text.contains(&dead) && text.contains("no\u{fffd}way"),
        "{text}"
    );
    let (code, text) = events(directory, &["replay", "--sink", "old"]).await;
    assert_eq!(
        (code, text.as_str()),
        (0, "1 dead letters of old are published again.\n")
    );
    let first = ["replay", "--sink", "old", "--from", &all[0].event_id];
    assert_eq!(events(directory, &first).await.0, 0);
    assert_eq!(outbox.backlog("old").await.unwrap().events, 3);
    let unknown = "00000000-0000-7000-8000-000000000000";
    let (code, text) = events(directory, &["replay", "--sink", "old", "--from", unknown]).await;
    assert_eq!(code, 1, "{text}");
    let (_, text) = events(directory, &["drop", "--sink", "old"]).await;
    assert_eq!(text, "1 dead letters of old are deleted.\n");
    let (_, text) = events(directory, &["drop", "--sink", "old", "--forget"]).await;
    assert_eq!(text, "old is forgotten.\n");
    let (code, _) = events(directory, &["drop", "--sink", "old", "--forget"]).await;
    assert_eq!(code, 1);
    let none = run(directory, &["events", "list"]).await;
    assert_eq!(none.code, 1);
    assert!(
        none.stderr.contains("events.sinks is empty"),
        "{}",
        none.stderr
    );
}
