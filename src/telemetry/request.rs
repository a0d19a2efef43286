//! The request and the connection that a line of the log is about.

use std::{borrow::Cow, fmt, net::IpAddr, time::Duration};

use hyper::{HeaderMap, Uri};
use tracing::{Span, field::Empty};

use super::trace::{Context, Trace};

/// Target of the lines that tell of every request and every socket, one each at its end.
pub const ACCESS: &str = "chatferry::access";

/// Most characters of an id that somebody else gave a request.
const ID_MAX: usize = 128;

/// Most characters of a path in a line.
const PATH_MAX: usize = 256;

/// Returns a duration in whole microseconds, for a field whose name ends with `_us`.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

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

    /// Returns the span of the socket that the request has become.
    #[must_use]
    pub fn socket(self) -> Span {
        tracing::error_span!("socket", id = %self)
    }

    /// Returns the span of the request: its id, and those that a proxy (`X-Request-Id`) and a trace
    /// have given it, if they are plain. The trace is ours if there is one, or else that of
    /// `traceparent`.
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

/// The client of a request and its target, for access lines and the security log.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// `None` for a proxy that names no client, and over a Unix socket.
    pub client: Option<IpAddr>,
    uri: Uri,
}

impl Trail {
    #[must_use]
    pub fn new(client: Option<IpAddr>, uri: Uri) -> Self {
        Trail { client, uri }
    }

    /// Returns the path as it is shown.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        shown_path(self.uri.path())
    }
}

/// Returns a path without what may be secret in it: it ends where a query begins, however that is
/// written, and a segment that looks like a token is not shown.
#[must_use]
pub fn shown_path(path: &str) -> Cow<'_, str> {
    let end = path.char_indices().find(|(at, c)| {
        matches!(c, ';' | '&' | '=')
            || path[*at..]
                .get(..3)
                .is_some_and(|it| it.eq_ignore_ascii_case("%3f"))
    });
    let most = path.char_indices().nth(PATH_MAX);
    let ends = [end, most].into_iter().flatten().map(|(at, _)| at);
    let path = &path[..ends.min().unwrap_or(path.len())];
    // A JSON Web Token begins with `{"` in Base64.
    if !path.contains("eyJ") {
        return path.into();
    }
    let shown = path.split('/');
    let shown = shown.map(|it| if it.contains("eyJ") { "***" } else { it });
    shown.collect::<Vec<_>>().join("/").into()
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

    #[test]
    fn no_token_is_shown_in_a_path() {
        for (target, shown) in [
            ("/ws/chat/1/?token=a.b.c", "/ws/chat/1/"),
            ("http://host/ws/chat/1/?token=a.b.c", "/ws/chat/1/"),
            ("/ws/chat/1/%3Ftoken=a.b.c", "/ws/chat/1/"),
            ("/ws/chat/1/%3ftoken%3Da.b.c", "/ws/chat/1/"),
            ("/ws/chat/1/&token=a.b.c", "/ws/chat/1/"),
            ("/ws/chat/1/;token=a.b.c", "/ws/chat/1/"),
            ("/token=a.b.c/", "/token"),
            ("/ws/eyJhbGciOi.eyJzdWIi.c2ln/x/", "/ws/***/x/"),
            (
                "/api/chat/users/%EB%AF%BC/conversations/",
                "/api/chat/users/%EB%AF%BC/conversations/",
            ),
        ] {
            let trail = Trail::new(None, target.parse().unwrap());
            assert_eq!(trail.path(), shown, "{target}");
        }
        let long = Trail::new(None, format!("/{}", "a".repeat(1000)).parse().unwrap());
        assert_eq!(long.path().len(), PATH_MAX);
    }
}
