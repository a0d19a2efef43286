//! W3C Trace Context: the trace that a request is part of, read from `traceparent` and written to
//! it. This is the only place that knows the header.

use std::fmt;

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use crate::random;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of `00-TRACE-PARENT-FLAGS`. A later version may have more after another `-`.
const LENGTH: usize = 55;

/// The only flag there is in version 00: the caller records the trace.
const SAMPLED: u8 = 1;

/// Most bytes of a `tracestate` that are kept.
const STATE_MAX: usize = 512;

/// A place in a trace: the span that what comes next is a child of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: bool,
}

/// Never all zero, which means that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// Never all zero, which means that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

impl Context {
    /// Returns the caller's place. A header that is malformed, or there twice, is as good as none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        let (Some(header), None) = (sent.next(), sent.next()) else {
            return None;
        };
        Context::parse(header.as_bytes())
    }

    fn parse(header: &[u8]) -> Option<Self> {
        let (known, later) = header.split_at_checked(LENGTH)?;
        let mut parts = known.split(|&byte| byte == b'-');
        let [version] = hex(parts.next()?)?;
        let (trace, span) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let [flags] = hex(parts.next()?)?;
        let fits = match version {
            0 => later.is_empty(),
            0xff => false,
            _ => later.is_empty() || later[0] == b'-',
        };
        let is_some = trace != [0; 16] && span != [0; 8];
        (fits && is_some && parts.next().is_none()).then_some(Context {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & SAMPLED != 0,
        })
    }

    /// Returns the header for the servers that are asked from here.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        // It cannot fail: hex digits and dashes.
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

impl TraceId {
    /// Makes a new one; `None` if the system has no randomness to give.
    #[must_use]
    pub fn random() -> Option<Self> {
        random().map(TraceId)
    }

    /// Returns the place of the trace among all, from 0 to 1: by the same bytes as in
    /// OpenTelemetry's libraries, so that everybody who samples the same share samples the same
    /// traces.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits of a random number will do"
    )]
    pub fn place(self) -> f64 {
        let half = self.0.last_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(half) as f64 / u64::MAX as f64
    }
}

impl SpanId {
    /// Makes a new one; `None` if the system has no randomness to give.
    #[must_use]
    pub fn random() -> Option<Self> {
        random().map(SpanId)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Returns the notes of tracing systems on the way, as one line; empty if there are none, or too
/// many.
#[must_use]
pub fn state(headers: &HeaderMap) -> String {
    let lines = headers.get_all(TRACESTATE).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let state = lines.join(",");
    if state.len() > STATE_MAX {
        return String::new();
    }
    state
}

fn random<const N: usize>() -> Option<[u8; N]> {
    random::bytes().ok().filter(|bytes| *bytes != [0; N])
}

/// Lower case only, as the specification asks.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(header: &str) -> Option<String> {
        Context::parse(header.as_bytes()).map(|context| context.to_string())
    }

    #[test]
    fn a_header_is_read_and_written() {
        assert_eq!(parse(HEADER).as_deref(), Some(HEADER));
        let other_flags = HEADER.replace("-01", "-fe");
        assert_eq!(parse(&other_flags), Some(HEADER.replace("-01", "-00")));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = HEADER.replacen("00", "cc", 1);
        for text in [later.clone(), later.clone() + "-what-comes"] {
            assert_eq!(parse(&text).as_deref(), Some(HEADER), "{text}");
        }
        assert_eq!(parse(&(later + "x")), None);
    }

    #[test]
    fn a_malformed_header_is_none() {
        for wrong in [
            "",
            "00",
            &HEADER[..54],
            &format!("{HEADER}-"),
            &format!("{HEADER}-more"),
            &HEADER.to_uppercase(),
            &HEADER.replacen("00", "ff", 1),
            &HEADER.replacen("00", "0x", 1),
            &HEADER.replace("-01", "-0g"),
            &HEADER.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn two_headers_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(HEADER));
        assert!(Context::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(HEADER));
        assert_eq!(Context::of(&headers), None);
    }

    #[test]
    fn the_notes_of_several_headers_are_one_line_unless_there_are_too_many() {
        let mut headers = HeaderMap::new();
        assert_eq!(state(&headers), "");
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        assert_eq!(state(&headers), "a=1,b=2");
        let long = "x".repeat(STATE_MAX);
        headers.append(TRACESTATE, long.parse().unwrap());
        assert_eq!(state(&headers), "");
    }

    #[test]
    fn a_trace_lies_where_its_last_half_says() {
        let place = |last: u64| {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&last.to_be_bytes());
            TraceId(id).place()
        };
        assert!(place(0) < 0.001 && place(u64::MAX) > 0.999);
        assert!((place(u64::MAX / 4) - 0.25).abs() < 0.001);
    }
}
