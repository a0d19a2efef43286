//! An upstream with TLS.

use std::path::Path;

use chatferry::server::Site;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    Directory, Server,
    certificate::{acceptor, certify},
    server::config,
    skip,
    socket::handshake,
};

/// A server that sends back every byte after its own head; its URL.
async fn echo(directory: &Path) -> String {
    let acceptor = acceptor(directory);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let answer = if head.contains("upgrade: websocket") {
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    format!("https://{address}")
}

#[tokio::test]
async fn requests_and_sockets_go_to_an_upstream_with_tls_whose_authority_is_known() {
    let directory = Directory::new();
    if !certify(directory.path()) {
        return skip("no openssl");
    }
    let url = echo(directory.path()).await;
    let authority = directory.path().join("cert.pem").display().to_string();
    let flags = [
        ("gateway.upstream", url.as_str()),
        ("gateway.upstream_ca", authority.as_str()),
    ];
    let server = Server::with(&flags).await;
    assert_eq!(server.get("/").await.text(), "hello");
    let mut client = server.connect().await;
    assert_eq!(client.ask(handshake("/ws/other/", "")).await.status, 101);
    let bytes = vec![b'x'; 100_000];
    client.send(&bytes).await;
    assert_eq!(client.take(bytes.len()).await, bytes);
    let suspicious = Server::with(&flags[..1]).await;
    assert_eq!(
        suspicious.get("/").await.status,
        502,
        "an unknown authority is not trusted"
    );
}

#[tokio::test]
async fn a_server_without_an_authority_to_believe_does_not_start() {
    let directory = Directory::new();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (file, why) in [
        (empty, "no authority"),
        ("/nowhere.pem".into(), "/nowhere.pem"),
    ] {
        let file = file.display().to_string();
        let flags = [
            ("gateway.upstream", "https://127.0.0.1:1"),
            ("gateway.upstream_ca", &file),
        ];
        let error = Site::start(config(&directory, &flags)).await.err().unwrap();
        assert!(error.to_string().contains(why), "{error}");
    }
}
