//! The REST API of our own.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, contents};
use crate::support::{Answer, Server, http::id_of, request};

/// Asks the API, as the user of the parameter `user` where there is no identity.
pub async fn ask(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Answer {
    ask_with(server, method, path, &[], body).await
}

pub async fn ask_with(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let path = format!("/api/v1/{path}");
    server.send(request(method, &path, headers, body)).await
}

pub async fn get(server: &Server, path: &str) -> Value {
    let answer = ask(server, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

pub async fn post(server: &Server, path: &str, body: Value) -> Answer {
    ask(server, "POST", path, Some(&body)).await
}

/// Sends a message, which must be stored.
pub async fn say(server: &Server, id: &str, sender: &str, content: &str) -> Value {
    let path = format!("conversations/{id}/messages");
    let sent = post(server, &path, json!({"sender": sender, "content": content})).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    sent.json()
}

/// An answer that says why not.
fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
}

fn ids(page: &Value) -> Vec<String> {
    let all = page["conversations"].as_array().unwrap().iter();
    all.map(id_of).collect()
}

#[tokio::test]
async fn a_conversation_is_opened_once_for_a_pair() {
    let server = Server::start().await;
    let opened = post(&server, "conversations?user=alice", json!({"with": "bob"})).await;
    assert_eq!(opened.status, 201);
    let conversation = opened.json();
    assert_eq!(conversation["members"], json!(["alice", "bob"]));
    assert_eq!(
        (&conversation["last"], &conversation["unread"]),
        (&json!(null), &json!(0))
    );
    let again = post(&server, "conversations?user=bob", json!({"with": "alice"})).await;
    assert_eq!((again.status, again.json()), (200, conversation.clone()));
    let path = format!("conversations/{}", id_of(&conversation));
    assert_eq!(get(&server, &path).await, conversation);
    let members = get(&server, &format!("{path}/members")).await;
    assert_eq!(
        members,
        json!({"members": [{"user": "alice"}, {"user": "bob"}]})
    );
    let long = json!({"with": "a".repeat(256)});
    is_problem(
        &post(&server, "conversations?user=alice", long).await,
        413,
        "too_long",
    );
    for body in [
        json!({}),
        json!({"with": ""}),
        json!({"with": 7}),
        json!([]),
    ] {
        let refused = post(&server, "conversations?user=alice", body).await;
        is_problem(&refused, 400, "bad_request");
    }
    let form = request(
        "POST",
        "/api/v1/conversations?user=alice",
        &[("Content-Length", "8")],
        None,
    );
    is_problem(
        &server.send(form + "with=bob").await,
        415,
        "unsupported_media_type",
    );
}

#[tokio::test]
async fn who_speaks_must_be_said_where_nobody_is_known() {
    let server = Server::start().await;
    let id = server.conversation().await;
    for path in [
        "conversations",
        "inbox",
        "search?q=x",
        "unread",
        "conversations?user=",
    ] {
        is_problem(&ask(&server, "GET", path, None).await, 400, "no_sender");
    }
    let path = format!("conversations/{id}/messages");
    let sent = post(&server, &path, json!({"content": "x"})).await;
    is_problem(&sent, 400, "no_sender");
    assert_eq!(get(&server, "me").await["user"], json!(null));
    let sent = post(
        &server,
        &format!("{path}?user=alice"),
        json!({"content": "x"}),
    )
    .await;
    assert_eq!(sent.json()["sender"], "alice");
}

#[tokio::test]
async fn a_message_is_stored_once_however_often_it_is_sent() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut bob = Client::open(&server).await;
    bob.subscribe(&id, None).await;
    let path = format!("conversations/{id}/messages?user=alice");
    let own = Uuid::now_v7().to_string();
    let body = json!({"id": own, "content": "안녕"});
    let sent = join_all((0..6).map(|_| post(&server, &path, body.clone()))).await;
    let stored = sent[0].json();
    assert_eq!(
        (&stored["id"], &stored["content"]),
        (&json!(own), &json!("안녕"))
    );
    assert!(sent.iter().all(|answer| answer.json() == stored));
    let new = |sent: &[Answer]| sent.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(new(&sent), 1);
    assert!(sent.iter().all(|answer| matches!(answer.status, 200 | 201)));
    assert_eq!(bob.next().await["message"], stored);

    let key = [("Idempotency-Key", "order 7")];
    let body = json!({"content": "by its key"});
    let sent = (0..6).map(|_| ask_with(&server, "POST", &path, &key, Some(&body)));
    let sent = join_all(sent).await;
    assert_eq!(new(&sent), 1);
    assert!(sent.iter().all(|answer| answer.json() == sent[0].json()));
    assert_eq!(bob.next().await["message"], sent[0].json());
    bob.hears_nothing().await;
    let other = server.conversation_of("alice", "carol").await;
    let elsewhere = format!("conversations/{other}/messages?user=alice");
    let sent = ask_with(&server, "POST", &elsewhere, &key, Some(&body)).await;
    assert_eq!(sent.status, 201, "a key is of one conversation");
    let taken = post(&server, &elsewhere, json!({"id": own, "content": "x"})).await;
    is_problem(&taken, 409, "id_taken");
    // Changes of it would pass for those of the conversation.
    let taken = post(&server, &path, json!({"id": id, "content": "x"})).await;
    is_problem(&taken, 409, "id_taken");
    assert_eq!(server.contents(&id).await, ["안녕", "by its key"]);
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_refused() {
    let server = Server::with(&[("ws.max_message_bytes", "2048")]).await;
    let id = server.conversation().await;
    let path = format!("conversations/{id}/messages?user=alice");
    for (body, status, code) in [
        (json!({"content": ""}), 400, "bad_request"),
        (json!({"kind": "text"}), 400, "bad_request"),
        (json!({"content": "x", "id": "7"}), 400, "bad_request"),
        (json!({"content": "x".repeat(2049)}), 413, "too_long"),
        (
            json!({"content": "x", "kind": "y".repeat(11)}),
            413,
            "too_long",
        ),
    ] {
        is_problem(&post(&server, &path, body).await, status, code);
    }
    let key = "k".repeat(65);
    let body = json!({"content": "x"});
    let long = ask_with(
        &server,
        "POST",
        &path,
        &[("Idempotency-Key", &key)],
        Some(&body),
    )
    .await;
    is_problem(&long, 400, "bad_request");
    let nowhere = format!("conversations/{}/messages?user=alice", Uuid::nil());
    is_problem(&post(&server, &nowhere, body).await, 404, "no_conversation");
    assert_eq!(server.contents(&id).await, [""; 0]);
}

#[tokio::test]
async fn pages_of_messages_follow_each_other_in_both_directions() {
    const MANY: usize = 23;
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut all = Vec::new();
    for number in 0..MANY {
        all.push(number.to_string());
        server.stored(&id, "alice", &all[number]).await;
    }
    let path = format!("conversations/{id}/messages?limit=5");
    let mut page = get(&server, &path).await;
    assert_eq!(page["next"], json!(null));
    let (mut shown, mut first) = (contents(&page).join(" "), json!(null));
    while let Some(before) = page["before"].as_str() {
        first = json!(before);
        page = get(&server, &format!("{path}&before={before}")).await;
        shown = format!("{} {shown}", contents(&page).join(" "));
    }
    assert_eq!(shown, all.join(" "));
    let mut newer = Vec::new();
    let mut after = first.as_str().map(ToOwned::to_owned);
    while let Some(cursor) = after {
        page = get(&server, &format!("{path}&after={cursor}")).await;
        newer.extend(contents(&page).into_iter().map(ToOwned::to_owned));
        after = page["next"].as_str().map(ToOwned::to_owned);
    }
    assert_eq!(newer, all[4..]);
    for wrong in ["before=x", "after=1.2", "limit=0", "limit=501", "limit=x"] {
        let path = format!("conversations/{id}/messages?{wrong}");
        is_problem(&ask(&server, "GET", &path, None).await, 400, "bad_request");
    }
}

#[tokio::test]
async fn one_message_is_shown_unless_it_is_deleted_or_elsewhere() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let other = server.conversation_of("alice", "carol").await;
    let sent = say(&server, &id, "alice", "here").await;
    let path = |id: &str| {
        format!(
            "conversations/{id}/messages/{}",
            sent["id"].as_str().unwrap()
        )
    };
    assert_eq!(get(&server, &path(&id)).await, sent);
    is_problem(
        &ask(&server, "GET", &path(&other), None).await,
        404,
        "no_message",
    );
    let sql = "UPDATE messages SET is_deleted = 1";
    server.directory.open().execute(sql, []).unwrap();
    is_problem(
        &ask(&server, "GET", &path(&id), None).await,
        404,
        "no_message",
    );
}

#[tokio::test]
async fn marks_are_counted_and_told() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut sent = Vec::new();
    for number in 0..3 {
        sent.push(id_of(
            &say(&server, &id, "alice", &number.to_string()).await,
        ));
    }
    let unread = async |user: &str| {
        let path = format!("unread?user={user}&conversations={id}");
        get(&server, &path).await["counts"][0]["unread"].clone()
    };
    assert_eq!(
        (unread("alice").await, unread("bob").await),
        (json!(0), json!(3))
    );
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    let path = format!("conversations/{id}/read?user=bob");
    let marked = post(&server, &path, json!({"messages": sent[..2]})).await;
    assert_eq!(marked.status, 204, "{}", marked.text());
    for _ in 0..2 {
        assert_eq!(alice.next().await["type"], "read");
    }
    assert_eq!(unread("bob").await, json!(1));
    let list = get(&server, "conversations?user=bob").await;
    assert_eq!(list["conversations"][0]["unread"], 1);
    let elsewhere = json!({"messages": [Uuid::nil().to_string()]});
    is_problem(&post(&server, &path, elsewhere).await, 404, "no_message");
    for body in [
        json!({"messages": []}),
        json!({"messages": ["7"]}),
        json!({}),
    ] {
        is_problem(&post(&server, &path, body).await, 400, "bad_request");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let server = Server::start().await;
    let id = server.conversation().await;
    for path in [
        "",
        "nothing",
        "me/",
        "conversations/7",
        "conversations/x/messages",
    ] {
        is_problem(&ask(&server, "GET", path, None).await, 404, "not_found");
    }
    for (method, path, allow) in [
        (
            "DELETE",
            "conversations".to_owned(),
            "GET, HEAD, POST, OPTIONS",
        ),
        ("POST", "me".to_owned(), "GET, HEAD, OPTIONS"),
        ("HEAD", format!("conversations/{id}/events"), "GET, OPTIONS"),
    ] {
        let mut connection = server.connect().await;
        let asked = request(method, &format!("/api/v1/{path}"), &[], None);
        connection.send(asked).await;
        let refused = connection.head().await;
        assert_eq!(refused.status, 405);
        assert_eq!(refused.header("allow"), Some(allow));
    }
    let options = ask(&server, "OPTIONS", "me", None).await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, HEAD, OPTIONS"))
    );
    let off = Server::with(&[("native.api_prefix", "off")]).await;
    let answer = ask(&off, "GET", "me", None).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let moved = Server::with(&[("native.api_prefix", "/own/")]).await;
    assert_eq!(moved.get("/own/me").await.status, 200);
    assert_eq!(ask(&moved, "GET", "me", None).await.status, 404);
}

