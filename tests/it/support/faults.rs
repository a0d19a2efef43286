//! The database goes away and comes back, whatever its kind: what everybody is told meanwhile, and
//! what must have been kept.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
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
    let list = format!("/api/chat/conversations/{conversation}/messages/");
    let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
    socket.say("lost").await;
    // At once: each may wait for the database.
    let (said, listed, opened, ready, well, error) = tokio::join!(
        server.message(conversation, "alice", "x"),
        server.get(&list),
        server.post("/api/chat/conversations/", pair),
        server.get("/readyz"),
        server.get("/healthz"),
        socket.error(),
    );
    for refused in [said, listed, opened] {
        assert_unavailable(&refused);
    }
    assert_eq!((ready.status, well.status), (503, 200));
    assert!(error.contains("try again"), "{error}");
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
        let content = format!("unconfirmed {number}");
        let rows = format!("messages WHERE content = '{content}'");
        let held = proxy.hold();
        socket.say(&content).await;
        held.lose_that_of(async || count(&rows).await > 0).await;
        assert_eq!(socket.heard().await, content);
        assert_eq!(count(&rows).await, 1);
    }
    // Receipts and conversations as well.
    let list = format!("/api/chat/conversations/{id}/messages/");
    let messages = server.get(&list).await.json();
    let message = messages[0]["id"].as_str().unwrap();
    let read = format!("/api/chat/messages/{message}/read/");
    let reader = json!({"user_id": "bob"});
    let marked = answered_late(proxy, server.put(&read, reader), async || {
        count("delivery_receipts").await > 0
    });
    assert_eq!(marked.await.status, 200);
    assert_eq!(count("delivery_receipts").await, 1);
    let pair = json!({"participant1_id": "new", "participant2_id": "pair"});
    let made = server.post("/api/chat/conversations/", pair);
    let made = answered_late(proxy, made, async || count("conversations").await > 1);
    assert_eq!(made.await.status, 201);
    assert_eq!(count("conversations").await, 2);
}

/// The answer to a request of whose commit the database's answer is lost.
async fn answered_late(
    proxy: &Proxy,
    request: impl Future<Output = Answer>,
    committed: impl AsyncFnMut() -> bool,
) -> Answer {
    let held = proxy.hold();
    let (answer, ()) = tokio::join!(request, held.lose_that_of(committed));
    answer
}

/// The connections of a server whose database is behind `proxy` die without a word, at once after
/// they were used: nobody is refused, and one reader is all that notices.
pub async fn lost_connections(server: &Server, proxy: &Proxy) {
    let id = server.conversation().await;
    let list = format!("/api/chat/conversations/{id}/messages/");
    let opened = "chatferry_store_connections_total{outcome=\"opened\"}";
    let many = (0..20).map(|_| server.get(&list));
    for answer in join_all(many).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.stored(&id, "alice", "before").await;
    let before = server.metric(opened).await;
    proxy.lose_connections();
    for _ in 0..5 {
        let answer = server.get(&list).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(
        server.metric(opened).await.to_bits(),
        (before + 1.0).to_bits()
    );
    server.stored(&id, "alice", "after").await;
    assert_eq!(server.contents(&id).await, ["before", "after"]);
}

const SENDERS: usize = 20;

/// People who send to one conversation without a pause, and remember what was acknowledged.
pub struct Senders {
    server: Arc<Server>,
    conversation: String,
    counts: Arc<Counts>,
    sending: Vec<JoinHandle<Vec<String>>>,
}

/// How the senders fare.
#[derive(Default)]
struct Counts {
    stored: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

impl Senders {
    pub async fn start(server: Server) -> Self {
        let (server, counts) = (Arc::new(server), Arc::<Counts>::default());
        let conversation = server.conversation().await;
        let one = |sender| {
            let (server, counts) = (Arc::clone(&server), Arc::clone(&counts));
            tokio::spawn(send(server, conversation.clone(), sender, counts))
        };
        let sending = (0..SENDERS).map(one).collect();
        Senders {
            server,
            conversation,
            counts,
            sending,
        }
    }

    /// Waits until they have stored some more.
    pub async fn go_on(&self) {
        let enough = self.counts.stored.load(Ordering::Relaxed) + 2 * SENDERS;
        until("more to be stored", async || {
            self.counts.stored.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    /// Waits until some more of them have been refused.
    pub async fn are_refused(&self) {
        let enough = self.counts.refused.load(Ordering::Relaxed) + SENDERS / 2;
        until("refusals", async || {
            self.counts.refused.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    /// Stops them and looks: everything acknowledged is there, and nothing twice.
    pub async fn lost_nothing(self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for sending in self.sending {
            acknowledged.extend(soon("a sender", sending).await.unwrap());
        }
        let mut found: HashMap<String, usize> = HashMap::new();
        for content in self.server.contents(&self.conversation).await {
            *found.entry(content).or_default() += 1;
        }
        assert!(!acknowledged.is_empty());
        for content in &acknowledged {
            assert!(found.contains_key(content), "{content} was acknowledged");
        }
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

async fn send(
    server: Arc<Server>,
    conversation: String,
    sender: usize,
    counts: Arc<Counts>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if counts.stop.load(Ordering::Relaxed) {
            break;
        }
        let content = format!("{sender}-{number}");
        let answer = server.message(&conversation, "alice", &content).await;
        if answer.status == 201 {
            acknowledged.push(content);
            counts.stored.fetch_add(1, Ordering::Relaxed);
        } else {
            // Of some nobody knows whether they were stored.
            assert_eq!(answer.status, 503, "{}", answer.text());
            counts.refused.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
        }
    }
    acknowledged
}
