//! The outbox of each kind of database.

use std::{collections::HashMap, time::Duration};

use chatferry::{python::datetime::Timestamp, store};
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use uuid::Uuid;

use super::{KEPT, LONG, events_after, lease, outbox_of, settings};
use crate::{
    mysql, native,
    postgres::database::Database as PostgresDatabase,
    support::{Directory, Server, database::Place, id_of, races::say_at_once, server::schema_of},
};
use mysql::{database::Database as MysqlDatabase, instance::Flavour};
use mysql_async::prelude::Queryable;

/// Makes a test of each function for each kind of database, in one without any table.
macro_rules! on_each {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let directory = super::Directory::new();
                super::$name(&super::Place::on(&directory)).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                if let Some(database) = super::PostgresDatabase::empty().await {
                    super::$name(&database).await;
                }
            })+
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                if let Some(database) = super::MysqlDatabase::empty(super::Flavour::MariaDb).await {
                    super::$name(&database).await;
                }
            })+
        }
        mod real_mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                if let Some(database) = super::MysqlDatabase::empty(super::Flavour::MySql).await {
                    super::$name(&database).await;
                }
            })+
        }
    };
}

on_each! {
    what_is_stored_makes_an_event_and_what_is_refused_makes_none,
    a_group_and_what_is_sent_to_it_make_events,
    without_a_sink_nothing_is_kept_and_with_one_the_tables_must_be_there,
    two_processes_give_places_without_a_gap_and_in_order,
    a_process_that_was_paused_cannot_move_the_cursor_back,
    an_event_that_is_put_aside_lets_later_ones_pass_and_can_be_repeated,
    old_events_go_when_the_slowest_sink_has_them,
}

/// Makes the tables, those of the outbox too.
async fn migrate(place: &Place) {
    let config = settings(&place.url, &KEPT);
    store::migrate(&config, &schema_of(&config)).await.unwrap();
}

async fn server(place: &Place) -> Server {
    place.server_with(&KEPT).await
}

async fn what_is_stored_makes_an_event_and_what_is_refused_makes_none(place: &Place) {
    migrate(place).await;
    let server = server(place).await;
    let outbox = outbox_of(&server);
    let id = server.conversation().await;
    // The second time it is there.
    assert_eq!(server.conversation().await, id);
    let message = server.stored(&id, "alice", "안녕").await;
    let message_id = id_of(&message);
    server.socket(&id).await.works().await;
    let nowhere = "00000000-0000-4000-8000-000000000000";
    assert_eq!(server.message(nowhere, "alice", "lost").await.status, 404);
    let read = format!("/api/chat/messages/{message_id}/read/");
    for _ in 0..2 {
        let marked = server.put(&read, json!({"user_id": "bob"})).await;
        assert_eq!(marked.status, 200);
    }
    let mut alice = native::Client::open(&server).await;
    alice.subscribe(&id, None).await;
    for (kind, answer) in [("edit", "updated"), ("delete", "deleted")] {
        alice
            .send(json!({
                "type": kind, "ref": 7, "conversation": id, "message": message_id,
                "content": "안녕!", "user": "alice",
            }))
            .await;
        while alice.next_of(answer).await["ref"] != 7 {}
    }
    let events = events_after(outbox, 0).await;
    let types: Vec<&str> = events.iter().map(|it| it.event_type.as_str()).collect();
    let expected = [
        "conversation.created",
        "message.created",
        "message.created",
        "messages.read",
        "message.updated",
        "message.deleted",
    ];
    assert_eq!(types, expected);
    assert!(events.iter().all(|event| event.conversation_id == id));
    let data: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect();
    assert_eq!(data[0]["participant_ids"], json!(["alice", "bob"]));
    assert_eq!(data[1]["message_id"], json!(message_id));
    assert_eq!(data[1]["content"], "안녕");
    assert!(events[1].data.contains("\"content\": \"\\uc548\\ub155\""));
    assert_eq!(data[3]["message_ids"], json!([message_id]));
    assert_eq!(data[3]["user_id"], "bob");
    assert_eq!(data[4]["content"], "안녕!");
    assert_eq!(data[5]["sender_id"], "alice");
}

async fn a_group_and_what_is_sent_to_it_make_events(place: &Place) {
    migrate(place).await;
    let server = server(place).await;
    let id = native::groups::group(&server, &["alice", "bob", "carol"]).await;
    let message = Uuid::new_v4().to_string();
    let mut alice = native::Client::open(&server).await;
    alice.subscribe(&id, None).await;
    let asked = [
        json!({"type": "send", "id": message, "sender": "alice", "content": "여행"}),
        json!({"type": "read", "messages": [message], "user": "bob"}),
        json!({"type": "edit", "message": message, "user": "alice", "content": "여행!"}),
    ];
    for (mut frame, answer) in asked.into_iter().zip(["ack", "ok", "updated"]) {
        frame["conversation"] = json!(id);
        frame["ref"] = json!(7);
        alice.send(frame).await;
        alice.next_of(answer).await;
    }
    let events = events_after(outbox_of(&server), 0).await;
    let types: Vec<&str> = events.iter().map(|it| it.event_type.as_str()).collect();
    let expected = [
        "conversation.created",
        "message.created",
        "messages.read",
        "message.updated",
    ];
    assert_eq!(types, expected);
    assert!(events.iter().all(|event| event.conversation_id == id));
    let made: Value = serde_json::from_str(&events[0].data).unwrap();
    assert_eq!(made["participant_ids"], json!(["alice", "bob", "carol"]));
}

