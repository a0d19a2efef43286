//! Messages that their senders change and delete.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, contents, message};
use crate::{
    redis::{cable::Cable, instance::Redis},
    support::{Directory, Server, http::id_of, soon, until},
};

/// A frame by which alice gives a message new content.
fn edit(conversation: &str, message: &str, content: &str) -> Value {
    json!({
        "type": "edit", "ref": 5, "conversation": conversation, "message": message,
        "content": content, "user": "alice",
    })
}

/// A frame by which alice deletes a message.
fn delete(conversation: &str, message: &str) -> Value {
    json!({
        "type": "delete", "ref": 6, "conversation": conversation, "message": message,
        "user": "alice",
    })
}

#[tokio::test]
async fn a_change_is_shown_to_who_knows_of_changes_and_stands_in_every_history() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let own = id_of(&server.stored(&id, "alice", "frist").await);
    let mut old = server.socket(&id).await;
    let (mut alice, mut bob) = (Client::open(&server).await, Client::open(&server).await);
    assert_eq!(
        alice.hello["features"],
        json!(["receipts", "presence", "edit", "groups"])
    );
    alice.subscribe(&id, None).await;
    bob.subscribe(&id, None).await;
    alice.send(edit(&id, &own, "first")).await;
    let updated = bob.next_of("updated").await;
    assert_eq!(
        (&updated["conversation"], &updated["message"]["id"]),
        (&json!(id), &json!(own))
    );
    assert_eq!(updated["message"]["content"], "first");
    assert!(updated["message"]["updated_at"].as_str() > updated["message"]["created_at"].as_str());
    // The client itself gets its answer, and the event.
    let (mut answers, mut events) = (0, 0);
    while answers + events < 2 {
        let frame = alice.next_of("updated").await;
        assert_eq!(frame["message"], updated["message"]);
        *(if frame["ref"] == 5 {
            &mut answers
        } else {
            &mut events
        }) += 1;
    }
    assert_eq!((answers, events), (1, 1));
    // To others it is as with Django: nothing comes, and the history has it.
    old.is_open().await;
    assert_eq!(server.contents(&id).await, ["first"]);
    alice.send(delete(&id, &own)).await;
    let deleted = bob.next_of("deleted").await;
    assert_eq!(deleted["message"], own);
    old.is_open().await;
    assert_eq!(
        contents(&Client::open(&server).await.subscribe(&id, None).await),
        [""; 0]
    );
}

#[tokio::test]
async fn a_message_is_changed_by_its_sender_only_and_not_once_it_is_deleted() {
    let server = Server::start().await;
    let (id, other) = (
        server.conversation().await,
        server.conversation_of("alice", "carol").await,
    );
    let own = id_of(&server.stored(&id, "alice", "mine").await);
    let his = id_of(&server.stored(&id, "bob", "his").await);
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    alice.subscribe(&other, None).await;
    let nobodys = Uuid::now_v7().to_string();
    for (frame, code) in [
        (edit(&id, &his, "hers"), "not_yours"),
        (delete(&id, &his), "not_yours"),
        (edit(&id, &nobodys, "a"), "no_message"),
        (edit(&other, &own, "a"), "no_message"),
        (edit(&id, &own, ""), "bad_frame"),
        (edit(&nobodys, &own, "a"), "not_subscribed"),
    ] {
        let refused = alice.ask(frame.clone()).await;
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("error"), &json!(code)),
            "{frame}"
        );
        assert_eq!(refused["retry"], false);
    }
    assert_eq!(server.contents(&id).await, ["mine", "his"]);
    alice.send(delete(&id, &own)).await;
    while alice.next_of("deleted").await["ref"] != 6 {}
    alice.send(edit(&id, &own, "back")).await;
    assert_eq!(alice.next_of("error").await["code"], "no_message");
    assert_eq!(server.contents(&id).await, ["his"]);
}

#[tokio::test]
async fn who_comes_back_is_told_what_was_changed_meanwhile() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let old: Vec<String> = [
        id_of(&server.stored(&id, "alice", "one").await),
        id_of(&server.stored(&id, "alice", "two").await),
    ]
    .into();
    let mut bob = Client::open(&server).await;
    let cursor = bob.subscribe(&id, None).await["cursor"].clone();
    drop(bob);
    // As if all that had been said more than the 90 s ago that a cursor reaches back.
    let at = "2026-01-01 00:00:00.000000";
    let age = format!("UPDATE messages SET created_at = '{at}', updated_at = '{at}'");
    server.directory.open().execute_batch(&age).unwrap();
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    alice.send(edit(&id, &old[0], "1")).await;
    while alice.next_of("updated").await["ref"] != 5 {}
    alice.send(delete(&id, &old[1])).await;
    while alice.next_of("deleted").await["ref"] != 6 {}
    let back = Client::open(&server)
        .await
        .subscribe(&id, Some(&cursor))
        .await;
    assert_eq!(back["reload"], false);
    assert_eq!(contents(&back), [""; 0]);
    let updated = &back["updated"][0];
    assert_eq!(
        (&updated["id"], &updated["content"]),
        (&json!(old[0]), &json!("1"))
    );
    assert_eq!(back["deleted"], json!([old[1]]));
}

#[tokio::test]
async fn a_message_sent_again_after_it_was_changed_stays_changed() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let own = Uuid::now_v7().to_string();
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    alice.send(message(&own, &id, "draft")).await;
    alice.next_of("ack").await;
    alice.send(edit(&id, &own, "final")).await;
    while alice.next_of("updated").await["ref"] != 5 {}
    alice.send(message(&own, &id, "draft")).await;
    assert_eq!(alice.next_of("ack").await["message"]["content"], "final");
    assert_eq!(server.contents(&id).await, ["final"]);
}

