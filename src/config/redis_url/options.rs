//! What stands after the `?` of an address.

use std::{borrow::Cow, path::PathBuf};

/// Names of the login, which are read elsewhere.
const LOGIN: [&str; 3] = ["username", "password", "db"];

/// Names that only an address of Sentinels has.
pub const SENTINELS: [&str; 4] = [
    "sentinel_username",
    "sentinel_password",
    "ssl",
    "sentinel_ssl",
];

/// Names that tune redis-py's own connections and mean nothing here.
const TUNING: [&str; 14] = [
    "client_name",
    "decode_responses",
    "encoding",
    "encoding_errors",
    "health_check_interval",
    "max_connections",
    "protocol",
    "retry_on_error",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_read_size",
    "socket_timeout",
    "timeout",
];

/// The options of TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    pub ssl: bool,
    pub sentinel_ssl: bool,
    /// True if any is of TLS.
    pub tells_of_tls: bool,
    checks: CertificateChecks,
    authorities: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

/// How a connection is secured.
#[derive(Clone, Debug)]
pub struct Secured {
    pub checks: CertificateChecks,
    /// Those of the system if there is no file.
    pub authorities: Option<PathBuf>,
    /// The files of the client's certificate and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateChecks {
    Nothing,
    Chain,
    Name,
}

impl TlsOptions {
    /// Reads the options; `more` are names that are known besides those of every address.
    ///
    /// # Errors
    /// A text that names the option.
    pub fn read<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        more: &[&str],
    ) -> Result<Self, String> {
        let mut options = TlsOptions {
            ssl: false,
            sentinel_ssl: false,
            tells_of_tls: false,
            checks: CertificateChecks::Name,
            authorities: None,
            identity: None,
        };
        let (mut required, mut names) = (true, true);
        let (mut cert, mut key) = (None, None);
        for (name, value) in pairs {
            options.tells_of_tls |= name.starts_with("ssl_");
            match name.as_ref() {
                "ssl_cert_reqs" => required = cert_reqs(&value)?,
                "ssl_check_hostname" => names = truth(&name, &value)?,
                "ssl_ca_certs" => options.authorities = Some(PathBuf::from(value.as_ref())),
                "ssl_certfile" => cert = Some(PathBuf::from(value.as_ref())),
                "ssl_keyfile" => key = Some(PathBuf::from(value.as_ref())),
                "ssl" if more.contains(&"ssl") => options.ssl = truth(&name, &value)?,
                "sentinel_ssl" if more.contains(&"sentinel_ssl") => {
                    options.sentinel_ssl = truth(&name, &value)?;
                }
                name if LOGIN.contains(&name) || TUNING.contains(&name) => {}
                name if more.contains(&name) => {}
                name => return Err(unknown(name, more)),
            }
        }
        options.checks = match (required, names) {
            (false, _) => CertificateChecks::Nothing,
            (true, false) => CertificateChecks::Chain,
            (true, true) => CertificateChecks::Name,
        };
        options.identity = match (cert, key) {
            // As OpenSSL has it, the file of the certificate may hold the key too.
            (Some(cert), None) => Some((cert.clone(), cert)),
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (None, Some(_)) => return Err("ssl_certfile beside ssl_keyfile".to_owned()),
        };
        Ok(options)
    }

    /// What they say of a connection that is to be secured.
    pub fn secured(&self) -> Secured {
        Secured {
            checks: self.checks,
            authorities: self.authorities.clone(),
            identity: self.identity.clone(),
        }
    }
}

/// Python's `CERT_OPTIONAL` is `CERT_REQUIRED` for a client.
fn cert_reqs(value: &str) -> Result<bool, String> {
    let value = value.to_ascii_lowercase();
    match value.strip_prefix("cert_").unwrap_or(&value) {
        "none" => Ok(false),
        "optional" | "required" => Ok(true),
        _ => Err("ssl_cert_reqs `none` or `required`".to_owned()),
    }
}

/// As redis-py reads it.
fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "0" | "" => Ok(false),
        _ => Err(format!("{name} `true` or `false`")),
    }
}

/// The name could be a piece of a password with a question mark: it is shown if it looks like one
/// of redis-py's.
fn unknown(name: &str, more: &[&str]) -> String {
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named = if is_name { name } else { "one" };
    let mut known = LOGIN.to_vec();
    known.extend([
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_check_hostname",
        "ssl_certfile",
        "ssl_keyfile",
    ]);
    known.extend(more);
    format!("no unknown option ({named}); known: {}", known.join(", "))
}
