//! `store.url` for MySQL and MariaDB: how to reach the server, and what its sessions are like.
//!
//! Stands in for the `DATABASES` entry of Django's settings; the names after the `?` are those of
//! the `OPTIONS` that Django hands to `mysqlclient`, and of the `mysql` command line. A name that
//! means nothing here is refused, unless nothing is lost by its meaning nothing.

use std::{path::PathBuf, time::Duration};

use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};

use crate::{python::urls::unquote_to_bytes, store::StoreError};

/// Every name that may stand after the `?`.
const NAMES: &str = "socket, unix_socket, ssl-mode, ssl-ca, ssl-cert, ssl-key, connect_timeout, \
                     read_timeout, write_timeout, isolation_level, init_command, charset, sql_mode";

/// Names that mean something to Django and its driver only, in lower case.
const DJANGOS: [&str; 8] = [
    "atomic_requests",
    "autocommit",
    "compress",
    "conn_health_checks",
    "conn_max_age",
    "disable_server_side_cursors",
    "local_infile",
    "use_unicode",
];

/// Statements that Django sets on a connection, and its defaults.
const SESSION: &str = "SET NAMES utf8mb4, SESSION sql_mode = \
     'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     SESSION time_zone = '+00:00', SESSION autocommit = 1, SESSION innodb_lock_wait_timeout = 5, \
     SESSION lock_wait_timeout = 5";

/// The largest packet the protocol knows: the server's own limit is the one that counts.
const PACKET_MAX: usize = 1 << 30;

/// The name that a certificate is compared with where names do not count. The driver (`mysql_async`
/// 0.37) passes over a wrong name if it finds this word in the text of the error, which shows the
/// name that was expected.
const NO_NAME: &str = "NotValidForName";

/// Address, login, TLS and time limits of a connection.
#[derive(Clone)]
pub struct Options {
    pub opts: Opts,
    /// The same without TLS, for a server that has none, if that is allowed.
    pub without_tls: Option<Opts>,
    /// True if statements that are not ours are sent first.
    pub has_init_command: bool,
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
        let (base, host_socket) = place(base);
        let opts = Opts::from_url(&base).map_err(|error| refused(&error.to_string()))?;
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
            .setup(extra.setup())
            .socket(extra.socket.clone().or(host_socket));
        let without_tls = (extra.tls == TlsMode::Preferred).then(|| opts.clone().into());
        Ok(Options {
            opts: opts.ssl_opts(extra.tls()?).into(),
            without_tls,
            has_init_command: extra.init_command.is_some(),
            connect_timeout: extra.connect_timeout,
            read_timeout: extra.read_timeout,
            write_timeout: extra.write_timeout,
        })
    }
}

/// Returns the URL with a host that the driver understands, and the socket file that stood in its
/// place: `mysql://user@%2Frun%2Fmysqld.sock/db`. No host at all is this machine.
fn place(base: &str) -> (String, Option<String>) {
    let (scheme, rest) = base.split_once("://").unwrap_or(("mysql", base));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (format!("{login}@"), host),
        None => (String::new(), authority),
    };
    let unquoted = String::from_utf8_lossy(&unquote_to_bytes(host.as_bytes())).into_owned();
    let socket = unquoted.starts_with('/').then_some(unquoted);
    let is_here = socket.is_some() || host.is_empty();
    let host = if is_here { "localhost" } else { host };
    (format!("{scheme}://{login}{host}/{path}"), socket)
}

/// Options after the `?`.
struct Extra {
    socket: Option<String>,
    tls: TlsMode,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    isolation: &'static str,
    init_command: Option<String>,
    connect_timeout: Duration,
    read_timeout: Duration,
    write_timeout: Duration,
}

/// The stages of `ssl-mode`, each with all that the one before asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TlsMode {
    Disabled,
    /// If the server has it.
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

impl Extra {
    fn read(query: &str) -> Result<Self, StoreError> {
        let mut extra = Extra {
            socket: None,
            tls: TlsMode::Disabled,
            ca: None,
            cert: None,
            key: None,
            isolation: "READ COMMITTED",
            init_command: None,
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
                "isolation_level" => extra.isolation = isolation(&value)?,
                "init_command" => extra.init_command = Some(value.into_owned()),
                "connect_timeout" => extra.connect_timeout = seconds(&name, &value)?,
                "read_timeout" => extra.read_timeout = seconds(&name, &value)?,
                "write_timeout" => extra.write_timeout = seconds(&name, &value)?,
                "charset" => charset(&value)?,
                "sql_mode" => sql_mode(&value)?,
                _ => known_to_django(&name)?,
            }
        }
        // A CA that is named is meant to be used.
        extra.tls = mode.unwrap_or(match (&extra.ca, &extra.cert) {
            (Some(_), _) => TlsMode::VerifyIdentity,
            (None, Some(_)) => TlsMode::Required,
            (None, None) => TlsMode::Disabled,
        });
        Ok(extra)
    }

    /// Returns the first statements. Ours come after `init_command`, and win.
    fn setup(&self) -> Vec<String> {
        let isolation = format!("SET SESSION TRANSACTION ISOLATION LEVEL {}", self.isolation);
        let theirs = self.init_command.iter().cloned();
        theirs.chain([SESSION.to_owned(), isolation]).collect()
    }

    fn tls(&self) -> Result<Option<SslOpts>, StoreError> {
        if self.tls == TlsMode::Disabled {
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
        let skips_names = self.tls < TlsMode::VerifyIdentity;
        Ok(Some(
            SslOpts::default()
                .with_client_identity(identity)
                .with_root_certs(roots)
                .with_disable_built_in_roots(self.ca.is_some())
                .with_danger_accept_invalid_certs(self.tls < TlsMode::VerifyCa)
                .with_danger_skip_domain_validation(skips_names)
                .with_danger_tls_hostname_override(
                    (self.tls == TlsMode::VerifyCa).then_some(NO_NAME),
                ),
        ))
    }
}

