//! HTTP by hand: bytes out, answers in.

use std::{fmt::Write as _, net::SocketAddr};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::soon;

/// What both kinds of sockets can do.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One connection, on which any bytes can be sent.
pub struct Connection {
    pub io: Box<dyn Io>,
    /// Received and not yet taken.
    pub buffer: Vec<u8>,
}

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    /// `HTTP/1.1 200 OK`.
    pub line: String,
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {self:?} {:?}", self.text()))
    }
}

/// The id of what an answer or a frame shows.
pub fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// The value of a series in the text of the metrics; 0 if it is not there.
pub fn value_of(metrics: &str, series: &str) -> f64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// The bytes of a request with an optional JSON body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let body = body.map_or_else(String::new, Value::to_string);
    if !body.is_empty() {
        let length = body.len();
        let _ = write!(
            text,
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        );
    }
    text + "\r\n" + &body
}

impl Connection {
    pub async fn to(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await;
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection::over(stream)
    }

    /// A connection whose client has little room; with much less the system would only trickle.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(65_536).unwrap();
        Connection::over(socket.connect(address).await.unwrap())
    }

    pub fn over(io: impl Io + 'static) -> Self {
        Connection {
            io: Box::new(io),
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("room to send", self.io.write_all(bytes.as_ref()))
            .await
            .unwrap();
    }

    /// Sends as much as the server takes: it may close before it has read everything.
    pub async fn push(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon("room to send", self.io.write_all(bytes.as_ref())).await;
    }

    /// Reads more; false at the end. A reset is an end too.
    async fn more(&mut self) -> bool {
        let read = soon("bytes", self.io.read_buf(&mut self.buffer)).await;
        matches!(read, Ok(1..))
    }

    /// The next answer; `None` if the server closed without one.
    pub async fn next(&mut self) -> Option<Answer> {
        let mut answer = self.next_head().await?;
        // Interim answers and a 204 have no body.
        if answer.status >= 200 && answer.status != 204 {
            answer.body = self.body(&answer).await;
        }
        Some(answer)
    }

    /// The next answer, which has no body whatever its headers say.
    pub async fn head(&mut self) -> Answer {
        self.next_head().await.expect("an answer before the end")
    }

    async fn next_head(&mut self) -> Option<Answer> {
        let end = loop {
            let head = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = head {
                break end;
            }
            if !self.more().await {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.buffer);
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Answer {
            line,
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// The next answer, which must come.
    pub async fn answer(&mut self) -> Answer {
        self.next().await.expect("an answer before the end")
    }

    /// The body of an answer whose head has been read.
    pub async fn body(&mut self, answer: &Answer) -> Vec<u8> {
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length && self.more().await {}
            assert!(self.buffer.len() >= length, "the body broke off");
            return self.buffer.drain(..length).collect();
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            let end = loop {
                let end = self.buffer.windows(2).position(|two| two == b"\r\n");
                if let Some(end) = end {
                    break end;
                }
                assert!(self.more().await, "the body broke off");
            };
            let size = String::from_utf8(self.take(end + 2).await).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let chunk = self.take(size + 2).await;
            if size == 0 {
                return whole;
            }
            whole.extend(&chunk[..size]);
        }
    }

    /// Reads these bytes, which must be the next.
    pub async fn expect(&mut self, bytes: &str) {
        while self.buffer.len() < bytes.len() && self.more().await {}
        let found: Vec<u8> = self
            .buffer
            .drain(..bytes.len().min(self.buffer.len()))
            .collect();
        assert_eq!(String::from_utf8_lossy(&found), bytes);
    }

    /// The next bytes, as many as asked for.
    pub async fn take(&mut self, size: usize) -> Vec<u8> {
        while self.buffer.len() < size {
            assert!(self.more().await, "the end, after {:?}", self.buffer);
        }
        self.buffer.drain(..size).collect()
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Waits for the server to close, and fails if it sends anything more.
    pub async fn closed(&mut self) {
        let more = self.more().await;
        assert!(!more, "{:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).await;
        self.answer().await
    }

    /// The id of the conversation of alice and bob, which is made if it is not there.
    pub async fn conversation(&mut self) -> String {
        self.conversation_of("alice", "bob").await
    }

    pub async fn conversation_of(&mut self, one: &str, two: &str) -> String {
        let body = json!({"participant1_id": one, "participant2_id": two});
        let create = request("POST", "/api/chat/conversations/", &[], Some(&body));
        id_of(&self.ask(create).await.json())
    }

    /// The value of a series of the metrics.
    pub async fn metric(&mut self, series: &str) -> f64 {
        let answer = self.ask(request("GET", "/metrics", &[], None)).await;
        value_of(answer.text(), series)
    }
}
