//! Traces as a collector gets them, and what becomes of a server whose collector is away.

mod collector;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpListener, sync::mpsc};

use self::collector::Collector;
use crate::{
    gateway::upstream::Upstream,
    support::{
        Connection, Directory, PATIENCE, Port, Process, Server, Socket,
        certificate::{acceptor, certify},
        process::{chatferry, run},
        request, skip,
        socket::{handshake, path_of},
        soon, until,
    },
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Bits of a span's flags: sampled, and a parent that is known to be in another process.
const SAMPLED: u64 = 0x1;
const LOCAL_PARENT: u64 = 0x100;
const REMOTE_PARENT: u64 = 0x300;

/// The caller's header.
fn caller(sampled: bool) -> String {
    format!("00-{TRACE}-{CALLER}-0{}", u8::from(sampled))
}

async fn traced(collector: &Collector, flags: &[(&str, &str)]) -> Server {
    let mut all = vec![("trace.endpoint", collector.url.as_str())];
    all.extend(flags);
    Server::with(&all).await
}

fn id_is_of(span: &Value, size: usize, field: &str) -> bool {
    let id = span[field].as_str().unwrap();
    id.len() == size && id.bytes().any(|digit| digit != b'0')
}

async fn asks_for_docs(connection: &mut Connection) {
    let answer = connection.ask(request("GET", "/docs", &[], None)).await;
    assert_eq!(answer.status, 200);
}

/// Asks for something that nobody else asks for: whatever was over before it, the collector has got
/// before it, as one task sends all in their order.
async fn marked(server: &Server, collector: &mut Collector) -> Value {
    asks_for_docs(&mut server.connect().await).await;
    collector.span("SERVER", "GET /docs").await
}

#[tokio::test]
async fn a_request_is_a_span_with_its_commit_below_it() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let flags = [
        ("trace.service_name", "chat"),
        ("trace.resource_attributes", "service.name=other,team=a%20b"),
        ("trace.headers", "api-key=hunter2"),
    ];
    let server = traced(&collector, &flags).await;
    let id = server.conversation().await;
    let path = format!("/api/chat/conversations/{id}/messages/send/");
    let (parent, state) = (caller(true), "other=1");
    let headers = [("traceparent", parent.as_str()), ("tracestate", state)];
    let body = json!({"sender_id": "alice", "content": "a private word"});
    let sent = server
        .send(request("POST", &path, &headers, Some(&body)))
        .await;
    let message = sent.json();

    let name = "POST /api/chat/conversations/{conversation_id}/messages/send/";
    let span = collector.span("SERVER", name).await;
    assert_eq!(
        (&span["trace"], &span["parent"]),
        (&json!(TRACE), &json!(CALLER))
    );
    assert_eq!(
        (&span["state"], &span["flags"]),
        (&json!(state), &json!(SAMPLED | REMOTE_PARENT))
    );
    assert_eq!(
        (&span["kind"], &span["status"]),
        (&json!("SERVER"), &json!("UNSET"))
    );
    assert!(id_is_of(&span, 16, "id"), "{span}");
    assert_eq!(
        span["attributes"],
        json!({
            "http.request.method": "POST",
            "url.path": path,
            "url.scheme": "http",
            "http.route": name.strip_prefix("POST ").unwrap(),
            "http.response.status_code": 201,
            "message_id": message["id"],
            "message_type": "text",
        })
    );
    let below = |span: &Value| {
        let all = collector.spans().into_iter();
        all.filter(|child| child["parent"] == span["id"])
            .collect::<Vec<_>>()
    };
    let children = below(&span);
    assert_eq!(children.len(), 1, "{children:?}");
    let commit = &children[0];
    assert_eq!(
        (&commit["name"], &commit["trace"]),
        (&json!("commit"), &json!(TRACE))
    );
    assert_eq!(commit["flags"], json!(SAMPLED | LOCAL_PARENT));
    let begins = &commit["events"][0];
    assert_eq!(
        (&begins["name"], &begins["attributes"]),
        (&json!("batch begins"), &json!({"rows": 1}))
    );
    let time = |span: &Value, field: &str| span[field].as_u64().unwrap();
    assert!(time(&span, "start") <= time(commit, "start"));
    assert!(time(commit, "start") <= time(commit, "end"));
    assert!(time(&span, "start") < time(&span, "end"));

    let post = &collector.posts[0];
    assert_eq!(post["path"], "/v1/traces");
    assert_eq!(post["headers"]["content-type"], "application/x-protobuf");
    assert_eq!(post["headers"]["api-key"], "hunter2");
    assert_eq!(
        (&post["resource"]["service.name"], &post["resource"]["team"]),
        (&json!("chat"), &json!("a b"))
    );
    assert_eq!(post["scope"], "chatferry");
    let all = format!("{:?}", collector.posts);
    assert!(!all.contains("private word"), "{all}");
}

