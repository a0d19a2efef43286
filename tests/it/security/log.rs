//! The security log and the access lines: who, where and why, and never a token.

use std::{fs::File, process::Stdio, sync::Arc};

use serde_json::{Value, json};

use crate::{
    auth::token::{BY_SECRET, Key, bearer, now, token_of},
    support::{Directory, Process, Socket, process::chatferry, request, socket::path_of, until},
};

/// A server with tokens and a policy, behind a proxy that is believed, whose log is read.
pub struct Logged {
    pub server: Process,
    pub directory: Arc<Directory>,
}

impl Logged {
    pub async fn with(more: &[&str]) -> Self {
        Logged::on(Arc::new(Directory::new()), more).await
    }

    /// A server with the database of this directory.
    pub async fn on(directory: Arc<Directory>, more: &[&str]) -> Self {
        let mut arguments = vec!["serve".to_owned()];
        let mut set = |setting: &str| arguments.extend(["--set".to_owned(), setting.to_owned()]);
        for setting in [
            "server.bind=127.0.0.1:0",
            "server.drain_s=1",
            "server.trusted_proxies=127.0.0.1",
            "auth.policy=participants",
            "auth.jwt.leeway_s=0",
            "log.format=json",
            "log.level=error",
        ] {
            set(setting);
        }
        for (key, value) in BY_SECRET {
            set(&format!("{key}={value}"));
        }
        for setting in more {
            set(setting);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = chatferry(&directory, &arguments);
        let log = File::create(directory.path().join("log")).unwrap();
        command.stderr(Stdio::from(log));
        let server = Process::of(command).await;
        Logged { server, directory }
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .unwrap_or_else(|_| panic!("{text}"))
    }

    /// The lines of the security log about an event.
    pub fn about(&self, event: &str) -> Vec<Value> {
        let lines = self.lines().into_iter();
        let lines = lines.filter(|line| line["target"] == "chatferry::security");
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Sends a request of a client behind the proxy; returns the status.
    async fn ask(&self, client: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let headers = [&[("X-Forwarded-For", client)], headers].concat();
        let bytes = request("GET", path, &headers, None);
        self.server.connect().await.ask(bytes).await.status
    }

    /// A conversation, made by the first of the two.
    pub async fn conversation(&self, one: &str, two: &str) -> String {
        let headers = [("Authorization", &*bearer(one))];
        let body = json!({"participant1_id": one, "participant2_id": two});
        let bytes = request("POST", "/api/chat/conversations/", &headers, Some(&body));
        let made = self.server.connect().await.ask(bytes).await.json();
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn socket(&self, id: &str, client: &str, token: &str, more: &str) -> Option<Socket> {
        let path = format!("{}?token={token}", path_of(id));
        let headers = format!("X-Forwarded-For: {client}\r\n{more}");
        let connection = self.server.connect().await;
        let mut socket = Socket::try_open(connection, &path, &headers).await.ok()?;
        socket.history().await;
        Some(socket)
    }

    /// Stops the server and gives what it has logged.
    async fn stopped(self) -> String {
        self.server.signal("TERM").await;
        assert_eq!(self.server.ended().await.0, 0);
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

const LIST: &str = "/api/chat/users/alice/conversations/";

#[tokio::test]
async fn what_is_refused_is_logged_with_address_user_place_and_reason() {
    let it = Logged::with(&["limits.address.requests=12/day"]).await;
    let id = it.conversation("alice", "bob").await;
    let detail = format!("/api/chat/conversations/{id}/");
    assert_eq!(it.ask("192.0.2.1", LIST, &[]).await, 401);
    assert_eq!(
        it.ask("192.0.2.2", &format!("{LIST}?token=not.a.token"), &[])
            .await,
        401
    );
    let carol = bearer("carol");
    let known = [("Authorization", carol.as_str())];
    assert_eq!(it.ask("192.0.2.3", &detail, &known).await, 404);
    assert_eq!(it.ask("192.0.2.4", LIST, &known).await, 200);
    assert!(
        it.socket(&id, "192.0.2.5", &token_of("carol"), "")
            .await
            .is_none()
    );
    for _ in 0..14 {
        it.ask("192.0.2.6", "/nothing/", &[]).await;
    }
    let mut alice = it
        .socket(&id, "192.0.2.7", &token_of("alice"), "")
        .await
        .unwrap();
    alice
        .send(&json!({"type": "chat_message", "sender_id": "bob", "content": "x"}))
        .await;
    alice.error().await;

    let [anonymous, invalid] = &it.about("identity")[..] else {
        panic!("{}", it.text())
    };
    assert_eq!(anonymous["client"], "192.0.2.1");
    assert_eq!(
        (&anonymous["reason"], &anonymous["path"]),
        (&json!("anonymous"), &json!(LIST))
    );
    assert_eq!(
        (&invalid["client"], &invalid["reason"]),
        (&json!("192.0.2.2"), &json!("invalid"))
    );
    assert_eq!(invalid["level"], "INFO", "whatever log.level says");
    let policy = it.about("policy");
    let of = |client: &str| policy.iter().find(|line| line["client"] == client).unwrap();
    assert_eq!(policy.len(), 4, "{policy:?}");
    for (client, user, reason) in [
        ("192.0.2.3", "carol", "see"),
        ("192.0.2.4", "carol", "list"),
        ("192.0.2.5", "carol", "see"),
        ("192.0.2.7", "alice", "speak"),
    ] {
        let line = of(client);
        assert_eq!(
            (&line["user"], &line["reason"]),
            (&json!(user), &json!(reason)),
            "{line}"
        );
    }
    assert_eq!(of("192.0.2.3")["path"], json!(detail));
    assert_eq!(of("192.0.2.5")["path"], json!(path_of(&id)));
    assert_eq!(of("192.0.2.7")["conversation_id"], json!(id));
    let limits = it.about("limit");
    assert!(!limits.is_empty() && limits.iter().all(|it| it["reason"] == "requests"));
    drop(alice);
    let text = it.stopped().await;
    for token in ["not.a.token", "eyJ", "token="] {
        assert!(!text.contains(token), "{token} in {text}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_and_closes_are_logged() {
    let it = Logged::with(&["ws.allowed_origins=https://chat.example"]).await;
    let id = it.conversation("alice", "bob").await;
    let evil = "Origin: https://evil.example\r\n";
    assert!(
        it.socket(&id, "192.0.2.1", &token_of("alice"), evil)
            .await
            .is_none()
    );
    let [origin] = &it.about("origin")[..] else {
        panic!("{}", it.text())
    };
    assert_eq!(
        (&origin["client"], &origin["reason"]),
        (&json!("192.0.2.1"), &json!("not listed"))
    );
    let short = Key::secret().token(&json!({"sub": "alice", "exp": now() + 10}));
    let mut socket = it.socket(&id, "192.0.2.2", &short, "").await.unwrap();
    assert_eq!(socket.close_code().await, 4401);
    let [closed] = &it.about("closed")[..] else {
        panic!("{}", it.text())
    };
    assert_eq!(
        (&closed["client"], &closed["user"]),
        (&json!("192.0.2.2"), &json!("alice"))
    );
    assert_eq!(
        (&closed["reason"], &closed["conversation_id"]),
        (&json!("expired"), &json!(id))
    );
}

#[tokio::test]
async fn repeats_are_gathered_so_that_nobody_fills_the_disk() {
    let it = Logged::with(&[]).await;
    let bad = [("Authorization", "Bearer no.good.token")];
    for _ in 0..200 {
        it.ask("192.0.2.9", LIST, &bad).await;
    }
    for _ in 0..3 {
        it.ask("192.0.2.8", LIST, &bad).await;
    }
    let of = |client: &str| {
        let lines = it.about("identity").into_iter();
        lines.filter(|line| line["client"] == client).count()
    };
    assert_eq!((of("192.0.2.9"), of("192.0.2.8")), (5, 3));
    assert!(!it.text().contains("repeats"));
    let text = it.stopped().await;
    let gathered: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["repeats"] != Value::Null)
        .collect();
    let [line] = &gathered[..] else {
        panic!("{text}")
    };
    assert_eq!(
        (&line["client"], &line["repeats"]),
        (&json!("192.0.2.9"), &json!(195))
    );
}

#[tokio::test]
async fn the_security_log_can_be_turned_off_by_its_own_name() {
    let it = Logged::with(&["log.level=error,chatferry::security=off"]).await;
    assert_eq!(it.ask("192.0.2.1", LIST, &[]).await, 401);
    assert_eq!(it.stopped().await, "");
}

#[tokio::test]
async fn settings_that_are_read_again_or_refused_are_logged() {
    let it = Logged::with(&[]).await;
    let file = it.directory.path().join("chatferry.toml");
    for (text, reason) in [
        (
            "[ws]\nhistory_limit = 5\n",
            "in force: ; after a restart: ws.history_limit",
        ),
        ("[ws]\nhistory_limit = 'many'\n", "refused: "),
    ] {
        std::fs::write(&file, text).unwrap();
        it.server.signal("HUP").await;
        until("the line", async || {
            let lines = it.about("settings");
            lines
                .iter()
                .any(|line| line["reason"].as_str().unwrap().starts_with(reason))
        })
        .await;
    }
}

#[tokio::test]
async fn an_access_line_tells_address_user_and_path_and_never_a_token() {
    let it = Logged::with(&["log.level=error,chatferry::access=debug"]).await;
    let id = it.conversation("alice", "bob").await;
    let alice = token_of("alice");
    assert_eq!(
        it.ask("192.0.2.1", &format!("{LIST}?token={alice}"), &[])
            .await,
        200
    );
    let encoded = format!("/nothing/%3Ftoken={alice}");
    it.ask("192.0.2.2", &encoded, &[]).await;
    it.ask("192.0.2.3", &format!("/nothing/{alice}/"), &[])
        .await;
    let socket = it.socket(&id, "192.0.2.4", &alice, "").await.unwrap();
    let line_of = |client: &str| {
        let mut lines = it.lines().into_iter();
        lines
            .find(|line| line["client"] == client)
            .unwrap_or_else(|| panic!("{client}: {}", it.text()))
    };
    let answered = line_of("192.0.2.1");
    assert_eq!(answered["target"], "chatferry::access");
    assert_eq!(
        (&answered["user"], &answered["path"]),
        (&json!("alice"), &json!(LIST))
    );
    assert_eq!(line_of("192.0.2.2")["path"], "/nothing/");
    assert_eq!(line_of("192.0.2.3")["path"], "/nothing/***/");
    let opened = line_of("192.0.2.4");
    assert_eq!(
        (&opened["message"], &opened["user"]),
        (&json!("socket opened"), &json!("alice"))
    );
    drop(socket);
    let text = it.stopped().await;
    assert!(!text.contains(&alice) && !text.contains("token="), "{text}");
}
