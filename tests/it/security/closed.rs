//! Pages that are not shown, and servers that are not asked too often.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    auth::token::{BY_SECRET, bearer},
    gateway::upstream::{Call, Upstream},
    support::{Directory, Process, Server, process::run, request, until},
};

/// Shown to everybody only where nobody has to say who they are.
const HIDDEN: [&str; 5] = [
    "/metrics",
    "/status",
    "/docs",
    "/openapi.json",
    "/asyncapi.json",
];

#[tokio::test]
async fn with_an_identity_metrics_and_documents_are_not_public_and_a_line_says_so() {
    let settings = BY_SECRET.map(|(key, value)| format!("{key}={value}"));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let directory = Directory::new();
    let mut server = Process::start(&directory, &settings).await;
    let status = async |server: &Process, path: &str| {
        server
            .connect()
            .await
            .ask(request("GET", path, &[], None))
            .await
            .status
    };
    for path in HIDDEN {
        assert_eq!(status(&server, path).await, 404, "{path}");
    }
    for path in ["/healthz", "/readyz", "/api/chat/"] {
        assert_eq!(status(&server, path).await, 200, "{path}");
    }
    server
        .logs(&format!("there is an auth.identity: {}", HIDDEN.join(", ")))
        .await;
    drop(server);
    let shown = [&settings[..], &["metrics.public=yes", "server.docs=yes"]].concat();
    let server = Process::start(&Directory::new(), &shown).await;
    for path in HIDDEN {
        assert_eq!(status(&server, path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_key_of_djangos_template_is_reported() {
    let key = "django-insecure-0123456789-0123456789-0123456789-012345678";
    let secret = format!("auth.jwt.secret={key}");
    let settings = ["auth.identity=jwt", &secret, "auth.jwt.algorithms=HS256"];
    let arguments: Vec<&str> = ["check"]
        .into_iter()
        .chain(settings.iter().flat_map(|setting| ["--set", setting]))
        .collect();
    let check = run(&Directory::new(), &arguments).await;
    assert_eq!(check.code, 0, "{check:?}");
    assert!(
        check
            .stderr
            .contains("auth.jwt.secret begins with `django-insecure-`"),
        "{check:?}"
    );
    let mut server = Process::start(&Directory::new(), &settings).await;
    server
        .logs("auth.jwt.secret begins with `django-insecure-`")
        .await;
}

#[tokio::test]
async fn tokens_that_are_no_good_are_limited_by_address_and_good_ones_are_not() {
    let limit = [("limits.address.denied", "3/hour")];
    let server = Server::with(&[&BY_SECRET[..], &limit].concat()).await;
    let ask = async |token: &str| {
        let headers = [("Authorization", token)];
        let path = "/api/chat/users/alice/conversations/";
        server
            .send(request("GET", path, &headers, None))
            .await
            .status
    };
    for _ in 0..3 {
        assert_eq!(ask("Bearer no.good.token").await, 401);
    }
    assert_eq!(ask("Bearer no.good.token").await, 429);
    assert_eq!(ask(&bearer("alice")).await, 200);
}

/// An upstream that answers when it is let.
async fn hanging(open: &Arc<Semaphore>) -> Upstream {
    let open = Arc::clone(open);
    Upstream::start(move |mut call: Call| {
        let open = Arc::clone(&open);
        async move {
            while call.head().await.is_some() {
                open.acquire().await.unwrap().forget();
                call.answer("at last").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn requests_past_the_queue_of_a_busy_django_are_refused_at_once() {
    let open = Arc::new(Semaphore::new(0));
    let upstream = hanging(&open).await;
    let settings = [
        ("gateway.max_requests", "2"),
        ("gateway.max_waiting", "1"),
        ("gateway.connect_timeout_s", "60"),
    ];
    let server = upstream.gateway(&settings).await;
    let ask = async || {
        let mut client = server.connect().await;
        client.send(request("GET", "/", &[], None)).await;
        client
    };
    let mut asked = [ask().await, ask().await];
    until("both to arrive", async || upstream.accepted() == 2).await;
    // One of these waits.
    let (mut one, mut other) = (ask().await, ask().await);
    let refused = tokio::select! {
        refused = one.answer() => refused,
        refused = other.answer() => {
            std::mem::swap(&mut one, &mut other);
            refused
        }
    };
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(upstream.accepted(), 2);
    open.add_permits(3);
    for client in asked.iter_mut().chain([&mut other]) {
        assert_eq!(client.answer().await.status, 200);
    }
    let busy = "chatferry_gateway_failures_total{kind=\"busy\"}";
    assert_eq!(server.metric(busy).await, 1.0);
}

/// A gateway that has found its upstream hanging three times.
async fn opened(upstream: &Upstream, pause: &str) -> Server {
    let settings = [
        ("gateway.response_timeout_s", "1"),
        ("gateway.breaker_failures", "3"),
        ("gateway.breaker_s", pause),
    ];
    let server = upstream.gateway(&settings).await;
    for _ in 0..3 {
        assert_eq!(server.get("/").await.status, 504);
    }
    server
}

#[tokio::test]
async fn a_django_that_hangs_is_not_asked_for_a_while() {
    let upstream = hanging(&Arc::new(Semaphore::new(0))).await;
    let server = opened(&upstream, "3600").await;
    let asked = upstream.accepted();
    for _ in 0..20 {
        let refused = server.get("/").await;
        assert_eq!(refused.status, 503);
        let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3600).contains(&after), "{after}");
    }
    assert_eq!(upstream.accepted(), asked);
    let silent = "chatferry_gateway_failures_total{kind=\"silent\"}";
    assert_eq!(server.metric(silent).await, 20.0);
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_django_that_answers_again_is_asked_again() {
    let open = Arc::new(Semaphore::new(0));
    let upstream = hanging(&open).await;
    let server = opened(&upstream, "1").await;
    open.add_permits(1000);
    until("an answer", async || server.get("/").await.status == 200).await;
    assert_eq!(server.get("/").await.status, 200);
}
