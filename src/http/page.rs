//! Pages of ours: one answer each, built into the program, that talk to this server alone.

use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, X_FRAME_OPTIONS},
};

use super::{
    Response,
    reply::{bare, ours},
};
use crate::random;

/// Makes a page. Its policy lets the browser run the page's own script and style, known by a
/// number that is new each time, and connect to this host only; without randomness for it there is
/// no page.
#[must_use]
pub fn page(text: &str) -> Response {
    let Ok(nonce) = random::name() else {
        return bare(StatusCode::SERVICE_UNAVAILABLE);
    };
    let page = text.replace("{{nonce}}", &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut response = ours(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
