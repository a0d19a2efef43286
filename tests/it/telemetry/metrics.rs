//! The numbers an operator sees: that they move when what they are about happens, and where they are.

use std::sync::Arc;

use serde_json::json;
use tokio::net::UnixStream;

use crate::{
    redis::instance::Redis,
    support::{
        Answer, Connection, Directory, Process, Server, request,
        socket::{BINARY, PING, PONG, TEXT, chat_message, frame},
        soon, until,
    },
};

/// Waits until a metric has this value: what a socket did may be counted a moment after its client
/// has seen it.
async fn becomes(server: &Server, series: &str, wanted: f64) {
    until(series, async || server.metric(series).await == wanted).await;
}

/// Waits until a metric is above a value.
async fn passes(server: &Server, series: &str, bound: f64) {
    until(series, async || server.metric(series).await > bound).await;
}

#[tokio::test]
async fn frames_and_bytes_are_counted_by_type_both_ways() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let (mut one, mut other) = (server.socket(&id).await, server.socket(&id).await);
    let said = chat_message("hello").to_string();
    one.connection.push(frame(TEXT, &said)).await;
    one.connection.push(frame(BINARY, b"x")).await;
    one.connection.push(frame(PING, b"ping")).await;
    let (mut texts, mut pongs) = (Vec::new(), 0);
    // The answers and the event come in any order.
    while texts.len() < 2 || pongs < 1 {
        let frame = one.any().await.unwrap();
        match frame.opcode {
            TEXT => texts.push(frame.payload),
            PONG => pongs += 1,
            other => panic!("{other}"),
        }
    }
    texts.push(other.text().await.into_bytes());
    let told: usize = texts.iter().map(Vec::len).sum();
    for (series, count) in [
        // A frame of a client has a mask, and a header of 6 bytes up to 125.
        ("received_frames_total{type=\"text\"}", 1),
        ("received_bytes_total{type=\"text\"}", said.len() + 6),
        ("received_frames_total{type=\"binary\"}", 1),
        ("received_bytes_total{type=\"binary\"}", 7),
        ("received_frames_total{type=\"ping\"}", 1),
        ("sent_frames_total{type=\"pong\"}", 1),
        ("sent_bytes_total{type=\"pong\"}", 6),
        // Two histories, the message twice, one error.
        ("sent_frames_total{type=\"text\"}", 5),
        ("requests_total{type=\"chat_message\"}", 1),
        ("opened_total", 2),
        ("open", 2),
    ] {
        becomes(&server, &format!("chatferry_ws_{series}"), count as f64).await;
    }
    let bytes = "chatferry_ws_sent_bytes_total{type=\"text\"}";
    assert!(server.metric(bytes).await > told as f64);
    drop((one, other));
    becomes(&server, "chatferry_ws_open", 0.0).await;
    becomes(&server, "chatferry_ws_lifetime_seconds_count", 2.0).await;
    becomes(&server, "chatferry_ws_closed_total{code=\"1006\"}", 2.0).await;
}

#[tokio::test]
async fn an_event_is_counted_for_each_socket_it_is_delivered_to() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(server.socket(&id).await);
    }
    sockets[0].say("to all").await;
    sockets[1]
        .send(&json!({"type": "typing", "user_id": "a", "is_typing": true}))
        .await;
    let delivered = async |kind: &str| {
        let series = format!("chatferry_events_delivered_total{{type=\"{kind}\"}}");
        becomes(&server, &series, 3.0).await;
    };
    delivered("chat_message").await;
    delivered("typing_status").await;
    becomes(&server, "chatferry_messages_stored_total", 1.0).await;
    becomes(&server, "chatferry_ws_queue_frames_count", 2.0).await;
    let lag = "chatferry_layer_lag_seconds_count{sender=\"own\"}";
    becomes(&server, lag, 2.0).await;
}

#[tokio::test]
async fn reads_commits_and_connections_of_the_database_are_timed() {
    let server = Server::with(&[("store.pool_size", "3")]).await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "hello").await;
    server.contents(&id).await;
    for (series, bound) in [
        ("chatferry_store_read_seconds_count", 1.0),
        ("chatferry_store_pool_wait_seconds_count", 1.0),
        ("chatferry_commit_seconds_count", 1.0),
        ("chatferry_commit_wait_seconds_count", 1.0),
        ("chatferry_commit_rows_sum", 1.0),
        // One reads, one writes.
        ("chatferry_store_connections_total{outcome=\"opened\"}", 1.0),
    ] {
        passes(&server, series, bound).await;
    }
    assert_eq!(server.metric("chatferry_store_pool_size").await, 3.0);
    becomes(&server, "chatferry_store_pool_busy", 0.0).await;
    let failed = "chatferry_store_connections_total{outcome=\"failed\"}";
    assert_eq!(server.metric(failed).await, 0.0);
}

