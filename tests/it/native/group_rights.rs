//! Rights to a group: who may know of it, and when that ends.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    api::{ask_with, get, say},
    contents,
    groups::{group, roles},
    message,
    rights::{client, server as known_server},
};
use crate::{
    auth::token::{BY_SECRET, token_of},
    redis::{cable::Cable, instance::Redis},
    support::{Directory, Server, Socket, http::id_of, soon, until},
};

#[tokio::test]
async fn clients_of_django_never_see_a_group() {
    let server = Server::start().await;
    let id = group(&server, &["ann", "ben"]).await;
    let pair = server.conversation_of("ann", "ben").await;
    let listed = server
        .get("/api/chat/users/ann/conversations/")
        .await
        .text()
        .to_owned();
    assert!(listed.contains(&pair) && !listed.contains(&id), "{listed}");
    say(&server, &id, "ann", "secret").await;
    let nobodys = Uuid::new_v4();
    for rest in ["", "messages/"] {
        let get = async |id: &str| {
            let answer = server
                .get(&format!("/api/chat/conversations/{id}/{rest}"))
                .await;
            (answer.status, answer.text().to_owned())
        };
        assert_eq!(get(&id).await, get(&nobodys.to_string()).await, "{rest}");
    }
    let refused = server.message(&id, "ann", "x").await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    let path = format!("conversations/{id}/messages");
    assert_eq!(contents(&get(&server, &path).await), ["secret"]);
    let connection = server.connect().await;
    let opened = Socket::try_open(connection, &format!("/ws/chat/{id}/"), "").await;
    let path = format!("/ws/chat/{nobodys}/");
    let unknown = Socket::try_open(server.connect().await, &path, "").await;
    // Refused as a conversation that is not there.
    assert_eq!(
        opened.err().map(|it| it.status),
        unknown.err().map(|it| it.status)
    );
}

#[tokio::test]
async fn who_is_no_member_learns_nothing_of_a_group() {
    let server = known_server(&[]).await;
    let as_user = |user: &str| vec![("authorization", format!("Bearer {}", token_of(user)))];
    let call = async |user: &str, method: &str, path: &str, body: Option<Value>| {
        let headers = as_user(user);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        ask_with(&server, method, path, &headers, body.as_ref()).await
    };
    let new = json!({"name": "team", "members": ["bob"]});
    let made = call("alice", "POST", "conversations", Some(new)).await;
    let id = id_of(&made.json());
    let said = json!({"content": "secret"});
    let path = format!("conversations/{id}/messages");
    let said = call("alice", "POST", &path, Some(said)).await.json();
    let own = id_of(&said);
    let nothing = Uuid::new_v4().to_string();
    let marks = json!({"messages": [own]});
    for (method, rest, body) in [
        ("GET", "", None),
        ("PATCH", "", Some(json!({"name": "mine"}))),
        ("GET", "/members", None),
        ("POST", "/members", Some(json!({"members": ["eve"]}))),
        (
            "PATCH",
            "/members",
            Some(json!({"member": "eve", "role": "owner"})),
        ),
        ("DELETE", "/members?member=bob", None),
        ("DELETE", "/members?member=eve", None),
        ("GET", "/messages", None),
        ("POST", "/messages", Some(json!({"content": "x"}))),
        ("POST", "/read", Some(marks.clone())),
        ("POST", "/delivered", Some(marks.clone())),
        ("GET", "/receipts", None),
        ("GET", "/events", None),
    ] {
        let refused = call(
            "eve",
            method,
            &format!("conversations/{id}{rest}"),
            body.clone(),
        )
        .await;
        let absent = call(
            "eve",
            method,
            &format!("conversations/{nothing}{rest}"),
            body,
        )
        .await;
        assert_eq!(refused.status, 404, "{method} {rest}: {}", refused.text());
        assert_eq!(refused.text(), absent.text(), "{method} {rest}");
    }
    let found = call(
        "eve",
        "GET",
        &format!("search?q=secret&conversation={id}"),
        None,
    )
    .await;
    assert_eq!(found.status, 404);
    let found = call("eve", "GET", "search?q=secret", None).await.json();
    assert_eq!(found["messages"], json!([]));
    let unread = call("eve", "GET", &format!("unread?conversations={id}"), None).await;
    assert_eq!(unread.json()["counts"], json!([]));
    let mut eve = client(&server, "eve").await;
    for frame in [
        json!({"type": "subscribe", "conversation": id}),
        json!({"type": "leave", "conversation": id}),
        json!({"type": "rename", "conversation": id, "name": "x"}),
        json!({"type": "invite", "conversation": id, "members": ["eve"]}),
    ] {
        assert_eq!(eve.ask(frame).await["code"], "no_conversation");
    }
}

