//! Histories of more than a page: by REST in chunks, by socket in fragments, never held whole.

use std::time::Duration;

use chatferry::{
    dialect::django::{pages, serializers},
    python::json,
    store::history::{Deleted, History, PAGE_BYTES, PAGE_MESSAGES},
    value::Value,
};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::support::{
    Connection, Directory, Process, Server, Socket, long_or_short, request,
    socket::{CONTINUATION, PING, PONG, TEXT, frame, handshake, path_of},
    soon, view_of,
};

/// So many [`long`] messages are more than the system keeps for a client that does not read.
const MUCH: usize = 4000;

/// These clients do not answer pings, and a busy machine takes its time.
const PATIENT: (&str, &str) = ("ws.ping_interval_s", "3600");

fn long() -> String {
    "x".repeat(2500)
}

/// Stores messages behind the server's back, a millisecond apart. Their contents begin with their
/// numbers.
pub fn fill(directory: &Directory, conversation: &str, count: usize, content: &str) {
    let sql = "WITH RECURSIVE n AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM n WHERE n < ?1 - 1) \
               INSERT INTO messages SELECT lower(hex(randomblob(16))), 'alice', n || ' ' || ?2, \
               'text', strftime('%Y-%m-%d %H:%M:%S', 1767225600 + n / 1000, 'unixepoch') \
               || printf('.%03d001', n % 1000), '2026-01-01 00:00:00.000001', 0, ?3 FROM n";
    let count = i64::try_from(count).unwrap();
    let rows = rusqlite::params![count, content, conversation.replace('-', "")];
    directory.open().execute(sql, rows).unwrap();
}

fn list(conversation: &str) -> String {
    format!("/api/chat/conversations/{conversation}/messages/")
}

/// The numbers that the contents begin with.
fn numbers<'a>(contents: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let first = |content: &'a str| content.split(' ').next().unwrap().parse().unwrap();
    contents.into_iter().map(first).collect()
}

fn contents(messages: &[serde_json::Value]) -> impl Iterator<Item = &str> {
    messages.iter().map(|it| it["content"].as_str().unwrap())
}

/// The list made of the whole history.
async fn whole(server: &Server, conversation: &str) -> Value {
    let id = conversation.parse().unwrap();
    let history = History::find(&server.app.store, id, Deleted::Skipped).await;
    let messages = history.unwrap().unwrap().whole().await.unwrap();
    let zone = server.app.zone();
    Value::List(
        messages
            .iter()
            .map(|it| serializers::message(it, zone))
            .collect(),
    )
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_list_of_many_pages_has_the_bytes_of_one_that_is_made_whole() {
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    for count in [PAGE_MESSAGES - 1, 2 * PAGE_MESSAGES, 2 * PAGE_MESSAGES + 1] {
        let wipe = "DELETE FROM messages";
        server.directory.open().execute(wipe, []).unwrap();
        fill(&server.directory, &id, count, "가 <\u{2028}\"");
        let whole = whole(&server, &id).await;
        let view = view_of("conversation_messages");
        let pretty = |indent| text(|out| json::write_pretty(out, &whole, indent));
        let page = pages::readable_page(view.name, view.description, "200 OK", &pretty(4));
        for (accept, expected) in [
            ("*/*", text(|out| json::write_utf8(out, &whole))),
            ("application/json; indent=3", pretty(3)),
            ("text/html", page),
        ] {
            let get = request("GET", &list(&id), &[("Accept", accept)], None);
            let mut connection = server.connect().await;
            // Twice: the next answer begins where this one ends.
            for _ in 0..2 {
                let answer = connection.ask(&get).await;
                assert_eq!(answer.text(), expected, "{count} {accept}");
                let is_long = count >= PAGE_MESSAGES;
                assert_eq!(answer.header("content-length").is_none(), is_long);
                assert_eq!(answer.header("transfer-encoding").is_some(), is_long);
            }
            let old = get.replace("HTTP/1.1", "HTTP/1.0");
            let answer = server.connect().await.ask(&old).await;
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.text(), expected, "ended by the close");
        }
    }
}

