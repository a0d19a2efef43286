//! Who serves what.

use hyper::{HeaderMap, Method};

use super::{
    decision::{Condition, Decision},
    *,
};
use crate::{
    dialect::django::routes::{Captured, ROWS, Resource},
    id::ConversationId,
    rollout::Side,
};

const LOW: &str = "95031212-7823-4748-bb78-b212d36b0000";
const HIGH: &str = "95031212-7823-4748-bb78-b212d36bffff";

const JWT: [(&str, &str); 3] = [
    ("auth.identity", "jwt"),
    ("auth.jwt.secret", "a secret of at least thirty-two bytes"),
    ("auth.jwt.algorithms", "HS256"),
];
const PARTICIPANTS: (&str, &str) = ("auth.policy", "participants");

fn conversation(id: ConversationId) -> Resource {
    let row = ROWS.iter().find(|row| row.label == "conversation").unwrap();
    let captured = Captured::Conversation(id);
    Resource { row, captured }
}

fn decide(settings: &[(&str, &str)], path: &str, upgrade: bool) -> Decision {
    let upstream = [
        ("gateway.upstream", "http://127.0.0.1:1"),
        ("gateway.rollout_percent", "100"),
    ];
    let config = Config::of(&[&upstream, settings].concat());
    let rollout = Rollout::of(&config);
    let gateway = Gateway::of(&config, rollout, &Arc::default());
    let gateway = gateway.unwrap().unwrap();
    let mut headers = HeaderMap::new();
    if upgrade {
        headers.insert("upgrade", "websocket".parse().unwrap());
    }
    gateway.decide(&Method::GET, &path.parse().unwrap(), &headers, &config)
}

fn side(percent: u8, path: &str, upgrade: bool) -> Side {
    let settings = [("gateway.rollout_percent", &*percent.to_string())];
    match decide(&settings, path, upgrade) {
        Decision::Here => Side::Here,
        Decision::Django(Condition::None) => Side::Django,
        Decision::Django(condition) => panic!("{path}: {condition:?}"),
    }
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
fn our_own_api_is_never_passed_on_and_is_there_only_if_it_is_set() {
    let own = ("native.api_prefix", "/api/v1/");
    for path in [
        "/api/v1/me",
        "/api/v1/nothing/",
        "//api/v1/me",
        "/api%2Fv1/me",
        "/x/../api/v1/me",
    ] {
        for settings in [&[own][..], &[own, ("gateway.rollout_percent", "0")]] {
            assert_eq!(decide(settings, path, false), Decision::Here, "{path}");
        }
    }
    assert_eq!(side(100, "/api/v1/me", false), Side::Django);
}

#[test]
fn without_an_upstream_there_is_no_gateway() {
    let config = Config::of(&[]);
    let rollout = Rollout::of(&config);
    assert!(rollout.is_none());
    let gateway = Gateway::of(&config, rollout, &Arc::default());
    assert!(gateway.unwrap().is_none());
}

#[test]
fn what_some_server_reads_as_ours_is_never_passed_on() {
    for settings in [&[][..], &JWT, &[("gateway.rollout_percent", "0")]] {
        for path in [
            &*format!("///ws/chat/{LOW}/"),
            &format!("/%2Fws/chat/{LOW}/"),
            &format!("http://x/ws/chat/{LOW}/"),
            &format!("/x/../ws/chat/{LOW}/"),
            &format!("http://x/api/chat/conversations/{LOW}/messages/"),
            &format!("//api/chat/conversations/{LOW}/messages/"),
            &format!("/api/chat/conversations/{LOW}/messages/?\u{e9}"),
            "/api/chat/users/%252e%252e/conversations/",
        ] {
            for upgrade in [false, true] {
                assert_eq!(decide(settings, path, upgrade), Decision::Here, "{path}");
            }
        }
    }
}

#[test]
fn an_upgrade_does_not_make_a_path_of_the_api_django_s() {
    let path = format!("/api/chat/conversations/{LOW}/messages/");
    assert_eq!(decide(&JWT, &path, true), Decision::Here);
    assert_eq!(decide(&[], &path, true), Decision::Here);
}

#[test]
fn what_django_serves_of_the_chat_is_passed_on_with_the_policy() {
    let none = ("gateway.rollout_percent", "0");
    let guarded = [&JWT[..], &[PARTICIPANTS, none]].concat();
    let id = LOW.parse().unwrap();
    let socket = format!("/ws/chat/{LOW}/");
    let detail = format!("/api/chat/conversations/{LOW}/");
    for (path, upgrade, condition) in [
        (&*socket, true, Condition::Socket(id)),
        (&detail, false, Condition::Api(conversation(id))),
        (&detail, true, Condition::Api(conversation(id))),
        ("/admin/", false, Condition::None),
        ("/ws/other/", true, Condition::None),
    ] {
        let decision = decide(&guarded, path, upgrade);
        assert_eq!(decision, Decision::Django(condition), "{path}");
    }
    // Not even these are a way to Django's views.
    for path in ["/api/chat/", "/api/chat/x/", &socket] {
        assert_eq!(decide(&guarded, path, false), Decision::Here, "{path}");
    }
    assert_eq!(decide(&guarded, "/ws/chat/x/", true), Decision::Here);
    let origins = [("ws.allowed_origins", "https://a.example"), none];
    let condition = Condition::Socket(id);
    assert_eq!(decide(&origins, &socket, true), Decision::Django(condition));
}

#[test]
fn below_our_prefixes_a_policy_passes_on_what_is_named_and_to_callers_who_are_known() {
    let known = Decision::Django(Condition::Known);
    assert_eq!(decide(&JWT, "/api/chat/x/", false), known);
    for (allow, path, expected) in [
        ("/api/chat/files/", "/api/chat/files/a", &known),
        ("/api/chat/files/", "/api/chat/x/", &Decision::Here),
        ("/api/chat/,/", "/api/chat/files/a", &Decision::Here),
        ("/ws/chat/live/", "/ws/chat/live/", &known),
    ] {
        let settings = [&JWT[..], &[PARTICIPANTS, ("gateway.allow", allow)]].concat();
        assert_eq!(&decide(&settings, path, false), expected, "{allow}: {path}");
    }
}

#[test]
fn a_list_of_what_may_be_passed_on_leaves_the_rest_here() {
    let settings = [("gateway.allow", "/admin/,/static/")];
    for path in ["/admin/", "/admin", "/static/a%2Fb.js", "http://x/admin/"] {
        let decision = decide(&settings, path, false);
        assert_eq!(decision, Decision::Django(Condition::None), "{path}");
    }
    for path in ["/", "/other/", "/admin/../other/", "/ADMIN/", "/docs"] {
        assert_eq!(decide(&settings, path, false), Decision::Here, "{path}");
    }
    // A share of the chat is Django's all the same.
    let settings = [settings[0], ("gateway.rollout_percent", "0")];
    let detail = format!("/api/chat/conversations/{LOW}/");
    assert_eq!(
        decide(&settings, &detail, false),
        Decision::Django(Condition::None)
    );
}
