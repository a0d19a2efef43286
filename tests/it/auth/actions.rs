//! Everything that can be asked of the chat, as everybody who could ask it, with
//! `auth.policy = participants`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{token::BY_SECRET, wire::Caller};
use crate::support::{Answer, Server, request, socket::handshake};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

const POLICY: [(&str, &str); 1] = [("auth.policy", "participants")];

// Bodies of what is asked; `ME` is who asks.
const WITH_ME: &str = r#"{"participant1_id": "ME", "participant2_id": "bob"}"#;
const OF_OTHERS: &str = r#"{"participant1_id": "bob", "participant2_id": "dave"}"#;
const SAID_BY_ME: &str = r#"{"sender_id": "ME", "content": "x"}"#;
const SAID_BY_BOB: &str = r#"{"sender_id": "bob", "content": "x"}"#;

/// Who asks, in the order of the columns.
const WHO: [&str; 4] = ["anonymous", "stranger", "participant", "expired"];

/// What is asked, and what comes of it for each of [`WHO`].
const ACTIONS: &[(&str, Ask, [&str; 4])] = {
    use Ask::{Frame, Rest, Socket};
    const UNKNOWN: &str = "401";
    &[
        (
            "POST conversations/, with oneself in it",
            Rest("POST", "conversations/", WITH_ME),
            [UNKNOWN, "201", "200", UNKNOWN],
        ),
        (
            "POST conversations/, of two others",
            Rest("POST", "conversations/", OF_OTHERS),
            [UNKNOWN, "403", "403", UNKNOWN],
        ),
        (
            "GET conversations/<id>/",
            Rest("GET", "conversations/ID/", ""),
            [UNKNOWN, "404", "200", UNKNOWN],
        ),
        (
            "GET conversations/<id>/messages/",
            Rest("GET", "conversations/ID/messages/", ""),
            [UNKNOWN, "404", "200", UNKNOWN],
        ),
        (
            "GET users/<oneself>/conversations/",
            Rest("GET", "users/ME/conversations/", ""),
            [UNKNOWN, "200", "200", UNKNOWN],
        ),
        (
            "GET users/<another>/conversations/",
            Rest("GET", "users/bob/conversations/", ""),
            [UNKNOWN, "200 []", "200 []", UNKNOWN],
        ),
        (
            "POST …/messages/send/, as oneself",
            Rest("POST", "conversations/ID/messages/send/", SAID_BY_ME),
            [UNKNOWN, "404", "201", UNKNOWN],
        ),
        (
            "POST …/messages/send/, as another",
            Rest("POST", "conversations/ID/messages/send/", SAID_BY_BOB),
            [UNKNOWN, "404", "403", UNKNOWN],
        ),
        (
            "PUT messages/<id>/read/, as oneself",
            Rest("PUT", "messages/MESSAGE/read/", r#"{"user_id": "ME"}"#),
            [UNKNOWN, "404", "200", UNKNOWN],
        ),
        (
            "PUT messages/<id>/read/, as another",
            Rest("PUT", "messages/MESSAGE/read/", r#"{"user_id": "bob"}"#),
            [UNKNOWN, "404", "403", UNKNOWN],
        ),
        (
            "OPTIONS of any path",
            Rest("OPTIONS", "conversations/ID/", ""),
            [UNKNOWN, "200", "200", UNKNOWN],
        ),
        (
            "any other method",
            Rest("DELETE", "conversations/ID/", ""),
            [UNKNOWN, "405", "405", UNKNOWN],
        ),
        ("open a socket", Socket, [UNKNOWN, "403", "101", UNKNOWN]),
        (
            "`chat_message` as oneself",
            Frame(r#"{"type": "chat_message", "sender_id": "ME", "content": "x"}"#),
            ["no socket", "no socket", "told to all", "no socket"],
        ),
        (
            "`chat_message` as another",
            Frame(r#"{"type": "chat_message", "sender_id": "bob", "content": "x"}"#),
            ["no socket", "no socket", "error", "no socket"],
        ),
        (
            "`mark_as_read` as oneself",
            Frame(r#"{"type": "mark_as_read", "user_id": "ME", "message_id": "MESSAGE"}"#),
            ["no socket", "no socket", "told to all", "no socket"],
        ),
        (
            "`mark_as_read` as another",
            Frame(r#"{"type": "mark_as_read", "user_id": "bob", "message_id": "MESSAGE"}"#),
            ["no socket", "no socket", "error", "no socket"],
        ),
        (
            "`typing` as oneself",
            Frame(r#"{"type": "typing", "user_id": "ME", "is_typing": true}"#),
            ["no socket", "no socket", "told to all", "no socket"],
        ),
        (
            "`typing` as another, or as nobody",
            Frame(r#"{"type": "typing", "is_typing": true}"#),
            ["no socket", "no socket", "error", "no socket"],
        ),
    ]
};

/// One thing to ask.
#[derive(Clone, Copy)]
enum Ask {
    /// Method, path and JSON body.
    Rest(&'static str, &'static str, &'static str),
    Socket,
    Frame(&'static str),
}

/// A server with a conversation of alice and bob and a message of bob's in it.
struct World {
    server: Server,
    conversation: String,
    message: String,
}

impl World {
    async fn new() -> Self {
        let server = Server::with(&[&BY_SECRET[..], &POLICY].concat()).await;
        let alice = Caller::known(&server, "alice");
        let conversation = alice.conversation_of("alice", "bob").await;
        let path = format!("conversations/{conversation}/messages/send/");
        let body = json!({"sender_id": "bob", "content": "hello"});
        let sent = Caller::known(&server, "bob")
            .ask("POST", &path, Some(&body))
            .await;
        let message = sent.json()["id"].as_str().unwrap().to_owned();
        World {
            server,
            conversation,
            message,
        }
    }

    fn filled(&self, text: &str, me: &str) -> String {
        text.replace("ME\"", &format!("{me}\""))
            .replace("ME/", &format!("{me}/"))
            .replace("MESSAGE", &self.message)
            .replace("ID/", &format!("{}/", self.conversation))
    }

    /// What comes of it, in a word.
    async fn outcome(&self, ask: Ask, caller: &Caller<'_>, me: &str) -> String {
        match ask {
            Ask::Rest(method, path, body) => {
                let body: Option<Value> = serde_json::from_str(&self.filled(body, me)).ok();
                let path = self.filled(path, me);
                let answer = caller.ask(method, &path, body.as_ref()).await;
                match answer.text() {
                    "[]" if answer.status == 200 && !path.contains(me) => "200 []".to_owned(),
                    _ => answer.status.to_string(),
                }
            }
            Ask::Socket => match caller.socket(&self.conversation).await {
                Ok(_) => "101".to_owned(),
                Err(refusal) => refusal.status.to_string(),
            },
            Ask::Frame(frame) => {
                let Ok(mut socket) = caller.socket(&self.conversation).await else {
                    return "no socket".to_owned();
                };
                socket.history().await;
                socket.send_text(&self.filled(frame, me)).await;
                let answer = socket.json().await;
                if answer["error"].is_string() {
                    "error"
                } else {
                    "told to all"
                }
                .to_owned()
            }
        }
    }
}

#[tokio::test]
async fn every_action_has_the_same_outcome_for_everybody_as_the_table_says() {
    let world = World::new().await;
    let server = &world.server;
    let callers = [
        (Caller::anonymous(server), "alice"),
        (Caller::known(server, "carol"), "carol"),
        (Caller::known(server, "alice"), "alice"),
        (Caller::expired(server, "alice"), "alice"),
    ];
    for (name, ask, expected) in ACTIONS {
        for ((caller, me), (who, expected)) in callers.iter().zip(WHO.iter().zip(expected)) {
            let outcome = world.outcome(*ask, caller, me).await;
            assert_eq!(outcome, *expected, "{name} by {who}");
        }
    }
    let stored = "SELECT count(*) FROM messages";
    assert_eq!(
        server.directory.value::<i64>(stored),
        3,
        "bob's and alice's"
    );
    let read = "SELECT group_concat(user_id) FROM delivery_receipts";
    assert_eq!(server.directory.value::<String>(read), "alice");
}

/// `UPDATE_README=1 cargo test the_readme` writes the table instead.
#[test]
fn the_readme_has_this_table_of_actions() {
    let mut table = format!("| Action | {} |\n|---|---|---|---|---|\n", WHO.join(" | "));
    for (name, _, expected) in ACTIONS {
        let name = match name.split_once(", ") {
            _ if name.contains('`') => (*name).to_owned(),
            Some((path, rest)) if path.contains('/') => format!("`{path}`, {rest}"),
            _ if name.contains('/') => format!("`{name}`"),
            _ => (*name).to_owned(),
        };
        let _ = writeln!(table, "| {name} | {} |", expected.join(" | "));
    }
    let root = option_env!("CHATFERRY_ROOT").unwrap_or(env!("CARGO_MANIFEST_DIR"));
    let path = format!("{root}/src/auth/README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- actions:begin -->", "<!-- actions:end -->");
    let (before, rest) = readme.split_once(begin).unwrap();
    let (block, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_README").is_some() {
        let text = format!("{before}{begin}\n{}\n{end}{after}", table.trim());
        std::fs::write(path, text).unwrap();
    } else {
        assert_eq!(block.trim(), table.trim());
    }
}

#[tokio::test]
async fn a_stranger_cannot_tell_what_is_there_from_what_is_not() {
    let world = World::new().await;
    let carol = Caller::known(&world.server, "carol");
    let same = |there: Answer, not: Answer| {
        assert_eq!(
            (&there.line, &there.headers, there.text()),
            (&not.line, &not.headers, not.text())
        );
    };
    let body = json!({"sender_id": "carol", "content": "x", "user_id": "carol"});
    for (method, path) in [
        ("GET", "conversations/ID/"),
        ("GET", "conversations/ID/messages/"),
        ("POST", "conversations/ID/messages/send/"),
        ("PUT", "messages/MESSAGE/read/"),
    ] {
        let there = path
            .replace("ID", &world.conversation)
            .replace("MESSAGE", &world.message);
        let not = path.replace("ID", NOBODY).replace("MESSAGE", NOBODY);
        let body = (method != "GET").then_some(&body);
        same(
            carol.ask(method, &there, body).await,
            carol.ask(method, &not, body).await,
        );
    }
    let there = carol.socket(&world.conversation).await.err().unwrap();
    let not = carol.socket(NOBODY).await.err().unwrap();
    same(there, not);
}

#[tokio::test]
async fn a_message_of_others_is_not_marked_through_a_conversation_of_ones_own() {
    let world = World::new().await;
    let carol = Caller::known(&world.server, "carol");
    let own = carol.conversation_of("carol", "dave").await;
    let mut socket = carol.socket(&own).await.ok().unwrap();
    socket.history().await;
    let frame = json!({"type": "mark_as_read", "user_id": "carol", "message_id": world.message});
    socket.send(&frame).await;
    assert_eq!(
        socket.json().await["type"],
        "message_read",
        "as of an unknown one"
    );
    let receipts = "SELECT count(*) FROM delivery_receipts";
    assert_eq!(world.server.directory.value::<i64>(receipts), 0);
}

#[tokio::test]
async fn with_an_open_policy_whoever_is_known_may_do_everything() {
    let server = Server::with(&BY_SECRET).await;
    let carol = Caller::known(&server, "carol");
    let id = carol.conversation_of("alice", "bob").await;
    let mut socket = carol.socket(&id).await.ok().unwrap();
    socket.history().await;
    socket.works().await;
    let listed = carol.ask("GET", "users/bob/conversations/", None).await;
    assert_eq!(listed.json()[0]["id"], id.as_str());
}

#[tokio::test]
async fn without_identity_credentials_mean_nothing() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/?token=a.b.c");
    let headers = [("Authorization", "Bearer a.b.c"), ("Cookie", "jwt=x")];
    let answer = server.send(request("GET", &path, &headers, None)).await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (200, None)
    );
    let protocols = "Sec-WebSocket-Protocol: access_token, a.b.c\r\n";
    let path = format!("/ws/chat/{id}/?token=a.b.c");
    let answer = server.send(handshake(&path, protocols)).await;
    assert_eq!(
        (answer.status, answer.header("sec-websocket-protocol")),
        (101, None)
    );
}