#[tokio::test]
async fn a_history_of_many_pages_is_one_message_in_fragments() {
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, 2 * PAGE_MESSAGES + 2, "가");
    let deleted = "UPDATE messages SET is_deleted = 1 WHERE content LIKE '7 %'";
    server.directory.open().execute(deleted, []).unwrap();
    let mut socket = Socket::open(server.connect().await, &id).await;
    let (mut told, mut kinds, mut is_over) = (Vec::new(), Vec::new(), false);
    while !is_over {
        let (is_last, frame) = socket.fragment().await.unwrap();
        told.extend(frame.payload);
        kinds.push((is_last, frame.opcode));
        is_over = is_last;
    }
    let middle = (false, CONTINUATION);
    let expected = [(false, TEXT), middle, middle, (true, CONTINUATION)];
    assert_eq!(kinds, expected);
    let messages = whole(&server, &id).await;
    let messages = text(|out| json::write_ascii(out, &messages));
    let expected = format!(r#"{{"type": "conversation_history", "messages": {messages}}}"#);
    assert_eq!(String::from_utf8(told).unwrap(), expected);
    socket.works().await;
}

#[tokio::test]
async fn the_newest_of_a_long_history_are_as_many_as_the_setting_says() {
    for limit in [10, PAGE_MESSAGES, PAGE_MESSAGES + 1, 1200, 1500, 1501] {
        let limit_text = limit.to_string();
        let server = Server::with(&[PATIENT, ("ws.history_limit", &limit_text)]).await;
        let id = server.conversation().await;
        fill(&server.directory, &id, 1500, "x");
        let (mut socket, history) = server.join(&id).await;
        let expected: Vec<_> = (1500_usize.saturating_sub(limit)..1500).collect();
        assert_eq!(numbers(contents(&history)), expected, "{limit}");
        socket.works().await;
    }
}

#[tokio::test]
async fn messages_of_one_moment_and_times_written_by_hand_come_once_and_in_order() {
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    let insert = "INSERT INTO messages SELECT lower(hex(randomblob(16))), 'a', ?1, 'text', ?2, \
                  ?2, 0, ?3";
    let mut db = server.directory.open();
    let transaction = db.transaction().unwrap();
    for number in 0..3000 {
        let time = match number / 700 {
            0 => "2026-01-01",
            1 => "2026-01-01 10:00:00",
            2 => "2026-01-01 10:00:00.5",
            3 => "2026-01-01 10:00:01.123456",
            _ => "2026-01-01T10:00",
        };
        let row = rusqlite::params![number.to_string(), time, id.replace('-', "")];
        transaction.execute(insert, row).unwrap();
    }
    transaction.commit().unwrap();
    let listed = server.contents(&id).await;
    let expected: Vec<_> = (0..3000).collect();
    assert_eq!(numbers(listed.iter().map(String::as_str)), expected);
    let (_, history) = server.join(&id).await;
    assert_eq!(numbers(contents(&history)), expected);
}

#[tokio::test]
async fn long_messages_make_short_pages() {
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    let content = "x".repeat(PAGE_BYTES / 2);
    fill(&server.directory, &id, 7, &content);
    let listed = server.get(&list(&id)).await;
    assert_eq!(listed.header("transfer-encoding"), Some("chunked"));
    let (mut socket, history) = server.join(&id).await;
    assert_eq!(numbers(contents(&history)), [0, 1, 2, 3, 4, 5, 6]);
    assert!(contents(&history).all(|it| it.ends_with(&content)));
    socket.works().await;
}

