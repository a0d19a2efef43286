//! Which headers reach the upstream, and in which form of the request.

use super::upstream::Upstream;
use crate::support::{Server, socket::handshake};

/// What proxies say of clients, and what some servers believe of it.
const OF_CLIENT: [&str; 20] = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "X-Forwarded-Prefix",
    "X-Real-IP",
    "X-Client-IP",
    "Remote-User",
    "Remote-Addr",
    "X-Remote-User",
    "CF-Connecting-IP",
    // Of RFC 9440, and of clouds that say who has signed in.
    "Client-Cert-Chain",
    "X-Amzn-Oidc-Identity",
    "X-Appengine-User-Email",
    "X-Goog-Iap-Email",
    "X-Ms-Client-Principal-Name",
    "X-Originating-IP",
];
const OF_PATH: [&str; 6] = [
    "Daphne-Root-Path",
    "Script-Name",
    "Path-Info",
    "X-Script-Name",
    "X-Original-URL",
    "X-Rewrite-URL",
];
/// No header of ours has it.
const CLAIM: &str = "claimed.example";

/// A name with each of its dashes as it is and as `_`, in three letter cases.
fn spellings(name: &str) -> Vec<String> {
    let dashes = name.matches('-').count();
    let mut found = Vec::new();
    for chosen in 0..1_u32 << dashes {
        let mut number = 0;
        let spelled: String = name
            .chars()
            .map(|letter| {
                if letter != '-' {
                    return letter;
                }
                number += 1;
                if chosen >> (number - 1) & 1 == 1 {
                    '_'
                } else {
                    '-'
                }
            })
            .collect();
        found.extend([spelled.to_uppercase(), spelled.to_lowercase(), spelled]);
    }
    found
}

/// The spellings of these names that reach the upstream.
async fn passed(server: &Server, names: &[&str]) -> Vec<String> {
    let mut passed = Vec::new();
    for name in names.iter().flat_map(|name| spellings(name)) {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: {CLAIM}\r\n\r\n");
        let socket = handshake("/ws/other/", &format!("{name}: {CLAIM}\r\n"));
        let is_passed = server.send(head).await.text().contains(CLAIM);
        assert_eq!(
            server.send(socket).await.text().contains(CLAIM),
            is_passed,
            "{name}"
        );
        if is_passed {
            passed.push(name);
        }
    }
    passed
}

#[tokio::test]
async fn no_spelling_of_what_proxies_say_is_passed_on_for_a_stranger() {
    let upstream = Upstream::echo().await;
    // Not for a peer on this machine either: it is not named.
    let server = upstream.gateway(&[]).await;
    let all = [&OF_CLIENT[..], &OF_PATH].concat();
    assert_eq!(passed(&server, &all).await, [""; 0]);
}

#[tokio::test]
async fn what_a_proxy_that_is_named_says_of_clients_is_passed_on_and_no_underscore() {
    let upstream = Upstream::echo().await;
    for settings in [
        [("server.trusted_proxies", "127.0.0.1")],
        [("gateway.trust_forwarded", "true")],
    ] {
        let server = upstream.gateway(&settings).await;
        let passed = passed(&server, &OF_CLIENT).await;
        assert!(passed.iter().all(|name| !name.contains('_')), "{passed:?}");
        assert_eq!(passed.len(), OF_CLIENT.len() * 3, "{passed:?}");
    }
}

#[tokio::test]
async fn what_moves_a_path_is_not_passed_on_for_a_proxy_that_is_named_either() {
    let upstream = Upstream::echo().await;
    let settings = [
        ("server.trusted_proxies", "127.0.0.1"),
        ("gateway.trust_forwarded", "true"),
    ];
    let server = upstream.gateway(&settings).await;
    assert_eq!(passed(&server, &OF_PATH).await, [""; 0]);
}

#[tokio::test]
async fn an_address_with_scheme_and_host_is_passed_on_as_a_path_and_a_host() {
    let upstream = Upstream::echo().await;
    let server = upstream.gateway(&[]).await;
    for (target, line, host) in [
        (
            "http://b.example/x//y%2F?q",
            "GET /x//y%2F?q HTTP/1.1",
            "b.example",
        ),
        (
            "https://u:p@b.example:8443",
            "GET / HTTP/1.1",
            "b.example:8443",
        ),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nHost: c\r\n\r\n");
        let answer = server.send(head).await;
        assert_eq!(answer.text().lines().next(), Some(line));
        let hosts: Vec<_> = answer
            .text()
            .lines()
            .filter(|line| line.to_lowercase().starts_with("host:"))
            .map(|line| line[5..].trim())
            .collect();
        assert_eq!(hosts, [host], "{target}");
    }
}

#[tokio::test]
async fn odd_paths_that_cannot_be_ours_are_passed_on_to_the_byte() {
    let upstream = Upstream::echo().await;
    let server = upstream.gateway(&[]).await;
    for target in [
        "//static///a.js",
        "/static/a;v=1/b%2Fc",
        "/a/./b/../c",
        "/%252F%zz%",
        "/x%00y%C0%AF",
        "/a\\b?/../ws/chat/",
        "*",
    ] {
        let head = format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = server.send(head).await;
        let line = format!("OPTIONS {target} HTTP/1.1");
        assert_eq!(answer.text().lines().next(), Some(&*line));
    }
}
