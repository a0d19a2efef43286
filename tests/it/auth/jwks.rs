//! Keys from a key set: fetched when needed, again when they change, never more often than that, and
//! by TLS only from whom an authority vouches for.

use crate::support::server::schema_of;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::token::{Key, claims};
use crate::support::{
    Directory, Server,
    certificate::{acceptor, certify_by_authority},
    http::Io,
    request, skip, until,
};

const LIST: &str = "/api/chat/users/alice/conversations/";

/// Where a key set is published. It ends with the test.
pub struct Issuer {
    address: SocketAddr,
    scheme: &'static str,
    /// The bytes of the answer; none is no answer.
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Issuer {
    async fn of(keys: &[(&Key, &str)]) -> Self {
        Issuer::answering(published(keys)).await
    }

    pub async fn answering(answer: Vec<u8>) -> Self {
        Issuer::on(answer, None).await
    }

    async fn on(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = told.lock().unwrap().clone();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let mut stream: Box<dyn Io> = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let mut head = [0; 4096];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.flush().await;
                    if answer.is_empty() {
                        let _ = stream.read(&mut head).await;
                    }
                });
            }
        });
        Issuer {
            address,
            scheme,
            answer,
            asked,
            serving,
        }
    }

    fn publish(&self, keys: &[(&Key, &str)]) {
        *self.answer.lock().unwrap() = published(keys);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A server that knows callers by the keys of this issuer.
    pub async fn server(&self, settings: &[(&str, &str)]) -> Server {
        let url = format!("{}://{}/keys?v=1", self.scheme, self.address);
        let ours = [
            ("auth.identity", "jwt"),
            ("auth.jwt.jwks_url", url.as_str()),
            (
                "auth.jwt.algorithms",
                "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,EdDSA",
            ),
        ];
        Server::with(&[&ours[..], settings].concat()).await
    }
}

fn published(keys: &[(&Key, &str)]) -> Vec<u8> {
    let keys: Vec<Value> = keys.iter().map(|(key, id)| key.jwk(id)).collect();
    answer(&json!({"keys": keys}).to_string())
}

pub fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn token(key: &Key, id: Option<&str>) -> String {
    let header = match id {
        Some(id) => json!({"alg": key.algorithm(), "kid": id}),
        None => json!({"alg": key.algorithm()}),
    };
    key.token_with(&header, &claims("alice"))
}

async fn asked(server: &Server, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    let bytes = request("GET", LIST, &[("Authorization", &header)], None);
    server.send(bytes).await.status
}

