//! What a Redis server may send, and what others may put into it: more than anybody needs costs
//! itself, and the memory for it is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    instance::Redis,
    world::{Layer, counted, event, layers, number},
};
use crate::support::{
    Directory, Process,
    socket::{Frame, TEXT, chat_message, frame},
    until,
};

/// What the README allows for events of the largest size: eight times `layer.max_event_bytes` here,
/// and what JSON of nothing but tiny values takes.
const MOST_MIB: u64 = 8 * 8 + 100;

/// A text in msgpack.
fn str_of(text: &str) -> Vec<u8> {
    let mut bytes = match u8::try_from(text.len()).unwrap() {
        short @ ..32 => vec![0xa0 | short],
        long => vec![0xd9, long],
    };
    bytes.extend(text.bytes());
    bytes
}

fn list_head(length: usize) -> Vec<u8> {
    let mut bytes = vec![0xdd];
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes
}

/// A typing event as it is in the queue, its value in msgpack, for these channels.
fn typing(value: &[u8], channels: &[&str]) -> Vec<u8> {
    let mut bytes = vec![b'r'; 12];
    bytes.push(0x84);
    for (key, value) in [
        ("type", str_of("typing_status")),
        ("user_id", str_of("mallory")),
        ("is_typing", value.to_vec()),
    ] {
        bytes.extend(str_of(key));
        bytes.extend(value);
    }
    bytes.extend(str_of("__asgi_channel__"));
    bytes.extend(list_head(channels.len()));
    for channel in channels {
        bytes.extend(str_of(channel));
    }
    bytes
}

/// So many values that are nothing, in a list.
fn nothings(count: usize) -> Vec<u8> {
    let mut bytes = list_head(count);
    bytes.resize(bytes.len() + count, 0xc0);
    bytes
}

/// Gives a command that takes its time.
async fn patiently(redis: &Redis, command: &::redis::Cmd) {
    let config = ::redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis.open();
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connection.await.unwrap();
    let _: i64 = command.query_async(&mut connection).await.unwrap();
}

/// Puts an entry into the queue that a channel belongs to.
async fn put(redis: &Redis, channel: &str, entry: &[u8]) {
    let (queue, _) = channel.split_once('!').unwrap();
    let now = chatferry::clock::since_1970().as_secs_f64();
    let mut add = ::redis::cmd("ZADD");
    add.arg(format!("asgi{queue}!")).arg(now).arg(entry);
    patiently(redis, &add).await;
}

