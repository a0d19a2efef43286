//! What to do about a start that failed: each error gets what, where, and a next step. `README.md`
//! beside this file lists the likeliest with their texts, and `tests/it/errors.rs` produces them.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::app::StartError;
use crate::config::{Bind, Config, Database};
use crate::layer::LayerError;
use crate::store::{
    StoreError,
    schema::{LooseColumn, NarrowColumn},
};

/// Why a server did not start.
pub(super) fn start(error: &StartError, config: &Config) -> String {
    match error {
        StartError::Store(error) => store(error, config),
        StartError::Layer(error) => layer(error, config),
        // Their texts name the setting.
        StartError::Gateway(error) => error.to_string(),
        StartError::Host(error) => error.to_string(),
        StartError::Auth(error) => error.to_string(),
        StartError::Tls(error) => error.to_string(),
        StartError::Tracer(error) => error.to_string(),
    }
}

/// The store cannot be used.
pub(super) fn store(error: &StoreError, config: &Config) -> String {
    let url = &config.store.url;
    let next = match (error, url.sqlite_file()) {
        (StoreError::Unavailable(_), Some(_)) => format!(
            "let store.url = {url} name a SQLite file that this user may write, or a new one in a \
             directory that is there"
        ),
        (StoreError::Unavailable(_), None) => {
            format!("start the database, or correct host and port in store.url = {url}")
        }
        (StoreError::Denied(_), _) => {
            let shown = url.to_string();
            // MariaDB says no more to an account, or to everybody, who must come by TLS.
            let is_plain = url.database() == Database::Mysql && !shown.contains("ssl-");
            let or_tls = if is_plain {
                ", or add ssl-mode=REQUIRED"
            } else {
                ""
            };
            format!(
                "correct user, password and database name in store.url = {shown}, or create \
                 them{or_tls}"
            )
        }
        (StoreError::Unfit { remedy, .. }, _) => (*remedy).to_owned(),
        _ => return error.to_string(),
    };
    told(error, &next)
}

/// The database takes user ids for one that the policy tells apart.
pub(super) fn collation(loose: &[LooseColumn], database: Database) -> String {
    let exact = match database {
        Database::Mysql => "utf8mb4_nopad_bin (MariaDB) or utf8mb4_0900_bin (MySQL)",
        Database::Postgres => "a deterministic one, as \"C\"",
        Database::Sqlite => "BINARY",
    };
    let columns: Vec<String> = loose.iter().map(ToString::to_string).collect();
    told(
        &format!(
            "warning: the database takes user ids for one that differ in case, accents, width or \
             spaces at the end: {}. With auth.policy = participants a user whose id is another's \
             but for that is refused (409) where the other has the row",
            columns.join(", ")
        ),
        &format!("give these columns the collation {exact}; in Django that is their db_collation"),
    )
}

/// The database cannot store what people write.
pub(super) fn charset(narrow: &[NarrowColumn]) -> String {
    let columns: Vec<String> = narrow.iter().map(ToString::to_string).collect();
    let mut tables: Vec<&str> = narrow.iter().map(|column| column.table.as_str()).collect();
    tables.dedup();
    let convert = |table: &&str| format!("ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4");
    let convert: Vec<String> = tables.iter().map(convert).collect();
    told(
        &format!(
            "warning: the database cannot store every text, as one with an emoji, which is refused \
             (400): {}",
            columns.join(", ")
        ),
        &convert.join("; "),
    )
}

/// The layer cannot be used.
pub(super) fn layer(error: &LayerError, config: &Config) -> String {
    if !matches!(error, LayerError::Unavailable(_) | LayerError::Refused(_)) {
        return error.to_string();
    }
    let hosts = if config.layer.hosts.entries().is_empty() {
        "layer.hosts (none is redis://localhost:6379)".to_owned()
    } else {
        format!("layer.hosts = {:?}", config.layer.hosts)
    };
    told(error, &next_for_redis(&error.to_string(), &hosts))
}

/// Advice on an answer of Redis, by the words of its protocol, or about a Redis that says
/// nothing.
fn next_for_redis(said: &str, hosts: &str) -> String {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["is a cluster"]) {
        return "set layer.backend = redis_pubsub, in Django too (channels_redis.pubsub), or name a \
                Redis that is no cluster"
            .to_owned();
    }
    if says(&[
        "WRONGPASS",
        "NOAUTH",
        "authentication failed",
        "invalid password",
    ]) {
        return format!("correct user and password in {hosts}");
    }
    if says(&["NOPERM", "NoPerm"]) {
        return "let the user's rules (ACL) allow what the layer needs: its keys and channels, and \
                the commands of the message"
            .to_owned();
    }
    if says(&[
        "MISCONF",
        "OOM",
        "ReadOnly",
        "NOREPLICAS",
        "BusyLoading",
        "MasterDown",
    ]) {
        return "mend what Redis complains of; it is asked again".to_owned();
    }
    if says(&["TLS: ", "certificate"]) {
        return format!("correct the scheme and the options of TLS (ssl_…) in {hosts}");
    }
    format!("start Redis, or correct address and password in {hosts}")
}

/// Another process serves the SQLite file, and the two would not hear each other.
pub(super) fn shared(file: &Path, lock: &Path) -> String {
    told(
        &format!(
            "another Chatferry serves {} (it holds {}): sockets there and sockets here would not hear \
             each other",
            file.display(),
            lock.display()
        ),
        "stop that process, or set layer.backend = redis in both",
    )
}

/// The address of the setting `key` cannot be listened on.
pub(super) fn listen(error: &io::Error, key: &str, bind: &Bind) -> String {
    let next = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "stop the process that listens there, set {key} to another address, or set \
             server.reuse_port = true in both"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "set {key} to a port from 1024 on (or a socket file in a directory of this user), or \
             let systemd open the socket"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("set {key} to an address of this machine, 127.0.0.1 or 0.0.0.0")
        }
        _ => format!("correct {key}"),
    };
    told(&format!("cannot listen on {bind}: {error}"), &next)
}

fn told(what: &impl Display, next: &str) -> String {
    format!("{what}\n  What to do: {next}.")
}
