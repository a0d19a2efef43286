//! Paths that a request's target may stand for.
//!
//! Servers and proxies read one target in different ways: Channels drops all leading slashes,
//! nginx merges slashes and resolves dots after it has decoded, others decode twice or take an
//! address with scheme and host. [`RequestTarget`] has one canonical form that covers them all, so that
//! what any of them may take for a path below one of our prefixes is found, and what all of them
//! read alike is told apart from what they do not.

use std::borrow::Cow;

use hyper::Uri;

use crate::python::urls::{decode_path, hex_byte};

/// A request's target as the gateway reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestTarget<'a> {
    /// Decoded until nothing is left to decode, slashes merged, `.` and parameters dropped.
    canonical: Cow<'a, [u8]>,
    /// Some readers drop segments: those before a `..`, or the first one after two slashes, which
    /// Autobahn takes for a host. All are left in the canonical form.
    loses: bool,
    is_plain: bool,
}

impl<'a> RequestTarget<'a> {
    #[must_use]
    pub fn of(uri: &'a Uri) -> Self {
        let path = uri.path();
        let is_origin_form = uri.scheme().is_none() && path.starts_with('/');
        if is_plain(path.as_bytes()) && !path.contains('%') {
            return RequestTarget {
                canonical: Cow::Borrowed(path.as_bytes()),
                loses: false,
                is_plain: is_origin_form && uri.query().is_none_or(str::is_ascii),
            };
        }
        let decoded = decode_path(path);
        let hides_slash = path.matches('/').count() != decoded.matches('/').count();
        let is_decoded_alike =
            path.is_ascii() && !hides_slash && !decoded.contains(['%', '?', '#', '\u{fffd}']);
        let (canonical, loses) = canonical(path.as_bytes());
        RequestTarget {
            canonical: Cow::Owned(canonical),
            loses,
            is_plain: is_origin_form
                && is_decoded_alike
                && is_plain_once_decoded(decoded.as_bytes())
                && uri.query().is_none_or(str::is_ascii),
        }
    }

    /// Returns whether every server reads the same path: in origin form, and decoded once, it has
    /// nothing that one server takes away and another does not.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Returns whether some server may read a path at or below `prefix`, which starts and ends with
    /// `/`.
    #[must_use]
    pub fn may_be_below(&self, prefix: &str) -> bool {
        if self.loses {
            // Any reading keeps some of the segments in their order.
            let mut segments = self.canonical.split(|&byte| byte == b'/');
            return prefix
                .split('/')
                .filter(|part| !part.is_empty())
                .all(|part| segments.any(|it| it.eq_ignore_ascii_case(part.as_bytes())));
        }
        begins_with(&self.canonical, prefix, <[u8]>::eq_ignore_ascii_case)
    }

    /// Returns whether every server reads a path at or below `prefix`.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        !self.loses && begins_with(&self.canonical, prefix, |one, other| one == other)
    }
}

fn begins_with(path: &[u8], prefix: &str, equal: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let bare = prefix.trim_end_matches('/').as_bytes();
    let Some((head, tail)) = path.split_at_checked(bare.len()) else {
        return false;
    };
    equal(head, bare) && matches!(tail.first(), None | Some(b'/'))
}

/// Returns whether no byte of a path is one that some servers drop, cut at or replace, and no
/// segment is empty or made of dots. Escapes are not looked at.
fn is_plain(path: &[u8]) -> bool {
    path.iter()
        .all(|byte| byte.is_ascii_graphic() && !b"\\;".contains(byte))
        && has_plain_segments(path)
}

/// As [`is_plain`], of a path in which spaces and letters past ASCII were encoded.
fn is_plain_once_decoded(path: &[u8]) -> bool {
    path.iter()
        .all(|byte| !byte.is_ascii_control() && !b"\\;".contains(byte))
        && has_plain_segments(path)
}

/// The last segment may be empty: most paths end with a slash.
fn has_plain_segments(path: &[u8]) -> bool {
    let rest = path.strip_prefix(b"/").unwrap_or(path);
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let mut segments = rest.split(|&byte| byte == b'/');
    rest.is_empty() && path.len() <= 1 || segments.all(|it| !matches!(it, b"" | b"." | b".."))
}

/// Returns the canonical form, and whether some readers drop segments of it.
fn canonical(path: &[u8]) -> (Vec<u8>, bool) {
    let decoded = decode_fully(path);
    let is_slash = |byte: &u8| b"/\\".contains(byte);
    let mut loses = decoded.iter().take(2).filter(|byte| is_slash(byte)).count() == 2;
    let mut out = Vec::with_capacity(decoded.len() + 1);
    for segment in decoded.split(is_slash) {
        let bare = segment
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default();
        let bare: Vec<u8> = bare
            .iter()
            .copied()
            .filter(|&byte| is_visible(byte))
            .collect();
        match &bare[..] {
            b"" | b"." => {}
            segment => {
                loses |= segment == b"..";
                out.push(b'/');
                out.extend(segment);
            }
        }
    }
    // A trailing slash makes no difference here.
    if out.is_empty() {
        out.push(b'/');
    }
    (out, loses)
}

/// Neither a control character nor a space: those are cut off or dropped by some.
fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() || !byte.is_ascii()
}

