//! The ways to a Redis: passwords and databases, TLS, socket files, Sentinels.

use std::{
    collections::HashMap,
    path::Path,
    process::{Child, Command, Stdio},
};

use chatferry::{layer::CONTROL, python::datetime::Timestamp};

use super::{
    cable::Cable,
    instance::{Redis, program},
    world::{Layer, counted, number},
};
use crate::support::{
    Directory, Port,
    certificate::{
        certify_by_authority, certify_common_name, certify_itself, certify_without_names,
    },
    skip, until,
};

/// Two layers at this address hear each other.
async fn works(host: &str) {
    for backend in ["redis", "redis_pubsub"] {
        let settings = [("layer.backend", backend)];
        let [one, other] = [
            Layer::at(host, &settings).await,
            Layer::at(host, &settings).await,
        ];
        one.join("g", "a").await;
        other.layer.group_send("g", counted(1)).await.unwrap();
        assert_eq!(one.next().await.1, number(1), "{host} {backend}");
        one.layer.close().await;
        other.layer.close().await;
    }
}

#[tokio::test]
async fn a_password_and_a_database() {
    let options = |_: &Directory| vec!["--requirepass".to_owned(), "p@ss/word".to_owned()];
    let Some(redis) = Redis::with(options).await else {
        return;
    };
    works(&format!(
        "redis://:p%40ss%2Fword@127.0.0.1:{}/3",
        redis.port.number
    ))
    .await;
    let wrong = Layer::at(&format!("redis://:no@127.0.0.1:{}", redis.port.number), &[]).await;
    assert!(wrong.layer.ping().await.is_err());
}

#[tokio::test]
async fn pubsub_reaches_members_on_every_node_of_a_cluster() {
    let (Some(one), Some(other)) = (Redis::clustered().await, Redis::clustered().await) else {
        return;
    };
    let _: redis::Value = one.ask("CLUSTER ADDSLOTSRANGE 0 16383").await;
    let (port, bus) = (other.port.number, other.bus.as_ref().unwrap().number);
    let meet = format!("CLUSTER MEET 127.0.0.1 {port} {bus}");
    let _: redis::Value = one.ask(&meet).await;
    until("the cluster", async || {
        let info: String = other.ask("CLUSTER INFO").await;
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
    })
    .await;
    let settings = [("layer.backend", "redis_pubsub")];
    let member = Layer::at(&other.url(), &settings).await;
    let sender = Layer::at(&one.url(), &settings).await;
    member.join("g", "a").await;
    sender.layer.group_send("g", counted(1)).await.unwrap();
    assert_eq!(member.next().await.1, number(1));
    member.layer.ping().await.unwrap();
    member.layer.close().await;
    sender.layer.close().await;
}

#[tokio::test]
async fn two_databases_of_the_core_layer_do_not_meet() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let on = async |database: u8| {
        let url = format!("redis://127.0.0.1:{}/{database}", redis.port.number);
        Layer::at(&url, &[]).await
    };
    let [one, like_one, other] = [on(1).await, on(1).await, on(2).await];
    one.join("g", "a").await;
    other.layer.group_send("g", counted(1)).await.unwrap();
    one.got_no_more(&like_one).await;
}

#[tokio::test]
async fn a_socket_file() {
    let options = |directory: &Directory| {
        let path = directory.path().join("redis.sock").display().to_string();
        [
            "--unixsocket".to_owned(),
            path,
            "--requirepass".to_owned(),
            "secret".to_owned(),
        ]
        .into()
    };
    let Some(redis) = Redis::with(options).await else {
        return;
    };
    let path = redis.directory.path().join("redis.sock");
    works(&format!("unix://{}?db=2&password=secret", path.display())).await;
}

