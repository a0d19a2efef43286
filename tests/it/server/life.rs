//! A process from its start to its end, as systemd and those who restart it see it.

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{net::UnixStream, process::Command, task::JoinSet};

use crate::support::{
    Connection, Directory, PATIENCE, Process, Socket,
    process::chatferry,
    request,
    socket::{CLOSE, handshake, path_of},
    soon, until,
};

/// Where a server in this directory listens that cannot be asked for its port yet.
fn socket_file(directory: &Directory) -> String {
    format!("unix:{}", directory.path().join("http").display())
}

/// A server whose database does not answer: nobody listens on port 1.
fn without_database(directory: &Directory, wait_s: u32) -> Command {
    let settings = [
        format!("server.bind={}", socket_file(directory)),
        "store.url=postgres://chat:s3cret@127.0.0.1:1/chat".to_owned(),
        format!("store.wait_s={wait_s}"),
    ];
    let mut arguments = vec!["serve"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    chatferry(directory, &arguments)
}

async fn status_of(directory: &Directory, path: &str) -> Option<(u16, String)> {
    let stream = UnixStream::connect(directory.path().join("http")).await;
    let mut connection = Connection::over(stream.ok()?);
    connection.push(request("GET", path, &[], None)).await;
    let answer = connection.next().await?;
    Some((answer.status, answer.text().to_owned()))
}

#[tokio::test]
async fn a_process_that_waits_for_its_database_is_well_and_not_ready_and_can_be_stopped() {
    let directory = Directory::new();
    let mut child = without_database(&directory, 3600).spawn().unwrap();
    until("the process to listen", async || {
        status_of(&directory, "/healthz").await.is_some()
    })
    .await;
    let (status, _) = status_of(&directory, "/healthz").await.unwrap();
    assert_eq!(status, 200);
    let (status, text) = status_of(&directory, "/readyz").await.unwrap();
    assert_eq!(status, 503);
    assert!(text.contains(r#""status":"starting""#), "{text}");
    let (status, _) = status_of(&directory, "/api/chat/users/a/conversations/")
        .await
        .unwrap();
    assert_eq!(status, 503);
    let kill = format!("kill -TERM {}", child.id().unwrap());
    let killed = Command::new("sh").args(["-c", &kill]).status().await;
    assert!(killed.unwrap().success());
    let ended = soon("the end", child.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_database_that_does_not_come_is_waited_for_so_long_and_no_longer() {
    let directory = Directory::new();
    let output = without_database(&directory, 2).output();
    let output = soon("the end", output).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"", "it never served");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("waiting for the database"), "{log}");
    assert!(log.contains("What to do: start the database"), "{log}");
    assert!(
        log.contains("chat:***@127.0.0.1:1") && !log.contains("s3cret"),
        "{log}"
    );
}

/// A command whose process finds this socket as its third file, as systemd hands sockets over.
fn with_socket(listener: &TcpListener, directory: &Directory) -> Command {
    let program = chatferry(directory, &["serve", "--set", "server.drain_s=10"]);
    let program = program.as_std();
    let hand_over = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", hand_over])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(directory.path())
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn there_are_as_many_workers_as_processors_that_it_may_use() {
    let directory = Directory::new();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    let one: String = allowed
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let program = chatferry(&directory, &["serve", "--set", "server.bind=127.0.0.1:0"]);
    let program = program.as_std();
    let mut command = Command::new("taskset");
    command
        .args(["-c", &one])
        .arg(program.get_program())
        .args(program.get_args())
        .env_remove("TOKIO_WORKER_THREADS")
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut server = Process::of(command).await;
    server.logs("started workers=1 ").await;
}

#[tokio::test]
async fn nobody_is_turned_away_over_a_restart_with_an_inherited_socket() {
    let directory = Directory::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let first = Process::of(with_socket(&listener, &directory)).await;
    assert_eq!(first.address, address);
    let healthz = request("GET", "/healthz", &[], None);
    assert_eq!(first.connect().await.ask(&healthz).await.status, 200);
    first.signal("TERM").await;
    let (code, log) = first.ended().await;
    assert_eq!(code, 0, "{log}");

    // Nobody listens in any process, and still a client gets through.
    let mut between = Connection::to(address).await;
    between.send(&healthz).await;
    let second = Process::of(with_socket(&listener, &directory)).await;
    assert_eq!(between.answer().await.status, 200);
    second.signal("TERM").await;
    assert_eq!(second.ended().await.0, 0);
}

#[tokio::test]
async fn a_handed_over_socket_that_others_can_reach_must_be_allowed() {
    let directory = Directory::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let output = soon("the end", with_socket(&listener, &directory).output()).await;
    let output = output.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.contains("auth.allow_anonymous"), "{log}");
}

#[tokio::test]
async fn systemd_is_told_of_the_start_of_reloads_and_of_the_end() {
    let directory = Directory::new();
    let path = directory.path().join("notify");
    let notified = UnixDatagram::bind(&path).unwrap();
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut text = [0; 512];
        let size = notified.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..size]).into_owned()
    };
    let arguments = ["serve", "--set", "server.bind=127.0.0.1:0"];
    let mut command = chatferry(&directory, &arguments);
    command.env("NOTIFY_SOCKET", &path);
    let server = Process::of(command).await;
    assert!(next().contains("READY=1\n"));
    server.signal("HUP").await;
    let reloading = next();
    assert!(
        reloading.contains("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(next().contains("READY=1\n"));
    server.signal("TERM").await;
    assert!(next().contains("STOPPING=1\n"));
    assert_eq!(server.ended().await.0, 0);
}

/// One who chats through a restart: says things, hears things, comes back when sent away.
struct Talker {
    name: usize,
    address: SocketAddr,
    conversation: String,
    /// Everything it has seen, in histories or live.
    seen: HashSet<String>,
    /// Everything of its own that it has heard back: that is stored.
    acknowledged: Vec<String>,
    closes: Vec<u16>,
}

impl Talker {
    async fn talk(mut self, enough: Arc<AtomicBool>) -> Self {
        let mut number = 0;
        loop {
            let Some(mut socket) = self.connect().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            if enough.load(Ordering::Relaxed) {
                return self;
            }
            while !enough.load(Ordering::Relaxed) {
                number += 1;
                let mine = format!("{}-{number}", self.name);
                socket.say(&mine).await;
                if !self.hear(&mut socket, &mine).await {
                    break;
                }
            }
        }
    }

    /// Opens a socket and reads its history; `None` if it is to be tried again.
    async fn connect(&mut self) -> Option<Socket> {
        let stream = tokio::net::TcpStream::connect(self.address).await.ok()?;
        let mut connection = Connection::over(stream);
        connection
            .push(handshake(&path_of(&self.conversation), ""))
            .await;
        let answer = connection.next().await?;
        assert!([101, 503].contains(&answer.status), "{answer:?}");
        if answer.status == 503 {
            return None;
        }
        let mut socket = Socket::over(connection);
        for message in socket.history().await {
            self.seen.insert(content_of(&message).to_owned());
        }
        Some(socket)
    }

    /// Hears until `mine` comes back; false if the socket is closed before.
    async fn hear(&mut self, socket: &mut Socket, mine: &str) -> bool {
        loop {
            let Some(frame) = socket.next().await else {
                return false;
            };
            if frame.opcode == CLOSE {
                self.closes.push(frame.close_code());
                return false;
            }
            let frame: Value = serde_json::from_slice(&frame.payload).unwrap();
            let content = content_of(&frame["message"]).to_owned();
            self.seen.insert(content.clone());
            if content == mine {
                self.acknowledged.push(content);
                return true;
            }
        }
    }
}

#[tokio::test]
async fn a_rolling_restart_on_one_port_loses_nothing() {
    const TALKERS: usize = 24;
    let directory = Directory::new();
    let settings = ["server.reuse_port=true", "server.drain_s=10"];
    let old = Process::start(&directory, &settings).await;
    let id = old.conversation().await;
    let enough = Arc::new(AtomicBool::new(false));
    let mut talkers = JoinSet::new();
    for name in 0..TALKERS {
        let talker = Talker {
            name,
            address: old.address,
            conversation: id.clone(),
            seen: HashSet::new(),
            acknowledged: Vec::new(),
            closes: Vec::new(),
        };
        talkers.spawn(talker.talk(Arc::clone(&enough)));
    }
    let stored = async || directory.value::<i64>("SELECT count(*) FROM messages");
    until("everybody to talk", async || stored().await > 100).await;

    let bind = format!("server.bind={}", old.address);
    let mut command = chatferry(&directory, &["serve", "--set", &bind, "--set", settings[0]]);
    command.env("CHATFERRY__SERVER__DRAIN_S", "1");
    let new = Process::of(command).await;
    assert_eq!(new.address, old.address);
    old.signal("TERM").await;
    let (code, log) = old.ended().await;
    assert_eq!(code, 0, "{log}");
    let before = stored().await;
    until("everybody to talk again", async || {
        stored().await > before + 100
    })
    .await;
    enough.store(true, Ordering::Relaxed);

    let talkers = soon("the talkers", talkers.join_all()).await;
    let mut last = Socket::open(new.connect().await, &id).await;
    let history = last.history().await;
    let stored: HashSet<_> = history.iter().map(content_of).collect();
    assert_eq!(stored.len(), history.len(), "nothing is stored twice");
    for talker in &talkers {
        assert!(
            talker.closes.iter().all(|code| *code == 1012),
            "{:?}",
            talker.closes
        );
        for content in talker.acknowledged.iter().chain(&talker.seen) {
            assert!(
                stored.contains(content.as_str()),
                "{content} was told and is lost"
            );
        }
    }
    let moved = talkers.iter().filter(|talker| !talker.closes.is_empty());
    assert!(moved.count() > 0, "somebody was sent to the new process");
}

fn content_of(message: &Value) -> &str {
    message["content"].as_str().unwrap()
}
