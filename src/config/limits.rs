//! `[limits]`: how much one client may ask for. By address all of it is off unless it is set, as
//! everybody behind a proxy that nobody trusts is one address.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::declare::settings;

settings! {
    /// How much one client may ask for, by address and by user. Past a limit a request gets a 429
    /// with `Retry-After`, a frame an `{"error": …}`, and it is counted; nothing is stored. A rate
    /// is written as Django REST framework writes its throttles: `100/min`, with `s`, `min`, `hour`
    /// or `day`. So many may come at once, and they come back evenly over the period. Each process
    /// counts for itself.
    pub struct Limits in "limits" {
        /// Clients that are remembered, about 100 bytes for each limit one has used; past it those
        /// heard of longest ago are forgotten, and start anew.
        max_tracked: usize = 100000 in 100..=10_000_000,
    }
    with { address: ByAddress, user: ByUser }
}

settings! {
    /// Limits of one address, or of one /64 network of IPv6. `server.trusted_proxies` say whose
    /// address it is; they themselves, and clients of a Unix socket, have no limits.
    pub struct ByAddress in "limits.address" {
        /// Requests, handshakes and fresh tokens of sockets among them; `/healthz` is free.
        requests: Option<Rate> = "",
        /// Messages sent and messages marked as read, by REST and by WebSocket.
        messages: Option<Rate> = "",
        /// Typing frames.
        typing: Option<Rate> = "",
        /// Handshakes of WebSockets, whatever becomes of them.
        sockets: Option<Rate> = "",
        /// WebSockets open at once; 0 for any number.
        open_sockets: u32 = 0 in 0..=10_000_000,
        /// Conversations made. While none may be made, asking for one that is there is refused too.
        conversations: Option<Rate> = "",
        /// Rows of conversations and messages read for answers by REST and for histories of
        /// sockets. One request may read more; later ones get a 429 until that is made up for.
        rows: Option<Rate> = "",
        /// Tokens and session cookies that were shown and are not good. Past it others of the
        /// address that are not known yet get a 429 instead of a look at the database; those of
        /// users who are logged in and were seen lately are let in. It holds with an
        /// `auth.identity`.
        denied: Option<Rate> = "300/min",
        /// MiB of answers that have been made and not been read, together; one more gets a 429, one
        /// under way waits. 0 for any number, within `server.answer_memory_mib`.
        answer_memory_mib: u32 = 0 in 0..=1_000_000,
    }
}

settings! {
    /// Limits of one user, whatever the address. They hold with an `auth.identity`: a user that
    /// anybody may claim to be is no measure. The defaults are far above what a person does; a
    /// program that speaks for many people as one user may need more.
    pub struct ByUser in "limits.user" {
        /// Requests, handshakes and fresh tokens of sockets among them.
        requests: Option<Rate> = "500/s",
        /// Messages sent and messages marked as read, by REST and by WebSocket.
        messages: Option<Rate> = "200/s",
        /// Typing frames.
        typing: Option<Rate> = "200/s",
        /// Handshakes of WebSockets, whatever becomes of them.
        sockets: Option<Rate> = "100/s",
        /// WebSockets open at once; 0 for any number.
        open_sockets: u32 = 0 in 0..=10_000_000,
        /// Conversations made. While none may be made, asking for one that is there is refused too.
        conversations: Option<Rate> = "1000/hour",
        /// Rows of conversations and messages read for answers by REST and for histories of
        /// sockets. One request may read more; later ones get a 429 until that is made up for.
        rows: Option<Rate> = "1000000/min",
        /// MiB of answers that have been made and not been read, together; one more gets a 429, one
        /// under way waits. 0 for any number, within `server.answer_memory_mib`.
        answer_memory_mib: u32 = 4 in 0..=1_000_000,
    }
}

/// So many in a period, all of them at once if need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    most: u32,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

impl Rate {
    /// How many there may be in a period, at once or one by one.
    #[must_use]
    pub fn most(self) -> u32 {
        self.most
    }

    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs(match self.period {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 60 * 60,
            Period::Day => 24 * 60 * 60,
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "a number from 1 to 1000000 and a period, as `100/min` \
                                (`s`, `min`, `hour` or `day`), or nothing for no limit";
        let (most, period) = text.split_once('/').ok_or(EXPECTED)?;
        let most = most.trim().parse().map_err(|_| EXPECTED)?;
        let period = match period.trim() {
            "s" | "sec" | "second" => Period::Second,
            "m" | "min" | "minute" => Period::Minute,
            "h" | "hour" => Period::Hour,
            "d" | "day" => Period::Day,
            _ => return Err(EXPECTED),
        };
        match most {
            1..=1_000_000 => Ok(Rate { most, period }),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            Period::Second => "s",
            Period::Minute => "min",
            Period::Hour => "hour",
            Period::Day => "day",
        };
        write!(f, "{}/{period}", self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Result<Rate, &'static str> {
        Rate::try_from(text.to_owned())
    }

    #[test]
    fn a_rate_is_written_as_django_rest_framework_writes_it() {
        for (text, shown, seconds) in [
            ("1/s", "1/s", 1),
            ("100/min", "100/min", 60),
            ("100/m", "100/min", 60),
            ("5 / hour", "5/hour", 3600),
            ("1000000/day", "1000000/day", 86400),
        ] {
            let rate = rate(text).unwrap();
            assert_eq!(rate.to_string(), shown);
            assert_eq!(rate.period(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn anything_else_is_no_rate() {
        for text in [
            "",
            "100",
            "/s",
            "0/s",
            "-1/s",
            "1000001/s",
            "1/week",
            "1/s/s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