/// A member who is removed on one process loses the right to the group on another, at once.
async fn rights_end_on_every_process(layer: &str) {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let url = redis.url();
    let settings = [
        ("layer.backend", layer),
        ("layer.hosts", url.as_str()),
        ("auth.policy", "participants"),
    ];
    let settings = [&BY_SECRET[..], &settings].concat();
    let one = Server::on(Arc::clone(&directory), &settings).await;
    let other = Server::on(directory, &settings).await;
    let mut alice = client(&one, "alice").await;
    let create = json!({"type": "create", "name": "team", "members": ["bob", "carol"]});
    alice.send(create).await;
    let id = id_of(&alice.next_of("conversation").await["conversation"]);
    let (mut bob, mut carol) = (client(&other, "bob").await, client(&other, "carol").await);
    for member in [&mut alice, &mut bob, &mut carol] {
        member.subscribe(&id, None).await;
    }
    let mut dave = client(&other, "dave").await;
    alice
        .send(json!({"type": "invite", "conversation": id, "members": ["dave"]}))
        .await;
    assert_eq!(dave.next_of("membership").await["is_member"], true);
    assert_eq!(carol.next_of("group").await["group"]["version"], 2);
    alice
        .send(json!({"type": "remove", "conversation": id, "member": "bob"}))
        .await;
    let mut frames = vec![bob.next().await, bob.next().await];
    while !frames.iter().any(|it| it["type"] == "unsubscribed") {
        frames.push(bob.next().await);
    }
    let ended = frames.iter().find(|it| it["type"] == "unsubscribed");
    assert_eq!(
        ended.unwrap(),
        &json!({
            "type": "unsubscribed", "ref": null, "conversation": id, "code": "not_member",
        })
    );
    if !frames.iter().any(|it| it["type"] == "membership") {
        assert_eq!(bob.next_of("membership").await["is_member"], false);
    }
    assert_eq!(carol.next_of("group").await["group"]["version"], 3);
    let own = Uuid::now_v7().to_string();
    let mut said = message(&own, &id, "still here?");
    said.as_object_mut().unwrap().remove("sender");
    bob.send(said.clone()).await;
    assert_eq!(bob.next_of("nack").await["code"], "not_subscribed");
    alice.send(said).await;
    assert_eq!(carol.next_of("message").await["message"]["id"], own);
    bob.hears_nothing().await;
    assert_eq!(
        bob.ask(json!({"type": "subscribe", "conversation": id}))
            .await["code"],
        "no_conversation"
    );
    // A member who leaves is out as well, and the others see it.
    carol
        .send(json!({"type": "leave", "conversation": id}))
        .await;
    assert_eq!(carol.next_of("unsubscribed").await["code"], "not_member");
    while alice.next_of("group").await["group"]["version"] != 4 {}
}

#[tokio::test]
async fn rights_to_a_group_end_on_every_process_by_the_core_layer() {
    rights_end_on_every_process("redis").await;
}

#[tokio::test]
async fn rights_to_a_group_end_on_every_process_by_the_pubsub_layer() {
    rights_end_on_every_process("redis_pubsub").await;
}

#[tokio::test]
async fn a_member_removed_behind_a_cut_link_is_out_once_it_is_mended() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for layer in ["redis", "redis_pubsub"] {
        let cable = Cable::to(&redis).await;
        let directory = Arc::new(Directory::new());
        let (near, far) = (redis.url(), cable.url());
        let on = async |url: &str| {
            let layer = [("layer.backend", layer), ("layer.hosts", url)];
            let policy = [("auth.policy", "participants"), ("auth.recheck_s", "0")];
            let flags = [&BY_SECRET[..], &layer, &policy].concat();
            Server::on(Arc::clone(&directory), &flags).await
        };
        let (here, there) = (on(&near).await, on(&far).await);
        let mut alice = client(&here, "alice").await;
        let create = json!({"type": "create", "name": "team", "members": ["bob", "carol"]});
        alice.send(create).await;
        let id = id_of(&alice.next_of("conversation").await["conversation"]);
        let (mut bob, mut carol) = (client(&there, "bob").await, client(&there, "carol").await);
        bob.subscribe(&id, None).await;
        carol.subscribe(&id, None).await;
        cable.cut();
        until("the loss of the link", async || {
            there.metric("chatferry_redis_hosts_up").await < 1.0
        })
        .await;
        let remove = json!({"type": "remove", "conversation": id, "member": "bob"});
        alice.send(remove).await;
        alice.next_of("group").await;
        cable.mend();
        let ended = soon("the end of rights", bob.next_of("unsubscribed")).await;
        assert_eq!(ended["code"], "not_member");
        let shown = soon("the change", carol.next_of("group")).await;
        assert_eq!(
            roles(&shown["group"]),
            [("alice", "owner"), ("carol", "member")]
        );
    }
}
