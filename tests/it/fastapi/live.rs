//! Requests to FastAPI itself and to ours, whose answers must be the same.

mod requests;

use std::{fmt::Write as _, net::SocketAddr};

use chatferry::config::Generation;
use serde_json::{Value, json};

use self::requests::{Asked, requests};
use super::{GENERATIONS, server};
use crate::support::{Answer, Connection, script::Script, skip, socket::handshake};

const ROOM: &str = "990e8400-e29b-41d4-a716-446655440000";

/// The Python application, killed with the test.
struct Live {
    address: SocketAddr,
    _script: Script,
}

impl Live {
    /// Starts one with each Python of the environment, with its generation.
    async fn each() -> Vec<(Generation, Live)> {
        let named = std::env::var("CHATFERRY_TEST_FASTAPI").unwrap_or_default();
        let mut all = Vec::new();
        for python in named.split(':').filter(|python| !python.is_empty()) {
            let mut script = Script::start(python, "compat/fastapi/app.py", &[]);
            let line = script.line().await;
            let (version, port) = line.split_once(' ').unwrap();
            let is_it = |generation: &&Generation| version.starts_with(generation.as_str());
            let generation = GENERATIONS.iter().find(is_it).unwrap();
            let address = format!("127.0.0.1:{port}").parse().unwrap();
            all.push((
                *generation,
                Live {
                    address,
                    _script: script,
                },
            ));
        }
        if all.is_empty() {
            skip("no Python with FastAPI: CHATFERRY_TEST_FASTAPI is not set");
        }
        all
    }
}

#[tokio::test]
async fn every_answer_is_that_of_fastapi() {
    for (generation, live) in Live::each().await {
        let ours = server(generation).await;
        let mut wrong = String::new();
        let (mut theirs, mut own) = (None, None);
        let requests = requests(generation);
        for request in &requests {
            let theirs = ask(&mut theirs, live.address, request).await;
            let own = ask(&mut own, ours.address, request).await;
            if let Some(difference) = difference(&theirs, &own) {
                let (method, path, headers, body) = request;
                let body = body.escape_ascii();
                let _ = writeln!(
                    wrong,
                    "{generation} {method} {path} {headers:?} {body}\n{difference}"
                );
            }
        }
        assert!(requests.len() > 800);
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[tokio::test]
async fn the_document_is_that_of_fastapi() {
    for (generation, live) in Live::each().await {
        let ours = server(generation).await;
        let request = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let theirs = Connection::to(live.address).await.ask(request).await;
        let (theirs, own) = (theirs.json(), ours.send(request).await.json());
        assert_eq!(whole(theirs), whole(own), "{generation}");
    }
}

/// A document whose bounds are integers: of some fields FastAPI writes them as floats.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members.map(|(name, value)| (name, whole(value))).collect()
        }
        other => other,
    }
}

#[tokio::test]
async fn a_socket_is_refused_as_fastapi_refuses_it() {
    for (generation, live) in Live::each().await {
        let ours = server(generation).await;
        for path in [
            "/ws/nope".to_owned(),
            format!("/ws/matching/chats/{ROOM}?token=x"),
            "/ws/matching/chats/x?token=u1".to_owned(),
        ] {
            let request = handshake(&path, "");
            let theirs = Connection::to(live.address).await.ask(&request).await;
            let own = ours.send(&request).await;
            assert_eq!(difference(&theirs, &own), None, "{generation} {path}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_events_is_that_of_sse_starlette() {
    for (generation, live) in Live::each().await {
        let ours = server(generation).await;
        let request = "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let theirs = Connection::to(live.address).await.ask(request).await;
        let own = ours.send(request).await;
        assert_eq!(difference(&theirs, &own), None, "{generation}");
    }
}

/// Asks on a connection that is kept as long as the server keeps it.
async fn ask(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    (method, path, headers, body): &Asked,
) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    let bytes = [head.as_bytes(), body].concat();
    let mut answer = None;
    if let Some(kept) = connection {
        kept.push(&bytes).await;
        answer = kept.next().await;
    }
    // It may have closed after the answer before.
    let answer = if let Some(answer) = answer {
        answer
    } else {
        let fresh = connection.insert(Connection::to(address).await);
        fresh.ask(bytes).await
    };
    if answer.header("connection") == Some("close") {
        *connection = None;
    }
    answer
}

/// The differences of our answer from theirs. The order of headers means nothing.
fn difference(theirs: &Answer, own: &Answer) -> Option<String> {
    let headers = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| !["date", "server"].contains(&name.as_str()));
        headers.sort();
        headers
    };
    let seen = |answer: &Answer| (answer.status, headers(answer), answer.body.clone());
    let (theirs, own) = (seen(theirs), seen(own));
    // Its own failures are not wanted.
    let is_failure = theirs.0 == 500 && own.0 == 422;
    if theirs == own || is_failure {
        return None;
    }
    let shown = |(status, headers, body): (u16, Vec<(String, String)>, Vec<u8>)| {
        format!("{status} {headers:?} {}", String::from_utf8_lossy(&body))
    };
    Some(format!(
        "  theirs {}\n  ours   {}",
        shown(theirs),
        shown(own)
    ))
}
