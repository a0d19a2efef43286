//! A task that the process cannot do without is not missed in silence.

use chatferry::server::Ended;

use crate::{
    redis::instance::Redis,
    support::{Directory, Process, Server, process::chatferry, soon, until},
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

#[tokio::test]
async fn the_process_ends_with_1_when_a_task_it_needs_has_panicked() {
    for task in ["delivery", "repairs", "committer"] {
        let directory = Directory::new();
        let database = format!("store.url=sqlite://{}", directory.database().display());
        let settings = ["server.bind=127.0.0.1:0", &database];
        let mut arguments = vec!["serve"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let mut command = chatferry(&directory, &arguments);
        command.env("CHATFERRY_PROVOKE", task);
        let (code, log) = Process::of(command).await.ended().await;
        assert_eq!(code, 1, "{log}");
        assert!(
            log.contains(&format!("the task `{task}` has panicked")),
            "{log}"
        );
    }
}
