//! Processes that are killed between any two steps: consumers see every stored message at least
//! once, none that was not stored, in its order, and repeated ones with the same id.

use std::collections::HashMap;

use chatferry::store;
use serde_json::json;

use super::{
    redis_stream::{borrowed, entries, flags},
    settings,
};
use crate::{
    mysql::{database::Database as MysqlDatabase, instance::Flavour},
    postgres::database::Database as PostgresDatabase,
    redis::instance::Redis,
    support::{
        Connection, Directory, Process, database::Place, long_or_short, request, server::schema_of,
        until,
    },
};

/// Messages of a round, and rounds, each of which ends with a kill.
const MESSAGES: usize = 40;

/// Sends messages until the process is killed under them; those that were acknowledged.
async fn say(address: std::net::SocketAddr, conversation: &str, round: usize) -> Vec<String> {
    let path = format!("/api/chat/conversations/{conversation}/messages/send/");
    let mut stored = Vec::new();
    let mut connection = Connection::to(address).await;
    for number in 0..MESSAGES {
        let content = format!("{round}.{number}");
        let body = json!({"sender_id": "alice", "content": content});
        connection
            .push(request("POST", &path, &[], Some(&body)))
            .await;
        match connection.next().await {
            Some(answer) if answer.status == 201 => stored.push(content),
            _ => break,
        }
    }
    stored
}

async fn killed_processes_lose_and_invent_nothing(place: &Place) {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let rounds = long_or_short(20, 4);
    let directory = Directory::new();
    let mut flags = flags(&redis);
    flags.push(("store.url", place.url.clone()));
    let config = settings(&place.url, &borrowed(&flags));
    store::migrate(&config, &schema_of(&config)).await.unwrap();
    let words: Vec<String> = flags
        .iter()
        .map(|(key, it)| format!("{key}={it}"))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut acknowledged = Vec::new();
    let mut conversation = String::new();
    for round in 0..rounds {
        let process = Process::start(&directory, &words).await;
        conversation = process.conversation().await;
        let saying = say(process.address, &conversation, round);
        // Somewhere between the first message and the last; with the sink stopped every other time.
        let killing = async {
            if round % 2 == 1 {
                redis.restart().await;
            }
            let stored = async || {
                let metric = Connection::to(process.address).await;
                let mut metric = metric;
                metric.metric("chatferry_messages_stored_total").await
            };
            until("some messages", async || {
                stored().await >= (MESSAGES / 4 * (round % 3 + 1)) as f64
            })
            .await;
            process.signal("KILL").await;
        };
        let (stored, ()) = tokio::join!(saying, killing);
        acknowledged.extend(stored);
        drop(process);
    }
    // Redis remembers nothing of before it was restarted: what counts is what it gets from now on.
    let process = Process::start(&directory, &words).await;
    let path = format!("/api/chat/conversations/{conversation}/messages/");
    let list = Connection::to(process.address)
        .await
        .ask(request("GET", &path, &[], None))
        .await
        .json();
    let history: Vec<(String, String)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap().to_owned();
            (text("id"), text("content"))
        })
        .collect();
    for content in &acknowledged {
        assert!(
            history.iter().any(|(_, it)| it == content),
            "{content} is lost"
        );
    }
    let newest = history.last().unwrap().0.clone();
    let created = async || {
        let all = entries(&redis).await;
        let created = all.into_iter().filter(|it| it.kind == "message.created");
        created
            .map(|it| {
                (
                    it.id,
                    it.event["data"]["message_id"].as_str().unwrap().to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    until("the last event", async || {
        created()
            .await
            .iter()
            .any(|(_, message)| *message == newest)
    })
    .await;
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut order = Vec::new();
    for (event, message) in created().await {
        match ids.insert(message.clone(), event.clone()) {
            None => order.push(message),
            Some(before) => assert_eq!(before, event, "a repeated event has its id"),
        }
    }
    // In the order of the history, without a gap, and nothing else.
    let messages: Vec<String> = history.into_iter().map(|(id, _)| id).collect();
    let start = messages.iter().position(|it| *it == order[0]).unwrap();
    assert_eq!(order, messages[start..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_processes_lose_and_invent_nothing_on_sqlite() {
    let directory = Directory::new();
    killed_processes_lose_and_invent_nothing(&Place::on(&directory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_processes_lose_and_invent_nothing_on_mariadb() {
    if let Some(database) = MysqlDatabase::empty(Flavour::MariaDb).await {
        killed_processes_lose_and_invent_nothing(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_processes_lose_and_invent_nothing_on_postgres() {
    if let Some(database) = PostgresDatabase::empty().await {
        killed_processes_lose_and_invent_nothing(&database).await;
    }
}
