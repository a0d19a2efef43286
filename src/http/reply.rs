//! Answers that no dialect has an opinion about, and the headers that every answer of ours has.

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{
        ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{Body, Response};
use crate::{
    limits::Throttled, metrics::SecurityEvent, python::json, telemetry::security::RefusedRequest,
    value::Value,
};

/// The content types of answers.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Seconds after which a client may try again when the store is away.
pub const RETRY_S: u64 = 1;

/// Writes a value, on one line or with this many spaces for each level.
#[must_use]
pub fn json_bytes(value: &Value, indent: Option<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match indent {
        Some(indent) => json::write_pretty(&mut bytes, value, indent),
        None => json::write_utf8(&mut bytes, value),
    }
    bytes
}

/// Makes the entry for the security log about a limit that was reached.
#[must_use]
pub fn limited(throttled: Throttled) -> RefusedRequest {
    RefusedRequest::new(SecurityEvent::Limit, throttled.limit())
}

/// Makes a bare answer without a body, as Twisted gives it, after which the connection is closed.
#[must_use]
pub fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    close(&mut response);
    response
}

/// For a request for which there is no room now: its body would take more memory than is left for
/// bodies, or too many connections are open.
#[must_use]
pub fn no_room() -> Response {
    let mut response = bare(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, RETRY_S.into());
    response
}

/// Lets hyper close the connection after this answer.
pub fn close(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response
        .headers_mut()
        .insert(hyper::header::CONNECTION, close);
}

/// For a method that a page or an answer of our own does not have.
#[must_use]
pub fn read_only() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET and HEAD.\n");
    let allow = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// JSON in compact form.
#[must_use]
pub fn json(status: StatusCode, value: &Value) -> Response {
    plain(status, JSON, json_bytes(value, None))
}

/// Makes an answer of our own.
#[must_use]
pub fn ours(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    plain(status, HeaderValue::from_static(content_type), body)
}

/// Makes an answer with a body that is whole.
pub fn plain(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    with_body(status, content_type, Body::new(body.into()))
}

/// Makes an answer with the headers that Django's `SecurityMiddleware` puts on everything; our own
/// answers have them too.
pub fn with_body(status: StatusCode, content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