#[tokio::test]
async fn the_process_is_looked_at_when_somebody_asks() {
    let server = Server::start().await;
    for (series, bound) in [
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 3.0),
        ("process_max_fds", 100.0),
        ("process_start_time_seconds", 1_700_000_000.0),
        ("chatferry_tasks", 0.0),
    ] {
        assert!(server.metric(series).await > bound, "{series}");
    }
}

#[tokio::test]
async fn events_of_others_have_a_lag_and_what_was_missed_is_counted_as_repaired() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let url = redis.url();
    let flags = [("layer.backend", "redis"), ("layer.hosts", &*url)];
    let (one, other) = (
        Server::on(Arc::clone(&directory), &flags).await,
        Server::on(directory, &flags).await,
    );
    let id = one.conversation().await;
    let (mut here, mut there) = (one.socket(&id).await, other.socket(&id).await);
    here.say("by Redis").await;
    assert_eq!(there.heard().await, "by Redis");
    let lag = "chatferry_layer_lag_seconds_count{sender=\"others\"}";
    becomes(&other, lag, 1.0).await;
    assert_eq!(other.metric("chatferry_redis_hosts_up").await, 1.0);
    passes(&other, "chatferry_redis_round_trip_seconds_count", 0.0).await;
    redis.kill();
    becomes(&other, "chatferry_redis_hosts_up", 0.0).await;
    becomes(&one, "chatferry_redis_hosts_up", 0.0).await;
    assert_eq!(other.metric("chatferry_redis_hosts").await, 1.0);
    here.say("away").await;
    redis.run().await;
    assert_eq!(there.heard().await, "away");
    becomes(&other, "chatferry_messages_repaired_total", 1.0).await;
    passes(&other, "chatferry_layer_gaps_total", 0.0).await;
    let opened = "chatferry_redis_connections_total{outcome=\"opened\"}";
    passes(&other, opened, 1.0).await;
}

/// Asks a server that listens on a socket file.
async fn ask(file: &std::path::Path, method: &str, path: &str) -> Answer {
    let stream = soon("a connection", UnixStream::connect(file)).await;
    let request = request(method, path, &[], None);
    Connection::over(stream.unwrap()).ask(request).await
}

#[tokio::test]
async fn metrics_with_an_address_of_their_own_are_only_there() {
    let directory = Directory::new();
    let file = directory.path().join("metrics.sock");
    let bind = format!("metrics.bind=unix:{}", file.display());
    let server = Process::start(&directory, &[&bind]).await;
    let shown = ask(&file, "GET", "/metrics").await;
    assert_eq!(shown.status, 200);
    assert!(shown.text().contains("chatferry_build_info{version="));
    assert_eq!(ask(&file, "POST", "/metrics").await.status, 405);
    assert_eq!(ask(&file, "GET", "/healthz").await.status, 404);
    let mut client = server.connect().await;
    let hidden = client.ask(request("GET", "/metrics", &[], None)).await;
    assert_eq!(hidden.status, 404);
    let well = client.ask(request("GET", "/healthz", &[], None)).await;
    assert_eq!(well.status, 200);
    server.signal("TERM").await;
    let (code, log) = server.ended().await;
    assert_eq!(code, 0, "{log}");
}

#[tokio::test]
async fn metrics_tell_what_the_settings_have_chosen() {
    let secret = "s".repeat(32);
    let server = Server::with(&[
        ("auth.identity", "jwt"),
        ("auth.jwt.secret", &secret),
        ("auth.policy", "participants"),
        ("auth.jwt.algorithms", "HS256"),
        ("metrics.public", "yes"),
    ])
    .await;
    let labels = r#"{store="sqlite",layer="memory",identity="jwt",policy="participants"}"#;
    let series = format!("chatferry_settings_info{labels}");
    assert_eq!(server.metric(&series).await, 1.0);
}

#[tokio::test]
async fn an_address_for_the_metrics_that_is_taken_keeps_the_server_from_starting() {
    let owner = Server::start().await;
    let directory = Directory::new();
    let bind = format!("metrics.bind={}", owner.address);
    let arguments = ["serve", "--set", "server.bind=127.0.0.1:0", "--set", &bind];
    let outcome = crate::support::process::run(&directory, &arguments).await;
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let told = format!("cannot listen on {}", owner.address);
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("set metrics.bind to another"));
}
