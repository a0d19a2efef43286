//! The first head of a connection, in which a proxy may ask for a WebSocket in an older HTTP.
//!
//! nginx speaks HTTP/1.0 to its upstreams unless `proxy_http_version` says otherwise, and passes
//! `Upgrade` and `Connection` on all the same. Daphne answers that like a handshake of HTTP/1.1,
//! as the standard wants it to be; hyper would promise a socket and end the connection. So such a
//! head is made one of HTTP/1.1 before hyper sees it. Nothing else is changed or waited for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that are looked at: hyper takes no longer head.
const MOST: usize = 16 * 1024;

/// Bytes that are read at once.
const CHUNK: usize = 2048;

const OLD: &[u8] = b"HTTP/1.0";

/// Bytes of the first head that have been read and not passed on.
#[derive(Default)]
pub struct First {
    bytes: Vec<u8>,
    is_decided: bool,
    /// Bytes that have been passed on.
    passed: usize,
}

impl First {
    /// Reads on; true when the rest may be read without it.
    pub fn poll_read(
        &mut self,
        mut io: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        while !self.is_decided {
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(io.as_mut().poll_read(cx, &mut read))?;
            self.bytes.extend_from_slice(read.filled());
            self.is_decided = read.filled().is_empty() || modernise(&mut self.bytes);
        }
        let rest = self.bytes.get(self.passed..).unwrap_or_default();
        let (now, later) = rest.split_at(rest.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.passed += now.len();
        Poll::Ready(Ok(later.is_empty()))
    }
}

/// Makes the beginning of a connection one of HTTP/1.1 if it asks for a WebSocket in HTTP/1.0.
/// Returns `false` if that cannot be decided yet.
fn modernise(bytes: &mut [u8]) -> bool {
    let start = bytes.get(..4).unwrap_or(bytes);
    if !b"GET ".starts_with(start) || bytes.len() > MOST {
        return true;
    }
    let Some(line) = bytes.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let version = bytes.get(..line).unwrap_or_default().trim_ascii_end();
    if !version.ends_with(OLD) {
        return true;
    }
    let digit = version.len() - 1;
    let head = bytes.get(line..).unwrap_or_default();
    let is_empty = |at: &[u8]| at.starts_with(b"\n\r\n") || at.starts_with(b"\n\n");
    let Some(end) = (0..head.len()).find(|at| is_empty(head.get(*at..).unwrap_or_default())) else {
        return false;
    };
    let headers = head.get(..end).unwrap_or_default();
    if headers.split(|byte| *byte == b'\n').any(asks_for_socket)
        && let Some(digit) = bytes.get_mut(digit)
    {
        *digit = b'1';
    }
    true
}

fn asks_for_socket(line: &[u8]) -> bool {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (name, value) = (parts.next(), parts.next());
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"upgrade"))
        && value.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_handshake_of_the_old_http_is_changed() {
        let socket = "GET /ws/ HTTP/1.0\r\nUpgrade: WebSocket\r\nA: b\r\n\r\n";
        let modern = socket.replace("HTTP/1.0", "HTTP/1.1");
        for (text, expected) in [
            (socket, modern.as_str()),
            (&modern, &modern),
            ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"),
            ("POST / HTTP/1.0\r\nUpgrade", "POST / HTTP/1.0\r\nUpgrade"),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            assert!(modernise(&mut bytes), "{text}");
            assert_eq!(bytes, expected.as_bytes());
        }
        for end in 0..socket.len() {
            let mut bytes = socket.as_bytes()[..end].to_vec();
            assert!(!modernise(&mut bytes), "{end}");
        }
        assert!(modernise(&mut vec![b'G'; MOST + 1]));
        assert!(modernise(&mut [&b"GET "[..], &vec![b'a'; MOST]].concat()));
    }
}
