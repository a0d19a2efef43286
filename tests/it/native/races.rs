//! What each database must get right, on one server and on two.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, api::ask_with, contents, message};
use crate::support::{Answer, Server, http::id_of};

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

/// Messages of others count as unread until they are marked, whatever others have marked.
pub async fn unread_messages_are_counted(server: &Server) {
    let ids = [
        server.conversation_of("ann", "ben").await,
        server.conversation_of("ann", "cleo").await,
        server.conversation_of("ann", "dan").await,
    ];
    let mut told = Vec::new();
    for (sender, content) in [("ann", "a"), ("ben", "b"), ("ben", "c")] {
        told.push(id_of(&server.stored(&ids[0], sender, content).await));
    }
    server.stored(&ids[1], "cleo", "hello").await;
    let mut client = Client::open(server).await;
    client.subscribe(&ids[0], None).await;
    let ask = |user: &str| json!({"type": "unread", "conversations": ids, "user": user});
    let counts = |answer: &Value| -> Vec<u64> {
        let counts = answer["counts"].as_array().unwrap().iter();
        counts.map(|it| it["unread"].as_u64().unwrap()).collect()
    };
    assert_eq!(counts(&client.ask(ask("ann")).await), [2, 1, 0]);
    assert_eq!(counts(&client.ask(ask("ben")).await), [1, 1, 0]);
    let read = |user: &str, messages: &[String]| json!({"type": "read", "conversation": ids[0], "messages": messages, "user": user});
    client.send(read("ann", &told[1..2])).await;
    client.next_of("ok").await;
    client.send(read("ben", &told[..1])).await;
    client.next_of("ok").await;
    client.send(ask("ann")).await;
    assert_eq!(counts(&client.next_of("unread").await), [1, 1, 0]);
    client.send(ask("ben")).await;
    assert_eq!(counts(&client.next_of("unread").await), [0, 1, 0]);
}

/// Messages that come under the same keys to two servers at once, and again, are stored once each;
/// one answer of each says that it is new.
pub async fn a_key_sent_to_two_servers_at_once_is_stored_once(servers: &[Server; 2]) {
    const MANY: usize = 10;
    let id = servers[0].conversation_of("key", "bob").await;
    let path = format!("conversations/{id}/messages?user=key");
    let twice = servers.iter().chain(servers);
    let all = twice.flat_map(|server| (0..MANY).map(move |number| (server, number)));
    let answers = join_all(all.map(async |(server, number)| {
        let (key, body) = (
            format!("order {number}"),
            json!({"content": number.to_string()}),
        );
        let header = [("Idempotency-Key", key.as_str())];
        ask_with(server, "POST", &path, &header, Some(&body)).await
    }));
    let answers = answers.await;
    for number in 0..MANY {
        let same: Vec<&Answer> = answers.iter().skip(number).step_by(MANY).collect();
        let new = same.iter().filter(|answer| answer.status == 201).count();
        assert_eq!((same.len(), new), (4, 1), "{same:?}");
        assert!(same.iter().all(|answer| answer.json() == same[0].json()));
    }
    assert_eq!(servers[1].contents(&id).await.len(), MANY);
}
