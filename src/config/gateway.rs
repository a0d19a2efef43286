//! `[gateway]`: the Django behind this server, and which of them serves what.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::declare::{choice, settings};
use super::django::Prefix;
use super::{Loaded, replace_default};

settings! {
    /// The Django behind this server. Whatever Chatferry does not serve goes there: other paths,
    /// other sockets, the chat page's path too. `/healthz`, `/readyz` and `/metrics` stay here.
    pub struct Gateway in "gateway" {
        /// Django's address: `http://HOST:PORT`, `https://HOST:PORT`, or `unix:/path` for a Unix
        /// socket. Without one nothing is passed on, and the other settings of this section mean
        /// nothing.
        upstream: Option<UpstreamAddress> = "",
        /// PEM file of the authorities that an `https://` upstream is believed by; without one
        /// the system's.
        upstream_ca: Option<PathBuf> = "",
        /// Percent of the conversations that are served here, REST and sockets alike; the rest is
        /// Django's. A conversation is served here if the last four hex digits of its id, as a
        /// number, are less than 65536 × percent / 100. What belongs to no conversation (lists,
        /// creation, read receipts) is served here unless it is 0. With an `upstream` the default
        /// is 0: a move begins when somebody says so. SIGHUP rereads it.
        rollout_percent: u8 = 100 in 0..=100,
        /// What a new percentage does to open sockets of conversations that move: `drain` closes
        /// them with code 1012, spread over `server.drain_s`; `leave` leaves them where they are.
        /// SIGHUP rereads it.
        on_change: OnChange = "drain",
        /// Percent of the reads of the chat (GET, HEAD, OPTIONS) for which both sides are asked
        /// again in the background and compared, and of the sockets passed to Django whose frames
        /// are compared with the stored rows. Clients notice nothing. SIGHUP rereads it.
        shadow_percent: u8 = 0 in 0..=100,
        /// Log what people wrote and who they are when the two sides differ; else only the names
        /// of the fields that differ, and values that tell nothing about people.
        shadow_log_content: bool = false,
        /// Requests that Django is asked at once, until their answers end; open sockets are not
        /// among them. More wait for `gateway.connect_timeout_s` and then get a 503.
        max_requests: usize = 1000 in 1..=1_000_000,
        /// Requests that wait for one of those to end; one more gets a 503 at once.
        max_waiting: usize = 1000 in 0..=1_000_000,
        /// Requests one after the other on which Django hangs (no connection within
        /// `gateway.connect_timeout_s`, or no answer within `gateway.response_timeout_s`), after
        /// which it is not asked for `gateway.breaker_s`: clients get a 503 with `Retry-After` at
        /// once. Then one request at a time tries it. 0: it is always asked.
        breaker_failures: u32 = 20 in 0..=1_000_000,
        /// Seconds without a request after `gateway.breaker_failures`.
        breaker_s: u64 = 5 in 1..=3600,
        /// Seconds to connect to Django; past them the client gets a 502.
        connect_timeout_s: u64 = 5 in 1..=300,
        /// Seconds from the last byte of a request to the head of Django's answer; past them the
        /// client gets a 504.
        response_timeout_s: u64 = 60 in 1..=3600,
        /// Seconds in the middle of Django's answer without a byte of it, nor one of the request's
        /// body; past them the answer breaks off. Of sockets nothing is expected.
        idle_timeout_s: u64 = 300 in 1..=86400,
        /// Prefixes that Django serves, as `/admin/`; other paths that are not Chatferry's get a
        /// 404 here. Empty passes all of them on. With `auth.policy = participants` a path below
        /// `django.url_prefix` or `django.ws_prefix` that Chatferry does not have is passed on, for
        /// callers who are known, only if this list names a prefix within those.
        allow: Vec<Prefix> = [],
        /// Pass on what everybody's requests say of the client and the scheme (`Forwarded`,
        /// `X-Forwarded-…`, `X-Real-IP`, `Remote-User` and their kind). By default only
        /// `server.trusted_proxies`, and those that come over a Unix socket, may say it; a proxy on
        /// this machine has to be named there too.
        trust_forwarded: bool = false,
    }
}

impl Loaded {
    /// Leaves everything to Django where there is an upstream and no source names a share: a name
    /// left out must not move people.
    #[must_use]
    pub(super) fn with_share(mut self) -> Self {
        let (key, why) = ("gateway.rollout_percent", "with gateway.upstream");
        let gateway = &mut self.config.gateway;
        if gateway.upstream.is_some() && replace_default(&mut self.effective, key, &0, why) {
            gateway.rollout_percent = 0;
        }
        self
    }
}

choice! {
    /// What happens to open sockets of conversations that move to the other side.
    pub enum OnChange {
        /// Closed with 1012, one by one.
        Drain = "drain",
        /// They stay until they end by themselves.
        Leave = "leave",
    }
}

/// The address of an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum UpstreamAddress {
    /// `host:port`, the host a name or an address.
    Tcp(String),
    /// As [`UpstreamAddress::Tcp`], with TLS.
    Tls(String),
    Unix(PathBuf),
}

impl TryFrom<String> for UpstreamAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "`http://HOST:PORT`, `https://HOST:PORT` or `unix:/path`";
        match text.strip_prefix("unix:") {
            Some("") => return Err(EXPECTED),
            Some(path) => return Ok(Self::Unix(path.into())),
            None => {}
        }
        let (rest, is_tls) = match text.strip_prefix("https://") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("http://").ok_or(EXPECTED)?, false),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let host_and_port: hyper::http::uri::Authority = authority.parse().map_err(|_| EXPECTED)?;
        if host_and_port.host().is_empty() || authority.contains('@') {
            return Err(EXPECTED);
        }
        let (host, port) = (host_and_port.host(), host_and_port.port_u16());
        Ok(if is_tls {
            Self::Tls(format!("{host}:{}", port.unwrap_or(443)))
        } else {
            Self::Tcp(format!("{host}:{}", port.unwrap_or(80)))
        })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::UpstreamAddress;

    fn upstream(text: &str) -> Result<String, &'static str> {
        UpstreamAddress::try_from(text.to_owned()).map(|upstream| upstream.to_string())
    }

    #[test]
    fn an_upstream_is_a_host_and_a_port_or_a_socket_file() {
        for (text, shown) in [
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("http://django", "http://django:80"),
            ("http://[::1]:8001/", "http://[::1]:8001"),
            ("https://django.internal", "https://django.internal:443"),
            ("unix:/run/daphne.sock", "unix:/run/daphne.sock"),
        ] {
            assert_eq!(upstream(text).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn anything_else_is_no_upstream() {
        for text in [
            "127.0.0.1:8001",
            "ftp://django",
            "http://",
            "https://",
            "http://a/path",
            "http://user:pass@a",
            "unix:",
        ] {
            assert!(upstream(text).is_err(), "{text}");
        }
    }
}
