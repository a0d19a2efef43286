//! Connections that mean harm: what a thousand of them cost the others, and what one of them may make
//! the server hold.

use std::time::{Duration, Instant};

use rustls::version::TLS13;
use serde_json::json;
use tokio::{process::Command, task::JoinHandle};

use crate::{
    server::tls::{client, shake},
    support::{
        Connection, Directory, Process, Server, Socket,
        certificate::certify_by_authority,
        request, skip,
        socket::{CONTINUATION, PING, TEXT, chat_message, frame, frame_with, handshake, path_of},
        until,
    },
};

const HOSTILE: usize = 1000;

/// They are to hold their connections; that these are taken from them in the end has tests of its
/// own.
const PATIENT: [&str; 4] = [
    "server.header_timeout_s=3600",
    "ws.ping_interval_s=3600",
    // A socket that is read slower holds less, and later.
    "ws.frames_per_s=0",
    "server.drain_s=1",
];

/// Lets this process, and those it starts, have as many open files as the system allows; `false` if
/// that is not enough.
async fn enough_files() -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let hard = line.unwrap().split_whitespace().nth(4).unwrap().to_owned();
    let pid = std::process::id();
    let command = format!("prlimit --pid {pid} --nofile={hard}:{hard}");
    let raised = Command::new("sh").args(["-c", &command]).status().await;
    let enough = raised.is_ok_and(|status| status.success());
    enough && hard.parse().is_ok_and(|hard: usize| hard >= 8 * HOSTILE)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How long somebody waits for an answer by REST and for a message of his own, in the middle of
/// many attempts. That they come at all is what is tested.
async fn served(rest: &mut Connection, socket: &mut Socket, id: &str) -> [Duration; 2] {
    let list = request("GET", &format!("/api/chat/conversations/{id}/"), &[], None);
    let (mut by_rest, mut by_socket) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let began = Instant::now();
        assert_eq!(rest.ask(&list).await.status, 200);
        by_rest.push(began.elapsed());
        let began = Instant::now();
        let typing = json!({"type": "typing", "user_id": "alice"});
        socket.send(&typing).await;
        assert_eq!(socket.json().await["type"], "typing_status");
        by_socket.push(began.elapsed());
    }
    socket.works().await;
    [median(by_rest), median(by_socket)]
}

fn compare(what: &str, before: [Duration; 2], during: [Duration; 2]) {
    for (kind, (before, during)) in ["REST", "socket"].iter().zip(before.iter().zip(&during)) {
        let ratio = during.as_secs_f64() / before.as_secs_f64();
        println!("{what}: {kind} {before:?} before, {during:?} during: {ratio:.2} times");
    }
}

const BODY: &str = "POST /api/chat/conversations/ HTTP/1.1\r\nHost: a\r\n\
                    Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{";

/// The next of a thousand, each in its own way.
async fn harm(number: usize, server: &Process, id: &str) -> Connection {
    let mut connection = server.connect().await;
    match number % 4 {
        0 => {
            let half = "GET /api/chat/ HTTP/1.1\r\nHost: a\r\nX-Half: ";
            connection.send(half).await;
        }
        1 => connection.send(BODY).await,
        2 => {
            let mut socket = Socket::open(connection, id).await;
            let whole = frame(TEXT, vec![b'{'; 100_000]);
            socket.connection.send(&whole[..8000]).await;
            connection = socket.connection;
        }
        _ => {
            connection.send(handshake(&path_of(id), "")).await;
            connection.send(frame(PING, [b'x'; 100]).repeat(100)).await;
        }
    }
    connection
}