#[tokio::test]
async fn what_is_said_while_a_history_is_told_comes_after_it_and_once() {
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MUCH, &long());
    let mut neighbour = server.socket(&id).await;
    let mut slow = Socket::open(Connection::narrow(server.address).await, &id).await;
    let typing = json!({"type": "typing_status", "user_id": "bob", "is_typing": true});
    slow.connection.send(frame(PING, "between")).await;
    slow.send_text("{").await;
    neighbour.say("one").await;
    neighbour.heard().await;
    neighbour
        .send(&json!({"type": "typing", "user_id": "bob", "is_typing": true}))
        .await;
    assert_eq!(neighbour.json().await, typing);
    slow.say("two").await;
    assert_eq!(neighbour.heard().await, "two", "a slow reader is heard");
    // Nobody has read so far: this one will not be in the history any more.
    let gone = format!("{} ", MUCH - 10);
    let gone = format!("UPDATE messages SET is_deleted = 1 WHERE content LIKE '{gone}%'");
    server.directory.open().execute(&gone, []).unwrap();

    let pong = slow.frame().await;
    assert_eq!((pong.opcode, pong.payload), (PONG, b"between".to_vec()));
    let history = slow.history().await;
    let expected: Vec<_> = (0..MUCH).filter(|number| *number != MUCH - 10).collect();
    assert_eq!(numbers(contents(&history)), expected);
    // The answer to the slow reader's own nonsense may stand anywhere among what others said.
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(slow.json().await);
    }
    let answer = told.iter().position(|it| it.get("error").is_some());
    let answer = told.remove(answer.unwrap());
    assert_eq!(answer, json!({"error": "Invalid JSON format"}));
    assert_eq!(told.remove(1), typing);
    let said: Vec<_> = told.iter().map(|it| &it["message"]["content"]).collect();
    assert_eq!(said, ["one", "two"]);
    slow.works().await;
}

