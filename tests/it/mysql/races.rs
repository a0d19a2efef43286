//! Many at once, on two servers: everything happens exactly once and nothing is an error.

use std::collections::HashSet;

use serde_json::json;

use super::{database::Database, instance::Flavour};
use crate::support::{Connection, request, soon};

pub async fn a_pair_opened_from_both_sides_on_two_servers_at_once_is_one_conversation(on: Flavour) {
    const AT_ONCE: usize = 50;
    let Some(database) = Database::new(on).await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    for round in 0..10 {
        let mut asking = Vec::new();
        for number in 0..AT_ONCE {
            // The same two people, however they are written.
            let (one, two) = match number % 4 {
                0 => ("ann", "ben"),
                1 => ("ben", "ann"),
                2 => ("Ann", "BEN "),
                _ => ("bén", "ANN"),
            };
            let body = json!({
                "participant1_id": format!("{round} {one}"),
                "participant2_id": format!("{round} {two}"),
            });
            let bytes = request("POST", "/api/chat/conversations/", &[], Some(&body));
            let mut connection = Connection::to(servers[number / 4 % 2].address).await;
            asking.push(tokio::spawn(async move {
                let answer = connection.ask(bytes).await;
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                (answer.status, id)
            }));
        }
        let (mut statuses, mut ids) = (Vec::new(), HashSet::new());
        for asking in asking {
            let (status, id) = soon("an answer", asking).await.unwrap();
            statuses.push(status);
            ids.insert(id);
        }
        statuses.sort_unstable();
        assert_eq!(statuses[AT_ONCE - 2..], [200, 201]);
        assert_eq!(ids.len(), 1);
    }
    let rows = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<u64>(rows).await, 10);
}

pub async fn read_marks_at_once_on_two_servers_make_one_receipt_each_and_no_error(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    let conversation = servers[0].conversation().await;
    let send = format!("/api/chat/conversations/{conversation}/messages/send/");
    let mut messages = Vec::new();
    for _ in 0..10 {
        let body = json!({"sender_id": "alice", "content": "x"});
        let stored = servers[0].post(&send, body).await.json();
        messages.push(stored["id"].as_str().unwrap().to_owned());
    }
    let mut marking = Vec::new();
    for number in 0..400 {
        // Half of them go through the messages backwards.
        let place = match number % 2 {
            0 => number / 2 % 10,
            _ => 9 - number / 2 % 10,
        };
        let path = format!("/api/chat/messages/{}/read/", messages[place]);
        let body = json!({"user_id": format!("reader{}", number / 20 % 4)});
        let bytes = request("PUT", &path, &[], Some(&body));
        let mut connection = Connection::to(servers[number % 2].address).await;
        marking.push(tokio::spawn(async move { connection.ask(bytes).await }));
    }
    for marking in marking {
        let answer = soon("a mark", marking).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let rows: (u64, u64) = database
        .value(
            "SELECT count(*), count(DISTINCT message_id, user_id) FROM delivery_receipts \
             WHERE status = 'read'",
        )
        .await;
    assert_eq!(rows, (40, 40));
}
