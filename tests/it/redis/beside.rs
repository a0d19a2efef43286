//! Two faults of the original, shown beside it: one conversation, one Redis, the same moment. Ours
//! is held; what the original does is told on standard error, as it depends on the machine.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    instance::Redis,
    mixed::Django,
    peer::{Peer, pythons},
};
use crate::support::{
    Connection, Directory, PATIENCE, Server, Socket, long_or_short, socket::CLOSE, soon, until,
};

const SOCKETS: usize = 10;

/// How long the original is given to close a socket before that counts as not done.
const QUIET: Duration = Duration::from_secs(5);

/// Shown even if the test passes.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Sockets that come and go on a server, one after the other, until `over`; how many there were.
fn neighbours(
    address: SocketAddr,
    conversations: &[String],
    over: &Arc<AtomicBool>,
) -> Vec<JoinHandle<usize>> {
    let visits = conversations.iter().map(|conversation| {
        let (conversation, over) = (conversation.clone(), Arc::clone(over));
        tokio::spawn(async move {
            let mut visits = 0;
            while !over.load(Ordering::Relaxed) {
                let mut socket = Socket::open(Connection::to(address).await, &conversation).await;
                socket.history().await;
                drop(socket);
                visits += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            visits
        })
    });
    visits.collect()
}

async fn sum(visits: Vec<JoinHandle<usize>>) -> usize {
    let mut sum = 0;
    for visits in visits {
        // A visitor that the original turned away has ended the count, and nothing else.
        sum += visits.await.unwrap_or_default();
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_broadcast_is_lost_while_neighbours_come_and_go() {
    let broadcasts = long_or_short(1500, 500);
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let url = redis.url();
    let flags = [("layer.backend", "redis"), ("layer.hosts", &*url)];
    let ours = Server::on(Arc::clone(&directory), &flags).await;
    let Some(django) = Django::start(&directory, &redis, "core").await else {
        return;
    };
    let Some((python, _)) = pythons().await.into_iter().next() else {
        return;
    };
    let servers = [redis];
    // The sender's capacity decides what a queue takes: nothing is lost for want of room.
    let mut sender = Peer::start(&python, "core", &servers, json!({"capacity": 10_000}));
    let mut conversations = Vec::new();
    for name in ["bob", "carol", "dave"] {
        conversations.push(ours.conversation_of("alice", name).await);
    }
    let id = &conversations[0];
    let (mut here, mut there) = (ours.socket(id).await, django.socket(id).await);
    let over = Arc::new(AtomicBool::new(false));
    let visits = [
        neighbours(ours.address, &conversations, &over),
        neighbours(django.address, &conversations, &over),
    ];
    // Typing marks stand in no table: one that is lost cannot be made up for.
    let here = tokio::spawn(async move {
        for n in 0..broadcasts {
            let want = json!({"type": "typing_status", "user_id": n, "is_typing": true});
            assert_eq!(here.json().await, want);
        }
    });
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    let there = tokio::spawn(async move {
        while there.json().await["user_id"] != "the last" {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let group = format!("chat_{id}");
    let typing = |by: Value| json!({"type": "typing_status", "user_id": by, "is_typing": true});
    for n in 0..broadcasts {
        sender.group_send(&group, typing(json!(n))).await;
    }
    here.await.unwrap();
    // What still comes on the other side comes before one of these, of which some are lost too.
    let ending = async {
        while !there.is_finished() {
            sender.group_send(&group, typing(json!("the last"))).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ending).await;
    over.store(true, Ordering::Relaxed);
    let [ours, theirs] = visits;
    let (ours, theirs) = (sum(ours).await, sum(theirs).await);
    there.abort();
    assert!(ours > 0, "neighbours came");
    tell(&format!(
        "of {broadcasts} broadcasts Chatferry lost 0 with {ours} neighbours, Django {} with {theirs}{}",
        broadcasts.saturating_sub(heard.load(Ordering::Relaxed)),
        if ended.is_ok() {
            ""
        } else {
            ", and all after them"
        }
    ));
}

/// The code that a server closes with, if it does so soon.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    let close = async {
        loop {
            match socket.next().await {
                Some(frame) if frame.opcode == CLOSE => return Some(frame.close_code()),
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::time::timeout(QUIET, close).await.ok().flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_socket_is_closed_when_redis_goes_away() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let url = redis.url();
    let flags = [("layer.backend", "redis"), ("layer.hosts", &*url)];
    let server = Server::on(Arc::clone(&directory), &flags).await;
    let Some(django) = Django::start(&directory, &redis, "core").await else {
        return;
    };
    let id = server.conversation().await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..SOCKETS {
        ours.push(server.socket(&id).await);
        theirs.push(django.socket(&id).await);
    }
    ours[0].say("before").await;
    for socket in ours.iter_mut().chain(&mut theirs) {
        assert_eq!(socket.heard().await, "before");
    }
    redis.kill();
    let began = Instant::now();
    ours[1].say("away").await;
    for socket in &mut ours {
        assert_eq!(socket.heard().await, "away");
    }
    let codes = join_all(theirs.iter_mut().map(close_code)).await;
    let closed = codes.iter().filter(|code| **code == Some(1011)).count();
    let took = began.elapsed();
    redis.run().await;
    until("readiness", async || {
        server.get("/readyz").await.status == 200
    })
    .await;
    ours[2].say("after").await;
    for socket in &mut ours {
        assert_eq!(soon("the message", socket.heard()).await, "after");
    }
    tell(&format!(
        "when Redis went away Chatferry closed 0 of {SOCKETS} sockets, Django {closed} with 1011 \
         within {} ms",
        took.as_millis()
    ));
}
