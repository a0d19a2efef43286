//! What is said, and how it is answered.

use serde_json::json;
use uuid::Uuid;

use super::{Client, OFFER, contents, message};
use crate::{
    socket::history::fill,
    support::{
        Server,
        http::id_of,
        socket::{BINARY, frame, handshake},
    },
};

#[tokio::test]
async fn who_asks_for_the_protocol_is_greeted() {
    let server = Server::start().await;
    let id = server.conversation().await;
    for path in ["/ws/chat/", &format!("/ws/chat/{id}/")] {
        let client = Client::with(&server, path, OFFER).await;
        assert_eq!(client.hello["user"], json!(null));
        assert_eq!(client.hello["limits"]["subscriptions"], 64);
        assert!(client.hello["time"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn who_does_not_ask_for_it_gets_djangos_frames() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let refused = Server::with(&[("native.enabled", "false")]).await;
    let other = refused.conversation().await;
    for (server, id, headers) in [
        (&server, &id, ""),
        (
            &server,
            &id,
            "Sec-WebSocket-Protocol: chatferry.v2, chat\r\n",
        ),
        (&refused, &other, OFFER),
    ] {
        let mut connection = server.connect().await;
        connection
            .send(handshake(&format!("/ws/chat/{id}/"), headers))
            .await;
        let answer = connection.head().await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("sec-websocket-protocol"), None);
        let first = crate::support::Socket::over(connection).json().await;
        assert_eq!(first["type"], "conversation_history");
    }
}

#[tokio::test]
async fn a_message_is_acknowledged_once_it_is_stored_and_shown_in_both_protocols() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut old = server.socket(&id).await;
    let (mut alice, mut bob) = (Client::open(&server).await, Client::open(&server).await);
    for client in [&mut alice, &mut bob] {
        let subscribed = client.subscribe(&id, None).await;
        assert_eq!(contents(&subscribed), [""; 0]);
    }
    let own = Uuid::now_v7().to_string();
    alice.send(message(&own, &id, "안녕")).await;
    let ack = alice.next_of("ack").await;
    assert_eq!(
        (&ack["id"], &ack["conversation"]),
        (&json!(own), &json!(id))
    );
    assert_eq!(ack["message"]["content"], "안녕");
    assert_eq!(server.contents(&id).await, ["안녕"]);
    let shown = bob.next().await;
    assert_eq!(
        (&shown["type"], &shown["conversation"]),
        (&json!("message"), &json!(id))
    );
    assert_eq!(shown["message"], ack["message"]);
    let shown = old.json().await;
    assert_eq!(id_of(&shown["message"]), own);
    assert_eq!(shown["message"]["sender_id"], "alice");
    old.say("and back").await;
    assert_eq!(bob.next().await["message"]["content"], "and back");
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_stored_and_shown_once() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut bob = Client::open(&server).await;
    bob.subscribe(&id, None).await;
    let own = Uuid::now_v7().to_string();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut alice = Client::open(&server).await;
        alice.subscribe(&id, None).await;
        // At once, before there can be an answer.
        for _ in 0..3 {
            alice.send(message(&own, &id, "once")).await;
        }
        for _ in 0..3 {
            answers.push(alice.next_of("ack").await);
        }
    }
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:#?}");
    assert_eq!(bob.next().await["message"]["id"], own);
    bob.hears_nothing().await;
    assert_eq!(server.contents(&id).await, ["once"]);
}

#[tokio::test]
async fn an_id_that_not_every_database_holds_is_not_taken() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    for own in [Uuid::nil().to_string(), Uuid::max().to_string()]
        .into_iter()
        .chain(["fa557f88-9be1-8d77-8001-3b1833f4a380".to_owned()])
    {
        let nack = alice.ask(message(&own, &id, "x")).await;
        assert_eq!(
            (&nack["type"], &nack["code"]),
            (&json!("nack"), &json!("bad_frame"))
        );
    }
    assert!(server.contents(&id).await.is_empty());
}

#[tokio::test]
async fn the_id_of_another_message_is_not_taken() {
    let server = Server::start().await;
    let (id, other) = (
        server.conversation().await,
        server.conversation_of("a", "b").await,
    );
    let stored = id_of(&server.stored(&id, "bob", "his").await);
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    alice.subscribe(&other, None).await;
    for conversation in [&id, &other] {
        let nack = alice.ask(message(&stored, conversation, "mine")).await;
        assert_eq!(
            (&nack["type"], &nack["id"]),
            (&json!("nack"), &json!(stored))
        );
        assert_eq!(
            (&nack["code"], &nack["retry"]),
            (&json!("id_taken"), &json!(false))
        );
    }
    assert_eq!(server.contents(&id).await, ["his"]);
}

