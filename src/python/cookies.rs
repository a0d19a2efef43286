//! Cookies as Django reads them: `parse_cookie` in `django/http/cookie.py`, and the part of
//! Python's `http.cookies` that it calls.

use super::{pystr::strip_str, wsgi::meta_value};

/// Returns the last value of a cookie. Test: `two_cookie_headers_run_into_each_other`.
#[must_use]
pub fn value_of(headers: &[&[u8]], name: &str) -> Option<String> {
    let header = meta_value(headers)?;
    let found = header.split(';').rev().find_map(|chunk| {
        let (found, value) = chunk.split_once('=').unwrap_or(("", chunk));
        (strip_str(found) == name).then_some(value)
    });
    found.map(|value| unquoted(strip_str(value)))
}

/// `http.cookies._unquote`: a quoted value with backslash and octal escapes.
fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let Some(mut rest) = inner else {
        return value.to_owned();
    };
    let mut out = String::with_capacity(rest.len());
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        rest = match octal_escape(escape) {
            Some((c, tail)) => {
                out.push(c);
                tail
            }
            None => push_escaped(&mut out, escape),
        };
    }
    out.push_str(rest);
    out
}

/// `\"` is a quote; before a line break or the end, a backslash is a backslash.
fn push_escaped<'a>(out: &mut String, escape: &'a str) -> &'a str {
    let mut chars = escape.chars();
    match chars.next() {
        Some('\n') | None => {
            out.push('\\');
            escape
        }
        Some(c) => {
            out.push(c);
            chars.as_str()
        }
    }
}

/// Three octal digits, the first below 4: a code point, not a byte of UTF-8. Test:
/// `a_quoted_cookie_is_unescaped`.
fn octal_escape(escape: &str) -> Option<(char, &str)> {
    let (digits, tail) = escape.split_at_checked(3)?;
    let is_octal = digits.bytes().all(|b| matches!(b, b'0'..=b'7'))
        && !digits.starts_with(['4', '5', '6', '7']);
    let point = u8::from_str_radix(digits, 8).ok().filter(|_| is_octal)?;
    Some((char::from(point), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(headers: &[&[u8]]) -> Option<String> {
        value_of(headers, "sessionid")
    }

    #[test]
    fn cookies_are_split_at_semicolons_and_the_last_of_a_name_counts() {
        let headers: &[&[u8]] = &[b"a=b; \x01; =;;; sessionid; sessionid=x ; sessionid= y=z"];
        assert_eq!(session(headers).as_deref(), Some("y=z"));
        assert_eq!(value_of(headers, "csrftoken"), None);
    }

    #[test]
    fn two_cookie_headers_run_into_each_other() {
        let headers: &[&[u8]] = &[b"sessionid=abc", b"csrftoken=x; csrftoken=y"];
        assert_eq!(session(headers).as_deref(), Some("abc,csrftoken=x"));
        assert_eq!(value_of(headers, "csrftoken").as_deref(), Some("y"));
    }

    #[test]
    fn a_quoted_cookie_is_unescaped() {
        for (raw, value) in [
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#""\101\377\400\1""#, "Aÿ4001"),
            ("\"", "\""),
            ("\"\"", ""),
            ("a\"", "a\""),
        ] {
            let header = format!("sessionid={raw}");
            assert_eq!(
                session(&[header.as_bytes()]).as_deref(),
                Some(value),
                "{raw}"
            );
        }
    }
}
