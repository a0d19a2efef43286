//! What browsers are told: who may read an answer, and what our pages may do.

use crate::support::{Answer, Server, request};

const LISTED: &str = "https://chat.example";

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.send(request(method, path, headers, None)).await
}

fn preflight(origin: &str) -> [(&str, &str); 3] {
    [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ]
}

#[tokio::test]
async fn without_the_setting_no_answer_speaks_of_origins() {
    let server = Server::start().await;
    let path = "/api/chat/users/alice/conversations/";
    let answer = ask(&server, "GET", path, &[("Origin", LISTED)]).await;
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.starts_with("access-control")));
    assert_eq!(answer.header("vary"), Some("Accept, Cookie"));
    let options = ask(&server, "OPTIONS", path, &preflight(LISTED)).await;
    assert!(options.json()["name"].is_string(), "the view's own answer");
}

#[tokio::test]
async fn a_listed_origin_may_ask_first_and_then_read() {
    let server = Server::with(&[("cors.allowed_origins", LISTED)]).await;
    let path = "/api/chat/conversations/";
    let asked = ask(&server, "OPTIONS", path, &preflight(LISTED)).await;
    assert_eq!((asked.status, asked.text()), (200, ""));
    for (name, value) in [
        ("access-control-allow-origin", LISTED),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "86400"),
        ("vary", "Origin"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{asked:?}");
    }
    let methods = asked.header("access-control-allow-methods").unwrap();
    let headers = asked.header("access-control-allow-headers").unwrap();
    assert!(methods.contains("POST") && headers.contains("content-type"));
    for path in [
        path,
        "/api/chat/nothing/",
        "/api/chat/users/a/conversations/",
    ] {
        let answer = ask(&server, "GET", path, &[("Origin", LISTED)]).await;
        let origin = answer.header("access-control-allow-origin");
        assert_eq!(origin, Some(LISTED), "{answer:?}");
        assert!(
            answer.header("vary").unwrap().ends_with("Origin"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn any_other_origin_is_told_nothing() {
    let server = Server::with(&[("cors.allowed_origins", LISTED)]).await;
    let path = "/api/chat/users/a/conversations/";
    for origin in [
        "https://chat.example.evil.example",
        "http://chat.example",
        "null",
    ] {
        let asked = ask(&server, "OPTIONS", path, &preflight(origin)).await;
        let answer = ask(&server, "GET", path, &[("Origin", origin)]).await;
        for answer in [asked, answer] {
            let names: Vec<_> = answer.headers.iter().map(|(name, _)| name).collect();
            assert!(!names.iter().any(|name| name.starts_with("access-control")));
            assert!(
                answer.header("vary").unwrap().ends_with("Origin"),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_can_read_that_it_asks_too_much() {
    let flags = [
        ("cors.allowed_origins", LISTED),
        ("limits.address.requests", "1/day"),
    ];
    let server = Server::with(&flags).await;
    let path = "/api/chat/users/a/conversations/";
    ask(&server, "GET", path, &[]).await;
    let answer = ask(&server, "GET", path, &[("Origin", LISTED)]).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED));
    let exposed = answer.header("access-control-expose-headers");
    assert_eq!(exposed, Some("Retry-After"));
}

#[tokio::test]
async fn every_page_and_answer_has_the_headers_of_djangos_security_middleware() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let paths = [
        "/api/chat/".to_owned(),
        "/nothing/".to_owned(),
        "/api/chat/conversations".to_owned(),
        format!("/api/chat/conversations/{id}/"),
        "/api/chat/conversations/00000000-0000-4000-8000-000000000000/".to_owned(),
        "/healthz".to_owned(),
        "/metrics".to_owned(),
    ];
    for path in paths {
        let answer = server.get(&path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {answer:?}");
        }
    }
}

#[tokio::test]
async fn our_pages_say_what_they_need_and_nothing_else_is_run() {
    let server = Server::start().await;
    let page = server.get("/api/chat/").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'nonce-"),
        "{policy}"
    );
    let nonce = policy
        .split('\'')
        .nth(3)
        .unwrap()
        .strip_prefix("nonce-")
        .unwrap();
    assert!(
        page.text()
            .contains(&format!("<script nonce=\"{nonce}\" type=\"module\">"))
    );
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    let again = server.get("/api/chat/").await;
    assert!(!again.text().contains(nonce), "a new number each time");

    let path = "/api/chat/users/a/conversations/";
    let readable = ask(&server, "GET", path, &[("Accept", "text/html")]).await;
    let policy = readable.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("nonce"));
    assert!(!readable.text().contains("style"), "it would have none");
}
