//! What is said in a conversation, as server-sent events.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::{
    Client, OFFER,
    api::{ask, post, say},
    contents,
};
use crate::{
    auth::{
        token::{BY_SECRET, Key, now, token_of},
        wire::Caller,
    },
    socket::history::fill,
    support::{Connection, Server, http::id_of, request, soon, until},
};

/// An event as it came.
#[derive(Debug)]
struct Heard {
    kind: String,
    id: Option<String>,
    data: Value,
}

/// A reader of a stream.
struct Reader {
    connection: Connection,
    /// Of the body, without the chunks around it.
    text: Vec<u8>,
    events: VecDeque<Heard>,
    /// The body has ended: in good order or not.
    ended: Option<bool>,
}

impl Reader {
    async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        Reader::over(server.connect().await, path, headers).await
    }

    async fn over(mut connection: Connection, path: &str, headers: &[(&str, &str)]) -> Self {
        let path = format!("/api/v1/conversations/{path}");
        connection.send(request("GET", &path, headers, None)).await;
        let head = connection.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        Reader {
            connection,
            text: Vec::new(),
            events: VecDeque::new(),
            ended: None,
        }
    }

    /// Reads more of the body.
    async fn more(&mut self) {
        loop {
            let buffer = &mut self.connection.buffer;
            let line = buffer.windows(2).position(|two| two == b"\r\n");
            if let Some(line) = line {
                let size = std::str::from_utf8(&buffer[..line]).unwrap().trim();
                let size = usize::from_str_radix(size, 16).unwrap();
                if buffer.len() >= line + 2 + size + 2 {
                    let chunk: Vec<u8> = buffer.drain(..line + 2 + size + 2).collect();
                    self.text.extend(&chunk[line + 2..line + 2 + size]);
                    self.ended = (size == 0).then_some(true);
                    return;
                }
            }
            let read = self.connection.io.read_buf(&mut self.connection.buffer);
            if !matches!(soon("bytes of a stream", read).await, Ok(1..)) {
                self.ended = Some(false);
                return;
            }
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.text.drain(..end + 2).collect();
                self.events.extend(heard(&String::from_utf8(text).unwrap()));
            } else if self.ended.is_some() {
                return None;
            } else {
                self.more().await;
            }
        }
    }

    async fn event(&mut self) -> Heard {
        self.next().await.expect("an event before the end")
    }
}

/// The event of these lines, if it is none but a comment.
fn heard(text: &str) -> Option<Heard> {
    let value = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")
                .map(ToOwned::to_owned)
        })
    };
    Some(Heard {
        data: serde_json::from_str(&value("data")?).unwrap(),
        kind: value("event").unwrap(),
        id: value("id"),
    })
}

#[tokio::test]
async fn a_reader_hears_what_is_said_and_comes_back_without_a_hole() {
    let server = Server::start().await;
    let id = server.conversation().await;
    say(&server, &id, "bob", "before").await;
    let path = format!("{id}/events");
    let mut reader = Reader::open(&server, &path, &[]).await;
    let first = reader.event().await;
    assert_eq!(
        (&*first.kind, &first.data["type"]),
        ("subscribed", &json!("subscribed"))
    );
    assert_eq!(contents(&first.data), ["before"]);
    assert!(first.id.is_some());
    let mut socket = server.socket(&id).await;
    socket.say("by Django's socket").await;
    let sent = say(&server, &id, "alice", "by REST\nof ours").await;
    let heard = [reader.event().await, reader.event().await];
    assert_eq!(heard[0].data["message"]["content"], "by Django's socket");
    assert_eq!(
        (&*heard[1].kind, &heard[1].data["message"]),
        ("message", &sent)
    );
    assert_eq!(heard[1].id.as_deref(), heard[1].data["cursor"].as_str());
    let read = format!("conversations/{id}/read?user=bob");
    post(&server, &read, json!({"messages": [id_of(&sent)]})).await;
    let mark = reader.event().await;
    assert_eq!((&*mark.kind, mark.id), ("read", None));
    drop(reader);

    say(&server, &id, "alice", "missed").await;
    let last = heard[1].id.as_deref().unwrap();
    let mut reader = Reader::open(&server, &path, &[("Last-Event-ID", last)]).await;
    let back = reader.event().await.data;
    assert_eq!(
        (&back["reload"], &back["next"]),
        (&json!(false), &json!(null))
    );
    assert!(
        contents(&back).ends_with(&["by REST\nof ours", "missed"]),
        "{back}"
    );
    let wrong = ask(
        &server,
        "GET",
        &format!("conversations/{path}?after=x"),
        None,
    )
    .await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_reader_that_missed_more_than_a_page_gets_it_all_before_what_is_said() {
    const MANY: usize = 1200;
    let server = Server::start().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MANY, "x");
    // A place just before the first of them, which is of yesterday: it is known what has been changed
    // since.
    let recent =
        "UPDATE messages SET created_at = replace(created_at, '2026-01-01', date('now', '-1 day'))";
    server.directory.open().execute(recent, []).unwrap();
    let yesterday = "SELECT strftime('%s', date('now', '-1 day'))";
    let seconds: String = server.directory.value(yesterday);
    let start = format!("={seconds}000000.{}", "0".repeat(32));
    let path = format!("{id}/events?after={start}");
    let mut reader = Reader::open(&server, &path, &[]).await;
    say(&server, &id, "bob", "live").await;
    let (mut shown, mut ids) = (Vec::new(), 0);
    while shown.len() < MANY {
        let event = reader.event().await;
        assert!(matches!(&*event.kind, "subscribed" | "page"), "{event:?}");
        assert_eq!(event.id.is_some(), event.data["next"].is_null());
        ids += usize::from(event.id.is_some());
        shown.extend(contents(&event.data).into_iter().map(ToOwned::to_owned));
        shown.retain(|content| content != "live");
    }
    let expected: Vec<String> = (0..MANY).map(|number| format!("{number} x")).collect();
    assert_eq!((shown, ids), (expected, 1));
}

