//! What the gateway adds to a request and to a frame, beside `HAProxy` in front of the same
//! upstream in the same run: an upstream that costs nothing, and Django itself.
//!
//! `tests/run bench_gateway` builds the release binary and runs this on it. One client, one
//! exchange after the other, the ways in turns; each figure is the median of the rounds' medians.
//! What is held is the aim: less than 40 µs more than the trivial upstream alone, and less than
//! 15 % more than Django alone. Else the exit code is 1.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "no figures without"
)]

#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../it"]
mod it {
    pub mod support;
}

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use it::support::{
    Directory, Process, process, request,
    socket::{TEXT, frame, handshake, path_of},
};
use serde_json::json;

const ROUNDS: usize = 9;
const ADDED_US: f64 = 40.0;
const ADDED_PERCENT: f64 = 15.0;
const START: Duration = Duration::from_secs(60);

/// Where a client connects to.
struct Ways {
    direct: SocketAddr,
    /// Killed with the measurement.
    chatferry: Process,
    haproxy: Option<Haproxy>,
    _directory: Directory,
}

struct Haproxy {
    address: SocketAddr,
    _process: Killed,
}

/// A program that ends with its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection on which one exchange follows the other.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What is sent again and again, and how its answer ends.
struct Exchange {
    name: &'static str,
    /// The opening handshake of a socket, if it is one.
    opening: Option<String>,
    /// Frames that come before the first exchange.
    greetings: usize,
    bytes: Vec<u8>,
    each_round: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--binary");
    let binary = arguments
        .nth(1)
        .map_or(process::BINARY.into(), PathBuf::from);
    println!(
        "{:<28} {:>10} {:>22} {:>22}",
        "median", "alone", "through Chatferry", "through HAProxy"
    );
    let trivial = Ways::to(trivial(), &binary).await;
    let mut fine = true;
    for exchange in [get("/anything", 3000), echo()] {
        let (alone, through) = tokio::task::block_in_place(|| compare(&trivial, &exchange));
        fine &= through - alone < ADDED_US;
    }
    let directory = Directory::new();
    let Some((_daphne, django)) = django(&directory) else {
        println!("skipped: no Django: CHATFERRY_TEST_PYTHON is not set");
        return code(fine);
    };
    let django = Ways::to(django, &binary).await;
    let list = get("/api/chat/users/nobody/conversations/", 150);
    let typing = typing(&tokio::task::block_in_place(|| conversation(django.direct)));
    for exchange in [list, typing] {
        let (alone, through) = tokio::task::block_in_place(|| compare(&django, &exchange));
        fine &= through < alone * (1.0 + ADDED_PERCENT / 100.0);
    }
    code(fine)
}

fn code(fine: bool) -> ExitCode {
    if fine {
        return ExitCode::SUCCESS;
    }
    println!("more than the aim: {ADDED_US} µs, and {ADDED_PERCENT} % of Django's own time");
    ExitCode::FAILURE
}

impl Ways {
    async fn to(direct: SocketAddr, binary: &Path) -> Self {
        let directory = Directory::new();
        let upstream = format!("gateway.upstream=http://{direct}");
        let settings = [upstream.as_str(), "gateway.rollout_percent=0"];
        Ways {
            direct,
            chatferry: Process::start_binary(binary, &directory, &settings).await,
            haproxy: haproxy(direct, directory.path()),
            _directory: directory,
        }
    }
}

