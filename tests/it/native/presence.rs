//! Who is online.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Client, OFFER};
use crate::{
    auth::{
        token::{BY_SECRET, token_of},
        wire::Caller,
    },
    redis::instance::Redis,
    support::{Directory, Server, soon},
};

/// Enters a conversation as a user.
async fn enter(client: &mut Client, conversation: &str, user: &str) {
    let subscribe = json!({"type": "subscribe", "conversation": conversation, "user": user});
    client.send(subscribe).await;
    client.next_of("subscribed").await;
}

fn presence(conversation: &str, user: &str, online: bool) -> Value {
    let users = [json!({"user": user, "online": online})];
    json!({"type": "presence", "conversation": conversation, "users": users})
}

#[tokio::test]
async fn who_comes_and_leaves_at_another_process_is_shown() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for backend in ["redis", "redis_pubsub"] {
        let directory = Arc::new(Directory::new());
        let url = redis.url();
        let flags = [("layer.backend", backend), ("layer.hosts", url.as_str())];
        let here = Server::on(Arc::clone(&directory), &flags).await;
        let there = Server::on(directory, &flags).await;
        let id = here.conversation_of("alice", "bob").await;
        let other = here.conversation_of("carol", "dave").await;
        let (mut alice, mut carol) = (Client::open(&here).await, Client::open(&here).await);
        enter(&mut alice, &id, "alice").await;
        enter(&mut carol, &other, "carol").await;
        let shown = soon("herself", alice.next_of("presence")).await;
        assert_eq!(shown, presence(&id, "alice", true));
        let mut bob = Client::open(&there).await;
        bob.subscribe(&id, None).await;
        bob.send(json!({"type": "subscribe", "conversation": id, "user": "bob"}))
            .await;
        let shown = soon("bob", alice.next_of("presence")).await;
        assert_eq!(shown, presence(&id, "bob", true));
        // A process that has just begun to show who is online asks the others.
        let alice_is_there = json!({"user": "alice", "online": true});
        let mut users = Vec::new();
        while !users.contains(&alice_is_there) {
            let told = soon("alice", bob.next_of("presence")).await;
            users.extend(told["users"].as_array().unwrap().clone());
        }
        drop(bob);
        let shown = soon("his end", alice.next_of("presence")).await;
        assert_eq!(shown, presence(&id, "bob", false));
        carol.next_of("presence").await;
        carol.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_user_is_who_the_identity_says() {
    let settings = [&BY_SECRET[..], &[("auth.policy", "participants")]].concat();
    let server = Server::with(&settings).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let client = async |user: &str| {
        let path = format!("/ws/chat/?token={}", token_of(user));
        Client::with(&server, &path, OFFER).await
    };
    let mut bob = client("bob").await;
    bob.subscribe(&id, None).await;
    let mut alice = client("alice").await;
    let as_bob = json!({"type": "subscribe", "conversation": id, "user": "bob"});
    assert_eq!(alice.ask(as_bob).await["code"], "not_you");
    let mut seen = Vec::new();
    while !seen.contains(&json!("alice")) {
        let told = soon("alice", bob.next_of("presence")).await;
        for user in told["users"].as_array().unwrap() {
            assert_eq!(user["online"], true);
            seen.push(user["user"].clone());
        }
    }
    // Who comes to a conversation is told at once who is there.
    alice
        .send(json!({"type": "subscribe", "conversation": id}))
        .await;
    let told = alice.next_of("presence").await;
    assert_eq!(told["users"].as_array().unwrap().len(), 2);
}
