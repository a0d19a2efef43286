//! `store.url` for PostgreSQL: where the server is, and how the way to it is secured.
//!
//! The query of the URL takes libpq's names. `sslmode` is `disable`, `prefer` (the default),
//! `require` or `verify-full`; with `prefer` and `require` the certificate is not looked at, just
//! as libpq and therefore Django does not. `verify-full` trusts `sslrootcert=FILE` (PEM), or the
//! system's certificates. A socket's directory is `host=/run/postgresql`. Everything else
//! (`connect_timeout`, `target_session_attrs`, several hosts, …) is the driver's business.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    django::urls::unquote_to_bytes,
    store::StoreError,
    tls::{self, Anybody},
};

/// How long one host may take to let us in, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After how long without an acknowledgement the kernel gives a connection up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is needed to connect.
#[derive(Clone)]
pub struct Address {
    pub config: Config,
    pub tls: MakeRustlsConnect,
}

impl Address {
    /// Reads `store.url`. No error shows any part of it: it holds a password.
    ///
    /// # Errors
    /// An option that is not known, or certificates that cannot be read.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let (location, query) = url.split_once('?').unwrap_or((url, ""));
        let mut sslmode = SslMode::Prefer;
        let mut verified = false;
        let mut root = None;
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "disable")) => sslmode = SslMode::Disable,
                Some(("sslmode", "prefer")) => sslmode = SslMode::Prefer,
                Some(("sslmode", "require")) => sslmode = SslMode::Require,
                Some(("sslmode", "verify-full")) => (sslmode, verified) = (SslMode::Require, true),
                Some(("sslmode", _)) => {
                    return Err(invalid(
                        "sslmode is `disable`, `prefer`, `require` or `verify-full`",
                    ));
                }
                Some(("sslrootcert", path)) => root = Some(unquoted(path)),
                _ => rest.push(pair),
            }
        }
        let mut config: Config = format!("{location}?{}", rest.join("&"))
            .parse()
            .map_err(|error| invalid(super::pool::describe(&error)))?;
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
        let tls = MakeRustlsConnect::new(client_config(verified, root.as_deref())?);
        Ok(Address { config, tls })
    }
}

fn invalid(why: impl std::fmt::Display) -> StoreError {
    StoreError::Schema(format!("store.url: {why}"))
}

fn unquoted(text: &str) -> String {
    String::from_utf8_lossy(&unquote_to_bytes(text.as_bytes())).into_owned()
}

fn client_config(verified: bool, root: Option<&str>) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    // A root certificate is given in order to be believed, whatever the mode: as in libpq.
    let builder = if verified || root.is_some() {
        builder.with_root_certificates(roots(root)?)
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody::new(provider)))
    };
    Ok(builder.with_no_client_auth())
}

fn roots(file: Option<&str>) -> Result<RootCertStore, StoreError> {
    let roots = tls::roots(file.map(Path::new)).map_err(|error| {
        let file = file.unwrap_or_default();
        invalid(format!("sslrootcert {file}: {error}"))
    })?;
    if roots.is_empty() {
        return Err(invalid(
            "verify-full needs certificates to trust, and there are none: set sslrootcert=FILE",
        ));
    }
    Ok(roots)
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
    fn a_mode_that_would_check_less_than_it_says_is_refused() {
        assert!(error_of("postgres://db/chat?sslmode=verify-ca").contains("verify-full"));
    }

    #[test]
    fn a_root_certificate_that_cannot_be_read_is_an_error() {
        let error = error_of("postgres://db/chat?sslmode=verify-full&sslrootcert=/no/such%20file");
        assert!(error.contains("/no/such file"), "{error}");
    }
}
