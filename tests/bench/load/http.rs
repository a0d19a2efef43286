//! Requests beside what is measured: one connection each, read to its end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{options::Options, wire::Spoken};

/// The longest that a slow server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The body of the answer, with the marks of chunks if it came in chunks.
pub fn request(to: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    assert!(status.starts_with("HTTP/1.1 20"), "{path}: {status}");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    answer.split_off(end.unwrap() + 4)
}

/// A new conversation of two people, or a new room of `--consumer`.
pub fn new_conversation(options: &Options, number: usize) -> String {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let name = format!("load-{}-{number}", since.as_nanos());
    if options.spoken() == Spoken::Tutorial {
        return format!("{}/{name}", options.text("consumer"));
    }
    let pair = serde_json::json!({"participant1_id": name, "participant2_id": "bob"});
    let path = "/api/chat/conversations/";
    let body = request(options.to(), "POST", path, &pair.to_string());
    let made: serde_json::Value = serde_json::from_slice(&body).unwrap();
    made["id"].as_str().unwrap().to_owned()
}
