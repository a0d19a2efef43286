//! The ways to a Redis: passwords and databases, TLS, socket files, Sentinels.

use std::{
    collections::HashMap,
    path::Path,
    process::{Child, Command, Stdio},
};

use chatferry::{django::datetime::Timestamp, layer::CONTROL};

use super::{
    cable::Cable,
    instance::Redis,
    world::{Layer, counted, number},
};
use crate::support::{Directory, Port, skip, until};

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

/// A certificate authority and a certificate for 127.0.0.1 signed by it; `false` without openssl.
fn certificates(directory: &Path) -> bool {
    let run = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(directory);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    std::fs::write(directory.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca")
        && run("req -newkey rsa:2048 -nodes -keyout redis.key -out redis.csr -subj /CN=redis")
        && run(
            "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out redis.pem -days 2 -extfile san",
        )
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let claimed = Port::claim();
    let port = claimed.number;
    let mut made = false;
    let options = |directory: &Directory| {
        made = certificates(directory.path());
        if !made {
            return Vec::new();
        }
        let port = port.to_string();
        let pairs = [
            ("--tls-port", &*port),
            ("--tls-cert-file", "redis.pem"),
            ("--tls-key-file", "redis.key"),
            ("--tls-ca-cert-file", "ca.pem"),
            ("--tls-auth-clients", "no"),
        ];
        pairs
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
            .collect()
    };
    let Some(redis) = Redis::with(options).await else {
        return;
    };
    if !made {
        return skip("no openssl");
    }
    let ca = redis.directory.path().join("ca.pem");
    works(&format!(
        "rediss://127.0.0.1:{port}/1?ssl_ca_certs={}",
        ca.display()
    ))
    .await;
    works(&format!("rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")).await;
    let unknown = Layer::at(&format!("rediss://127.0.0.1:{port}/0"), &[]).await;
    assert!(
        unknown.layer.ping().await.is_err(),
        "an unknown authority is not trusted"
    );
}

/// Whether the Sentinel knows a replica of its master and has heard that it is fine.
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
        let sentinel = Command::new("redis-server")
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
