//! A whole server on a socket file, and a client that does as little as it can.

use std::sync::Arc;

use chatferry::{
    dialect::Dialects,
    metrics::Metrics,
    server::{Server, Site},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::Runtime,
};

use super::{
    Go,
    nowhere::Nowhere,
    wire::{self, Spoken},
    world::{CONVERSATION, Directory, body, chat_message, config, one_thread},
};

const TEXT: u8 = 1;

/// How a text begins that is longer than 125 bytes.
const FRAME: &[u8] = b"\x81\x7e";

/// What is awaited: how an answer begins, and its size once enough of it is there.
#[derive(Clone, Copy)]
struct Answer {
    begin: &'static [u8],
    size: fn(&[u8]) -> Option<usize>,
}

const EVENT: Answer = Answer {
    begin: FRAME,
    size: frame_size,
};

pub fn talk() -> Go {
    let runtime = one_thread();
    let client = runtime.block_on(async {
        let mut client = Box::pin(Client::of_a_server()).await;
        let handshake = Spoken::Django.opening(&CONVERSATION.to_string(), "");
        client.ask(&handshake, http(b"HTTP/1.1 101")).await;
        // Its history comes unasked.
        client.ask(&[], EVENT).await;
        client
    });
    let said = wire::masked(TEXT, chat_message().as_bytes());
    again(runtime, client, said, EVENT)
}

pub fn list() -> Go {
    let path = format!("/api/chat/conversations/{CONVERSATION}/messages/");
    ask(wire::get(&path), b"HTTP/1.1 200")
}

pub fn send() -> Go {
    let body = body();
    let request = format!(
        "POST /api/chat/conversations/{CONVERSATION}/messages/send/ HTTP/1.1\r\n\
         Host: localhost\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(request.into_bytes(), b"HTTP/1.1 201")
}

fn ask(request: Vec<u8>, begin: &'static [u8]) -> Go {
    let runtime = one_thread();
    let client = runtime.block_on(Client::of_a_server());
    again(runtime, client, request, http(begin))
}

/// Asks the same again and again, on one connection.
fn again(runtime: Runtime, mut client: Client, bytes: Vec<u8>, answer: Answer) -> Go {
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                client.ask(&bytes, answer).await;
            }
        });
    })
}

fn http(begin: &'static [u8]) -> Answer {
    let size = answer_size;
    Answer { begin, size }
}

struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    /// With the server's socket.
    _directory: Directory,
}

impl Client {
    /// Starts a server without a database, and connects to it.
    async fn of_a_server() -> Self {
        let directory = Directory::new();
        let socket = directory.path().join("socket");
        let config = config(&[
            ("server.bind", format!("unix:{}", socket.display())),
            // Nobody answers pings.
            ("ws.ping_interval_s", "3600".to_owned()),
        ]);
        let metrics = Arc::new(Metrics::new());
        let store = Arc::new(Nowhere::new(Arc::clone(&metrics)));
        let site = Site::over(Dialects::of(&config), store, None, config, metrics);
        let site = Box::pin(site).await.unwrap();
        let server = Server::bind(site).await.unwrap();
        tokio::spawn(server.run());
        Client {
            stream: UnixStream::connect(socket).await.unwrap(),
            received: Vec::with_capacity(1 << 16),
            _directory: directory,
        }
    }

    /// Sends, and waits for one answer to its end.
    async fn ask(&mut self, bytes: &[u8], answer: Answer) {
        self.stream.write_all(bytes).await.unwrap();
        loop {
            let size = (answer.size)(&self.received);
            if let Some(size) = size.filter(|size| *size <= self.received.len()) {
                let begins = self.received.starts_with(answer.begin);
                assert!(begins, "{:?}", self.received);
                self.received.drain(..size);
                return;
            }
            let read = self.stream.read_buf(&mut self.received).await;
            assert_ne!(read.unwrap(), 0, "{:?}", self.received);
        }
    }
}

fn frame_size(bytes: &[u8]) -> Option<usize> {
    wire::frame(bytes).map(|(_, size)| size)
}

fn answer_size(bytes: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let (mut head, mut body) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        head += line.len();
        if line == b"\r\n" {
            return Some(head + body);
        }
        if let Some((name, value)) = line.split_at_checked(LENGTH.len())
            && name.eq_ignore_ascii_case(LENGTH)
        {
            body = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        }
    }
    None
}
