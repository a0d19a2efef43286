//! Tokens: where they may stand, and which are good.

use chatferry::server::Site;
use ring::hmac;
use serde_json::{Value, json};

use super::{
    token::{BY_SECRET, Key, SECRET, bearer, claims, now, token_of},
    wire::Caller,
};
use crate::support::{
    Answer, Directory, Server, Socket, request,
    server::config,
    socket::{handshake, path_of},
};

const LIST: &str = "/api/chat/users/alice/conversations/";

async fn asked(server: &Server, token: &str) -> Answer {
    let header = format!("Bearer {token}");
    let bytes = request("GET", LIST, &[("Authorization", &header)], None);
    server.send(bytes).await
}

/// A server that knows callers by tokens of this key.
async fn server_of(key: &Key) -> Server {
    let directory = std::sync::Arc::new(Directory::new());
    let file = directory.path().join("key.pem");
    std::fs::write(&file, key.pem()).unwrap();
    let file = file.display().to_string();
    let settings = [
        ("auth.identity", "jwt"),
        ("auth.jwt.public_key_file", file.as_str()),
        ("auth.jwt.algorithms", key.algorithm()),
    ];
    Server::on(directory, &settings).await
}

#[tokio::test]
async fn without_a_token_nobody_is_served() {
    let server = Server::with(&BY_SECRET).await;
    let answer = server.get(LIST).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"api\"")
    );
    assert_eq!(
        answer.text(),
        r#"{"detail":"Authentication credentials were not provided."}"#
    );
    assert_eq!(answer.header("vary"), Some("Accept, Cookie"));
    let unknown = server.get("/nope/").await;
    assert_eq!(unknown.status, 404, "what is not the chat's is not guarded");
    for path in ["/healthz", "/readyz", "/metrics", "/api/chat/"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(
        server
            .metric("chatferry_auth_denied_total{why=\"anonymous\"}")
            .await,
        1.0
    );
    let known = "chatferry_auth_admitted_total{identity=\"jwt\"}";
    assert_eq!(server.metric(known).await, 0.0);
    let authorization = format!("Bearer {}", token_of("alice"));
    let headers = [("Authorization", &*authorization)];
    let answer = server.send(request("GET", LIST, &headers, None)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.metric(known).await, 1.0);
}

#[tokio::test]
async fn a_token_may_stand_in_each_of_its_places_and_the_first_counts() {
    let cookie = [("auth.jwt.cookie", "jwt")];
    let server = Server::with(&[&BY_SECRET[..], &cookie].concat()).await;
    let (good, bad) = (token_of("alice"), "a.b.c");
    let ask = async |query: &str, headers: &[(&str, String)]| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let bytes = request("GET", &format!("{LIST}{query}"), &headers, None);
        server.send(bytes).await.status
    };
    let header = |token: &str| ("Authorization", format!("Bearer {token}"));
    let cookie = |token: &str| ("Cookie", format!("a=b; jwt={token}"));
    assert_eq!(ask("", &[header(&good)]).await, 200);
    assert_eq!(ask(&format!("?token={good}"), &[]).await, 200);
    assert_eq!(ask("", &[cookie(&good)]).await, 200);
    assert_eq!(ask("", &[header(bad), cookie(&good)]).await, 401);
    assert_eq!(ask("", &[header(&good), cookie(bad)]).await, 200);
    assert_eq!(ask(&format!("?token={bad}"), &[cookie(&good)]).await, 401);
    assert_eq!(ask("?token=", &[]).await, 401);

    let off = [("auth.jwt.query", "")];
    let server = Server::with(&[&BY_SECRET[..], &off].concat()).await;
    assert_eq!(
        server.get(&format!("{LIST}?token={good}")).await.status,
        401
    );
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_a_token_in_a_cookie() {
    let cookie = [("auth.jwt.cookie", "jwt")];
    let server = Server::with(&[&BY_SECRET[..], &cookie].concat()).await;
    let cookie = format!("jwt={}", token_of("alice"));
    let body = json!({"participant1_id": "alice", "participant2_id": "bob"});
    let create = async |name: &str, value: &str| {
        let headers = [("Cookie", cookie.as_str()), (name, value)];
        let bytes = request("POST", "/api/chat/conversations/", &headers, Some(&body));
        server.send(bytes).await
    };
    assert_eq!(create("Origin", "http://localhost").await.status, 201);
    assert_eq!(create("Sec-Fetch-Site", "same-origin").await.status, 200);
    let forged = create("Origin", "https://evil.example").await;
    assert_eq!(forged.status, 403);
    assert!(
        forged
            .text()
            .contains("CSRF Failed: Origin checking failed")
    );
    assert_eq!(create("Sec-Fetch-Site", "cross-site").await.status, 403);
    let token = bearer("alice");
    let headers = [
        ("Authorization", token.as_str()),
        ("Origin", "https://evil.example"),
    ];
    let bytes = request("POST", "/api/chat/conversations/", &headers, Some(&body));
    let shown = server.send(bytes).await;
    assert_eq!(shown.status, 200, "no page of another site knows the token");

    let id = shown.json()["id"].as_str().unwrap().to_owned();
    let open = async |origin: &str| {
        let headers = format!("Cookie: {cookie}\r\nOrigin: {origin}\r\n");
        server.send(handshake(&path_of(&id), &headers)).await.status
    };
    assert_eq!(open("http://localhost").await, 101);
    assert_eq!(open("https://localhost").await, 101, "behind a TLS proxy");
    assert_eq!(open("https://evil.example").await, 403);
}

