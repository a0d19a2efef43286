//! A database of a test's own, and what the test does to it behind the server's back.

use std::{sync::Arc, thread};

use chatferry::{
    config::Config,
    store::{self, StoreError},
};
use tokio::{process::Command, runtime};
use tokio_postgres::{Client, NoTls, types::FromSqlOwned};

use super::cluster::{Cluster, python, reference};
use crate::support::{Server, soon};

/// A new database; dropped at the end of the test.
pub struct Database {
    pub cluster: Arc<Cluster>,
    pub url: String,
    name: String,
}

impl Database {
    /// Without any table; none if there is no PostgreSQL here.
    pub async fn empty() -> Option<Self> {
        Some(Database::on(Cluster::shared().await?).await)
    }

    /// With Chatferry's tables.
    pub async fn new() -> Option<Self> {
        let database = Database::empty().await?;
        store::migrate(&database.config(&[])).await.unwrap();
        Some(database)
    }

    /// With Chatferry's tables, on a server that the test may stop.
    pub async fn mortal() -> Option<Self> {
        let database = Database::on(Cluster::private().await?).await;
        store::migrate(&database.config(&[])).await.unwrap();
        Some(database)
    }

    /// With Chatferry's tables, on a server that wants TLS. `url` is the way by its socket.
    pub async fn secure() -> Option<Self> {
        let cluster = Cluster::secure().await?;
        let (port, directory) = cluster.place();
        let database = Database {
            url: format!(
                "postgres://chat@/postgres?host={}&port={port}",
                directory.display()
            ),
            name: cluster.new_name(),
            cluster,
        };
        store::migrate(&database.config(&[])).await.unwrap();
        Some(database)
    }

    async fn on(cluster: Arc<Cluster>) -> Self {
        let name = cluster.new_name();
        let client = connect(&format!("{}/postgres", cluster.location)).await;
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        Database {
            url: format!("{}/{name}", cluster.location),
            cluster,
            name,
        }
    }

    pub fn config(&self, flags: &[(&str, &str)]) -> Config {
        let ours = [
            ("server.bind", "127.0.0.1:0"),
            ("server.drain_s", "1"),
            ("store.url", &self.url),
        ];
        let flags: Vec<_> = ours
            .iter()
            .chain(flags)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Config::load(None, std::iter::empty(), &flags)
            .unwrap()
            .config
    }

    /// A server on this database.
    pub async fn server(&self) -> Server {
        self.server_with(&[]).await
    }

    pub async fn server_with(&self, flags: &[(&str, &str)]) -> Server {
        let url = [("store.url", self.url.as_str())];
        let flags: Vec<_> = url.iter().chain(flags).copied().collect();
        Server::with(&flags).await
    }

    /// What `chatferry check` would say of the tables.
    pub async fn findings(&self) -> Vec<String> {
        let findings = store::check(&self.config(&[])).await.unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        store::migrate(&self.config(&[])).await
    }

    /// Another connection to the database, as another process has one.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    pub async fn run(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    /// The single value that a query gives.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        self.client()
            .await
            .query_one(sql, &[])
            .await
            .unwrap()
            .get(0)
    }

    /// The one column of a query.
    pub async fn values<T: FromSqlOwned>(&self, sql: &str) -> Vec<T> {
        let rows = self.client().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Runs `manage.py` of the reference on this database; what it printed, or none if there is no
    /// Django here.
    pub async fn manage(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(python()?);
        command
            .arg("manage.py")
            .args(arguments)
            .current_dir(reference())
            .env("DATABASE_URL", &self.url)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = soon("manage.py", command.output()).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "manage.py {arguments:?}: {error}");
        Some(String::from_utf8(output.stdout).unwrap())
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = soon("PostgreSQL", tokio_postgres::connect(url, NoTls))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

impl Drop for Database {
    fn drop(&mut self) {
        let location = format!("{}/postgres", self.cluster.location);
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let Ok((client, connection)) = tokio_postgres::connect(&location, NoTls).await
                else {
                    return;
                };
                tokio::spawn(connection);
                let _ = client.batch_execute(&sql).await;
            });
        });
        let _ = dropping.join();
    }
}