#[tokio::test]
async fn the_key_that_a_token_names_is_fetched_once_for_all() {
    let (one, two, three) = (Key::p256(), Key::p384(), Key::edwards());
    let issuer = Issuer::of(&[(&one, "one"), (&two, "two"), (&three, "three")]).await;
    let server = issuer.server(&[]).await;
    assert_eq!(issuer.asked(), 0, "not before somebody needs it");
    let tokens = [
        token(&one, Some("one")),
        token(&two, Some("two")),
        token(&three, Some("three")),
        token(&three, None),
    ];
    let statuses = futures_util::future::join_all(tokens.iter().map(|it| asked(&server, it))).await;
    assert_eq!(statuses, [200; 4]);
    assert_eq!(asked(&server, &token(&one, Some("two"))).await, 401);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn tokens_cannot_make_the_server_ask_more_often() {
    let key = Key::p256();
    let issuer = Issuer::of(&[(&key, "one")]).await;
    let server = issuer.server(&[]).await;
    for number in 0..30 {
        let unknown = token(&key, Some(&number.to_string()));
        assert_eq!(asked(&server, &unknown).await, 401);
    }
    assert_eq!(issuer.asked(), 1);
    assert_eq!(asked(&server, &token(&key, Some("one"))).await, 200);
}

#[tokio::test]
async fn a_new_key_is_known_and_an_old_one_forgotten_after_a_while() {
    let (old, new) = (Key::p256(), Key::p256());
    let issuer = Issuer::of(&[(&old, "old")]).await;
    let server = issuer.server(&[("auth.jwt.jwks_refetch_s", "1")]).await;
    let (by_old, by_new) = (token(&old, Some("old")), token(&new, Some("new")));
    assert_eq!(asked(&server, &by_old).await, 200);
    issuer.publish(&[(&new, "new")]);
    until("the new key", async || asked(&server, &by_new).await == 200).await;
    assert_eq!(asked(&server, &by_old).await, 401);
}

#[tokio::test]
async fn while_the_issuer_is_away_the_last_keys_are_good_for_a_bounded_time() {
    let key = Key::edwards();
    let issuer = Issuer::of(&[(&key, "one")]).await;
    let refetch = ("auth.jwt.jwks_refetch_s", "1");
    let patient = issuer.server(&[refetch]).await;
    let strict = issuer
        .server(&[refetch, ("auth.jwt.jwks_stale_s", "1")])
        .await;
    let good = token(&key, Some("one"));
    assert_eq!(asked(&patient, &good).await, 200);
    assert_eq!(asked(&strict, &good).await, 200);
    issuer.serving.abort();
    let failed = "chatferry_jwks_fetches_total{outcome=\"failed\"}";
    until("an attempt that fails", async || {
        assert_eq!(asked(&patient, &good).await, 200);
        patient.metric(failed).await > 0.0
    })
    .await;
    assert_eq!(asked(&patient, &good).await, 200);
    until("the end of its patience", async || {
        asked(&strict, &good).await == 503
    })
    .await;
}

#[tokio::test]
async fn after_a_first_failure_it_is_asked_again_as_soon_as_that_is_allowed() {
    let key = Key::p256();
    let issuer = Issuer::answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let patient = issuer.server(&[("auth.jwt.jwks_refetch_s", "3600")]).await;
    let eager = issuer.server(&[("auth.jwt.jwks_refetch_s", "1")]).await;
    let good = token(&key, Some("one"));
    assert_eq!(asked(&patient, &good).await, 503);
    assert_eq!(asked(&eager, &good).await, 503);
    issuer.publish(&[(&key, "one")]);
    until("the next attempt", async || {
        let status = asked(&eager, &good).await;
        assert!(matches!(status, 200 | 503), "{status}");
        status == 200
    })
    .await;
    let so_far = issuer.asked();
    assert_eq!(asked(&patient, &good).await, 503, "an hour is not over");
    assert_eq!(issuer.asked(), so_far);
}

#[tokio::test]
async fn a_key_set_by_tls_is_believed_of_whom_its_authority_vouches_for_and_nobody_else() {
    let (directory, other) = (Directory::new(), Directory::new());
    if !certify_by_authority(directory.path()) || !certify_by_authority(other.path()) {
        return skip("no openssl");
    }
    let key = Key::p256();
    let tls = acceptor(directory.path());
    let issuer = Issuer::on(published(&[(&key, "one")]), Some(tls)).await;
    let good = token(&key, Some("one"));
    let file = |of: &Directory| of.path().join("ca.pem").display().to_string();
    let (own, foreign) = (file(&directory), file(&other));
    let server = issuer.server(&[("auth.jwt.jwks_ca", &own)]).await;
    assert_eq!(asked(&server, &good).await, 200);
    assert_eq!(asked(&server, &token(&key, Some("two"))).await, 401);
    chatferry::auth::check(
        &server.app.config,
        &schema_of(&server.app.config),
        chatferry::dialect::django::identity::open,
    )
    .await
    .unwrap();

    for settings in [&[][..], &[("auth.jwt.jwks_ca", foreign.as_str())]] {
        let server = issuer.server(settings).await;
        assert_eq!(asked(&server, &good).await, 503, "{settings:?}");
        let why = chatferry::auth::check(
            &server.app.config,
            &schema_of(&server.app.config),
            chatferry::dialect::django::identity::open,
        )
        .await;
        let why = why.unwrap_err().to_string();
        assert!(why.contains("certificate"), "{why}");
    }
    // The certificate is that of an address and not of a name.
    let url = format!("https://localhost:{}/keys", issuer.address.port());
    let elsewhere = [
        ("auth.jwt.jwks_ca", own.as_str()),
        ("auth.jwt.jwks_url", &url),
    ];
    let server = issuer.server(&elsewhere).await;
    assert_eq!(asked(&server, &good).await, 503);
}

#[tokio::test]
async fn addresses_and_keys_in_a_token_are_not_looked_at() {
    let (good, evil) = (Key::p256(), Key::p256());
    let issuer = Issuer::of(&[(&good, "one")]).await;
    let other = Issuer::of(&[(&evil, "one")]).await;
    let server = issuer.server(&[]).await;
    let url = format!("http://{}/", other.address);
    for header in [
        json!({"alg": "ES256", "kid": "one", "jku": url}),
        json!({"alg": "ES256", "kid": "one", "x5u": url}),
        json!({"alg": "ES256", "kid": "one", "jwk": evil.jwk("one")}),
        json!({"alg": "ES256", "kid": url}),
    ] {
        let token = evil.token_with(&header, &claims("alice"));
        assert_eq!(asked(&server, &token).await, 401, "{header}");
    }
    assert_eq!(other.asked(), 0);
}

#[tokio::test]
async fn an_issuer_that_misbehaves_lets_nobody_in_and_holds_nobody_up() {
    let key = Key::p256();
    let set = json!({"keys": [key.jwk("one")]}).to_string();
    let other = Issuer::of(&[(&key, "one")]).await;
    let moved = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        other.address
    );
    let failed = String::from_utf8(answer(&set)).unwrap();
    for (what, answer) in [
        ("a redirection", moved.into_bytes()),
        ("an error", failed.replace("200 OK", "500 No").into_bytes()),
        ("too much", answer(&format!("{}{set}", " ".repeat(300_000)))),
        ("no key set", answer("<html>")),
        ("half of it", answer(&set)[..100].to_vec()),
        ("silence", Vec::new()),
        (
            "a head without an end",
            [b"HTTP/1.1 200 OK\r\nX: ", &*vec![b'x'; 2 << 20]].concat(),
        ),
        (
            "headers without an end",
            [b"HTTP/1.1 200 OK\r\n", &*b"X: x\r\n".repeat(1000)].concat(),
        ),
        ("a set that is nested deep", answer(&"[".repeat(200_000))),
        (
            "chunks without an end",
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                &*b"1\r\n \r\n".repeat(300_000),
            ]
            .concat(),
        ),
    ] {
        let issuer = Issuer::answering(answer).await;
        let server = issuer.server(&[]).await;
        assert_eq!(
            asked(&server, &token(&key, Some("one"))).await,
            503,
            "{what}"
        );
        assert_eq!(issuer.asked(), 1, "{what}");
    }
    assert_eq!(other.asked(), 0, "no further than where it was sent");
}

#[tokio::test]
async fn an_issuer_that_sends_a_byte_now_and_then_is_not_waited_for_long() {
    let key = Key::p256();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dribbling = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    let url = format!("http://{address}/");
    let settings = [
        ("auth.identity", "jwt"),
        ("auth.jwt.jwks_url", url.as_str()),
        ("auth.jwt.algorithms", "ES256"),
    ];
    let server = Server::with(&settings).await;
    assert_eq!(asked(&server, &token(&key, Some("one"))).await, 503);
    // It is not listened to any more.
    crate::support::soon("the end of its connection", dribbling)
        .await
        .unwrap();
}

#[tokio::test]
async fn of_many_keys_the_first_hundred_are_used() {
    let key = Key::p256();
    let mut keys: Vec<Value> = (0..120)
        .map(|number| key.jwk(&format!("k{number}")))
        .collect();
    keys.push(key.jwk("last"));
    let issuer = Issuer::answering(answer(&json!({"keys": keys}).to_string())).await;
    let server = issuer.server(&[]).await;
    assert_eq!(asked(&server, &token(&key, Some("k99"))).await, 200);
    assert_eq!(asked(&server, &token(&key, Some("last"))).await, 401);
}
