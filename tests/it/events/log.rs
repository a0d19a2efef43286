//! The sink `log`: lines on standard output.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
};

use crate::support::{Connection, Directory, process::chatferry, request, soon};

/// A process whose standard output is read.
struct Logged {
    _child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    address: std::net::SocketAddr,
}

impl Logged {
    async fn start(directory: &Directory) -> Self {
        let arguments = [
            "serve",
            "--set",
            "server.bind=127.0.0.1:0",
            "--set",
            "events.sinks=log",
        ];
        let mut command = chatferry(directory, &arguments);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = soon("the line", lines.next_line()).await.unwrap().unwrap();
        let (_, address) = first.rsplit_once("://").unwrap();
        Logged {
            address: address.parse().unwrap(),
            _child: child,
            lines,
        }
    }

    /// The next line that is an event of this type.
    async fn event(&mut self, kind: &str) -> (String, Value) {
        loop {
            let line = soon("an event", self.lines.next_line()).await;
            let line = line.unwrap().unwrap();
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if event["event_type"] == kind {
                return (line, event);
            }
        }
    }
}

#[tokio::test]
async fn each_event_is_a_line_as_the_original_wrote_it() {
    let directory = Directory::new();
    let mut process = Logged::start(&directory).await;
    let mut connection = Connection::to(process.address).await;
    let id = connection.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = serde_json::json!({"sender_id": "a", "content": "안 \"b\""});
    let answer = connection
        .ask(request("POST", &path, &[], Some(&body)))
        .await;
    let message = answer.json();
    process.event("conversation.created").await;
    let (line, event) = process.event("message.created").await;
    let (message_id, timestamp) = (&message["id"], &event["timestamp"]);
    let created_at = &event["data"]["created_at"];
    // Local time of Seoul without an offset, and UTC.
    let shown = message["created_at"].as_str().unwrap();
    let local = shown.trim_end_matches("+09:00");
    assert_eq!(timestamp, local);
    assert!(created_at.as_str().unwrap().ends_with("+00:00"));
    let expected = format!(
        "{{\"event_type\": \"message.created\", \"timestamp\": {timestamp}, \"data\": \
         {{\"message_id\": {message_id}, \"conversation_id\": \"{id}\", \"sender_id\": \"a\", \
         \"content\": \"\\uc548 \\\"b\\\"\", \"message_type\": \"text\", \
         \"created_at\": {created_at}}}}}"
    );
    assert_eq!(line, expected);
}
