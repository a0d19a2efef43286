//! Many at once, on one server and on two: everybody gets an answer of their own, and no row is made
//! twice.

use std::collections::HashSet;

use serde_json::json;

use super::{
    database::Database,
    rows::{id_of, send},
};
use crate::support::{Connection, request, soon};

#[tokio::test]
async fn a_row_that_the_table_refuses_does_not_take_its_batch_with_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run("ALTER TABLE messages ADD CONSTRAINT polite CHECK (content <> 'rude')")
        .await;
    let server = database.server().await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let mut sending = Vec::new();
    for number in 0..60 {
        let content = match number % 6 {
            0 => "rude".to_owned(),
            _ => number.to_string(),
        };
        let body = json!({"sender_id": "alice", "content": content});
        let bytes = request("POST", &path, &[], Some(&body));
        let mut connection = Connection::to(server.address).await;
        sending.push(tokio::spawn(
            async move { connection.ask(bytes).await.status },
        ));
    }
    for (number, sending) in sending.into_iter().enumerate() {
        let wanted = if number % 6 == 0 { 400 } else { 201 };
        assert_eq!(sending.await.unwrap(), wanted);
    }
    assert_eq!(server.contents(&id).await.len(), 50);
}

#[tokio::test]
async fn long_messages_at_once_are_stored_in_portions_and_all_of_them() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let mut sending = Vec::new();
    for number in 0..40 {
        let long = char::from(b'a' + number % 26).to_string().repeat(900_000);
        let body = json!({"sender_id": "alice", "content": long});
        let bytes = request("POST", &path, &[], Some(&body));
        let mut connection = Connection::to(server.address).await;
        sending.push(tokio::spawn(
            async move { connection.ask(bytes).await.status },
        ));
    }
    for sending in sending {
        assert_eq!(soon("an answer", sending).await.unwrap(), 201);
    }
    let stored = "SELECT count(*) FROM messages WHERE length(content) = 900000";
    assert_eq!(database.value::<i64>(stored).await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pair_opened_from_both_sides_on_two_servers_at_once_is_one_conversation() {
    let Some(database) = Database::new().await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    for round in 0..10 {
        let mut asking = Vec::new();
        for number in 0..24 {
            let (one, two) = match number % 2 {
                0 => ("ann", "ben"),
                _ => ("ben", "ann"),
            };
            let body = json!({
                "participant1_id": format!("{one}{round}"),
                "participant2_id": format!("{two}{round}"),
            });
            let bytes = request("POST", "/api/chat/conversations/", &[], Some(&body));
            let mut connection = Connection::to(servers[number / 2 % 2].address).await;
            asking.push(tokio::spawn(async move {
                let answer = connection.ask(bytes).await;
                (answer.status, id_of(&answer.json()))
            }));
        }
        let (mut statuses, mut ids) = (Vec::new(), HashSet::new());
        for asking in asking {
            let (status, id) = asking.await.unwrap();
            statuses.push(status);
            ids.insert(id);
        }
        statuses.sort_unstable();
        assert_eq!((statuses[22], statuses[23], ids.len()), (200, 201, 1));
    }
    let rows: i64 = database.value("SELECT count(*) FROM conversations").await;
    assert_eq!(rows, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn read_marks_at_once_on_two_servers_make_one_receipt_each_and_no_error() {
    let Some(database) = Database::new().await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    let conversation = servers[0].conversation().await;
    let mut messages = Vec::new();
    for _ in 0..10 {
        messages.push(id_of(&send(&servers[0], &conversation, "alice", "x").await));
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
        marking.push(tokio::spawn(
            async move { connection.ask(bytes).await.status },
        ));
    }
    for marking in marking {
        assert_eq!(soon("a mark", marking).await.unwrap(), 200);
    }
    let rows: i64 = database
        .value("SELECT count(*) FROM delivery_receipts")
        .await;
    let read = "SELECT count(DISTINCT (message_id, user_id)) FROM delivery_receipts \
                WHERE status = 'read'";
    assert_eq!((rows, database.value::<i64>(read).await), (40, 40));
}
