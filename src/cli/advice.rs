//! Advice for a start that failed: each error gets what, where, and a next step. `README.md` beside
//! this file lists the likeliest with their texts, and `tests/it/cli/errors.rs` produces them.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use crate::app;
use crate::config::{Bind, Config, Database, UpstreamAddress};
use crate::layer::LayerError;
use crate::server::StartError;
use crate::store::{
    StoreError,
    schema::{LooseColumn, NarrowColumn, ShortColumn},
};

/// A fault, and what to do about it unless the text already says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    pub what: String,
    pub next: Option<String>,
}

impl Advice {
    /// Of an error whose text says what to do.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "as `map` and its callers have it"
    )]
    pub(super) fn of(error: impl ToString) -> Self {
        Advice {
            what: error.to_string(),
            next: None,
        }
    }
}

impl Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n  What to do: {next}."),
            None => Ok(()),
        }
    }
}

/// Why a server did not start.
pub(super) fn start(error: &StartError, config: &Config) -> Advice {
    match error {
        StartError::Store(error) => store(error, config),
        StartError::App(app::StartError::Layer(error)) => layer(error, config),
        StartError::Randomness(error) => Advice::of(error),
        // Their texts name the setting.
        StartError::Gateway(error) => Advice::of(error),
        StartError::Host(error) => Advice::of(error),
        StartError::App(error) => Advice::of(error),
        StartError::Tls(error) => Advice::of(error),
        StartError::Sink(error) => Advice::of(error),
        StartError::System(..) => Advice::of(error),
    }
}

