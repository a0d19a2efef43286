//! What is in the rows: exactly what Django would have written, once.

use std::collections::HashSet;

use chatferry::{chat::id, python::datetime::Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::database::Database;
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
    rows::{self, a_mark_keeps_id_and_time, a_message, the_longest_ids_fit},
    until,
};

const NUL_REFUSED: &str = "The database cannot store these values.";

#[tokio::test]
async fn every_time_is_stored_and_read_to_the_microsecond() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let conversation = server.conversation().await;
    for number in 0..20 {
        let sent = server
            .stored(&conversation, "alice", &number.to_string())
            .await;
        let sql = format!(
            "SELECT to_char({{}} AT TIME ZONE 'Asia/Seoul', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') \
             FROM messages WHERE id = '{}'",
            id_of(&sent)
        );
        for name in ["created_at", "updated_at"] {
            let stored: String = database.value(&sql.replace("{}", name)).await;
            // Python leaves six zeroes out.
            let stored = format!("{}+09:00", stored.trim_end_matches(".000000"));
            assert_eq!(sent[name], stored);
        }
    }
    let path = format!("/api/chat/conversations/{conversation}/messages/");
    let listed = server.get(&path).await.json();
    let times: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["created_at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted() && times.len() == 20, "{times:?}");
}

#[tokio::test]
async fn ids_are_told_apart_exactly() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let spellings = [
        "user1", "User1", "user1 ", "ｕser1", "úser1", "😀", "🐱", " ",
    ];
    let mut ids = HashSet::new();
    for spelling in spellings {
        ids.insert(server.conversation_of(spelling, "bob").await);
        assert_eq!(server.conversation_of("bob", spelling).await.len(), 36);
    }
    assert_eq!(ids.len(), spellings.len());
    let rows: i64 = database.value("SELECT count(*) FROM conversations").await;
    assert_eq!(rows, 8);
    let found = server.get("/api/chat/users/User1/conversations/").await;
    assert_eq!(found.json().as_array().unwrap().len(), 1);

    let conversation = ids.iter().next().unwrap();
    let message = id_of(&server.stored(conversation, "a", "x").await);
    let path = format!("/api/chat/messages/{message}/read/");
    for spelling in spellings {
        let answer = server.put(&path, json!({"user_id": spelling})).await;
        assert_eq!(answer.json()["user_id"], spelling);
    }
    let rows: i64 = database
        .value("SELECT count(*) FROM delivery_receipts")
        .await;
    assert_eq!(rows, 8);
}

#[tokio::test]
async fn the_longest_ids_fit_and_longer_ones_are_the_callers_mistake() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    the_longest_ids_fit(&server).await;
    // Spaces that are too many are cut off by PostgreSQL; Django answers with what it was given.
    let padded = format!("p{}", " ".repeat(300));
    let body = json!({"participant1_id": padded, "participant2_id": "bob"});
    let made = server.post("/api/chat/conversations/", body.clone()).await;
    assert_eq!(made.status, 201);
    let stored =
        "SELECT length(participant1_id) FROM conversations WHERE participant1_id LIKE 'p%'";
    assert_eq!(database.value::<i32>(stored).await, 255);
    let again = server.post("/api/chat/conversations/", body).await;
    assert_eq!(
        (again.status, id_of(&again.json())),
        (200, id_of(&made.json()))
    );
}

#[tokio::test]
async fn a_nul_is_refused_wherever_it_comes_and_nobody_else_suffers() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let message = id_of(&server.stored(&id, "alice", "x").await);
    let nul = "a\0b";
    let create = json!({"participant1_id": nul, "participant2_id": "bob"});
    let answers = [
        server.post("/api/chat/conversations/", create).await,
        server
            .put(
                &format!("/api/chat/messages/{message}/read/"),
                json!({"user_id": nul}),
            )
            .await,
        server.get("/api/chat/users/a%00b/conversations/").await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.json(), json!({"detail": NUL_REFUSED}));
        assert_eq!(answer.header("retry-after"), None);
    }
    let mut socket = server.socket(&id).await;
    socket.say(nul).await;
    assert_eq!(socket.error().await, NUL_REFUSED);
    socket.works().await;
}

