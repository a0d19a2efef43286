//! Headers as a WSGI server hands them to an application (PEP 3333), and Django's ASGI handler too
//! (`django/core/handlers/asgi.py`).

/// Returns a header as Django's `META` holds it: latin-1, repeated headers joined by a comma
/// without a space. `None` if the header is absent.
#[must_use]
pub fn meta_value(values: &[&[u8]]) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let latin1 = values.join(&b","[..]);
    Some(latin1.iter().map(|&byte| char::from(byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_headers_become_one_with_a_comma_and_no_space() {
        assert_eq!(meta_value(&[b"a", b"\xe9"]).as_deref(), Some("a,é"));
        assert_eq!(meta_value(&[]), None);
    }
}
