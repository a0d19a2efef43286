//! The SQLite file as others know it: made by Django, locked, taken away and given back.

use std::sync::Arc;

use chatferry::server::Site;
use serde_json::{Value, json};

use crate::native::{
    changes::{a_receipt_only_ever_says_more, changes_at_once_leave_one_version},
    races::{
        a_message_sent_to_two_servers_at_once_is_stored_once,
        the_pages_of_a_history_follow_each_other, unread_messages_are_counted,
    },
};
use crate::support::{
    Directory, Process, Server, Socket, database::Place, request, rows, server::config,
    together::write_together, until,
};

const TABLES: &str = include_str!("../../migrations/sqlite/0001_chat.sql");

/// Rows as Django writes them: 32 hex digits, UTC, and no fraction where it is zero.
const ROWS: &str = "
    INSERT INTO conversations VALUES ('0f8fad5bd9cb469fa16570867728950e', '앨리스', 'bob',
        '2026-11-20 08:54:04.849273', '2026-11-20 08:54:04.849400', 1);
    INSERT INTO messages VALUES ('7c9e6679742540de944be07fc1f90ae7', '앨리스', '안녕', 'text',
        '2026-11-20 15:00:00', '2026-11-20 15:00:00', 0, '0f8fad5bd9cb469fa16570867728950e');
    INSERT INTO delivery_receipts VALUES ('550e8400e29b41d4a716446655440000', 'bob', 'sent',
        '1987-07-01 00:00:00.000001', '7c9e6679742540de944be07fc1f90ae7');";

const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn made_by_django(tables: &str) -> Arc<Directory> {
    let directory = Directory::new();
    directory.open().execute_batch(tables).unwrap();
    Arc::new(directory)
}

#[tokio::test]
async fn a_file_that_django_made_is_worked_on() {
    let directory = made_by_django(&[TABLES, ROWS].concat());
    let server = Server::on(directory, &[]).await;
    let detail = server
        .get(&format!("/api/chat/conversations/{ID}/"))
        .await
        .json();
    assert_eq!(detail["created_at"], "2026-11-20T17:54:04.849273+09:00");
    assert_eq!(detail["participant1_id"], "앨리스");
    assert_eq!(
        detail["last_message"]["created_at"], "2026-11-21T00:00:00+09:00",
        "no fraction"
    );
    let found = server
        .post(
            "/api/chat/conversations/",
            json!({"participant1_id": "bob", "participant2_id": "앨리스"}),
        )
        .await;
    assert_eq!((found.status, found.json()["id"].as_str()), (200, Some(ID)));

    let read = "/api/chat/messages/7c9e6679-7425-40de-944b-e07fc1f90ae7/read/";
    let receipt = server.put(read, json!({"user_id": "bob"})).await.json();
    assert_eq!(
        receipt["id"], "550e8400-e29b-41d4-a716-446655440000",
        "the row that was there"
    );
    assert_eq!(receipt["status"], "read");
    assert_eq!(
        receipt["timestamp"], "1987-07-01T10:00:00.000001+10:00",
        "summer time of 1987"
    );

    let (mut socket, history) = server.join(ID).await;
    assert_eq!(history[0]["content"], "안녕");
    socket.say("ours").await;
    socket.heard().await;
    let row = "SELECT id || ' ' || created_at || ' ' || conversation_id FROM messages WHERE content = 'ours'";
    let row: String = server.directory.value(row);
    let parts: Vec<_> = row.split(' ').collect();
    assert_eq!(
        parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [32, 10, 15, 32],
        "{row}"
    );
}

/// Names and statements of the chat's tables and indexes.
const SCHEMA: &str = "SELECT group_concat(name || ' ' || sql, char(10)) FROM (SELECT name, sql \
    FROM sqlite_master WHERE tbl_name IN ('conversations', 'messages', 'delivery_receipts') \
    ORDER BY name)";

