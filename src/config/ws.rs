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
        /// Messages that wait for one slow client; past it the socket is closed with 1013. Up to 512
        /// that share a commit come at once, also to a client that is not slow.
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
        /// messages, their fragments, pings and pongs. 4 KiB count as one more, and a frame that is
        /// answered with an error or ignored as ten, but for those past one of `limits`. A client
        /// that sends more is read slower. 0 is any number.
        frames_per_s: u32 = 1000 in 0..=1_000_000,
        /// Seconds for which a client may go on sending more than that without a pause, and is read
        /// slower; then its socket is closed with 1008 and the reason `too many frames`.
        flood_s: u64 = 30 in 1..=86_400,
        /// Origins a browser may connect from: `https://chat.example`, or `same` for the host it
        /// asked for. Empty allows any.
        allowed_origins: Vec<Origin> = [],
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
pub enum Origin {
    /// The one whose host and port are those of the `Host` header.
    Same,
    /// Exactly this one, in lower case.
    Exact(String),
}

impl Origin {
    /// Whether it is the `origin` of a request to `host`, both as their headers have them.
    #[must_use]
    pub fn is(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.trim();
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            Self::Same => origin.split_once("://").is_some_and(|(_, rest)| {
                host.is_some_and(|host| host.trim().eq_ignore_ascii_case(rest))
            }),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "same" {
            return Ok(Self::Same);
        }
        let is_origin = text == "null"
            || text.split_once("://").is_some_and(|(scheme, host)| {
                let plain = |b: u8| b.is_ascii_graphic() && !b"/?#@*".contains(&b);
                scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                    && !scheme.is_empty()
                    && !host.is_empty()
                    && host.bytes().all(plain)
            });
        if is_origin {
            Ok(Self::Exact(text.to_ascii_lowercase()))
        } else {
            Err("`same`, `null`, or origins as `https://chat.example` (no path, no `*`)")
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::Exact(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    fn origin(text: &str) -> Result<Origin, &'static str> {
        Origin::try_from(text.to_owned())
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        assert_eq!(origin("same"), Ok(Origin::Same));
        for text in [
            "https://chat.example",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "null",
        ] {
            assert_eq!(origin(text), Ok(Origin::Exact(text.to_owned())));
        }
        assert_eq!(
            origin("https://Chat.Example"),
            origin("https://chat.example")
        );
    }

    #[test]
    fn what_no_browser_sends_as_an_origin_is_refused() {
        for text in [
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
