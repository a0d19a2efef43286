//! Requests that ask for every rule.

use chatferry::config::Generation;
use serde_json::{Value, json};

use super::ROOM;

/// A request: method, path, headers with their line ends, body.
pub type Asked = (&'static str, String, String, Vec<u8>);

fn asked(method: &'static str, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Asked {
    let body = body.as_ref().to_vec();
    (method, path.to_owned(), headers.to_owned(), body)
}

const JSON: &str = "Content-Type: application/json\r\n";
const MEMBER: &str = "Authorization: Bearer u1\r\n";

/// Fields of the body of `/typed` that may be anything.
const FIELDS: [&str; 11] = [
    "text", "count", "bounded", "ratio", "flag", "uid", "mail", "time", "word", "numbers", "texts",
];

/// Parameters of `/coerce`.
const PARAMETERS: [&str; 8] = ["b", "i", "f", "l", "e", "d", "xs", "xs=1&xs"];

/// Requests that ask for every rule. The values that come out of fields are the same in all
/// generations: only one is asked for each of them alone.
pub fn requests(generation: Generation) -> Vec<Asked> {
    let mut all = ways();
    all.extend(bodies());
    all.extend(callers());
    all.extend(shapes());
    for value in values() {
        let mut whole = json!({"required": value});
        for field in FIELDS {
            whole[field] = value.clone();
            let alone = json!({"required": 1, field: value});
            if generation == Generation::V0_127 {
                all.push(asked("POST", "/typed", JSON, alone.to_string()));
            }
        }
        all.push(asked("POST", "/typed", JSON, whole.to_string()));
        // A longer head is refused before it is read.
        let Some(text) = value.as_str().filter(|text| text.len() < 1000) else {
            continue;
        };
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let pairs: Vec<_> = PARAMETERS.map(|name| format!("{name}={text}")).into();
        all.push(asked(
            "GET",
            &format!("/coerce?{}", pairs.join("&")),
            "",
            "",
        ));
        if generation == Generation::V0_127 {
            all.extend(
                pairs
                    .iter()
                    .map(|pair| asked("GET", &format!("/coerce?{pair}"), "", "")),
            );
        }
        let path = format!("/matching/chats/{}/messages", text.replace('+', "%20"));
        all.push(asked("GET", &path, MEMBER, ""));
    }
    for address in ADDRESSES {
        let body = json!({"required": 1, "mail": address}).to_string();
        all.push(asked("POST", "/typed", JSON, body));
    }
    all
}

/// Methods and paths.
fn ways() -> Vec<Asked> {
    let mut all = Vec::new();
    let origin = "Origin: https://chat.example\r\n";
    let other = "Origin: https://other.example\r\nCookie: a=b\r\n";
    let preflight = |origin: &str, method: &str| {
        format!(
            "{origin}Access-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: X-A, Authorization\r\n"
        )
    };
    for path in [
        "/",
        "//",
        "/nope",
        "/boom",
        "/boom/",
        "/boom//",
        "/http-dict?a=b",
        "/http-dict/?a=b%20c&d",
        "/items/5",
        "/items/5?q=%ED%95%9C",
        "/items/a%20b%22%3Cc%3E",
        "/items//",
        "/items/5/",
        "/items/x/",
        "/items/0/",
        "/strict",
        "/oauth",
        "/matching/chats/x/messages",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"] {
            all.push(asked(method, path, "", ""));
        }
        for headers in [origin, other] {
            all.push(asked("GET", path, headers, ""));
            all.push(asked("OPTIONS", path, headers, ""));
        }
        if !["/boom", "/nope"].contains(&path) {
            continue;
        }
        for method in ["GET", "POST", "PATCH", "QUERY", "TRACE", "junk", "post"] {
            for origin in ["", origin, other] {
                all.push(asked("OPTIONS", path, &preflight(origin, method), ""));
            }
        }
    }
    all
}

