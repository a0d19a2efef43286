//! A database of a test's own, and what the test does to it behind the server's back.

use std::{sync::Arc, thread, time::Duration};

use chatferry::{
    config::Config,
    store::{self, StoreError},
};
use mysql_async::{
    Conn,
    prelude::{FromRow, Queryable},
};
use tokio::{process::Command, runtime, time::timeout};

use super::instance::{Flavour, Instance, connect};
use crate::{
    postgres::cluster::{python, reference},
    support::Server,
};

/// How long a `manage.py` may take that writes thousands of rows.
const DJANGO: Duration = Duration::from_secs(120);

/// A new database; dropped at the end of the test.
pub struct Database {
    pub instance: Arc<Instance>,
    pub url: String,
    pub name: String,
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
        let database = Database::on(Instance::private(on, options).await?).await;
        database.migrate().await.unwrap();
        Some(database)
    }

    async fn on(instance: Arc<Instance>) -> Self {
        let name = instance.new_name();
        Database {
            url: instance.make(&name).await,
            instance,
            name,
        }
    }

    pub fn config(&self, flags: &[(&str, &str)]) -> Config {
        let url = ("store.url", self.url.as_str());
        let flags: Vec<_> = [url]
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
        let output = timeout(DJANGO, command.output()).await.unwrap().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "manage.py {arguments:?}: {error}");
        Some(String::from_utf8(output.stdout).unwrap())
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
