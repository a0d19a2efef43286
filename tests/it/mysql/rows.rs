//! What is in the rows: exactly what Django would have written, once.

use std::fmt::Write as _;

use mysql_async::prelude::Queryable as _;
use serde_json::json;

use super::{database::Database, instance::Flavour};
use crate::native::{
    api_overview::{
        a_search_finds_a_text_in_any_language, an_inbox_has_the_messages_of_all_conversations,
        conversations_are_listed_by_their_latest_message,
    },
    api_rights::another_spelling_of_a_user_is_nobody,
    attachments::{
        a_file_is_sent_with_a_message_and_goes_with_it,
        a_file_stays_with_its_message_whatever_others_call_theirs,
        a_stranger_stores_no_file_in_a_group, settings,
    },
};
use crate::support::{
    Directory, id_of,
    races::say_at_once,
    rows::{self, a_mark_keeps_id_and_time, a_message, the_longest_ids_fit},
};

pub async fn every_time_is_stored_and_read_to_the_microsecond(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let conversation = server.conversation().await;
    for number in 0..20 {
        let sent = server
            .stored(&conversation, "alice", &number.to_string())
            .await;
        for name in ["created_at", "updated_at"] {
            let sql = format!(
                "SELECT date_format({name} + INTERVAL 9 HOUR, '%Y-%m-%dT%H:%i:%s.%f') \
                 FROM messages WHERE content = '{number}'"
            );
            let stored: String = database.value(&sql).await;
            // Python leaves six zeroes out.
            let stored = format!("{}+09:00", stored.trim_end_matches(".000000"));
            assert_eq!(sent[name], stored);
        }
    }
    let path = format!("/api/chat/conversations/{conversation}/messages/");
    let listed = server.get(&path).await.json();
    let listed = listed.as_array().unwrap().iter();
    let times: Vec<_> = listed
        .map(|message| message["created_at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted() && times.len() == 20, "{times:?}");
}

pub async fn the_collation_tells_which_users_are_the_same(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation_of("User1", "😀").await;
    for (one, two) in [
        ("user1", "😀"),
        ("🐱", "USER1"),
        ("ｕser1  ", "😀"),
        ("úser1", "🐱 "),
    ] {
        assert_eq!(server.conversation_of(one, two).await, id, "{one} {two}");
    }
    let found = server.get("/api/chat/users/USER1/conversations/").await;
    assert_eq!(found.json()[0]["participant1_id"], "User1");

    let message = id_of(&server.stored(&id, "a", "x").await);
    let path = format!("/api/chat/messages/{message}/read/");
    let first = server.put(&path, json!({"user_id": "Bob"})).await.json();
    assert_eq!(first["user_id"], "Bob");
    let again = server.put(&path, json!({"user_id": "bob "})).await.json();
    assert_eq!(again, first, "what is found is shown as it is stored");
    let rows = "SELECT count(*) FROM delivery_receipts";
    assert_eq!(database.value::<u64>(rows).await, 1);
}

pub async fn the_longest_ids_fit_and_spaces_that_are_too_many_are_cut_off(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    the_longest_ids_fit(&server).await;
    // Django answers with what it was given.
    let padded = format!("p{}", " ".repeat(300));
    let body = json!({"participant1_id": padded, "participant2_id": "bob"});
    let made = server.post("/api/chat/conversations/", body.clone()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["participant1_id"], padded);
    let again = server.post("/api/chat/conversations/", body).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["participant1_id"], padded[..255]);

    let message = id_of(&server.stored(&id_of(&made.json()), &padded, "x").await);
    let path = format!("/api/chat/messages/{message}/read/");
    let marked = server.put(&path, json!({"user_id": padded})).await.json();
    assert_eq!(marked["user_id"], padded);
    let marked = server.put(&path, json!({"user_id": padded})).await.json();
    assert_eq!(marked["user_id"], padded[..255]);
}

pub async fn a_nul_and_emoji_are_kept(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let contents = [
        "😀 안녕하세요",
        r#"'; DROP TABLE messages; -- \' " \"#,
        "%_\u{1a}\r\n.",
    ];
    for content in contents {
        assert_eq!(
            server.stored(&id, "a'\\", content).await["content"],
            content
        );
    }
    assert_eq!(server.contents(&id).await, contents);
    let senders = "SELECT count(*) FROM messages WHERE sender_id = 'a\\'\\\\'";
    assert_eq!(database.value::<u64>(senders).await, 3);
    // REST knows no NUL; a socket does.
    let mut socket = server.socket(&id).await;
    socket.say("a\0b").await;
    assert_eq!(socket.heard().await, "a\0b");
    assert_eq!(server.contents(&id).await[3], "a\0b");
}

pub async fn a_row_that_the_table_refuses_does_not_take_its_batch_with_it(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    // A newer app has a rule of its own: nobody says the same thing twice.
    database
        .run(
            "ALTER TABLE messages ADD COLUMN said varchar(64) AS (left(content, 64)) STORED UNIQUE",
        )
        .await;
    let server = database.server().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "again").await;
    let contents = (0..60).map(|number| match number % 6 {
        0 => "again".to_owned(),
        _ => number.to_string(),
    });
    let statuses = say_at_once(&server, &id, contents).await;
    for (number, status) in statuses.into_iter().enumerate() {
        assert_eq!(status, if number % 6 == 0 { 400 } else { 201 });
    }
    assert_eq!(server.contents(&id).await.len(), 51);
}

