//! The policy before an upstream that has none: what Django serves of the chat is refused here as
//! what is served here, and what is admitted arrives whole.

use std::{
    ops::Deref,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::upstream::{Call, Upstream};
use crate::{
    auth::token::{BY_SECRET, Key, claims, now, token_of},
    support::{Answer, Directory, Server, Socket, process::run, request, socket::handshake, until},
};

const TOLD: &str = "django's own";

/// Stands for a Django that serves everybody: it reads bodies, takes every socket, and answers.
pub struct Django {
    pub upstream: Upstream,
    /// What has come by its sockets.
    heard: Arc<Mutex<Vec<u8>>>,
    /// Of the last handshake.
    head: Arc<Mutex<String>>,
}

impl Deref for Django {
    type Target = Upstream;

    fn deref(&self) -> &Upstream {
        &self.upstream
    }
}

impl Django {
    /// Waits for so many bytes by its sockets, and takes them.
    pub async fn heard(&self, size: usize) -> Vec<u8> {
        until("bytes to arrive", async || self.unheard() >= size).await;
        self.heard.lock().unwrap().drain(..size).collect()
    }

    /// How many bytes have come and were not taken.
    pub fn unheard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The head of the last handshake.
    pub fn last_head(&self) -> String {
        self.head.lock().unwrap().clone()
    }
}

pub async fn django() -> Django {
    let (bytes, handshake) = (Arc::default(), Arc::default());
    let kept = (Arc::clone(&bytes), Arc::clone(&handshake));
    let upstream =
        Upstream::start(move |call: Call| serve(call, Arc::clone(&kept.0), Arc::clone(&kept.1)));
    Django {
        upstream: upstream.await,
        heard: bytes,
        head: handshake,
    }
}

async fn serve(mut call: Call, bytes: Arc<Mutex<Vec<u8>>>, handshake: Arc<Mutex<String>>) {
    while let Some(head) = call.head().await {
        let head = head.to_lowercase();
        if head.contains("\r\nupgrade: websocket\r\n") {
            *handshake.lock().unwrap() = head;
            call.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nX-Django: yes\r\n\r\n",
            )
            .await;
            loop {
                bytes.lock().unwrap().append(&mut call.buffer);
                if !call.more().await {
                    return;
                }
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let body = call
            .exactly(length.map_or(0, |it| it.parse().unwrap()))
            .await;
        let body = String::from_utf8(body).unwrap();
        call.answer(&format!("{TOLD} {body}")).await;
    }
}

pub struct Pair {
    pub upstream: Django,
    pub server: Server,
    pub conversation: String,
    pub message: String,
}

/// A conversation of alice and bob, and a server that leaves all to Django.
pub async fn pair(settings: &[(&str, &str)]) -> Pair {
    let directory = Arc::new(Directory::new());
    let open = Server::on(Arc::clone(&directory), &[]).await;
    let conversation = open.conversation().await;
    let message = open.stored(&conversation, "alice", "hi").await;
    let message = message["id"].as_str().unwrap().to_owned();
    drop(open);
    let upstream = django().await;
    let url = upstream.url();
    let ours = [
        ("gateway.upstream", url.as_str()),
        ("gateway.rollout_percent", "0"),
        ("auth.policy", "participants"),
    ];
    let all = [&ours[..], &BY_SECRET, settings].concat();
    Pair {
        server: Server::on(directory, &all).await,
        upstream,
        conversation,
        message,
    }
}

impl Pair {
    async fn ask(
        &self,
        user: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let token = user.map(|user| format!("Bearer {}", token_of(user)));
        let headers: Vec<_> = token
            .iter()
            .map(|it| ("Authorization", it.as_str()))
            .collect();
        let path = path.replace("CONVERSATION", &self.conversation);
        let path = path.replace("MESSAGE", &self.message);
        self.server
            .send(request(method, &path, &headers, body))
            .await
    }

    async fn open(&self, headers: &str) -> Answer {
        let path = format!("/ws/chat/{}/", self.conversation);
        self.server.send(handshake(&path, headers)).await
    }
}

pub fn bearer_line(user: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token_of(user))
}

const READS: [&str; 3] = [
    "/api/chat/conversations/CONVERSATION/",
    "/api/chat/conversations/CONVERSATION/messages/",
    "/api/chat/users/alice/conversations/",
];

fn writes(user: &str) -> [(&'static str, &'static str, Value); 3] {
    [
        (
            "POST",
            "/api/chat/conversations/CONVERSATION/messages/send/",
            json!({"sender_id": user, "content": "x"}),
        ),
        (
            "PUT",
            "/api/chat/messages/MESSAGE/read/",
            json!({"user_id": user}),
        ),
        (
            "POST",
            "/api/chat/conversations/",
            json!({"participant1_id": user, "participant2_id": "dave"}),
        ),
    ]
}

#[tokio::test]
async fn what_django_serves_is_refused_as_here() {
    let pair = pair(&[]).await;
    for path in READS {
        assert_eq!(
            pair.ask(None, "GET", path, None).await.status,
            401,
            "{path}"
        );
        let expected = if path.contains("users") { 200 } else { 404 };
        let answer = pair.ask(Some("carol"), "GET", path, None).await;
        assert_eq!(answer.status, expected, "{path}");
        assert!(!answer.text().contains(TOLD), "{path}");
    }
    for (method, path, body) in writes("alice") {
        for (user, expected) in [
            (None, &[401][..]),
            (Some("carol"), &[403, 404]),
            (Some("bob"), &[403]),
        ] {
            let answer = pair.ask(user, method, path, Some(&body)).await;
            assert!(
                expected.contains(&answer.status),
                "{path} as {user:?}: {answer:?}"
            );
        }
    }
    assert_eq!(pair.open("").await.status, 401);
    assert_eq!(pair.open(&bearer_line("carol")).await.status, 403);
    assert_eq!(pair.upstream.accepted(), 0, "none of them reached Django");
}

#[tokio::test]
async fn a_socket_that_django_serves_is_closed_when_its_rights_end() {
    let pair = pair(&[("auth.recheck_s", "1")]).await;
    let path = format!("/ws/chat/{}/", pair.conversation);
    let mut sockets = Vec::new();
    for user in ["alice", "bob"] {
        let connection = pair.server.connect().await;
        let socket = Socket::try_open(connection, &path, &bearer_line(user)).await;
        sockets.push(socket.unwrap_or_else(|refusal| panic!("{refusal:?}")));
    }
    let swap = "UPDATE conversations SET participant1_id = 'carol' WHERE participant1_id = 'alice'";
    pair.server.directory.open().execute_batch(swap).unwrap();
    assert_eq!(sockets[0].close_code().await, 1008);
    sockets[0].ended().await;
    let order = chatferry::layer::control::Disconnect {
        user: Some("bob".to_owned()),
        conversation: None,
    };
    pair.server.app.auth.disconnect(&order);
    assert_eq!(sockets[1].close_code().await, 1008);
}

#[tokio::test]
async fn what_the_policy_admits_reaches_django_whole() {
    let pair = pair(&[]).await;
    for path in READS {
        let answer = pair.ask(Some("alice"), "GET", path, None).await;
        assert!(answer.text().starts_with(TOLD), "{path}: {answer:?}");
    }
    for (method, path, body) in writes("alice") {
        let answer = pair.ask(Some("alice"), method, path, Some(&body)).await;
        assert_eq!(answer.text(), format!("{TOLD} {body}"), "{path}");
    }
    let authorization = bearer_line("alice");
    let path = pair.conversation.clone();
    let chunked = format!(
        "POST /api/chat/conversations/{path}/messages/send/ HTTP/1.1\r\nHost: a\r\n{authorization}\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         24\r\n{{\"sender_id\": \"alice\", \"content\": 1}}\r\n0\r\n\r\n"
    );
    let answer = pair.server.send(chunked).await;
    assert_eq!(
        answer.text(),
        format!("{TOLD} {{\"sender_id\": \"alice\", \"content\": 1}}")
    );
    let answer = pair.open(&authorization).await;
    assert_eq!(
        (answer.status, answer.header("x-django")),
        (101, Some("yes"))
    );
}

#[tokio::test]
async fn a_body_that_django_may_read_otherwise_is_answered_here() {
    let pair = pair(&[]).await;
    let body = r#"{"sender_id": "bob", "content": "hi"}"#;
    let send = async |types: &[&str]| {
        let types = types.iter().map(|it| format!("Content-Type: {it}\r\n"));
        let head = format!(
            "POST /api/chat/conversations/{}/messages/send/ HTTP/1.1\r\nHost: a\r\n{}{}\
             Content-Length: {}\r\n\r\n{body}",
            pair.conversation,
            bearer_line("bob"),
            types.collect::<String>(),
            body.len(),
        );
        pair.server.send(head).await
    };
    for types in [
        &["application/json; charset=utf-7"][..],
        &["application/json; charset*=utf-8''cp037"],
        &["application/json; x=", "application/x-www-form-urlencoded"],
    ] {
        let answer = send(types).await;
        assert_eq!(answer.status, 201, "{types:?}: {answer:?}");
        assert_eq!(answer.json()["sender_id"], "bob", "{types:?}");
    }
    assert_eq!(pair.upstream.accepted(), 0, "none of them reached Django");
    let answer = send(&["application/json; charset=UTF-8"]).await;
    assert!(answer.text().starts_with(TOLD), "{answer:?}");
}

#[tokio::test]
async fn an_upgrade_on_a_path_of_the_api_is_no_way_around_the_body() {
    let pair = pair(&[]).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let path = format!("/api/chat/conversations/{}/messages/", pair.conversation);
    let status = |authorization: String| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{upgrade}{authorization}\r\n");
        pair.server.send(head)
    };
    assert!(status(String::new()).await.status >= 400);
    assert!(status(bearer_line("carol")).await.status >= 400);
    assert_eq!(pair.upstream.accepted(), 0);
    let answer = status(bearer_line("alice")).await;
    assert!(
        answer.text().starts_with(TOLD),
        "as a plain request: {answer:?}"
    );
}

