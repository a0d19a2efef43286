//! The ways to the server: sockets, the stages of TLS, and what a session is told first.

use crate::support::server::schema_of;
use std::{path::Path, sync::Arc};

use chatferry::{
    server::{Site, StartError},
    store::{self, StoreError},
};
use mysql_async::prelude::Queryable;
use serde_json::json;

use super::{
    database::Database,
    instance::{Flavour, Instance},
};
use crate::{
    cli::errors::told,
    support::{
        Directory,
        certificate::{certify_by_authority, certify_itself, certify_without_names},
        process::run,
        races::at_once,
        request,
    },
};

/// Opens the store at this URL and says why not.
async fn reach(database: &Database, url: &str) -> Result<(), StartError> {
    let site = Site::start(database.config(&[("store.url", url)])).await?;
    site.app.store.close().await;
    Ok(())
}

pub async fn a_socket_stands_where_django_projects_write_it(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let Some((socket, _)) = database.instance.files() else {
        return;
    };
    let socket = socket.display().to_string();
    let (login, place) = database.url.rsplit_once('@').unwrap();
    let (_, name) = place.rsplit_once('/').unwrap();
    let quoted = socket.replace('/', "%2F");
    for url in [
        format!("{}?unix_socket={socket}", database.url),
        format!("{login}@/{name}?unix_socket={socket}"),
        format!("{login}@{quoted}/{name}"),
    ] {
        reach(&database, &url.replace("mysql://", "mysql2://"))
            .await
            .unwrap();
    }
}

/// A server with this certificate that takes connections with TLS only, and a database on it.
async fn certified(on: Flavour, certify: fn(&Path) -> bool) -> Option<Database> {
    let instance = Instance::certified(on, &[], certify).await?;
    let database = Database::on(Arc::new(instance)).await;
    let mut root = database.instance.root().await;
    let secure = "SET GLOBAL require_secure_transport = ON";
    root.query_drop(secure).await.unwrap();
    Some(database)
}

pub async fn every_stage_of_tls_asks_for_more_than_the_one_before(on: Flavour) {
    let Some(named) = certified(on, certify_by_authority).await else {
        return;
    };
    let Some(unnamed) = certified(on, certify_without_names).await else {
        return;
    };
    let ca = |database: &Database| {
        let (_, cert) = database.instance.files().unwrap();
        cert.with_file_name("ca.pem").display().to_string()
    };
    // Whether a server is believed that has: our authority and our name; our authority and no
    // name; another authority.
    for (mode, believed) in [
        ("preferred", [true, true, true]),
        ("required", [true, true, true]),
        ("verify_ca", [true, true, false]),
        ("verify_identity", [true, false, false]),
    ] {
        let servers = [
            (&named, ca(&named)),
            (&unnamed, ca(&unnamed)),
            (&named, ca(&unnamed)),
        ];
        for ((database, ca), believed) in servers.into_iter().zip(believed) {
            let url = format!("{}?ssl-mode={mode}&ssl-ca={ca}", database.url);
            let config = database.config(&[("store.url", &url)]);
            let found = store::migrate(&config, &schema_of(&config)).await;
            assert_eq!(found.is_ok(), believed, "{mode}: {found:?}");
        }
    }
    let url = format!("store.url={}", named.url);
    let text = told(&Directory::new(), &["check", "--set", &url]).await;
    assert!(text.contains("ssl-mode=REQUIRED"), "{text}");
}

pub async fn a_certificate_that_is_its_own_authority_is_refused_with_what_to_do(on: Flavour) {
    let Some(database) = certified(on, certify_itself).await else {
        return;
    };
    let (_, cert) = database.instance.files().unwrap();
    for mode in ["verify_ca", "verify_identity"] {
        let url = format!("{}?ssl-mode={mode}&ssl-ca={}", database.url, cert.display());
        let url = url.replace("127.0.0.1", "localhost");
        let setting = format!("store.url={url}");
        let text = told(&Directory::new(), &["check", "--set", &setting]).await;
        assert!(text.contains("CaUsedAsEndEntity"), "{mode}: {text}");
        assert!(
            text.contains("that an authority has signed"),
            "{mode}: {text}"
        );
    }
    let url = format!(
        "{}?ssl-mode=required&ssl-ca={}",
        database.url,
        cert.display()
    );
    let config = database.config(&[("store.url", &url)]);
    let migrated = store::migrate(&config, &schema_of(&config)).await;
    migrated.unwrap();
}

pub async fn a_server_without_tls_is_preferred_and_not_required_to_have_it(on: Flavour) {
    let without = match on {
        Flavour::MariaDb => "--skip-ssl",
        Flavour::MySql => "--tls-version=",
    };
    let Some(instance) = Instance::certified(on, &[without], |_| true).await else {
        return;
    };
    let database = Database::on(Arc::new(instance)).await;
    database.migrate().await.unwrap();
    let with = |mode: &str| format!("{}?ssl-mode={mode}", database.url);
    reach(&database, &with("PREFERRED")).await.unwrap();
    assert!(reach(&database, &with("REQUIRED")).await.is_err());
}

