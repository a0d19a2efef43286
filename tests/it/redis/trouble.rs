//! A Redis that answers, and not as wished: the reason is told, and it keeps nobody out whom a Redis
//! that is not there would not keep out.

use std::sync::Arc;

use crate::support::{Directory, Server, process::run, until};

use super::instance::Redis;

/// A server on this Redis.
async fn server_on(url: &str, backend: &str) -> Server {
    Server::with(&[("layer.backend", backend), ("layer.hosts", url)]).await
}

/// What `check` complains of.
async fn complaint(url: &str, backend: &str) -> String {
    let (backend, hosts) = (
        format!("layer.backend={backend}"),
        format!("layer.hosts={url}"),
    );
    let arguments = ["check", "--set", &backend, "--set", &hosts];
    let checked = run(&Directory::new(), &arguments).await;
    assert_eq!(checked.code, 1, "{checked:?}");
    checked.stderr
}

/// What `/readyz` says of the layer.
async fn not_ready(server: &Server) -> String {
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    ready.json()["layer"].as_str().unwrap().to_owned()
}

/// Sockets open and hear what is said in their own process.
async fn sockets_work(server: &Server) {
    let id = server.conversation().await;
    let (mut one, mut other) = (server.socket(&id).await, server.socket(&id).await);
    one.say("hello").await;
    assert_eq!(one.heard().await, "hello");
    assert_eq!(other.heard().await, "hello");
}

/// Both backends, `/readyz` and `check` say why, and what to do.
async fn is_told(url: &str, why: &str, next: &str) {
    for backend in ["redis", "redis_pubsub"] {
        let server = server_on(url, backend).await;
        let said = not_ready(&server).await;
        assert!(said.contains(why), "{backend}: {said}");
        sockets_work(&server).await;
        let said = complaint(url, backend).await;
        assert!(said.contains(why), "{backend}: {said}");
        assert!(said.contains(next), "{backend}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told() {
    let options = |_: &Directory| vec!["--requirepass".to_owned(), "s3cret".to_owned()];
    let Some(redis) = Redis::with(options).await else {
        return;
    };
    let url = format!("redis://:wr0ng@127.0.0.1:{}/0", redis.port.number);
    is_told(&url, "authentication failed", "correct user and password").await;
    is_told(&redis.url(), "NOAUTH", "correct user and password").await;
    let said = complaint(&url, "redis").await;
    assert!(!said.contains("wr0ng"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_nowhere_and_a_port_where_nobody_listens_are_told() {
    let next = "start Redis, or correct address";
    is_told("redis://no-such-host.invalid:6379", "lookup", next).await;
    is_told("redis://127.0.0.1:1", "refused", next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_told_of_by_the_core_layer() {
    let Some(redis) = Redis::clustered().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port.number);
    let server = server_on(&url, "redis").await;
    assert!(not_ready(&server).await.contains("is a cluster"));
    sockets_work(&server).await;
    let said = complaint(&url, "redis").await;
    assert!(said.contains("layer.backend = redis_pubsub"), "{said}");
    assert!(!said.contains("start Redis"), "{said}");
}

/// Redis refuses to make members, and later does not.
async fn refused_for_a_while(backend: &str, refuse: &str, accept: &str, why: &str) {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let directory = Arc::new(Directory::new());
    let hosts = redis.url();
    let settings = [("layer.backend", backend), ("layer.hosts", hosts.as_str())];
    let one = Server::on(Arc::clone(&directory), &settings).await;
    let other = Server::on(directory, &settings).await;
    let command = async |command: &str| {
        let _: redis::Value = redis.ask(command).await;
    };
    command(refuse).await;
    sockets_work(&one).await;
    until("the reason", async || {
        let ready = one.get("/readyz").await;
        ready.status == 503 && ready.text().contains(why)
    })
    .await;
    let id = one.conversation_of("carol", "dave").await;
    let mut socket = one.socket(&id).await;
    command(accept).await;
    until("readiness", async || one.get("/readyz").await.status == 200).await;
    // Whoever joined meanwhile is a member now.
    let mut elsewhere = other.socket(&id).await;
    elsewhere.say("hello").await;
    assert_eq!(socket.heard().await, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memberships_that_are_refused_are_made_when_they_can_be() {
    refused_for_a_while(
        "redis",
        "ACL SETUSER default -zadd",
        "ACL SETUSER default +@all",
        "NoPerm",
    )
    .await;
    refused_for_a_while(
        "redis_pubsub",
        "ACL SETUSER default resetchannels &asgispecific.*",
        "ACL SETUSER default allchannels",
        "NoPerm",
    )
    .await;
}