pub async fn a_text_longer_than_a_packet_is_the_callers_mistake(on: Flavour) {
    let Some(database) = Database::mortal(on, &["--max-allowed-packet=64K"]).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    // Quotes are twice as long on their way.
    let contents = (0..20).map(|number| match number % 4 {
        0 => "'".repeat(40_000),
        _ => "x".repeat(40_000),
    });
    let statuses = say_at_once(&server, &id, contents).await;
    for (number, status) in statuses.into_iter().enumerate() {
        assert_eq!(status, if number % 4 == 0 { 400 } else { 201 });
    }
    assert_eq!(server.contents(&id).await.len(), 15);
}

pub async fn a_mark_raises_a_receipt_that_is_there_and_keeps_its_id_and_time(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let message = a_message(&server).await;
    database
        .run(&format!(
            "INSERT INTO delivery_receipts (id, user_id, status, timestamp, message_id) VALUES \
             ('00000000000040008000000000000001', 'bob', 'delivered', \
             '2020-01-02 03:04:05.000006', '{}')",
            message.replace('-', "")
        ))
        .await;
    a_mark_keeps_id_and_time(&server, &message, "00000000-0000-4000-8000-000000000001").await;
}

pub async fn what_belongs_to_a_deleted_row_is_not_found_and_never_an_error(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let other = server.conversation_of("carol", "dave").await;
    database
        .run("DELETE FROM conversations WHERE participant1_id = 'alice'")
        .await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x"});
    assert_eq!(server.post(&path, body).await.status, 404);
    // The original looks the conversation up and does nothing.
    socket.say("into the void").await;
    server.stored(&other, "carol", "x").await;
    let rows = "SELECT count(*) FROM messages";
    assert_eq!(database.value::<u64>(rows).await, 1);
    let read = "/api/chat/messages/00000000-0000-4000-8000-000000000000/read/";
    let body = json!({"user_id": "bob"});
    assert_eq!(server.put(read, body).await.status, 404);
}

pub async fn a_long_history_comes_whole_and_in_order(on: Flavour) {
    const ROWS: usize = 12_000;
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    fill(&database, &id, ROWS).await;
    let contents = server.contents(&id).await;
    let wanted = (0..ROWS).filter(|number| number % 1000 != 0);
    assert_eq!(contents.len(), ROWS - 12);
    assert!(
        contents
            .into_iter()
            .eq(wanted.map(|number| number.to_string()))
    );
    rows::a_long_conversation_is_shown_whole(&server, &id, "alice", ROWS).await;
    let limited = database.server_with(&[("ws.history_limit", "6000")]).await;
    let (_, history) = limited.join(&id).await;
    assert_eq!(history.len(), 6000);
    assert_eq!(history[5999]["content"], (ROWS - 1).to_string());
}

/// Messages of one conversation, by number; each thousandth is deleted.
async fn fill(database: &Database, conversation: &str, rows: usize) {
    let mut sql = "INSERT INTO messages (id, sender_id, content, message_type, created_at, \
                   updated_at, is_deleted, conversation_id) VALUES "
        .to_owned();
    for number in 0..rows {
        // Hundreds of the same moment, where pages end.
        let second = number / 700;
        write!(
            sql,
            "{}('{number:032x}', 'a', '{number}', 'text', '2026-01-01 00:00:{second:02}', \
             '2026-01-01', {}, '{}')",
            if number == 0 { "" } else { ", " },
            number % 1000 == 0,
            conversation.replace('-', "")
        )
        .unwrap();
    }
    database.run(&sql).await;
}

