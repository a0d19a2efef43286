//! `chatferry check` on set-ups that are broken, each in a way of its own: what it prints stands in
//! `src/cli/README.md`, word for word but for times and addresses.

use std::net::TcpListener;

use serde_json::Value;

use crate::{
    cli::errors::page,
    mysql::{database::Database as Mysql, instance::Flavour},
    postgres::database::Database as Postgres,
    redis::instance::Redis,
    support::{
        Directory, Process,
        process::{Outcome, run},
    },
};

/// Runs `check` with these settings, at an address that is free.
async fn check(directory: &Directory, settings: &[&str]) -> Outcome {
    let mut arguments = vec!["check", "--set", "server.bind=127.0.0.1:0"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    run(directory, &arguments).await
}

/// A line without what differs from one machine to another.
fn plain(line: &str) -> String {
    let line = match line.rsplit_once(" (") {
        Some((head, tail)) if tail.ends_with(" ms)") => format!("{head} (… ms)"),
        _ => line.to_owned(),
    };
    match line.split_once("open files ") {
        Some((head, _)) => {
            format!("{head}open files            65536, for 65119 connections (… ms)")
        }
        None => line.replace(rusqlite::version(), "3.53.0"),
    }
}

/// Fails unless the page has what was printed: of the steps those that `which` lets through, then every
/// finding. `names` are what the page calls by another name.
fn assert_on_the_page(
    directory: &Directory,
    outcome: &Outcome,
    names: &[(&str, &str)],
    which: fn(&str) -> bool,
) {
    let steps = outcome.stdout.lines().filter(|line| which(line)).map(plain);
    let mut text: String = steps.map(|line| line + "\n").collect();
    text.push_str(&outcome.stderr);
    text = text.replace(directory.path().to_str().unwrap(), "/srv/chat");
    for (found, name) in names {
        text = text.replace(found, name);
    }
    let block = format!("```\n{text}```\n");
    assert!(page().contains(&block), "not on the page:\n{block}");
}

/// The same of the steps that did not go well.
fn assert_fault(directory: &Directory, outcome: &Outcome, names: &[(&str, &str)]) {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_on_the_page(directory, outcome, names, |line| line.starts_with("failed"));
}

/// The part of a URL after the scheme up to the database.
fn place(url: &str) -> &str {
    url.split_once("://").unwrap().1.rsplit_once('/').unwrap().0
}

/// The name of the database in a URL.
fn name(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1
}

#[tokio::test]
async fn all_steps_are_shown_when_all_is_well() {
    let directory = Directory::new();
    let outcome = check(&directory, &["layer.sweep_s=5"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_on_the_page(&directory, &outcome, &[], |_| true);
    assert!(!directory.database().exists());
}

#[tokio::test]
async fn every_fault_is_found_and_not_only_the_first() {
    let directory = Directory::new();
    let file = directory.path().join("chatferry.toml");
    std::fs::write(file, "[ws]\nhistroy_limit = 50\n").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (bind, url) = (
        format!("server.bind={address}"),
        format!(
            "store.url=sqlite://{}/data/chat.sqlite3",
            directory.path().display()
        ),
    );
    let outcome = check(
        &directory,
        &[&bind, &url, "gateway.upstream=http://127.0.0.1:1"],
    )
    .await;
    let names = [
        (&*address, "127.0.0.1:8000"),
        ("http://127.0.0.1:1.", "http://127.0.0.1:8001."),
        ("http://127.0.0.1:1 ", "http://127.0.0.1:8001 "),
    ];
    assert_fault(&directory, &outcome, &names);
}

#[tokio::test]
async fn a_certificate_that_is_not_there() {
    let directory = Directory::new();
    let settings = [
        "server.tls.cert=/etc/chatferry/cert.pem",
        "server.tls.key=/etc/chatferry/key.pem",
    ];
    assert_fault(&directory, &check(&directory, &settings).await, &[]);
}

#[tokio::test]
async fn a_user_who_may_only_read() {
    let Some(database) = Mysql::new(Flavour::MariaDb).await else {
        return;
    };
    let (own, user) = (name(&database.url), format!("r{}", std::process::id()));
    let mut root = database.instance.root().await;
    for sql in [
        format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'"),
        format!("GRANT SELECT ON `{own}`.* TO '{user}'@'%'"),
    ] {
        mysql_async::prelude::Queryable::query_drop(&mut root, sql)
            .await
            .unwrap();
    }
    let (_, at) = place(&database.url).rsplit_once('@').unwrap();
    let directory = Directory::new();
    let url = format!("store.url=mysql://{user}:pw@{at}/{own}");
    let outcome = check(&directory, &[&url]).await;
    let drop = format!("DROP USER '{user}'@'%'");
    mysql_async::prelude::Queryable::query_drop(&mut root, drop)
        .await
        .unwrap();
    let names = [
        (&*format!("{user}:***@{at}/{own}"), "chat:***@db/chat"),
        (&*format!("'{user}'@'localhost'"), "'chat'@'web'"),
        (&*format!("'{user}'@'127.0.0.1'"), "'chat'@'web'"),
        (own, "chat"),
    ];
    assert_fault(&directory, &outcome, &names);
}

/// Fails unless the page has what is said of MariaDB's tables after this statement: warnings alone.
async fn warned_of(sql: &str) {
    let Some(database) = Mysql::new(Flavour::MariaDb).await else {
        return;
    };
    database.run(sql).await;
    let directory = Directory::new();
    let outcome = check(&directory, &[&format!("store.url={}", database.url)]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_on_the_page(&directory, &outcome, &[], |line| {
        line.starts_with("warning")
    });
}

#[tokio::test]
async fn columns_that_are_too_short() {
    warned_of(
        "ALTER TABLE delivery_receipts MODIFY status varchar(5) NOT NULL;\n\
         ALTER TABLE messages MODIFY content varchar(200) NOT NULL",
    )
    .await;
}

#[tokio::test]
async fn a_character_set_without_room_for_every_text() {
    warned_of("ALTER TABLE messages MODIFY content longtext CHARACTER SET latin1 NOT NULL").await;
}

/// Of the kinds of databases one has no statement that fails without the key: it would store doubles.
#[tokio::test]
async fn receipts_without_their_unique_key() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let Some(database) = Mysql::new(flavour).await else {
            continue;
        };
        let foreign = "ALTER TABLE delivery_receipts DROP FOREIGN KEY \
                       delivery_receipts_message_id_c237a167_fk_messages_id;\n";
        let key = "ALTER TABLE delivery_receipts DROP INDEX \
                   delivery_receipts_message_id_user_id_33021158_uniq";
        database.run(&format!("{foreign}{key}")).await;
        let directory = Directory::new();
        let outcome = check(&directory, &[&format!("store.url={}", database.url)]).await;
        assert_fault(&directory, &outcome, &[]);
    }
    let directory = Directory::new();
    run(&directory, &["migrate"]).await;
    directory
        .open()
        .execute_batch(
            "DROP TABLE delivery_receipts; CREATE TABLE delivery_receipts (id char(32) NOT NULL \
             PRIMARY KEY, user_id varchar(255) NOT NULL, status varchar(10) NOT NULL, timestamp \
             datetime NOT NULL, message_id char(32) NOT NULL)",
        )
        .unwrap();
    assert_fault(&directory, &check(&directory, &[]).await, &[]);
}

#[tokio::test]
async fn a_database_that_is_not_there() {
    let Some(database) = Postgres::empty().await else {
        return;
    };
    let url = format!("store.url=postgres://{}/shop", place(&database.url));
    let directory = Directory::new();
    let outcome = check(&directory, &[&url]).await;
    let shown = format!("postgres://{}/shop", place(&database.url));
    assert_fault(
        &directory,
        &outcome,
        &[(&shown, "postgres://chat:***@db/shop")],
    );
}

#[tokio::test]
async fn a_database_without_tables() {
    let Some(database) = Postgres::empty().await else {
        return;
    };
    let directory = Directory::new();
    let outcome = check(&directory, &[&format!("store.url={}", database.url)]).await;
    assert_fault(&directory, &outcome, &[]);
}

#[tokio::test]
async fn a_table_that_may_not_be_written() {
    let Some(database) = Postgres::new().await else {
        return;
    };
    let role = format!("{}_reader", name(&database.url));
    database
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        ))
        .await;
    let directory = Directory::new();
    let url = format!(
        "store.url={}",
        database.url.replace("//chat@", &format!("//{role}@"))
    );
    let outcome = check(&directory, &[&url]).await;
    database
        .run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
    assert_fault(&directory, &outcome, &[]);
}