#[tokio::test]
async fn a_change_behind_a_cut_link_is_shown_once_it_is_mended() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for backend in ["redis", "redis_pubsub"] {
        let cable = Cable::to(&redis).await;
        let directory = Arc::new(Directory::new());
        let (near, far) = (redis.url(), cable.url());
        let on = async |url: &str| {
            let flags = [("layer.backend", backend), ("layer.hosts", url)];
            Server::on(Arc::clone(&directory), &flags).await
        };
        let (here, there) = (on(&near).await, on(&far).await);
        let id = here.conversation_of("alice", backend).await;
        let own = id_of(&here.stored(&id, "alice", "before").await);
        let (mut alice, mut bob) = (Client::open(&here).await, Client::open(&there).await);
        alice.subscribe(&id, None).await;
        bob.subscribe(&id, None).await;
        cable.cut();
        until("the loss of the link", async || {
            there.metric("chatferry_redis_hosts_up").await < 1.0
        })
        .await;
        alice.send(edit(&id, &own, "after")).await;
        while alice.next_of("updated").await["ref"] != 5 {}
        cable.mend();
        let updated = soon("the change", bob.next_of("updated")).await;
        assert_eq!(updated["message"]["content"], "after");
    }
}

#[tokio::test]
async fn without_a_table_for_changes_messages_stay_as_they_are() {
    let directory = Arc::new(Directory::new());
    let first = Server::on(Arc::clone(&directory), &[]).await;
    let id = first.conversation().await;
    let own = id_of(&first.stored(&id, "alice", "stays").await);
    drop(first);
    directory
        .open()
        .execute_batch("DROP TABLE chatferry_changes")
        .unwrap();
    let server = Server::on(directory, &[]).await;
    let mut alice = Client::open(&server).await;
    assert_eq!(alice.hello["features"], json!(["receipts", "presence"]));
    alice.subscribe(&id, None).await;
    assert_eq!(alice.ask(edit(&id, &own, "a")).await["code"], "off");
    assert_eq!(server.contents(&id).await, ["stays"]);
}

/// Changes of one message on two servers at once: the later stands for everybody, on each database.
pub async fn changes_at_once_leave_one_version(servers: &[Server; 2]) {
    const MANY: usize = 20;
    let id = servers[0].conversation_of("alice", "zoe").await;
    let own = id_of(&servers[0].stored(&id, "alice", "0").await);
    let mut clients = [
        Client::open(&servers[0]).await,
        Client::open(&servers[1]).await,
    ];
    for client in &mut clients {
        client.subscribe(&id, None).await;
    }
    let mut latest = (String::new(), String::new());
    for number in 0..MANY {
        for (client, side) in clients.iter_mut().zip(["a", "b"]) {
            client
                .send(edit(&id, &own, &format!("{side}{number}")))
                .await;
        }
        for client in &mut clients {
            let answer = loop {
                let frame = client.next_of("updated").await;
                if frame["ref"] == 5 {
                    break frame;
                }
            };
            let text = |name: &str| answer["message"][name].as_str().unwrap().to_owned();
            let version = (text("updated_at"), text("content"));
            assert_ne!(version.0, latest.0, "no two versions have one time");
            latest = latest.max(version);
        }
    }
    assert_eq!(servers[1].contents(&id).await, [latest.1]);
    let (conversation, message) = (&id, &own);
    clients[0].send(delete(conversation, message)).await;
    while clients[0].next_of("deleted").await["ref"] != 6 {}
    assert!(servers[1].contents(&id).await.is_empty());
}

/// What is delivered is kept until it is read, and never hides that it was; on each database.
pub async fn a_receipt_only_ever_says_more(server: &Server) {
    let id = server.conversation_of("alice", "yan").await;
    let own = [
        id_of(&server.stored(&id, "alice", "one").await),
        id_of(&server.stored(&id, "alice", "two").await),
    ];
    let (mut alice, mut yan) = (Client::open(server).await, Client::open(server).await);
    alice.subscribe(&id, None).await;
    yan.subscribe(&id, None).await;
    let mark = |kind: &str, messages: &[String]| json!({"type": kind, "ref": 7, "conversation": id, "messages": messages, "user": "yan"});
    yan.send(mark("delivered", &own)).await;
    yan.next_of("ok").await;
    let told = alice.next_of("delivered").await;
    assert_eq!(
        (&told["user"], &told["conversation"]),
        (&json!("yan"), &json!(id))
    );
    let mut delivered: Vec<&str> = told["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    delivered.sort_unstable();
    let mut both: Vec<&str> = own.iter().map(String::as_str).collect();
    both.sort_unstable();
    assert_eq!(delivered, both);
    yan.send(mark("read", &own[..1])).await;
    yan.next_of("ok").await;
    alice.next_of("read").await;
    yan.send(mark("delivered", &own)).await;
    yan.next_of("ok").await;
    let ask = json!({"type": "receipts", "ref": 8, "conversation": id, "messages": own});
    alice.send(ask).await;
    let answer = alice.next_of("receipts").await;
    let mut receipts: Vec<(&str, &str, &str)> = Vec::new();
    for receipt in answer["receipts"].as_array().unwrap() {
        let text = |name: &str| receipt[name].as_str().unwrap();
        receipts.push((text("message"), text("user"), text("status")));
    }
    receipts.sort_unstable();
    let mut expected = [
        (own[0].as_str(), "yan", "read"),
        (own[1].as_str(), "yan", "delivered"),
    ];
    expected.sort_unstable();
    assert_eq!(receipts, expected);
}
