//! The whole move under load: from all Django to all Chatferry and back, while people talk. The
//! clients know nothing of it; they only reconnect when their socket is closed.
//!
//! A socket on Django is shown what its channel layer delivers, and `channels_redis` 4.2 loses events in two ways,
//! of which it says nothing. All sockets of a process share a queue, and what comes while `capacity` events wait
//! in it is dropped: a busy machine gets there. And the socket that reads the queue may be closed: what Redis had
//! taken from the queue for it then reaches none of the others. Both are taken from this Django ([`WHOLE`]), so that
//! whatever is lost here is lost by Chatferry.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::{django::Django, shadow::mismatches};
use crate::redis::instance::Redis;
use crate::support::{
    Connection, Server, Socket,
    socket::{CLOSE, TEXT, chat_message, frame, path_of},
    soon, until,
};

const CONVERSATIONS: usize = 20;

/// Has Django's layer hand out what it takes from its queue, also if the socket that waited for it closes.
const WHOLE: &str = r"
import asyncio
from channels_redis.core import RedisChannelLayer

take = RedisChannelLayer.receive_single


async def take_whole(layer, channel):
    def hand_out(taking):
        names, message = taking.result()
        for name in names:
            layer.receive_buffer[name].put_nowait(message)

    taking = asyncio.ensure_future(take(layer, channel))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(hand_out)
        raise


RedisChannelLayer.receive_single = take_whole
";

/// More events than can wait in a queue here.
const CAPACITY: &str = "100000";

/// What a client adds to a text each time that it says it again: every attempt is told apart.
const AGAIN: &str = ", again";

/// A text without what its attempts are told apart by.
fn first_said(text: &str) -> &str {
    text.trim_end_matches(AGAIN)
}

/// What one client did and saw.
struct Report {
    conversation: String,
    /// Every attempt.
    said: Vec<String>,
    /// In a history or live.
    seen: HashSet<String>,
    /// Live more than once on one socket.
    twice: Vec<String>,
    sockets: usize,
}

/// A client that talks until it is told to stop, one message after the other.
struct Client {
    address: SocketAddr,
    name: String,
    /// How many of its texts it has seen.
    through: Arc<AtomicUsize>,
    report: Report,
}

