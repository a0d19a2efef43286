//! The protocol of our own and its REST API: what `src/dialect/chatferry/PROTOCOL.md` promises, beside clients that
//! speak Django's.

pub mod api;
mod api_feed;
pub mod api_overview;
pub mod api_rights;
pub mod attachments;
pub mod changes;
mod fleet;
mod group_rights;
pub mod groups;
mod list;
mod presence;
pub mod races;
mod resume;
mod rights;
mod talk;

use serde_json::{Value, json};

use crate::support::{Server, Socket, socket::handshake};

/// The offer that a client makes in its handshake.
pub const OFFER: &str = "Sec-WebSocket-Protocol: chatferry.v1\r\n";

/// A socket that speaks the protocol of our own, and has been greeted.
pub struct Client {
    pub socket: Socket,
    pub hello: Value,
}

impl Client {
    /// Opens a socket at the prefix of Django's.
    pub async fn open(server: &Server) -> Self {
        Client::with(server, "/ws/chat/", OFFER).await
    }

    /// Opens a socket of somebody who speaks with these headers.
    pub async fn with(server: &Server, path: &str, headers: &str) -> Self {
        let mut connection = server.connect().await;
        connection.send(handshake(path, headers)).await;
        let answer = connection.head().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        let agreed = answer.header("sec-websocket-protocol");
        assert_eq!(agreed, Some("chatferry.v1"));
        let mut socket = Socket::over(connection);
        let hello = socket.json().await;
        assert_eq!(hello["type"], "hello");
        Client { socket, hello }
    }

    pub async fn send(&mut self, frame: Value) {
        self.socket.send(&frame).await;
    }

    /// Sends a request and returns the next frame.
    pub async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.next().await
    }

    pub async fn next(&mut self) -> Value {
        self.socket.json().await
    }

    /// Returns the next frame of a type; others are passed over.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Enters a conversation, which may be after a cursor.
    pub async fn subscribe(&mut self, conversation: &str, after: Option<&Value>) -> Value {
        let mut frame = json!({"type": "subscribe", "ref": 1, "conversation": conversation});
        if let Some(after) = after {
            frame["after"] = after.clone();
        }
        self.send(frame).await;
        loop {
            let answer = self.next().await;
            // It is a member before its page is read.
            assert_ne!(answer["type"], "error", "{answer}");
            if answer["type"] == "subscribed" {
                return answer;
            }
        }
    }

    /// Nothing but the answer to a ping comes.
    pub async fn hears_nothing(&mut self) {
        let pong = self.ask(json!({"type": "ping", "ref": "quiet"})).await;
        assert_eq!(
            (&pong["type"], &pong["ref"]),
            (&json!("pong"), &json!("quiet"))
        );
    }
}

/// A frame that says something as alice.
pub fn message(id: &str, conversation: &str, content: &str) -> Value {
    json!({
        "type": "send", "id": id, "conversation": conversation,
        "sender": "alice", "content": content,
    })
}

/// The contents of the messages of a frame.
pub fn contents(frame: &Value) -> Vec<&str> {
    let messages = frame["messages"].as_array().unwrap().iter();
    messages.map(|it| it["content"].as_str().unwrap()).collect()
}
