//! Answers of any length by REST: sent while they are read, in bounded memory, to clients that read
//! and to clients that do not.

use chatferry::{
    dialect::django::{drf::View, pages, serializers},
    python::json,
    store::history::{Deleted, History, PAGE_CONVERSATIONS, PAGE_MESSAGES},
    value::Value,
};
use serde_json::json;

use crate::{
    auth::token::{BY_SECRET, token_of},
    socket::history::fill,
    support::{
        Answer, Connection, Directory, Process, Server, Socket, id_of, long_or_short, request,
        until, view_of,
    },
};

fn detail(id: &str) -> String {
    format!("/api/chat/conversations/{id}/")
}

fn messages(id: &str) -> String {
    format!("/api/chat/conversations/{id}/messages/")
}

const LIST: &str = "/api/chat/users/alice/conversations/";

/// A conversation made whole of its rows.
async fn whole(server: &Server, id: &str) -> Value {
    let (id, zone) = (id.parse().unwrap(), server.app.zone());
    let store = &server.app.store;
    let row = store.conversation(id).await.unwrap().unwrap();
    let history = History::find(store, id, Deleted::Included).await;
    let messages = history.unwrap().unwrap().whole().await.unwrap();
    let shown = messages.iter().rev().find(|it| !it.is_deleted);
    let time = |at| chatferry::python::datetime::to_wire(at, zone).into();
    let fields = [
        ("id", row.id.to_string().into()),
        ("participant1_id", row.participants.pair()[0].into()),
        ("participant2_id", row.participants.pair()[1].into()),
        ("created_at", time(row.created_at)),
        ("updated_at", time(row.updated_at)),
        ("is_active", row.is_active.into()),
        (
            "messages",
            Value::List(
                messages
                    .iter()
                    .map(|it| serializers::message(it, zone))
                    .collect(),
            ),
        ),
        (
            "last_message",
            shown.map_or(Value::Null, |it| serializers::message(it, zone)),
        ),
    ];
    Value::Map(fields.map(|(name, value)| (name.into(), value)).into())
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// Asks for `path` in each form there is, and compares with the value written whole.
async fn is_shown_as(server: &Server, path: &str, view: View, value: &Value) {
    let pretty = |indent| text(|out| json::write_pretty(out, value, indent));
    let page = pages::readable_page(view.name, view.description, "200 OK", &pretty(4));
    let mut connection = server.connect().await;
    for (accept, expected) in [
        ("*/*", text(|out| json::write_utf8(out, value))),
        ("application/json; indent=3", pretty(3)),
        ("text/html", page),
    ] {
        let get = request("GET", path, &[("Accept", accept)], None);
        let answer = connection.ask(&get).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text() == expected, "{path} {accept}");
        if view == view_of("conversation") {
            let head = get.replace("GET ", "HEAD ");
            connection.send(head).await;
            let length = expected.len().to_string();
            let head = connection.head().await;
            assert_eq!(head.header("content-length"), Some(&*length), "{accept}");
        }
    }
}

#[tokio::test]
async fn a_conversation_of_many_pages_has_the_bytes_of_one_that_is_made_whole() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let found = json!({"participant1_id": "bob", "participant2_id": "alice"});
    for count in [0, 1, PAGE_MESSAGES, PAGE_MESSAGES + 1, 2 * PAGE_MESSAGES] {
        let db = server.directory.open();
        db.execute("DELETE FROM messages", []).unwrap();
        fill(&server.directory, &id, count, "가 <\u{2028}\"");
        let deleted = "UPDATE messages SET is_deleted = 1 WHERE rowid % 3 = 0 \
                       OR rowid > (SELECT max(rowid) FROM messages) - 2";
        db.execute(deleted, []).unwrap();
        let value = whole(&server, &id).await;
        is_shown_as(&server, &detail(&id), view_of("conversation"), &value).await;
        let again = server.post("/api/chat/conversations/", found.clone()).await;
        assert_eq!(again.status, 200);
        assert!(again.text() == text(|out| json::write_utf8(out, &value)));
    }
}

