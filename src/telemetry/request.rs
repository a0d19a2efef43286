//! Which request and which connection a line of the log is about.

use std::fmt;

use hyper::HeaderMap;
use tracing::{Span, field::Empty};

use super::trace::{Context, Trace};

/// Target of the lines that tell of every request and every socket, one each at its end.
pub const ACCESS: &str = "chatferry::access";

/// Most characters of an id that somebody else gave a request.
const ID_MAX: usize = 128;

/// A request by its connection's number, counted since the start of the process, and its own on
/// that connection: `17.3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestId {
    connection: u64,
    request: u64,
}

impl RequestId {
    #[must_use]
    pub fn new(connection: u64, request: u64) -> Self {
        RequestId {
            connection,
            request,
        }
    }

    /// What every line about the request carries: its id, and those that a proxy (`X-Request-Id`)
    /// and a trace have given it, if they are plain. The trace is ours if there is one, or else that
    /// of `traceparent`.
    #[must_use]
    pub fn span(self, headers: &HeaderMap, trace: Option<&Trace>) -> Span {
        let span =
            tracing::error_span!("request", id = %self, request_id = Empty, trace_id = Empty);
        let id = headers.get("x-request-id");
        let id = id.and_then(|value| value.to_str().ok());
        if let Some(id) = id.filter(|id| is_plain(id)) {
            span.record("request_id", id);
        }
        let context = trace.map(|trace| *trace.context());
        if let Some(Context { trace, .. }) = context.or_else(|| Context::of(headers)) {
            span.record("trace_id", trace.to_string().as_str());
        }
        span
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.connection, self.request)
    }
}

fn is_plain(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
    !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_forge_a_line_is_not_taken() {
        assert!(is_plain("b7e1-A_z.9:/+="));
        for wrong in ["", "a b", "a\tb", "a\"b", "대화", &"a".repeat(ID_MAX + 1)] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }
}
