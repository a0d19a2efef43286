//! Not enough of something: room on the disk, connections, time. Everybody is told, nothing
//! acknowledged is lost, and it goes on when there is enough.

use std::sync::Arc;

use serde_json::json;
use tokio::task::spawn_blocking;

use super::database::Database;
use crate::support::{
    Server,
    faults::{assert_unavailable, goes_on},
    races::{at_once, say_at_once},
    request, until,
};

/// A text that cannot be compressed.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed;
    let letter = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from_u32(0x4e00 + u32::try_from(state >> 52).unwrap()).unwrap()
    };
    (0..length).map(letter).collect()
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let Some(database) = Database::mortal().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    // More than a segment of its log has, less than the messages need.
    database.cluster.limit_files("20000000");
    let mut stored = 0;
    let full = loop {
        let text = noise(200_000, stored);
        let answer = server.message(&id, "alice", &text).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 200, "the disk does not get full");
    };
    assert_unavailable(&full);
    // At once: what a commit came to is remembered for ten seconds.
    assert_eq!(
        server.get("/readyz").await.status,
        503,
        "it can only be read"
    );
    assert_eq!(server.contents(&id).await.len() as u64, stored);
    database.cluster.limit_files("unlimited");
    goes_on(&server, &id, "room").await;
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(server.contents(&id).await.len() as u64, stored + 1);
}

#[tokio::test]
async fn without_a_free_connection_everybody_hears_so_and_with_one_all_goes_on() {
    let Some(database) = Database::new().await else {
        return;
    };
    let name: String = database.value("SELECT current_database()::text").await;
    database
        .run(&format!(
            "CREATE ROLE {name} LOGIN CONNECTION LIMIT 4; \
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}"
        ))
        .await;
    let url = database.url.replace("//chat@", &format!("//{name}@"));
    let server = Server::with(&[("store.url", &url)]).await;
    let id = server.conversation().await;
    let gone =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'");
    database.run(&gone).await;
    // They are told to end, and have a place until they do.
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'");
    until("their end", async || {
        database.value::<i64>(&left).await == 0
    })
    .await;
    let mut others = Vec::new();
    while let Ok(other) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
        tokio::spawn(other.1);
        others.push(other.0);
    }
    assert_unavailable(&server.message(&id, "alice", "x").await);
    let list = format!("/api/chat/conversations/{id}/messages/");
    assert_unavailable(&server.get(&list).await);
    drop(others);
    goes_on(&server, &id, "y").await;

    // Many readers at once would take more connections than there are, and share those.
    let asking = (0..40).map(|_| (&server, request("GET", &list, &[], None)));
    let answers = at_once(asking).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    // Those that read keep none from the one that writes.
    database.run(&gone).await;
    let asking = (0..40).map(|_| (&server, request("GET", &list, &[], None)));
    at_once(asking).await;
    assert_eq!(server.message(&id, "alice", "z").await.status, 201);
    assert_eq!(server.contents(&id).await, ["y", "z"]);
    drop(server);
    database
        .run(&format!("{gone}; DROP OWNED BY {name}; DROP ROLE {name}"))
        .await;
}

#[tokio::test]
async fn a_slow_database_makes_people_wait_and_loses_nothing() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'; \
             CREATE TRIGGER slow BEFORE INSERT ON messages EXECUTE FUNCTION slow()",
        )
        .await;
    let server = database.server().await;
    let id = server.conversation().await;
    let contents: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let statuses = say_at_once(&server, &id, contents.clone()).await;
    assert_eq!(statuses, [201; 100]);
    let mut stored = server.contents(&id).await;
    stored.sort_by_key(|content| content.parse::<u32>().unwrap());
    assert_eq!(stored, contents);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_frozen_server_costs_a_503_and_is_used_again_when_it_thaws() {
    let Some(database) = Database::mortal().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    let cluster = Arc::clone(&database.cluster);
    spawn_blocking(move || cluster.freeze()).await.unwrap();
    // On its way when nobody answers: what becomes of it is told when it is known.
    socket.say("frozen").await;
    let list = format!("/api/chat/conversations/{id}/messages/");
    let (listed, ready) = tokio::join!(server.get(&list), server.get("/readyz"));
    assert_unavailable(&listed);
    assert_eq!(ready.status, 503);
    database.cluster.thaw();
    assert_eq!(socket.heard().await, "frozen");
    goes_on(&server, &id, "thawed").await;
    socket.works().await;
    assert_eq!(server.get("/readyz").await.status, 200);
    let said = ["still here", "frozen", "thawed", "still here"];
    assert_eq!(server.contents(&id).await, said);
}

#[tokio::test]
async fn a_write_that_is_answered_without_an_end_is_refused_and_not_cut_short() {
    let Some(database) = Database::new().await else {
        return;
    };
    let name: String = database.value("SELECT current_database()::text").await;
    // Found before the server's own, on every connection from now on.
    let ours = "public.pg_advisory_xact_lock(bigint)";
    database
        .run(&format!(
            "ALTER DATABASE {name} SET search_path = public, pg_catalog; \
             CREATE FUNCTION {ours} RETURNS SETOF integer LANGUAGE sql AS \
             'SELECT * FROM generate_series(1, 250001)'"
        ))
        .await;
    let server = database.server().await;
    let pair = json!({"participant1_id": "alice", "participant2_id": "bob"});
    // On a busy machine the answer may not end in time: its fate is then unknown at first.
    until("a refusal", async || {
        let refused = server.post("/api/chat/conversations/", pair.clone()).await;
        assert_eq!(refused.status, 503);
        refused.header("retry-after").is_some()
    })
    .await;
    let stored = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<i64>(stored).await, 0);
    database.run(&format!("DROP FUNCTION {ours}")).await;
    until("a conversation", async || {
        let made = server.post("/api/chat/conversations/", pair.clone()).await;
        made.status == 201
    })
    .await;
    assert_eq!(database.value::<i64>(stored).await, 1);
}
