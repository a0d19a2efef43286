//! Header values as Django reads them: parameters after the first `;`.
//!
//! Stands in for `parse_header_parameters` in `django/utils/http.py`. What a header means is for
//! others.

use std::collections::HashMap;

use super::forms::Charset;
use crate::python::pystr::strip_str;

/// A value such as `text/html; charset=utf-8`, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Part before the first `;`, in lower case.
    pub main: String,
    /// Names in lower case, each once, in the order of first appearance; the last value counts.
    pub params: Vec<(String, String)>,
}

/// An RFC 2231 value whose quotes stand in the wrong place: Python raises a `ValueError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not enough values to unpack (expected 3)")]
pub struct BadQuotes;

impl Header {
    /// Takes a header value apart, in linear time (Python's is quadratic in quoted semicolons).
    ///
    /// # Errors
    /// The error that Django's own function raises, but for a charset in an RFC 2231 value that
    /// Python does not know: that is UTF-8 here.
    pub fn parse(line: &str) -> Result<Self, BadQuotes> {
        let mut parts = split_params(line);
        let main = parts.next().unwrap_or_default().to_lowercase();
        let mut params: Vec<(String, String)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for part in parts {
            let Some((name, value)) = parse_param(part)? else {
                continue;
            };
            let place = *places.entry(name.clone()).or_insert(params.len());
            match params.get_mut(place) {
                Some((_, old)) => *old = value,
                None => params.push((name, value)),
            }
        }
        Ok(Header { main, params })
    }

    /// Returns the value of a parameter; `name` in lower case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns the pieces between those semicolons that have an even number of quotes before them in
/// their piece, stripped. A quote after a backslash does not count. Tests:
/// `a_quoted_semicolon_does_not_end_a_parameter`, `a_quote_that_is_never_closed_swallows_the_rest`.
fn split_params(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut after_backslash) = (false, false);
    line.split(move |c| {
        quoted ^= c == '"' && !after_backslash;
        after_backslash = c == '\\';
        c == ';' && !quoted
    })
    .map(strip_str)
}

/// One `name=value`, or RFC 2231's `name*=charset'language'value`.
fn parse_param(part: &str) -> Result<Option<(String, String)>, BadQuotes> {
    let Some((name, value)) = part.split_once('=') else {
        return Ok(None);
    };
    let name = strip_str(name).to_lowercase();
    let value = unquoted(strip_str(value));
    let Some(name) = name.strip_suffix('*') else {
        return Ok(Some((name, value)));
    };
    if part.matches('\'').count() != 2 {
        return Ok(Some((name.to_owned(), value)));
    }
    let mut pieces = value.splitn(3, '\'');
    let (Some(charset), Some(_language), Some(text)) =
        (pieces.next(), pieces.next(), pieces.next())
    else {
        return Err(BadQuotes);
    };
    let charset = Charset::named(charset).unwrap_or(Charset::UTF_8);
    Ok(Some((name.to_owned(), charset.unquote(text))))
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match inner {
        Some(inner) => inner.replace("\\\\", "\\").replace("\\\"", "\""),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(line: &str) -> Vec<(String, String)> {
        Header::parse(line).unwrap().params
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_main_value_and_the_names_are_lower_cased_but_not_the_values() {
        let header = Header::parse("Text/HTML ; Charset = UTF-8").unwrap();
        assert_eq!(header.main, "text/html");
        assert_eq!(header.param("charset"), Some("UTF-8"));
    }

    #[test]
    fn a_quoted_semicolon_does_not_end_a_parameter() {
        assert_eq!(
            params(r#"a; b="x;y"; c=z"#),
            [pair("b", "x;y"), pair("c", "z")]
        );
        assert_eq!(
            params(r#"a; b="x\";y"; c=z"#),
            [pair("b", "x\";y"), pair("c", "z")]
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_swallows_the_rest() {
        assert_eq!(params(r#"a; b="x; c=z"#), [pair("b", "\"x; c=z")]);
    }

    #[test]
    fn a_repeated_parameter_keeps_its_first_place_and_its_last_value() {
        assert_eq!(params("a; x=1; y=2; x=3"), [pair("x", "3"), pair("y", "2")]);
    }

    #[test]
    fn an_rfc_2231_value_is_decoded_in_its_own_charset() {
        assert_eq!(params("a; f*=UTF-8''%ED%99%8D"), [pair("f", "홍")]);
        assert_eq!(params("a; f*=latin-1'en'%e9"), [pair("f", "é")]);
        assert_eq!(params("a; f*=no quotes"), [pair("f", "no quotes")]);
    }

    #[test]
    fn an_rfc_2231_value_in_an_unknown_charset_is_utf8() {
        assert_eq!(params("a; f*=nope''%ED%99%8D"), [pair("f", "홍")]);
        assert_eq!(params("a; f*=rot13''%41"), [pair("f", "A")]);
    }

    #[test]
    fn what_python_raises_for_is_an_error() {
        assert_eq!(Header::parse("a; x'*=y'"), Err(BadQuotes));
    }
}
