//! A way to the database that can be cut just behind a commit: what was sent arrives, and its answer
//! does not. Or it loses all that is said on the connections it has, as after a failover.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot, watch,
    },
};

use super::soon;

/// Passes connections on to a server.
pub struct Proxy {
    pub location: String,
    /// Where each answer waits to be judged; none while all are passed on.
    judge: Arc<watch::Sender<Option<UnboundedSender<Answered>>>>,
    /// Changes when the connections that are open are to be lost.
    lost: Arc<watch::Sender<()>>,
}

/// An answer of the server that has not been passed on.
struct Answered {
    /// True if it is passed on. Otherwise its connection breaks.
    verdict: oneshot::Sender<bool>,
}

/// The answers of all connections, from a moment on, one after the other.
pub struct Held<'a> {
    proxy: &'a Proxy,
    answers: UnboundedReceiver<Answered>,
}

impl Proxy {
    /// A proxy before the server at `location` (`postgres://user@host:port`).
    pub async fn before(location: &str) -> Self {
        let (user, server) = location.rsplit_once('@').unwrap();
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let location = format!("{user}@{}", listener.local_addr().unwrap());
        let judge = Arc::new(watch::Sender::new(None));
        let judging = Arc::clone(&judge);
        let lost = Arc::new(watch::Sender::new(()));
        let losing = Arc::clone(&lost);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (judge, lost) = (judging.subscribe(), losing.subscribe());
                tokio::spawn(pass(client, server, judge, lost));
            }
        });
        Proxy {
            location,
            judge,
            lost,
        }
    }

    /// Loses everything that is said from now on on the connections that are open, which stay so.
    /// New ones work.
    pub fn lose_connections(&self) {
        self.lost.send_replace(());
    }

    /// Holds every answer from now on, until one is lost.
    pub fn hold(&self) -> Held<'_> {
        let (judge, answers) = unbounded_channel();
        self.judge.send_replace(Some(judge));
        Held {
            proxy: self,
            answers,
        }
    }
}

impl Held<'_> {
    /// Passes answers on until `committed` holds, and loses the one that says so: its connection
    /// breaks, and all others work.
    pub async fn lose_that_of(mut self, mut committed: impl AsyncFnMut() -> bool) {
        loop {
            let answered = soon("an answer", self.answers.recv()).await.unwrap();
            let is_lost = committed().await;
            if is_lost {
                self.proxy.judge.send_replace(None);
            }
            // Its client may have given up.
            let _ = answered.verdict.send(!is_lost);
            if is_lost {
                return;
            }
        }
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    judge: watch::Receiver<Option<UnboundedSender<Answered>>>,
    mut lost: watch::Receiver<()>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // Either end ends both.
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        () = answer(&mut from_server, &mut to_client, judge) => {}
        Ok(()) = lost.changed() => {
            // Until the client has had enough.
            let _ = copy(&mut from_client, &mut tokio::io::sink()).await;
        }
    }
}

/// Passes on the answers of the server, those that are held once they have been judged.
async fn answer(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    judge: watch::Receiver<Option<UnboundedSender<Answered>>>,
) {
    let mut bytes = Vec::new();
    while let Ok(1..) = from.read_buf(&mut bytes).await {
        let holding = judge.borrow().clone();
        if let Some(holding) = holding {
            let (verdict, judged) = oneshot::channel();
            // If nobody judges any more, they are passed on.
            let _ = holding.send(Answered { verdict });
            if !judged.await.unwrap_or(true) {
                return;
            }
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
    }
}
