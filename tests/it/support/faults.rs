//! The database goes away and comes back, whatever its kind: what everybody is told meanwhile, and
//! what must have been kept.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

use super::{Answer, Proxy, Server, Socket, soon, until};

/// A refusal that says when to come back.
pub fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert!(answer.json()["detail"].is_string());
}

/// Without its database the server refuses everything that needs it, and says so; it lives on.
pub async fn everybody_hears_so(server: &Server, conversation: &str, socket: &mut Socket) {
    assert_unavailable(&server.message(conversation, "alice", "x").await);
    let list = format!("/api/chat/conversations/{conversation}/messages/");
    assert_unavailable(&server.get(&list).await);
    let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
    assert_unavailable(&server.post("/api/chat/conversations/", pair).await);
    assert_eq!(server.get("/readyz").await.status, 503);
    assert_eq!(server.get("/healthz").await.status, 200);
    socket.say("lost").await;
    assert!(socket.error().await.contains("try again"));
}

/// Sends a message again and again until it is stored.
pub async fn goes_on(server: &Server, conversation: &str, content: &str) {
    until("a message", async || {
        let answer = server.message(conversation, "alice", content).await;
        answer.status == 201
    })
    .await;
}

/// Commits whose confirmation is lost on the way, on a server whose database is behind `proxy`:
/// everybody hears what became of them, and nothing is written twice. `count` counts the rows of a
/// table, with a condition.
pub async fn unconfirmed_commits(server: &Server, proxy: &Proxy, count: impl AsyncFn(&str) -> u64) {
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    for number in 0..3 {
        proxy.lose_answers();
        let content = format!("unconfirmed {number}");
        socket.say(&content).await;
        assert_eq!(socket.heard().await, content);
        let rows = format!("messages WHERE content = '{content}'");
        assert_eq!(count(&rows).await, 1);
    }
    // Receipts and conversations as well.
    let list = format!("/api/chat/conversations/{id}/messages/");
    let messages = server.get(&list).await.json();
    let message = messages[0]["id"].as_str().unwrap();
    let read = format!("/api/chat/messages/{message}/read/");
    proxy.lose_answers();
    let marked = server.put(&read, json!({"user_id": "bob"})).await;
    assert_eq!(marked.status, 200);
    proxy.lose_answers();
    let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
    let made = server.post("/api/chat/conversations/", pair).await;
    assert_eq!(made.status, 201);
    assert_eq!(count("conversations").await, 2);
}

/// People who send to one conversation without a pause, and remember what was acknowledged.
pub struct Senders {
    server: Arc<Server>,
    conversation: String,
    stop: Arc<AtomicBool>,
    sending: Vec<JoinHandle<Vec<String>>>,
}

impl Senders {
    pub async fn start(server: Server) -> Self {
        const SENDERS: usize = 20;
        let (server, stop) = (Arc::new(server), Arc::new(AtomicBool::new(false)));
        let conversation = server.conversation().await;
        let one = |sender| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(send_until(server, conversation.clone(), sender, stop))
        };
        let sending = (0..SENDERS).map(one).collect();
        Senders {
            server,
            conversation,
            stop,
            sending,
        }
    }

    /// Waits until the server stores something again.
    pub async fn go_on(&self) {
        goes_on(&self.server, &self.conversation, "back").await;
    }

    /// Stops them and looks: everything acknowledged is there, and nothing twice.
    pub async fn lost_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for sending in self.sending {
            acknowledged.extend(soon("a sender", sending).await.unwrap());
        }
        let mut found: HashMap<String, usize> = HashMap::new();
        for content in self.server.contents(&self.conversation).await {
            *found.entry(content).or_default() += 1;
        }
        found.remove("back");
        assert!(!acknowledged.is_empty());
        for content in &acknowledged {
            assert!(found.contains_key(content), "{content} was acknowledged");
        }
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

async fn send_until(
    server: Arc<Server>,
    conversation: String,
    sender: usize,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let content = format!("{sender}-{number}");
        let answer = server.message(&conversation, "alice", &content).await;
        if answer.status == 201 {
            acknowledged.push(content);
        } else {
            assert_unavailable(&answer);
            sleep(Duration::from_millis(20)).await;
        }
    }
    acknowledged
}