/// Bodies of every kind and content type.
fn bodies() -> Vec<Asked> {
    let messages = format!("/matching/chats/{ROOM}/messages");
    let mut all = Vec::new();
    let texts: [&[u8]; 28] = [
        b"",
        b" ",
        b"null",
        b"{}",
        b"[]",
        b"[1, null]",
        b"5",
        b"\"x\"",
        b"true",
        b"{\"content\":\"x\"}",
        b"\xef\xbb\xbf{\"content\":\"x\"}",
        b"{\"content\":\"x\",}",
        b"{\"content\":",
        b"{\"content\"",
        b"{\"content\":\"x\"",
        b"{\"content\":\"x\"} x",
        b"{'content':'x'}",
        b"{\"content\":\"\xff\"}",
        b"{\"content\":\"\\x\"}",
        b"{\"content\":\"\\u12\"}",
        b"{\"content\":\"a\nb\"}",
        b"{\"content\":\"a\\u0000\\u2028\\u007f\"}",
        "{\"content\":\"\u{2028}\u{7f}\u{1F44B}\"}".as_bytes(),
        "{\"content\":\"한글\",".as_bytes(),
        b"{\"content\":1e5}",
        b"{\"content\":123456789012345678901234567890123456789012345}",
        b"{\"content\":\"x\",\"content\":5}",
        b"{\"content\":\"x\",\"message_type\":null,\"attachments\":[null]}",
    ];
    for text in texts {
        for content_type in [
            "",
            "Content-Type: application/json\r\n",
            "Content-Type: APPLICATION/JSON ; charset=utf-8\r\n",
            "Content-Type: application/vnd.api+json\r\n",
            "Content-Type: application/json/x\r\n",
            "Content-Type: application/\r\n",
            "Content-Type: text/plain\r\n",
            "Content-Type: json\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n",
        ] {
            // Undecodable bytes that are no JSON cannot be shown by FastAPI.
            if text.is_ascii() || std::str::from_utf8(text).is_ok() || content_type == JSON {
                let headers = format!("{MEMBER}{content_type}");
                all.push(asked("POST", &messages, &headers, text));
            }
        }
    }
    all
}