#[tokio::test]
async fn every_algorithm_reads_what_its_key_signed_and_nothing_else() {
    let shared = Server::with(&BY_SECRET).await;
    for (hash, name) in [
        (hmac::HMAC_SHA256, "HS256"),
        (hmac::HMAC_SHA384, "HS384"),
        (hmac::HMAC_SHA512, "HS512"),
    ] {
        let key = Key::Hmac(hash, name, SECRET.to_owned());
        let token = key.token(&claims("alice"));
        assert_eq!(asked(&shared, &token).await.status, 200, "{name}");
        let other = Key::Hmac(hash, name, "another secret".to_owned());
        let token = other.token(&claims("alice"));
        assert_eq!(asked(&shared, &token).await.status, 401, "{name}");
    }
    for make in [Key::p256, Key::p384, Key::edwards] {
        let key = make();
        let server = server_of(&key).await;
        let name = key.algorithm();
        let token = key.token(&claims("alice"));
        assert_eq!(asked(&server, &token).await.status, 200, "{name}");
        let token = make().token(&claims("alice"));
        assert_eq!(asked(&server, &token).await.status, 401, "{name}");
        // The public key, which everybody has, is no shared secret.
        let confused = Key::Hmac(hmac::HMAC_SHA256, "HS256", key.pem());
        let token = confused.token(&claims("alice"));
        assert_eq!(asked(&server, &token).await.status, 401, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_whatever_it_says() {
    let expected = [
        ("auth.jwt.issuer", "https://login.example"),
        ("auth.jwt.audience", "chat"),
        ("auth.jwt.leeway_s", "5"),
        ("auth.jwt.algorithms", "HS256"),
    ];
    let server = Server::with(&[&BY_SECRET[..], &expected].concat()).await;
    let key = Key::secret();
    let good = json!({"sub": "alice", "exp": now() + 60, "nbf": now() - 60,
                      "iss": "https://login.example", "aud": ["mail", "chat"]});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        if claims[name].is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
        key.token(&claims)
    };
    let just_over = with("exp", json!(now() - 1));
    let float = with("exp", json!(now() as f64 + 60.5));
    for token in [key.token(&good), just_over, float, with("nbf", Value::Null)] {
        assert_eq!(asked(&server, &token).await.status, 200, "{token}");
    }
    let header = |header: Value| key.token_with(&header, &good);
    let token = key.token(&good);
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let other = Key::Hmac(hmac::HMAC_SHA512, "HS512", SECRET.to_owned());
    for (why, token) in [
        ("run out", with("exp", json!(now() - 60))),
        ("no end", with("exp", Value::Null)),
        (
            "an end that is a text",
            with("exp", json!((now() + 60).to_string())),
        ),
        ("not yet", with("nbf", json!(now() + 60))),
        ("a beginning that is a text", with("nbf", json!("0"))),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("no issuer", with("iss", Value::Null)),
        ("another audience", with("aud", json!("mail"))),
        ("no audience", with("aud", Value::Null)),
        ("no user", with("sub", Value::Null)),
        ("an empty user", with("sub", json!(""))),
        ("a list of users", with("sub", json!(["alice"]))),
        ("half a user", with("sub", json!(1.5))),
        ("a user too long", with("sub", json!("x".repeat(256)))),
        ("for the issuer only", with("token_type", json!("refresh"))),
        ("an odd kind", with("token_type", json!(7))),
        ("an algorithm not listed", other.token(&good)),
        ("no algorithm", header(json!({"alg": "none"}))),
        (
            "an algorithm in another case",
            header(json!({"alg": "hs256"})),
        ),
        (
            "critical extensions",
            header(json!({"alg": "HS256", "crit": ["exp"]})),
        ),
        ("no signature", format!("{head}.{body}.")),
        ("unsigned", format!("{head}.{body}")),
        (
            "a signature cut",
            format!("{head}.{body}.{}", &signature[..20]),
        ),
        ("another body", format!("{head}.e30.{signature}")),
        ("a fourth part", format!("{token}.x")),
        ("not base64", format!("{head}.{body}.!!!")),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
    ] {
        let answer = asked(&server, &token).await;
        assert_eq!(answer.status, 401, "{why}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"api\""), "{why}");
    }
    let expired = asked(&server, &with("exp", json!(now() - 60))).await;
    assert!(
        expired
            .header("www-authenticate")
            .unwrap()
            .contains("expired")
    );
}

#[tokio::test]
async fn an_audience_that_nobody_asked_for_is_somebody_else() {
    let server = Server::with(&BY_SECRET).await;
    let mut claims = claims("alice");
    claims["aud"] = json!("mail");
    let token = Key::secret().token(&claims);
    assert_eq!(asked(&server, &token).await.status, 401);
}

#[tokio::test]
async fn the_claim_of_simplejwt_may_be_a_number() {
    let more = [
        ("auth.jwt.user_claim", "user_id"),
        ("auth.policy", "participants"),
    ];
    let server = Server::with(&[&BY_SECRET[..], &more].concat()).await;
    let claims = json!({"user_id": 42, "exp": now() + 60, "token_type": "access", "jti": "x"});
    let header = format!("Bearer {}", Key::secret().token(&claims));
    let body = json!({"participant1_id": 42, "participant2_id": "bob"});
    let path = "/api/chat/conversations/";
    let bytes = request("POST", path, &[("Authorization", &header)], Some(&body));
    assert_eq!(server.send(bytes).await.status, 201);
}

#[tokio::test]
async fn a_socket_takes_a_token_as_a_subprotocol_and_names_only_the_first() {
    let server = Server::with(&BY_SECRET).await;
    let id = made(&server).await;
    let token = token_of("alice");
    let protocols = format!("Sec-WebSocket-Protocol: access_token, {token}\r\n");
    let mut connection = server.connect().await;
    let answer = connection.ask(handshake(&path_of(&id), &protocols)).await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-protocol"),
        Some("access_token")
    );
    let mut socket = Socket::over(connection);
    assert!(socket.history().await.is_empty());
    socket.works().await;

    let other = format!(
        "Authorization: {}\r\nSec-WebSocket-Protocol: chat\r\n",
        bearer("alice")
    );
    let answer = server.send(handshake(&path_of(&id), &other)).await;
    assert_eq!(
        (answer.status, answer.header("sec-websocket-protocol")),
        (101, None)
    );
    let by_query = format!("{}?token={token}", path_of(&id));
    assert_eq!(server.send(handshake(&by_query, "")).await.status, 101);
}