#[tokio::test]
async fn a_request_without_a_trace_begins_one_and_errors_of_clients_are_none_of_ours() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let server = traced(&collector, &[]).await;
    let malformed = format!("00-{TRACE}-0000000000000000-01");
    let headers = [
        ("traceparent", malformed.as_str()),
        ("tracestate", "other=1"),
    ];
    let text = request("GET", "/api/chat/nowhere/", &headers, None);
    assert_eq!(server.send(text).await.status, 404);
    assert_eq!(
        server
            .send("BREW /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .status,
        404
    );
    let span = collector.span("SERVER", "GET").await;
    assert!(
        id_is_of(&span, 32, "trace") && span["trace"] != TRACE,
        "{span}"
    );
    assert_eq!((&span["parent"], &span["state"]), (&json!(""), &json!("")));
    assert_eq!(
        (&span["status"], &span["flags"]),
        (&json!("UNSET"), &json!(SAMPLED))
    );
    assert_eq!(span["attributes"]["http.response.status_code"], 404);
    let brew = collector.span("SERVER", "_OTHER").await;
    assert_eq!(brew["attributes"]["http.request.method"], "_OTHER");
    assert_ne!(brew["trace"], span["trace"]);
}

#[tokio::test]
async fn what_the_caller_does_not_record_is_not_recorded_here() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let server = traced(&collector, &[]).await;
    let id = server.conversation().await;
    let parent = caller(false);
    let headers = [("traceparent", parent.as_str())];
    let path = format!("/api/chat/conversations/{id}/");
    let answer = server.send(request("GET", &path, &headers, None)).await;
    assert_eq!(answer.status, 200);
    let header = format!("traceparent: {parent}\r\n");
    let socket = Socket::try_open(server.connect().await, &path_of(&id), &header).await;
    let mut socket = socket.unwrap();
    socket.history().await;
    socket.works().await;
    for probe in ["/healthz", "/readyz", "/metrics"] {
        server.get(probe).await;
    }
    marked(&server, &mut collector).await;
    let names: Vec<_> = collector
        .spans()
        .iter()
        .map(|span| span["name"].clone())
        .collect();
    // That which was asked without a trace, and its commit.
    assert_eq!(
        names,
        ["commit", "POST /api/chat/conversations/", "GET /docs"]
    );
}

#[tokio::test]
async fn the_sampler_decides_where_the_caller_has_not() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    for (sampler, share, with_caller, without) in [
        ("parentbased_always_off", "1", true, false),
        ("parentbased_traceidratio", "0", true, false),
        ("traceidratio", "1", true, true),
        ("always_off", "1", false, false),
    ] {
        let flags = [("trace.sampler", sampler), ("trace.sampler_arg", share)];
        let server = traced(&collector, &flags).await;
        let parent = caller(true);
        let headers = [("traceparent", parent.as_str())];
        let before = collector.spans().len();
        server.send(request("GET", "/a", &headers, None)).await;
        server.send(request("GET", "/b", &[], None)).await;
        // The last spans arrive at the end.
        let app = Arc::clone(&server.app);
        server.drained().await;
        app.tracer.as_ref().unwrap().close(PATIENCE).await;
        let wanted = usize::from(with_caller) + usize::from(without);
        while collector.spans().len() < before + wanted {
            collector.more(sampler).await;
        }
        let spans = &collector.spans()[before..];
        let has = |path: &str| {
            spans
                .iter()
                .any(|span| span["attributes"]["url.path"] == path)
        };
        assert_eq!((has("/a"), has("/b")), (with_caller, without), "{sampler}");
    }
    assert_eq!(collector.spans().len(), 4);
}