pub async fn no_page_of_a_history_walks_through_those_before_it(on: Flavour) {
    const ROWS: usize = 12_000;
    // What is counted is all that the server does.
    let Some(database) = Database::mortal(on, &["--innodb-monitor-enable=icp_attempts"]).await
    else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    // The whole table is one conversation: the optimizer has no use for its id.
    fill(&database, &id, ROWS).await;
    database.run("ANALYZE TABLE messages").await;
    let mut root = database.instance.root().await;
    let mut seen = async || {
        let sql = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'icp_attempts'";
        let count: Option<usize> = root.query_first(sql).await.unwrap();
        count.unwrap()
    };
    let before = seen().await;
    assert_eq!(server.contents(&id).await.len(), ROWS - 12);
    let seen = seen().await - before;
    // Those of the moment in which a page ends are seen again by the next one.
    assert!((1..3 * ROWS).contains(&seen), "{seen} entries of the index");
}

pub async fn long_messages_make_short_pages(on: Flavour) {
    if let Some(database) = Database::new(on).await {
        rows::long_messages_make_short_pages(&database.server().await).await;
    }
}

pub async fn the_newest_messages_of_several_are_read_together(on: Flavour) {
    if let Some(database) = Database::new(on).await {
        rows::the_newest_messages_of_several_are_read_together(&database.server().await).await;
    }
}

pub async fn what_is_read_across_conversations_is_the_same_everywhere(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = database.server().await;
    conversations_are_listed_by_their_latest_message(&server).await;
    an_inbox_has_the_messages_of_all_conversations(&server).await;
    a_search_finds_a_text_in_any_language(&server).await;
    another_spelling_of_a_user_is_nobody(&database).await;
}

pub async fn files_are_sent_with_messages(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let files = Directory::new();
    let flags = settings(files.path().to_str().unwrap());
    let server = database.server_with(&flags).await;
    a_file_is_sent_with_a_message_and_goes_with_it(&server).await;
    a_stranger_stores_no_file_in_a_group(&server).await;
    a_file_stays_with_its_message_whatever_others_call_theirs(&server).await;
}

pub async fn the_marks_of_the_newest_messages_are_found(on: Flavour) {
    if let Some(database) = Database::new(on).await {
        rows::the_marks_of_the_newest_messages_are_found(&database.server().await).await;
    }
}

pub async fn nothing_is_read_without_an_index_of_djangos(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let uuid = "replace(uuid(), '-', '')";
    let numbers = "(WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < 900) \
                   SELECT n FROM n) AS numbers";
    database
        .run(&format!(
            "INSERT INTO conversations SELECT {uuid}, concat('a', n % 100), concat('b', n), \
             now(6), now(6), true FROM {numbers};\n\
             INSERT INTO messages SELECT {uuid}, 'a', 'x', 'text', \
             now(6), now(6), false, id FROM conversations, {numbers} WHERE n <= 15;\n\
             ANALYZE TABLE conversations, messages"
        ))
        .await;
    let (one, two): (String, String) = database
        .value("SELECT min(id), max(id) FROM conversations")
        .await;
    let message: String = database.value("SELECT min(id) FROM messages").await;
    let hex = |id: String| format!("'{}'", id.replace('-', ""));
    let explain = match on {
        Flavour::MariaDb => "EXPLAIN",
        Flavour::MySql => "EXPLAIN FORMAT = TRADITIONAL",
    };
    let (one, two, message) = (hex(one), hex(two), hex(message));
    for (sql, index) in reads(&one, &two, &message) {
        let mut client = database.client().await;
        let plan: Vec<mysql_async::Row> = client.query(format!("{explain} {sql}")).await.unwrap();
        let key: Option<String> = plan[0].get("key").unwrap();
        // MariaDB adds what a filter leaves over.
        let rows: String = plan[0].get("rows").unwrap();
        let rows: u64 = rows.split(' ').next().unwrap().parse().unwrap();
        let key = key.unwrap_or_default();
        assert!(key.contains(index), "{sql}: {key}");
        assert!(rows < 100, "{sql}: {rows} rows");
    }
    for sql in reads_across(&one, &two, &message) {
        let mut client = database.client().await;
        let plan: Vec<mysql_async::Row> = client.query(format!("{explain} {sql}")).await.unwrap();
        let tables = plan.iter().filter(|step| {
            let table: Option<String> = step.get("table").unwrap();
            matches!(table.as_deref(), Some("m" | "c"))
        });
        let keys: Vec<Option<String>> = tables.map(|step| step.get("key").unwrap()).collect();
        assert!(
            keys.len() >= 2 && keys.iter().all(Option::is_some),
            "{sql}: {keys:?}"
        );
    }
}

