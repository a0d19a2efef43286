//! A database of a test's own, and what the test does to it behind the server's back.

use std::{ops::Deref, sync::Arc, thread};

use tokio::runtime;
use tokio_postgres::{Client, NoTls, types::FromSqlOwned};

use super::cluster::Cluster;
use crate::support::{database::Place, soon};

/// A new database; dropped at the end of the test.
pub struct Database {
    pub cluster: Arc<Cluster>,
    place: Place,
    name: String,
}

impl Deref for Database {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Database {
    /// Without any table; none if there is no PostgreSQL here.
    pub async fn empty() -> Option<Self> {
        Some(Database::on(Cluster::shared().await?).await)
    }

    /// With Chatferry's tables.
    pub async fn new() -> Option<Self> {
        let database = Database::empty().await?;
        database.migrate().await.unwrap();
        Some(database)
    }

    /// With Chatferry's tables, in a locale that knows the letters of every script.
    pub async fn with_letters() -> Option<Self> {
        let options = "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'";
        let database = Database::made(Cluster::shared().await?, options).await;
        database.migrate().await.unwrap();
        Some(database)
    }

    /// With Chatferry's tables, on a server that the test may stop.
    pub async fn mortal() -> Option<Self> {
        let database = Database::on(Arc::new(Cluster::private().await?)).await;
        database.migrate().await.unwrap();
        Some(database)
    }

    /// With Chatferry's tables, on a server that wants TLS. `url` is the way by its socket.
    pub async fn secure() -> Option<Self> {
        let cluster = Arc::new(Cluster::secure().await?);
        let (port, directory) = cluster.place();
        let url = format!(
            "postgres://chat@/postgres?host={}&port={port}",
            directory.display()
        );
        let database = Database {
            place: Place { url },
            name: cluster.new_name(),
            cluster,
        };
        database.migrate().await.unwrap();
        Some(database)
    }

    async fn on(cluster: Arc<Cluster>) -> Self {
        Database::made(cluster, "").await
    }

    async fn made(cluster: Arc<Cluster>, options: &str) -> Self {
        let name = cluster.new_name();
        let client = connect(&format!("{}/postgres", cluster.location)).await;
        client
            .batch_execute(&format!("CREATE DATABASE {name} {options}"))
            .await
            .unwrap();
        let url = format!("{}/{name}", cluster.location);
        Database {
            place: Place { url },
            cluster,
            name,
        }
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
}

pub async fn connect(url: &str) -> Client {
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