/// Decodes until nothing is left to decode, however often it was encoded. An escape is complete
/// with its last digit, so one pass finds those that decoding makes. ASCII in more bytes than it
/// needs is ASCII.
fn decode_fully(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for &byte in path {
        out.push(byte);
        loop {
            if let [.., b'%', high, low] = out[..]
                && let Some(decoded) = hex_byte(high, low)
            {
                out.truncate(out.len() - 3);
                out.push(decoded);
            } else if let Some((length, ascii)) = overlong(&out) {
                out.truncate(out.len() - length);
                out.push(ascii);
            } else {
                break;
            }
        }
    }
    out
}

/// Returns a character of ASCII at the end that was encoded in two or three bytes: their number,
/// and it.
fn overlong(bytes: &[u8]) -> Option<(usize, u8)> {
    let low = |byte: u8| byte & 0x3f;
    match *bytes {
        [.., 0xe0, high @ 0x80..=0x81, tail @ 0x80..=0xbf] => Some((3, low(high) << 6 | low(tail))),
        [.., head @ 0xc0..=0xc1, tail @ 0x80..=0xbf] => Some((2, (head & 1) << 6 | low(tail))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: &str = "/ws/chat/";
    const API: &str = "/api/chat/";

    fn target(text: &str, see: impl Fn(&RequestTarget) -> bool) -> bool {
        see(&RequestTarget::of(&text.parse().unwrap()))
    }

    fn is_plain_target(text: &str) -> bool {
        RequestTarget::of(&text.parse().unwrap()).is_plain()
    }

    #[test]
    fn what_some_server_may_read_as_ours_is_found() {
        for text in [
            "/ws/chat/1/",
            "/ws/chat",
            "///ws/chat/1/",
            "//localhost/ws/chat/1/",
            "//a%2Fb/ws/chat/1/",
            "/%5Clocalhost/ws/chat/1/",
            "http://x//localhost/ws/chat/1/",
            "/%2Fws/chat/1/",
            "/%252Fws/chat/1/",
            "/%25252525252Fws/chat/1/",
            "/%%32%46ws/chat/1/",
            "/ws%2Fchat/1/",
            "/ws//chat/1/",
            "/ws\\chat/1/",
            "/%5Cws/chat/1/",
            "/./ws/chat/1/",
            "/%2e/ws/chat/1/",
            "/x/../ws/chat/1/",
            "/x/%2e%2e/ws/chat/1/",
            "/x%2F..%2Fws/chat/1/",
            "/x/..;/ws/chat/1/",
            "/ws//../chat/1/",
            "/ws/%252e/../chat/1/",
            "/ws;a=b/chat/1/",
            "/;a/ws/chat/1/",
            "/%00/ws/chat/1/",
            "/%20ws/chat/1/",
            "/%C0%AFws/chat/1/",
            "/%E0%80%AFws/chat/1/",
            "/x/%C0%AE%C0%AE/ws/chat/1/",
            "/WS/chat/1/",
            "http://x/ws/chat/1/",
            "http://x//ws/chat/1/",
            "/ws/chat/1/../../..",
        ] {
            assert!(target(text, |it| it.may_be_below(SOCKETS)), "{text}");
            assert!(!target(text, |it| it.may_be_below(API)), "{text}");
        }
    }

    #[test]
    fn what_no_server_reads_as_ours_is_not() {
        for text in [
            "/",
            "*",
            "/ws/",
            "/ws/chats/1/",
            "/x/ws/chat/1/",
            "/ws/x/../y/",
            "/admin/x%2Fy/",
            "/redirect/%252Fws/chat/",
            "/?/ws/chat/1/",
            "/static/a;b/../c",
            "http://ws/chat/",
        ] {
            assert!(!target(text, |it| it.may_be_below(SOCKETS)), "{text}");
        }
    }

    #[test]
    fn a_path_that_all_servers_read_alike_is_plain() {
        for text in [
            "/",
            "/api/chat/conversations/",
            "/api/chat/conversations/%38d/",
            "/api/chat/users/a%20b/conversations/",
            "/api/chat/users/%ED%99%8D/conversations/?a=%2F",
            "/.well-known/x",
            "/a..b/c.d",
        ] {
            assert!(is_plain_target(text), "{text}");
        }
        for text in [
            "//",
            "/a//b",
            "/a//",
            "/a/./b",
            "/a/..",
            "/a/%2e%2e/b",
            "/a%2Fb",
            "/a%252Fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/a%3Bb",
            "/a%00",
            "/a%0A",
            "/a%3Fb",
            "/a%23b",
            "/a%ff",
            "/a%C0%AF",
            "/a%zz",
            "/a%",
            "/\u{e9}",
            "/?\u{e9}",
            "http://x/a",
            "*",
        ] {
            assert!(!is_plain_target(text), "{text}");
        }
    }

    #[test]
    fn a_path_is_surely_below_a_prefix_if_no_reading_leads_out_of_it() {
        for text in ["/static/a.js", "/static", "/static/a%2Fb", "/static/a;b"] {
            assert!(target(text, |it| it.is_below("/static/")), "{text}");
        }
        for text in [
            "/static/../admin/",
            "//static/a",
            "/static/%2e%2e/admin/",
            "/STATIC/a",
            "/statics/",
            "/",
        ] {
            assert!(!target(text, |it| it.is_below("/static/")), "{text}");
        }
        assert!(target("/x", |it| it.is_below("/") && it.may_be_below("/")));
    }

    #[test]
    fn a_long_path_takes_no_time() {
        let path = format!("/{}", "%25".repeat(5000));
        assert!(!is_plain_target(&path));
    }
}