#[tokio::test]
async fn everyone_who_joins_a_long_conversation_that_goes_on_is_told_everything_once() {
    const SAID: usize = 300;
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    let before = 3 * PAGE_MESSAGES;
    fill(&server.directory, &id, before, "x");
    let mut speaker = server.socket(&id).await;
    let saying = tokio::spawn(async move {
        for number in before..before + SAID {
            speaker.say(&format!("{number} live")).await;
            speaker.heard().await;
        }
    });
    let mut joining = Vec::new();
    for _ in 0..30 {
        let (connection, id) = (server.connect().await, id.clone());
        joining.push(tokio::spawn(async move {
            let mut socket = Socket::open(connection, &id).await;
            let history = socket.history().await;
            let mut told = numbers(contents(&history));
            while told.last() != Some(&(before + SAID - 1)) {
                told.extend(numbers([socket.heard().await.as_str()]));
            }
            told
        }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    saying.await.unwrap();
    for joined in joining {
        let told = joined.await.unwrap();
        assert!(told.into_iter().eq(0..before + SAID));
    }
}

#[tokio::test]
async fn a_client_too_slow_for_what_is_said_during_its_history_is_closed_with_1013() {
    let server = Server::with(&[PATIENT, ("ws.queue_messages", "5")]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MUCH, &long());
    let mut neighbour = server.socket(&id).await;
    let mut slow = Socket::open(Connection::narrow(server.address).await, &id).await;
    for number in 0..6 {
        neighbour.say(&number.to_string()).await;
        neighbour.heard().await;
    }
    assert_eq!(slow.close_code().await, 1013, "between the fragments");
    neighbour.works().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_the_end_of_a_long_history() {
    // Its turn comes at once, and not when the history may have ended.
    let server = Server::with(&[PATIENT, ("server.drain_s", "0")]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MUCH, &long());
    let mut slow = Socket::open(Connection::narrow(server.address).await, &id).await;
    server.app.drain.begin();
    assert_eq!(slow.close_code().await, 1012);
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_breaks_off_what_can_have_no_end() {
    let server = Server::with(&[PATIENT]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MUCH, &long());
    let mut listing = Connection::narrow(server.address).await;
    listing.send(request("GET", &list(&id), &[], None)).await;
    assert_eq!(listing.head().await.status, 200);
    let mut socket = Socket::open(Connection::narrow(server.address).await, &id).await;
    let away = "ALTER TABLE messages RENAME TO lost";
    server.directory.open().execute(away, []).unwrap();

    let body = listing.rest().await;
    assert!(body.contains(r#""content":"0 x"#));
    assert!(!body.ends_with("0\r\n\r\n") && !body.contains("}]"));
    assert_eq!(socket.close_code().await, 1011);
    let refused = server.get(&list(&id)).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );

    let back = "ALTER TABLE lost RENAME TO messages";
    server.directory.open().execute(back, []).unwrap();
    assert_eq!(server.contents(&id).await.len(), MUCH);
}

#[tokio::test]
async fn a_slow_client_holds_no_connection_to_the_database() {
    let server = Server::with(&[PATIENT, ("store.pool_size", "1")]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MUCH, &long());
    let mut socket = Socket::open(Connection::narrow(server.address).await, &id).await;
    let mut listing = Connection::narrow(server.address).await;
    listing.send(request("GET", &list(&id), &[], None)).await;
    assert_eq!(listing.head().await.status, 200);
    for _ in 0..20 {
        assert_eq!(server.get("/readyz").await.status, 200);
    }
    assert_eq!(socket.history().await.len(), MUCH);
}

/// Reads up to `end`, and notes the most memory that the server had meanwhile. Returns the number
/// of messages.
async fn read_through(
    connection: &mut Connection,
    server: &Process,
    end: &[u8],
    most_kib: &mut u64,
) -> usize {
    let mut bytes = std::mem::take(&mut connection.buffer);
    let (mut count, mut counted) = (0, 0);
    for round in 0.. {
        count += bytes[counted..].split(|byte| *byte == b'{').count() - 1;
        if bytes.ends_with(end) {
            break;
        }
        bytes.drain(..bytes.len().saturating_sub(end.len()));
        counted = bytes.len();
        let read = soon("bytes", connection.io.read_buf(&mut bytes)).await;
        assert!(read.unwrap() > 0, "{count} messages and no end");
        if round % 50 == 0 {
            *most_kib = server.resident_kib().max(*most_kib);
        }
    }
    count
}

#[tokio::test]
async fn a_long_history_goes_to_slow_clients_in_little_memory() {
    const ROOM_KIB: u64 = 8 * 1024;
    // Each is 400 bytes and more.
    let messages = long_or_short(100_000, 30_000);
    let directory = Directory::new();
    let server = Process::start(&directory, &["ws.ping_interval_s=3600"]).await;
    let id = &server.conversation().await;
    fill(&directory, id, PAGE_MESSAGES, "x");
    let get = request("GET", &list(id), &[], None);
    for _ in 0..20 {
        assert_eq!(server.connect().await.ask(&get).await.status, 200);
        server.socket(id).await;
    }
    directory
        .open()
        .execute("DELETE FROM messages", [])
        .unwrap();
    fill(&directory, id, messages, &"x".repeat(200));
    let (before, mut most) = (server.resident_kib(), 0);

    let mut listing = Connection::narrow(server.address).await;
    listing.send(&get).await;
    assert_eq!(listing.head().await.status, 200);
    let mut socket = Connection::narrow(server.address).await;
    let answer = socket.ask(handshake(&path_of(id), "")).await;
    assert_eq!(answer.status, 101);
    let listed = read_through(&mut listing, &server, b"0\r\n\r\n", &mut most).await;
    let told = read_through(&mut socket, &server, b"]}", &mut most).await;
    // One brace is that of the frame.
    assert_eq!((listed, told), (messages, messages + 1));
    let grown = most.saturating_sub(before);
    assert!(grown < ROOM_KIB, "{grown} KiB more for {messages} messages");
}

#[tokio::test]
async fn a_message_that_is_too_large_costs_itself() {
    let server = Server::start().await;
    let id = server.conversation().await;
    for content in ["one", "large", "two"] {
        server.stored(&id, "alice", content).await;
    }
    let larger =
        "UPDATE messages SET content = printf('%.*c', 70000000, 'x') WHERE content = 'large'";
    server.directory.open().execute_batch(larger).unwrap();
    let (mut socket, history) = server.join(&id).await;
    assert_eq!(history.len(), 2);
    assert_eq!(server.contents(&id).await, ["one", "two"]);
    let shown = server.get(&format!("/api/chat/conversations/{id}/")).await;
    assert_eq!(shown.json()["messages"].as_array().unwrap().len(), 2);
    let listed = server.get("/api/chat/users/alice/conversations/").await;
    assert_eq!(listed.json()[0]["messages"].as_array().unwrap().len(), 2);
    socket.works().await;
    let passed_over = server.metric("chatferry_rows_unreadable_total").await;
    assert!(passed_over >= 4.0, "{passed_over}");
}