#[tokio::test]
async fn a_list_of_long_and_short_conversations_has_the_bytes_of_one_that_is_made_whole() {
    let server = Server::start().await;
    let view = view_of("user_conversations");
    is_shown_as(&server, LIST, view, &Value::List(Vec::new())).await;
    let mut ids = Vec::new();
    for number in 0..PAGE_CONVERSATIONS + 10 {
        let id = server.conversation_of("alice", &format!("b{number}")).await;
        let count = match number {
            3 => 2 * PAGE_MESSAGES + 1,
            60 => PAGE_MESSAGES,
            number => number % 12,
        };
        fill(&server.directory, &id, count, "x");
        ids.push(id);
        if number == 8 {
            // A page of conversations, all of them short.
            let values = all(&server, &ids).await;
            is_shown_as(&server, LIST, view, &values).await;
        }
    }
    let db = server.directory.open();
    db.execute("UPDATE messages SET is_deleted = rowid % 2", [])
        .unwrap();
    let values = all(&server, &ids).await;
    is_shown_as(&server, LIST, view, &values).await;
    let inactive = "UPDATE conversations SET is_active = 0 WHERE participant2_id = 'b7'";
    db.execute(inactive, []).unwrap();
    ids.remove(7);
    let values = all(&server, &ids).await;
    is_shown_as(&server, LIST, view, &values).await;
}

async fn all(server: &Server, ids: &[String]) -> Value {
    let mut values = Vec::new();
    for id in ids.iter().rev() {
        values.push(whole(server, id).await);
    }
    Value::List(values)
}

#[tokio::test]
async fn what_changes_while_a_conversation_is_sent_leaves_it_well_formed() {
    const MUCH: usize = 8000;
    let server = Server::start().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, MUCH, &"x".repeat(2500));
    for (path, at) in [(detail(&id), ""), (LIST.to_owned(), "/0")] {
        let mut slow = Connection::narrow(server.address).await;
        slow.send(request("GET", &path, &[], None)).await;
        let mut answer = slow.head().await;
        server.stored(&id, "alice", "too late").await;
        let mark = format!(
            "UPDATE messages SET is_deleted = 1 WHERE content LIKE '{} %'",
            MUCH - 1
        );
        server.directory.open().execute(&mark, []).unwrap();
        answer.body = slow.body(&answer).await;
        let shown = answer.json();
        let shown = shown.pointer(at).unwrap();
        let told = shown["messages"].as_array().unwrap();
        assert_eq!(told.len(), MUCH);
        assert_eq!(told[MUCH - 1]["is_deleted"], true);
        assert_eq!(shown["last_message"], told[MUCH - 2]);
        let undo = "UPDATE messages SET is_deleted = 0; \
                    DELETE FROM messages WHERE content = 'too late'";
        server.directory.open().execute_batch(undo).unwrap();
    }
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_breaks_a_conversation_off() {
    let server = Server::start().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, 8000, &"x".repeat(2500));
    for path in [detail(&id), LIST.to_owned()] {
        let mut slow = Connection::narrow(server.address).await;
        slow.send(request("GET", &path, &[], None)).await;
        assert_eq!(slow.head().await.status, 200);
        let db = server.directory.open();
        db.execute("ALTER TABLE messages RENAME TO lost", [])
            .unwrap();
        let body = slow.rest().await;
        assert!(!body.ends_with("0\r\n\r\n") && !body.contains("last_message"));
        let refused = server.get(&path).await;
        let status = (refused.status, refused.header("retry-after"));
        assert_eq!(status, (503, Some("1")));
        db.execute("ALTER TABLE lost RENAME TO messages", [])
            .unwrap();
    }
}

/// An answer of nothing but its head, which is there.
async fn begun(server: &Server, path: &str, headers: &[(&str, &str)]) -> (Connection, Answer) {
    let mut connection = Connection::narrow(server.address).await;
    connection.send(request("GET", path, headers, None)).await;
    let head = connection.head().await;
    (connection, head)
}

