//! Who serves what.

use super::*;

const LOW: &str = "95031212-7823-4748-bb78-b212d36b0000";
const HIGH: &str = "95031212-7823-4748-bb78-b212d36bffff";

fn side(percent: u8, path: &str, upgrade: bool) -> Side {
    let config = Config::of(&[
        ("gateway.upstream", "http://127.0.0.1:1"),
        ("gateway.rollout_percent", &percent.to_string()),
    ]);
    let gateway = Gateway::of(&config, &Arc::default()).unwrap().unwrap();
    let mut headers = HeaderMap::new();
    if upgrade {
        headers.insert("upgrade", "websocket".parse().unwrap());
    }
    gateway.side(&Method::GET, &path.parse().unwrap(), &headers, &config)
}

#[test]
fn a_conversation_is_on_one_side_by_rest_and_by_socket() {
    for (id, expected) in [(LOW, Side::Here), (HIGH, Side::Django)] {
        for path in ["", "/", "/messages/", "/messages", "/messages/send/"] {
            let path = format!("/api/chat/conversations/{id}{path}");
            assert_eq!(side(50, &path, false), expected, "{path}");
        }
        assert_eq!(side(50, &format!("/ws/chat/{id}/"), true), expected);
    }
}

#[test]
fn at_0_django_serves_all_of_the_chat_and_at_100_none() {
    for (percent, expected) in [(0, Side::Django), (100, Side::Here)] {
        for id in [LOW, HIGH] {
            assert_eq!(side(percent, &format!("/ws/chat/{id}/"), true), expected);
            let read = format!("/api/chat/messages/{id}/read/");
            assert_eq!(side(percent, &read, false), expected);
        }
        for path in [
            "/api/chat/conversations/",
            "/api/chat/users/a/conversations/",
        ] {
            assert_eq!(side(percent, path, false), expected);
        }
    }
}

#[test]
fn what_is_not_the_chat_is_django_s_and_what_operators_ask_is_ours() {
    for percent in [0, 50, 100] {
        for path in [
            "/",
            "/admin/",
            "/api/chat/",
            "/docs",
            "/openapi.json",
            "/static/a.js",
            "/api/chat/x/",
            "http://a/metrics",
        ] {
            assert_eq!(side(percent, path, false), Side::Django, "{path}");
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(side(percent, path, false), Side::Here, "{path}");
        }
        assert_eq!(side(percent, "/ws/other/", true), Side::Django);
        // A socket's path without an upgrade is no path of ours.
        assert_eq!(
            side(percent, &format!("/ws/chat/{LOW}/"), false),
            Side::Django
        );
    }
}

#[test]
fn without_an_upstream_there_is_no_gateway() {
    let config = Config::of(&[]);
    assert!(Gateway::of(&config, &Arc::default()).unwrap().is_none());
}
