//! What each database must get right, on one server and on two.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, contents, message};
use crate::support::Server;

/// Messages that come to two servers at once, and again, are stored once each; all get the same
/// answer.
pub async fn a_message_sent_to_two_servers_at_once_is_stored_once(servers: &[Server; 2]) {
    const MANY: usize = 20;
    let id = servers[0].conversation().await;
    let own: Vec<String> = (0..MANY).map(|_| Uuid::now_v7().to_string()).collect();
    let sent = join_all(servers.iter().chain(servers).map(async |server| {
        let mut client = Client::open(server).await;
        client.subscribe(&id, None).await;
        for (number, own) in own.iter().enumerate() {
            client.send(message(own, &id, &number.to_string())).await;
        }
        let mut acks = Vec::new();
        while acks.len() < MANY {
            let answer = client.next().await;
            assert_ne!(answer["type"], "nack", "{answer}");
            if answer["type"] == "ack" {
                acks.push(answer);
            }
        }
        acks.sort_by_key(|ack| ack["id"].as_str().map(ToOwned::to_owned));
        acks
    }))
    .await;
    assert!(sent.iter().all(|acks| *acks == sent[0]), "{sent:#?}");
    let stored: HashSet<String> = servers[1].contents(&id).await.into_iter().collect();
    assert_eq!(stored.len(), MANY);
    assert_eq!(servers[0].contents(&id).await.len(), MANY);
}

/// Pages of a history follow upon each other in both directions, none left out and none twice.
pub async fn the_pages_of_a_history_follow_each_other(server: &Server) {
    const MANY: usize = 23;
    let id = server.conversation_of("carol", "dave").await;
    for number in 0..MANY {
        server.stored(&id, "alice", &number.to_string()).await;
    }
    let mut client = Client::open(server).await;
    client.subscribe(&id, None).await;
    let all: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    let mut page = client.ask(history(&id, "before", &Value::Null)).await;
    let mut shown = texts(&page);
    let mut first = page["before"].clone();
    while page["before"].is_string() {
        first = page["before"].clone();
        page = client.ask(history(&id, "before", &first)).await;
        shown.splice(0..0, texts(&page));
    }
    assert_eq!(shown, all);
    let mut shown = texts(&client.ask(history(&id, "before", &first)).await);
    let mut place = first;
    while place.is_string() {
        // The message at the place itself is between the two.
        let page = client.ask(history(&id, "after", &place)).await;
        shown.extend(texts(&page));
        place = page["next"].clone();
    }
    assert_eq!(shown.len(), MANY - 1);
}

fn history(id: &str, direction: &str, place: &Value) -> Value {
    json!({"type": "history", "conversation": id, direction: place, "limit": 5})
}

fn texts(page: &Value) -> Vec<String> {
    contents(page).into_iter().map(ToOwned::to_owned).collect()
}
