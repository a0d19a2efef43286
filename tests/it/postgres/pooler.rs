//! A pooler before the server, which gives each transaction whichever of its connections is free:
//! pgbouncer, which keeps no prepared statements in this mode.

use crate::support::server::schema_of;
use std::{collections::HashSet, path::PathBuf, process::Child, sync::Arc};

use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    cluster::as_server,
    database::{Database, connect},
};
use crate::{
    cli::errors::told,
    support::{Directory, Port, Server, child::end, skip, soon, until},
};

/// The connections of the pooler to the server: fewer than the clients have.
const SIZE: usize = 4;

/// Ends with the test.
struct Pooler {
    program: PathBuf,
    process: Option<Child>,
    port: Port,
    directory: Directory,
}

impl Pooler {
    /// A pooler before the server of `database`, with more lines in its settings.
    async fn before(database: &Database, more: &str) -> Option<Self> {
        let (_, server) = database.cluster.location.rsplit_once('@').unwrap();
        let (host, port) = server.rsplit_once(':').unwrap();
        let (claimed, directory) = (Port::claim(), super::cluster::directory());
        let settings = format!(
            "[databases]\n* = host={host} port={port} user=chat\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {SIZE}\n{more}\n",
            claimed.number
        );
        std::fs::write(directory.path().join("pgbouncer.ini"), settings).unwrap();
        let Some(program) = program() else {
            skip("no pgbouncer");
            return None;
        };
        let mut pooler = Pooler {
            program,
            process: None,
            port: claimed,
            directory,
        };
        pooler.start().await;
        Some(pooler)
    }

    async fn start(&mut self) {
        let mut command = as_server(&self.program, &self.directory);
        self.process = Some(command.arg("pgbouncer.ini").spawn().unwrap());
        until("pgbouncer", async || {
            let port = self.port.number;
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
    }

    /// The way to `database` through it.
    fn url(&self, database: &Database) -> String {
        let (_, name) = database.url.rsplit_once('/').unwrap();
        format!("postgres://chat@127.0.0.1:{}/{name}", self.port.number)
    }

    fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process, "KILL");
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where pgbouncer is.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHATFERRY_TEST_PGBOUNCER") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut programs = places.map(|place| place.join("pgbouncer"));
    programs.find(|program| program.exists())
}

/// People who use the chat at once: each makes a conversation, writes in it and reads.
async fn people_chat(server: &Arc<Server>, name: &str) {
    let chatting = (0..20).map(|number| {
        let (server, name) = (Arc::clone(server), format!("{name}-{number}"));
        tokio::spawn(async move {
            for round in 0..2 {
                let other = format!("{name}-{round}");
                let pair = json!({"participant1_id": name, "participant2_id": other});
                let made = server.post("/api/chat/conversations/", pair).await;
                assert_eq!(made.status, 201, "{}", made.text());
                let id = made.json()["id"].as_str().unwrap().to_owned();
                let message = server.stored(&id, &name, "hello").await;
                let read = format!(
                    "/api/chat/messages/{}/read/",
                    message["id"].as_str().unwrap()
                );
                let marked = server.put(&read, json!({"user_id": other})).await;
                assert_eq!(marked.status, 200, "{}", marked.text());
                for path in [
                    format!("/api/chat/users/{name}/conversations/"),
                    format!("/api/chat/conversations/{id}/messages/"),
                ] {
                    let answer = server.get(&path).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            }
        })
    });
    for chatting in chatting.collect::<Vec<_>>() {
        soon("somebody who chats", chatting).await.unwrap();
    }
}

/// The answer to one question, and the server's process that gave it.
async fn ask(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.simple_query(sql).await.unwrap();
    rows.iter()
        .filter_map(|row| match row {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(move |column| row.get(column).unwrap_or("").to_owned()))
            }
            _ => None,
        })
        .flatten()
        .collect()
}

/// Looks at every connection that the pooler has: whoever is given it next finds it as new.
async fn left_nothing_behind(url: &str) {
    let mut clients = Vec::new();
    for _ in 0..SIZE {
        let client = connect(url).await;
        client.simple_query("BEGIN").await.unwrap();
        clients.push(client);
    }
    let mut processes = HashSet::new();
    for client in &clients {
        let sql = "SELECT pg_backend_pid(), current_setting('statement_timeout'), \
                   current_setting('idle_in_transaction_session_timeout'), \
                   current_setting('default_transaction_isolation'), \
                   (SELECT count(*) FROM pg_prepared_statements), \
                   (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database()))";
        let found = ask(client, sql).await;
        processes.insert(found[0].clone());
        assert_eq!(found[1..], ["0", "0", "read committed", "0", "0"]);
    }
    assert_eq!(processes.len(), SIZE);
}

async fn works_through(more: &str) {
    let Some(database) = Database::empty().await else {
        return;
    };
    let Some(mut pooler) = Pooler::before(&database, more).await else {
        return;
    };
    let url = pooler.url(&database);
    let settings = [("store.url", url.as_str())];
    let config = database.config(&settings);
    chatferry::store::migrate(&config, &schema_of(&config))
        .await
        .unwrap();
    let found = chatferry::store::check(&config, &schema_of(&config))
        .await
        .unwrap();
    assert!(found.is_empty(), "{found:?}");
    let start = async || Arc::new(Server::with(&settings).await);
    let (one, other) = (start().await, start().await);
    tokio::join!(people_chat(&one, "one"), people_chat(&other, "other"));
    // One of them is replaced, and the pooler too.
    let one = Arc::try_unwrap(one).unwrap_or_else(|_| panic!("somebody still chats"));
    one.drained().await;
    let one = start().await;
    tokio::join!(people_chat(&one, "again"), people_chat(&other, "still"));
    left_nothing_behind(&url).await;
    pooler.stop();
    pooler.start().await;
    people_chat(&other, "later").await;
    people_chat(&one, "last").await;
    let rows: i64 = database.value("SELECT count(*) FROM messages").await;
    assert_eq!(rows, 240);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_refuses_start_up_options_is_worked_with() {
    works_through("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_ignores_start_up_options_is_worked_with() {
    works_through("ignore_startup_parameters = options").await;
}

#[tokio::test]
async fn options_of_the_url_that_a_pooler_refuses_are_told() {
    let Some(database) = Database::new().await else {
        return;
    };
    let Some(pooler) = Pooler::before(&database, "").await else {
        return;
    };
    let url = format!(
        "store.url={}?options=-c%20search_path%3Dchat",
        pooler.url(&database)
    );
    let text = told(&Directory::new(), &["check", "--set", &url]).await;
    assert!(text.contains("unsupported startup parameter"), "{text}");
    assert!(text.contains("take `options` out of store.url"), "{text}");
    assert!(!text.contains("start the database"), "{text}");
}
