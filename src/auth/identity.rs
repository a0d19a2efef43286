//! Who is asking: where a request shows it, and what comes of it.

use std::{sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Request,
    header::{
        AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
    },
};

use crate::{
    clock::since_1970,
    config::Origin,
    django::{cookies, header::meta_value},
    limits::Throttled,
    metrics::SecurityEvent,
    telemetry::security::Refused,
};

/// The subprotocol that says that the next one is a token.
pub const TOKEN_PROTOCOL: &str = "access_token";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in the chat.
    pub user: Arc<str>,
    /// Until when, in seconds since 1970.
    pub until: u64,
    /// The `jti` of the token, where tokens may be taken back.
    pub token_id: Option<Arc<str>>,
    /// Known by a cookie, which a browser sends along whoever's page asks it to.
    pub by_cookie: bool,
}

impl Identity {
    /// How long it is still good for.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_secs(self.until.saturating_sub(since_1970().as_secs()))
    }
}

/// Why somebody who must be known is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No session of anybody who is logged in.
    #[error("nobody is logged in")]
    NoSession,
    /// No token.
    #[error("there is no token")]
    NoToken,
    /// A token that is not good; why is for the log only.
    #[error("the token is not good: {0}")]
    BadToken(String),
    /// A token that was good once.
    #[error("the token has run out")]
    ExpiredToken,
    /// Somebody else's page may have made the browser ask; the text is Django's.
    #[error("{0}")]
    Forged(String),
    /// Too many that were not good came from the address.
    #[error("the address has shown too much that is not good: {0}")]
    Limited(Throttled),
    /// The store or the key set cannot be asked now.
    #[error("who is asking cannot be found out: {0}")]
    Unavailable(String),
}

impl Denied {
    /// The value of the `outcome` label in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Denied::NoSession | Denied::NoToken => "anonymous",
            Denied::BadToken(_) => "invalid",
            Denied::ExpiredToken => "expired",
            Denied::Forged(_) => "forged",
            Denied::Limited(_) => "limited",
            Denied::Unavailable(_) => "unavailable",
        }
    }

    /// What the security log says of it; nothing of a fault of ours.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        let event = match self {
            Denied::Forged(_) => SecurityEvent::Origin,
            Denied::Limited(_) => SecurityEvent::Limit,
            Denied::Unavailable(_) => return None,
            _ => SecurityEvent::Identity,
        };
        let reason = match self {
            Denied::Limited(throttled) => throttled.limit(),
            denied => denied.label(),
        };
        Some(Refused::new(event, reason))
    }

    /// The `WWW-Authenticate` header that goes with a 401 (RFC 6750 section 3); without one the
    /// answer is 403, as REST framework has it for sessions.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let text = match self {
            Denied::NoToken => "Bearer realm=\"api\"",
            Denied::BadToken(_) => "Bearer realm=\"api\", error=\"invalid_token\"",
            Denied::ExpiredToken => {
                "Bearer realm=\"api\", error=\"invalid_token\", error_description=\"expired\""
            }
            Denied::NoSession | Denied::Forged(_) | Denied::Limited(_) | Denied::Unavailable(_) => {
                return None;
            }
        };
        Some(HeaderValue::from_static(text))
    }
}

/// A token, and where it was.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub by_cookie: bool,
}