#[tokio::test]
async fn a_socket_without_a_token_is_refused_by_status_or_by_close_code() {
    let server = Server::with(&BY_SECRET).await;
    let id = made(&server).await;
    let refused = server.send(handshake(&path_of(&id), "")).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some());

    let close = [("auth.socket_refusal", "close")];
    let server = Server::with(&[&BY_SECRET[..], &close].concat()).await;
    let id = made(&server).await;
    let protocols = "Sec-WebSocket-Protocol: access_token, a.b.c\r\n";
    for headers in ["", protocols] {
        let socket = Socket::try_open(server.connect().await, &path_of(&id), headers).await;
        let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(socket.close_code().await, 4401);
        socket.ended().await;
    }
    let nobody = "00000000-0000-4000-8000-000000000000";
    let token = format!("Authorization: {}\r\n", bearer("alice"));
    let unknown = server.send(handshake(&path_of(nobody), &token)).await;
    assert_eq!(unknown.status, 403, "as without identity");
}

#[tokio::test]
async fn a_token_lives_no_longer_than_the_settings_allow() {
    let bounds = [("auth.jwt.max_life_s", "7200"), ("auth.jwt.leeway_s", "0")];
    let server = Server::with(&[&BY_SECRET[..], &bounds].concat()).await;
    let id = made(&server).await;
    let day = now() + 86_400;
    let status = async |claims: Value| {
        let path = format!("{}?token={}", path_of(&id), Key::secret().token(&claims));
        server.send(handshake(&path, "")).await.status
    };
    for (claims, expected) in [
        (json!({"sub": "alice", "exp": day, "iat": now() - 300}), 101),
        (
            json!({"sub": "alice", "exp": day, "iat": now() - 7201}),
            401,
        ),
        (json!({"sub": "alice", "exp": day, "iat": day}), 401),
        (json!({"sub": "alice", "exp": now() + 300}), 101),
        (json!({"sub": "alice", "exp": day}), 401),
        (
            json!({"sub": "alice", "exp": now() - 1, "iat": now() - 2}),
            401,
        ),
    ] {
        assert_eq!(status(claims.clone()).await, expected, "{claims}");
    }
    // And its socket no longer than that.
    let ends = now() + 20;
    let claims = json!({"sub": "alice", "exp": day, "iat": ends - 7200});
    let path = format!("{}?token={}", path_of(&id), Key::secret().token(&claims));
    let socket = Socket::try_open(server.connect().await, &path, "").await;
    let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    socket.history().await;
    assert_eq!(socket.close_code().await, 4401);
    assert!(now() >= ends, "not before");
}

