//! What `store.url` says about how to reach a MySQL or MariaDB server.
//!
//! Stands in for the `DATABASES` entry of Django's settings; the names after the `?` are those of
//! the `OPTIONS` that Django hands to `mysqlclient`, and of the `mysql` command line.

use std::{path::PathBuf, time::Duration};

use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};

use crate::store::StoreError;

/// Every name that may stand after the `?`.
const NAMES: &str = "socket, unix_socket, ssl-mode, ssl-ca, ssl-cert, ssl-key, connect_timeout, \
                     read_timeout, write_timeout";

/// What Django sets on a connection, and what it takes for granted.
const SESSION: [&str; 2] = [
    "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     SESSION time_zone = '+00:00', SESSION autocommit = 1, SESSION innodb_lock_wait_timeout = 5, \
     SESSION lock_wait_timeout = 5",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// The largest packet the protocol knows: the server's own limit is the one that counts.
const PACKET_MAX: usize = 1 << 30;

/// How to connect, and how long to wait for what.
#[derive(Clone)]
pub struct Options {
    pub opts: Opts,
    /// Until the server has let us in.
    pub connect_timeout: Duration,
    /// For the answer to a query.
    pub read_timeout: Duration,
    /// For a batch of writes, its commit included.
    pub write_timeout: Duration,
}

impl Options {
    /// Reads `mysql://user:password@host:port/database?name=value&…`.
    ///
    /// # Errors
    /// When it names no database, or something after the `?` that means nothing.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let opts = Opts::from_url(base).map_err(|error| refused(&error.to_string()))?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(refused("no database is named after the host"));
        }
        let extra = Extra::read(query)?;
        // An IPv6 address has its brackets in a URL only; the driver would look them up as a name.
        let host = opts.ip_or_hostname().trim_matches(['[', ']']).to_owned();
        let opts = OptsBuilder::from_opts(opts)
            .ip_or_hostname(host)
            .prefer_socket(false)
            .max_allowed_packet(Some(PACKET_MAX))
            .wait_timeout(Some(8 * 60 * 60))
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .stmt_cache_size(0)
            .setup(SESSION.to_vec())
            .ssl_opts(extra.tls()?)
            .socket(extra.socket);
        Ok(Options {
            opts: opts.into(),
            connect_timeout: extra.connect_timeout,
            read_timeout: extra.read_timeout,
            write_timeout: extra.write_timeout,
        })
    }
}

/// What stands after the `?`.
struct Extra {
    socket: Option<String>,
    tls: Tls,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    connect_timeout: Duration,
    read_timeout: Duration,
    write_timeout: Duration,
}

/// The stages of `ssl-mode`, each with all that the one before asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tls {
    Disabled,
    Required,
    VerifyCa,
    VerifyIdentity,
}

impl Extra {
    fn read(query: &str) -> Result<Self, StoreError> {
        let mut extra = Extra {
            socket: None,
            tls: Tls::Disabled,
            ca: None,
            cert: None,
            key: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
        };
        let mut mode = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "socket" | "unix_socket" => extra.socket = Some(value.into_owned()),
                "ssl-mode" | "ssl_mode" => mode = Some(tls_of(&value)?),
                "ssl-ca" | "ssl_ca" => extra.ca = Some(PathBuf::from(value.as_ref())),
                "ssl-cert" | "ssl_cert" => extra.cert = Some(PathBuf::from(value.as_ref())),
                "ssl-key" | "ssl_key" => extra.key = Some(PathBuf::from(value.as_ref())),
                "connect_timeout" => extra.connect_timeout = seconds(&name, &value)?,
                "read_timeout" => extra.read_timeout = seconds(&name, &value)?,
                "write_timeout" => extra.write_timeout = seconds(&name, &value)?,
                "charset" if value == "utf8mb4" => {}
                _ => return Err(refused(&format!("unknown option {name}; known: {NAMES}"))),
            }
        }
        // Whoever names a CA wants it to be asked.
        extra.tls = mode.unwrap_or(match (&extra.ca, &extra.cert) {
            (Some(_), _) => Tls::VerifyIdentity,
            (None, Some(_)) => Tls::Required,
            (None, None) => Tls::Disabled,
        });
        Ok(extra)
    }

    fn tls(&self) -> Result<Option<SslOpts>, StoreError> {
        if self.tls == Tls::Disabled {
            return Ok(None);
        }
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                Some(ClientIdentity::new(cert.clone().into(), key.clone().into()))
            }
            (None, None) => None,
            _ => return Err(refused("ssl-cert and ssl-key belong together")),
        };
        let roots = self.ca.iter().map(|file| file.clone().into()).collect();
        Ok(Some(
            SslOpts::default()
                .with_client_identity(identity)
                .with_root_certs(roots)
                .with_disable_built_in_roots(self.ca.is_some())
                .with_danger_accept_invalid_certs(self.tls < Tls::VerifyCa)
                .with_danger_skip_domain_validation(self.tls < Tls::VerifyIdentity),
        ))
    }
}