/// Options of a Redis that speaks TLS, on `port`, with the certificate that is in its directory. It
/// asks for those of its clients if `asks`.
fn secured(directory: &Directory, port: u16, asks: bool) -> Vec<String> {
    let authority = ["ca.pem", "cert.pem"];
    let there = |name: &&str| directory.path().join(name).exists();
    let authority = authority.into_iter().find(there).unwrap();
    let port = port.to_string();
    let pairs = [
        ("--tls-port", port.as_str()),
        ("--tls-cert-file", "cert.pem"),
        ("--tls-key-file", "key.pem"),
        ("--tls-ca-cert-file", authority),
        ("--tls-auth-clients", if asks { "yes" } else { "no" }),
    ];
    let pairs = pairs.iter().flat_map(|(name, value)| [*name, *value]);
    pairs.map(str::to_owned).collect()
}

/// A Redis that speaks TLS on a port of its own.
struct Secure {
    redis: Redis,
    port: Port,
}

impl Secure {
    async fn with(certify: fn(&Path) -> bool, asks: bool) -> Option<Self> {
        let port = Port::claim();
        let mut made = true;
        let options = |directory: &Directory| {
            made = certify(directory.path());
            if made {
                secured(directory, port.number, asks)
            } else {
                Vec::new()
            }
        };
        let redis = Redis::with(options).await?;
        if !made {
            skip("no openssl");
            return None;
        }
        Some(Secure { redis, port })
    }

    fn file(&self, name: &str) -> String {
        self.redis.directory.path().join(name).display().to_string()
    }

    fn url(&self, host: &str, options: &str) -> String {
        format!("rediss://{host}:{}/0?{options}", self.port.number)
    }
}

/// Returns whether layers come to this address.
async fn reaches(host: &str) -> bool {
    let layer = Layer::at(host, &[]).await;
    let answer = layer.layer.ping().await;
    layer.layer.close().await;
    answer.is_ok()
}

