//! A task that the process cannot do without is not missed in silence.

use chatferry::server::Ended;

use crate::{
    redis::instance::Redis,
    support::{Server, soon, until},
};

/// The tasks of a server, and the part of the program that each belongs to.
async fn falls(server: Server, task: &'static str) {
    let app = std::sync::Arc::clone(&server.app);
    assert_eq!(server.get("/readyz").await.status, 200);
    for vital in [
        &app.vital,
        app.store.committer().vital(),
        &app.layer.vital(),
    ] {
        vital.provoke(task);
    }
    until("the notice", async || app.vital.failed() == Some(task)).await;
    let ended = soon("the end", server.ended()).await;
    assert_eq!(ended, Ended::Failed(task));
}

#[tokio::test]
async fn a_server_ends_when_a_task_it_needs_has_panicked() {
    for task in ["delivery", "repairs", "committer"] {
        falls(Server::start().await, task).await;
    }
    for backend in ["redis", "redis_pubsub"] {
        for task in ["keeper", "sender", "sweep", "unannounced"] {
            let Some(redis) = Redis::start().await else {
                return;
            };
            let url = redis.url();
            let flags = [("layer.backend", backend), ("layer.hosts", &*url)];
            falls(Server::with(&flags).await, task).await;
        }
    }
}
