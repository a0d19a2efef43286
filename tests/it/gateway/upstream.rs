//! A server by hand behind the gateway: it reads what comes and writes what the test says.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::{Server, soon};

/// The upstream of a test; it ends with the test.
pub struct Upstream {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

/// One connection of the gateway's.
pub struct Call {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
}

impl Upstream {
    /// Hands every connection to `serve`, each in a task of its own.
    pub async fn start<F>(serve: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let buffer = Vec::new();
                tokio::spawn(serve(Call { stream, buffer }));
            }
        });
        Upstream {
            address,
            accepted,
            serving,
        }
    }

    /// Answers every request with the same bytes.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Upstream::start(move |mut call| {
            let answer = Arc::clone(&answer);
            async move {
                while call.head().await.is_some() {
                    call.write(&*answer).await;
                }
            }
        })
        .await
    }

    /// Answers every request with its own head.
    pub async fn echo() -> Self {
        Upstream::start(|mut call| async move {
            while let Some(head) = call.head().await {
                call.answer(&head).await;
            }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// A Chatferry in front of it.
    pub async fn gateway(&self, flags: &[(&str, &str)]) -> Server {
        let url = self.url();
        let mut all = vec![
            ("gateway.upstream", url.as_str()),
            ("gateway.rollout_percent", "100"),
        ];
        all.extend(flags);
        Server::with(&all).await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Call {
    /// The next request's head, with its blank line; `None` at the end.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads more; false at the end.
    pub async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// Reads until there are this many bytes, and takes them.
    pub async fn exactly(&mut self, size: usize) -> Vec<u8> {
        while self.buffer.len() < size {
            assert!(soon("bytes from the gateway", self.more()).await);
        }
        self.buffer.drain(..size).collect()
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// A plain answer.
    pub async fn answer(&mut self, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        self.write(head + body).await;
    }
}

impl Upstream {
    /// Reads a body of this size before it answers.
    pub async fn echo_after_body(size: usize) -> Self {
        Upstream::start(move |mut call| async move {
            while let Some(head) = call.head().await {
                while call.buffer.len() < size && call.more().await {}
                call.buffer.clear();
                call.answer(&head).await;
            }
        })
        .await
    }
}
