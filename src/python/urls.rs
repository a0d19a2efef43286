//! Percent-encoding of paths: what a path is before it is routed, and where a path without its
//! last slash is sent.
//!
//! Stands in for `urllib.parse.unquote` as Daphne calls it, and for `APPEND_SLASH` in
//! `django/middleware/common.py`. Which paths exist is for the router.

/// Characters that `quote` never escapes.
const UNRESERVED: &[u8] = b"_.-~";
/// `escape_uri_path`'s safe set: `;`, `=` and `?` are missing on purpose (RFC 3986, 3.3).
const PATH_SAFE: &[u8] = b"/:@&+$,-_.!~*'()";
/// `iri_to_uri`'s safe set: all of RFC 3986's characters, and `%`.
const QUERY_SAFE: &[u8] = b"/#%[]=:;$&()+,!?*@'~";

/// Returns the path that is routed: percent-decoded once, invalid UTF-8 as U+FFFD, `+` as it is.
#[must_use]
pub fn decode_path(raw: &str) -> String {
    String::from_utf8_lossy(&unquote_to_bytes(raw.as_bytes())).into_owned()
}

/// Returns the location that a path without its last slash is redirected to: the decoded path
/// quoted anew, a slash, and the query, of which only what no URI may hold is quoted. An empty
/// query is dropped. Tests: `a_missing_slash_quotes_the_decoded_path_anew`,
/// `a_missing_slash_keeps_the_query_but_for_characters_no_uri_may_hold`.
#[must_use]
pub fn append_slash_location(decoded_path: &str, query: Option<&str>) -> String {
    let mut location = quote(decoded_path, PATH_SAFE);
    if !decoded_path.ends_with('/') {
        location.push('/');
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        location.push('?');
        location.push_str(&quote(query, QUERY_SAFE));
    }
    escape_leading_slashes(location)
}

/// `//host/` would send a browser to another host. Test:
/// `two_leading_slashes_cannot_redirect_to_another_host`.
fn escape_leading_slashes(location: String) -> String {
    match location.strip_prefix("//") {
        Some(rest) => format!("/%2F{rest}"),
        None => location,
    }
}

/// Every `%XX` decoded, everything else kept, stray percent signs among it.
#[must_use]
pub fn unquote_to_bytes(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        let decoded = match tail {
            [high, low, ..] if byte == b'%' => hex_byte(*high, *low),
            _ => None,
        };
        out.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// Returns the byte that two hex digits stand for.
#[must_use]
pub fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// `urllib.parse.quote`.
fn quote(text: &str, safe: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) || safe.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from(HEX[usize::from(nibble & 15)]);
            out.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_before_it_is_routed() {
        assert_eq!(decode_path("/a%20b%2Fc+d"), "/a b/c+d");
        assert_eq!(decode_path("/%2541"), "/%41");
        assert_eq!(decode_path("/%ED%99%8D"), "/홍");
    }

    #[test]
    fn a_stray_percent_sign_stays() {
        assert_eq!(decode_path("/100%/%4/%zz%"), "/100%/%4/%zz%");
    }

    #[test]
    fn invalid_utf8_in_a_path_becomes_the_replacement_character() {
        assert_eq!(decode_path("/%ff"), "/\u{fffd}");
        assert_eq!(decode_path("/%E3%81x"), "/\u{fffd}x");
    }

    #[test]
    fn a_missing_slash_quotes_the_decoded_path_anew() {
        let path = decode_path(
            "/users/%41%2B%21%7E%5B%5D%22%3C%7C%5E%60%7B%7D%25%23%3A%3B%3D%40%26%24%2C'()*/conversations",
        );
        assert_eq!(
            append_slash_location(&path, None),
            "/users/A+!~%5B%5D%22%3C%7C%5E%60%7B%7D%25%23:%3B%3D@&$,'()*/conversations/"
        );
        assert_eq!(
            append_slash_location(&decode_path("/u/%ff"), None),
            "/u/%EF%BF%BD/"
        );
    }

    #[test]
    fn a_missing_slash_keeps_the_query_but_for_characters_no_uri_may_hold() {
        assert_eq!(
            append_slash_location("/u", Some("x=%ff&y=<>\"'&z=%41#f")),
            "/u/?x=%ff&y=%3C%3E%22'&z=%41#f"
        );
    }

    #[test]
    fn an_empty_query_is_dropped() {
        assert_eq!(append_slash_location("/u", Some("")), "/u/");
    }

    #[test]
    fn two_leading_slashes_cannot_redirect_to_another_host() {
        assert_eq!(append_slash_location("//evil", None), "/%2Fevil/");
    }
}
