//! Who may do what, and when that ends.

use serde_json::json;
use uuid::Uuid;

use super::{Client, OFFER, message};
use crate::{
    auth::{
        token::{BY_SECRET, token_of},
        wire::Caller,
    },
    support::{Server, Socket},
};

pub async fn server(more: &[(&str, &str)]) -> Server {
    let settings = [&BY_SECRET[..], &[("auth.policy", "participants")], more].concat();
    Server::with(&settings).await
}

pub async fn client(server: &Server, user: &str) -> Client {
    let path = format!("/ws/chat/?token={}", token_of(user));
    Client::with(server, &path, OFFER).await
}

#[tokio::test]
async fn nobody_opens_a_socket_without_an_identity() {
    let server = server(&[]).await;
    let connection = server.connect().await;
    let refused = Socket::try_open(connection, "/ws/chat/", OFFER).await;
    assert_eq!(refused.err().unwrap().status, 401);
}

#[tokio::test]
async fn a_user_speaks_for_nobody_else_and_enters_own_conversations_only() {
    let server = server(&[]).await;
    let own = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let other = Caller::known(&server, "carol")
        .conversation_of("carol", "dave")
        .await;
    let mut alice = client(&server, "alice").await;
    assert_eq!(alice.hello["user"], "alice");
    for hidden in [other.clone(), Uuid::now_v7().to_string()] {
        let ask = json!({"type": "subscribe", "conversation": hidden});
        let refused = alice.ask(ask).await;
        assert_eq!(refused["code"], "no_conversation");
    }
    alice.subscribe(&own, None).await;
    let id = Uuid::now_v7().to_string();
    let mut as_bob = message(&id, &own, "not me");
    as_bob["sender"] = json!("bob");
    alice.send(as_bob).await;
    // A frame of presence may come before.
    let nack = alice.next_of("nack").await;
    assert_eq!(
        (&nack["type"], &nack["code"]),
        (&json!("nack"), &json!("not_you"))
    );
    let mut as_herself = message(&id, &own, "me");
    as_herself.as_object_mut().unwrap().remove("sender");
    alice.send(as_herself).await;
    assert_eq!(alice.next_of("ack").await["message"]["sender"], "alice");
    let elsewhere = alice
        .ask(message(&Uuid::now_v7().to_string(), &other, "x"))
        .await;
    assert_eq!(elsewhere["code"], "not_subscribed");
    let ask = json!({"type": "unread", "conversations": [own, other]});
    let unread = alice.ask(ask).await;
    assert_eq!(
        unread["counts"],
        json!([{"conversation": own, "unread": 0}])
    );
    let as_bob = json!({"type": "unread", "conversations": [own], "user": "bob"});
    assert_eq!(alice.ask(as_bob).await["code"], "not_you");
}

#[tokio::test]
async fn rights_to_one_conversation_end_alone() {
    let server = server(&[("auth.recheck_s", "1")]).await;
    let alice = Caller::known(&server, "alice");
    let ended = alice.conversation_of("alice", "bob").await;
    let kept = alice.conversation_of("alice", "carol").await;
    let mut alice = client(&server, "alice").await;
    alice.subscribe(&ended, None).await;
    alice.subscribe(&kept, None).await;
    let sql = "UPDATE conversations SET participant1_id = 'eve' WHERE participant2_id = 'bob'";
    assert_eq!(server.directory.open().execute(sql, []).unwrap(), 1);
    let shown = alice.next_of("unsubscribed").await;
    assert_eq!(
        shown,
        json!({
            "type": "unsubscribed", "ref": null, "conversation": ended, "code": "no_conversation",
        })
    );
    alice
        .send(message(&Uuid::now_v7().to_string(), &kept, "still here"))
        .await;
    assert_eq!(
        alice.next_of("ack").await["message"]["content"],
        "still here"
    );
    let gone = alice
        .ask(json!({"type": "history", "conversation": ended}))
        .await;
    assert_eq!(gone["code"], "not_subscribed");
}
