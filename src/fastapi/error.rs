//! Refusals of requests: FastAPI's `HTTPException` and validation errors.

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, HeaderValue, WWW_AUTHENTICATE},
};

use super::{
    invalid::{Invalid, member},
    reply,
};
use crate::{http::Response, random, value::Value};

/// A refusal, to be answered as `{"detail": …}`.
#[derive(Debug)]
pub struct HttpError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// `None` for the bare text of an error on our side.
    detail: Option<Value>,
    headers: HeaderMap,
}

impl HttpError {
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        HttpError(Box::new(Refusal {
            status,
            detail: Some(detail.into()),
            headers: HeaderMap::new(),
        }))
    }

    /// For a caller who is not known: 401, with the challenge of bearer tokens.
    #[must_use]
    pub fn unauthorized(detail: &str) -> Self {
        let challenge = HeaderValue::from_static("Bearer");
        HttpError::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge)
    }

    /// For a request whose values are not what they should be.
    #[must_use]
    pub fn invalid(found: Vec<Invalid>) -> Self {
        let found = found.into_iter().map(Invalid::into_value).collect();
        HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, Value::List(found))
    }

    /// For an error on our side.
    #[must_use]
    pub fn internal() -> Self {
        HttpError(Box::new(Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            detail: None,
            headers: HeaderMap::new(),
        }))
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the detail as one text: of mistakes that of the first.
    #[must_use]
    pub fn text(&self) -> String {
        let detail = self.0.detail.as_ref();
        let first = match detail {
            Some(Value::List(mistakes)) => mistakes.first().and_then(|it| it.get("msg")),
            other => other,
        };
        let text = first.and_then(Value::as_str);
        text.unwrap_or("Internal Server Error").to_owned()
    }

    /// Returns the answer in the form of applications that wrap their errors:
    /// `{"status": "error", "error": {"code", "message", "details"}, "request_id"}`.
    #[must_use]
    pub fn wrapped(self) -> Response {
        let code = match self.0.status.as_u16() {
            401 => "UNAUTHORIZED",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            409 => "CONFLICT",
            422 => "VALIDATION_ERROR",
            429 => "RATE_LIMITED",
            400..500 => "BAD_REQUEST",
            _ => "INTERNAL_SERVER_ERROR",
        };
        let (message, status) = (self.text(), self.0.status);
        let details = self
            .0
            .detail
            .filter(|it| matches!(it, Value::List(_) | Value::Map(_)));
        let error = Value::Map(vec![
            member("code", code.into()),
            member("message", message.into()),
            member("details", details.unwrap_or(Value::Null)),
        ]);
        let id = random::name().unwrap_or_default();
        let body = Value::Map(vec![
            member("status", "error".into()),
            member("error", error),
            member("request_id", id.into()),
        ]);
        let mut response = reply::lenient_json(status, &body);
        response.headers_mut().extend(self.0.headers);
        response
    }

    /// Returns whether the caller must be known and is not.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.0.status == StatusCode::UNAUTHORIZED
    }

    /// Returns whether it is an error on our side. Its answer has the headers of no middleware.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.detail.is_none()
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Makes the answer.
    #[must_use]
    pub fn response(self) -> Response {
        let refusal = *self.0;
        let Some(detail) = refusal.detail else {
            return reply::text(refusal.status, "Internal Server Error");
        };
        let detail = Value::Map(vec![member("detail", detail)]);
        // A value that was sent may be none of JSON: a refusal shows it as null.
        let mut response = reply::lenient_json(refusal.status, &detail);
        response.headers_mut().extend(refusal.headers);
        response
    }
}
