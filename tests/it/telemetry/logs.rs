//! What is in the log, and what must never be.

use std::{fs::File, process::Stdio};

use serde_json::{Value, json};

use crate::support::{Directory, Process, Socket, process::chatferry, request, until};

/// A server that logs to a file.
async fn logging(directory: &Directory, settings: &[&str]) -> Process {
    let mut arguments = vec!["serve", "--set", "server.bind=127.0.0.1:0"];
    arguments.extend(["--set", "server.drain_s=10"]);
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut command = chatferry(directory, &arguments);
    let log = File::create(directory.path().join("log")).unwrap();
    command.stderr(Stdio::from(log));
    Process::of(command).await
}

fn log(directory: &Directory) -> String {
    std::fs::read_to_string(directory.path().join("log")).unwrap()
}

#[tokio::test]
async fn an_event_is_one_line_with_its_ids_and_never_what_was_said() {
    let directory = Directory::new();
    let settings = ["log.level=info,chatferry=debug", "log.format=json"];
    let server = logging(&directory, &settings).await;
    let mut rest = server.connect().await;
    let id = rest.conversation().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", trace), ("X-Request-Id", "req-1")];
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "a private word"});
    let send = request("POST", &path, &headers, Some(&body));
    let by_rest = rest.ask(send).await.json();
    let mut socket = Socket::open(server.connect().await, &id).await;
    socket.history().await;
    socket.say("another private word").await;
    let by_socket = socket.json().await;
    server.signal("TERM").await;
    drop((rest, socket));
    assert_eq!(server.ended().await.0, 0);

    let text = log(&directory);
    assert!(!text.contains("private word"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let about = |message: &Value| {
        let lines = lines
            .iter()
            .filter(|line| line["message"] == "message stored");
        let lines: Vec<_> = lines
            .filter(|line| line["message_id"] == *message)
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        lines[0]
    };
    for message in [&by_rest["id"], &by_socket["message"]["id"]] {
        let line = about(message);
        assert_eq!(line["conversation_id"], json!(id));
        assert_eq!(line["sender_id"], "alice");
        assert_eq!(line["message_type"], "text");
    }
    let span = &about(&by_rest["id"])["span"];
    assert_eq!(span["name"], "request");
    assert_eq!(span["request_id"], "req-1");
    assert_eq!(span["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let answered = lines
        .iter()
        .find(|line| line["route"] == "send_message")
        .unwrap();
    assert_eq!(
        (&answered["status"], &answered["span"]["id"]),
        (&json!(201), &span["id"])
    );
    let opened = lines
        .iter()
        .find(|line| line["message"] == "socket opened")
        .unwrap();
    // One place for ids, whatever the line is about.
    assert_eq!(
        opened["span"]["id"],
        about(&by_socket["message"]["id"])["span"]["id"]
    );
    assert!(lines.iter().all(|line| line.get("id").is_none()), "{text}");
    assert!(answered["took_us"].is_u64(), "{text}");
    let closed = lines
        .iter()
        .find(|line| line["message"] == "socket closed")
        .unwrap();
    assert_eq!(opened["span"]["id"], closed["span"]["id"]);
}

#[tokio::test]
async fn sighup_changes_the_level_at_once_and_names_what_takes_a_restart() {
    let directory = Directory::new();
    let file = directory.path().join("chatferry.toml");
    std::fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
    let server = logging(&directory, &[]).await;
    let mut rest = server.connect().await;
    rest.conversation().await;
    assert!(!log(&directory).contains("answered"));

    let changed = "[log]\nlevel = \"info,chatferry::access=debug\"\n[ws]\nhistory_limit = 5\n";
    std::fs::write(&file, changed).unwrap();
    server.signal("HUP").await;
    let mut text = String::new();
    // The level is in force before all that is told of the reload.
    until("the level to change", async || {
        rest.conversation().await;
        text = log(&directory);
        text.contains("answered method=POST route=\"conversations\"")
            && text.contains("takes a restart")
    })
    .await;
    assert!(
        text.contains("log.level = \"info,chatferry::access=debug\" (file"),
        "{text}"
    );
    assert!(text.contains("chatferry.toml): in force now"), "{text}");
    assert!(text.contains("ws.history_limit = 5 (file"), "{text}");
    assert!(
        text.contains("chatferry.toml): has changed, and takes a restart"),
        "{text}"
    );

    std::fs::write(&file, "[log]\nlevel = \"loud\"\n").unwrap();
    server.signal("HUP").await;
    until("the refusal", async || {
        log(&directory).contains("the settings stay as they are")
    })
    .await;
    std::fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
    server.signal("HUP").await;
    until("the old level", async || {
        log(&directory).contains("log.level = \"info\" (file")
    })
    .await;
    let lines = log(&directory).lines().count();
    rest.conversation().await;
    assert_eq!(log(&directory).lines().count(), lines, "quiet again");
    server.signal("TERM").await;
    drop(rest);
    assert_eq!(server.ended().await.0, 0);
}
