//! Ids that only the database takes for one, before a Django that finds rows as the database does:
//! what it would find of others is answered here. The file compares letters without their case.

use std::sync::Arc;

use serde_json::json;

use super::upstream::{Call, Upstream};
use crate::{
    auth::{token::BY_SECRET, wire::Caller},
    support::{Directory, Server, process::run},
};

const TABLES: &str = include_str!("../../../migrations/sqlite/0001_chat.sql");

/// A Django that must not be asked.
async fn django() -> Upstream {
    Upstream::start(|mut call: Call| async move {
        while call.head().await.is_some() {
            call.answer("django's own").await;
        }
    })
    .await
}

fn loose() -> Directory {
    let directory = Directory::new();
    let tables = TABLES.replace("varchar(255)", "varchar(255) COLLATE NOCASE");
    directory.open().execute_batch(&tables).unwrap();
    directory
}

#[tokio::test]
async fn what_django_would_find_of_others_is_answered_here() {
    let directory = Arc::new(loose());
    let upstream = django().await;
    let url = upstream.url();
    let ours = [
        ("gateway.upstream", url.as_str()),
        ("gateway.rollout_percent", "0"),
        ("auth.policy", "participants"),
    ];
    let all = [&ours[..], &BY_SECRET].concat();
    let server = Server::on(Arc::clone(&directory), &all).await;
    directory
        .open()
        .execute_batch(
            "INSERT INTO conversations VALUES ('00000000000040008000000000000001', 'Victor', \
             'squatbob', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 1);
             INSERT INTO conversations VALUES ('00000000000040008000000000000002', 'Alice', \
             'alice', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 1);
             INSERT INTO messages VALUES ('00000000000040008000000000000003', 'Alice', 'x', \
             'text', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 0, \
             '00000000000040008000000000000002');
             INSERT INTO delivery_receipts VALUES ('00000000000040008000000000000004', 'Alice', \
             'sent', '2026-01-01 00:00:00', '00000000000040008000000000000003');",
        )
        .unwrap();
    let ask = async |user: &str, method: &str, path: &str, body| {
        Caller::known(&server, user).ask(method, path, body).await
    };
    let pair = json!({"participant1_id": "squatbob", "participant2_id": "victor"});
    let merged = ask("squatbob", "POST", "conversations/", Some(&pair)).await;
    assert_eq!(merged.status, 409);
    let listed = ask("victor", "GET", "users/victor/conversations/", None).await;
    assert_eq!((listed.status, listed.text()), (200, "[]"));
    let path = "messages/00000000-0000-4000-8000-000000000003/read/";
    let body = json!({"user_id": "alice"});
    let marked = ask("alice", "PUT", path, Some(&body)).await;
    assert_eq!((marked.status, marked.text()), (409, merged.text()));
    let status = "SELECT status FROM delivery_receipts";
    assert_eq!(directory.value::<String>(status), "sent");
    assert_eq!(upstream.accepted(), 0, "none of it reached Django");

    let pair = json!({"participant1_id": "squatbob", "participant2_id": "Victor"});
    for (user, method, path, body) in [
        ("squatbob", "POST", "conversations/", Some(&pair)),
        ("Victor", "GET", "users/Victor/conversations/", None),
    ] {
        let answer = ask(user, method, path, body).await;
        assert_eq!(answer.text(), "django's own", "{path}");
    }
}

#[tokio::test]
async fn a_file_that_takes_ids_for_one_is_warned_of() {
    let directory = loose();
    let url = format!("store.url=sqlite://{}", directory.database().display());
    let policy = [&BY_SECRET[..], &[("auth.policy", "participants")]].concat();
    let policy: Vec<String> = policy
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut arguments = vec!["check", "--set", &url];
    for setting in &policy {
        arguments.extend(["--set", setting]);
    }
    let checked = run(&directory, &arguments).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked
            .stderr
            .contains("conversations.participant1_id (NOCASE)"),
        "{checked:?}"
    );
}