#[tokio::test]
async fn a_mark_raises_a_receipt_that_is_there_and_keeps_its_id_and_time() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let message = a_message(&server).await;
    let receipt = "00000000-0000-4000-8000-000000000001";
    database
        .run(&format!(
            "INSERT INTO delivery_receipts VALUES \
             ('{receipt}', 'bob', 'delivered', '2020-01-02 03:04:05.000006Z', '{message}')"
        ))
        .await;
    a_mark_keeps_id_and_time(&server, &message, receipt).await;
}

#[tokio::test]
async fn what_belongs_to_a_deleted_row_is_not_found_and_never_an_error() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let other = server.conversation_of("carol", "dave").await;
    database
        .run(&format!("DELETE FROM conversations WHERE id = '{id}'"))
        .await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x"});
    assert_eq!(server.post(&path, body).await.status, 404);
    // The original looks the conversation up and does nothing.
    socket.say("into the void").await;
    server.stored(&other, "carol", "x").await;
    let rows: i64 = database.value("SELECT count(*) FROM messages").await;
    assert_eq!(rows, 1);
}

/// The conversation of [`LONG`].
const LONG_ID: &str = "00000000-0000-4000-8000-000000000001";

/// Ids that are numbers, and hundreds of messages of the same moment, where pages end.
const LONG: &str = "INSERT INTO conversations VALUES ('00000000-0000-4000-8000-000000000001', \
                    'long', 'longer', now(), now(), true); \
                    INSERT INTO messages SELECT lpad(to_hex(n), 32, '0')::uuid, 'a', n, 'text', \
                    timestamptz '2026-01-01' + interval '1 s' * (n / 700), now(), n % 1000 = 0, \
                    '00000000-0000-4000-8000-000000000001' FROM generate_series(0, 5999) AS n;";

#[tokio::test]
async fn a_long_history_comes_whole_and_in_order() {
    let Some(database) = Database::new().await else {
        return;
    };
    database.run(LONG).await;
    let server = database.server().await;
    let wanted: Vec<String> = (0..6000)
        .filter(|number| number % 1000 != 0)
        .map(|number| number.to_string())
        .collect();
    assert_eq!(server.contents(LONG_ID).await, wanted);
    rows::a_long_conversation_is_shown_whole(&server, LONG_ID, "longer", 6000).await;
    let limited = database.server_with(&[("ws.history_limit", "2000")]).await;
    let (_, history) = limited.join(LONG_ID).await;
    let told = history.iter().map(|message| &message["content"]);
    assert!(told.eq(&wanted[wanted.len() - 2000..]));
}

#[tokio::test]
async fn long_messages_make_short_pages() {
    if let Some(database) = Database::new().await {
        rows::long_messages_make_short_pages(&database.server().await).await;
    }
}

#[tokio::test]
async fn the_newest_messages_of_several_are_read_together() {
    if let Some(database) = Database::new().await {
        rows::the_newest_messages_of_several_are_read_together(&database.server().await).await;
    }
}

#[tokio::test]
async fn what_is_read_across_conversations_is_the_same_everywhere() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    conversations_are_listed_by_their_latest_message(&server).await;
    an_inbox_has_the_messages_of_all_conversations(&server).await;
    a_search_finds_a_text_in_any_language(&server).await;
    another_spelling_of_a_user_is_nobody(&database).await;
}

#[tokio::test]
async fn files_are_sent_with_messages() {
    let Some(database) = Database::new().await else {
        return;
    };
    let files = Directory::new();
    let flags = settings(files.path().to_str().unwrap());
    let server = database.server_with(&flags).await;
    a_file_is_sent_with_a_message_and_goes_with_it(&server).await;
    a_stranger_stores_no_file_in_a_group(&server).await;
    a_file_stays_with_its_message_whatever_others_call_theirs(&server).await;
}

#[tokio::test]
async fn the_marks_of_the_newest_messages_are_found() {
    if let Some(database) = Database::new().await {
        rows::the_marks_of_the_newest_messages_are_found(&database.server().await).await;
    }
}

