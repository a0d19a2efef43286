//! A dialect beside Django's: over the same conversations, and over tables of its own.

mod lines;
mod mounts;
mod rooms;

use std::sync::Arc;

use chatferry::{dialect::Dialects, store::history::PAGE_MESSAGES};
use futures_util::future::join_all;

use self::lines::{Lines, PREFIX};
use crate::{
    socket::history::fill,
    support::{
        Directory, Server, Socket,
        server::config,
        socket::{chat_message, handshake},
    },
};

async fn server() -> Server {
    let directory = Arc::new(Directory::new());
    let config = config(&directory, &[]);
    let dialects = Dialects::of(&config).and(|slot| Box::new(Lines::new(slot)));
    Server::mount(dialects, directory, config).await
}

async fn lines(server: &Server, id: &str) -> Socket {
    let mut connection = server.connect().await;
    connection
        .send(handshake(&format!("{PREFIX}{id}"), ""))
        .await;
    assert_eq!(connection.head().await.status, 101);
    Socket::over(connection)
}

#[tokio::test]
async fn each_socket_gets_the_frames_of_its_own_dialect() {
    let server = server().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "before").await;
    let (mut old, history) = server.join(&id).await;
    assert_eq!(history.len(), 1);
    let mut new = lines(&server, &id).await;
    assert_eq!(new.text().await, "alice: before");
    new.send_text("bob: hello").await;
    assert_eq!(new.text().await, "bob: hello");
    assert_eq!(old.json().await["message"]["content"], "hello");
    old.send(&chat_message("and back")).await;
    assert_eq!(old.heard().await, "and back");
    assert_eq!(new.text().await, "alice: and back");
    new.send_text("nonsense").await;
    assert_eq!(new.text().await, "? who says that");
    assert_eq!(server.contents(&id).await, ["before", "hello", "and back"]);
}

#[tokio::test]
async fn sockets_of_two_dialects_that_open_together_share_no_frame() {
    let server = server().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "before").await;
    let of_lines = join_all((0..40).map(|_| lines(&server, &id)));
    let of_django = join_all((0..40).map(|_| server.join(&id)));
    let (of_lines, of_django) = tokio::join!(of_lines, of_django);
    for mut socket in of_lines {
        assert_eq!(socket.text().await, "alice: before");
    }
    assert!(of_django.iter().all(|(_, history)| history.len() == 1));
}

#[tokio::test]
async fn a_long_history_has_the_form_of_the_dialect_too() {
    let server = server().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, PAGE_MESSAGES + 1, "x");
    let mut socket = lines(&server, &id).await;
    let history = socket.text().await;
    assert_eq!(history.lines().count(), PAGE_MESSAGES + 1);
    assert!(history.starts_with("alice: 0 x\nalice: 1 x\n"), "{history}");
}

#[tokio::test]
async fn each_path_is_answered_by_its_own_dialect() {
    let server = server().await;
    let id = server.conversation().await;
    let room = server.get(&format!("{PREFIX}{id}")).await;
    assert_eq!((room.status, room.text()), (200, "alice and bob"));
    let none = server.get("/lines/none").await;
    assert_eq!((none.status, none.text()), (404, "no such room"));
    let elsewhere = server.get("/elsewhere").await;
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.text().contains("<h1>Not Found</h1>"));
    let ours = server.get(&format!("/api/chat/conversations/{id}/")).await;
    assert_eq!(ours.json()["participant2_id"], "bob");
}