#[tokio::test]
async fn every_stage_of_tls_asks_for_more_than_the_one_before() {
    let (Some(named), Some(unnamed)) = (
        Secure::with(certify_by_authority, false).await,
        Secure::with(certify_without_names, false).await,
    ) else {
        return;
    };
    // Whether a server is believed that has: our authority and our name; our authority and no
    // name; another authority.
    for (options, believed) in [
        ("ssl_cert_reqs=none", [true, true, true]),
        ("ssl_check_hostname=false", [true, true, false]),
        ("ssl_cert_reqs=required", [true, false, false]),
    ] {
        for ((server, authority), believed) in
            [(&named, &named), (&unnamed, &unnamed), (&named, &unnamed)]
                .into_iter()
                .zip(believed)
        {
            let ca = authority.file("ca.pem");
            let url = server.url("127.0.0.1", &format!("{options}&ssl_ca_certs={ca}"));
            assert_eq!(reaches(&url).await, believed, "{url}");
        }
    }
    assert!(
        !reaches(&named.url("127.0.0.1", "")).await,
        "of the system's authorities"
    );
    let ca = named.file("ca.pem");
    works(&named.url("127.0.0.1", &format!("ssl_ca_certs={ca}"))).await;
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_believed_if_it_is_the_one_in_the_file() {
    let (Some(one), Some(other)) = (
        Secure::with(certify_itself, false).await,
        Secure::with(certify_itself, false).await,
    ) else {
        return;
    };
    let (own, others) = (one.file("cert.pem"), other.file("cert.pem"));
    let with = |host: &str, file: &str| one.url(host, &format!("ssl_ca_certs={file}"));
    works(&with("localhost", &own)).await;
    assert!(!reaches(&with("localhost", &others)).await);
    assert!(!reaches(&with("127.0.0.1", &own)).await, "another name");
}

#[tokio::test]
async fn a_certificate_without_alternative_names_is_that_of_its_common_name() {
    let Some(redis) = Secure::with(certify_without_names, false).await else {
        return;
    };
    let ca = format!("ssl_ca_certs={}", redis.file("ca.pem"));
    // Its common name is `server`.
    assert!(!reaches(&redis.url("localhost", &ca)).await);
    let Some(redis) = Secure::with(certify_common_name, false).await else {
        return;
    };
    let ca = format!("ssl_ca_certs={}", redis.file("cert.pem"));
    works(&redis.url("localhost", &ca)).await;
}

#[tokio::test]
async fn a_redis_that_asks_who_we_are_is_shown_our_certificate() {
    let Some(redis) = Secure::with(certify_by_authority, true).await else {
        return;
    };
    let ca = format!("ssl_ca_certs={}", redis.file("ca.pem"));
    assert!(!reaches(&redis.url("127.0.0.1", &ca)).await);
    let (cert, key) = (redis.file("cert.pem"), redis.file("key.pem"));
    let identity = format!("{ca}&ssl_certfile={cert}&ssl_keyfile={key}");
    works(&redis.url("127.0.0.1", &identity)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_their_master_may_speak_tls() {
    let Some(master) = Secure::with(certify_by_authority, false).await else {
        return;
    };
    let (plain, secure) = (Port::claim(), Port::claim());
    let home = master.redis.directory.path();
    let config = format!(
        "port {}\nbind 127.0.0.1\ntls-port {}\ntls-cert-file cert.pem\n\
         tls-key-file key.pem\ntls-ca-cert-file ca.pem\ntls-auth-clients no\n\
         tls-replication yes\nsentinel monitor mymaster 127.0.0.1 {} 1\n",
        plain.number, secure.number, master.port.number
    );
    std::fs::write(home.join("sentinel.conf"), config).unwrap();
    let sentinel = Command::new(program())
        .args(["sentinel.conf", "--sentinel"])
        .current_dir(home)
        .stdout(Stdio::null())
        .spawn();
    let sentinel = Killed(sentinel.unwrap());
    until("the Sentinel", async || {
        let port = secure.number;
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    })
    .await;
    let ca = format!("ssl_ca_certs={}", master.file("ca.pem"));
    let url =
        |port: u16, options: &str| format!("sentinel://127.0.0.1:{port}/mymaster/0?{options}&{ca}");
    works(&url(secure.number, "ssl=true&sentinel_ssl=true")).await;
    works(&url(plain.number, "ssl=true")).await;
    assert!(!reaches(&url(secure.number, "ssl=true")).await);
    assert!(!reaches(&url(secure.number, "sentinel_ssl=true")).await);
    drop(sentinel);
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns whether the Sentinel knows a replica of its master and has heard that it is fine.
async fn met_a_replica(port: u16) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
        return false;
    };
    let mut question = redis::cmd("SENTINEL");
    question.arg("REPLICAS").arg("mymaster");
    let replicas = question.query_async(&mut connection).await;
    let replicas: Vec<HashMap<String, String>> = replicas.unwrap_or_default();
    let linked = |replica: &HashMap<String, String>| {
        replica
            .get("master-link-status")
            .is_some_and(|status| status == "ok")
    };
    replicas.iter().any(linked)
}

/// A master with a replica, and a Sentinel that knows both.
struct Watched {
    master: Redis,
    replica: Redis,
    sentinel: Child,
    port: Port,
    _directory: Directory,
}

impl Watched {
    async fn start() -> Option<Self> {
        let master = Redis::start().await?;
        let follow = |_: &Directory| {
            let port = master.port.number.to_string();
            vec!["--replicaof".to_owned(), "127.0.0.1".to_owned(), port]
        };
        let replica = Redis::with(follow).await?;
        let port = Port::claim();
        let directory = Directory::new();
        let file = directory.path().join("sentinel.conf");
        let config = format!(
            "port {}\nbind 127.0.0.1\n\
             sentinel monitor mymaster 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds mymaster 5000\n\
             sentinel failover-timeout mymaster 10000\n",
            port.number, master.port.number
        );
        std::fs::write(&file, config).unwrap();
        let sentinel = Command::new(program())
            .arg(&file)
            .arg("--sentinel")
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the replica", async || is_linked(&replica).await).await;
        until("the Sentinel to have met the replica", async || {
            met_a_replica(port.number).await
        })
        .await;
        Some(Watched {
            master,
            replica,
            sentinel,
            port,
            _directory: directory,
        })
    }

    fn url(&self) -> String {
        format!("sentinel://127.0.0.1:{}/mymaster/0", self.port.number)
    }

    /// Tells the Sentinel to make the replica the master.
    async fn fail_over(&self) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port.number));
        let connection = client.unwrap().get_multiplexed_async_connection().await;
        let mut order = redis::cmd("SENTINEL");
        order.arg("FAILOVER").arg("mymaster");
        let () = order.query_async(&mut connection.unwrap()).await.unwrap();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}

