//! Sockets that move from one worker to another, with workers that are played here.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
};

use chatferry::host::reload::ReloadError;
use tokio::task::JoinHandle;

use super::{CLOSED, DONE, ENDED, TEXT_IN, TEXT_OUT, Worker, open, server};
use crate::support::{
    Directory, Process, Server, Socket, process,
    socket::{CLOSE, frame},
    soon,
};

const WAKE: u8 = 0x0b;
const SLEEP: u8 = 0x0c;
const STATE: u8 = 0x4f;
const REFUSED: u8 = 0x50;

/// A reason in msgpack.
const WHY: &[u8] = b"\xa3why";

/// Two workers, of which the first is to be replaced, and a socket of it.
struct Move {
    server: Server,
    old: Worker,
    new: Worker,
    socket: Socket,
    number: u64,
    reload: JoinHandle<Result<(), ReloadError>>,
}

impl Move {
    /// Begins to replace the first worker, which has been asked for the state.
    async fn begin() -> Self {
        let (server, path) = server(&[]).await;
        let mut old = Worker::join(&path).await;
        let (socket, number) = open(&server, &mut old).await;
        let host = Arc::clone(server.site.host.as_ref().unwrap());
        let mut reload = Box::pin(async move { host.reload().await });
        // Begun before the new worker joins, which would else be an old one too.
        let begun = poll_fn(|context| Poll::Ready(reload.as_mut().poll(context)));
        assert!(begun.await.is_pending());
        let reload = tokio::spawn(reload);
        let new = Worker::join(&path).await;
        assert_eq!(old.next(SLEEP).await.0, number);
        Move {
            server,
            old,
            new,
            socket,
            number,
            reload,
        }
    }

    async fn failures(&self) -> f64 {
        let unfit = "chatferry_host_failures_total{kind=\"unfit\"}";
        self.server.metric(unfit).await
    }

    /// The old worker is let go.
    async fn end(self) {
        self.old.ends_refused().await;
        let reloaded = soon("the end of the reload", self.reload).await;
        reloaded.unwrap().unwrap();
        let done = "chatferry_host_reloads_total{outcome=\"done\"}";
        assert_eq!(self.server.metric(done).await, 1.0);
        let bytes = self.server.metric("chatferry_host_state_bytes").await;
        assert_eq!(bytes, 0.0);
    }
}

#[tokio::test]
async fn a_socket_moves_and_what_comes_meanwhile_waits_in_order() {
    let mut it = Move::begin().await;
    it.socket.send_text("one").await;
    it.old.say(TEXT_OUT, it.number, b"before").await;
    it.old.say(STATE, it.number, b"a state").await;
    assert_eq!(it.socket.text().await, "before");
    assert_eq!(it.new.next(WAKE).await, (it.number, b"a state".to_vec()));
    it.socket.send_text("two").await;
    it.new.say(DONE, it.number, b"").await;
    for text in ["one", "two"] {
        assert_eq!(
            it.new.next(TEXT_IN).await,
            (it.number, text.as_bytes().to_vec())
        );
        it.new.say(TEXT_OUT, it.number, text.as_bytes()).await;
        it.new.say(DONE, it.number, b"").await;
        assert_eq!(it.socket.text().await, text);
    }
    assert_eq!(it.failures().await, 0.0);
    it.end().await;
}

#[tokio::test]
async fn a_state_that_cannot_be_written_closes_its_socket_and_the_application_hears_of_it() {
    let mut it = Move::begin().await;
    it.old.say(REFUSED, it.number, WHY).await;
    assert_eq!(it.socket.close_code().await, 1012);
    let answer = frame(CLOSE, 1012u16.to_be_bytes());
    it.socket.connection.send(answer).await;
    assert_eq!(it.old.next(CLOSED).await.0, it.number);
    it.old.say(ENDED, it.number, &[0xc2]).await;
    assert_eq!(it.failures().await, 1.0);
    it.end().await;
}

#[tokio::test]
async fn a_state_that_does_not_fit_closes_its_socket() {
    let mut it = Move::begin().await;
    it.old.say(STATE, it.number, b"a state").await;
    assert_eq!(it.new.next(WAKE).await.0, it.number);
    it.new.say(REFUSED, it.number, WHY).await;
    assert_eq!(it.socket.close_code().await, 1012);
    assert_eq!(it.failures().await, 1.0);
    it.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_state_is_on_its_way_is_reported_to_the_new_worker() {
    let mut it = Move::begin().await;
    it.old.say(STATE, it.number, b"a state").await;
    assert_eq!(it.new.next(WAKE).await.0, it.number);
    it.socket.send_text("last").await;
    let close = frame(CLOSE, 4001u16.to_be_bytes());
    it.socket.connection.send(close).await;
    assert_eq!(it.socket.close_code().await, 1000);
    it.new.say(DONE, it.number, b"").await;
    assert_eq!(it.new.next(TEXT_IN).await, (it.number, b"last".to_vec()));
    it.new.say(DONE, it.number, b"").await;
    let (closed, code) = it.new.next(CLOSED).await;
    assert_eq!((closed, code), (it.number, vec![0xcd, 0x0f, 0xa1]));
    it.new.say(ENDED, it.number, &[0xc2]).await;
    it.end().await;
}

#[tokio::test]
async fn a_state_whose_worker_is_lost_is_woken_by_another() {
    let mut it = Move::begin().await;
    let path = it.server.directory.path().join("workers.sock");
    it.old.say(STATE, it.number, b"a state").await;
    assert_eq!(it.new.next(WAKE).await.0, it.number);
    it.new = Worker::join(&path).await;
    assert_eq!(it.new.next(WAKE).await, (it.number, b"a state".to_vec()));
    it.new.say(DONE, it.number, b"").await;
    it.socket.send_text("well").await;
    assert_eq!(it.new.next(TEXT_IN).await.1, b"well");
    it.end().await;
}

#[tokio::test]
async fn a_worker_that_gives_a_state_unasked_loses_that_socket_only() {
    let (server, path) = server(&[]).await;
    let mut worker = Worker::join(&path).await;
    let (mut socket, number) = open(&server, &mut worker).await;
    let (mut other, well) = open(&server, &mut worker).await;
    worker.say(STATE, number, b"unasked").await;
    assert_eq!(socket.close_code().await, 1011);
    worker.say(TEXT_OUT, well, b"well").await;
    assert_eq!(other.text().await, "well");
    let bytes = server.metric("chatferry_host_state_bytes").await;
    assert_eq!(bytes, 0.0);
}

#[tokio::test]
async fn a_command_has_the_workers_replaced_or_says_why_they_are_not() {
    let directory = Directory::new();
    let path = directory.path().join("workers.sock");
    let socket = format!("host.socket={}", path.display());
    let mut process = Process::start(&directory, &[&socket, "host.workers=0"]).await;
    let _old = Worker::join(&path).await;
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("good.toml", "");
    let command = ["host", "reload", "--config", "good.toml", "--set", &*socket];
    let (done, _new) = tokio::join!(process::run(&directory, &command), async {
        process.logs("replacing all workers").await;
        Worker::join(&path).await
    });
    assert_eq!(done.code, 0, "{}", done.stderr);
    process.logs("all workers are replaced").await;

    file("chatferry.toml", "[host]\nsockets = 1\n[");
    let refused = process::run(&directory, &command).await;
    assert_eq!(refused.code, 1);
    let why = "the settings stay as they are: ";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);

    drop(process);
    let alone = process::run(&directory, &command).await;
    assert_eq!(alone.code, 1);
    assert!(
        alone.stderr.contains("no process answers"),
        "{}",
        alone.stderr
    );
}
