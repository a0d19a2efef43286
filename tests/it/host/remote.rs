//! Workers that join by TCP: both ends prove that they know the secret, and nothing of it crosses.

use ring::hmac::{HMAC_SHA256, Key, sign};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{HELLO, TEXT_OUT, Worker};
use crate::support::{Directory, Process, Socket, process::run, socket::handshake};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NONCE: [u8; 32] = [7; 32];

/// A server that workers join by TCP, and where.
async fn server(directory: &Directory) -> (Process, String) {
    let secret = format!("host.secret={SECRET}");
    let settings = ["host.listen=127.0.0.1:0", "host.workers=0", &secret];
    let mut server = Process::start(directory, &settings).await;
    let address = server.logs_word("workers may join at ").await;
    (server, address)
}

/// A connection, and the random bytes of its challenge.
async fn challenged(address: &str) -> (Worker<TcpStream>, Vec<u8>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut worker = Worker { stream };
    let (kind, _, body) = worker.any().await;
    assert_eq!(kind, 0x12);
    let nonce = body.strip_prefix(b"\x81\xa5nonce\xc4\x20").unwrap();
    (worker, nonce.to_vec())
}

fn proof(secret: &str, end: &[u8], theirs: &[u8]) -> Vec<u8> {
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let signed = [end, theirs, &NONCE].concat();
    sign(&key, &signed).as_ref().to_vec()
}

/// A greeting with a proof.
fn hello(proof: &[u8]) -> Vec<u8> {
    let mut body = vec![0x86];
    body.extend(&HELLO[1..]);
    for (name, bytes) in [(b"\xa5nonce", &NONCE[..]), (b"\xa5proof", proof)] {
        body.extend(name);
        body.extend([0xc4, u8::try_from(bytes.len()).unwrap()]);
        body.extend(bytes);
    }
    body
}

#[tokio::test]
async fn a_worker_that_knows_the_secret_joins_by_tcp_and_serves() {
    let directory = Directory::new();
    let (server, address) = server(&directory).await;
    let (mut worker, nonce) = challenged(&address).await;
    let greeting = hello(&proof(SECRET, b"chatferry worker", &nonce));
    worker.say(0x41, 0, &greeting).await;
    let (kind, _, welcome) = worker.any().await;
    assert_eq!(kind, 0x01);
    let ours = proof(SECRET, b"chatferry host", &nonce);
    assert!(welcome.ends_with(&ours), "{}", welcome.escape_ascii());
    let mut connection = server.connect().await;
    connection.send(handshake("/ws/room/", "")).await;
    let mut socket = Socket::over(connection);
    let number = worker.accept().await;
    assert_eq!(socket.connection.head().await.status, 101);
    worker.say(TEXT_OUT, number, b"well").await;
    assert_eq!(socket.text().await, "well");
}

#[tokio::test]
async fn nobody_joins_by_tcp_who_does_not_prove_that_they_know_the_secret() {
    let directory = Directory::new();
    let (mut server, address) = server(&directory).await;
    let (mut worker, nonce) = challenged(&address).await;
    let known = hello(&proof(SECRET, b"chatferry worker", &nonce));
    worker.say(0x41, 0, &known).await;
    assert_eq!(worker.any().await.0, 0x01);
    let other = "another secret of thirty-two byte";
    for wrong in 0..5 {
        let (mut worker, nonce) = challenged(&address).await;
        let greeting = match wrong {
            0 => hello(&proof(other, b"chatferry worker", &nonce)),
            1 => HELLO.to_vec(),
            // What another connection has proved, while it is still there.
            2 => known.clone(),
            3 => hello(&proof(SECRET, b"chatferry host", &nonce)),
            _ => hello(b""),
        };
        worker.say(0x41, 0, &greeting).await;
        worker.ends_refused().await;
    }
    server
        .logs("does not prove that it knows host.secret")
        .await;
    let (mut worker, _) = challenged(&address).await;
    // Much before the greeting is kept of nobody.
    worker.push(&[0x00, 0xff, 0xff, 0xff, 0x45]).await;
    // The end may come in the middle of it.
    let _ = worker.stream.write_all(&vec![0; 1 << 20]).await;
    worker.ends_refused().await;
}

#[tokio::test]
async fn a_server_does_not_start_where_workers_could_join_without_a_secret() {
    let directory = Directory::new();
    for secret in ["", "short"] {
        let secret = format!("host.secret={secret}");
        let settings = [
            "serve",
            "--set",
            "host.listen=127.0.0.1:0",
            "--set",
            &secret,
        ];
        let outcome = run(&directory, &settings).await;
        assert_eq!(outcome.code, 2);
        assert!(outcome.stderr.contains("host.listen"), "{}", outcome.stderr);
    }
}
