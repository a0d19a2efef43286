//! The ways to the server: a socket, TCP, TLS with and without a look at the certificate.

use crate::support::server::schema_of;
use chatferry::{
    server::{Site, StartError},
    store::{self, StoreError},
};

use super::database::Database;
use crate::support::{Directory, certificate::certify_itself, skip};

/// Opens the store and says why not.
async fn reach(database: &Database, url: &str) -> Result<(), StartError> {
    let config = database.config(&[("store.url", url)]);
    let site = Site::start(config).await?;
    site.app.store.close().await;
    Ok(())
}

#[tokio::test]
async fn a_socket_is_named_by_its_directory() {
    let Some(database) = Database::secure().await else {
        return;
    };
    assert!(database.url.contains("?host=/"), "{}", database.url);
    let server = database.server().await;
    let id = server.conversation().await;
    server.socket(&id).await.works().await;
}

#[tokio::test]
async fn a_server_is_believed_as_much_as_sslmode_says() {
    let Some(database) = Database::secure().await else {
        return;
    };
    let (port, directory) = database.cluster.place();
    let root = directory.join("root.crt");
    let at = |host: &str, options: &str| format!("postgres://chat@{host}:{port}/postgres{options}");
    let trusted = format!("?sslmode=verify-full&sslrootcert={}", root.display());
    for way in [
        at("localhost", ""),
        at("localhost", "?sslmode=prefer"),
        at("127.0.0.1", "?sslmode=require"),
        at("localhost", &trusted),
    ] {
        let reached = reach(&database, &way).await;
        assert!(reached.is_ok(), "{way}: {reached:?}");
    }
    for (way, why) in [
        (at("localhost", "?sslmode=disable"), "no encryption"),
        (at("127.0.0.1", &trusted), "TLS"),
        (at("localhost", "?sslmode=verify-full"), "TLS"),
        (at("localhost", "?sslmode=verify-ca"), "TLS"),
        (at("localhost", "?sslmode=verify"), "sslmode is"),
    ] {
        let error = reach(&database, &way).await.unwrap_err().to_string();
        assert!(error.contains(why), "{way}: {error}");
    }
}

#[tokio::test]
async fn every_stage_of_tls_asks_for_more_than_the_one_before() {
    let Some(database) = Database::secure().await else {
        return;
    };
    let (port, data) = database.cluster.place();
    let ours = data.join("root.crt").display().to_string();
    let directory = Directory::new();
    if !certify_itself(directory.path()) {
        return skip("no openssl");
    }
    let others = directory.path().join("cert.pem").display().to_string();
    // Whether the server is believed by: our authority and its name; our authority and another
    // name; another authority.
    let places = [
        ("localhost", &ours),
        ("127.0.0.1", &ours),
        ("localhost", &others),
    ];
    for (mode, believed) in [
        ("require", [true, true, false]),
        ("verify-ca", [true, true, false]),
        ("verify-full", [true, false, false]),
    ] {
        for ((host, root), believed) in places.into_iter().zip(believed) {
            let options = format!("sslmode={mode}&sslrootcert={root}");
            let url = format!("postgres://chat@{host}:{port}/postgres?{options}");
            let reached = reach(&database, &url).await;
            assert_eq!(reached.is_ok(), believed, "{url}: {reached:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate() {
    let Some(database) = Database::secure().await else {
        return;
    };
    let (port, data) = database.cluster.place();
    database.cluster.asks_for_certificates().await;
    let file = |name: &str| data.join(name).display().to_string();
    let url = format!("postgres://chat@localhost:{port}/postgres?sslmode=require");
    assert!(reach(&database, &url).await.is_err());
    let (cert, key) = (file("server.crt"), file("server.key"));
    let known = format!("{url}&sslcert={cert}&sslkey={key}");
    reach(&database, &known).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_the_password() {
    let Some(database) = Database::empty().await else {
        return;
    };
    let url = "postgres://chat:s3cret@127.0.0.1:1/chat";
    let config = database.config(&[("store.url", url)]);
    let error = store::check(&config, &schema_of(&config))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}
