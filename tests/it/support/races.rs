//! Many at once, on one server and on two, whatever the database.

use std::collections::HashSet;

use serde_json::json;

use super::{Answer, Connection, Server, http::id_of, request, soon};

/// Sends the requests at once, each on a connection of its own; the answers in the same order.
pub async fn at_once(requests: impl IntoIterator<Item = (&Server, String)>) -> Vec<Answer> {
    let mut asking = Vec::new();
    for (server, bytes) in requests {
        let mut connection = Connection::to(server.address).await;
        asking.push(tokio::spawn(async move { connection.ask(bytes).await }));
    }
    let mut answers = Vec::new();
    for asking in asking {
        answers.push(soon("an answer", asking).await.unwrap());
    }
    answers
}

/// Sends these contents to a conversation at once; the statuses of the answers.
pub async fn say_at_once(
    server: &Server,
    conversation: &str,
    contents: impl IntoIterator<Item = String>,
) -> Vec<u16> {
    let path = format!("/api/chat/conversations/{conversation}/messages/send/");
    let requests = contents.into_iter().map(|content| {
        let body = json!({"sender_id": "alice", "content": content});
        (server, request("POST", &path, &[], Some(&body)))
    });
    let answers = at_once(requests).await;
    answers.iter().map(|answer| answer.status).collect()
}

/// Ten pairs, each opened at once by many on two servers, are ten conversations. `spellings` are
/// ways to write the two people of a pair.
pub async fn open_pairs(servers: &[Server; 2], spellings: &[(&str, &str)]) {
    const AT_ONCE: usize = 48;
    for round in 0..10 {
        let requests = (0..AT_ONCE).map(|number| {
            let (one, two) = spellings[number % spellings.len()];
            let body = json!({
                "participant1_id": format!("{round} {one}"),
                "participant2_id": format!("{round} {two}"),
            });
            let bytes = request("POST", "/api/chat/conversations/", &[], Some(&body));
            (&servers[number / spellings.len() % 2], bytes)
        });
        let answers = at_once(requests).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses[..AT_ONCE - 1], [200; AT_ONCE - 1]);
        assert_eq!(statuses[AT_ONCE - 1], 201);
        let ids: HashSet<_> = answers.iter().map(|answer| id_of(&answer.json())).collect();
        assert_eq!(ids.len(), 1);
    }
}

/// Ten messages, each marked ten times by each of four readers at once on two servers: 40 receipts,
/// and no error.
pub async fn mark_at_once(servers: &[Server; 2]) {
    let conversation = servers[0].conversation().await;
    let mut messages = Vec::new();
    for _ in 0..10 {
        messages.push(id_of(&servers[0].stored(&conversation, "alice", "x").await));
    }
    let requests = (0..400).map(|number| {
        // Half of them go through the messages backwards.
        let place = match number % 2 {
            0 => number / 2 % 10,
            _ => 9 - number / 2 % 10,
        };
        let path = format!("/api/chat/messages/{}/read/", messages[place]);
        let body = json!({"user_id": format!("reader{}", number / 20 % 4)});
        let bytes = request("PUT", &path, &[], Some(&body));
        (&servers[number % 2], bytes)
    });
    for answer in at_once(requests).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
