//! `store.url` for PostgreSQL: where the server is, and how the way to it is secured.
//!
//! The query of the URL takes libpq's names. `sslmode` is `disable`, `allow`, `prefer` (the
//! default), `require`, `verify-ca` or `verify-full`. Up to `require` the certificate is not looked
//! at, just as libpq and therefore Django does not, unless `sslrootcert=FILE` (PEM) names whom to
//! trust: that is `verify-ca` then. Without a file the system's certificates are trusted. A
//! socket's directory is `host=/run/postgresql`. Everything else (`connect_timeout`,
//! `target_session_attrs`, several hosts, …) is the driver's business, which refuses what it does
//! not know.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::ClientConfig;
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    python::urls::unquote_to_bytes,
    store::StoreError,
    tls::{self, Authorities, ClientIdentity, Trust},
};

/// Longest time to connect to one host, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After how long without an acknowledgement the kernel gives a connection up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Names that mean something to Django only, in lower case.
const DJANGOS: [&str; 5] = [
    "atomic_requests",
    "autocommit",
    "conn_health_checks",
    "conn_max_age",
    "disable_server_side_cursors",
];

/// Parameters of a connection.
#[derive(Clone)]
pub struct Address {
    pub config: Config,
    pub tls: MakeRustlsConnect,
    /// True if a pooler was found before the server; shared by all connections.
    pooled: Arc<AtomicBool>,
}

impl Address {
    /// Reads `store.url`. No error shows any part of it: it holds a password.
    ///
    /// # Errors
    /// An option that is not known, or certificates that cannot be read.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let (location, query) = url.split_once('?').unwrap_or((url, ""));
        let mut sslmode = SslMode::Prefer;
        let mut checks = SslChecks::Nothing;
        let (mut root, mut cert, mut key) = (None, None, None);
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => (sslmode, checks) = mode(value)?,
                "sslrootcert" if value == "system" => checks = SslChecks::Name,
                "sslrootcert" => root = Some(unquoted(value)),
                "sslcert" => cert = Some(unquoted(value)),
                "sslkey" => key = Some(unquoted(value)),
                // A connection speaks UTF-8, and no GSSAPI.
                "client_encoding" if is_utf8(value) => {}
                "gssencmode" if value != "require" => {}
                name if DJANGOS.contains(&name.to_ascii_lowercase().as_str()) => {}
                _ => rest.push(pair),
            }
        }
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(invalid("sslcert and sslkey belong together")),
        };
        let mut config: Config = format!("{location}?{}", rest.join("&"))
            .parse()
            .map_err(|error| invalid(super::error::describe(&error)))?;
        config.ssl_mode(sslmode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("chatferry");
        }
        let tls = MakeRustlsConnect::new(client_config(checks, root.as_deref(), identity)?);
        Ok(Address {
            config,
            tls,
            pooled: Arc::default(),
        })
    }

    /// Returns whether a pooler stands before the server.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// Notes that a pooler stands before the server.
    pub fn found_pooler(&self) {
        if !self.pooled.swap(true, Ordering::Relaxed) {
            tracing::info!(
                "a pooler stands before PostgreSQL: no statement is prepared, and settings hold \
                 for one transaction"
            );
        }
    }
}

/// Returns the stages of libpq's `sslmode`.
fn mode(value: &str) -> Result<(SslMode, SslChecks), StoreError> {
    Ok(match value {
        "disable" => (SslMode::Disable, SslChecks::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, SslChecks::Nothing),
        "require" => (SslMode::Require, SslChecks::Nothing),
        "verify-ca" => (SslMode::Require, SslChecks::Chain),
        "verify-full" => (SslMode::Require, SslChecks::Name),
        _ => {
            return Err(invalid(
                "sslmode is `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`",
            ));
        }
    })
}

fn is_utf8(encoding: &str) -> bool {
    ["utf8", "utf-8", "unicode"].contains(&encoding.to_ascii_lowercase().as_str())
}

fn invalid(why: impl std::fmt::Display) -> StoreError {
    StoreError::Schema(format!("store.url: {why}"))
}

fn unquoted(text: &str) -> String {
    String::from_utf8_lossy(&unquote_to_bytes(text.as_bytes())).into_owned()
}

/// Extent of the check of the server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SslChecks {
    Nothing,
    Chain,
    Name,
}

fn client_config(
    checks: SslChecks,
    root: Option<&str>,
    identity: Option<(String, String)>,
) -> Result<ClientConfig, StoreError> {
    let trust = match checks {
        // A root certificate is given in order to be believed, whatever the mode: as in libpq.
        SslChecks::Nothing if root.is_none() => Trust::Anybody,
        SslChecks::Nothing | SslChecks::Chain => Trust::Chain(authorities(root)?),
        SslChecks::Name => Trust::Name(authorities(root)?),
    };
    let identity =
        identity.map(|(cert, key)| ClientIdentity::read(Path::new(&cert), Path::new(&key)));
    let identity = identity.transpose().map_err(invalid)?;
    tls::client_config(trust, identity).map_err(invalid)
}

fn authorities(file: Option<&str>) -> Result<Authorities, StoreError> {
    let authorities = Authorities::read(file.map(Path::new)).map_err(|error| {
        let file = file.unwrap_or_default();
        invalid(format!("sslrootcert {file}: {error}"))
    })?;
    if authorities.is_empty() {
        return Err(invalid(
            "there are no certificates to trust: set sslrootcert=FILE",
        ));
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio_postgres::config::Host;

    use super::*;

    fn error_of(url: &str) -> String {
        Address::parse(url)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_url_as_django_projects_write_it_is_understood() {
        let address = Address::parse("postgres://chat:p%40ss@db.example:5433/chat").unwrap();
        assert_eq!(address.config.get_user(), Some("chat"));
        assert_eq!(address.config.get_password(), Some("p@ss".as_bytes()));
        assert_eq!(address.config.get_ports(), [5433]);
        assert_eq!(address.config.get_dbname(), Some("chat"));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(address.config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    }

    #[test]
    fn a_directory_for_a_host_is_that_of_a_unix_socket() {
        let address = Address::parse("postgresql://chat@/chat?host=/run/postgresql").unwrap();
        assert_eq!(
            address.config.get_hosts(),
            [Host::Unix(PathBuf::from("/run/postgresql"))]
        );
    }

    #[test]
    fn an_unknown_option_is_named_and_the_password_is_not() {
        let error = error_of("postgres://chat:s3cret@db/chat?sslmod=require");
        assert!(
            error.contains("sslmod") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn what_django_may_be_given_is_understood() {
        let url = "postgres://db/chat?conn_max_age=60&client_encoding=UTF8&sslmode=allow";
        assert!(Address::parse(url).is_ok());
        for (option, why) in [
            ("sslmode=verify", "verify-ca"),
            ("sslcert=/c.pem", "belong together"),
            ("client_encoding=latin1", "client_encoding"),
        ] {
            let error = error_of(&format!("postgres://db/chat?{option}"));
            assert!(error.contains(why), "{option}: {error}");
        }
    }

    #[test]
    fn a_root_certificate_that_cannot_be_read_is_an_error() {
        let error = error_of("postgres://db/chat?sslmode=verify-full&sslrootcert=/no/such%20file");
        assert!(error.contains("/no/such file"), "{error}");
    }
}
