//! `[server]`: where clients connect, how many may, and how the server leaves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::{
    Loaded, Network, Tls,
    declare::{choice, settings},
    replace_default,
};

/// Seconds of the drain that somebody at a terminal waits for.
const ON_TERMINAL_S: u64 = 2;

settings! {
    /// The listener.
    pub struct Server in "server" {
        /// Where to listen: `ADDRESS:PORT`, `[IPv6]:PORT`, or `unix:/path` for a Unix socket.
        /// `PORT` in the environment means `0.0.0.0:PORT`. Any address that is not loopback needs
        /// an `auth.identity`, or `auth.allow_anonymous = true`.
        bind: Bind = "127.0.0.1:8000",
        /// Let several processes listen on the same port (`SO_REUSEPORT`): the system spreads new
        /// connections over them, so that a new version can start before the old one drains.
        /// Without it a second process does not start on the SQLite file of another, unless both
        /// have a layer of Redis: their sockets would not hear each other.
        reuse_port: bool = false,
        /// Connections open at once; one more gets a 503 and is counted. What asks for `/healthz`,
        /// `/readyz` or `/metrics` is answered all the same: the process is well, and full. Lowered
        /// at start to what fits into the limit of open files, of which one that is passed on to
        /// Django takes two.
        max_connections: usize = 100000 in 1..=10_000_000,
        /// Seconds from accepting a connection to the end of its request head, the TLS handshake
        /// included; then it is closed.
        header_timeout_s: u64 = 10 in 1..=3600,
        /// Seconds that a kept-alive connection may be silent between two requests; then it is
        /// closed. Longer than a balancer in front keeps its own (60 s with AWS and nginx, 600 s
        /// with Google), so that none is closed while a request is on its way.
        keep_alive_s: u64 = 90 in 1..=3600,
        /// MiB that the bodies of requests may take together while they are read and answered; one
        /// that finds no room gets a 503, one larger than all of it a 413. Those of up to 64 KiB
        /// are always read. Where a control group limits the memory, as in a container, the default
        /// is an eighth of that if it is less.
        body_memory_mib: u32 = 256 in 8..=1_000_000,
        /// MiB of answers that have been made and not been read by their clients, together. An
        /// answer that finds no room gets a 503, one under way waits; those of up to 64 KiB are
        /// always sent. Where a control group limits the memory, the default is an eighth of that
        /// if it is less.
        answer_memory_mib: u32 = 64 in 8..=1_000_000,
        /// Seconds from SIGTERM to the last WebSocket closed with code 1012, for the clients to
        /// come back spread over that time. 0 closes them all at once. What is left of it is for a
        /// Redis that was away to take the events that it is owed. On a terminal the default is 2.
        drain_s: u64 = 25 in 0..=3600,
        /// Addresses and networks of the proxies in front, as `10.0.0.0/8`: what they say of the
        /// client's address, in `X-Forwarded-For` or by the PROXY protocol, is believed. Whoever
        /// comes over a Unix socket is always believed.
        trusted_proxies: Vec<Network> = [],
        /// Connections from `trusted_proxies`, and those of a Unix socket, begin with a header of
        /// the PROXY protocol, version 1 or 2. One without it is closed.
        proxy_protocol: bool = false,
        /// Serve `/docs` and `/openapi.json`: `yes`, `no`, or `auto` for only while `auth.identity`
        /// is `none`. `chatferry openapi` prints the document at any time.
        docs: Shown = "auto",
    }
    with { tls: Tls }
}

choice! {
    /// The clients that are shown something of the server that is not of the chat.
    pub enum Shown {
        /// Only while `auth.identity` is `none`.
        Auto = "auto",
        Yes = "yes",
        No = "no",
    }
}

impl Server {
    /// Returns whether what this peer says of others is believed; nobody has an address over a Unix
    /// socket.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_none_or(|address| self.trusted_proxies.iter().any(|it| it.contains(address)))
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Bind {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Loaded {
    /// Shortens the default drain for a server that somebody runs by hand.
    #[must_use]
    pub fn on_terminal(mut self) -> Self {
        let key = "server.drain_s";
        if replace_default(&mut self.effective, key, &ON_TERMINAL_S, "on a terminal") {
            self.config.server.drain_s = ON_TERMINAL_S;
        }
        self
    }
}

impl Bind {
    /// Every interface at `port`: what the variable `PORT` asks for.
    #[must_use]
    pub fn any(port: u16) -> Self {
        Self::Tcp((Ipv4Addr::UNSPECIFIED, port).into())
    }

    /// Returns whether the system chooses the port: never the same twice.
    #[must_use]
    pub fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }

    /// Returns whether only this machine can reach it. A Unix socket has its file's permissions.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl TryFrom<String> for Bind {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "an address as `127.0.0.1:8000` or `[::1]:8000`, or `unix:/path`";
        match text.strip_prefix("unix:") {
            Some("") => Err(EXPECTED),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| EXPECTED),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bind;

    fn bind(text: &str) -> Result<Bind, &'static str> {
        Bind::try_from(text.to_owned())
    }

    #[test]
    fn an_address_reads_as_it_shows() {
        for text in [
            "127.0.0.1:8000",
            "0.0.0.0:80",
            "[::1]:8000",
            "unix:/run/chat.sock",
        ] {
            assert_eq!(bind(text).map(|b| b.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn half_an_address_is_refused() {
        for text in [
            "",
            "8000",
            ":8000",
            "127.0.0.1",
            "unix:",
            "127.0.0.1:99999",
            "chat.example:80",
        ] {
            assert!(bind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_reaches_loopback_and_unix_sockets() {
        let loopback = |text| bind(text).map(|b| b.is_loopback());
        for text in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "unix:/s",
        ] {
            assert_eq!(loopback(text), Ok(true), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert_eq!(loopback(text), Ok(false), "{text}");
        }
    }
}
