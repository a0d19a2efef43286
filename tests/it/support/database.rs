//! What a test does with a database of its own, whoever's server it is on.

use super::server::schema_of;
use chatferry::{
    config::Config,
    store::{self, StoreError},
};

use super::{Directory, Server, neighbours, server::load};

/// A database by its URL. The databases of each kind of server are one of these, and more.
pub struct Place {
    pub url: String,
}

impl Place {
    /// The SQLite file of a directory.
    pub fn on(directory: &Directory) -> Self {
        Place {
            url: format!("sqlite://{}", directory.database().display()),
        }
    }

    /// The settings of a server on this database.
    pub fn config(&self, flags: &[(&str, &str)]) -> Config {
        load(&[("store.url", self.url.as_str())], flags)
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
        let config = self.config(&[]);
        let findings = store::check(&config, &schema_of(&config)).await.unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let config = self.config(&[]);
        store::migrate(&config, &schema_of(&config)).await
    }

    /// Runs `manage.py` of the reference on this database; what it printed, or none if there is no
    /// Django here.
    pub async fn manage(&self, arguments: &[&str]) -> Option<String> {
        neighbours::manage(&self.url, arguments).await
    }
}
