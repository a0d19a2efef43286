//! Who may do what by the REST API of our own, with `auth.policy = participants`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::api::{ask_with, say};
use crate::{
    auth::{
        django::{BY_SESSION, IN_DATABASE, LOG_IN},
        token::{BY_SECRET, bearer},
        wire::Caller,
    },
    gateway::django::Django,
    support::{Answer, Server, database::Place, http::id_of},
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Method, path and body of what is asked, and the status for somebody who is not known, a stranger
/// and a participant. `ID` is a conversation of alice and bob, `MSG` a message in it.
const ACTIONS: &[(&str, &str, &str, [u16; 3])] = &[
    ("GET", "me", "", [401, 200, 200]),
    ("GET", "conversations", "", [401, 200, 200]),
    ("GET", "conversations?user=bob", "", [401, 403, 403]),
    (
        "POST",
        "conversations",
        r#"{"with": "bob"}"#,
        [401, 201, 200],
    ),
    (
        "POST",
        "conversations?user=bob",
        r#"{"with": "dave"}"#,
        [401, 403, 403],
    ),
    ("GET", "conversations/ID", "", [401, 404, 200]),
    ("GET", "conversations/ID?user=bob", "", [401, 403, 403]),
    ("GET", "conversations/ID/members", "", [401, 404, 200]),
    // It is not a group.
    (
        "PATCH",
        "conversations/ID",
        r#"{"name": "x"}"#,
        [401, 404, 409],
    ),
    (
        "POST",
        "conversations/ID/members",
        r#"{"members": ["eve"]}"#,
        [401, 404, 409],
    ),
    (
        "PATCH",
        "conversations/ID/members",
        r#"{"member": "bob", "role": "owner"}"#,
        [401, 404, 409],
    ),
    (
        "DELETE",
        "conversations/ID/members?member=bob",
        "",
        [401, 404, 409],
    ),
    ("GET", "conversations/ID/messages", "", [401, 404, 200]),
    ("GET", "conversations/ID/messages/MSG", "", [401, 404, 200]),
    (
        "POST",
        "conversations/ID/messages",
        r#"{"content": "x"}"#,
        [401, 404, 201],
    ),
    (
        "POST",
        "conversations/ID/messages",
        r#"{"content": "x", "sender": "bob"}"#,
        [401, 404, 403],
    ),
    (
        "POST",
        "conversations/ID/messages?user=bob",
        r#"{"content": "x"}"#,
        [401, 404, 403],
    ),
    (
        "POST",
        "conversations/ID/read",
        r#"{"messages": ["MSG"]}"#,
        [401, 404, 204],
    ),
    (
        "POST",
        "conversations/ID/read?user=bob",
        r#"{"messages": ["MSG"]}"#,
        [401, 404, 403],
    ),
    // The message is bob's.
    (
        "PATCH",
        "conversations/ID/messages/MSG",
        r#"{"content": "x"}"#,
        [401, 404, 403],
    ),
    (
        "PATCH",
        "conversations/ID/messages/MSG?user=bob",
        r#"{"content": "x"}"#,
        [401, 404, 403],
    ),
    (
        "DELETE",
        "conversations/ID/messages/MSG",
        "",
        [401, 404, 403],
    ),
    (
        "DELETE",
        "conversations/ID/messages/MSG?user=bob",
        "",
        [401, 404, 403],
    ),
    (
        "POST",
        "conversations/ID/delivered",
        r#"{"messages": ["MSG"]}"#,
        [401, 404, 204],
    ),
    (
        "POST",
        "conversations/ID/delivered?user=bob",
        r#"{"messages": ["MSG"]}"#,
        [401, 404, 403],
    ),
    (
        "GET",
        "conversations/ID/receipts?messages=MSG",
        "",
        [401, 404, 200],
    ),
    (
        "GET",
        "conversations/ID/events?after=x",
        "",
        [401, 400, 400],
    ),
    ("GET", "unread?conversations=ID", "", [401, 200, 200]),
    (
        "GET",
        "unread?conversations=ID&user=bob",
        "",
        [401, 403, 403],
    ),
    ("GET", "search?q=secret", "", [401, 200, 200]),
    ("GET", "search?q=secret&user=bob", "", [401, 403, 403]),
    (
        "GET",
        "search?q=secret&conversation=ID",
        "",
        [401, 404, 200],
    ),
    ("GET", "inbox", "", [401, 200, 200]),
    ("GET", "inbox?user=bob", "", [401, 403, 403]),
];

async fn server(more: &[(&str, &str)]) -> Server {
    let settings = [&BY_SECRET[..], &[("auth.policy", "participants")], more].concat();
    Server::with(&settings).await
}

/// Asks as somebody who shows a token.
async fn ask_as(
    server: &Server,
    user: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let token = bearer(user);
    ask_with(server, method, path, &[("Authorization", &token)], body).await
}

#[tokio::test]
async fn every_action_is_done_for_those_alone_who_may() {
    let server = server(&[]).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let path = format!("conversations/{id}/messages");
    let body = json!({"content": "a secret"});
    let sent = ask_as(&server, "bob", "POST", &path, Some(&body)).await;
    let message = id_of(&sent.json());
    let mut wrong = String::new();
    for (method, path, body, expected) in ACTIONS {
        let fill = |text: &str| text.replace("ID", &id).replace("MSG", &message);
        let body = (!body.is_empty()).then(|| serde_json::from_str(&fill(body)).unwrap());
        for (user, expected) in [None, Some("carol"), Some("alice")]
            .into_iter()
            .zip(expected)
        {
            let token = user.map(bearer);
            let headers: Vec<_> = token
                .iter()
                .map(|it| ("Authorization", it.as_str()))
                .collect();
            let path = fill(path);
            let answer = ask_with(&server, method, &path, &headers, body.as_ref()).await;
            let tells = user != Some("alice") && answer.text().contains("a secret");
            if answer.status != *expected || tells {
                let _ = writeln!(wrong, "{method} {path} as {user:?}: {}", answer.text());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn somebody_elses_conversation_is_as_one_that_is_not_there() {
    let server = server(&[]).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    for below in ["", "/members", "/messages", "/events"] {
        let ask = async |id: &str| {
            let path = format!("conversations/{id}{below}");
            let answer = ask_as(&server, "carol", "GET", &path, None).await;
            (answer.status, answer.json())
        };
        assert_eq!(ask(&id).await, ask(NOBODY).await, "{below}");
    }
    let unread = format!("unread?conversations={id},{NOBODY}");
    let unread = ask_as(&server, "carol", "GET", &unread, None).await;
    assert_eq!(unread.json(), json!({"counts": []}));
    let refused = ask_as(&server, "", "GET", "me", None).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some());
}

#[tokio::test]
async fn an_inactive_conversation_is_not_there() {
    let server = server(&[]).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let sql = "UPDATE conversations SET is_active = 0";
    server.directory.open().execute(sql, []).unwrap();
    for path in [
        format!("conversations/{id}"),
        format!("conversations/{id}/messages"),
    ] {
        assert_eq!(
            ask_as(&server, "alice", "GET", &path, None).await.status,
            404
        );
    }
    let list = ask_as(&server, "alice", "GET", "conversations", None).await;
    assert_eq!(list.json()["conversations"], json!([]));
}

/// A user that the database takes for another one is shown nothing of theirs.
pub async fn another_spelling_of_a_user_is_nobody(place: &Place) {
    let open = place.server().await;
    let id = open.conversation_of("Alice", "bob").await;
    say(&open, &id, "bob", "a secret").await;
    let settings = [&BY_SECRET[..], &[("auth.policy", "participants")]];
    let server = place.server_with(&settings.concat()).await;
    for path in ["conversations", "inbox", "search?q=secret"] {
        for (user, is_shown) in [("Alice", true), ("alice", false)] {
            let answer = ask_as(&server, user, "GET", path, None).await;
            assert_eq!(answer.status, 200);
            assert_eq!(
                answer.text().contains("a secret"),
                is_shown,
                "{path} {user}"
            );
        }
    }
}

#[tokio::test]
async fn with_a_session_only_pages_that_may_can_change_something() {
    let Some(django) = Django::prepared(&[], &[]).await else {
        return;
    };
    let cookies = django.says(&[LOG_IN, IN_DATABASE].concat()).await;
    let server = Server::on(django.directory.clone(), &BY_SESSION).await;
    let csrf = "aZ9baZ9baZ9baZ9baZ9baZ9baZ9baZ9b";
    let cookie = |name: &str| {
        format!(
            "sessionid={}; csrftoken={csrf}",
            cookies[name].as_str().unwrap()
        )
    };
    let (alice, body) = (cookie("alice"), json!({"with": "bob"}));
    let by = ("Cookie", alice.as_str());
    let me = ask_with(&server, "GET", "me", &[by], None).await;
    assert_eq!(me.json()["user"], "alice");
    let token = ("X-CSRFToken", csrf);
    for (headers, status) in [
        (vec![by], 403),
        (vec![by, token, ("Origin", "http://evil.example")], 403),
        (vec![by, token], 201),
        (vec![by, token, ("Origin", "http://localhost")], 200),
    ] {
        let answer = ask_with(&server, "POST", "conversations", &headers, Some(&body)).await;
        assert_eq!(answer.status, status, "{headers:?} {}", answer.text());
        let is_forged = status == 403;
        assert_eq!(answer.json()["code"] == "forged", is_forged);
    }
    for name in ["old", "inactive", "changed", "nobody", "forged"] {
        let cookie = cookie(name);
        let refused = ask_with(&server, "GET", "me", &[("Cookie", &cookie)], None).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (403, &json!("denied")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn pages_of_a_listed_origin_may_read_answers_and_send_requests() {
    let server = Server::with(&[("cors.allowed_origins", "https://a.example")]).await;
    let from = |origin: &'static str| [("Origin", origin)];
    let answer = ask_with(&server, "GET", "me", &from("https://a.example"), None).await;
    let allowed = "access-control-allow-origin";
    assert_eq!(answer.header(allowed), Some("https://a.example"));
    let answer = ask_with(&server, "GET", "me", &from("https://b.example"), None).await;
    assert_eq!(answer.header(allowed), None);
    let preflight = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    let answer = ask_with(&server, "OPTIONS", "conversations", &preflight, None).await;
    assert_eq!(
        (answer.status, answer.header(allowed)),
        (200, Some("https://a.example"))
    );
    let sendable = answer.header("access-control-allow-headers").unwrap();
    for header in ["idempotency-key", "last-event-id", "x-csrftoken"] {
        assert!(sendable.contains(header), "{sendable}");
    }
}
