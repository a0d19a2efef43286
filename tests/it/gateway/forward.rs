//! HTTP through the gateway.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::upstream::{Call, Upstream};
use crate::support::{Port, Server, process::Process, request, soon, until};

/// The lines of a head that begin with `name:`, whatever its case.
fn lines<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let is_it = |line: &&str| {
        line.split_once(':')
            .is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
    };
    head.lines().filter(is_it).collect()
}

#[tokio::test]
async fn what_is_not_served_here_reaches_the_upstream_as_it_was_sent() {
    let upstream = Upstream::echo().await;
    let server = upstream.gateway(&[]).await;
    let text = "PATCH /admin/x%2Fy/?q=%ff&a HTTP/1.1\r\nHost: chat.example:81\r\nX-MiXed: 1\r\n\
                Cookie: a=b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n";
    let answer = server.send(text).await;
    let head = answer.text();
    assert!(
        head.starts_with("PATCH /admin/x%2Fy/?q=%ff&a HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(lines(head, "host"), ["Host: chat.example:81"]);
    assert!(
        head.contains("X-MiXed: 1\r\n") && head.contains("Cookie: a=b\r\n"),
        "{head}"
    );
    for gone in ["x-hop", "te", "connection"] {
        assert!(lines(head, gone).is_empty(), "{head}");
    }
    for (name, value) in [
        ("for", "127.0.0.1"),
        ("proto", "http"),
        ("host", "chat.example:81"),
    ] {
        let found = lines(head, &format!("x-forwarded-{name}"));
        assert!(
            found.len() == 1 && found[0].ends_with(&format!(": {value}")),
            "{head}"
        );
    }
}

#[tokio::test]
async fn what_is_served_here_does_not_reach_the_upstream() {
    let upstream = Upstream::echo().await;
    let server = upstream.gateway(&[]).await;
    let id = server.conversation().await;
    assert!(server.contents(&id).await.is_empty());
    server.socket(&id).await.works().await;
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/api/chat/conversations").await.status, 301);
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn an_answer_comes_back_as_it_was_given() {
    let upstream = Upstream::answering(
        "HTTP/1.1 418 Short And Stout\r\nContent-Type: text/x\r\nSet-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\nServer: daphne\r\nKeep-Alive: timeout=9\r\nConnection: X-Hop\r\n\
         X-Hop: 1\r\nContent-Length: 3\r\n\r\npot",
    )
    .await;
    let server = upstream.gateway(&[]).await;
    let answer = server.get("/").await;
    assert_eq!(answer.line, "HTTP/1.1 418 Short And Stout");
    assert_eq!(answer.text(), "pot");
    let cookies = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    assert_eq!(cookies.count(), 2);
    assert_eq!(answer.header("server"), Some("daphne"));
    for gone in ["keep-alive", "x-hop"] {
        assert_eq!(answer.header(gone), None);
    }
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    for (method, answer, length) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            Some("1234"),
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            None,
        ),
    ] {
        let upstream = Upstream::answering(answer).await;
        let server = upstream.gateway(&[]).await;
        let mut client = server.connect().await;
        // Again on the same connection: bytes too many would spoil what follows.
        let mut asked = 0;
        until("a connection to be used again", async || {
            client.send(request(method, "/", &[], None)).await;
            let head = client.head().await;
            assert!(answer.contains(&head.status.to_string()), "{head:?}");
            assert_eq!(head.header("content-length"), length, "{head:?}");
            asked += 1;
            upstream.accepted() < asked
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_streams_while_it_is_made() {
    let (send, receive) = mpsc::unbounded_channel::<&str>();
    let receive = std::sync::Arc::new(tokio::sync::Mutex::new(receive));
    let upstream = Upstream::start(move |mut call: Call| {
        let receive = std::sync::Arc::clone(&receive);
        async move {
            call.head().await;
            call.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n")
                .await;
            while let Some(text) = receive.lock().await.recv().await {
                call.write(format!("{:x}\r\n{text}\r\n", text.len())).await;
            }
            call.write("0\r\nX-T: dropped\r\n\r\n").await;
        }
    })
    .await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    client.send(request("GET", "/", &[], None)).await;
    assert_eq!(
        client.head().await.header("transfer-encoding"),
        Some("chunked")
    );
    for (text, chunk) in [("one", "3\r\none\r\n"), ("three", "5\r\nthree\r\n")] {
        send.send(text).unwrap();
        client.expect(chunk).await;
    }
    drop(send);
    client.expect("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_chunked_request_streams_up_and_the_answer_may_come_first() {
    let upstream = Upstream::start(|mut call: Call| async move {
        let head = call.head().await.unwrap();
        assert_eq!(lines(&head, "transfer-encoding").len(), 1, "{head}");
        assert!(lines(&head, "content-length").is_empty(), "{head}");
        assert!(lines(&head, "expect").is_empty(), "{head}");
        assert_eq!(call.exactly(8).await, b"3\r\none\r\n");
        call.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        let rest = call.exactly(15).await;
        assert_eq!(rest, b"5\r\nthree\r\n0\r\n\r\n");
    })
    .await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    client
        .send(
            "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status, 100);
    client.send("3\r\none\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn a_large_upload_is_not_kept_in_memory() {
    const SIZE: usize = 200 << 20;
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await.unwrap();
        let mut seen = call.buffer.len();
        while seen < SIZE {
            call.buffer.clear();
            assert!(call.more().await);
            seen += call.buffer.len();
        }
        call.answer(&seen.to_string()).await;
    })
    .await;
    let directory = crate::support::Directory::new();
    let setting = format!("gateway.upstream={}", upstream.url());
    let server = Process::start(&directory, &[&setting]).await;
    let mut client = server.connect().await;
    let before = server.resident_kib();
    client
        .send(format!(
            "PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
        ))
        .await;
    let part = vec![b'x'; 1 << 20];
    for _ in 0..SIZE / part.len() {
        client.send(&part).await;
    }
    assert_eq!(client.answer().await.text(), SIZE.to_string());
    let grown = server.resident_kib() - before;
    assert!(grown < 20_000, "{grown} KiB for {SIZE} bytes");
}

#[tokio::test]
async fn connections_to_the_upstream_are_used_again() {
    let upstream = Upstream::echo().await;
    let server = upstream.gateway(&[]).await;
    // One that rested for seconds is not: a busy machine may take more than one.
    let mut asked = 0;
    until("a connection to be used again", async || {
        assert_eq!(server.get("/").await.status, 200);
        asked += 1;
        upstream.accepted() < asked
    })
    .await;
}

#[tokio::test]
async fn a_kept_connection_that_died_costs_a_read_nothing() {
    // One answer, then the next request is read and the connection closed under it.
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await;
        call.answer("first").await;
        call.head().await;
    })
    .await;
    let server = upstream.gateway(&[]).await;
    assert_eq!(server.get("/").await.text(), "first");
    assert_eq!(server.get("/").await.text(), "first");
    assert_eq!(upstream.accepted(), 2);
    // What may have been done must not be done twice. On a busy machine the connection may have
    // rested for too long to be used.
    until("a kept connection to be used", async || {
        assert_eq!(server.get("/").await.text(), "first");
        let before = upstream.accepted();
        let status = server.post("/", serde_json::json!({})).await.status;
        let was_kept = upstream.accepted() == before;
        assert_eq!(status, if was_kept { 502 } else { 200 });
        was_kept
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502() {
    let nobody = Port::claim();
    let url = format!("http://127.0.0.1:{}", nobody.number);
    let server = Server::with(&[("gateway.upstream", &url)]).await;
    let answer = server.get("/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be reached")
    );
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_client_is_not_asked_for_its_body_when_nobody_is_there_to_take_it() {
    let nobody = Port::claim();
    let url = format!("http://127.0.0.1:{}", nobody.number);
    let server = Server::with(&[("gateway.upstream", &url)]).await;
    let head = "PUT /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(server.send(head).await.status, 502);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_504() {
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await;
        // Until the gateway gives up.
        while call.more().await {}
    })
    .await;
    let server = upstream
        .gateway(&[("gateway.response_timeout_s", "1")])
        .await;
    let began = Instant::now();
    let answer = server.get("/").await;
    assert_eq!(answer.status, 504);
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("too long")
    );
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_slow_client_is_a_408_and_not_the_upstream_s_fault() {
    let upstream = Upstream::echo_after_body(9).await;
    let server = upstream
        .gateway(&[("gateway.response_timeout_s", "1")])
        .await;
    let mut client = server.connect().await;
    let head = "PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    assert_eq!(client.ask(head).await.status, 408);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = Upstream::start(move |mut call: Call| async move {
            call.head().await;
            call.write(answer).await;
        })
        .await;
        let server = upstream.gateway(&[]).await;
        let mut client = server.connect().await;
        client.send(request("GET", "/", &[], None)).await;
        assert_eq!(client.head().await.status, 200);
        let rest = client.rest().await;
        assert!(
            rest.ends_with("half") || rest.ends_with("half\r\n"),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_stops_coming_breaks_off() {
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await;
        call.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            .await;
        // Until the gateway gives up.
        while call.more().await {}
    })
    .await;
    let server = upstream.gateway(&[("gateway.idle_timeout_s", "1")]).await;
    let mut client = server.connect().await;
    client.send(request("GET", "/", &[], None)).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.rest().await, "half");
    let metric = "chatferry_gateway_failures_total{kind=\"idle\"}";
    assert!((server.metric(metric).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn garbage_instead_of_an_answer_is_a_502() {
    let upstream = Upstream::answering("SSH-2.0-OpenSSH\r\n").await;
    let server = upstream.gateway(&[]).await;
    assert_eq!(server.get("/").await.status, 502);
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole() {
    let upstream = Upstream::start(|mut call: Call| async move {
        call.head().await;
        call.write("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    })
    .await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    client.send(request("GET", "/", &[], None)).await;
    assert_eq!(client.head().await.line, "HTTP/1.1 200 OK");
    client.expect("A\r\nto the end\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |mut call: Call| {
        let tell = tell.clone();
        async move {
            call.head().await;
            tell.send("it is here").unwrap();
            while call.more().await {}
            tell.send("it is gone").unwrap();
        }
    })
    .await;
    let server = upstream.gateway(&[]).await;
    let mut client = server.connect().await;
    client.send(request("GET", "/slow", &[], None)).await;
    let here = soon("the request", told.recv()).await;
    assert_eq!(here, Some("it is here"));
    drop(client);
    let gone = soon("the end of the request", told.recv()).await;
    assert_eq!(gone, Some("it is gone"));
}

#[tokio::test]
async fn a_client_of_the_old_version_gets_an_answer_it_can_read() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    )
    .await;
    let server = upstream.gateway(&[]).await;
    let answer = server.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.text(), "hi");
}

#[tokio::test]
async fn the_metrics_tell_what_was_passed_on() {
    let upstream = Upstream::echo().await;
    let settings = [
        ("gateway.rollout_percent", "0"),
        ("gateway.shadow_percent", "7"),
    ];
    let server = upstream.gateway(&settings).await;
    server.get("/").await;
    server.get("/api/chat/users/alice/conversations/").await;
    for (metric, value) in [
        ("requests_total{class=\"2xx\"}", 2.0),
        ("request_seconds_count{route=\"django\"}", 1.0),
        ("request_seconds_count{route=\"user_conversations\"}", 1.0),
        ("rollout_percent", 0.0),
        ("shadow_percent", 7.0),
    ] {
        let metric = format!("chatferry_gateway_{metric}");
        until(&metric, async || server.metric(&metric).await == value).await;
    }
}
