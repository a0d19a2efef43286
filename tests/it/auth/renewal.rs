//! A fresh token on an open socket, before the one that it was opened with runs out.

use serde_json::{Value, json};

use super::token::{BY_SECRET, Key, bearer, claims, now, token_of};
use crate::support::{
    Server, Socket, request,
    socket::{CLOSE, path_of},
    until,
};

/// Seconds that the first token of a socket is good for: long enough to open it on a busy machine.
const SHORT: u64 = 20;

async fn server(more: &[(&str, &str)]) -> Server {
    let leeway = [("auth.jwt.leeway_s", "0")];
    Server::with(&[&BY_SECRET[..], &leeway, more].concat()).await
}

fn auth(token: impl Into<Value>) -> Value {
    json!({"type": "auth", "token": token.into()})
}

/// A socket of alice's, whose token runs out in a moment, and when.
async fn socket(server: &Server) -> (Socket, u64) {
    let alice = bearer("alice");
    let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let headers = [("Authorization", alice.as_str())];
    let path = "/api/chat/conversations/";
    let made = server
        .send(request("POST", path, &headers, Some(&body)))
        .await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let ends = now() + SHORT;
    let token = Key::secret().token(&json!({"sub": "alice", "exp": ends}));
    let path = format!("{}?token={token}", path_of(&id));
    let socket = Socket::try_open(server.connect().await, &path, "").await;
    let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    socket.history().await;
    (socket, ends)
}

#[tokio::test]
async fn a_socket_lives_as_long_as_the_last_good_token_it_was_shown() {
    let server = server(&[("auth.policy", "participants")]).await;
    let (mut socket, ends) = socket(&server).await;
    socket.send(&auth(token_of("alice"))).await;
    socket.works().await;
    until("the first token to run out", async || now() > ends + 1).await;
    socket.works().await;
    // And it may be made shorter again.
    let ends = now() + SHORT;
    let last = Key::secret().token(&json!({"sub": "alice", "exp": ends}));
    socket.send(&auth(last)).await;
    assert_eq!(socket.close_code().await, 4401, "nothing is answered");
    assert!(now() >= ends, "not before");
}

#[tokio::test]
async fn a_token_that_is_not_good_or_of_somebody_else_changes_nothing() {
    let server = server(&[]).await;
    let (mut socket, ends) = socket(&server).await;
    let expired = Key::secret().token(&json!({"sub": "alice", "exp": now() - 1}));
    let mut refresh = claims("alice");
    refresh["token_type"] = json!("refresh");
    for (token, told) in [
        (json!(token_of("bob")), "The token is not good"),
        (json!(token_of("Alice")), "The token is not good"),
        (json!(expired), "The token has run out"),
        (
            json!(Key::secret().token(&refresh)),
            "The token is not good",
        ),
        (
            json!(Key::p256().token(&claims("alice"))),
            "The token is not good",
        ),
        (json!("a.b.c"), "The token is not good"),
        (json!(""), "The token is not good"),
        (json!(7), "The token is not good"),
        (Value::Null, "The token is not good"),
    ] {
        socket.send(&auth(token.clone())).await;
        assert_eq!(socket.error().await, told, "{token}");
    }
    socket.works().await;
    let denied = "chatferry_auth_denied_total{why=\"invalid\"}";
    assert_eq!(server.metric(denied).await, 8.0);
    let end = socket.frame().await;
    assert_eq!((end.opcode, end.close_code()), (CLOSE, 4401));
    assert!(now() >= ends, "not before");
}

#[tokio::test]
async fn fresh_tokens_count_as_requests() {
    let server = server(&[("limits.user.requests", "4/day")]).await;
    // One to make the conversation, one to open the socket.
    let (mut socket, _) = socket(&server).await;
    for _ in 0..2 {
        socket.send(&auth("a.b.c")).await;
        assert_eq!(socket.error().await, "The token is not good");
    }
    socket.send(&auth(token_of("alice"))).await;
    let error = socket.error().await;
    assert!(error.starts_with("Request was throttled."), "{error}");
    assert_eq!(socket.close_code().await, 4401, "it was not looked at");
}

#[tokio::test]
async fn without_tokens_such_a_frame_is_ignored_as_ever() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.send(&auth(token_of("alice"))).await;
    socket.send(&auth(7)).await;
    socket.works().await;
}
