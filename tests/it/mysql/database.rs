//! A database of a test's own, and what the test does to it behind the server's back.

use std::{ops::Deref, sync::Arc, thread};

use mysql_async::{
    Conn,
    prelude::{FromRow, Queryable},
};
use tokio::runtime;

use super::instance::{Flavour, Instance, connect};
use crate::support::database::Place;

/// A new database; dropped at the end of the test.
pub struct Database {
    pub instance: Arc<Instance>,
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
    /// Without any table; none if there is no such server here.
    pub async fn empty(on: Flavour) -> Option<Self> {
        Some(Database::on(Instance::shared(on).await?).await)
    }

    /// With Chatferry's tables.
    pub async fn new(on: Flavour) -> Option<Self> {
        let database = Database::empty(on).await?;
        database.migrate().await.unwrap();
        Some(database)
    }

    /// With Chatferry's tables, on a server that the test may stop.
    pub async fn mortal(on: Flavour, options: &[&str]) -> Option<Self> {
        let instance = Instance::private(on, options).await?;
        let database = Database::on(Arc::new(instance)).await;
        database.migrate().await.unwrap();
        Some(database)
    }

    /// Without any table, on this server.
    pub async fn on(instance: Arc<Instance>) -> Self {
        let name = instance.new_name();
        let url = instance.make(&name).await;
        Database {
            place: Place { url },
            instance,
            name,
        }
    }

    /// Another connection to the database, as another process has one.
    pub async fn client(&self) -> Conn {
        connect(&self.url).await.unwrap()
    }

    /// Runs statements, each on a line that ends with a semicolon.
    pub async fn run(&self, sql: &str) {
        let mut client = self.client().await;
        for statement in sql.split(";\n").filter(|text| !text.trim().is_empty()) {
            client.query_drop(statement).await.unwrap();
        }
    }

    /// An id as SQL, for a column of either kind.
    pub fn id(id: &str) -> String {
        format!("'{}'", id.replace('-', ""))
    }

    /// The single row, or value, that a query gives.
    pub async fn value<T: FromRow + Send + 'static>(&self, sql: &str) -> T {
        let mut client = self.client().await;
        client.query_first(sql).await.unwrap().unwrap()
    }

    /// The rows, or values, that a query gives.
    pub async fn values<T: FromRow + Send + 'static>(&self, sql: &str) -> Vec<T> {
        self.client().await.query(sql).await.unwrap()
    }

    /// Ends every connection to this database but the one that says so.
    pub async fn kill_all(&self) {
        let mut root = self.instance.root().await;
        let sql = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}'",
            self.name
        );
        let ids: Vec<u64> = root.query(sql).await.unwrap();
        for id in ids {
            // It may have gone by itself.
            let _ = root.query_drop(format!("KILL {id}")).await;
        }
    }

    /// `SHOW CREATE TABLE` of the tables, without what grows with the rows.
    pub async fn schema(&self) -> Vec<String> {
        let mut schema = Vec::new();
        for table in [
            "conversations",
            "messages",
            "delivery_receipts",
            "django_migrations",
        ] {
            let (_, sql): (String, String) =
                self.value(&format!("SHOW CREATE TABLE {table}")).await;
            let words = sql.split(' ');
            let words = words.filter(|word| !word.starts_with("AUTO_INCREMENT="));
            schema.push(words.collect::<Vec<_>>().join(" "));
        }
        schema
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let location = self.instance.location.clone();
        let sql = format!("DROP DATABASE IF EXISTS {}", self.name);
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let Ok(mut root) = connect(&location).await else {
                    return;
                };
                // Not for long: a connection of the test's may be in its way.
                let _ = root.query_drop("SET lock_wait_timeout = 1").await;
                let _ = root.query_drop(sql).await;
                let _ = root.disconnect().await;
            });
        });
        let _ = dropping.join();
    }
}
