//! The identity of a caller: where a request shows it, and what comes of it.

use std::{sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Request,
    header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN},
};

use crate::{
    clock::since_1970,
    config::AllowedOrigin,
    limits::Throttled,
    metrics::SecurityEvent,
    python::{cookies, wsgi::meta_value},
    telemetry::security::RefusedRequest,
};

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
    /// Known by a cookie, which a browser sends for pages of any site.
    pub by_cookie: bool,
}

impl Identity {
    /// Returns the time until it expires.
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
    /// Returns the value of the `outcome` label in the metrics.
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

    /// Returns the entry for the security log; none for a fault of ours.
    #[must_use]
    pub fn refused(&self) -> Option<RefusedRequest> {
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
        Some(RefusedRequest::new(event, reason))
    }
}

/// A token, and where it was.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub by_cookie: bool,
}

/// Parts of a request that may carry an identity.
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

    /// Returns the last value of a query parameter, as Django takes it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(self.query?.as_bytes());
        let values = pairs.filter(|(found, _)| found == name);
        values.last().map(|(_, value)| value.into_owned())
    }

    /// Returns the last value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        cookies::value_of(&self.values(&COOKIE), name)
    }

    /// Returns the `Origin`, if pages from there may not speak for a user known by a cookie: it is
    /// neither the host that was asked nor listed. As for Django without TLS, the host's own is
    /// that of `http`.
    #[must_use]
    pub fn foreign_origin(&self, trusted: &[AllowedOrigin]) -> Option<String> {
        let origin = self.text(&ORIGIN)?;
        let host = self.text(&HOST);
        let is_own =
            origin.starts_with("http://") && AllowedOrigin::Same.is(&origin, host.as_deref());
        let listed = || trusted.iter().any(|it| it.is(&origin, host.as_deref()));
        (!is_own && !listed()).then_some(origin)
    }

    /// Returns whether a browser says that the page of another site made it ask. Browsers that do
    /// not say it send an `Origin` instead.
    #[must_use]
    pub fn is_cross_site(&self) -> bool {
        let site = self.text(&FETCH_SITE);
        site.is_some_and(|site| !matches!(site.as_str(), "same-origin" | "none"))
    }

    /// Returns all values of a header in one, as Django has them.
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
    fn a_token_may_be_in_the_query_and_in_a_cookie() {
        let headers = headers(&[("cookie", "jwt=g.h.i; x=y")]);
        let asked = credentials(&headers);
        assert_eq!(asked.parameter("token").as_deref(), Some("a.b.c"));
        assert_eq!(asked.cookie("jwt").as_deref(), Some("g.h.i"));
    }

    #[test]
    fn a_page_of_the_host_or_of_a_listed_origin_is_not_foreign() {
        let foreign = |origin: &'static str, trusted: &[AllowedOrigin]| {
            let headers = headers(&[("origin", origin), ("host", "a.example")]);
            credentials(&headers).foreign_origin(trusted).is_some()
        };
        assert!(!foreign("http://a.example", &[]));
        assert!(foreign("https://a.example", &[]), "as Django without TLS");
        assert!(!foreign("https://a.example", &[AllowedOrigin::Same]));
        let listed = [AllowedOrigin::Exact("https://b.example".into())];
        assert!(!foreign("https://b.example", &listed));
        for origin in ["null", "", "a.example", "http://a.example.evil", "http://"] {
            assert!(foreign(origin, &[AllowedOrigin::Same]), "{origin}");
        }
    }
}
