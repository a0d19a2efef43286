//! A way to the database that can be cut: what was sent arrives, what is answered does not.

use std::sync::Arc;

use tokio::{
    io::{AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
    time::{Duration, sleep},
};

/// Passes connections on to a server.
pub struct Proxy {
    pub location: String,
    deaf: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// A proxy before the server at `location` (`postgres://user@host:port`).
    pub async fn before(location: &str) -> Self {
        let (user, server) = location.rsplit_once('@').unwrap();
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let location = format!("{user}@{}", listener.local_addr().unwrap());
        let deaf = Arc::new(watch::Sender::new(false));
        let cut = Arc::clone(&deaf);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, cut.subscribe()));
            }
        });
        Proxy { location, deaf }
    }

    /// From now on the connections that are open pass on what is asked, lose the answer, and break
    /// a moment later. New ones work.
    pub fn lose_answers(&self) {
        self.deaf.send_replace(true);
        self.deaf.send_replace(false);
    }
}

async fn pass(client: TcpStream, server: TcpStream, mut deaf: watch::Receiver<bool>) {
    deaf.mark_unchanged();
    let (from_client, mut to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asking = tokio::spawn(forward(from_client, to_server));
    tokio::select! {
        () = answer(from_server, &mut to_client) => {}
        _ = deaf.changed() => {
            // Long enough for a commit; the answer is not read.
            sleep(Duration::from_millis(700)).await;
        }
    }
    asking.abort();
    let _ = to_client.shutdown().await;
}

async fn forward(mut from: OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let _ = copy(&mut from, &mut to).await;
}

async fn answer(mut from: OwnedReadHalf, to: &mut tokio::net::tcp::OwnedWriteHalf) {
    let _ = copy(&mut from, to).await;
}