#[tokio::test]
async fn one_socket_is_in_several_conversations_until_it_leaves_them() {
    let server = Server::with(&[("native.subscriptions", "2")]).await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(server.conversation_of("alice", name).await);
    }
    let mut alice = Client::open(&server).await;
    alice.subscribe(&ids[0], None).await;
    alice.subscribe(&ids[1], None).await;
    let third = json!({"type": "subscribe", "ref": 3, "conversation": ids[2]});
    let full = alice.ask(third.clone()).await;
    assert_eq!(
        (&full["code"], &full["ref"]),
        (&json!("too_many_subscriptions"), &json!(3))
    );
    for id in &ids[..2] {
        server.socket(id).await.say("hello").await;
        assert_eq!(alice.next().await["conversation"], json!(id));
    }
    let left = alice
        .ask(json!({"type": "unsubscribe", "conversation": ids[0]}))
        .await;
    assert_eq!(left["type"], "unsubscribed");
    assert_eq!(alice.ask(third).await["type"], "subscribed");
    server.socket(&ids[0]).await.say("to nobody").await;
    alice.hears_nothing().await;
    let unheard = alice
        .ask(message(&Uuid::now_v7().to_string(), &ids[0], "x"))
        .await;
    assert_eq!(unheard["code"], "not_subscribed");
}

#[tokio::test]
async fn a_bad_frame_is_answered_and_the_socket_goes_on() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut alice = Client::open(&server).await;
    alice.subscribe(&id, None).await;
    let own = Uuid::now_v7().to_string();
    for (text, code) in [
        ("{".to_owned(), "bad_frame"),
        ("[]".to_owned(), "bad_frame"),
        (
            json!({"type": "shout", "conversation": id}).to_string(),
            "bad_frame",
        ),
        (json!({"type": "history"}).to_string(), "bad_frame"),
        (
            json!({"type": "history", "conversation": "7"}).to_string(),
            "bad_frame",
        ),
        (
            json!({"type": "history", "conversation": id, "before": "x"}).to_string(),
            "bad_frame",
        ),
        (
            json!({"type": "read", "conversation": id, "messages": []}).to_string(),
            "bad_frame",
        ),
        (
            json!({"type": "read", "conversation": id, "messages": [own], "user": "bob"})
                .to_string(),
            "no_message",
        ),
        (
            json!({"type": "typing", "conversation": id}).to_string(),
            "no_sender",
        ),
        (
            json!({"type": "subscribe", "conversation": Uuid::nil().to_string()}).to_string(),
            "no_conversation",
        ),
    ] {
        alice.socket.send_text(&text).await;
        let answer = alice.next().await;
        assert_eq!(answer["type"], "error", "{text}: {answer}");
        assert_eq!(answer["code"], code, "{text}: {answer}");
    }
    for (frame, code) in [
        (message(&own, &id, ""), "bad_frame"),
        (
            json!({"type": "send", "id": own, "conversation": id, "content": "x"}),
            "no_sender",
        ),
        (
            json!({
                "type": "send", "id": own, "conversation": id, "content": "x",
                "sender": "a".repeat(256),
            }),
            "too_long",
        ),
    ] {
        let answer = alice.ask(frame).await;
        assert_eq!(
            (&answer["type"], &answer["id"]),
            (&json!("nack"), &json!(own))
        );
        assert_eq!(answer["code"], code, "{answer}");
    }
    alice.socket.connection.send(frame(BINARY, [1])).await;
    assert_eq!(alice.next().await["code"], "bad_frame");
    alice.hears_nothing().await;
}

#[tokio::test]
async fn read_marks_and_typing_are_known_in_both_protocols() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let stored = id_of(&server.stored(&id, "alice", "read me").await);
    let mut old = server.socket(&id).await;
    let (mut alice, mut bob) = (Client::open(&server).await, Client::open(&server).await);
    alice.subscribe(&id, None).await;
    bob.subscribe(&id, None).await;
    bob.send(json!({
        "type": "read", "ref": "r", "conversation": id, "messages": [stored], "user": "bob",
    }))
    .await;
    assert_eq!(bob.next_of("ok").await["ref"], "r");
    let read = json!({"type": "read", "conversation": id, "message": stored, "user": "bob"});
    assert_eq!(alice.next().await, read);
    let seen = json!({"type": "message_read", "message_id": stored, "user_id": "bob"});
    assert_eq!(old.json().await, seen);
    let status: String = server
        .directory
        .value("SELECT status FROM delivery_receipts");
    assert_eq!(status, "read");
    old.send(&json!({"type": "typing", "user_id": "bob", "is_typing": true}))
        .await;
    let typing = json!({"type": "typing", "conversation": id, "user": "bob", "is_typing": true});
    assert_eq!(alice.next().await, typing);
}

#[tokio::test]
async fn who_asks_for_many_pages_at_once_gets_them_all_and_holds_one_at_a_time() {
    const MANY: usize = 40;
    let server = Server::with(&[("ws.queue_bytes", "65536")]).await;
    let mut ids = Vec::new();
    for number in 0..MANY {
        let id = server.conversation_of("alice", &number.to_string()).await;
        fill(&server.directory, &id, 100, &"x".repeat(2000));
        ids.push(id);
    }
    let mut alice = Client::open(&server).await;
    for id in &ids {
        let ask = json!({"type": "subscribe", "conversation": id, "limit": 100});
        alice.send(ask).await;
    }
    for id in &ids {
        let page = alice.next().await;
        assert_eq!(
            (&page["type"], &page["conversation"]),
            (&json!("subscribed"), &json!(id))
        );
        assert_eq!(contents(&page).len(), 100);
    }
    alice.hears_nothing().await;
}