#[tokio::test]
async fn an_event_that_is_too_large_is_dropped_and_counted_and_the_next_one_arrives() {
    for backend in ["redis", "redis_pubsub"] {
        let settings = [("layer.backend", backend)];
        let Some((redis, [large])) = layers(&settings).await else {
            return;
        };
        let bounded = [
            ("layer.backend", backend),
            ("layer.max_event_bytes", "300000"),
            ("ws.max_message_bytes", "100000"),
        ];
        let small = Layer::at(&redis.url(), &bounded).await;
        small.join("g", "a").await;
        let long = || {
            event(&format!(
                r#"{{"type":"count.up","n":"{}"}}"#,
                "x".repeat(400_000)
            ))
        };
        for event in [long(), counted(7)] {
            large.layer.group_send("g", event).await.unwrap();
        }
        assert_eq!(small.next().await, ("a".to_owned(), number(7)));
        let dropped = small.metric("chatferry_layer_rejected_total{why=\"too_large\"}");
        assert_eq!(dropped, 1.0, "{backend}");
        // Nor does it send what others could not take.
        let refused = small.layer.group_send("g", long()).await.unwrap_err();
        assert!(
            refused.to_string().contains("layer.max_event_bytes"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_route_that_names_a_channel_many_times_is_delivered_once() {
    let Some((redis, [layer])) = layers(&[]).await else {
        return;
    };
    let channel = layer.layer.channel("a");
    layer.join("g", "a").await;
    let many = vec![channel.as_str(); 20_000];
    put(&redis, &channel, &typing(&[0xc3], &many)).await;
    put(&redis, &channel, &typing(&[0xc2], &[&channel])).await;
    assert!(layer.next().await.1.contains("true"));
    assert!(layer.next().await.1.contains("false"));
}

/// A server on a Redis, with a socket in a conversation: its channel, and what memory it has.
async fn server(redis: &Redis, directory: &Directory) -> (Process, String, String) {
    let hosts = format!("layer.hosts={}", redis.url());
    let settings = ["layer.backend=redis", &hosts, "ws.ping_interval_s=600"];
    let server = Process::start(directory, &settings).await;
    let id = server.conversation().await;
    (server, id.clone(), format!("asgi:group:chat_{id}"))
}

#[tokio::test]
async fn entries_of_any_size_and_shape_take_bounded_memory() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Directory::new();
    let (server, id, group) = server(&redis, &directory).await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    let channel: Vec<String> = redis.ask(&format!("ZRANGE {group} 0 -1")).await;
    let before = server.resident_kib();
    for entry in [
        typing(&nothings(60_000_000), &[&channel[0]]),
        typing(&nothings(8_000_000), &[&channel[0]]),
        typing(&nothings(200_000), &[&channel[0]]),
    ] {
        put(&redis, &channel[0], &entry).await;
    }
    // The last one is no more than JSON may have.
    assert_eq!(socket.json().await["user_id"], "mallory");
    socket.works().await;
    let grown = (server.peak_kib() - before) / 1024;
    println!("{grown} MiB more");
    assert!(grown <= MOST_MIB, "{grown} MiB more");
}

/// As many texts as an event may have values, about.
fn texts(first: &str) -> Vec<u8> {
    let mut bytes = list_head(240_000);
    bytes.extend(str_of(first));
    bytes.extend(str_of(&"x".repeat(30)).repeat(240_000 - 1));
    bytes
}

#[tokio::test]
async fn events_of_the_largest_size_that_come_together_take_no_more() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Directory::new();
    let (server, id, group) = server(&redis, &directory).await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    let channel: Vec<String> = redis.ask(&format!("ZRANGE {group} 0 -1")).await;
    let (queue, _) = channel[0].split_once('!').unwrap();
    let before = server.resident_kib();
    let now = chatferry::clock::since_1970().as_secs_f64();
    let mut add = ::redis::cmd("ZADD");
    add.arg(format!("asgi{queue}!"));
    for number in 0..12 {
        let value = texts(&number.to_string());
        add.arg(now).arg(typing(&value, &[&channel[0]]));
    }
    patiently(&redis, &add).await;
    // They may have been too much for the socket.
    until("all to be taken", async || {
        redis.ask::<i64>(&format!("ZCARD asgi{queue}!")).await == 0
    })
    .await;
    // Those that are still being delivered may be too much for a second one as well.
    until("a socket to be served after them", async || {
        let mut other = server.socket(&id).await;
        let said = frame(TEXT, chat_message("after them").to_string());
        other.connection.push(said).await;
        while let Some(Frame {
            opcode: TEXT,
            payload,
        }) = other.next().await
        {
            let heard: Value = serde_json::from_slice(&payload).unwrap();
            if heard["type"] == "chat_message" {
                return true;
            }
        }
        false
    })
    .await;
    let grown = (server.peak_kib() - before) / 1024;
    println!("{grown} MiB more");
    assert!(grown <= MOST_MIB, "{grown} MiB more");
}

#[tokio::test]
async fn a_member_with_an_endless_name_and_many_members_cost_no_more() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Directory::new();
    let (server, id, group) = server(&redis, &directory).await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    let before = server.resident_kib();
    let mut add = ::redis::cmd("ZADD");
    add.arg(&group).arg(1e12).arg(vec![b'x'; 60 << 20]);
    add.arg(1e12).arg(vec![b'y'; 2000]);
    patiently(&redis, &add).await;
    socket.works().await;
    for chunk in 0..20 {
        let mut add = ::redis::cmd("ZADD");
        add.arg(&group);
        for number in 0..5000 {
            add.arg(1e12).arg(format!("specific.{chunk}-{number}!x"));
        }
        let _: i64 = redis.command(&add).await;
    }
    socket.say("to a crowd").await;
    assert_eq!(socket.heard().await, "to a crowd");
    let grown = (server.peak_kib() - before) / 1024;
    println!("{grown} MiB more");
    assert!(grown <= MOST_MIB, "{grown} MiB more");
}

/// Something that speaks as Redis does until it is asked for the next entry.
struct Impostor {
    port: u16,
    /// How many times it has answered that.
    answered: Arc<AtomicUsize>,
}

impl Impostor {
    async fn start(answer: Arc<Vec<u8>>, repeat: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answered);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
                tokio::spawn(async move {
                    let _ = Impostor::serve(stream, &answer, repeat).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Impostor { port, answered }
    }

    async fn serve(mut stream: TcpStream, answer: &[u8], repeat: usize) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.contains("BZPOPMIN") {
                for _ in 0..repeat {
                    stream.write_all(answer).await?;
                }
                // It goes on asking, or has closed.
                while stream.read(&mut [0; 4096]).await? > 0 {}
                return Ok(());
            }
            // One answer for each command: a status does for all of them.
            let commands = text.matches('*').count();
            stream
                .write_all("+OK\r\n".repeat(commands).as_bytes())
                .await?;
            bytes.clear();
        }
    }
}

#[tokio::test]
async fn a_server_that_sends_without_an_end_takes_bounded_memory_and_holds_nobody_up() {
    let mib = vec![b'x'; 1 << 20];
    let value = |size: usize| {
        [
            format!("${size}\r\n").as_bytes(),
            &vec![b'x'; size],
            b"\r\n",
        ]
        .concat()
    };
    for (what, answer, repeat) in [
        (
            "a value without an end",
            [b"$2000000000\r\n", &*mib.repeat(20)].concat(),
            20,
        ),
        (
            "a line without an end",
            [b"+", &*mib.repeat(20)].concat(),
            20,
        ),
        (
            "values without an end",
            [b"*200000\r\n", &*value(8 << 20)].concat(),
            1,
        ),
        ("large values", value(4 << 20).repeat(10), 20),
        ("a list without an end", b"*2000000000\r\n".to_vec(), 1),
        ("lists in lists", b"*1\r\n".repeat(100_000), 1),
        (
            "small values without an end",
            [b"*200000000\r\n", &*b":1\r\n".repeat(1 << 20)].concat(),
            20,
        ),
    ] {
        let impostor = Impostor::start(Arc::new(answer), repeat).await;
        let directory = Directory::new();
        let hosts = format!("layer.hosts=redis://127.0.0.1:{}", impostor.port);
        let settings = ["layer.backend=redis", &hosts, "ws.ping_interval_s=600"];
        let server = Process::start(&directory, &settings).await;
        let before = server.resident_kib();
        let id = server.conversation().await;
        let mut socket = server.socket(&id).await;
        socket.works().await;
        until("it to have tried", async || {
            impostor.answered.load(Ordering::SeqCst) >= 2
        })
        .await;
        socket.works().await;
        let grown = server.peak_kib().saturating_sub(before) / 1024;
        println!("{what}: {grown} MiB more");
        assert!(grown <= MOST_MIB, "{what}: {grown} MiB more");
    }
}