#[tokio::test]
async fn other_paths_of_the_chat_are_django_s_if_they_are_named_and_the_caller_is_known() {
    let pair = pair(&[("gateway.allow", "/admin/,/api/chat/files/")]).await;
    for (user, path, is_passed) in [
        (Some("carol"), "/api/chat/files/1/", true),
        (None, "/api/chat/files/1/", false),
        (Some("carol"), "/api/chat/other/", false),
        (None, "/admin/", true),
        (Some("carol"), "/other/", false),
    ] {
        let answer = pair.ask(user, "GET", path, None).await;
        assert_eq!(
            answer.text().contains(TOLD),
            is_passed,
            "{path} as {user:?}"
        );
        assert!(is_passed || answer.status == 404, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn origins_that_may_not_open_a_socket_here_may_not_open_one_of_django_s() {
    let upstream = django().await;
    let settings = [
        ("gateway.rollout_percent", "0"),
        ("ws.allowed_origins", "https://a.example"),
    ];
    let server = upstream.gateway(&settings).await;
    let path = "/ws/chat/95031212-7823-4748-bb78-b212d36bffff/";
    for (origin, status) in [("https://a.example", 101), ("https://b.example", 403)] {
        let bytes = handshake(path, &format!("Origin: {origin}\r\n"));
        assert_eq!(server.send(bytes).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn a_socket_that_django_serves_ends_with_its_token_as_well() {
    let pair = pair(&[]).await;
    let mut short = claims("alice");
    short["exp"] = json!(now() + 2);
    let token = Key::secret().token(&short);
    let line = format!("Authorization: Bearer {token}\r\n");
    let path = format!("/ws/chat/{}/", pair.conversation);
    let socket = Socket::try_open(pair.server.connect().await, &path, &line).await;
    assert_eq!(socket.unwrap().close_code().await, 4401);
    let open = async || pair.server.metric("chatferry_gateway_ws_open").await;
    until("the socket to be gone", async || open().await < 0.5).await;
}

#[tokio::test]
async fn what_is_compared_is_not_asked_of_django_for_callers_who_are_refused() {
    let settings = [
        ("gateway.rollout_percent", "100"),
        ("gateway.shadow_percent", "100"),
    ];
    let pair = pair(&settings).await;
    for path in READS {
        assert_eq!(pair.ask(None, "GET", path, None).await.status, 401);
    }
    let skipped = async || pair.server.metric("chatferry_shadow_skipped_total").await;
    until("the comparisons to be skipped", async || {
        skipped().await > 0.5
    })
    .await;
    assert_eq!(pair.upstream.accepted(), 0);
}

#[tokio::test]
async fn check_warns_of_an_upstream_that_serves_the_chat_to_strangers() {
    let open = django().await;
    let closed =
        Upstream::answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    for (upstream, warned) in [(&open.upstream, true), (&closed, false)] {
        let url = format!("gateway.upstream={}", upstream.url());
        let directory = Directory::new();
        let set = |text: &str| format!("--set={text}");
        let mut arguments = vec!["check".to_owned(), set(&url)];
        arguments.extend(BY_SECRET.map(|(key, value)| set(&format!("{key}={value}"))));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        // The tables are made first.
        run(&directory, &["migrate"]).await;
        let outcome = run(&directory, &arguments).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert_eq!(
            outcome.stderr.contains("to callers who show nothing"),
            warned,
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn readyz_reports_the_upstream_and_does_not_fail_with_it() {
    let open = django().await;
    let server = open.upstream.gateway(&[]).await;
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["upstream"]),
        (200, &"ok".into())
    );
    let gone = [("gateway.upstream", "http://127.0.0.1:1")];
    let server = crate::support::Server::with(&gone).await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let upstream = ready.json()["upstream"].as_str().unwrap().to_owned();
    assert!(upstream.contains("cannot connect"), "{upstream}");
    let alone = crate::support::Server::with(&[]).await;
    assert!(alone.get("/readyz").await.json().get("upstream").is_none());
}