/// The ways we read across conversations, for two of them and a message.
fn reads_across(one: &str, two: &str, message: &str) -> [String; 2] {
    let nearest = [one, two].map(|of| {
        format!(
            "SELECT * FROM (SELECT id AS near_id, created_at AS near_at FROM messages AS m \
             WHERE conversation_id >= {of} AND conversation_id <= {of} AND NOT is_deleted \
             AND created_at <= '2099-01-01' AND (created_at < '2099-01-01' OR id < {message}) \
             ORDER BY conversation_id DESC, created_at DESC, id DESC LIMIT 50) AS one"
        )
    });
    [
        "SELECT id, active_at FROM (SELECT id, COALESCE((SELECT m.created_at FROM messages AS m \
         WHERE m.conversation_id = c.id AND NOT m.is_deleted ORDER BY m.created_at DESC LIMIT 1), \
         c.created_at) AS active_at FROM conversations AS c WHERE is_active \
         AND (participant1_id = 'a7' OR participant2_id = 'a7')) AS c \
         WHERE TRUE AND active_at <= '2099-01-01' ORDER BY active_at DESC, id DESC LIMIT 50"
            .to_owned(),
        format!(
            "SELECT m.id FROM (SELECT near_id, near_at FROM ({}) AS every \
             ORDER BY near_at DESC, near_id DESC LIMIT 50) AS nearest \
             STRAIGHT_JOIN messages AS m ON m.id = nearest.near_id \
             ORDER BY near_at DESC, near_id DESC",
            nearest.join(" UNION ALL ")
        ),
    ]
}

/// The ways we read, each with the index it is to use, for two conversations and a message.
fn reads(one: &str, two: &str, message: &str) -> [(String, &'static str); 10] {
    [
        (
            "SELECT * FROM conversations WHERE is_active AND (participant1_id = 'a7' \
                 OR participant2_id = 'a7') ORDER BY updated_at DESC, id DESC LIMIT 100"
                .to_owned(),
            "conversations_participant1_id",
        ),
        (
            format!(
                "SELECT * FROM conversations WHERE is_active AND (participant1_id = 'a7' \
                 OR participant2_id = 'a7') AND updated_at <= '2099-01-01' \
                 AND (updated_at < '2099-01-01' OR id < {one}) \
                 ORDER BY updated_at DESC, id DESC LIMIT 100"
            ),
            "conversations_participant1_id",
        ),
        (
            "SELECT * FROM conversations WHERE (participant1_id = 'a7' AND participant2_id = 'b7') \
             OR (participant1_id = 'b7' AND participant2_id = 'a7') ORDER BY id LIMIT 1"
                .to_owned(),
            "participant",
        ),
        (
            format!(
                "SELECT * FROM messages WHERE conversation_id = {one} AND NOT is_deleted \
                 ORDER BY created_at DESC, id DESC LIMIT 500"
            ),
            "messages_convers_3ebb41_idx",
        ),
        (
            format!(
                "SELECT * FROM messages WHERE conversation_id >= {one} AND conversation_id <= {one} \
                 AND NOT is_deleted AND created_at >= '2026-01-01' AND (created_at > '2026-01-01' OR id > {message}) \
                 AND created_at <= '2099-01-01' AND (created_at < '2099-01-01' OR id <= {message}) \
                 ORDER BY conversation_id, created_at, id LIMIT 500"
            ),
            "messages_convers_3ebb41_idx",
        ),
        (
            format!(
                "SELECT * FROM messages WHERE conversation_id >= {one} AND conversation_id <= {one} \
                 AND created_at >= '2026-01-01' AND (created_at > '2026-01-01' OR id > {message}) \
                 ORDER BY conversation_id, created_at, id LIMIT 500"
            ),
            "messages_convers_3ebb41_idx",
        ),
        (
            format!(
                "SELECT created_at, id FROM messages WHERE conversation_id = {one} \
                 AND NOT is_deleted ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET 10"
            ),
            "messages_convers_3ebb41_idx",
        ),
        (
            format!(
                "SELECT DISTINCT conversation_id FROM messages \
                 WHERE conversation_id IN ({one}, {two}) AND created_at >= '2026-01-01'"
            ),
            "messages_convers_3ebb41_idx",
        ),
        (
            format!(
                "SELECT * FROM messages WHERE conversation_id IN ({one}, {two}) \
                 ORDER BY conversation_id, created_at, id LIMIT 1000"
            ),
            "messages_convers_3ebb41_idx",
        ),
        (
            format!("SELECT 1 FROM messages WHERE id = {message}"),
            "PRIMARY",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn digits_in_a_column_of_uuids_are_no_number() {
    // MariaDB's own type for UUIDs takes no digits.
    let Some(database) = Database::new(Flavour::MySql).await else {
        return;
    };
    let server = database.server().await;
    let conversation = server.conversation().await;
    server.stored(&conversation, "alice", "before").await;
    database.run("UPDATE messages SET id = '5'").await;
    let path = format!("/api/chat/conversations/{conversation}/messages/");
    let answer = server.get(&path).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
}
