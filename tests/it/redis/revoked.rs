//! Tokens that are taken back by a key in Redis.

use std::sync::Arc;

use serde_json::{Value, json};

use super::instance::Redis;
use crate::{
    auth::token::{BY_SECRET, Key, now},
    support::{Directory, Server, Socket, process::run, request, socket::path_of},
};

async fn server(redis: &Redis) -> Server {
    let url = redis.url();
    let list = [
        ("layer.hosts", url.as_str()),
        ("auth.jwt.revoked_prefix", "revoked:"),
        ("auth.recheck_s", "1"),
    ];
    Server::on(
        Arc::new(Directory::new()),
        &[&BY_SECRET[..], &list].concat(),
    )
    .await
}

fn token(id: &Value) -> String {
    let claims = json!({"sub": "alice", "exp": now() + 3600, "jti": id});
    Key::secret().token(&claims)
}

async fn status(server: &Server, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    let headers = [("Authorization", header.as_str())];
    let path = "/api/chat/users/alice/conversations/";
    server
        .send(request("GET", path, &headers, None))
        .await
        .status
}

#[tokio::test]
async fn a_token_that_was_taken_back_opens_nothing_and_ends_its_sockets() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = server(&redis).await;
    let (stolen, fresh) = (token(&json!("stolen")), token(&json!("fresh")));
    assert_eq!(status(&server, &stolen).await, 200);
    for id in [json!(null), json!(""), json!(5)] {
        assert_eq!(status(&server, &token(&id)).await, 401, "{id}");
    }
    let header = format!("Bearer {stolen}");
    let headers = [("Authorization", header.as_str())];
    let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let making = request("POST", "/api/chat/conversations/", &headers, Some(&body));
    let made = server.send(making).await.json();
    let path = path_of(made["id"].as_str().unwrap());
    let open = async |token: &str| {
        let path = format!("{path}?token={token}");
        let socket = Socket::try_open(server.connect().await, &path, "").await;
        let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        socket.history().await;
        socket
    };
    let mut with_stolen = open(&stolen).await;
    let mut with_fresh = open(&fresh).await;
    // The last token that a socket has shown is the one that counts.
    let mut renewed = open(&stolen).await;
    renewed.send(&json!({"type": "auth", "token": fresh})).await;
    renewed.is_open().await;
    assert_eq!(
        redis.ask::<String>("SET revoked:stolen 1 EX 3600").await,
        "OK"
    );
    with_stolen.json().await;
    assert_eq!(with_stolen.close_code().await, 4401);
    assert_eq!(status(&server, &stolen).await, 401);
    assert_eq!(status(&server, &fresh).await, 200);
    with_fresh.json().await;
    with_fresh.is_open().await;
    renewed.json().await;
    renewed.is_open().await;
}

#[tokio::test]
async fn without_the_list_nobody_is_let_in_and_check_says_so() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let server = server(&redis).await;
    let good = token(&json!("good"));
    assert_eq!(status(&server, &good).await, 200);
    redis.kill();
    assert_eq!(status(&server, &good).await, 503);
    let directory = Directory::new();
    let hosts = format!("layer.hosts={}", redis.url());
    let mut arguments = vec!["check", "--set", &hosts];
    let list = ("auth.jwt.revoked_prefix", "revoked:");
    let settings = BY_SECRET.iter().chain([&list]);
    let settings: Vec<String> = settings
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let checked = run(&directory, &arguments).await;
    assert_eq!(checked.code, 1);
    assert!(
        checked.stderr.contains("auth.jwt.revoked_prefix"),
        "{checked:?}"
    );
    redis.run().await;
    assert_eq!(
        status(&server, &good).await,
        200,
        "a new connection is made"
    );
    assert_eq!(run(&directory, &arguments).await.code, 0);
}