async fn redis_with(options: &[&str]) -> Option<Redis> {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Redis::with(|_| options).await
}

/// Fails unless the page has what `check` says of the layer at `url`.
async fn layer(redis: &Redis, url: &str) {
    layer_of("redis", redis, url).await;
}

/// The same of a layer of this backend.
async fn layer_of(backend: &str, redis: &Redis, url: &str) {
    let directory = Directory::new();
    let hosts = format!("layer.hosts={url}");
    let outcome = check(&directory, &[&format!("layer.backend={backend}"), &hosts]).await;
    let port = format!("127.0.0.1:{}", redis.port.number);
    assert_fault(&directory, &outcome, &[(&port, "redis:6379")]);
}

#[tokio::test]
async fn a_redis_with_another_password() {
    let Some(redis) = redis_with(&["--requirepass", "s3cret"]).await else {
        return;
    };
    layer(
        &redis,
        &format!("redis://:wr0ng@127.0.0.1:{}/0", redis.port.number),
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_is_a_cluster() {
    let Some(redis) = Redis::clustered().await else {
        return;
    };
    layer(&redis, &redis.url()).await;
}

#[tokio::test]
async fn a_redis_that_is_a_replica() {
    let Some(redis) = redis_with(&["--replicaof", "127.0.0.1 1"]).await else {
        return;
    };
    layer(&redis, &redis.url()).await;
    layer_of("redis_pubsub", &redis, &redis.url()).await;
}

#[tokio::test]
async fn a_redis_user_who_may_not_join_groups() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let _: redis::Value = redis.ask("ACL SETUSER default -zadd").await;
    layer(&redis, &redis.url()).await;
}

#[tokio::test]
async fn an_issuer_that_does_not_answer() {
    let directory = Directory::new();
    let settings = [
        "auth.identity=jwt",
        "auth.jwt.jwks_url=http://127.0.0.1:1/jwks",
        "auth.jwt.algorithms=RS256",
    ];
    let outcome = check(&directory, &settings).await;
    assert_fault(&directory, &outcome, &[("127.0.0.1:1/", "127.0.0.1:9000/")]);
}

#[tokio::test]
async fn a_chatferry_that_serves_there_is_no_fault_and_no_program_else_is_taken_for_one() {
    let directory = Directory::new();
    let server = Process::start(&directory, &[]).await;
    let bind = format!("server.bind={}", server.address);
    let outcome = check(&directory, &[&bind]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.stderr.contains("a Chatferry serves on"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn machines_are_given_the_same_as_json() {
    let directory = Directory::new();
    let url = "store.url=sqlite:///no/such/directory/chat.sqlite3";
    let mut arguments = vec!["check", "--json", "--set", "server.bind=127.0.0.1:0"];
    arguments.extend(["--set", url]);
    let outcome = run(&directory, &arguments).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, ""));
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document["ok"], false);
    let steps = document["steps"].as_array().unwrap();
    let named = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap();
    assert_eq!(named("bind")["outcome"], "ok");
    let failed = named("store: tables");
    assert_eq!(failed["outcome"], "failed");
    let fault = &failed["faults"][0];
    assert!(
        fault["what"]
            .as_str()
            .unwrap()
            .contains("/no/such/directory"),
        "{fault}"
    );
    assert!(
        fault["what_to_do"].as_str().unwrap().contains("store.url"),
        "{fault}"
    );
    assert!(
        steps.iter().all(|step| step["took_ms"].is_f64()),
        "{document}"
    );

    let wrong = [
        "check",
        "--json",
        "--set",
        "ws.queue_bytes=1",
        "--set",
        "layer.backend=redsi",
    ];
    let outcome = run(&directory, &wrong).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (2, ""));
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document["steps"][0]["faults"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_logs_in_one_line_that_all_is_well_and_else_what_is_not() {
    let mut server = Process::start(&Directory::new(), &[]).await;
    server
        .logs("all is well: settings, open files took_ms=")
        .await;
    let settings = [
        "auth.identity=jwt",
        "auth.policy=participants",
        "auth.jwt.algorithms=HS256",
        "auth.jwt.secret=0123456789abcdef0123456789abcdef",
    ];
    let mut server = Process::start(&Directory::new(), &settings).await;
    server
        .logs("all is well: settings, open files, store: connect")
        .await;
    let upstream = ["gateway.upstream=http://127.0.0.1:1"];
    let mut server = Process::start(&Directory::new(), &upstream).await;
    server.logs("Django does not answer").await;
}

#[tokio::test]
async fn nothing_that_was_written_stays() {
    let Some(database) = Postgres::new().await else {
        return;
    };
    let url = format!("store.url={}", database.url);
    let outcome = check(&Directory::new(), &[&url]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for table in ["conversations", "messages", "delivery_receipts"] {
        let rows: i64 = database
            .value(&format!("SELECT count(*) FROM {table}"))
            .await;
        assert_eq!(rows, 0, "{table}");
    }
    let Some(redis) = Redis::start().await else {
        return;
    };
    let hosts = format!("layer.hosts={}", redis.url());
    for backend in ["layer.backend=redis", "layer.backend=redis_pubsub"] {
        let outcome = check(&Directory::new(), &[&hosts, backend]).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(redis.keys().await.is_empty(), "{backend}");
    }
}