#[tokio::test]
async fn a_reader_ends_with_its_rights() {
    let settings = [
        &BY_SECRET[..],
        &[("auth.policy", "participants"), ("auth.recheck_s", "1")],
    ];
    let server = Server::with(&settings.concat()).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let path = format!("{id}/events?token={}", token_of("alice"));
    let mut reader = Reader::open(&server, &path, &[]).await;
    assert_eq!(reader.event().await.kind, "subscribed");
    let sql = "UPDATE conversations SET participant1_id = 'eve' WHERE participant2_id = 'bob'";
    assert_eq!(server.directory.open().execute(sql, []).unwrap(), 1);
    let ended = reader.event().await;
    assert_eq!(
        (&*ended.kind, &ended.data["code"]),
        ("unsubscribed", &json!("no_conversation"))
    );
    assert!(reader.next().await.is_none());
    assert_eq!(reader.ended, Some(true));
}

#[tokio::test]
async fn a_reader_ends_with_its_token() {
    let exact = ("auth.jwt.leeway_s", "0");
    let server = Server::with(&[&BY_SECRET[..], &[exact]].concat()).await;
    let id = Caller::known(&server, "alice")
        .conversation_of("alice", "bob")
        .await;
    let claims = json!({"sub": "alice", "exp": now() + 5});
    let path = format!("{id}/events?token={}", Key::secret().token(&claims));
    let mut reader = Reader::open(&server, &path, &[]).await;
    assert_eq!(reader.event().await.kind, "subscribed");
    assert!(reader.next().await.is_none());
    assert_eq!(reader.ended, Some(true));
    let again = ask(&server, "GET", &format!("conversations/{path}"), None).await;
    assert_eq!(
        (again.status, &again.json()["code"]),
        (401, &json!("denied"))
    );
}

#[tokio::test]
async fn a_reader_ends_when_the_process_does() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut reader = Reader::open(&server, &format!("{id}/events"), &[]).await;
    assert_eq!(reader.event().await.kind, "subscribed");
    server.drained().await;
    assert!(reader.next().await.is_none());
    assert_eq!(reader.ended, Some(true));
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_ended_and_others_hear_all() {
    const MANY: usize = 400;
    let server = Server::with(&[("ws.queue_bytes", "200000")]).await;
    let id = server.conversation().await;
    let path = format!("/ws/chat/{id}/");
    let mut other = Client::with(&server, &path, OFFER).await;
    other.subscribe(&id, None).await;
    let narrow = Connection::narrow(server.address).await;
    let mut slow = Reader::over(narrow, &format!("{id}/events"), &[]).await;
    let long = "x".repeat(50_000);
    for _ in 0..MANY {
        say(&server, &id, "alice", &long).await;
        assert_eq!(other.next_of("message").await["message"]["content"], long);
        if server.metric("chatferry_ws_dropped_events_total").await > 0.0 {
            break;
        }
    }
    until("the slow one to be noticed", async || {
        server.metric("chatferry_ws_dropped_events_total").await > 0.0
    })
    .await;
    while slow.next().await.is_some() {}
    assert_eq!(slow.ended, Some(false), "it is broken off, and comes back");
}

#[tokio::test]
async fn a_reader_counts_as_an_open_socket() {
    let server = Server::with(&[("limits.address.open_sockets", "1")]).await;
    let id = server.conversation().await;
    let path = format!("{id}/events");
    let mut reader = Reader::open(&server, &path, &[]).await;
    assert_eq!(reader.event().await.kind, "subscribed");
    let events = format!("conversations/{path}");
    assert_eq!(ask(&server, "GET", &events, None).await.status, 429);
    drop(reader);
    until("the place of the reader to be free", async || {
        let mut connection = server.connect().await;
        let asked = request("GET", &format!("/api/v1/{events}"), &[], None);
        connection.send(asked).await;
        connection.head().await.status == 200
    })
    .await;
}