/// Objects in objects, and forms.
fn shapes() -> Vec<Asked> {
    let mut all = vec![asked("GET", "/dates", "", "")];
    let address = [
        "{}",
        "null",
        "5",
        "[]",
        r#"{"street": ""}"#,
        r#"{"street": "a", "number": "x"}"#,
        r#"{"street": "a", "number": null, "more": 1}"#,
        r#"{"street": "a", "number": 5}"#,
    ];
    for one in address {
        for other in address {
            let body = format!(r#"{{"name": "n", "address": {one}, "others": [{other}, {one}]}}"#);
            all.push(asked("POST", "/people", JSON, body));
        }
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let with_charset = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";
    for body in [
        "",
        "username=alice&password=secret",
        "username=a&password=",
        "username=&password=x&scope=",
        "username=alice&username=bob&password=%ED%95%9C+b&scope=c",
        "password=x",
        "{\"username\": \"alice\"}",
    ] {
        for headers in ["", form, with_charset, JSON, "Content-Type: text/plain\r\n"] {
            all.push(asked("POST", "/login", headers, body));
        }
    }
    all
}

/// Tokens, and what is checked before what.
fn callers() -> Vec<Asked> {
    let mut all = Vec::new();
    let messages = format!("/matching/chats/{ROOM}/messages");
    for token in [
        "",
        "Bearer",
        "Bearer u1",
        "bearer u1",
        "BEARER u1",
        "Bearer  u1",
        "Bearer u2",
        "Bearer x",
        "Basic u1",
        "Basic",
        "u1",
        "Bearer u1 u1",
        "Bearer\tu1",
    ] {
        let header = format!("Authorization: {token}\r\n");
        for path in [
            "/strict",
            "/oauth",
            &messages,
            "/matching/chats/x/messages?limit=0",
        ] {
            all.push(asked("GET", path, &header, ""));
        }
        for body in ["{}", "{", "", "{\"content\":\"x\"}"] {
            let headers = format!("{header}{JSON}");
            all.push(asked("POST", &messages, &headers, body));
            all.push(asked("POST", "/matching/chats/x/messages", &headers, body));
        }
    }
    for (path, count) in [("5", "7"), ("x", "y"), ("0", "")] {
        for query in ["", "?q=", "?q=a", "?q=ab", "?q=ab&q=c", "?Q=ab"] {
            for body in ["{}", "{\"last_read_message_id\":\"x\"}", "null"] {
                let headers = format!("{JSON}X-Count: {count}\r\n");
                let path = format!("/items/{path}/{query}");
                all.push(asked("POST", &path, &headers, body));
                all.push(asked("POST", &path, JSON, body));
            }
        }
    }
    all
}

/// Values for every kind of field.
fn values() -> Vec<Value> {
    let mut all: Vec<Value> = serde_json::from_str(VALUES).unwrap();
    all.push("9".repeat(4300).into());
    all.push("9".repeat(4301).into());
    all.push("가".repeat(4).into());
    all.push("👋".repeat(5).into());
    all
}

const VALUES: &str = r#"[null, true, false, 0, 1, 2, -1, 5, 100, 101, 1180591620717411303424, 1.0, 1.5, -0.0, 1e20,
    "", " ", "a", "ab", "abcd", "abcde", "5", " 5 ", "+5", "-5", "--5", "5.0", "5.", ".5x", "5.5", "1_000", "1__0", "_1",
    "1_", "0x10", "05", "-0", "1e3x", "½", "99999999999", "inf_", "true", "TRUE", "t", "Yes", "n", "off", "On", "2", "null",
    "990e8400-e29b-41d4-a716-446655440000", "990E8400E29B41D4A716446655440000", "{990e8400-e29b-41d4-a716-446655440000}",
    "urn:uuid:990e8400-e29b-41d4-a716-446655440000", "URN:UUID:990e8400-e29b-41d4-a716-446655440000",
    "{990e8400e29b41d4a716446655440000}", "990e8400-e29b-41d4-a716-44665544000", "990e8400-e29b-41d4a716-446655440000",
    "990e840-0e29b-41d4-a716-446655440000", "{", "-", "----", "g", "aé", "urn:uuid:", "urn:uuid:x",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "gggggggggggggggggggggggggggggggggggggggggggggg",
    "2025-12-12", "2025-12-12T14:00:00Z", "2025-12-12 14:00", "2025-12-12T14:00:00.1", "2025-12-12T14:00:00.123456789Z",
    "2025-12-12T14:00:00+09:00", "2025-12-12T14:00:00-0330", "2025-12-12T14", "2025-12-12T25:00", "2025-13-12",
    "2025-02-30", "2025-1-1", "2025/12/12", "x025-12-12", "2025-12-12x", "1702389600", "1702389600000", "1702389600.5",
    "0000-01-01", "2025-12-12_14:00:00", "2025-12-12T14:00:60", "b", "d", "1,2", "a@b.com", "A@B.Com",
    [], [1], [1, 2, 3], [1, 2, 3, 4], ["1"], ["x", "y"], [1, 2, 3, "x"], [null], [[1]], ["abcd"], ["abc", "abcd"], {},
    {"a": 1}, [true], [1.5]]"#;

const ADDRESSES: &[&str] = &[
    "A.b@EXAMPLE.com",
    "a@b.test",
    "a@x.LOCAL",
    "a@localhost",
    "a b@c.com",
    "\"q\"@c.com",
    "a@пример.рф",
    "ü@c.com",
    " a@c.com ",
    "Name <a@c.com>",
    "a@@c.com",
    "@c.com",
    "a@c..com",
    ".a@c.com",
    "a.@c.com",
    "a..b@c.com",
    "a@.c.com",
    "a@c.com.",
    "a@-c.com",
    "a@c-.com",
    "a@c.com-",
    "a",
    "",
    "@",
    "a@",
    "a@b.1",
    "a@1.2.3.4",
    "a@[1.2.3.4]",
    "a@[IPv6:::1]",
    "a@[x]",
    "<a@c.com>",
    "<a@c.com",
    "a@c.com>",
    "Bad:Name <a@c.com>",
    "Bad.Name <a@c.com>",
    "\"Quoted \\\" Name\" <a@c.com>",
    "\"a\\\"b\"@c.com",
    "\"unterminated@c.com",
    "\"a\"b@c.com",
    "a@c.com\n",
    "a\n@c.com",
    "a\t@c.com",
    "a\u{a0}b@c.com",
    "a@c\u{200b}d.com",
    "a@ex_ample.com",
    "a@ab--cd.com",
    "a@xn--e1afmkfd.xn--p1ai",
    "a@xn--zzzzzz.com",
    "INFO@C.com",
    "e\u{301}@c.com",
    "\u{301}a@c.com",
    "a@ｃ.com",
    "a＠c.com",
    "a﹫c.com",
    "a@c。com",
    "a@faß.de",
    "a@א.com",
    "!#$%&'*+-/=?^_`{|}~@c.com",
    "a(b)@c.com",
    "a\\b@c.com",
    "a'b@c.com",
    "a<b>@c.com",
    "a@c.com b",
    "x <a@c.com> y",
    "<<a@c.com>>",
    "x <a@c.com><b@c.com>",
    "a@x.arpa",
    "a@x.onion",
    "a\u{0}@c.com",
    "👋@c.com",
    "a@👋.com",
    "a@\"c\".com",
    "a@c.a1",
];
