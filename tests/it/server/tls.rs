//! HTTPS and secure WebSockets by the server itself, with real certificates.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    Connection, Directory, Process, Server, Socket, certificate,
    http::value_of,
    neighbours::skip,
    process::{chatferry, run},
    request,
    socket::{handshake, path_of},
    soon, until,
};

/// A certificate for 127.0.0.1; `false`, and the test is skipped, without an OpenSSL to make it.
fn certify(directory: &Path) -> bool {
    let made = certificate::certify(directory);
    if !made {
        skip("no openssl");
    }
    made
}

fn files(directory: &Path) -> [String; 2] {
    ["cert.pem", "key.pem"].map(|name| directory.join(name).display().to_string())
}

/// A server with a certificate of its own; `None` without an OpenSSL.
async fn server(flags: &[(&str, &str)]) -> Option<Server> {
    let directory = Arc::new(Directory::new());
    if !certify(directory.path()) {
        return None;
    }
    let [cert, key] = files(directory.path());
    let mut all = vec![("server.tls.cert", &*cert), ("server.tls.key", &*key)];
    all.extend(flags);
    Some(Server::on(directory, &all).await)
}

/// How a client shakes hands: whom it trusts, in which versions, for which protocols.
pub fn client(
    trusted: &Path,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::from_pem_file(trusted));
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub async fn shake(
    connector: &TlsConnector,
    address: std::net::SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    connector.connect(name, stream).await
}

impl Server {
    /// A connection that trusts this server's certificate and no other.
    async fn connect_securely(&self) -> Connection {
        secured(
            self.connect().await,
            &self.directory.path().join("cert.pem"),
        )
        .await
    }
}

/// A connection to whoever has this certificate.
async fn secured(connection: Connection, trusted: &Path) -> Connection {
    let connector = client(trusted, &[&TLS13], &[]);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let shaking = soon("a handshake", connector.connect(name, connection.io));
    Connection::over(shaking.await.unwrap())
}

/// A new conversation, and a socket of it whose history has been read.
async fn conversation_over(mut connection: Connection) -> (String, Socket) {
    let id = connection.conversation().await;
    let mut socket = Socket::open(connection, &id).await;
    socket.history().await;
    (id, socket)
}

/// The value of a series, which is not asked for in the clear.
fn metric(server: &Server, series: &str) -> f64 {
    value_of(&server.app.metrics.render(), series)
}

fn failures(server: &Server, kind: &str) -> f64 {
    metric(
        server,
        &format!("chatferry_tls_handshake_failures_total{{kind=\"{kind}\"}}"),
    )
}

#[tokio::test]
async fn rest_and_sockets_work_in_both_versions() {
    let Some(server) = server(&[]).await else {
        return;
    };
    let trusted = server.directory.path().join("cert.pem");
    for (version, negotiated) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let connector = client(&trusted, &[version], &["h2", "http/1.1"]);
        let stream = shake(&connector, server.address).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(negotiated));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let connection = Connection::over(stream);
        let (_, mut socket) = conversation_over(connection).await;
        socket.works().await;
    }
}

#[tokio::test]
async fn who_does_not_speak_our_tls_is_refused_and_counted() {
    let Some(server) = server(&[]).await else {
        return;
    };
    let trusted = server.directory.path().join("cert.pem");
    let only_h2 = client(&trusted, &[&TLS13], &["h2"]);
    assert!(shake(&only_h2, server.address).await.is_err());
    let mut plain = server.connect().await;
    plain.push(request("GET", "/healthz", &[], None)).await;
    let mut answer = Vec::new();
    let _ = soon("the end", plain.io.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "no answer in the clear");
    until("both refusals", async || {
        failures(&server, "refused") >= 2.0
    })
    .await;
    drop(server.connect().await);
    until("the end", async || failures(&server, "ended") >= 1.0).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let Some(server) = server(&[("server.header_timeout_s", "1")]).await else {
        return;
    };
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.send([22, 3, 1, 2, 0, 1, 0]).await;
    silent.closed().await;
    slow.closed().await;
    assert_eq!(failures(&server, "late"), 2.0);
    let connector = client(&server.directory.path().join("cert.pem"), &[&TLS13], &[]);
    until("a handshake in time, and the end", async || {
        let Ok(idle) = shake(&connector, server.address).await else {
            return false;
        };
        Connection::over(idle).closed().await;
        true
    })
    .await;
}

#[tokio::test]
async fn everything_arrives_at_a_client_that_reads_slowly() {
    let Some(server) = server(&[]).await else {
        return;
    };
    let (id, mut speaker) = conversation_over(server.connect_securely().await).await;
    let text = "x".repeat(500_000);
    for _ in 0..20 {
        speaker.say(&text).await;
        assert_eq!(speaker.heard().await.len(), text.len());
    }
    let trusted = server.directory.path().join("cert.pem");
    let mut slow = secured(Connection::narrow(server.address).await, &trusted).await;
    slow.send(handshake(&path_of(&id), "")).await;
    // The history is more than the system takes: what is left waits in TLS and in the writer.
    until("it to be told", async || {
        metric(&server, "chatferry_ws_open") >= 2.0
    })
    .await;
    assert_eq!(slow.head().await.status, 101);
    let mut slow = Socket::over(slow);
    let history = slow.history().await;
    assert_eq!(history.len(), 20);
    assert!(history.iter().all(|message| message["content"] == text));
    slow.works().await;
}