#[tokio::test]
async fn a_frame_is_a_trace_of_its_own_that_leads_to_the_handshake() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let server = traced(&collector, &[]).await;
    let id = server.conversation().await;
    let header = format!("traceparent: {}\r\n", caller(true));
    let socket = Socket::try_open(server.connect().await, &path_of(&id), &header).await;
    let mut socket = socket.unwrap();
    socket.history().await;
    socket.say("a private word").await;
    let message = socket.json().await["message"]["id"].clone();
    let read = json!({"type": "mark_as_read", "message_id": message, "user_id": "bob"});
    socket.send(&read).await;
    assert_eq!(socket.json().await["type"], "message_read");
    socket.is_open().await;

    let opening = collector
        .span("SERVER", "GET /ws/chat/{conversation_id}/")
        .await;
    assert_eq!(
        (&opening["trace"], &opening["parent"]),
        (&json!(TRACE), &json!(CALLER))
    );
    assert_eq!(opening["attributes"]["http.response.status_code"], 101);
    for (name, attributes, steps) in [
        (
            "chat_message",
            json!({"conversation_id": id, "message_id": message, "message_type": "text"}),
            vec!["commit", "layer send"],
        ),
        (
            "mark_as_read",
            json!({"conversation_id": id, "message_id": message}),
            vec!["commit", "layer send"],
        ),
        ("typing", json!({"conversation_id": id}), vec!["layer send"]),
    ] {
        let span = collector.span("SERVER", name).await;
        assert_eq!(
            (&span["kind"], &span["status"]),
            (&json!("SERVER"), &json!("UNSET"))
        );
        assert_eq!(span["attributes"], attributes, "{name}");
        assert_eq!(span["parent"], "");
        let link = json!([{"trace": opening["trace"], "id": opening["id"]}]);
        assert_eq!(span["links"], link, "{name}");
        let mut below: Vec<_> = collector
            .spans()
            .into_iter()
            .filter(|child| child["parent"] == span["id"] && child["trace"] == span["trace"])
            .map(|child| child["name"].as_str().unwrap().to_owned())
            .collect();
        below.sort();
        assert_eq!(below, steps, "{name}");
    }
    let all = format!("{:?}", collector.posts);
    assert!(!all.contains("private word"), "{all}");
}

/// The values of a header in the head that an upstream got.
fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let named = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value).collect()
}

#[tokio::test]
async fn django_is_told_that_our_call_is_its_parent() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let upstream = Upstream::echo().await;
    let flags = [("trace.endpoint", collector.url.as_str())];
    let server = upstream.gateway(&flags).await;
    let parent = caller(true);
    let headers = [("traceparent", parent.as_str()), ("tracestate", "other=1")];
    let answer = server
        .send(request("GET", "/admin/x/", &headers, None))
        .await;
    let head = answer.text().to_owned();
    assert_eq!(header(&head, "tracestate"), ["other=1"]);

    let ours = collector.span("SERVER", "GET").await;
    let call = collector.span("CLIENT", "GET").await;
    assert_eq!(
        (&ours["trace"], &ours["parent"]),
        (&json!(TRACE), &json!(CALLER))
    );
    assert_eq!(
        (&call["trace"], &call["parent"]),
        (&json!(TRACE), &ours["id"])
    );
    assert_eq!(call["attributes"]["http.response.status_code"], 200);
    let told = format!("00-{TRACE}-{}-01", call["id"].as_str().unwrap());
    assert_eq!(header(&head, "traceparent"), [told]);
}

#[tokio::test]
async fn a_handshake_that_is_passed_on_is_told_too() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let (told, mut heads) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |mut call| {
        let told = told.clone();
        async move {
            while let Some(head) = call.head().await {
                told.send(head).unwrap();
                let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
                call.write(refused).await;
            }
        }
    })
    .await;
    let flags = [("trace.endpoint", collector.url.as_str())];
    let server = upstream.gateway(&flags).await;
    let parent = format!("traceparent: {}\r\n", caller(true));
    let refused = server.send(handshake("/ws/other/", &parent)).await;
    assert_eq!(refused.status, 403);
    let head = soon("the handshake", heads.recv()).await.unwrap();

    let call = collector.span("CLIENT", "GET").await;
    let told = format!("00-{TRACE}-{}-01", call["id"].as_str().unwrap());
    assert_eq!(header(&head, "traceparent"), [told]);
    assert_eq!(
        (&call["status"], &call["attributes"]["error.type"]),
        (&json!("ERROR"), &json!("403"))
    );
    let ours = collector.span("SERVER", "GET").await;
    assert_eq!(
        (&ours["status"], &ours["parent"]),
        (&json!("UNSET"), &json!(CALLER))
    );
}