async fn is_linked(replica: &Redis) -> bool {
    let state: String = replica.ask("INFO replication").await;
    state.contains("master_link_status:up")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_leads_to_the_new_master() {
    let Some(watched) = Watched::start().await else {
        return;
    };
    let url = watched.url();
    let [one, other] = [Layer::at(&url, &[]).await, Layer::at(&url, &[]).await];
    one.join("g", "a").await;
    for layer in [&one, &other] {
        layer.layer.join_control().await.unwrap();
    }
    other.layer.group_send("g", counted(1)).await.unwrap();
    assert_eq!(one.next().await.1, number(1));
    watched.master.kill();
    tokio::join!(one.gap(), other.gap());
    other.layer.group_send("g", counted(2)).await.unwrap();
    // The old master may have taken what nobody heard: that is to be read, before what is newer.
    let (local, notice) = one.heard().await;
    assert_eq!(local, CONTROL, "{notice}");
    assert_eq!(notice["order"], "read_again");
    let mut next = one.next().await;
    while next.0 == CONTROL {
        next = one.next().await;
    }
    assert_eq!(next.1, number(2));
    let members: i64 = watched.replica.ask("EXISTS asgi:group:g").await;
    assert_eq!(members, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_that_nobody_demotes_is_left() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(watched) = Watched::start().await else {
            return;
        };
        let (url, settings) = (watched.url(), [("layer.backend", backend)]);
        let [one, other] = [
            Layer::at(&url, &settings).await,
            Layer::at(&url, &settings).await,
        ];
        one.join("g", "a").await;
        // The Sentinel tries in vain.
        let forbid = "ACL SETUSER default -replicaof -slaveof";
        let _: () = watched.master.ask(forbid).await;
        watched.fail_over().await;
        let began = Timestamp::now();
        for layer in [&one, &other] {
            let since = layer.gap().await;
            // What others said at the new master meanwhile was not heard.
            assert!(since.micros() < began.micros() - 30_000_000);
        }
        let role: redis::Value = watched.master.ask("ROLE").await;
        assert!(format!("{role:?}").contains("master"), "{role:?}");
        other.layer.group_send("g", counted(1)).await.unwrap();
        assert_eq!(one.next().await.1, number(1), "{backend}");
        let listeners = match backend {
            "redis" => watched.replica.ask("EXISTS asgi:group:g").await,
            _ => watched.replica.listeners("asgi__group__g").await,
        };
        assert_eq!(listeners, 1, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_moves_to_the_new_master_is_followed_although_nothing_is_cut() {
    for backend in ["redis", "redis_pubsub"] {
        let Some(old) = Redis::start().await else {
            return;
        };
        let new = Redis::start().await.unwrap();
        let follow = |of: &Redis| format!("REPLICAOF 127.0.0.1 {}", of.port.number);
        let _: () = new.ask(&follow(&old)).await;
        until("the replica", async || is_linked(&new).await).await;
        // One address for both, as of a cloud or a proxy.
        let cable = Cable::to(&old).await;
        let (url, settings) = (cable.url(), [("layer.backend", backend)]);
        let [one, other] = [
            Layer::at(&url, &settings).await,
            Layer::at(&url, &settings).await,
        ];
        for layer in [&one, &other] {
            layer.join("g", "a").await;
        }
        let _: () = new.ask("REPLICAOF NO ONE").await;
        let _: () = old.ask(&follow(&new)).await;
        cable.lead_to(&new);
        let restarted = Layer::at(&url, &settings).await;
        restarted.join("g", "a").await;
        tokio::join!(one.gap(), other.gap());
        for (n, sender) in [&one, &other, &restarted].into_iter().enumerate() {
            let sent = sender.layer.group_send("g", counted(n));
            let (sent, a, b, c) = tokio::join!(sent, one.next(), other.next(), restarted.next());
            sent.unwrap();
            for heard in [a, b, c] {
                assert_eq!(heard.1, number(n), "{backend}");
            }
        }
    }
}
