//! Server-sent events, as sse-starlette frames them.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http_body_util::StreamBody;
use hyper::{
    StatusCode,
    body::Frame,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::reply;
use crate::{
    http::{Body, Broken, Response},
    python::datetime::{Timestamp, to_sqlite},
};

const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An event of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerEvent<'a> {
    pub id: Option<&'a str>,
    pub event: Option<&'a str>,
    /// May have several lines.
    pub data: Option<&'a str>,
    /// Milliseconds after which a client may connect again.
    pub retry: Option<u64>,
}

impl ServerEvent<'_> {
    /// Returns the bytes of the event.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        let mut frame = String::new();
        let mut line = |name: &str, value: &str| {
            frame.push_str(name);
            frame.push_str(": ");
            frame.push_str(value);
            frame.push_str("\r\n");
        };
        if let Some(id) = self.id {
            line("id", &lines(id).concat());
        }
        if let Some(event) = self.event {
            line("event", &lines(event).concat());
        }
        for data in self.data.iter().flat_map(|data| lines(data)) {
            line("data", data);
        }
        if let Some(retry) = self.retry {
            line("retry", &retry.to_string());
        }
        frame.push_str("\r\n");
        frame.into()
    }
}

/// Splits a text where it ends a line by `\r\n`, `\r` or `\n`.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.split("\r\n");
    lines.flat_map(|line| line.split(['\r', '\n'])).collect()
}

/// Returns the comment that shows a quiet connection to be alive.
#[must_use]
pub fn ping(now: Timestamp) -> Bytes {
    format!(": ping - {}+00:00\r\n\r\n", to_sqlite(now)).into()
}

/// Makes the answer of a stream of frames.
pub fn stream(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let frames = frames.map(|bytes| Ok::<_, Broken>(Frame::data(bytes)));
    let body = Body::passed(StreamBody::new(frames));
    let mut response = reply::empty(StatusCode::OK).map(|_| body);
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONNECTION, "keep-alive"),
        (NO_BUFFERING, "no"),
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