#[tokio::test]
async fn a_socket_is_closed_when_its_token_runs_out() {
    let leeway = [("auth.jwt.leeway_s", "0")];
    let server = Server::with(&[&BY_SECRET[..], &leeway].concat()).await;
    let id = made(&server).await;
    let ends = now() + 20;
    let token = Key::secret().token(&json!({"sub": "alice", "exp": ends}));
    let path = format!("{}?token={token}", path_of(&id));
    let socket = Socket::try_open(server.connect().await, &path, "").await;
    let mut socket = socket.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    socket.history().await;
    socket.works().await;
    assert_eq!(socket.close_code().await, 4401);
    assert!(now() >= ends, "not before");
    assert_eq!(
        server.send(handshake(&path, "")).await.status,
        401,
        "and does not come back with it"
    );
    let closed = "chatferry_ws_closed_total{code=\"4401\"}";
    socket
        .connection
        .send(crate::support::socket::frame(8, 4401_u16.to_be_bytes()))
        .await;
    socket.ended().await;
    crate::support::until("the close is counted", async || {
        server.metric(closed).await > 0.0
    })
    .await;
}

#[tokio::test]
async fn settings_that_do_not_say_which_keys_are_good_start_nothing() {
    for (settings, told) in [
        (
            &[("auth.policy", "participants")][..],
            "needs an auth.identity",
        ),
        (&[("auth.identity", "jwt")], "auth.jwt.algorithms"),
        (
            &[("auth.identity", "jwt"), ("auth.jwt.algorithms", "HS256")],
            "exactly one of",
        ),
        (
            &[
                BY_SECRET[0],
                BY_SECRET[1],
                ("auth.jwt.algorithms", "HS256"),
                ("auth.jwt.jwks_url", "http://127.0.0.1:1/"),
            ],
            "exactly one of",
        ),
        (
            &[
                BY_SECRET[0],
                ("auth.jwt.secret", "thirty-one bytes are not enough"),
                ("auth.jwt.algorithms", "HS256"),
            ],
            "auth.jwt.secret has 31 bytes, and HS256 needs 32 at least",
        ),
        (
            &[
                BY_SECRET[0],
                (
                    "auth.jwt.secret",
                    "forty-seven bytes, which are enough for a token",
                ),
                ("auth.jwt.algorithms", "HS256,HS384"),
            ],
            "auth.jwt.secret has 47 bytes, and HS384 needs 48 at least",
        ),
        (
            &[
                BY_SECRET[0],
                BY_SECRET[1],
                ("auth.jwt.algorithms", "HS256,RS256"),
            ],
            "RS256 does not go with the key",
        ),
        (
            &[
                BY_SECRET[0],
                ("auth.jwt.jwks_url", "http://127.0.0.1:1/"),
                ("auth.jwt.algorithms", "HS256"),
            ],
            "HS256 does not go with the key",
        ),
        (
            &[
                BY_SECRET[0],
                ("auth.jwt.public_key_file", "/dev/null"),
                ("auth.jwt.algorithms", "RS256"),
            ],
            "no PEM file with a public key",
        ),
        (
            &[
                BY_SECRET[0],
                ("auth.jwt.jwks_url", "https://127.0.0.1:1/"),
                ("auth.jwt.jwks_ca", "/dev/null"),
                ("auth.jwt.algorithms", "RS256"),
            ],
            "auth.jwt.jwks_ca /dev/null: no PEM file with a certificate",
        ),
        (
            &[
                BY_SECRET[0],
                ("auth.jwt.jwks_url", "https://127.0.0.1:1/"),
                ("auth.jwt.jwks_ca", "/nowhere.pem"),
                ("auth.jwt.algorithms", "RS256"),
            ],
            "auth.jwt.jwks_ca /nowhere.pem: ",
        ),
        (&[("auth.identity", "django_session")], "django.secret_key"),
    ] {
        let directory = Directory::new();
        let error = Site::start(config(&directory, settings)).await.err();
        let text = error.expect(told).to_string();
        assert!(text.contains(told), "{text}");
    }
}

/// The id of a conversation between alice and bob, made by alice.
async fn made(server: &Server) -> String {
    Caller::known(server, "alice")
        .conversation_of("alice", "bob")
        .await
}