async fn without_a_sink_nothing_is_kept_and_with_one_the_tables_must_be_there(place: &Place) {
    place.migrate().await.unwrap();
    let server = place.server().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "a").await;
    assert!(server.app.store.outbox().is_none());
    let config = settings(&place.url, &KEPT);
    let metrics = std::sync::Arc::new(chatferry::metrics::Metrics::new());
    let opened = store::open(&config, &schema_of(&config), metrics).await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("chatferry migrate"), "{error}");
    let planned = store::pending(&config, &schema_of(&config)).await.unwrap();
    let is_outbox = |sql: &String| sql.contains("chatferry_outbox");
    assert!(!planned.is_empty() && planned.iter().all(is_outbox));
    migrate(place).await;
    let again = store::pending(&config, &schema_of(&config)).await.unwrap();
    assert_eq!(again, [""; 0]);
}

async fn two_processes_give_places_without_a_gap_and_in_order(place: &Place) {
    const EACH: usize = 60;
    migrate(place).await;
    let servers = [server(place).await, server(place).await];
    let mut conversations = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        let one = format!("a{number}");
        conversations.push(server.conversation_of(&one, "b").await);
    }
    // Both look for new events while both store them.
    let placing: Vec<_> = servers
        .iter()
        .map(|server| {
            let outbox = outbox_of(server).clone();
            tokio::spawn(async move {
                let mut given = 0;
                while given < EACH {
                    // A deadlock against the other one is tried again, as the publisher does.
                    given += outbox.give_places().await.unwrap_or(0);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let contents = (0..EACH).map(|number| number.to_string());
    let (one, two) = tokio::join!(
        say_at_once(&servers[0], &conversations[0], contents.clone()),
        say_at_once(&servers[1], &conversations[1], contents)
    );
    assert_eq!([one, two].concat(), vec![201; 2 * EACH]);
    let events = events_after(outbox_of(&servers[0]), 0).await;
    placing.iter().for_each(tokio::task::JoinHandle::abort);
    let places: Vec<i64> = events.iter().map(|event| event.place).collect();
    let all: Vec<i64> = (1..=i64::try_from(2 * EACH + 2).unwrap()).collect();
    assert_eq!(places, all);
    let mut order: HashMap<&str, Vec<String>> = HashMap::new();
    for event in events
        .iter()
        .filter(|it| it.event_type == "message.created")
    {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        let content = data["content"].as_str().unwrap().to_owned();
        let of = order.entry(event.conversation_id.as_str()).or_default();
        of.push(content);
    }
    for conversation in &conversations {
        let history = servers[0].contents(conversation).await;
        assert_eq!(order[conversation.as_str()], history);
    }
}

async fn a_process_that_was_paused_cannot_move_the_cursor_back(place: &Place) {
    migrate(place).await;
    let server = server(place).await;
    let outbox = outbox_of(&server);
    outbox.prepare(&["test"]).await.unwrap();
    let short = Duration::from_millis(1);
    let lease = |owner: &'static str, lasts| outbox.lease("test", owner, lasts);
    let mut paused = lease("one", short).await.unwrap().unwrap();
    assert!(outbox.settle(&mut paused, 5).await.unwrap());
    tokio::time::sleep(short * 20).await;
    let mut next = lease("two", LONG).await.unwrap().unwrap();
    assert_eq!(next.place, 5);
    assert!(lease("three", LONG).await.unwrap().is_none());
    assert!(outbox.settle(&mut next, 9).await.unwrap());
    assert!(!outbox.settle(&mut paused, 6).await.unwrap());
    outbox.release(&paused).await.unwrap();
    assert!(lease("three", LONG).await.unwrap().is_none());
    outbox.release(&next).await.unwrap();
    assert_eq!(lease("three", LONG).await.unwrap().unwrap().place, 9);
}

async fn an_event_that_is_put_aside_lets_later_ones_pass_and_can_be_repeated(place: &Place) {
    migrate(place).await;
    let server = server(place).await;
    let outbox = outbox_of(&server);
    let id = server.conversation().await;
    server.stored(&id, "alice", "poison").await;
    let mut lease = lease(outbox, "test").await;
    let events = events_after(outbox, 0).await;
    let [_, poison] = &events[..] else {
        panic!("{events:?}");
    };
    let why = "it's too \\ \"bad\" 😀";
    assert!(outbox.bury(&mut lease, poison.place, why).await.unwrap());
    assert_eq!(lease.place, poison.place);
    let backlog = outbox.backlog("test").await.unwrap();
    assert_eq!((backlog.events, backlog.dead), (0, 1));
    let letters = outbox.dead_letters(Some("test"), 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].error.as_str()), (1, why));
    assert_eq!(letters[0].event.data, poison.data);
    let repeated = async || outbox.to_be_repeated("test", 10).await.unwrap();
    assert_eq!(repeated().await, []);
    assert_eq!(outbox.repeat("test", None).await.unwrap(), 1);
    assert_eq!(repeated().await[0].event_id, poison.event_id);
    outbox
        .bury_again("test", &poison.event_id, "still")
        .await
        .unwrap();
    assert_eq!(repeated().await, []);
    let dropped = outbox.drop_dead("test", Some(&poison.event_id));
    assert_eq!(dropped.await.unwrap(), 1);
    assert_eq!(outbox.dead_letters(None, 10).await.unwrap(), []);
    // From an event on, all come again, and the process that published must ask anew.
    assert!(outbox.rewind("test", &events[0].event_id).await.unwrap());
    assert!(!outbox.settle(&mut lease, 100).await.unwrap());
    let again = outbox.lease("test", "other", LONG).await.unwrap().unwrap();
    assert_eq!(again.place, 0);
    assert!(!outbox.rewind("test", "no-such-event").await.unwrap());
}

async fn old_events_go_when_the_slowest_sink_has_them(place: &Place) {
    migrate(place).await;
    let server = server(place).await;
    let outbox = outbox_of(&server);
    let id = server.conversation().await;
    server.stored(&id, "alice", "a").await;
    let mut fast = lease(outbox, "fast").await;
    let events = events_after(outbox, 0).await;
    assert!(outbox.settle(&mut fast, 2).await.unwrap());
    let later = Timestamp::from_micros(Timestamp::now().micros() + 60_000_000);
    // The sink of the settings has got nothing.
    assert_eq!(outbox.prune(later).await.unwrap(), 0);
    assert!(outbox.drop_sink("redis_stream").await.unwrap());
    assert_eq!(outbox.prune(events[0].made_at).await.unwrap(), 0);
    assert_eq!(outbox.prune(later).await.unwrap(), 2);
    assert_eq!(events_after(outbox, 0).await, []);
    // A new sink begins where the kept ones begin, which is here the end.
    assert_eq!(lease(outbox, "new").await.place, 2);
}

/// Inserts an event as another process does, with an id of its own.
const INSERT: &str = "INSERT INTO chatferry_outbox \
    (event_id, event_type, conversation_id, made_at, data) \
    VALUES ('slow', 'message.created', 'c', 0, '{}')";

/// The ids of the events that a reader gets that remembers the last place only, as others commit
/// `slow` between two of its looks.
async fn read_around(place: &Place, commit: impl Future<Output = ()>) -> Vec<String> {
    let server = server(place).await;
    let outbox = outbox_of(&server);
    let id = server.conversation().await;
    server.stored(&id, "alice", "fast").await;
    let mut seen = events_after(outbox, 0).await;
    let last = seen.last().unwrap().place;
    commit.await;
    seen.extend(events_after(outbox, last).await);
    seen.into_iter().map(|event| event.event_id).collect()
}

async fn an_event_that_is_committed_late_is_not_passed_over_on(flavour: Flavour) {
    let Some(database) = MysqlDatabase::empty(flavour).await else {
        return;
    };
    migrate(&database).await;
    let mut slow = database.client().await;
    slow.query_drop("START TRANSACTION").await.unwrap();
    slow.query_drop(INSERT).await.unwrap();
    let commit = async { slow.query_drop("COMMIT").await.unwrap() };
    let seen = read_around(&database, commit).await;
    assert_eq!((seen.len(), seen[2].as_str()), (3, "slow"));
}

#[tokio::test]
async fn an_event_that_is_committed_late_is_not_passed_over_on_mariadb() {
    an_event_that_is_committed_late_is_not_passed_over_on(Flavour::MariaDb).await;
}

#[tokio::test]
async fn an_event_that_is_committed_late_is_not_passed_over_on_mysql() {
    an_event_that_is_committed_late_is_not_passed_over_on(Flavour::MySql).await;
}

#[tokio::test]
async fn an_event_that_is_committed_late_is_not_passed_over_on_postgres() {
    let Some(database) = PostgresDatabase::empty().await else {
        return;
    };
    migrate(&database).await;
    let (slow, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(INSERT).await.unwrap();
    let commit = async { slow.batch_execute("COMMIT").await.unwrap() };
    let seen = read_around(&database, commit).await;
    assert_eq!((seen.len(), seen[2].as_str()), (3, "slow"));
}

/// `SQLite` has one writer at a time, so there is no late commit; one that is rolled back leaves
/// nothing.
#[tokio::test]
async fn an_event_of_a_transaction_that_is_rolled_back_is_never_seen() {
    let directory = Directory::new();
    let place = Place::on(&directory);
    migrate(&place).await;
    let db = directory.open();
    let rolled_back = format!("BEGIN IMMEDIATE; {INSERT}; ROLLBACK");
    db.execute_batch(&rolled_back).unwrap();
    let seen = read_around(&place, async { db.execute_batch(&rolled_back).unwrap() }).await;
    assert_eq!(seen.len(), 2);
}
