//! Rights that end while a socket is open: participants, conversations and sessions that change,
//! and orders to disconnect.

use std::sync::Arc;

use chatferry::layer::control::Disconnect;
use serde_json::json;

use super::{token::BY_SECRET, wire::Caller};
use crate::support::{Directory, Server, Socket, until};

const RECHECKED: [(&str, &str); 2] = [("auth.policy", "participants"), ("auth.recheck_s", "1")];

async fn server(directory: &Arc<Directory>, settings: &[(&str, &str)]) -> Server {
    Server::on(Arc::clone(directory), &[&BY_SECRET[..], settings].concat()).await
}

async fn conversation(server: &Server, one: &str, other: &str) -> String {
    Caller::known(server, one).conversation_of(one, other).await
}

async fn socket(server: &Server, user: &str, conversation: &str) -> Socket {
    let socket = Caller::known(server, user).socket(conversation).await;
    let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    socket.history().await;
    socket
}

/// Types as `user`, and waits until that comes back: the socket is open.
async fn types(socket: &mut Socket, user: &str) {
    let typing = json!({"type": "typing", "user_id": user});
    socket.send(&typing).await;
    while socket.json().await["user_id"] != user {}
}

#[tokio::test]
async fn a_socket_is_closed_when_its_user_no_longer_takes_part() {
    let directory = Arc::new(Directory::new());
    let server = server(&directory, &RECHECKED).await;
    let id = conversation(&server, "alice", "bob").await;
    let mut alice = socket(&server, "alice", &id).await;
    let mut bob = socket(&server, "bob", &id).await;
    let swap = "UPDATE conversations SET participant1_id = 'carol'";
    directory.open().execute_batch(swap).unwrap();
    assert_eq!(alice.close_code().await, 1008);
    let again = Caller::known(&server, "alice").socket(&id).await;
    assert_eq!(again.err().unwrap().status, 403);
    let mut carol = socket(&server, "carol", &id).await;
    types(&mut carol, "carol").await;
    types(&mut bob, "bob").await;
}

#[tokio::test]
async fn a_policy_closes_the_sockets_of_a_conversation_that_is_no_longer_active() {
    let directory = Arc::new(Directory::new());
    let strict = server(&directory, &RECHECKED).await;
    let open = server(&directory, &[("auth.recheck_s", "1")]).await;
    let id = conversation(&strict, "alice", "bob").await;
    let mut without_policy = socket(&open, "alice", &id).await;
    for round in 0..2 {
        let mut sockets = [
            socket(&strict, "alice", &id).await,
            socket(&strict, "bob", &id).await,
        ];
        let active = |is: u8| format!("UPDATE conversations SET is_active = {is}");
        directory.open().execute_batch(&active(0)).unwrap();
        for socket in &mut sockets {
            assert_eq!(socket.close_code().await, 1008, "{round}");
        }
        directory.open().execute_batch(&active(1)).unwrap();
    }
    // As in the original.
    types(&mut without_policy, "alice").await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_rights_all_the_same() {
    let directory = Arc::new(Directory::new());
    let queue = [("ws.queue_bytes", "100000000")];
    let server = server(&directory, &[&RECHECKED[..], &queue].concat()).await;
    let id = conversation(&server, "bob", "alice").await;
    let _bob = socket(&server, "bob", &id).await;
    let mut alice = socket(&server, "alice", &id).await;
    // More than the system keeps for somebody who does not read.
    let long = "x".repeat(200_000);
    for _ in 0..60 {
        alice.say(&long).await;
        alice.heard().await;
    }
    let swap = "UPDATE conversations SET participant1_id = 'carol'";
    directory.open().execute_batch(swap).unwrap();
    until("the end of the socket", async || {
        let metrics = server.get("/metrics").await;
        let mut lines = metrics.text().lines();
        lines.any(|line| line == "chatferry_ws_open 1")
    })
    .await;
    let metrics = server.get("/metrics").await;
    let closed = "chatferry_ws_closed_total{code=\"1008\"} 1";
    assert!(metrics.text().contains(closed), "and not as too slow");
    types(&mut alice, "alice").await;
}

#[tokio::test]
async fn an_order_closes_the_sockets_that_it_is_for() {
    let directory = Arc::new(Directory::new());
    let server = server(&directory, &[("auth.policy", "participants")]).await;
    let one = conversation(&server, "alice", "bob").await;
    let two = conversation(&server, "alice", "carol").await;
    let mut in_one = socket(&server, "alice", &one).await;
    let mut in_two = socket(&server, "alice", &two).await;
    let mut bob = socket(&server, "bob", &one).await;
    let mut carol = socket(&server, "carol", &two).await;
    let order = |user: Option<&str>, conversation: Option<&str>| {
        server.app.auth.disconnect(&Disconnect {
            user: user.map(str::to_owned),
            conversation: conversation.map(|id| id.parse().unwrap()),
        });
    };
    order(Some("alice"), Some(&one));
    assert_eq!(in_one.close_code().await, 1008);
    types(&mut in_two, "alice").await;
    assert_eq!(carol.json().await["user_id"], "alice");
    order(Some("alice"), None);
    assert_eq!(in_two.close_code().await, 1008);
    order(None, Some(&two));
    assert_eq!(carol.close_code().await, 1008);
    let mut again = socket(&server, "alice", &one).await;
    types(&mut again, "alice").await;
    assert_eq!(bob.json().await["user_id"], "alice");
}
