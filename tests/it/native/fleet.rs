//! Several processes on one Redis, and Django's events among theirs.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::{Client, message};
use crate::{
    redis::instance::Redis,
    support::{Directory, Server, process::run},
};

#[tokio::test]
async fn what_other_processes_say_looks_as_what_is_said_here() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let url = redis.url();
    let settings = [("layer.backend", "redis"), ("layer.hosts", url.as_str())];
    let one = Server::on(Arc::clone(&directory), &settings).await;
    let other = Server::on(Arc::clone(&directory), &settings).await;
    let id = one.conversation().await;
    let (mut here, mut there) = (Client::open(&one).await, Client::open(&other).await);
    here.subscribe(&id, None).await;
    there.subscribe(&id, None).await;
    let own = Uuid::now_v7().to_string();
    here.send(message(&own, &id, "안녕 \"quoted\"")).await;
    let (own, shown) = (
        here.next_of("message").await,
        there.next_of("message").await,
    );
    assert_eq!(own, shown);
    here.send(json!({"type": "typing", "conversation": id, "user": "alice"}))
        .await;
    let typing = json!({"type": "typing", "conversation": id, "user": "alice", "is_typing": true});
    assert_eq!(there.next().await, typing);
    assert_eq!(here.next_of("typing").await, typing);
    // Somebody else's own idea of a message: what it says is in the store, if anywhere.
    let strange = r#"{"type": "chat_message", "message": {"content": "half"}}"#;
    let group = format!("chat_{id}");
    let hosts = format!("layer.hosts={url}");
    let send = [
        "layer",
        "send",
        &group,
        strange,
        "--set",
        "layer.backend=redis",
        "--set",
        &hosts,
    ];
    assert_eq!(run(&directory, &send).await.code, 0);
    let changed = json!({"type": "changed", "conversation": id});
    assert_eq!(there.next().await, changed);
    assert_eq!(here.next().await, changed);
}