#[tokio::test]
async fn migrate_makes_djangos_tables_and_django_then_finds_nothing_to_do() {
    let (ours, theirs) = (Directory::new(), Directory::new());
    let (our_place, their_place) = (Place::on(&ours), Place::on(&theirs));
    assert!(!our_place.migrate().await.unwrap().is_empty());
    let Some(printed) = our_place.manage(&["migrate"]).await else {
        return;
    };
    assert!(!printed.contains("chat.0001_initial"), "{printed}");
    let check = ["makemigrations", "--check", "--dry-run"];
    our_place.manage(&check).await;
    assert!(our_place.migrate().await.unwrap().is_empty());

    their_place.manage(&["migrate"]).await;
    assert_eq!(ours.value::<String>(SCHEMA), theirs.value::<String>(SCHEMA));
    assert!(their_place.findings().await.is_empty());
    let made = their_place.migrate().await.unwrap();
    assert!(made.iter().all(|sql| sql.contains("chatferry_")));
    assert!(their_place.migrate().await.unwrap().is_empty());
    their_place.manage(&check).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn django_and_chatferry_write_together_and_both_see_every_row() {
    let directory = Directory::new();
    write_together(&Place::on(&directory)).await;
}

#[tokio::test]
async fn a_message_under_an_id_of_its_clients_is_stored_once() {
    let directory = Arc::new(Directory::new());
    let one = Server::on(Arc::clone(&directory), &[]).await;
    let servers = [one, Server::on(directory, &[]).await];
    a_message_sent_to_two_servers_at_once_is_stored_once(&servers).await;
    the_pages_of_a_history_follow_each_other(&servers[0]).await;
    unread_messages_are_counted(&servers[0]).await;
}

#[tokio::test]
async fn changes_and_receipts_of_messages_are_kept() {
    let directory = Arc::new(Directory::new());
    let one = Server::on(Arc::clone(&directory), &[]).await;
    let servers = [one, Server::on(directory, &[]).await];
    changes_at_once_leave_one_version(&servers).await;
    a_receipt_only_ever_says_more(&servers[0]).await;
}

#[tokio::test]
async fn the_newest_messages_of_several_are_read_together() {
    rows::the_newest_messages_of_several_are_read_together(&Server::start().await).await;
}

#[tokio::test]
async fn a_time_past_the_year_9999_is_a_400() {
    let server = Server::start().await;
    let id = server.conversation().await;
    server
        .directory
        .open()
        .execute_batch("UPDATE conversations SET created_at = '9999-12-31 23:00:00'")
        .unwrap();
    let detail = format!("/api/chat/conversations/{id}/");
    let answer = server.get(&detail).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json(), json!(["Datetime value out of range."]));
}

#[tokio::test]
async fn tables_may_have_names_of_their_own_if_they_are_there() {
    let renamed = TABLES
        .replace("\"conversations\"", "\"talk_conversation\"")
        .replace("\"messages\"", "\"talk_message\"")
        .replace("\"delivery_receipts\"", "\"talk_receipt\"");
    let names = [
        ("store.tables.conversations", "talk_conversation"),
        ("store.tables.messages", "talk_message"),
        ("store.tables.delivery_receipts", "talk_receipt"),
    ];
    let server = Server::on(made_by_django(&renamed), &names).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    assert_eq!(
        server
            .directory
            .value::<i64>("SELECT count(*) FROM talk_message"),
        1
    );

    let plain = made_by_django(TABLES);
    let refused = Site::start(config(&plain, &names)).await.err().unwrap();
    assert!(
        refused.to_string().contains("talk_conversation"),
        "{refused}"
    );
}

#[tokio::test]
async fn while_another_process_writes_a_write_waits_and_then_succeeds() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let db = server.directory.open();
    db.execute_batch("BEGIN EXCLUSIVE").unwrap();
    socket.say("patience").await;
    let read = format!("/api/chat/conversations/{id}/messages/");
    assert_eq!(server.get(&read).await.text(), "[]", "readers do not wait");
    let asked = "chatferry_ws_requests_total{type=\"chat_message\"}";
    until("the write", async || server.metric(asked).await > 0.5).await;
    assert_eq!(server.get(&read).await.text(), "[]");
    db.execute_batch("COMMIT").unwrap();
    assert_eq!(socket.heard().await, "patience");
    assert_eq!(server.contents(&id).await, ["patience"]);
}