#[tokio::test]
async fn django_is_told_of_a_trace_that_is_not_recorded_here_too() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let upstream = Upstream::echo().await;
    let flags = [("trace.endpoint", collector.url.as_str())];
    let server = upstream.gateway(&flags).await;
    let parent = caller(false);
    let headers = [("traceparent", parent.as_str()), ("tracestate", "other=1")];
    let answer = server.send(request("GET", "/admin/", &headers, None)).await;
    assert_eq!(header(answer.text(), "traceparent"), [&parent]);
    assert_eq!(header(answer.text(), "tracestate"), ["other=1"]);

    let flags = [flags[0], ("trace.sampler", "parentbased_always_off")];
    let server = upstream.gateway(&flags).await;
    let headers = [("traceparent", "nonsense"), ("tracestate", "other=1")];
    let answer = server.send(request("GET", "/admin/", &headers, None)).await;
    let told = header(answer.text(), "traceparent");
    assert_eq!((told.len(), told[0].len()), (1, 55), "{told:?}");
    assert!(
        told[0].starts_with("00-") && told[0].ends_with("-00"),
        "{told:?}"
    );
    assert!(header(answer.text(), "tracestate").is_empty());
}

#[tokio::test]
async fn a_call_that_django_does_not_answer_is_an_error() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let nobody = Port::claim();
    let upstream = format!("http://127.0.0.1:{}", nobody.number);
    let server = traced(&collector, &[("gateway.upstream", &upstream)]).await;
    assert_eq!(server.get("/admin/").await.status, 502);
    let call = collector.span("CLIENT", "GET").await;
    assert_eq!(
        (&call["status"], &call["attributes"]["error.type"]),
        (&json!("ERROR"), &json!("connect"))
    );
    let ours = collector.span("SERVER", "GET").await;
    assert_eq!(
        (&ours["status"], &ours["attributes"]["error.type"]),
        (&json!("ERROR"), &json!("502"))
    );
}

#[tokio::test]
async fn without_a_collector_the_headers_go_through_untouched() {
    let upstream = Upstream::echo().await;
    let server = upstream.gateway(&[]).await;
    for parent in [caller(true), caller(false), "nonsense".to_owned()] {
        let headers = [("traceparent", parent.as_str()), ("tracestate", "other=1")];
        let answer = server.send(request("GET", "/admin/", &headers, None)).await;
        assert_eq!(header(answer.text(), "traceparent"), [parent]);
        assert_eq!(header(answer.text(), "tracestate"), ["other=1"]);
    }
    let answer = server.get("/admin/").await;
    assert!(header(answer.text(), "traceparent").is_empty());
    assert!(server.app.tracer.is_none());
}

/// Chats until spans are dropped, at a server whose collector takes none.
async fn chat_until_spans_are_dropped(server: &Server) {
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    let dropped = "chatferry_trace_spans_dropped_total{why=\"no_room\"}";
    until("dropped spans", async || {
        socket.works().await;
        server.metric(dropped).await > 100.0
    })
    .await;
    assert_eq!(
        server.metric("chatferry_trace_spans_exported_total").await,
        0.0
    );
}

#[tokio::test]
async fn a_collector_that_never_answers_slows_nobody_and_what_has_no_room_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let swallowing = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let flags = [
        ("trace.endpoint", url.as_str()),
        ("trace.queue_spans", "50"),
    ];
    let server = Server::with(&flags).await;
    chat_until_spans_are_dropped(&server).await;
    swallowing.abort();
}

#[tokio::test]
async fn spans_wait_for_a_collector_that_is_away() {
    let port = Port::claim();
    let url = format!("http://127.0.0.1:{}", port.number);
    let flags = [
        ("trace.endpoint", url.as_str()),
        ("trace.queue_spans", "50"),
    ];
    let server = Server::with(&flags).await;
    asks_for_docs(&mut server.connect().await).await;
    chat_until_spans_are_dropped(&server).await;
    let Some(mut collector) = Collector::on(port.number).await else {
        return;
    };
    // The oldest are kept.
    collector.span("SERVER", "GET /docs").await;
    until("spans that were taken", async || {
        server.metric("chatferry_trace_spans_exported_total").await > 0.0
    })
    .await;
    let has_later = |span: Value| span["name"] == "GET /openapi.json";
    while !collector.spans().into_iter().any(has_later) {
        server.get("/openapi.json").await;
        collector.more("spans after the outage").await;
    }
}

