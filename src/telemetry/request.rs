//! Which request and which connection a line of the log is about.

use std::fmt;

use hyper::HeaderMap;
use tracing::{Span, field::Empty};

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
    /// and a trace (`traceparent`) have given it, if they are plain.
    #[must_use]
    pub fn span(self, headers: &HeaderMap) -> Span {
        let span =
            tracing::error_span!("request", id = %self, request_id = Empty, trace_id = Empty);
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(id) = text("x-request-id").filter(|id| is_plain(id)) {
            span.record("request_id", id);
        }
        if let Some(id) = text("traceparent").and_then(trace_id) {
            span.record("trace_id", id);
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

/// The second part of `00-TRACE-PARENT-FLAGS` (W3C Trace Context).
fn trace_id(header: &str) -> Option<&str> {
    let id = header.split('-').nth(1)?;
    let hex = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 32 && hex).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_known_by_its_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let header = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&header), Some(id));
        for wrong in [
            "",
            "00",
            "00-4bf92f35-00f067aa0ba902b7-01",
            &header.to_uppercase(),
        ] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_that_could_forge_a_line_is_not_taken() {
        assert!(is_plain("b7e1-A_z.9:/+="));
        for wrong in ["", "a b", "a\tb", "a\"b", "대화", &"a".repeat(ID_MAX + 1)] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }
}
