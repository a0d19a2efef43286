//! The conversations of a user, as clients of the protocol list and open them.

use serde_json::{Value, json};

use super::{Client, OFFER};
use crate::{
    auth::{
        token::{BY_SECRET, token_of},
        wire::Caller,
    },
    support::Server,
};

fn ids(list: &Value) -> Vec<&str> {
    let conversations = list["conversations"].as_array().unwrap().iter();
    conversations.map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_user_lists_conversations_by_their_latest_messages() {
    let server = Server::start().await;
    let mut made = Vec::new();
    for friend in ["bob", "carol", "dave"] {
        made.push(server.conversation_of("alice", friend).await);
    }
    server.conversation_of("bob", "carol").await;
    server.stored(&made[1], "carol", "hello").await;
    server.stored(&made[0], "bob", "latest").await;
    let mut alice = Client::open(&server).await;
    let page = |limit: usize, after: &Value| json!({"type": "conversations", "ref": 1, "user": "alice", "limit": limit, "after": after});
    let whole = alice.ask(page(3, &Value::Null)).await;
    assert_eq!((ids(&whole).len(), &whole["next"]), (3, &Value::Null));
    let list = alice.ask(page(2, &Value::Null)).await;
    assert_eq!(
        (&list["type"], &list["ref"]),
        (&json!("conversations"), &json!(1))
    );
    assert_eq!(ids(&list), [&made[0], &made[1]]);
    let latest = &list["conversations"][0];
    assert_eq!(latest["members"], json!(["alice", "bob"]));
    assert_eq!(
        (&latest["last"]["content"], &latest["unread"]),
        (&json!("latest"), &json!(1))
    );
    let rest = alice.ask(page(2, &list["next"])).await;
    assert_eq!(ids(&rest), [&made[2]]);
    assert_eq!(
        (&rest["next"], &rest["conversations"][0]["last"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_conversation_is_opened_once_and_entered() {
    let server = Server::start().await;
    let mut alice = Client::open(&server).await;
    let open = json!({"type": "open", "ref": "o", "user": "alice", "with": "bob"});
    let made = alice.ask(open.clone()).await;
    assert_eq!(
        (&made["type"], &made["ref"]),
        (&json!("conversation"), &json!("o"))
    );
    let again = alice.ask(open).await;
    assert_eq!(again["conversation"], made["conversation"]);
    let id = made["conversation"]["id"].as_str().unwrap();
    alice.subscribe(id, None).await;
    let nobody = json!({"type": "open", "user": "alice", "with": ""});
    assert_eq!(alice.ask(nobody).await["code"], "bad_frame");
}

#[tokio::test]
async fn a_user_lists_and_opens_own_conversations_only() {
    let settings = [&BY_SECRET[..], &[("auth.policy", "participants")]].concat();
    let server = Server::with(&settings).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    Caller::known(&server, "carol")
        .conversation_of("carol", "dave")
        .await;
    let path = format!("/ws/chat/?token={}", token_of("alice"));
    let mut alice = Client::with(&server, &path, OFFER).await;
    let list = alice.ask(json!({"type": "conversations"})).await;
    assert_eq!(ids(&list), [&id]);
    for frame in [
        json!({"type": "conversations", "user": "carol"}),
        json!({"type": "open", "user": "carol", "with": "alice"}),
    ] {
        assert_eq!(alice.ask(frame).await["code"], "not_you");
    }
}
