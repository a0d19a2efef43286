//! Starlette's `CORSMiddleware` with credentials, all methods and all headers, as the systems that
//! are served here configure it.

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, COOKIE, HeaderName,
        HeaderValue, ORIGIN, VARY,
    },
};

use super::reply;
use crate::{
    config::{CorsOrigin, Generation},
    http::Response,
};

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
/// Starlette 1 knows one more.
const METHODS_1: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY";
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT_1: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, \
     Access-Control-Request-Private-Network",
);
const PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");

/// The origins whose pages may read answers, with cookies.
#[derive(Clone, Debug)]
pub struct CorsRules {
    pub origins: Vec<CorsOrigin>,
    pub generation: Generation,
}

impl CorsRules {
    fn is_new(&self) -> bool {
        self.generation == Generation::V0_165
    }

    fn takes_any(&self) -> bool {
        self.origins.contains(&CorsOrigin::Any)
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let is_it = |allowed: &CorsOrigin| match allowed {
            CorsOrigin::Any => true,
            CorsOrigin::Exact(exact) => exact.as_bytes() == origin.as_bytes(),
        };
        self.origins.iter().any(is_it)
    }

    /// Answers a browser that asks whether its page may send something; `None` for other requests.
    #[must_use]
    pub fn preflight(&self, method: &str, request: &HeaderMap) -> Option<Response> {
        let origin = request.get(ORIGIN)?;
        let asked = request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        if method != "OPTIONS" {
            return None;
        }
        let methods = if self.is_new() { METHODS_1 } else { METHODS };
        let is_method = methods
            .split(", ")
            .any(|known| known.as_bytes() == asked.as_bytes());
        let is_private = self.is_new() && request.contains_key(PRIVATE_NETWORK);
        let text = match (self.allows(origin), is_method, is_private) {
            (true, true, false) => "OK",
            (false, true, false) => "Disallowed CORS origin",
            (true, false, false) => "Disallowed CORS method",
            (false, false, false) => "Disallowed CORS origin, method",
            (true, true, true) => "Disallowed CORS private-network",
            (false, true, true) => "Disallowed CORS origin, private-network",
            (true, false, true) => "Disallowed CORS method, private-network",
            (false, false, true) => "Disallowed CORS origin, method, private-network",
        };
        let status = if text == "OK" {
            StatusCode::OK
        } else {
            StatusCode::BAD_REQUEST
        };
        let mut response = reply::text(status, text);
        let headers = response.headers_mut();
        let vary = if self.is_new() {
            VARY_PREFLIGHT_1
        } else {
            VARY_ORIGIN
        };
        headers.insert(VARY, vary);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(methods),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        let yes = HeaderValue::from_static("true");
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        if self.allows(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if let Some(sent) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sent.clone());
        }
        Some(response)
    }

    /// Says in an answer who may read it.
    pub fn mark(&self, request: &HeaderMap, response: &mut HeaderMap) {
        let Some(origin) = request.get(ORIGIN) else {
            if self.is_new() {
                vary(response);
            }
            return;
        };
        let yes = HeaderValue::from_static("true");
        response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        if self.takes_any() {
            let any = HeaderValue::from_static("*");
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
        }
        // Any page may read what is no caller's.
        let is_explicit = if self.takes_any() {
            self.is_new() || request.contains_key(COOKIE)
        } else {
            self.allows(origin)
        };
        if is_explicit {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if is_explicit || self.is_new() {
            vary(response);
        }
    }
}

/// Adds that the answer would be another one for another origin.
fn vary(headers: &mut HeaderMap) {
    let both = match headers.get(VARY).map(HeaderValue::to_str) {
        Some(Ok(vary)) => HeaderValue::try_from(format!("{vary}, Origin")).ok(),
        _ => None,
    };
    headers.insert(VARY, both.unwrap_or(VARY_ORIGIN));
}
