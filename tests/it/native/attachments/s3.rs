//! Files in an S3: a server that stores them. It knows access keys, and does not look at signatures of
//! version 4.

use std::{process::Stdio, sync::Arc};

use serde_json::json;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    a_file_is_sent_with_a_message_and_goes_with_it, fetch, files_below, link, upload_of, uploaded,
};
use crate::support::{
    Directory, Server,
    http::request,
    neighbours::{Port, skip},
    until,
};

const BUCKET: &str = "chat";

/// An S3 with one bucket. It ends with the test.
struct Bucket {
    directory: Directory,
    port: Port,
    program: String,
    process: Option<Child>,
}

impl Bucket {
    async fn start() -> Option<Self> {
        let Ok(program) = std::env::var("CHATFERRY_TEST_S3") else {
            skip("no S3 server: CHATFERRY_TEST_S3 is not set");
            return None;
        };
        let mut bucket = Bucket {
            directory: Directory::new(),
            port: Port::claim(),
            program,
            process: None,
        };
        bucket.run().await;
        Some(bucket)
    }

    async fn run(&mut self) {
        let port = self.port.number.to_string();
        let mut command = Command::new("node");
        command
            .arg(&self.program)
            .args(["--directory", self.directory.path().to_str().unwrap()])
            .args(["--address", "127.0.0.1", "--port", &port])
            .args(["--configure-bucket", BUCKET])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
        until("the S3 listens", async || {
            TcpStream::connect(("127.0.0.1", self.port.number))
                .await
                .is_ok()
        })
        .await;
    }

    async fn stop(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// A server that keeps its files here, by this access key.
    async fn server(&self, key: &str) -> Server {
        let endpoint = format!("http://127.0.0.1:{}", self.port.number);
        let flags = [
            ("attachments.place", "s3://chat/some/prefix"),
            ("attachments.s3_endpoint", endpoint.as_str()),
            ("attachments.s3_access_key", key),
            ("attachments.s3_secret_key", "S3RVER"),
            ("attachments.sweep_s", "1"),
        ];
        Server::on(Arc::new(Directory::new()), &flags).await
    }
}

#[tokio::test]
async fn a_file_is_sent_with_a_message_and_goes_with_it_in_s3() {
    let Some(bucket) = Bucket::start().await else {
        return;
    };
    let server = bucket.server("S3RVER").await;
    a_file_is_sent_with_a_message_and_goes_with_it(&server).await;
    let bytes: Vec<u8> = (0..3_000_000)
        .map(|n: u32| n.to_le_bytes()[n as usize % 4])
        .collect();
    let bytes = [b"%PDF-1.7\n".as_slice(), &bytes].concat();
    let large = uploaded(&server, "alice", "large.pdf", &bytes).await;
    let links = link(&server, "alice", &large).await;
    let whole = fetch(&server, &links, "url").await;
    assert!((whole.status, &whole.body) == (200, &bytes));
    let url = links["url"].as_str().unwrap();
    let range = [("Range", "bytes=1000000-1000009")];
    let part = server.send(request("GET", url, &range, None)).await;
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &bytes[1_000_000..1_000_010])
    );
    let kept = files_below(&bucket.directory.path().join("chat/some/prefix"));
    assert!(!kept.is_empty(), "they are below the prefix");
}

#[tokio::test]
async fn an_s3_that_is_gone_or_refuses_is_an_error_and_the_chat_goes_on() {
    let Some(mut bucket) = Bucket::start().await else {
        return;
    };
    let (server, wrong) = (bucket.server("S3RVER").await, bucket.server("other").await);
    let id = server.conversation().await;
    let file = uploaded(&server, "alice", "a.txt", b"text").await;
    let links = link(&server, "alice", &file).await;
    let refused = wrong.send(upload_of("alice", "a.txt", b"text")).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("unavailable"))
    );
    bucket.stop().await;
    let away = server.send(upload_of("alice", "b.txt", b"text")).await;
    assert_eq!(
        (away.status, &away.json()["code"]),
        (503, &json!("unavailable"))
    );
    assert!(!away.text().contains("127.0.0.1"), "where it is stays here");
    assert_eq!(fetch(&server, &links, "url").await.status, 503);
    server.stored(&id, "alice", "still here").await;
    bucket.run().await;
    assert_eq!(fetch(&server, &links, "url").await.body, b"text");
    uploaded(&server, "alice", "b.txt", b"text").await;
    // The upload that failed is swept, and its room is free again.
    until("its row is gone", async || {
        let rows: i64 = server
            .directory
            .value("SELECT count(*) FROM chatferry_attachments");
        rows == 2
    })
    .await;
    drop(wrong);
}