fn tls_of(mode: &str) -> Result<TlsMode, StoreError> {
    match mode.to_ascii_lowercase().as_str() {
        "disabled" => Ok(TlsMode::Disabled),
        "preferred" => Ok(TlsMode::Preferred),
        "required" => Ok(TlsMode::Required),
        "verify_ca" => Ok(TlsMode::VerifyCa),
        "verify_identity" => Ok(TlsMode::VerifyIdentity),
        _ => Err(refused(
            "ssl-mode is disabled, preferred, required, verify_ca or verify_identity",
        )),
    }
}

/// Django's names of the levels.
fn isolation(level: &str) -> Result<&'static str, StoreError> {
    let levels = [
        "READ UNCOMMITTED",
        "READ COMMITTED",
        "REPEATABLE READ",
        "SERIALIZABLE",
    ];
    let found = levels
        .iter()
        .find(|known| known.eq_ignore_ascii_case(level));
    found.copied().ok_or_else(|| {
        refused(
            "isolation_level is read uncommitted, read committed, repeatable read or serializable",
        )
    })
}

/// Connections have the widest character set; Django's narrower ones are parts of it.
fn charset(name: &str) -> Result<(), StoreError> {
    match name.to_ascii_lowercase().as_str() {
        "utf8mb4" | "utf8mb3" | "utf8" => Ok(()),
        _ => Err(refused("charset is utf8mb4 here, and can be no other")),
    }
}

/// A session is strict, whatever the server's default.
fn sql_mode(mode: &str) -> Result<(), StoreError> {
    let strict = ["STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"];
    let mode = mode.to_ascii_uppercase();
    if mode.split(',').any(|part| strict.contains(&part.trim())) {
        return Ok(());
    }
    Err(refused(
        "sql_mode is strict here, and can be no other: leave it out",
    ))
}

fn known_to_django(name: &str) -> Result<(), StoreError> {
    match name.to_ascii_lowercase().as_str() {
        "read_default_file" | "read_default_group" => Err(refused(
            "no file of options is read: write what read_default_file holds into the URL",
        )),
        name if DJANGOS.contains(&name) => Ok(()),
        _ => Err(refused(&format!("unknown option {name}; known: {NAMES}"))),
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
    fn a_socket_file_may_stand_where_the_host_does() {
        let at = |url| {
            let options = Options::from_url(url).unwrap();
            let socket = options.opts.socket().map(str::to_owned);
            (socket, options.opts.ip_or_hostname().to_owned())
        };
        let file = Some("/cloudsql/a:b:c".to_owned());
        for url in [
            "mysql://u:p@/talk?unix_socket=/cloudsql/a:b:c",
            "mysql://u:p@%2Fcloudsql%2Fa%3Ab%3Ac/talk",
        ] {
            assert_eq!(at(url), (file.clone(), "localhost".to_owned()), "{url}");
        }
        assert_eq!(at("mysql://u:p@/talk"), (None, "localhost".to_owned()));
    }

    #[test]
    fn what_django_may_be_given_is_understood() {
        let url = "mysql://chat@h/talk?charset=utf8&ssl-mode=PREFERRED&conn_max_age=60\
                   &init_command=SET%20foreign_key_checks%3D1&sql_mode=TRADITIONAL\
                   &isolation_level=Repeatable+Read";
        let options = Options::from_url(url).unwrap();
        let setup = options.opts.setup();
        assert_eq!(setup[0], "SET foreign_key_checks=1");
        assert!(setup[2].ends_with("ISOLATION LEVEL REPEATABLE READ"));
        assert!(options.opts.ssl_opts().is_some());
        assert!(options.without_tls.unwrap().ssl_opts().is_none());
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
            ("mysql://chat:s3cret@h/talk?charset=latin1", "charset is"),
            ("mysql://chat:s3cret@h/talk?sql_mode=ANSI", "sql_mode is"),
            (
                "mysql://chat:s3cret@h/talk?isolation_level=4",
                "isolation_level is",
            ),
            (
                "mysql://chat:s3cret@h/talk?read_default_file=/etc/my.cnf",
                "no file of options",
            ),
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
