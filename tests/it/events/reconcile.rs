//! Events of messages that a Django beside this server has stored.

use serde_json::Value;
use uuid::Uuid;

use super::{KEPT, events_after, outbox_of, settings};
use crate::{
    mysql::{database::Database as MysqlDatabase, instance::Flavour},
    postgres::database::Database as PostgresDatabase,
    support::{Directory, Server, database::Place, server::schema_of, until},
};

/// A message as Django stores one, now or a day ago, with what follows a time in this database.
fn insert(conversation: &str, content: &str, days: i64, zone: &str) -> String {
    use chatferry::python::datetime::{Timestamp, to_sqlite};
    let now = Timestamp::now().micros() - days * 86_400_000_000;
    let at = to_sqlite(Timestamp::from_micros(now));
    format!(
        "INSERT INTO messages (id, sender_id, content, message_type, created_at, updated_at, \
         is_deleted, conversation_id) VALUES ('{}', 'django', '{content}', 'text', '{at}{zone}', \
         '{at}{zone}', false, '{}')",
        Uuid::new_v4().simple(),
        conversation.replace('-', "")
    )
}

/// Runs a server that looks for others' messages, beside a Django that runs statements with `run`.
async fn others_messages_get_their_events(
    place: &Place,
    zone: &str,
    mut run: impl AsyncFnMut(String),
) {
    let config = settings(&place.url, &KEPT);
    let migrated = chatferry::store::migrate(&config, &schema_of(&config)).await;
    migrated.unwrap();
    let flags = [KEPT[0], KEPT[1], ("events.reconcile_s", "1")];
    let server: Server = place.server_with(&flags).await;
    let id = server.conversation().await;
    run(insert(&id, "yesterday", 1, zone)).await;
    server.stored(&id, "alice", "own").await;
    run(insert(&id, "django", 0, zone)).await;
    let contents = async || {
        let events = events_after(outbox_of(&server), 0).await.into_iter();
        let created = events.filter(|event| event.event_type == "message.created");
        let contents = created.map(|event| {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            data["content"].as_str().unwrap().to_owned()
        });
        contents.collect::<Vec<_>>()
    };
    until("the event of Django's message", async || {
        contents().await.contains(&"django".to_owned())
    })
    .await;
    run(insert(&id, "again", 0, zone)).await;
    until("the next one", async || {
        contents().await.contains(&"again".to_owned())
    })
    .await;
    // Each once, and nothing of before the first look.
    assert_eq!(contents().await, ["own", "django", "again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_messages_get_their_events_on_sqlite() {
    let directory = Directory::new();
    let run = async |sql: String| directory.open().execute_batch(&sql).unwrap();
    others_messages_get_their_events(&Place::on(&directory), "", run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_messages_get_their_events_on_postgres() {
    if let Some(database) = PostgresDatabase::empty().await {
        let run = async |sql: String| database.run(&sql).await;
        others_messages_get_their_events(&database, "+00", run).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_messages_get_their_events_on_mariadb() {
    if let Some(database) = MysqlDatabase::empty(Flavour::MariaDb).await {
        let run = async |sql: String| database.run(&sql).await;
        others_messages_get_their_events(&database, "", run).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_messages_get_their_events_on_mysql() {
    if let Some(database) = MysqlDatabase::empty(Flavour::MySql).await {
        let run = async |sql: String| database.run(&sql).await;
        others_messages_get_their_events(&database, "", run).await;
    }
}