#[tokio::test]
async fn answers_without_room_are_told_to_come_back_and_small_ones_need_none() {
    let server = Server::with(&[("server.answer_memory_mib", "8")]).await;
    let id = server.conversation().await;
    let other = server.conversation_of("carol", "dave").await;
    server.stored(&other, "carol", "small").await;
    fill(&server.directory, &id, 20_000, &"x".repeat(1000));
    let (mut held, mut refused) = (Vec::new(), None);
    while refused.is_none() {
        assert!(held.len() < 1000, "nothing bounds them");
        let (mut connection, mut answer) = begun(&server, &detail(&id), &[]).await;
        if answer.status == 200 {
            held.push(connection);
        } else {
            answer.body = connection.body(&answer).await;
            refused = Some(answer);
        }
    }
    let refused = refused.unwrap();
    let status = (refused.status, refused.header("retry-after"));
    assert_eq!(status, (503, Some("1")));
    let detail_text = "The service is not available, try again.";
    assert_eq!(refused.json(), json!({"detail": detail_text}));
    assert_eq!(server.get(&detail(&other)).await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    drop(held);
    until("room", async || {
        server.get(&detail(&id)).await.status == 200
    })
    .await;
}

/// The conversation of alice and bob, made by alice.
async fn conversation(server: &Server) -> String {
    let pair = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let authorization = format!("Bearer {}", token_of("alice"));
    let headers = [("Authorization", &*authorization)];
    let create = request("POST", "/api/chat/conversations/", &headers, Some(&pair));
    id_of(&server.send(create).await.json())
}

#[tokio::test]
async fn a_user_whose_answers_are_not_read_leaves_room_for_others() {
    let own = [("limits.user.answer_memory_mib", "1")];
    let server = Server::with(&[&BY_SECRET[..], &own].concat()).await;
    let id = conversation(&server).await;
    fill(&server.directory, &id, 20_000, &"x".repeat(1000));
    let [alice, bob] = ["alice", "bob"].map(|user| format!("Bearer {}", token_of(user)));
    let mut held = Vec::new();
    let refused = loop {
        assert!(held.len() < 100, "nothing bounds them");
        let headers = [("Authorization", &*alice)];
        let (mut connection, mut answer) = begun(&server, &messages(&id), &headers).await;
        if answer.status != 200 {
            answer.body = connection.body(&answer).await;
            break answer;
        }
        held.push(connection);
    };
    let status = (refused.status, refused.header("retry-after"));
    assert_eq!(status, (429, Some("1")));
    let throttled = "Request was throttled. Expected available in 1 second.";
    assert_eq!(refused.json(), json!({"detail": throttled}));
    let limited = "chatferry_limited_total{limit=\"answer_memory\",by=\"user\"}";
    assert!(server.metric(limited).await >= 1.0);
    let headers = [("Authorization", &*bob)];
    let get = request("GET", &messages(&id), &headers, None);
    let whole = server.send(get).await;
    assert_eq!(whole.json().as_array().unwrap().len(), 20_000);
}

#[tokio::test]
async fn answers_that_wait_for_room_are_whole() {
    const LARGE: usize = 3 << 20;
    let server = Server::with(&[("server.answer_memory_mib", "8")]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, 300, &"x".repeat(2000));
    let larger = "UPDATE messages SET content = content || ?1 WHERE rowid > \
                  (SELECT max(rowid) FROM messages) - 4";
    let more = "y".repeat(LARGE);
    let db = server.directory.open();
    db.execute(larger, [&more]).unwrap();
    let mut asking = Vec::new();
    for path in [detail(&id), messages(&id), detail(&id), messages(&id)] {
        let mut connection = Connection::narrow(server.address).await;
        connection.send(request("GET", &path, &[], None)).await;
        asking.push(tokio::spawn(async move {
            let answer = connection.answer().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let shown = answer.json();
            let told = shown.get("messages").unwrap_or(&shown).as_array().unwrap();
            let sizes = told.iter().map(|it| it["content"].as_str().unwrap().len());
            assert_eq!(sizes.filter(|size| *size > LARGE).count(), 4);
            assert_eq!(told.len(), 300);
        }));
    }
    for asked in asking {
        asked.await.unwrap();
    }
    // More than all the room there is: it goes when no other does.
    db.execute("DELETE FROM messages WHERE rowid > 2", [])
        .unwrap();
    db.execute("UPDATE messages SET content = ?1", ["z".repeat(9 << 20)])
        .unwrap();
    let shown = server.get(&messages(&id)).await.json();
    let told = shown.as_array().unwrap().iter();
    assert!(
        told.map(|it| it["content"].as_str().unwrap().len())
            .eq([9 << 20; 2])
    );
}

#[tokio::test]
async fn a_client_that_had_many_rows_read_is_refused_until_that_is_made_up_for() {
    let server = Server::with(&[("limits.address.rows", "600/day")]).await;
    let id = server.conversation().await;
    fill(&server.directory, &id, 1000, "x");
    for (path, is_read) in [
        (detail(&id), true),
        (messages(&id), false),
        (LIST.into(), false),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status == 200, is_read, "{path}");
        if !is_read {
            assert_eq!(answer.status, 429);
            // The time in which 401 rows come back, and a little.
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((57_000..60_000).contains(&wait), "{wait}");
        }
    }
    let mut connection = server.connect().await;
    connection
        .send(request("HEAD", &detail(&id), &[], None))
        .await;
    assert_eq!(connection.head().await.status, 429);
    let path = format!("/ws/chat/{id}/");
    let socket = Socket::try_open(server.connect().await, &path, "");
    assert_eq!(socket.await.err().unwrap().status, 429);
    let limited = "chatferry_limited_total{limit=\"rows\",by=\"address\"}";
    assert!(server.metric(limited).await >= 3.0);
}

