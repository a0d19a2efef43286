//! What a server could do at best: a loop that writes the frames of a conversation to its sockets,
//! and does nothing else; and those who listen to it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{crowd::Crowd, options::Options, wire};

const WARM_UP: Duration = Duration::from_secs(1);

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Writes to `--members` sockets as fast as they read, until one of them goes; to each so many
/// messages at once as there are in flight when a server is measured.
pub fn serve(options: &Options) -> Value {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let members = options.number("members", 1);
    let mut sockets: Vec<TcpStream> = listener
        .incoming()
        .take(members)
        .map(|socket| welcomed(socket.unwrap()))
        .collect();
    let at_once = options.number("at-once", 1);
    for number in 0.. {
        let frames: Vec<u8> = (0..at_once)
            .flat_map(|n| message(number * at_once + n))
            .collect();
        for socket in &mut sockets {
            if socket.write_all(&frames).is_err() {
                return json!({"messages": number * at_once});
            }
        }
    }
    json!({})
}

/// Counts what `--members` sockets are told.
pub fn listen(options: &Options) -> Value {
    let mut crowd = Crowd::new(options.to(), options.spoken());
    for _ in 0..options.number("members", 1) {
        crowd.open("bare", "");
    }
    crowd.rest(Instant::now() + WARM_UP);
    let began = Instant::now();
    let (mut heard, mut deliveries) = (Vec::new(), 0);
    while began.elapsed() < options.duration() {
        crowd.turn(Duration::from_millis(50), &mut heard);
        deliveries += heard.len();
        heard.clear();
    }
    json!({"deliveries": deliveries, "seconds": began.elapsed().as_secs_f64()})
}

fn welcomed(mut socket: TcpStream) -> TcpStream {
    socket.set_nodelay(true).unwrap();
    let mut asked = [0; 4096];
    assert!(socket.read(&mut asked).unwrap() > 0);
    socket.write_all(ANSWER).unwrap();
    let history = wire::unmasked(1, br#"{"type": "conversation_history", "messages": []}"#);
    socket.write_all(&history).unwrap();
    socket
}

/// As long as what a server makes of a message of this client.
fn message(number: usize) -> Vec<u8> {
    let text = format!(
        r##"{{"type": "chat_message", "message": {{"id": "6f1c8f1e-7a3f-4b53-9a52-0c8f6c7f2f11", "sender_id": "alice", "content": "#{number:08}# Nothing much, and you? Shall we meet at six?", "message_type": "text", "created_at": "2026-11-20T17:54:04.849273+09:00", "updated_at": "2026-11-20T17:54:04.849300+09:00", "is_deleted": false}}}}"##
    );
    wire::unmasked(1, text.as_bytes())
}