/// Says that the store cannot be used.
pub(super) fn store(error: &StoreError, config: &Config) -> Advice {
    let url = &config.store.url;
    let next = match (error, url.sqlite_file()) {
        (StoreError::Unavailable(_), Some(_)) => format!(
            "let store.url = {url} name a SQLite file that this user may write, or a new one in a \
             directory that is there"
        ),
        (StoreError::Unavailable(why), None) if why.contains("CaUsedAsEndEntity") => format!(
            "give the server a certificate that an authority has signed, and name that one in \
             ssl-ca: one that is its own authority is not believed here, though Django does. Or set \
             ssl-mode=REQUIRED, which checks no certificate, in store.url = {url}"
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
        _ => return Advice::of(error),
    };
    told(error, next)
}

/// Says that the database cannot be written to.
pub(super) fn write(error: &StoreError, config: &Config) -> Advice {
    match error {
        StoreError::Unavailable(_) => told(
            error,
            format!(
                "let the database take writes (a replica, a read-only server and a full disk take \
                 none), or name the one that does in store.url = {}",
                config.store.url
            ),
        ),
        _ => store(error, config),
    }
}

/// Columns hold less than the models of the chat say.
pub(super) fn lengths(short: &[ShortColumn]) -> Advice {
    told(
        format!("longer values are refused (400): {}", listed(short)),
        "give these columns the length of the original's models, in Django by max_length and a \
         migration",
    )
}

/// Returns the advice on two clocks that differ by this many microseconds.
pub(super) fn clock(ahead: i64) -> Advice {
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let by_s = ahead.unsigned_abs() / 1_000_000;
    told(
        format!("the clock of the database's server is {by_s} s {side} this machine's"),
        "let both follow NTP: histories go by the times of messages, and those of Django are of \
         another clock",
    )
}

/// The database takes user ids for one that the policy tells apart.
pub(super) fn collation(loose: &[LooseColumn], database: Database) -> Advice {
    let exact = match database {
        Database::Mysql => "utf8mb4_nopad_bin (MariaDB) or utf8mb4_0900_bin (MySQL)",
        Database::Postgres => "a deterministic one, as \"C\"",
        Database::Sqlite => "BINARY",
    };
    told(
        format!(
            "the database takes user ids for one that differ in case, accents, width or \
             spaces at the end: {}. With auth.policy = participants a user whose id is another's \
             but for that is refused (409) where the other has the row",
            listed(loose)
        ),
        format!("give these columns the collation {exact}; in Django that is their db_collation"),
    )
}

/// Says that the database cannot store what people write.
pub(super) fn charset(narrow: &[NarrowColumn]) -> Advice {
    let mut tables: Vec<&str> = narrow.iter().map(|column| column.table.as_str()).collect();
    tables.dedup();
    let convert = |table: &&str| format!("ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4");
    let convert: Vec<String> = tables.iter().map(convert).collect();
    told(
        format!(
            "the database cannot store every text, as one with an emoji, which is refused (400): {}",
            listed(narrow)
        ),
        convert.join("; "),
    )
}

/// Says that the layer cannot be used.
pub(super) fn layer(error: &LayerError, config: &Config) -> Advice {
    if !matches!(error, LayerError::Unavailable(_) | LayerError::Refused(_)) {
        return Advice::of(error);
    }
    let next = next_for_redis(&error.to_string(), &hosts(config));
    told(error, next)
}

/// The hosts of the layer as they are set.
pub(super) fn hosts(config: &Config) -> String {
    if config.layer.hosts.entries().is_empty() {
        return "layer.hosts (none is redis://localhost:6379)".to_owned();
    }
    format!("layer.hosts = {:?}", config.layer.hosts)
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
    if says(&["and no master", "ReadOnly"]) {
        return format!(
            "name the master, or the Sentinels that know it (sentinel://…), in {hosts}"
        );
    }
    if says(&["NOPERM", "NoPerm"]) {
        return "let the user's rules (ACL) allow what the layer needs: its keys and channels, and \
                the commands of the message"
            .to_owned();
    }
    if says(&["MISCONF", "OOM", "NOREPLICAS", "BusyLoading", "MasterDown"]) {
        return "mend what Redis complains of; it is asked again".to_owned();
    }
    if says(&["TLS: ", "certificate"]) {
        return format!("correct the scheme and the options of TLS (ssl_…) in {hosts}");
    }
    format!("start Redis, or correct address and password in {hosts}")
}

/// Another process serves the SQLite file, and the two would not hear each other.
pub(super) fn shared(file: &Path, lock: &Path) -> Advice {
    told(
        format!(
            "another Chatferry serves {} (it holds {}): sockets there and sockets here would not hear \
             each other",
            file.display(),
            lock.display()
        ),
        "stop that process, or set layer.backend = redis in both",
    )
}

/// Says that the address of the setting `key` cannot be listened on.
pub(super) fn listen(error: &io::Error, key: &str, bind: &Bind) -> Advice {
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
    told(format!("cannot listen on {bind}: {error}"), next)
}

/// Says that a Chatferry serves at the address of the setting `key`.
pub(super) fn served(key: &str, bind: &Bind) -> Advice {
    told(
        format!("a Chatferry serves on {bind} now, and another one would not start beside it"),
        format!("nothing if that one is meant, else stop it, or set {key} to another address"),
    )
}

/// Django does not answer.
pub(super) fn upstream(why: &str, address: &UpstreamAddress) -> Advice {
    told(
        format!("Django does not answer: {why}"),
        format!("start Django there, or correct gateway.upstream = {address}"),
    )
}

/// Django serves the chat to callers who show nothing, while an identity is asked for here.
pub(super) fn open_upstream(address: &UpstreamAddress, path: &str) -> Advice {
    told(
        format!(
            "{address} serves {path} to callers who show nothing: auth.policy holds for those alone \
             who come through Chatferry"
        ),
        "let nobody else reach that address (127.0.0.1, a Unix socket, a firewall), and no proxy ask \
         it by itself",
    )
}

fn listed(columns: &[impl Display]) -> String {
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    columns.join(", ")
}

/// `what` is wrong, and `next` is to be done.
pub(super) fn told(what: impl Display, next: impl Into<String>) -> Advice {
    Advice {
        what: what.to_string(),
        next: Some(next.into()),
    }
}
