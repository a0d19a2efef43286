//! A mixed fleet: the reference service under daphne and Chatferry, on one database and one Redis.
//! `CHATFERRY_TEST_PYTHON` names a Python with the reference's packages.

use std::{net::SocketAddr, process::Stdio, sync::Arc};

use serde_json::json;
use tokio::process::{Child, Command};

use super::instance::{Redis, subscribed};
use crate::gateway::django::DAPHNE_IS_PATIENT;
use crate::support::{
    Connection, Directory, Port, Server, Socket,
    neighbours::{python, reference},
    soon, until,
};

/// The reference service; killed with the test.
pub struct Django {
    pub address: SocketAddr,
    _port: Port,
    _process: Child,
}

impl Django {
    /// A process on the database of this directory; `kind` is its layer, `core` or `pubsub`.
    pub async fn start(directory: &Directory, redis: &Redis, kind: &str) -> Option<Self> {
        let port = Port::claim();
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let process = Command::new(python()?)
            .args([
                "-m",
                "daphne",
                "-b",
                "127.0.0.1",
                "-p",
                &address.port().to_string(),
            ])
            .args(DAPHNE_IS_PATIENT)
            .arg("service.asgi:application")
            .current_dir(reference())
            .env(
                "DATABASE_URL",
                format!("sqlite://{}", directory.database().display()),
            )
            .env("REDIS_URL", redis.url())
            .env("REDIS_BACKEND", kind)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("Django", async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        Some(Django {
            address,
            _port: port,
            _process: process,
        })
    }

    /// A socket whose history has been read.
    pub async fn socket(&self, conversation: &str) -> Socket {
        let mut socket = Socket::open(Connection::to(self.address).await, conversation).await;
        socket.history().await;
        socket
    }
}

/// Every socket hears the same text next.
async fn all_hear(sockets: &mut [Socket], what: &str) -> String {
    let mut texts = Vec::new();
    for socket in sockets {
        texts.push(soon(what, socket.text()).await);
    }
    let (first, others) = texts.split_first().unwrap();
    assert!(others.iter().all(|text| text == first), "{texts:?}");
    assert!(first.contains(what), "{first}");
    first.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_on_django_and_on_chatferry_see_one_stream() {
    for (kind, backend) in [("core", "redis"), ("pubsub", "redis_pubsub")] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let directory = Arc::new(Directory::new());
        let url = redis.url();
        let flags = [("layer.backend", backend), ("layer.hosts", &*url)];
        let ours = [
            Server::on(Arc::clone(&directory), &flags).await,
            Server::on(Arc::clone(&directory), &flags).await,
        ];
        let (Some(one), Some(two)) = (
            Django::start(&directory, &redis, kind).await,
            Django::start(&directory, &redis, kind).await,
        ) else {
            return;
        };
        let id = ours[0].conversation().await;
        let mut sockets = vec![one.socket(&id).await, two.socket(&id).await];
        for server in &ours {
            sockets.push(server.socket(&id).await);
        }
        sockets.push(one.socket(&id).await);
        if kind == "pubsub" {
            // Django goes on before Redis has confirmed its subscriptions.
            let group = format!("asgi__group__chat_{id}");
            subscribed(std::slice::from_ref(&redis), &group, 4).await;
        }
        for speaker in 0..sockets.len() {
            let content = format!("{kind} {speaker}");
            sockets[speaker].say(&content).await;
            let text = all_hear(&mut sockets, &content).await;
            let heard: serde_json::Value = serde_json::from_str(&text).unwrap();
            let read = json!({"type": "mark_as_read", "message_id": heard["message"]["id"], "user_id": "bob"});
            sockets[speaker].send(&read).await;
            all_hear(&mut sockets, "message_read").await;
            let typing =
                json!({"type": "typing", "user_id": format!("u{speaker}"), "is_typing": true});
            sockets[speaker].send(&typing).await;
            all_hear(&mut sockets, &format!("u{speaker}")).await;
        }
        // Ours go away, and Django's consumers live on.
        sockets.drain(2..4);
        for server in ours {
            server.app.layer.close().await;
        }
        sockets[0].say("안녕").await;
        let text = all_hear(&mut sockets, "chat_message").await;
        assert!(text.contains("\\uc548\\ub155"), "{text}");
    }
}