fn tls_of(mode: &str) -> Result<Tls, StoreError> {
    match mode.to_ascii_lowercase().as_str() {
        "disabled" => Ok(Tls::Disabled),
        "required" => Ok(Tls::Required),
        "verify_ca" => Ok(Tls::VerifyCa),
        "verify_identity" => Ok(Tls::VerifyIdentity),
        _ => Err(refused(
            "ssl-mode is disabled, required, verify_ca or verify_identity",
        )),
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, StoreError> {
    match value.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err(refused(&format!(
            "{name} is a number of seconds, 1 to 3600"
        ))),
    }
}

fn refused(why: &str) -> StoreError {
    StoreError::Schema(format!("store.url: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Options::from_url(url)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn user_password_host_port_and_database_come_from_the_url() {
        let options = Options::from_url("mysql://chat:p%40ss@db.example:3307/talk").unwrap();
        assert_eq!(options.opts.user(), Some("chat"));
        assert_eq!(options.opts.pass(), Some("p@ss"));
        assert_eq!(options.opts.ip_or_hostname(), "db.example");
        assert_eq!(options.opts.tcp_port(), 3307);
        assert_eq!(options.opts.db_name(), Some("talk"));
        assert!(options.opts.ssl_opts().is_none());
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_and_is_used_without() {
        for (url, port) in [
            ("mysql://chat@[::1]:3307/talk", 3307),
            ("mysql://chat@[::1]/talk", 3306),
        ] {
            let options = Options::from_url(url).unwrap();
            assert_eq!(options.opts.ip_or_hostname(), "::1");
            assert_eq!(options.opts.tcp_port(), port);
        }
    }

    #[test]
    fn a_socket_and_timeouts_may_follow() {
        let url = "mysql://chat@localhost/talk?unix_socket=%2Frun%2Fmy.sock&read_timeout=3";
        let options = Options::from_url(url).unwrap();
        assert_eq!(options.opts.socket(), Some("/run/my.sock"));
        assert_eq!(options.read_timeout, Duration::from_secs(3));
    }

    #[test]
    fn naming_a_ca_turns_the_whole_verification_on() {
        let options = Options::from_url("mysql://chat@h/talk?ssl-ca=/ca.pem").unwrap();
        let tls = options.opts.ssl_opts().unwrap();
        assert!(!tls.accept_invalid_certs() && !tls.skip_domain_validation());
        let options = Options::from_url("mysql://chat@h/talk?ssl-mode=REQUIRED").unwrap();
        assert!(options.opts.ssl_opts().unwrap().accept_invalid_certs());
    }

    #[test]
    fn what_means_nothing_is_refused_and_the_password_is_not_told() {
        for (url, why) in [
            ("mysql://chat:s3cret@h", "no database"),
            ("mysql://chat:s3cret@h/talk?ssl=1", "unknown option ssl"),
            ("mysql://chat:s3cret@h/talk?ssl-mode=maybe", "ssl-mode is"),
            (
                "mysql://chat:s3cret@h/talk?ssl-mode=required&ssl-cert=c",
                "belong together",
            ),
            (
                "mysql://chat:s3cret@h/talk?read_timeout=0",
                "read_timeout is",
            ),
        ] {
            let error = error(url);
            assert!(error.contains(why), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
