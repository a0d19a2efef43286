//! The other sites whose pages may read our answers in a browser: what `cors.allowed_origins` sets,
//! in the headers of django-cors-headers, which does the same for Django.
//!
//! Only a browser asks for any of this, and only what it lets its pages read is decided: other
//! clients see everything anyway. Sockets have `ws.allowed_origins`.

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, HeaderValue, ORIGIN,
        VARY,
    },
};

use super::{Body, Response};
use crate::{
    config::{CorsOrigin, Prefix},
    python::urls::decode_path,
};

/// Methods that a page may use: the defaults of django-cors-headers.
const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, OPTIONS, PATCH, POST, PUT");

/// Headers that a page may send: the defaults of django-cors-headers.
pub const DJANGO_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, content-type, user-agent, x-csrftoken, x-requested-with",
);

/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Headers that pages may read besides those they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After");

/// Decision about one request to the API.
#[derive(Debug, PartialEq)]
pub enum Cors {
    /// The setting is empty, or the path is not the API's: no header is added.
    Off,
    /// No origin, or none that is listed: the answer says that it would differ for others.
    Refused,
    /// Any page may read the answer, which must not depend on who asks.
    Anybody,
    /// Pages of this origin may read the answer and send cookies.
    Listed(HeaderValue),
}

impl Cors {
    /// Decides about a request. `prefix` is that of the API, `allowed` the setting.
    #[must_use]
    pub fn of<B>(request: &Request<B>, allowed: &[CorsOrigin], prefix: &Prefix) -> Self {
        if allowed.is_empty() || !decode_path(request.uri().path()).starts_with(prefix.as_str()) {
            return Cors::Off;
        }
        let Some(origin) = request.headers().get(ORIGIN) else {
            return Cors::Refused;
        };
        let sent = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        let is_listed = allowed
            .iter()
            .any(|it| matches!(it, CorsOrigin::Exact(exact) if *exact == sent));
        if is_listed {
            Cors::Listed(origin.clone())
        } else if allowed.contains(&CorsOrigin::Any) {
            Cors::Anybody
        } else {
            Cors::Refused
        }
    }

    /// Returns the answer to a browser that asks whether its page may send something; the API
    /// itself is not asked. `sendable` returns the headers that a page may send.
    #[must_use]
    pub fn preflight<B>(
        &self,
        request: &Request<B>,
        sendable: impl FnOnce() -> HeaderValue,
    ) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if *self == Cors::Off || !asks {
            return None;
        }
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        if *self != Cors::Refused {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sendable());
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        self.mark(headers);
        Some(response)
    }

    /// Tells the browser who may read this answer.
    pub fn mark(&self, headers: &mut HeaderMap) {
        let origin = match self {
            Cors::Off => return,
            Cors::Refused => None,
            Cors::Anybody => Some(HeaderValue::from_static("*")),
            Cors::Listed(origin) => Some(origin.clone()),
        };
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        if matches!(self, Cors::Listed(_)) {
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        // Caches must not give one origin's answer to another.
        let vary = match headers.get(VARY).map(HeaderValue::to_str) {
            Some(Ok(vary)) => HeaderValue::try_from(format!("{vary}, Origin")).ok(),
            _ => None,
        };
        headers.insert(VARY, vary.unwrap_or(HeaderValue::from_static("Origin")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn of<B>(request: &Request<B>, allowed: &str) -> Cors {
        let config = Config::of(&[("cors.allowed_origins", allowed)]);
        Cors::of(
            request,
            &config.cors.allowed_origins,
            &config.django.url_prefix,
        )
    }

    fn request(method: &str, path: &str, headers: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    /// Returns the headers that an answer gets for a request from `origin`, one a line.
    fn marks(allowed: &str, origin: &'static str) -> Vec<String> {
        let asked = request("GET", "/api/chat/conversations/", &[("origin", origin)]);
        let mut headers = HeaderMap::new();
        headers.insert(VARY, HeaderValue::from_static("Accept, Cookie"));
        of(&asked, allowed).mark(&mut headers);
        let line = |(name, value): (&hyper::header::HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn nothing_is_added_without_the_setting_or_outside_the_api() {
        assert_eq!(marks("", "https://a.example"), ["vary: Accept, Cookie"]);
        for path in ["/metrics", "/", "/api/other/"] {
            let asked = request("GET", path, &[("origin", "https://a.example")]);
            assert_eq!(of(&asked, "https://a.example"), Cors::Off);
        }
    }

    #[test]
    fn a_listed_origin_may_read_and_send_cookies() {
        assert_eq!(
            marks("https://a.example,https://b.example", "https://b.example"),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://b.example",
                "access-control-expose-headers: Retry-After",
                "vary: Accept, Cookie, Origin",
            ]
        );
    }

    #[test]
    fn an_origin_that_is_not_exactly_one_of_the_list_gets_nothing() {
        for origin in [
            "https://a.example.evil.example",
            "https://aa.example",
            "http://a.example",
            "https://a.example:444",
            "null",
            "",
        ] {
            assert_eq!(
                marks("https://a.example", origin),
                ["vary: Accept, Cookie, Origin"]
            );
        }
    }

    #[test]
    fn everybody_else_may_read_but_not_as_somebody() {
        let anybody = [
            "access-control-allow-origin: *",
            "access-control-expose-headers: Retry-After",
            "vary: Accept, Cookie, Origin",
        ];
        assert_eq!(
            marks("*,https://a.example", "https://evil.example"),
            anybody
        );
        assert_eq!(marks("*", "null"), anybody);
        let listed = marks("*,https://a.example", "https://a.example");
        assert_eq!(listed[0], "access-control-allow-credentials: true");
    }

    #[test]
    fn a_preflight_is_answered_whatever_the_path_allows() {
        let path = "/api/chat/conversations/";
        let asks = ("access-control-request-method", "PUT");
        let preflight = |origin| {
            let asked = request("OPTIONS", path, &[("origin", origin), asks]);
            of(&asked, "https://a.example")
                .preflight(&asked, || DJANGO_HEADERS)
                .unwrap()
        };
        let allowed = preflight("https://a.example");
        assert_eq!(allowed.status(), 200);
        let methods = allowed.headers()[ACCESS_CONTROL_ALLOW_METHODS]
            .to_str()
            .unwrap();
        assert!(methods.contains("PUT"));
        let refused = preflight("https://b.example");
        assert!(
            refused
                .headers()
                .get(ACCESS_CONTROL_ALLOW_METHODS)
                .is_none()
        );
        assert!(refused.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        let plain = request("OPTIONS", path, &[("origin", "https://a.example")]);
        assert!(
            of(&plain, "https://a.example")
                .preflight(&plain, || DJANGO_HEADERS)
                .is_none()
        );
        let off = request("OPTIONS", path, &[("origin", "https://a.example"), asks]);
        assert!(of(&off, "").preflight(&off, || DJANGO_HEADERS).is_none());
    }
}
