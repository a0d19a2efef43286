//! Where the chats of other systems are served, and where not. Naebak stands for all: it starts
//! without its Redis.

use std::sync::Arc;

use chatferry::server::Server as Listening;

use crate::support::{
    Connection, Directory, Server, request,
    server::{config, load},
    socket::handshake,
};

/// The settings of a mounted Naebak whose Redis nobody runs.
const NAEBAK: [(&str, &str); 3] = [
    ("dialects", "django,naebak"),
    ("naebak.redis", "redis://127.0.0.1:1"),
    ("naebak.trust_user_id", "true"),
];

const BELOW: (&str, &str) = ("naebak.prefix", "/naebak/");

async fn server(more: &[(&str, &str)]) -> Server {
    Server::with(&[&NAEBAK[..], more].concat()).await
}

#[tokio::test]
async fn a_system_is_served_below_its_prefix_and_nowhere_else() {
    let server = server(&[BELOW]).await;
    let health = server.get("/naebak/health").await;
    assert_eq!(health.status, 200);
    assert!(health.text().contains("naebak-messaging-service"));
    assert_eq!(server.get("/naebak/nope?x=1").await.status, 404);
    let opened = server
        .get("/naebak/socket.io/?EIO=4&transport=polling")
        .await;
    assert!(opened.text().starts_with("0{\"sid\":"));
    for path in [
        "/health",
        "/naebak",
        "/naebakx/health",
        "/%6eaebak/health",
        "//naebak/health",
        "/x/../naebak/health",
    ] {
        let answer = server.get(path).await;
        assert!(!answer.text().contains("naebak-messaging"), "{path}");
    }
    let django = server.get("/api/chat/users/alice/conversations/").await;
    assert_eq!(django.status, 200);
}

#[tokio::test]
async fn a_socket_below_a_prefix_is_the_systems() {
    let server = server(&[BELOW]).await;
    let mut connection = server.connect().await;
    let path = "/naebak/socket.io/?EIO=4&transport=websocket&user_id=ann";
    connection.send(handshake(path, "")).await;
    assert_eq!(connection.head().await.status, 101);
    let mut other = server.connect().await;
    let path = "/socket.io/?EIO=4&transport=websocket&user_id=ann";
    other.send(handshake(path, "")).await;
    assert_ne!(other.head().await.status, 101);
}

#[tokio::test]
async fn an_address_of_its_own_serves_the_system_alone() {
    let directory = Arc::new(Directory::new());
    let bind = [("naebak.bind", "127.0.0.1:0")];
    let config = config(&directory, &[&NAEBAK[..], &bind].concat());
    let site = Box::pin(chatferry::server::Site::start(config))
        .await
        .unwrap();
    let listening = Listening::bind(Arc::clone(&site)).await.unwrap();
    let own = listening.entrances().unwrap().remove(0).to_string();
    let all = listening.address().unwrap();
    let all = all.split_once("://").unwrap().1.to_owned();
    let serving = tokio::spawn(listening.run());
    for (address, path, is_served) in [
        (&own, "/health", true),
        (&own, "/api/chat/", false),
        (&own, "/metrics", false),
        (&all, "/health", false),
        (&all, "/api/chat/", true),
    ] {
        let mut connection = Connection::to(address.parse().unwrap()).await;
        connection.send(request("GET", path, &[], None)).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status == 200, is_served, "{address} {path}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_limit_is_told_in_the_systems_own_words() {
    let limit = ("limits.address.requests", "1/day");
    let server = server(&[BELOW, limit]).await;
    assert_eq!(server.get("/naebak/health").await.status, 200);
    let refused = server.get("/naebak/health").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.text(), "\"Too Many Requests\"");
}

#[test]
fn places_that_would_hide_each_other_are_refused() {
    let refused = |flags: &[(&str, &str)]| {
        let flags = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let flags: Vec<_> = flags.collect();
        let loaded = chatferry::config::Config::load(None, std::iter::empty(), &flags);
        loaded.err().unwrap().to_string()
    };
    let named = ("dialects", "django,naebak");
    assert!(refused(&[named]).contains("needs a `bind` or a `prefix`"));
    assert!(refused(&[("dialects", "naebak"), BELOW]).contains("`django` is always among them"));
    assert!(refused(&[("dialects", "django,naebak,naebak"), BELOW]).contains("once"));
    for prefix in ["/", "/api/", "/api/chat/x/", "/ws/chat/"] {
        let told = refused(&[named, ("naebak.prefix", prefix)]);
        assert!(told.contains("above or below"), "{prefix}: {told}");
    }
    let same = [
        ("server.bind", "127.0.0.1:9000"),
        ("naebak.bind", "127.0.0.1:9000"),
    ];
    assert!(refused(&[&[named][..], &same].concat()).contains("has this address"));
    let fine = load(&[named], &[BELOW]);
    assert_eq!(fine.mounts().len(), 1);
}
