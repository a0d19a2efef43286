//! Requests that Daphne's HTTP engine refuses before Django sees them.
//!
//! Twisted parses every `POST` with a multipart form on its own, with Python's `email` package,
//! for arguments that are never used; if that finds no part, the answer is a bare 400 and the
//! connection is closed. Stands in for `Request.requestReceived` in `twisted/web/http.py`.

/// Returns whether this request is answered `400 Bad Request` without headers and the connection
/// closed.
///
/// `content_type` is the first header of that name. A body that is empty, or not of a known
/// length, is never refused. Folded lines and RFC 2231 in that header are not looked into: what
/// Twisted would refuse for them goes on to Django's parser.
#[must_use]
pub fn is_refused(method: &str, content_type: Option<&[u8]>, body: &[u8]) -> bool {
    let Some(content_type) = content_type else {
        return false;
    };
    if method != "POST" || body.is_empty() || !is_multipart_form(content_type) {
        return false;
    }
    match boundary(content_type) {
        Some(boundary) => !has_part(body, format!("--{boundary}").as_bytes()),
        None => true,
    }
}

fn is_multipart_form(content_type: &[u8]) -> bool {
    let main = content_type
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default();
    main.trim_ascii()
        .eq_ignore_ascii_case(b"multipart/form-data")
}

/// Returns the first `boundary` parameter, unquoted, without white space at its end. One that is
/// not ASCII is on no line.
fn boundary(content_type: &[u8]) -> Option<String> {
    let latin1: String = content_type.iter().map(|&byte| char::from(byte)).collect();
    let (mut quoted, mut after_backslash) = (false, false);
    let params = latin1.split(|c| {
        quoted ^= c == '"' && !after_backslash;
        after_backslash = c == '\\';
        c == ';' && !quoted
    });
    let boundary = params.skip(1).find_map(|param| {
        let (name, value) = param.split_once('=')?;
        let is_boundary = name.trim().eq_ignore_ascii_case("boundary");
        is_boundary.then(|| unquoted(value.trim()).trim_end().to_owned())
    });
    boundary.filter(|boundary| boundary.is_ascii())
}

fn unquoted(value: &str) -> String {
    let between = |open, close| value.strip_prefix(open)?.strip_suffix(close);
    match between('"', '"') {
        Some(inner) => inner.replace("\\\\", "\\").replace("\\\"", "\""),
        None => between('<', '>').unwrap_or(value).to_owned(),
    }
}

/// Returns whether a line holds the separator and nothing else before a line holds the closing one.
fn has_part(body: &[u8], separator: &[u8]) -> bool {
    for line in after_headers(body).split(|&b| b == b'\n' || b == b'\r') {
        if let Some(rest) = line.strip_prefix(separator) {
            let (closing, rest) = match rest.strip_prefix(b"--") {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            if rest.iter().all(|&b| b == b' ' || b == b'\t') {
                return !closing;
            }
        }
    }
    false
}

/// The `email` package is handed the header and the body without an empty line between them, so
/// lines at the start of the body that look like headers are taken for some. Test:
/// `a_separator_that_looks_like_a_header_is_taken_for_one`.
fn after_headers(body: &[u8]) -> &[u8] {
    let mut rest = body;
    while is_header_line(rest) {
        let end = rest.iter().position(|&b| b == b'\n' || b == b'\r');
        let (_, tail) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        rest = tail.strip_prefix(b"\n").unwrap_or(tail);
    }
    rest
}

/// `^(From |[\041-\071\073-\176]*:|[\t ])`
fn is_header_line(line: &[u8]) -> bool {
    if line.starts_with(b"From ") || line.starts_with(b"\t") || line.starts_with(b" ") {
        return true;
    }
    let name_end = line
        .iter()
        .position(|&b| b == b':' || !b.is_ascii_graphic());
    name_end.and_then(|end| line.get(end)) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"multipart/form-data; boundary=XBOUND";
    const BODY: &[u8] =
        b"--XBOUND\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XBOUND--\r\n";

    fn refuses(content_type: &[u8], body: &[u8]) -> bool {
        is_refused("POST", Some(content_type), body)
    }

    #[test]
    fn a_form_with_a_part_goes_on() {
        assert!(!refuses(FORM, BODY));
        assert!(!refuses(b"multipart/form-data; boundary=\"XBOUND\"", BODY));
        assert!(!refuses(FORM, b"--XBOUND\r\nunfinished"));
    }

    #[test]
    fn a_missing_or_wrong_boundary_is_refused() {
        assert!(refuses(b"multipart/form-data", BODY));
        assert!(refuses(b"multipart/form-data; boundary=OTHER", BODY));
        assert!(refuses(b"multipart/form-data; boundary=\xc3\xa9", BODY));
    }

    #[test]
    fn a_form_without_parts_is_refused() {
        assert!(refuses(FORM, b"--XBOUND--\r\n"));
        assert!(refuses(FORM, b"x"));
    }

    #[test]
    fn an_empty_body_another_method_or_another_type_goes_on() {
        assert!(!refuses(b"multipart/form-data", b""));
        assert!(!is_refused("PUT", Some(b"multipart/form-data"), BODY));
        assert!(!refuses(b"multipart/mixed", BODY));
        assert!(!is_refused("POST", None, BODY));
    }

    #[test]
    fn a_separator_must_have_its_line_for_itself() {
        assert!(refuses(FORM, b"x--XBOUND\r\n"));
        assert!(refuses(FORM, b"--XBOUNDARY\r\n"));
        assert!(!refuses(FORM, b"x\n--XBOUND \t\n"));
    }

    #[test]
    fn a_separator_that_looks_like_a_header_is_taken_for_one() {
        assert!(refuses(
            b"multipart/form-data; boundary=\"a:b\"",
            b"--a:b\r\n\r\nx\r\n"
        ));
    }
}