impl Client {
    /// A new socket; what its history shows is seen. One that moves on before it has been told its
    /// history is no socket yet.
    async fn open(&mut self) -> Socket {
        let path = path_of(&self.report.conversation);
        let (socket, history) = soon("a socket", async {
            loop {
                let connection = Connection::to(self.address).await;
                if let Ok(mut socket) = Socket::try_open(connection, &path, "").await
                    && let Some(frame) = socket.next().await
                    && frame.opcode == TEXT
                {
                    let history: serde_json::Value =
                        serde_json::from_slice(&frame.payload).unwrap();
                    assert_eq!(history["type"], "conversation_history", "{history}");
                    return (socket, history);
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        self.report.sockets += 1;
        let messages = history["messages"].as_array().unwrap();
        let contents = messages
            .iter()
            .map(|message| message["content"].as_str().unwrap());
        self.report.seen.extend(contents.map(str::to_owned));
        socket
    }

    fn has_seen(&self, text: &str) -> bool {
        let mut seen = self.report.seen.iter();
        seen.any(|seen| first_said(seen) == text)
    }

    /// Reads until an attempt at `text` has been seen; false if it had to reconnect and the
    /// history does not show one.
    async fn see(
        &mut self,
        socket: &mut Socket,
        live: &mut HashMap<String, u32>,
        text: &str,
    ) -> bool {
        while !self.has_seen(text) {
            match socket.next().await {
                Some(next) if next.opcode == CLOSE => {
                    assert_eq!(next.close_code(), 1012);
                    let goodbye = frame(CLOSE, 1012_u16.to_be_bytes());
                    socket.connection.push(goodbye).await;
                    while socket.next().await.is_some() {}
                }
                Some(next) if next.opcode == TEXT => {
                    let event: serde_json::Value = serde_json::from_slice(&next.payload).unwrap();
                    let text = event["message"]["content"].as_str().unwrap().to_owned();
                    let times = live.entry(text.clone()).or_default();
                    *times += 1;
                    if *times > 1 {
                        self.report.twice.push(text.clone());
                    }
                    self.report.seen.insert(text);
                    continue;
                }
                Some(_) => continue,
                None => {}
            }
            *socket = self.open().await;
            live.clear();
            return self.has_seen(text);
        }
        true
    }

    /// Says something, and again if it may not have arrived: a client that has not seen for
    /// seconds that its socket was closed has spoken to nobody.
    async fn say(&mut self, socket: &mut Socket, live: &mut HashMap<String, u32>, text: &str) {
        let mut attempt = text.to_owned();
        loop {
            let bytes = frame(TEXT, chat_message(&attempt).to_string());
            self.report.said.push(attempt.clone());
            socket.connection.push(bytes).await;
            if self.see(socket, live, text).await {
                return;
            }
            attempt.push_str(AGAIN);
        }
    }

    async fn talk(mut self, stop: watch::Receiver<bool>, other: String) -> Report {
        let (mut socket, mut live) = (self.open().await, HashMap::new());
        let mut number = 0;
        while !*stop.borrow() {
            number += 1;
            let text = format!("{} {number}", self.name);
            self.say(&mut socket, &mut live, &text).await;
            self.through.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(40)).await;
        }
        let (mine, theirs) = (format!("{} ends", self.name), format!("{other} ends"));
        self.say(&mut socket, &mut live, &mine).await;
        while !self.see(&mut socket, &mut live, &theirs).await {}
        self.report
    }
}

/// Waits until every client has said a few things more, and has seen them.
async fn all_go_on(through: &[Arc<AtomicUsize>], place: &str) {
    let count = |one: &Arc<AtomicUsize>| one.load(Ordering::Relaxed);
    let before: Vec<_> = through.iter().map(count).collect();
    let what = format!("everybody to go on {place}");
    until(&what, async || {
        let mut both = through.iter().map(count).zip(&before);
        both.all(|(now, before)| now >= before + 3)
    })
    .await;
}

/// The texts of a conversation, as they are in the table.
fn stored(django: &Django, conversation: &str) -> Vec<String> {
    let db = django.directory.open();
    let sql = "SELECT content FROM messages WHERE conversation_id = ?1";
    let mut query = db.prepare(sql).unwrap();
    let rows = query.query_map([conversation.replace('-', "")], |row| row.get(0));
    rows.unwrap().map(Result::unwrap).collect()
}

fn move_to(server: &Server, percent: u8) {
    let gateway = server.site.gateway.as_ref().unwrap();
    gateway.reload(&chatferry::config::Gateway {
        rollout_percent: percent,
        ..server.app.config.gateway.clone()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_said_during_a_move_is_stored_once_and_seen_by_everybody() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = redis.url();
    let application = "application = ProtocolTypeRouter(";
    let changes = [(
        "service/asgi.py",
        application,
        &*format!("{WHOLE}\n{application}"),
    )];
    let env = [("REDIS_URL", &*url), ("REDIS_CAPACITY", CAPACITY)];
    let Some(mut django) = Django::with(&changes, &env).await else {
        return;
    };
    let server = django
        .gateway(&[
            ("gateway.rollout_percent", "0"),
            ("gateway.shadow_percent", "100"),
            ("layer.backend", "redis"),
            ("layer.hosts", &url),
            ("layer.capacity", CAPACITY),
            ("server.drain_s", "1"),
        ])
        .await;
    let (stop, stopped) = watch::channel(false);
    let (mut clients, mut through) = (Vec::new(), Vec::new());
    for number in 0..CONVERSATIONS {
        let id = server.conversation_of("alice", &number.to_string()).await;
        for (name, other) in [("alice", "bob"), ("bob", "alice")] {
            let client = Client {
                address: server.address,
                name: name.to_owned(),
                through: Arc::default(),
                report: Report {
                    conversation: id.clone(),
                    said: Vec::new(),
                    seen: HashSet::new(),
                    twice: Vec::new(),
                    sockets: 0,
                },
            };
            through.push(Arc::clone(&client.through));
            clients.push(tokio::spawn(client.talk(stopped.clone(), other.to_owned())));
        }
    }
    for percent in [0, 10, 50, 100] {
        move_to(&server, percent);
        all_go_on(&through, &format!("with {percent} % here")).await;
    }
    let passed = async || server.metric("chatferry_gateway_ws_open").await;
    until("Django to be alone", async || passed().await < 0.5).await;
    django.stop().await;
    all_go_on(&through, "without Django").await;
    django.run().await;
    move_to(&server, 0);
    until("everybody to be with Django", async || {
        passed().await > (2 * CONVERSATIONS) as f64 - 0.5
    })
    .await;
    stop.send(true).unwrap();
    let mut all = HashMap::<String, Vec<Report>>::new();
    for client in clients {
        let report = soon("a client", client).await.unwrap();
        let conversation = report.conversation.clone();
        all.entry(conversation).or_default().push(report);
    }
    for (conversation, reports) in all {
        let stored = stored(&django, &conversation);
        let attempts: HashSet<String> = stored.iter().cloned().collect();
        assert_eq!(stored.len(), attempts.len(), "once each: {stored:?}");
        let said = reports.iter().flat_map(|it| &it.said);
        let everything: HashSet<&str> = said.map(|text| first_said(text)).collect();
        let kept: HashSet<&str> = stored.iter().map(|text| first_said(text)).collect();
        assert_eq!(kept, everything);
        for report in &reports {
            assert_eq!(report.twice, [""; 0]);
            let seen: HashSet<&str> = report.seen.iter().map(|text| first_said(text)).collect();
            assert_eq!(seen, everything);
            assert!(report.seen.is_subset(&attempts), "only what is stored");
            assert!(report.sockets >= 3, "it moved there and back");
        }
    }
    assert_eq!(mismatches(&server).await, []);
    let compared = server.metric("chatferry_shadow_compared_total").await;
    assert!(compared > 0.0, "frames were compared");
}