#[tokio::test]
async fn while_the_store_is_broken_it_is_told_and_when_it_is_healed_all_goes_on() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    let send = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x"});
    let db = server.directory.open();
    for _ in 0..2 {
        db.execute_batch(
            "ALTER TABLE messages RENAME TO lost; ALTER TABLE conversations RENAME TO lost_too",
        )
        .unwrap();
        let refused = server.post(&send, body.clone()).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (503, Some("1"))
        );
        assert!(refused.json()["detail"].is_string());
        let handshake =
            Socket::try_open(server.connect().await, &format!("/ws/chat/{id}/"), "").await;
        assert_eq!(handshake.err().unwrap().status, 503);
        socket.say("not stored").await;
        assert_eq!(
            socket.error().await,
            "The message could not be stored, try again"
        );
        socket.is_open().await;
        let ready = server.get("/readyz").await;
        assert_eq!(
            (ready.status, &ready.json()["status"]),
            (503, &json!("unavailable"))
        );
        assert_eq!(
            server.get("/healthz").await.status,
            200,
            "the process is well"
        );

        db.execute_batch(
            "ALTER TABLE lost RENAME TO messages; ALTER TABLE lost_too RENAME TO conversations",
        )
        .unwrap();
        assert_eq!(server.post(&send, body.clone()).await.status, 201);
        assert_eq!(server.get("/readyz").await.status, 200);
        socket.works().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let create = request("POST", "/api/chat/conversations/", &[], Some(&body));
    let made: Value = server.connect().await.ask(create).await.json();
    let id = made["id"].as_str().unwrap();
    let mut socket = Socket::open(server.connect().await, id).await;
    socket.history().await;
    socket.works().await;
    // No file of the process may grow past what its files have now.
    server.limit_files("64K").await;
    let big = "x".repeat(100_000);
    let mut told = false;
    for _ in 0..3 {
        socket.say(&big).await;
        let frame = socket.json().await;
        told |= frame["error"] == "The message could not be stored, try again";
    }
    assert!(told);
    server.limit_files("unlimited").await;
    socket.works().await;
    let stored: i64 = directory.value("SELECT count(*) FROM messages WHERE length(content) = 10");
    assert_eq!(
        stored, 2,
        "both that were acknowledged, and nothing half-written"
    );
    assert_eq!(directory.value::<String>("PRAGMA integrity_check"), "ok");
}

#[tokio::test]
async fn times_and_texts_follow_the_settings() {
    let settings = [
        ("django.time_zone", "America/New_York"),
        ("django.language", "ko"),
    ];
    let server = Server::on(made_by_django(&[TABLES, ROWS].concat()), &settings).await;
    let detail = server
        .get(&format!("/api/chat/conversations/{ID}/"))
        .await
        .json();
    assert_eq!(detail["created_at"], "2026-11-20T03:54:04.849273-05:00");
    let mut socket = server.socket(ID).await;
    socket.say("x").await;
    let time = socket.json().await["message"]["created_at"].clone();
    assert!(time.as_str().unwrap().ends_with("-05:00"), "{time}");
    let send = format!("/api/chat/conversations/{ID}/messages/send/");
    let refused = server.post(&send, json!({})).await.json();
    assert_eq!(refused["sender_id"], json!(["이 필드는 필수 항목입니다."]));

    let server = Server::with(&[("django.time_zone", "UTC")]).await;
    let id = server.conversation().await;
    let detail = server
        .get(&format!("/api/chat/conversations/{id}/"))
        .await
        .json();
    assert!(
        detail["created_at"].as_str().unwrap().ends_with('Z'),
        "as REST framework writes UTC"
    );
}
