//! Answers as Starlette and uvicorn make them.

use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION},
};

use super::error::HttpError;
use crate::{
    config::Generation,
    http::{Body, Response, reply::JSON},
    python::json,
    value::Value,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Makes an answer of JSON.
///
/// # Errors
/// 500 for a float that is not finite, which JSON cannot hold.
pub fn json(status: StatusCode, value: &Value) -> Result<Response, HttpError> {
    if is_finite(value) {
        Ok(lenient_json(status, value))
    } else {
        Err(HttpError::internal())
    }
}

/// Makes an answer of JSON in which floats that are not finite are null.
pub(super) fn lenient_json(status: StatusCode, value: &Value) -> Response {
    let mut bytes = Vec::new();
    json::write_raw(&mut bytes, value);
    typed(status, JSON, bytes)
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(float) => float.is_finite(),
        Value::List(items) => items.iter().all(is_finite),
        Value::Map(members) => members.iter().all(|(_, value)| is_finite(value)),
        _ => true,
    }
}

/// Makes an answer of plain text.
#[must_use]
pub fn text(status: StatusCode, text: &'static str) -> Response {
    typed(status, TEXT, text)
}

/// Makes the answer of an operation that has none. FastAPI gives it a content type all the same.
#[must_use]
pub fn no_content() -> Response {
    typed(StatusCode::NO_CONTENT, JSON, Bytes::new())
}

/// Makes an answer without a body and its type.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

fn typed(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Sends a client to another location, with the same method and body.
pub(super) fn redirect(location: &str) -> Response {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    // Percent-encoded, so always a header value.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Refuses a handshake before the socket is accepted: no such path, or closed by the application.
#[must_use]
pub fn refused_socket(generation: Generation) -> Response {
    let content_type = match generation {
        Generation::V0_115 | Generation::V0_127 => HeaderValue::from_static("text/plain"),
        Generation::V0_165 => TEXT,
    };
    let mut response = typed(StatusCode::FORBIDDEN, content_type, Bytes::new());
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
