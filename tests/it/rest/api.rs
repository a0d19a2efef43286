//! Each path of the API, used as it is meant to be, and the order in which requests are refused.

use serde_json::{Value, json};

use crate::support::{Server, request};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn a_new_pair_gets_a_conversation_and_then_always_the_same_one() {
    let server = Server::start().await;
    let pair = |one: &str, two: &str| json!({"participant1_id": one, "participant2_id": two});
    let made = server
        .post("/api/chat/conversations/", pair("alice", "bob"))
        .await;
    assert_eq!(made.status, 201);
    let conversation = made.json();
    assert_eq!(conversation["participant1_id"], "alice");
    assert_eq!(conversation["messages"], json!([]));
    assert_eq!(conversation["last_message"], Value::Null);
    assert!(made.text().starts_with("{\"id\":\""), "{}", made.text());
    assert!(made.text().contains("+09:00\",\"is_active\":true,"));
    for swapped in [pair("alice", "bob"), pair("bob", "alice")] {
        let found = server.post("/api/chat/conversations/", swapped).await;
        assert_eq!((found.status, found.json()), (200, conversation.clone()));
    }
}

#[tokio::test]
async fn a_message_sent_is_in_every_list_it_belongs_to() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let send = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": " 안녕 \u{1f600} "});
    let answer = server.post(&send, body).await;
    assert_eq!(answer.status, 201);
    let message = answer.json();
    assert_eq!(message["content"], "안녕 \u{1f600}");
    assert_eq!(message["message_type"], "text");
    let hidden = json!({"sender_id": "bob", "content": "x", "is_deleted": true});
    assert_eq!(server.post(&send, hidden).await.status, 201);

    let listed = server
        .get(&format!("/api/chat/conversations/{id}/messages/"))
        .await;
    assert_eq!((listed.status, listed.json()), (200, json!([message])));
    let detail = server
        .get(&format!("/api/chat/conversations/{id}/"))
        .await
        .json();
    assert_eq!(detail["last_message"], message);
    assert_eq!(
        detail["messages"].as_array().unwrap().len(),
        2,
        "deleted ones too"
    );
    for user in ["alice", "bob"] {
        let of_user = server
            .get(&format!("/api/chat/users/{user}/conversations/"))
            .await;
        assert_eq!((of_user.status, of_user.json()), (200, json!([detail])));
    }
    let nobody = server.get("/api/chat/users/nobody/conversations/").await;
    assert_eq!((nobody.status, nobody.text()), (200, "[]"));
}

#[tokio::test]
async fn a_read_mark_is_kept_with_its_first_time() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let send = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x"});
    let message = server.post(&send, body).await.json();
    let read = format!(
        "/api/chat/messages/{}/read/",
        message["id"].as_str().unwrap()
    );
    let first = server.put(&read, json!({"user_id": "bob"})).await;
    assert_eq!(first.status, 200);
    let receipt = first.json();
    assert_eq!(
        (&receipt["message"], &receipt["status"]),
        (&message["id"], &json!("read"))
    );
    let mut names = keys(&receipt);
    names.sort_unstable();
    assert_eq!(names, ["id", "message", "status", "timestamp", "user_id"]);
    assert_eq!(
        server.put(&read, json!({"user_id": "bob"})).await.json(),
        receipt
    );
    let count: i64 = server
        .directory
        .value("SELECT count(*) FROM delivery_receipts");
    assert_eq!(count, 1);
}

