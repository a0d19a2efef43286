//! `[ws]`: limits and timing of the WebSockets.

use std::{fmt, time::Duration};

use serde::Deserialize;

use super::declare::settings;

settings! {
    /// The WebSockets.
    pub struct Ws in "ws" {
        /// Bytes of one message, its fragments added up; 256 more are allowed for the JSON around
        /// it. Past it the socket is closed with 1009.
        max_message_bytes: usize = 1048576 in 1..=268_435_456,
        /// Newest messages sent when a client connects. 0 sends all, as the original does.
        history_limit: usize = 0 in 0..=1_000_000,
        /// Messages that wait for one slow client; past it the socket is closed with 1013. Up to
        /// 512 that share a commit come at once, also to a client that is not slow.
        queue_messages: usize = 1024 in 1..=1_000_000,
        /// Bytes that wait for one slow client; past it the socket is closed with 1013.
        queue_bytes: usize = 1048576 in 1024..=1_073_741_824,
        /// Seconds without a frame before the server pings; Daphne's own default.
        ping_interval_s: u64 = 20 in 1..=3600,
        /// Seconds without an answer to a ping before the socket is dropped; Daphne's own default.
        /// Any client, of REST and of Django's sockets too, is dropped when it takes nothing of
        /// what it is sent for both times together.
        ping_timeout_s: u64 = 30 in 1..=3600,
        /// Frames that a client may send in a second on one socket, all of them at once if need be:
        /// messages, their fragments, pings and pongs. 4 KiB count as one more, as do 64 commas of
        /// a long text, and a frame that is answered with an error or ignored as ten, but for those
        /// past one of `limits`. A client that sends more is read slower. 0 is any number.
        frames_per_s: u32 = 1000 in 0..=1_000_000,
        /// Seconds for which a client may go on sending more than that without a pause, and is read
        /// slower; then its socket is closed with 1008 and the reason `too many frames`.
        flood_s: u64 = 30 in 1..=86_400,
        /// Origins a browser may connect from: `https://chat.example`, `https://.chat.example` for
        /// that one and all its subdomains, as Channels has it, or `same` for the host it asked
        /// for. Empty allows any. Those refused are counted, and logged once each.
        allowed_origins: Vec<AllowedOrigin> = [],
    }
}

impl Ws {
    /// How long a client is kept that gives no sign of life: nothing is heard of it, or it takes
    /// nothing of what it is sent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.ping_interval_s + self.ping_timeout_s)
    }
}

/// An origin that may open a socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum AllowedOrigin {
    /// The one whose host and port are those of the `Host` header.
    Same,
    /// Exactly this one, in lower case.
    Exact(String),
    /// The host after the dot and all its subdomains, by this scheme and port.
    Subdomains {
        /// In lower case, with `://`.
        scheme: String,
        /// In lower case, with the dot before it and the port after it, if it is not the scheme's.
        host: String,
    },
}

impl AllowedOrigin {
    /// Returns whether it is the `origin` of a request to `host`, both as their headers have them.
    #[must_use]
    pub fn is(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.trim();
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            Self::Subdomains { scheme, host } => {
                let origin = origin.to_ascii_lowercase();
                let asked = origin.strip_prefix(scheme);
                asked.is_some_and(|asked| format!(".{asked}").ends_with(host))
            }
            Self::Same => origin.split_once("://").is_some_and(|(_, rest)| {
                host.is_some_and(|host| host.trim().eq_ignore_ascii_case(rest))
            }),
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "same" => return Ok(Self::Same),
            "null" => return Ok(Self::Exact(text)),
            _ => {}
        }
        let (scheme, host) = text.split_once("://").ok_or(EXPECTED)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        let name = host.strip_prefix('.');
        if scheme.is_empty() || !scheme.bytes().all(plain) || !is_host(scheme, name.unwrap_or(host))
        {
            return Err(EXPECTED);
        }
        Ok(match name {
            Some(_) => Self::Subdomains {
                scheme: format!("{scheme}://"),
                host: host.to_owned(),
            },
            None => Self::Exact(text),
        })
    }
}

const EXPECTED: &str = "`same`, `null`, or origins as browsers send them, `https://chat.example` or \
     `https://chat.example:8443` (no path, no `*`, no port that is the scheme's own), or \
     `https://.chat.example` for subdomains too";

/// Returns whether a browser sends this host, with its port, after `scheme://`.
fn is_host(scheme: &str, host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let own = match scheme {
        "https" => 443,
        "http" => 80,
        "wss" | "ws" => return false,
        _ => 0,
    };
    let is_port = |port: &str| {
        let number = port.parse::<u16>();
        number.is_ok_and(|number| number != own && number.to_string() == port)
    };
    let address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_name = if let Some(address) = address {
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
    };
    is_name && port.is_none_or(is_port)
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Exact(origin) => f.write_str(origin),
            Self::Subdomains { scheme, host } => write!(f, "{scheme}{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AllowedOrigin;

    fn origin(text: &str) -> Result<AllowedOrigin, &'static str> {
        AllowedOrigin::try_from(text.to_owned())
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        assert_eq!(origin("same"), Ok(AllowedOrigin::Same));
        for text in [
            "https://chat.example",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "null",
        ] {
            assert_eq!(origin(text), Ok(AllowedOrigin::Exact(text.to_owned())));
        }
        assert_eq!(
            origin("https://Chat.Example"),
            origin("https://chat.example")
        );
    }

    #[test]
    fn a_dot_before_the_host_stands_for_it_and_its_subdomains() {
        let allowed = origin("https://.Example.com").unwrap();
        for inside in [
            "https://example.com",
            "https://chat.example.com",
            "https://A.b.example.COM",
        ] {
            assert!(allowed.is(inside, None), "{inside}");
        }
        for outside in [
            "http://chat.example.com",
            "https://chat.example.com:8443",
            "https://notexample.com",
            "https://example.com.evil",
            "null",
        ] {
            assert!(!allowed.is(outside, None), "{outside}");
        }
        let allowed = origin("https://.example.com:8443").unwrap();
        assert!(allowed.is("https://chat.example.com:8443", None));
        assert!(!allowed.is("https://chat.example.com", None));
    }

    #[test]
    fn what_no_browser_sends_as_an_origin_is_refused() {
        for text in [
            "wss://a",
            "https://a:443",
            "http://a:80",
            "http://a:080",
            "https://a:b",
            "https://..a",
            "https://.",
            "https://[::g]",
            "https://대화",
            "",
            "*",
            "chat.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "://a",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