/// Where a request may show who is asking.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    pub headers: &'a HeaderMap,
    /// Without the `?`.
    pub query: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    #[must_use]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Credentials {
            headers: request.headers(),
            query: request.uri().query(),
        }
    }

    /// The token of `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(&self) -> Option<String> {
        let header = self.text(&AUTHORIZATION)?;
        let (scheme, token) = header.trim().split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    }

    /// The token of `Sec-WebSocket-Protocol: access_token, TOKEN`.
    #[must_use]
    pub fn protocol(&self) -> Option<String> {
        let header = self.text(&SEC_WEBSOCKET_PROTOCOL)?;
        let mut names = header.split(',').map(str::trim);
        names.find(|name| *name == TOKEN_PROTOCOL)?;
        names.next().map(str::to_owned)
    }

    /// The last value of a query parameter, as Django takes it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(self.query?.as_bytes());
        let values = pairs.filter(|(found, _)| found == name);
        values.last().map(|(_, value)| value.into_owned())
    }

    /// The last value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        cookies::value_of(&self.values(&COOKIE), name)
    }

    /// The `Origin`, if pages from there may not speak for a user known by a cookie: it is neither
    /// the host that was asked nor listed. As for Django without TLS, the host's own is that of
    /// `http`.
    #[must_use]
    pub fn foreign_origin(&self, trusted: &[Origin]) -> Option<String> {
        let origin = self.text(&ORIGIN)?;
        let host = self.text(&HOST);
        let is_own = origin.starts_with("http://") && Origin::Same.is(&origin, host.as_deref());
        let listed = || trusted.iter().any(|it| it.is(&origin, host.as_deref()));
        (!is_own && !listed()).then_some(origin)
    }

    /// Whether a browser says that the page of another site made it ask. Browsers that do not say
    /// it send an `Origin` instead.
    #[must_use]
    pub fn is_cross_site(&self) -> bool {
        let site = self.text(&FETCH_SITE);
        site.is_some_and(|site| !matches!(site.as_str(), "same-origin" | "none"))
    }

    /// All values of a header in one, as Django has them.
    #[must_use]
    pub fn text(&self, name: &HeaderName) -> Option<String> {
        meta_value(&self.values(name))
    }

    fn values(&self, name: &HeaderName) -> Vec<&[u8]> {
        let values = self.headers.get_all(name).iter();
        values.map(HeaderValue::as_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        lines.collect()
    }

    fn credentials(headers: &HeaderMap) -> Credentials<'_> {
        Credentials {
            headers,
            query: Some("a=1&token=old&token=a.b%2Ec&b"),
        }
    }

    #[test]
    fn a_token_is_found_in_each_of_its_places() {
        let headers = headers(&[
            ("authorization", "bearer  a.b.c"),
            ("sec-websocket-protocol", "chat, access_token, d.e.f"),
            ("cookie", "jwt=g.h.i; x=y"),
        ]);
        let asked = credentials(&headers);
        assert_eq!(asked.bearer().as_deref(), Some("a.b.c"));
        assert_eq!(asked.protocol().as_deref(), Some("d.e.f"));
        assert_eq!(asked.parameter("token").as_deref(), Some("a.b.c"));
        assert_eq!(asked.cookie("jwt").as_deref(), Some("g.h.i"));
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        for lines in [
            &[("authorization", "Basic YTpi")][..],
            &[("authorization", "Bearer")],
            &[("sec-websocket-protocol", "access_token")],
            &[("sec-websocket-protocol", "a.b.c, d")],
            &[],
        ] {
            let headers = headers(lines);
            let asked = credentials(&headers);
            assert_eq!(
                (asked.bearer(), asked.protocol()),
                (None, None),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_page_of_the_host_or_of_a_listed_origin_is_not_foreign() {
        let foreign = |origin: &'static str, trusted: &[Origin]| {
            let headers = headers(&[("origin", origin), ("host", "a.example")]);
            credentials(&headers).foreign_origin(trusted).is_some()
        };
        assert!(!foreign("http://a.example", &[]));
        assert!(foreign("https://a.example", &[]), "as Django without TLS");
        assert!(!foreign("https://a.example", &[Origin::Same]));
        let listed = [Origin::Exact("https://b.example".into())];
        assert!(!foreign("https://b.example", &listed));
        for origin in ["null", "", "a.example", "http://a.example.evil", "http://"] {
            assert!(foreign(origin, &[Origin::Same]), "{origin}");
        }
    }
}