#[tokio::test]
async fn a_drain_says_goodbye_through_tls() {
    let Some(server) = server(&[]).await else {
        return;
    };
    let (_, mut socket) = conversation_over(server.connect_securely().await).await;
    server.app.drain.begin();
    assert_eq!(socket.close_code().await, 1012);
}

#[tokio::test]
async fn a_new_certificate_is_used_after_sighup_and_a_bad_one_is_not() {
    let directory = Directory::new();
    if !certify(directory.path()) {
        return;
    }
    let [cert, key] = files(directory.path());
    let settings = [
        format!("server.tls.cert={cert}"),
        format!("server.tls.key={key}"),
        "server.drain_s=1".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut server = Process::start(&directory, &settings).await;
    let address = server.address;
    let works_with = async |trusted: &Path| {
        let connector = client(trusted, &[&TLS12, &TLS13], &[]);
        let Ok(stream) = shake(&connector, address).await else {
            return false;
        };
        let mut connection = Connection::over(stream);
        connection
            .ask(request("GET", "/healthz", &[], None))
            .await
            .status
            == 200
    };
    let old = directory.path().join("old.pem");
    std::fs::copy(&cert, &old).unwrap();
    assert!(works_with(&old).await);

    std::fs::write(&cert, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    server.signal("HUP").await;
    // Else it could find the next certificate in place of the bad one.
    server.logs("the certificate stays as it is").await;
    assert!(works_with(&old).await);

    assert!(certify(directory.path()));
    assert!(works_with(&old).await, "not before it is asked to");
    server.signal("HUP").await;
    until("the new certificate", async || {
        works_with(Path::new(&cert)).await
    })
    .await;
    assert!(!works_with(&old).await);

    let address = format!("server.bind={address}");
    let mut arguments = vec!["healthcheck", "--set", &address];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let healthy = run(&directory, &arguments).await;
    assert_eq!(healthy.code, 0, "{healthy:?}");

    server.signal("TERM").await;
    let (code, log) = server.ended().await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("the certificate was read again"), "{log}");
}

#[tokio::test]
async fn who_waits_for_its_database_speaks_tls_behind_a_proxy_too() {
    let directory = Directory::new();
    if !certify(directory.path()) {
        return;
    }
    let [cert, key] = files(directory.path());
    let place = directory.path().join("http");
    let settings = [
        format!("server.bind=unix:{}", place.display()),
        format!("server.tls.cert={cert}"),
        format!("server.tls.key={key}"),
        "server.proxy_protocol=true".to_owned(),
        "store.url=mysql://chat@127.0.0.1:1/chat".to_owned(),
    ];
    let arguments = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = std::iter::once("serve").chain(arguments).collect();
    let _waiting = chatferry(&directory, &arguments).spawn().unwrap();
    until("the process to listen", async || {
        UnixStream::connect(&place).await.is_ok()
    })
    .await;
    let stream = UnixStream::connect(&place).await.unwrap();
    let mut proxy = Connection::over(stream);
    proxy
        .send("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n")
        .await;
    let mut connection = secured(proxy, Path::new(&cert)).await;
    let answer = connection.ask(request("GET", "/readyz", &[], None)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("starting"), "{}", answer.text());
}

#[tokio::test]
async fn files_that_are_no_good_are_named_at_start_and_by_check() {
    let directory = Directory::new();
    if !certify(directory.path()) {
        return;
    }
    let other = Directory::new();
    assert!(certify(other.path()));
    let [cert, key] = files(directory.path());
    let [_, other_key] = files(other.path());
    let empty = directory.path().join("empty.pem").display().to_string();
    std::fs::write(&empty, "").unwrap();
    for (cert, key, told) in [
        (
            &cert,
            &"/no/such/key".to_owned(),
            "server.tls.key: /no/such/key cannot be read",
        ),
        (
            &"/no/such/cert".to_owned(),
            &key,
            "server.tls.cert: /no/such/cert cannot be read",
        ),
        (&empty, &key, "holds no certificate"),
        (&cert, &empty, "holds no private key"),
        (&cert, &other_key, "cannot be used together"),
    ] {
        let (cert, key) = (
            format!("server.tls.cert={cert}"),
            format!("server.tls.key={key}"),
        );
        for command in ["serve", "check"] {
            let refused = run(&directory, &[command, "--set", &cert, "--set", &key]).await;
            assert_eq!(refused.code, 1, "{refused:?}");
            assert!(refused.stderr.contains(told), "{told}: {refused:?}");
        }
    }
}
