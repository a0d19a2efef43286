//! A whole server on a socket file, and a client that does as little as it can.

use std::sync::Arc;

use chatferry::{app::App, metrics::Metrics, server::Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{
    nowhere::Nowhere,
    wire,
    world::{CONVERSATION, Directory, alone, body, chat_message, config},
};

const TEXT: u8 = 1;

/// How a text begins that is longer than 125 bytes.
const FRAME: &[u8] = b"\x81\x7e";

pub fn talk(times: usize) {
    let directory = Directory::new();
    alone(async {
        let mut client = Client::of_a_server(&directory).await;
        let handshake = wire::handshake(&CONVERSATION.to_string());
        client.ask(&handshake, b"HTTP/1.1 101", answer_size).await;
        // Its history comes unasked.
        client.ask(&[], FRAME, frame_size).await;
        let said = wire::masked(TEXT, chat_message().as_bytes());
        for _ in 0..times {
            client.ask(&said, FRAME, frame_size).await;
        }
    });
}

pub fn list(times: usize) {
    let path = format!("/api/chat/conversations/{CONVERSATION}/messages/");
    ask(&wire::get(&path), b"HTTP/1.1 200", times);
}

pub fn send(times: usize) {
    let body = body();
    let request = format!(
        "POST /api/chat/conversations/{CONVERSATION}/messages/send/ HTTP/1.1\r\n\
         Host: localhost\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(request.as_bytes(), b"HTTP/1.1 201", times);
}

/// Asks the same again and again, on one connection.
fn ask(request: &[u8], begin: &[u8], times: usize) {
    let directory = Directory::new();
    alone(async {
        let mut client = Client::of_a_server(&directory).await;
        for _ in 0..times {
            client.ask(request, begin, answer_size).await;
        }
    });
}

struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Client {
    /// Starts a server without a database, and connects to it.
    async fn of_a_server(directory: &Directory) -> Self {
        let socket = directory.path().join("socket");
        let config = config(&[
            ("server.bind", format!("unix:{}", socket.display())),
            // Nobody answers pings.
            ("ws.ping_interval_s", "3600".to_owned()),
        ]);
        let metrics = Arc::new(Metrics::new());
        let store = Arc::new(Nowhere::new(Arc::clone(&metrics)));
        let app = App::over(store, None, config, metrics).await.unwrap();
        let server = Server::bind(app).await.unwrap();
        tokio::spawn(server.run());
        Client {
            stream: UnixStream::connect(socket).await.unwrap(),
            received: Vec::with_capacity(1 << 16),
        }
    }

    /// Sends, and waits for one answer to its end. Its size is known once enough of it is there.
    async fn ask(&mut self, bytes: &[u8], begin: &[u8], size: fn(&[u8]) -> Option<usize>) {
        self.stream.write_all(bytes).await.unwrap();
        loop {
            if let Some(size) = size(&self.received).filter(|size| *size <= self.received.len()) {
                assert!(self.received.starts_with(begin), "{:?}", self.received);
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