/// Memory of answers for each MiB of their bound, in MiB; the README says so.
const PER_MIB: u64 = 2;

/// The bound where there are 128 MiB.
const ANSWERS_MIB: u64 = 16;

/// The cache of a connection of SQLite's pool, in MiB; the README says so.
const CACHE_MIB: u64 = 2;

/// Memory of a connection; the README says so.
const CONNECTION_KIB: u64 = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_hold_no_more_than_the_readme_says() {
    const PEERS: usize = 40;
    const POOL: u64 = 4;
    let directory = Directory::new();
    let bound = format!("server.answer_memory_mib={ANSWERS_MIB}");
    let pool = format!("store.pool_size={POOL}");
    let settings = [&*bound, &*pool, "ws.ping_interval_s=3600"];
    let server = Process::start(&directory, &settings).await;
    let id = server.conversation().await;
    drop(server);
    fill(&directory, &id, 20_000, &"x".repeat(1000));
    let pair = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let html = [("Accept", "text/html")];
    for (asked, peers) in [
        (request("GET", &messages(&id), &[], None), PEERS),
        (request("GET", &detail(&id), &[], None), PEERS),
        (request("GET", LIST, &[], None), PEERS),
        (request("GET", &detail(&id), &html, None), PEERS),
        (
            request("POST", "/api/chat/conversations/", &[], Some(&pair)),
            PEERS,
        ),
        (
            request("HEAD", &detail(&id), &[], None),
            long_or_short(PEERS, 4),
        ),
    ] {
        let server = Process::start(&directory, &settings).await;
        let before = server.resident_kib() - server.mapped_kib();
        let mut held = Vec::new();
        for _ in 0..peers {
            let mut connection = Connection::narrow(server.address).await;
            connection.send(&asked).await;
            held.push(connection);
        }
        for connection in &mut held {
            let status = connection.head().await.status;
            assert!(matches!(status, 200 | 503), "{status}");
        }
        server.rests().await;
        let line = asked.lines().next().unwrap();
        // How much of the program itself has been read in by then differs from run to run.
        let grown = (server.peak_kib() - server.mapped_kib()).saturating_sub(before) / 1024;
        println!("{line}: {grown} MiB more");
        let most = PER_MIB * ANSWERS_MIB + CACHE_MIB * POOL + CONNECTION_KIB * peers as u64 / 1024;
        assert!(grown <= most, "{line}: {grown} MiB more");
    }
}

#[tokio::test]
async fn a_message_whose_answer_is_not_read_keeps_the_room_of_its_body() {
    let server = Server::with(&[("server.body_memory_mib", "8")]).await;
    let id = server.conversation().await;
    let send = format!("{}send/", messages(&id));
    let body = |size: usize| json!({"sender_id": "alice", "content": "x".repeat(size)});
    let mut silent = Connection::narrow(server.address).await;
    let large = body(7 << 20);
    silent.send(request("POST", &send, &[], Some(&large))).await;
    assert_eq!(silent.head().await.status, 201);
    let refused = server.post(&send, body(2 << 20)).await;
    assert_eq!(refused.status, 503);
    drop(silent);
    until("room", async || {
        server.post(&send, body(2 << 20)).await.status == 201
    })
    .await;
}

#[test]
fn the_readme_says_what_answers_may_hold() {
    let readme = include_str!("../../../src/server/README.md");
    let security = include_str!("../../../src/auth/README.md");
    let each = format!("{PER_MIB} MiB for each MiB of `server.answer_memory_mib`");
    assert!(security.contains(&each), "{each}");
    for told in [
        format!("{ANSWERS_MIB} MiB of answers where there are 128"),
        format!("{CACHE_MIB} MiB for each of `store.pool_size`"),
    ] {
        assert!(readme.contains(&told), "{told}");
    }
}
