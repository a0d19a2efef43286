//! URL-encoded forms and query strings.
//!
//! Stands in for `QueryDict` in `django/http/request.py` and for `urllib.parse.parse_qsl`.

use crate::python::charset;
use crate::python::urls::unquote_to_bytes;

/// `DATA_UPLOAD_MAX_NUMBER_FIELDS`: a form with more pairs is a bare 400 page. Test:
/// `a_thousand_pairs_are_taken_and_one_more_is_not`.
pub const MAX_FIELDS: usize = 1000;

/// More than [`MAX_FIELDS`] pairs: Django's `TooManyFieldsSent`, answered with its 400 page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The number of GET/POST parameters exceeded settings.DATA_UPLOAD_MAX_NUMBER_FIELDS.")]
pub struct TooManyFields;

/// A charset that makes no text (`rot13`, `zip`): Django crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the charset is not a text encoding")]
pub struct NotText;

/// The charset a form is in.
#[derive(Clone, Copy, Debug)]
pub struct Charset<'a> {
    /// `None` is UTF-8.
    label: Option<&'a str>,
}

impl<'a> Charset<'a> {
    /// Default charset of forms.
    pub const UTF_8: Charset<'static> = Charset { label: None };

    /// Decodes by the charset of that name, or UTF-8 if the name is unknown.
    ///
    /// # Errors
    /// If it makes no text.
    pub fn named(label: &'a str) -> Result<Self, NotText> {
        charset::decode_form(b"", Some(label)).map_err(|_| NotText)?;
        let is_utf8 = label.eq_ignore_ascii_case("utf-8") || label.eq_ignore_ascii_case("utf8");
        Ok(Charset {
            label: Some(label).filter(|_| !is_utf8),
        })
    }

    /// Returns the bytes as text, U+FFFD for what is none.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> String {
        match self.label {
            None => String::from_utf8_lossy(bytes).into_owned(),
            label => charset::decode_form(bytes, label).unwrap_or_default(),
        }
    }

    /// Returns the bytes as text, or as latin-1 if they are not of this charset: "some user agents
    /// are misbehaving". Test: `raw_bytes_that_are_no_text_make_the_whole_form_latin1`.
    fn decode_body(self, bytes: &[u8]) -> String {
        let strict = match self.label {
            None => std::str::from_utf8(bytes).map(str::to_owned).ok(),
            Some(_) => Some(self.decode(bytes)).filter(|text| !text.contains('\u{fffd}')),
        };
        strict.unwrap_or_else(|| bytes.iter().map(|&byte| char::from(byte)).collect())
    }

    /// `urllib.parse.unquote`: only runs of ASCII are decoded, what stands raw between them is
    /// text already.
    #[must_use]
    pub fn unquote(self, text: &str) -> String {
        if !text.contains('%') {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for run in text
            .as_bytes()
            .chunk_by(|a, b| a.is_ascii() == b.is_ascii())
        {
            if run.is_ascii() {
                out.push_str(&self.decode(&unquote_to_bytes(run)));
            } else {
                out.push_str(&String::from_utf8_lossy(run));
            }
        }
        out
    }
}

/// Returns the pairs of a form's body, in order; blank values are kept, `;` separates nothing.
///
/// # Errors
/// If there are more than [`MAX_FIELDS`].
pub fn parse_body(
    body: &[u8],
    charset: Charset<'_>,
) -> Result<Vec<(String, String)>, TooManyFields> {
    parse_text(&charset.decode_body(body), charset)
}

/// Returns the value of `name` in a query string: the last one.
///
/// # Errors
/// If there are more than [`MAX_FIELDS`] pairs in it.
pub fn query_value(query: &str, name: &str) -> Result<Option<String>, TooManyFields> {
    let pairs = parse_text(query, Charset::UTF_8)?;
    Ok(pairs
        .into_iter()
        .rfind(|(key, _)| key == name)
        .map(|(_, value)| value))
}

fn parse_text(text: &str, charset: Charset<'_>) -> Result<Vec<(String, String)>, TooManyFields> {
    if text.bytes().filter(|&b| b == b'&').count() >= MAX_FIELDS {
        return Err(TooManyFields);
    }
    let decode = |part: &str| charset.unquote(&part.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8], charset: &str) -> Vec<(String, String)> {
        parse_body(body, Charset::named(charset).unwrap()).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn plus_and_percent_are_decoded() {
        let pairs = parse(b"a=b+c%20d%F0%9F%98%80&%61+=+", "utf-8");
        assert_eq!(pairs, [pair("a", "b c d😀"), pair("a ", " ")]);
    }

    #[test]
    fn blank_values_are_kept_and_empty_pairs_are_not() {
        let pairs = parse(b"&&a=&b&=c&a==", "utf-8");
        assert_eq!(
            pairs,
            [pair("a", ""), pair("b", ""), pair("", "c"), pair("a", "=")]
        );
    }

    #[test]
    fn a_semicolon_separates_nothing() {
        assert_eq!(parse(b"a=1;b=2", "utf-8"), [pair("a", "1;b=2")]);
    }

    #[test]
    fn the_charset_holds_for_raw_and_for_percent_encoded_bytes() {
        assert_eq!(
            parse(b"a=%B0%A1&b=\xb0\xa1", "euc-kr"),
            [pair("a", "가"), pair("b", "가")]
        );
    }

    #[test]
    fn percent_encoded_bytes_that_are_no_text_are_replaced() {
        assert_eq!(
            parse(b"a=%ff%41%E3%81", "utf-8"),
            [pair("a", "\u{fffd}A\u{fffd}")]
        );
    }

    #[test]
    fn raw_bytes_that_are_no_text_make_the_whole_form_latin1() {
        assert_eq!(parse("a=\u{ac00}".as_bytes(), "utf-8"), [pair("a", "가")]);
        assert_eq!(
            parse(b"a=\xea\xb0\x80&b=\xff", "utf-8"),
            [pair("a", "ê°\u{80}"), pair("b", "ÿ")]
        );
    }

    #[test]
    fn a_thousand_pairs_are_taken_and_one_more_is_not() {
        let body = vec!["a=1"; MAX_FIELDS].join("&");
        assert_eq!(
            parse_body(body.as_bytes(), Charset::UTF_8).unwrap().len(),
            MAX_FIELDS
        );
        let body = body + "&";
        assert_eq!(
            parse_body(body.as_bytes(), Charset::UTF_8),
            Err(TooManyFields)
        );
    }

    #[test]
    fn the_last_of_repeated_query_values_counts() {
        assert_eq!(query_value("f=a&f=b", "f").unwrap().as_deref(), Some("b"));
        assert_eq!(query_value("", "f"), Ok(None));
    }
}