#[tokio::test]
async fn limits_hold_here_too() {
    let limits = [
        ("limits.address.messages", "2/day"),
        ("limits.address.conversations", "2/day"),
    ];
    let server = Server::with(&limits).await;
    let opened = post(&server, "conversations?user=alice", json!({"with": "bob"})).await;
    let path = format!(
        "conversations/{}/messages?user=alice",
        id_of(&opened.json())
    );
    let body = json!({"content": "x"});
    for status in [201, 201, 429] {
        let sent = post(&server, &path, body.clone()).await;
        assert_eq!(sent.status, status);
        assert_eq!(sent.header("retry-after").is_some(), status == 429);
    }
    for status in [200, 429] {
        let opened = post(&server, "conversations?user=alice", json!({"with": "bob"})).await;
        assert_eq!(opened.status, status);
    }
    let few = Server::with(&[("limits.address.requests", "1/day")]).await;
    assert_eq!(ask(&few, "GET", "me", None).await.status, 200);
    is_problem(&ask(&few, "GET", "me", None).await, 429, "throttled");
}

#[tokio::test]
async fn a_list_of_any_length_costs_four_statements() {
    let server = Server::start().await;
    for number in 0..30 {
        let id = server.conversation_of("alice", &number.to_string()).await;
        say(&server, &id, "alice", "x").await;
    }
    let reads = async || server.metric("chatferry_store_read_seconds_count").await;
    let before = reads().await;
    let page = get(&server, "conversations?user=alice&limit=30").await;
    assert_eq!(ids(&page).len(), 30);
    let asked = reads().await - before;
    assert!((1.0..=4.0).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_message_is_changed_and_deleted_by_its_sender() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut bob = Client::open(&server).await;
    bob.subscribe(&id, None).await;
    let own = id_of(&say(&server, &id, "alice", "frist").await);
    let path = format!("conversations/{id}/messages/{own}");
    let as_user = |user: &str| format!("{path}?user={user}");
    let first = json!({"content": "first"});
    let refused = ask(&server, "PATCH", &as_user("bob"), Some(&first)).await;
    is_problem(&refused, 403, "not_yours");
    let edited = ask(&server, "PATCH", &as_user("alice"), Some(&first)).await;
    assert_eq!(
        (edited.status, &edited.json()["content"]),
        (200, &json!("first"))
    );
    let told = bob.next_of("updated").await;
    assert_eq!(told["message"], edited.json());
    assert_eq!(get(&server, &path).await, edited.json());
    let empty = json!({"content": ""});
    let refused = ask(&server, "PATCH", &as_user("alice"), Some(&empty)).await;
    is_problem(&refused, 400, "bad_request");
    let refused = ask(&server, "DELETE", &as_user("bob"), None).await;
    is_problem(&refused, 403, "not_yours");
    let deleted = ask(&server, "DELETE", &as_user("alice"), None).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(bob.next_of("deleted").await["message"], own);
    for method in ["GET", "DELETE"] {
        let gone = ask(&server, method, &as_user("alice"), None).await;
        is_problem(&gone, 404, "no_message");
    }
    assert!(server.contents(&id).await.is_empty());
}

#[tokio::test]
async fn receipts_tell_who_has_got_and_who_has_read_a_message() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut sent = Vec::new();
    for content in ["one", "two"] {
        sent.push(id_of(&say(&server, &id, "alice", content).await));
    }
    let marked = |messages: &[String]| json!({"messages": messages});
    for (path, messages) in [("delivered", &sent[..]), ("read", &sent[..1])] {
        let path = format!("conversations/{id}/{path}?user=bob");
        let answer = post(&server, &path, marked(messages)).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let path = format!("conversations/{id}/receipts?messages={}", sent.join(","));
    let answer = get(&server, &path).await;
    let mut receipts: Vec<(&str, &str)> = Vec::new();
    for receipt in answer["receipts"].as_array().unwrap() {
        assert_eq!(receipt["user"], "bob");
        let text = |name: &str| receipt[name].as_str().unwrap();
        receipts.push((text("message"), text("status")));
    }
    receipts.sort_unstable();
    assert_eq!(
        receipts,
        [(sent[0].as_str(), "read"), (sent[1].as_str(), "delivered")]
    );
    let elsewhere = Uuid::now_v7();
    let path = format!("conversations/{id}/receipts?messages={elsewhere}");
    is_problem(&ask(&server, "GET", &path, None).await, 404, "no_message");
}