#[tokio::test]
async fn what_is_missing_is_told_in_the_originals_words() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let answer = server
        .post("/api/chat/conversations/", json!({"participant1_id": "a"}))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text(),
        "{\"error\":\"participant1_id와 participant2_id가 필요합니다.\"}"
    );
    let send = format!("/api/chat/conversations/{id}/messages/send/");
    let answer = server.post(&send, json!({"content": " "})).await;
    assert_eq!(answer.status, 400);
    let expected = "{\"sender_id\":[\"This field is required.\"],\
                    \"content\":[\"This field may not be blank.\"]}";
    assert_eq!(answer.text(), expected);
    for (method, path, text) in [
        (
            "GET",
            format!("/api/chat/conversations/{NOBODY}/"),
            "Conversation",
        ),
        (
            "GET",
            format!("/api/chat/conversations/{NOBODY}/messages/"),
            "Conversation",
        ),
        (
            "POST",
            format!("/api/chat/conversations/{NOBODY}/messages/send/"),
            "Conversation",
        ),
        (
            "PUT",
            format!("/api/chat/messages/{NOBODY}/read/"),
            "Message",
        ),
    ] {
        let answer = server.send(request(method, &path, &[], None)).await;
        let expected = format!("{{\"detail\":\"No {text} matches the given query.\"}}");
        assert_eq!(
            (answer.status, answer.text()),
            (404, expected.as_str()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_earlier_refusal_wins_over_a_later_one() {
    let server = Server::start().await;
    let path = format!("/api/chat/conversations/{NOBODY}/messages/send/");
    // Everything is wrong with this request; each round one thing less.
    let mut wrong = vec![
        ("Content-Type", "text/plain"),
        ("Authorization", "Basic !"),
        ("Accept", "image/png"),
    ];
    let mut statuses = Vec::new();
    for (method, path) in [
        ("DELETE", path.trim_end_matches('/')),
        ("DELETE", "/api/chat/nothing/"),
        ("DELETE", &path),
    ] {
        statuses.push(
            server
                .send(request(method, path, &wrong, None))
                .await
                .status,
        );
    }
    wrong.pop();
    statuses.push(
        server
            .send(request("DELETE", &path, &wrong, None))
            .await
            .status,
    );
    wrong.pop();
    statuses.push(
        server
            .send(request("DELETE", &path, &wrong, None))
            .await
            .status,
    );
    statuses.push(
        server
            .send(request("POST", &path, &wrong, None))
            .await
            .status,
    );
    let id = server.conversation().await;
    let path = path.replace(NOBODY, &id);
    let text = format!(
        "POST {path} HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    statuses.push(server.send(text).await.status);
    statuses.push(server.post(&path, json!({})).await.status);
    assert_eq!(statuses, [301, 404, 406, 403, 405, 404, 415, 400]);
}

#[tokio::test]
async fn each_method_a_path_does_not_take_gets_405_and_the_list_of_those_it_does() {
    let server = Server::start().await;
    for (path, allowed) in [
        ("conversations/".to_owned(), "POST, OPTIONS"),
        (format!("conversations/{NOBODY}/"), "GET, HEAD, OPTIONS"),
        (format!("conversations/{NOBODY}/messages/"), "GET, OPTIONS"),
        (
            format!("conversations/{NOBODY}/messages/send/"),
            "POST, OPTIONS",
        ),
        ("users/alice/conversations/".to_owned(), "GET, OPTIONS"),
        (format!("messages/{NOBODY}/read/"), "PUT, OPTIONS"),
    ] {
        let path = format!("/api/chat/{path}");
        let allowed: Vec<_> = allowed.split(", ").collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
            let answer = server.send(request(method, &path, &[], None)).await;
            assert_eq!(
                answer.status == 405,
                !allowed.contains(&method),
                "{method} {path}"
            );
            if answer.status == 405 {
                let text = format!("{{\"detail\":\"Method \\\"{method}\\\" not allowed.\"}}");
                assert_eq!(answer.text(), text);
                let mut told: Vec<_> = answer.header("allow").unwrap().split(", ").collect();
                let mut allowed = allowed.clone();
                told.sort_unstable();
                allowed.sort_unstable();
                assert_eq!(told, allowed, "{path}");
            }
        }
        let options = server.send(request("OPTIONS", &path, &[], None)).await;
        assert_eq!(options.status, 200);
        let parses = [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ];
        assert_eq!(options.json()["parses"], json!(parses));
    }
}

#[tokio::test]
async fn head_is_get_without_its_body_and_only_where_the_original_has_it() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let detail = format!("/api/chat/conversations/{id}/");
    let get = server.get(&detail).await;
    let mut connection = server.connect().await;
    connection
        .send(request("HEAD", &detail, &[("Connection", "close")], None))
        .await;
    let head = connection.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
    connection.closed().await;
    for path in [
        format!("{detail}messages/"),
        "/api/chat/users/a/conversations/".into(),
    ] {
        let mut connection = server.connect().await;
        connection.send(request("HEAD", &path, &[], None)).await;
        assert_eq!(connection.head().await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn rest_messages_reach_sockets_only_if_that_is_asked_for() {
    for broadcast in ["false", "true"] {
        let server = Server::with(&[("rest.broadcast", broadcast)]).await;
        let id = server.conversation().await;
        let mut socket = server.socket(&id).await;
        let send = format!("/api/chat/conversations/{id}/messages/send/");
        let body = json!({"sender_id": "alice", "content": "by REST"});
        assert_eq!(server.post(&send, body).await.status, 201);
        socket.say("by socket").await;
        if broadcast == "true" {
            assert_eq!(socket.heard().await, "by REST");
        }
        assert_eq!(socket.heard().await, "by socket");
    }
}

#[tokio::test]
async fn what_is_the_servers_to_say_cannot_be_sent() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x", "id": nobody, "conversation": nobody,
                      "created_at": "2000-01-01T00:00:00Z", "updated_at": "2000-01-01T00:00:00Z"});
    let stored = server.post(&path, body).await.json();
    assert_ne!(stored["id"], nobody);
    assert!(!stored["created_at"].as_str().unwrap().starts_with("2000"));
    assert_eq!(server.contents(&id).await, ["x"]);
    let fields: Vec<_> = stored.as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 7, "{fields:?}");
    let body =
        json!({"participant1_id": "a", "participant2_id": "b", "id": nobody, "is_active": false});
    let made = server.post("/api/chat/conversations/", body).await.json();
    assert_ne!(made["id"], nobody);
    assert_eq!(made["is_active"], true);
}