#[tokio::test]
async fn nothing_is_read_without_an_index_of_djangos() {
    let Some(database) = Database::new().await else {
        return;
    };
    let many = "INSERT INTO conversations SELECT gen_random_uuid(), 'a' || n % 500, 'b' || n, \
                now(), now(), true FROM generate_series(1, 4000) AS n; \
                INSERT INTO messages SELECT gen_random_uuid(), 'a', 'x', 'text', now(), now(), \
                false, id FROM conversations, generate_series(1, 15);";
    database.run(&format!("{many} {LONG} ANALYZE")).await;
    let others = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    // A session hands in what it has counted when it ends.
    until("the session's end", async || {
        database.value::<i64>(others).await == 0
    })
    .await;
    database.run("SELECT pg_stat_reset()").await;

    let server = database.server().await;
    let mine = server.get("/api/chat/users/a7/conversations/").await.json();
    assert_eq!(mine.as_array().unwrap().len(), 8);
    let theirs = server.get("/api/chat/users/b7/conversations/").await;
    assert_eq!(theirs.json().as_array().unwrap().len(), 1);
    let id = id_of(&mine[0]);
    assert_eq!(server.contents(&id).await.len(), 15);
    server.get(&format!("/api/chat/conversations/{id}/")).await;
    server.conversation_of("b8", "a8").await;
    server.conversation_of("new", "pair").await;
    let message = id_of(&server.stored(&id, "a7", "x").await);
    let path = format!("/api/chat/messages/{message}/read/");
    server.put(&path, json!({"user_id": "b7"})).await;
    let conversations = [&*id, LONG_ID].map(|id| id.parse().unwrap());
    let since = Timestamp::from_micros(Timestamp::now().micros() - 3_600_000_000);
    let spoken_in = server.app.store.spoken_in(&conversations, since).await;
    assert_eq!(spoken_in.unwrap(), conversations[..1]);
    let newest: Vec<_> = conversations.iter().map(|id| (*id, 50)).collect();
    let between = (since, Timestamp::from_micros(i64::MAX));
    let marked = server.app.store.marked_between(&newest, between, 9).await;
    assert_eq!(marked.unwrap().marks.len(), 1);
    let between = (id::first(since).into(), Uuid::max().into());
    let by_id = server.app.store.marked_by_id(&conversations, between, 9);
    assert_eq!(by_id.await.unwrap().marks.len(), 1);
    server.drained().await;

    until("the sessions' end", async || {
        database.value::<i64>(others).await == 0
    })
    .await;
    let scanned = "SELECT relname::text FROM pg_stat_user_tables \
                   WHERE seq_scan > 0 AND relname IN ('conversations', 'messages')";
    assert_eq!(
        database.values::<String>(scanned).await,
        Vec::<String>::new()
    );
    let used = "SELECT indexrelname::text FROM pg_stat_user_indexes WHERE idx_scan > 0";
    let used: Vec<String> = database.values(used).await;
    assert!(
        used.iter()
            .any(|name| name.starts_with("conversations_participant2_id")),
        "{used:?}"
    );
    assert!(
        used.iter().any(|name| name.starts_with("messages_conver")),
        "{used:?}"
    );
}

#[tokio::test]
async fn a_page_of_a_history_is_read_without_what_comes_after_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    database.run(&format!("{LONG} ANALYZE")).await;
    let server = database.server_with(&[("ws.history_limit", "5000")]).await;
    let read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables \
                WHERE relname = 'messages'";
    let before: i64 = database.value(read).await;
    assert_eq!(server.contents(LONG_ID).await.len(), 5994);
    assert_eq!(server.join(LONG_ID).await.1.len(), 5000);
    server.drained().await;
    let others = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    until("the sessions' end", async || {
        database.value::<i64>(others).await == 0
    })
    .await;
    // Each once, where the last 5000 begin, the newest twice, and with each page the rest of the
    // moment at its end and of the one at its beginning. All that is left, with every page, would
    // be some 70,000.
    let read = database.value::<i64>(read).await - before;
    assert!((10_994..45_000).contains(&read), "{read} rows");
}