/// Whatever is slow goes on being slow: a byte of each body and head, again and again.
fn slowly(mut slow: Vec<Connection>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            for connection in &mut slow {
                connection.push("x").await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_served_while_a_thousand_hostile_connections_hold_theirs() {
    if !enough_files().await {
        return skip("too few open files are allowed");
    }
    let directory = Directory::new();
    let server = Process::start(&directory, &PATIENT).await;
    let mut rest = server.connect().await;
    let id = rest.conversation().await;
    let mut socket = server.socket(&id).await;
    let before = served(&mut rest, &mut socket, &id).await;
    let resident = server.resident_kib();

    let (mut slow, mut silent, mut feeding) = (Vec::new(), Vec::new(), Vec::new());
    let theirs = rest.conversation_of("mallory", "bob").await;
    for number in 0..HOSTILE {
        let connection = harm(number, &server, &theirs).await;
        let kind = if number % 4 < 2 {
            &mut slow
        } else {
            &mut silent
        };
        kind.push(connection);
        // From now on: the last come long after the first on a busy machine.
        if slow.len() == 50 {
            feeding.push(slowly(std::mem::take(&mut slow)));
        }
    }
    // The other one may have been silent for too long.
    let mut rest = server.connect().await;
    let open = "chatferry_connections_open";
    until("all to be there", async || {
        rest.metric(open).await >= HOSTILE as f64
    })
    .await;
    let during = served(&mut rest, &mut socket, &id).await;
    compare("a thousand", before, during);

    let mut another = server.socket(&id).await;
    another.works().await;
    let each = server.resident_kib().saturating_sub(resident) / 1000;
    println!("{each} KiB for each");
    assert!(each <= AVERAGE_KIB, "{each} KiB for each");
    assert!(rest.metric(open).await >= silent.len() as f64);
    feeding.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_served_while_a_thousand_tls_handshakes_do_not_end() {
    let directory = Directory::new();
    if !enough_files().await || !certify_by_authority(directory.path()) {
        return skip("no openssl, or too few open files are allowed");
    }
    let [cert, key] = ["cert", "key"].map(|name| {
        let file = directory.path().join(name).with_extension("pem");
        format!("server.tls.{name}={}", file.display())
    });
    let settings = [&PATIENT[..], &[&cert, &key]].concat();
    let server = Process::start(&directory, &settings).await;
    let connector = client(&directory.path().join("ca.pem"), &[&TLS13], &[]);
    let connect = async || Connection::over(shake(&connector, server.address).await.unwrap());
    let mut rest = connect().await;
    let id = rest.conversation().await;
    let mut socket = Socket::open(connect().await, &id).await;
    socket.history().await;
    let before = served(&mut rest, &mut socket, &id).await;
    let resident = server.resident_kib();

    let mut slow = Vec::new();
    for _ in 0..HOSTILE {
        let mut connection = server.connect().await;
        // The beginning of a hello of 512 bytes.
        connection.send([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await;
        slow.push(connection);
    }
    // The other one may have been silent for too long.
    let mut rest = connect().await;
    until("all to be there", async || {
        rest.metric("chatferry_connections_open").await >= HOSTILE as f64
    })
    .await;
    let during = served(&mut rest, &mut socket, &id).await;
    compare("a thousand handshakes", before, during);
    let mut another = Socket::open(connect().await, &id).await;
    another.history().await;
    another.works().await;
    let each = server.resident_kib().saturating_sub(resident) / 1000;
    println!("{each} KiB for each");
    assert!(each <= AVERAGE_KIB, "{each} KiB for each");
}

/// What a hostile connection costs that only holds its place, in KiB; the README says so.
const AVERAGE_KIB: u64 = 48;

/// What a peer may make the server hold, in KiB for each MiB of the limit that it reaches; the README
/// says so.
const PER_MIB: u64 = 2 * 1024;

/// What JSON of nothing but tiny values may take while it is read, in MiB; the README says so.
const VALUES_MIB: u64 = 100;

/// How many at once, so that what each holds stands out.
const GREEDY: usize = 30;

/// The growth of a server for each of some greedy peers, in KiB. They send all but the end of
/// something that has a MiB.
async fn growth(greed: impl AsyncFn(&Process, &str) -> Connection) -> u64 {
    let directory = Directory::new();
    let server = Process::start(&directory, &PATIENT).await;
    let id = server.conversation().await;
    let resident = server.resident_kib();
    let mut held = Vec::new();
    for _ in 0..GREEDY {
        held.push(greed(&server, &id).await);
    }
    // All that it takes has been read; others cost it no more.
    server.rests().await;
    let mut most = server.resident_kib();
    for _ in 0..20 {
        server.conversation().await;
        most = most.max(server.resident_kib());
    }
    most.saturating_sub(resident) / GREEDY as u64
}

#[tokio::test]
async fn half_a_message_holds_no_more_than_the_readme_says() {
    let whole = frame(TEXT, vec![b'{'; 1024 * 1024]);
    let grown = growth(async |server, id| {
        let mut socket = Socket::open(server.connect().await, id).await;
        let all_but_one = &whole[..whole.len() - 1];
        socket.connection.send(all_but_one).await;
        socket.connection
    })
    .await;
    println!("{grown} KiB for each");
    assert!(grown <= PER_MIB + AVERAGE_KIB, "{grown} KiB");
}

#[tokio::test]
async fn fragments_without_an_end_hold_no_more_than_the_readme_says() {
    let first = frame_with(TEXT, vec![b'{'; 512]);
    let more = frame_with(CONTINUATION, vec![b'{'; 512]).repeat(2047);
    let grown = growth(async |server, id| {
        let mut socket = Socket::open(server.connect().await, id).await;
        socket.connection.send(&first).await;
        socket.connection.send(&more).await;
        socket.connection
    })
    .await;
    println!("{grown} KiB for each");
    assert!(grown <= PER_MIB + AVERAGE_KIB, "{grown} KiB");
}

#[tokio::test]
async fn half_a_body_holds_no_more_than_the_readme_says() {
    let body = vec![b' '; 1024 * 1024];
    let head = BODY.replace("1000000", "1048578");
    let grown = growth(async |server, _| {
        let mut connection = server.connect().await;
        connection.send(&head).await;
        connection.send(&body).await;
        connection
    })
    .await;
    println!("{grown} KiB for each");
    assert!(grown <= PER_MIB + AVERAGE_KIB, "{grown} KiB");
}

#[tokio::test]
async fn who_reads_nothing_holds_no_more_than_the_readme_says() {
    let message = frame(TEXT, chat_message(&"x".repeat(50_000)).to_string());
    let typing = json!({"type": "typing", "user_id": "x".repeat(50_000)});
    let typing = frame(TEXT, typing.to_string());
    let grown = growth(async |server, _| {
        // Each in a conversation of its own, so that no frame is shared.
        let mut connection = server.connect().await;
        let name = uuid::Uuid::new_v4().to_string();
        let id = connection.conversation_of(&name, "bob").await;
        let mut socket = Socket::open(connection, &id).await;
        socket.connection.push(message.repeat(2)).await;
        // More than the kernel takes and the queue holds; it is closed, or not read any further.
        for _ in 0..100 {
            tokio::select! {
                () = socket.connection.push(&typing) => {}
                () = server.rests() => break,
            }
        }
        socket.connection
    })
    .await;
    println!("{grown} KiB for each");
    assert!(grown <= PER_MIB + AVERAGE_KIB, "{grown} KiB");
}

#[tokio::test]
async fn json_of_tiny_values_takes_no_more_than_the_readme_says() {
    let directory = Directory::new();
    let server = Process::start(&directory, &PATIENT).await;
    let mut rest = server.connect().await;
    let id = rest.conversation().await;
    let before = server.peak_kib();
    for value in [r#"{"a":0}"#, "[0]", "[]", "[[]]", r#"{"a":{}}"#] {
        // As many as are read, whatever they hold, and then one too many.
        for count in [80_000, 250_000] {
            let body = format!("[{}0]", format!("{value},").repeat(count));
            let path = format!("/api/chat/conversations/{id}/messages/send/");
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            assert_eq!(rest.ask(head + &body).await.status, 400, "{value}");
        }
    }
    let grown = server.peak_kib() - before;
    println!("{grown} KiB at most");
    assert!(grown <= VALUES_MIB * 1024, "{grown} KiB");
}

#[test]
fn the_readme_says_what_a_hostile_peer_may_hold() {
    let readme = include_str!("../../../src/auth/README.md");
    for told in [
        format!("{AVERAGE_KIB} KiB"),
        format!("{} MiB for each MiB", PER_MIB / 1024),
        format!("{VALUES_MIB} MiB for that moment"),
    ] {
        assert!(readme.contains(&told), "{told}");
    }
}

/// Texts of JSON that readers have fallen over.
fn traps() -> Vec<(&'static str, String)> {
    let many = |count: usize, part: &dyn Fn(usize) -> String| {
        (0..count).map(part).collect::<Vec<_>>().join(",")
    };
    // Two-letter words with the same sum in the hash that Java and others have for texts.
    let collide = |number: usize| -> String {
        let bits = (0..12).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" });
        bits.collect()
    };
    let typing = |value: &str| format!(r#"{{"type":"typing","user_id":"a","is_typing":{value}}}"#);
    let deep = |open: &str, close: &str, depth: usize| {
        typing(&(open.repeat(depth) + "1" + &close.repeat(depth)))
    };
    vec![
        ("deep lists", deep("[", "]", 100_000)),
        ("deep objects", deep(r#"{"a":"#, "}", 100_000)),
        ("a list never closed", "[".repeat(500_000)),
        (
            "a wide list",
            typing(&format!("[{}]", many(200_000, &|_| "0".into()))),
        ),
        ("a number past every float", typing("1e999999999")),
        ("a number below every float", typing("-1e999999999")),
        ("a number next to nothing", typing("1e-999999999")),
        ("a number of many digits", typing(&"9".repeat(100_000))),
        (
            "many digits after the point",
            typing(&format!("0.{}", "9".repeat(100_000))),
        ),
        ("one key again and again", {
            typing(&format!(
                "{{{}}}",
                many(50_000, &|at| format!("\"a\":{at}"))
            ))
        }),
        ("keys of one hash", {
            let key = |at: usize| format!("\"{}\":0", collide(at));
            typing(&format!("{{{}}}", many(4096, &key)))
        }),
        (
            "a type twice",
            r#"{"type":"chat_message","type":"typing","user_id":"a"}"#.into(),
        ),
        (
            "escapes for ever",
            typing(&format!("\"{}\"", "\\u0041".repeat(100_000))),
        ),
        ("half a pair", typing(r#""\ud83d""#)),
        (
            "a text never closed",
            typing(&format!("\"{}", "\\\\".repeat(200_000))),
        ),
    ]
}

#[tokio::test]
async fn json_made_to_hurt_is_read_or_refused_and_the_next_frame_is_served() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut neighbour = server.socket(&id).await;
    for (what, text) in traps() {
        let mut socket = server.socket(&id).await;
        socket.send_text(&text).await;
        socket.say(what).await;
        // The outcome of the one, and then what was said.
        let first = socket.text().await;
        assert!(
            first.starts_with("{\"error\": ") || first.starts_with("{\"type\": \"typing_status\""),
            "{what}: {}",
            &first[..100.min(first.len())]
        );
        assert_eq!(socket.heard().await, what);
        // What was typed is told to all, and may be more than a reader of JSON takes.
        while !neighbour.text().await.contains(what) {}
    }
}

#[tokio::test]
async fn json_made_to_hurt_is_no_fault_of_the_server_by_rest_either() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    for (what, text) in traps() {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            text.len()
        );
        let answer = server.send(head + &text).await;
        assert_eq!(answer.status, 400, "{what}");
    }
    server.stored(&id, "alice", "still here").await;
}

#[tokio::test]
async fn fragments_without_an_end_end_at_the_limit_and_empty_ones_take_no_room() {
    let settings = [("ws.max_message_bytes", "1000"), ("ws.frames_per_s", "0")];
    let server = Server::with(&settings).await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.connection.send(frame_with(TEXT, "")).await;
    let empty = frame_with(CONTINUATION, "");
    socket.connection.send(empty.repeat(10_000)).await;
    socket.connection.send(frame(PING, "still there")).await;
    assert_eq!(socket.frame().await.payload, b"still there");
    // 256 bytes are allowed for the JSON around a text.
    let one = frame_with(CONTINUATION, "x");
    socket.connection.push(one.repeat(1257)).await;
    assert_eq!(socket.close_code().await, 1009);
}

#[tokio::test]
async fn extensions_of_chunks_are_no_place_to_hide_or_to_stay() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let head = "POST /api/chat/conversations/ HTTP/1.1\r\nHost: a\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.push(format!("{head}1;x=\"")).await;
    for _ in 0..64 {
        connection.push([b'x'; 4096]).await;
    }
    // Nothing is answered before the end of a line that is too long: it is refused in the middle.
    let answer = connection.next().await;
    assert!(
        answer.as_ref().is_none_or(|answer| answer.status == 400),
        "{answer:?}"
    );
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn large_bodies_leave_room_for_each_other_or_are_told_to_come_back() {
    let server = Server::with(&[("server.body_memory_mib", "64")]).await;
    let id = server.conversation().await;
    let mut greedy = server.connect().await;
    let head = |size: usize| BODY.replace("1000000", &size.to_string());
    greedy.send(head(60 << 20)).await;
    greedy.send(vec![b' '; 59 << 20]).await;
    let large = [head(8 << 20).into_bytes(), vec![b' '; 8 << 20]].concat();
    until("no room to be left", async || {
        let mut connection = server.connect().await;
        connection.push(&large).await;
        let Some(answer) = connection.next().await else {
            return false;
        };
        assert!(matches!(answer.status, 400 | 503), "{answer:?}");
        answer.status == 503 && answer.header("retry-after") == Some("1")
    })
    .await;
    server.stored(&id, "alice", "small").await;
    drop(greedy);
    until("room", async || {
        let mut connection = server.connect().await;
        connection.push(&large).await;
        let answer = connection.next().await;
        answer.is_some_and(|answer| answer.status == 400)
    })
    .await;
}