pub async fn a_server_that_logs_statements_is_told_of_and_written_to_with_djangos_isolation_level(
    on: Flavour,
) {
    let options = [
        "--log-bin=binlog",
        "--binlog-format=STATEMENT",
        "--server-id=1",
    ];
    let Some(instance) = Instance::private(on, &options).await else {
        return;
    };
    let database = Database::on(Arc::new(instance)).await;
    let hint = "isolation_level=repeatable%20read";
    let migrated = database.migrate().await.unwrap_err();
    assert!(matches!(&migrated, StoreError::Unfit { remedy, .. } if remedy.contains(hint)));
    let url = format!("{}?{hint}", database.url);
    let settings = [("store.url", url.as_str())];
    let config = database.config(&settings);
    store::migrate(&config, &schema_of(&config)).await.unwrap();
    let check = format!("store.url={}", database.url);
    let text = told(&Directory::new(), &["check", "--set", &check]).await;
    assert!(text.contains(hint), "{text}");
    let check = format!("store.url={url}");
    let fine = run(&Directory::new(), &["check", "--set", &check]).await;
    assert!(fine.stdout.ends_with("Everything is fine.\n"), "{fine:?}");

    let one = database.server_with(&settings).await;
    let other = database.server_with(&settings).await;
    for number in 0..10 {
        let pair = |a, b| json!({"participant1_id": a, "participant2_id": b});
        let name = format!("bob {number}");
        let (made, found) = tokio::join!(
            one.post("/api/chat/conversations/", pair("alice", name.as_str())),
            other.post("/api/chat/conversations/", pair(name.as_str(), "alice")),
        );
        let mut statuses = [made.status, found.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "{} {}", made.text(), found.text());
        assert_eq!(made.json()["id"], found.json()["id"]);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let message = one.stored(&id, "alice", "hello").await;
        let read = format!(
            "/api/chat/messages/{}/read/",
            message["id"].as_str().unwrap()
        );
        for server in [&one, &other] {
            let marked = server.put(&read, json!({"user_id": name})).await;
            assert_eq!(marked.status, 200, "{}", marked.text());
        }
    }
}

pub async fn tables_of_three_bytes_refuse_what_they_cannot_hold(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let tables = ["conversations", "messages", "delivery_receipts"];
    let narrow = tables.map(|it| format!("ALTER TABLE {it} CONVERT TO CHARACTER SET utf8mb3"));
    let sql = format!("SET foreign_key_checks = 0;\n{}", narrow.join(";\n"));
    database.run(&sql).await;
    let server = database.server().await;
    let id = server.conversation().await;
    let message = server.stored(&id, "alice", "hello").await;
    let read = format!(
        "/api/chat/messages/{}/read/",
        message["id"].as_str().unwrap()
    );
    let pair = json!({"participant1_id": "u😀", "participant2_id": "bob"});
    for refused in [
        server.message(&id, "alice", "😀").await,
        server.message(&id, "u😀", "hello").await,
        server.post("/api/chat/conversations/", pair).await,
        server.put(&read, json!({"user_id": "u😀"})).await,
    ] {
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    let listed = server
        .get("/api/chat/users/u%F0%9F%98%80/conversations/")
        .await;
    let is_refused = listed.status == 400;
    assert!(is_refused || listed.text() == "[]", "{}", listed.text());
    let url = format!("store.url={}", database.url);
    let checked = run(&Directory::new(), &["check", "--set", &url]).await;
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    for text in [
        "messages.content (utf8mb3)",
        "delivery_receipts.user_id (utf8mb3)",
        "ALTER TABLE messages CONVERT TO CHARACTER SET utf8mb4",
    ] {
        assert!(checked.stderr.contains(text), "{}", checked.stderr);
    }
}

pub async fn first_words_that_the_server_refuses_are_told(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let with = |command: &str| format!("{}?init_command={command}", database.url);
    reach(&database, &with("SET+foreign_key_checks=1"))
        .await
        .unwrap();
    let url = format!("store.url={}", with("SET+no_such_thing=1"));
    let text = told(&Directory::new(), &["check", "--set", &url]).await;
    assert!(text.contains("no_such_thing"), "{text}");
    assert!(text.contains("correct init_command"), "{text}");
}

pub async fn few_connections_of_a_user_are_shared(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let (_, place) = database.url.rsplit_once('@').unwrap();
    let mut root = database.instance.root().await;
    for sql in [
        format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'pw' WITH MAX_USER_CONNECTIONS 2"),
        format!("GRANT ALL ON `{name}`.* TO '{name}'@'%'"),
    ] {
        root.query_drop(sql).await.unwrap();
    }
    let url = format!("mysql://{name}:pw@{place}");
    let server = database.server_with(&[("store.url", &url)]).await;
    let id = server.conversation().await;
    let list = format!("/api/chat/conversations/{id}/messages/");
    for round in 0..3 {
        let asking = (0..40).map(|_| (&server, request("GET", &list, &[], None)));
        let answers = at_once(asking).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        // Now those that read have all, and one of them ends for the one that writes.
        if round == 1 {
            database.kill_all().await;
            let asking = (0..40).map(|_| (&server, request("GET", &list, &[], None)));
            at_once(asking).await;
        }
        assert_eq!(server.message(&id, "alice", "hello").await.status, 201);
    }
    assert_eq!(server.contents(&id).await.len(), 3);
    drop(server);
    let sql = format!("DROP USER '{name}'@'%'");
    root.query_drop(sql).await.unwrap();
}