#[tokio::test]
async fn spans_that_the_collector_refuses_are_counted_and_given_up() {
    let refusing = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let collector = Upstream::answering(refusing).await;
    let server = Server::with(&[("trace.endpoint", &collector.url())]).await;
    for round in 1..=2 {
        asks_for_docs(&mut server.connect().await).await;
        let refused = "chatferry_trace_spans_dropped_total{why=\"refused\"}";
        until("a refused span", async || {
            server.metric(refused).await >= f64::from(round)
        })
        .await;
    }
}

#[tokio::test]
async fn the_last_spans_arrive_when_the_process_ends_and_the_log_tells_the_trace() {
    let Some(mut collector) = Collector::start().await else {
        return;
    };
    let directory = Directory::new();
    let arguments = [
        "serve",
        "--set",
        "server.bind=127.0.0.1:0",
        "--set",
        "log.format=json",
    ];
    let level = ["--set", "log.level=info,chatferry::access=debug"];
    let mut command = chatferry(&directory, &[&arguments[..], &level].concat());
    // As Django's own libraries are told.
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env("OTEL_SERVICE_NAME", "chat")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b");
    let server = Process::of(command).await;
    let mut connection = server.connect().await;
    asks_for_docs(&mut connection).await;
    server.signal("TERM").await;
    drop(connection);
    let (code, log) = server.ended().await;
    assert_eq!(code, 0, "{log}");
    let span = collector.span("SERVER", "GET /docs").await;
    assert_eq!(collector.posts[0]["resource"]["service.name"], "chat");
    assert_eq!(collector.posts[0]["headers"]["api-key"], "a b");
    let line = log
        .lines()
        .find(|line| line.contains("\"answered\""))
        .unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["trace_id"], span["trace"]);
}

#[tokio::test]
async fn an_outage_is_one_line_and_does_not_keep_the_process_from_ending() {
    let directory = Directory::new();
    let nobody = Port::claim();
    let endpoint = format!("trace.endpoint=http://127.0.0.1:{}", nobody.number);
    let mut server = Process::start(&directory, &[&endpoint]).await;
    let mut connection = server.connect().await;
    asks_for_docs(&mut connection).await;
    server
        .logs("the collector of the traces does not take spans")
        .await;
    asks_for_docs(&mut connection).await;
    server.signal("TERM").await;
    drop(connection);
    let (code, log) = server.ended().await;
    assert_eq!(code, 0, "{log}");
    assert_eq!(log.matches("does not take spans").count(), 1, "{log}");
}

#[tokio::test]
async fn a_collector_with_tls_is_believed_by_its_authority() {
    let directory = Directory::new();
    if !certify(directory.path()) {
        return skip("no openssl");
    }
    let acceptor = acceptor(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (told, mut heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            told.send(String::from_utf8(head).unwrap()).unwrap();
        }
    });
    let authority = directory.path().join("cert.pem").display().to_string();
    let flags = [
        ("trace.endpoint", url.as_str()),
        ("trace.endpoint_ca", &authority),
    ];
    let server = Server::with(&flags).await;
    asks_for_docs(&mut server.connect().await).await;
    let head = soon("spans by TLS", heads.recv()).await.unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_the_settings_of_traces() {
    let directory = Directory::new();
    for (setting, finding) in [
        (
            "trace.endpoint=collector:4318",
            "trace.endpoint = \"collector:4318\" (flag --set): expected an address",
        ),
        (
            "trace.sampler=often",
            "expected one of `always_on`, `always_off`, `traceidratio`",
        ),
        ("trace.sampler_arg=5%", "expected a share from 0 to 1"),
        (
            "trace.headers=hunter2",
            "trace.headers = \"***\" (flag --set): expected headers as",
        ),
        (
            "trace.queue_spans=0",
            "expected a whole number from 1 to 65536",
        ),
    ] {
        let outcome = run(&directory, &["check", "--set", setting]).await;
        assert_eq!(outcome.code, 2, "{setting}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(finding),
            "{setting}: {}",
            outcome.stderr
        );
    }
    let plain = ["check", "--set", "trace.endpoint=http://127.0.0.1:4318"];
    let outcome = run(&directory, &plain).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.stdout.ends_with("Everything is fine.\n"),
        "{outcome:?}"
    );
    let tls = ["check", "--set", "trace.endpoint=https://127.0.0.1:4318"];
    let authority = ["--set", "trace.endpoint_ca=none.pem"];
    let outcome = run(&directory, &[&tls[..], &authority].concat()).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("trace.endpoint_ca none.pem: "),
        "{}",
        outcome.stderr
    );
}