/// An upstream that answers at once, and sends back what comes on a socket.
fn trivial() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut client = Client::over(stream);
                while let Some(head) = client.head() {
                    if head.to_lowercase().contains("upgrade: websocket") {
                        let _ = client.stream.write_all(
                            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                              Connection: Upgrade\r\n\
                              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                        );
                        let mut write = client.stream.try_clone().unwrap();
                        let _ = std::io::copy(&mut client.stream, &mut write);
                        return;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                    if client.stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// `HAProxy` with the manners of its sample and nothing more to do, if there is one.
fn haproxy(upstream: SocketAddr, directory: &Path) -> Option<Haproxy> {
    let address = free_address();
    let config = directory.join("haproxy.cfg");
    let text = format!(
        "defaults\n mode http\n option forwardfor\n timeout connect 5s\n timeout client 75s\n \
         timeout server 75s\n timeout tunnel 75s\nfrontend f\n bind {address}\n \
         default_backend b\nbackend b\n server s {upstream}\n"
    );
    std::fs::write(&config, text).unwrap();
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let process = Command::new("haproxy")
        .env("PATH", path)
        .args(["-db", "-f"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let process = Killed(process);
    listens(address);
    Some(Haproxy {
        address,
        _process: process,
    })
}

/// The reference under Daphne on a database of its own.
fn django(directory: &Directory) -> Option<(Killed, SocketAddr)> {
    let python = std::env::var_os("CHATFERRY_TEST_PYTHON")?;
    let address = free_address();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/compat/reference"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(
                "DATABASE_URL",
                format!("sqlite://{}", directory.database().display()),
            )
            .env_remove("REDIS_URL")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let migrate = ["manage.py", "migrate", "--verbosity", "0"];
    assert!(command(&migrate).status().unwrap().success());
    let port = address.port().to_string();
    let daphne = ["-m", "daphne", "-p", &port, "service.asgi:application"];
    let daphne = Killed(command(&daphne).spawn().unwrap());
    listens(address);
    Some((daphne, address))
}

fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap()
}

fn listens(address: SocketAddr) {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < START, "nobody listens on {address}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn get(path: &str, each_round: usize) -> Exchange {
    Exchange {
        name: if each_round > 1000 {
            "GET, trivial upstream"
        } else {
            "GET, Django"
        },
        opening: None,
        greetings: 0,
        bytes: request("GET", path, &[], None).into_bytes(),
        each_round,
    }
}

fn echo() -> Exchange {
    Exchange {
        name: "frame, trivial upstream",
        opening: Some(handshake("/ws/echo/", "")),
        greetings: 0,
        bytes: frame(TEXT, "a frame of an ordinary length, there and back"),
        each_round: 3000,
    }
}

fn typing(conversation: &str) -> Exchange {
    let event = json!({"type": "typing", "user_id": "a", "is_typing": true});
    Exchange {
        name: "frame, Django",
        opening: Some(handshake(&path_of(conversation), "")),
        // The history.
        greetings: 1,
        bytes: frame(TEXT, event.to_string()),
        each_round: 150,
    }
}

fn conversation(address: SocketAddr) -> String {
    let body = json!({"participant1_id": "a", "participant2_id": "b"});
    let create = request("POST", "/api/chat/conversations/", &[], Some(&body));
    let mut client = Client::to(address);
    client.stream.write_all(create.as_bytes()).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&client.answer()).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

/// Measures the ways in turns and prints a line; microseconds alone and through Chatferry.
fn compare(ways: &Ways, exchange: &Exchange) -> (f64, f64) {
    let (mut alone, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(round(ways.direct, exchange));
        ours.push(round(ways.chatferry.address, exchange));
        if let Some(haproxy) = &ways.haproxy {
            theirs.push(round(haproxy.address, exchange));
        }
    }
    let (alone, ours) = (median(alone), median(ours));
    let beside = |figure: f64| {
        let percent = (figure / alone - 1.0) * 100.0;
        format!("{figure:.0} µs {:+.0} {percent:+.1} %", figure - alone)
    };
    let theirs = if theirs.is_empty() {
        "none".to_owned()
    } else {
        beside(median(theirs))
    };
    let alone_text = format!("{alone:.0} µs");
    println!(
        "{:<28} {alone_text:>10} {:>22} {theirs:>22}",
        exchange.name,
        beside(ours)
    );
    (alone, ours)
}

/// The median of one round in microseconds.
fn round(address: SocketAddr, exchange: &Exchange) -> f64 {
    let mut client = Client::to(address);
    if let Some(opening) = &exchange.opening {
        client.stream.write_all(opening.as_bytes()).unwrap();
        let head = client.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }
    for _ in 0..exchange.greetings {
        client.frame();
    }
    let mut times = Vec::with_capacity(exchange.each_round);
    for _ in 0..exchange.each_round {
        let began = Instant::now();
        client.stream.write_all(&exchange.bytes).unwrap();
        if exchange.opening.is_some() {
            client.frame();
        } else {
            client.answer();
        }
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    median(times)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Client {
    fn to(address: SocketAddr) -> Self {
        Client::over(TcpStream::connect(address).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(START)).unwrap();
        let buffer = Vec::new();
        Client { stream, buffer }
    }

    fn more(&mut self) -> bool {
        let mut part = [0; 4096];
        let read = self.stream.read(&mut part).unwrap_or(0);
        self.buffer.extend(&part[..read]);
        read > 0
    }

    /// The next head; `None` at the end.
    fn head(&mut self) -> Option<String> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn take(&mut self, size: usize) -> Vec<u8> {
        while self.buffer.len() < size {
            assert!(self.more(), "the end in the middle of an answer");
        }
        self.buffer.drain(..size).collect()
    }

    /// The body of the next answer.
    fn answer(&mut self) -> Vec<u8> {
        let head = self.head().expect("an answer").to_lowercase();
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length = length.lines().next().unwrap().parse().unwrap();
        self.take(length)
    }

    /// The next frame, masked or not.
    fn frame(&mut self) {
        let head = self.take(2);
        let length = match head[1] & 0x7f {
            126 => {
                let long = self.take(2);
                usize::from(u16::from_be_bytes([long[0], long[1]]))
            }
            127 => panic!("a frame of more than 64 KiB"),
            short => usize::from(short),
        };
        let mask = if head[1] & 0x80 == 0 { 0 } else { 4 };
        self.take(mask + length);
    }
}
