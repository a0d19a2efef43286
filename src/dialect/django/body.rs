//! The content of `request.data` in a view.
//!
//! Stands in for `Request._parse` in `rest_framework/request.py` and for the three parsers of
//! `rest_framework/parsers.py`. Reading the forms themselves is for [`super::forms`] and
//! [`super::multipart`]; what the values mean is for [`super::drf`].

mod data;

use std::borrow::Cow;

use super::drf::Detail;
use super::forms::{self, Charset};
use super::header::Header;
use super::multipart::{self, MultipartError};
use crate::python::charset;
use crate::python::json::{self, Constants, JsonError};
use crate::value::Value;
pub use data::{Data, Entry, Form};

/// `FILE_UPLOAD_MAX_MEMORY_SIZE`, bytes: a longer request has its files on disk in Django.
const MAX_MEMORY_UPLOAD_BYTES: usize = 2_621_440;

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// 400 with DRF's `ParseError`.
    #[error("{0}")]
    Malformed(String),
    /// 415; holds the `Content-Type` as it was sent.
    #[error("Unsupported media type \"{0}\" in request.")]
    UnsupportedMediaType(String),
    /// Django's `SuspiciousOperation`: the bare 400 page.
    #[error("Bad Request (400)")]
    Suspicious,
}

impl BodyError {
    /// Returns the error in DRF's form; `None` for [`super::pages::BAD_REQUEST`].
    #[must_use]
    pub fn detail(&self) -> Option<Detail> {
        match self {
            BodyError::Malformed(text) => Some(Detail::ParseError(text.clone())),
            BodyError::UnsupportedMediaType(sent) => {
                Some(Detail::UnsupportedMediaType(sent.clone()))
            }
            BodyError::Suspicious => None,
        }
    }
}

impl From<forms::TooManyFields> for BodyError {
    fn from(_: forms::TooManyFields) -> Self {
        BodyError::Suspicious
    }
}

impl From<MultipartError> for BodyError {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::Malformed(text) => {
                BodyError::Malformed(format!("Multipart form parse error - {text}"))
            }
            MultipartError::Suspicious => BodyError::Suspicious,
        }
    }
}

/// The parsers, in DRF's order.
#[derive(Clone, Copy)]
enum BodyParser {
    Json,
    Form,
    Multipart,
}

const PARSERS: [(&str, &str, BodyParser); 3] = [
    ("application", "json", BodyParser::Json),
    ("application", "x-www-form-urlencoded", BodyParser::Form),
    ("multipart", "form-data", BodyParser::Multipart),
];

/// Parses a body of known length. Repeated `Content-Type` headers are joined by `,`.
///
/// # Errors
/// See [`BodyError`]. Where Django crashes (nesting too deep, a codec that makes no text), the
/// error is a [`BodyError::Malformed`] of ours.
pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Data, BodyError> {
    let content_type = content_type.unwrap_or_default();
    let unsupported = || BodyError::UnsupportedMediaType(content_type.to_owned());
    let header = Header::parse(content_type).map_err(|_| unsupported())?;
    if body.is_empty() {
        return Ok(empty_data(&header));
    }
    match select_parser(&header).ok_or_else(unsupported)? {
        BodyParser::Json => parse_json(body, header.param("charset")),
        BodyParser::Form => {
            let fields = forms::parse_body(body, form_charset(&header)?)?;
            Ok(Data::Form(Form {
                fields,
                ..Form::default()
            }))
        }
        BodyParser::Multipart => {
            let form = multipart::parse(content_type, body, form_charset(&header)?)?;
            Ok(Data::Form(Form {
                has_large_upload: !form.files.is_empty() && body.len() > MAX_MEMORY_UPLOAD_BYTES,
                fields: form.fields,
                files: form.files,
            }))
        }
    }
}

/// Returns whether Django is sure to read the characters that [`parse`] reads: every charset that
/// is named is UTF-8. Python knows charsets that are unknown here and taken for UTF-8. Test:
/// `only_utf8_is_read_alike_by_everybody`.
#[must_use]
pub fn is_utf8(content_type: Option<&str>, body: &[u8]) -> bool {
    let content_type = content_type.unwrap_or_default();
    let Ok(header) = Header::parse(content_type) else {
        return false;
    };
    let is_utf8 = |label: &str| ["utf-8", "utf8"].contains(&&*label.to_ascii_lowercase());
    // RFC 2231's values name charsets of their own, in headers of parts as well.
    let is_plain = |text: &[u8]| !text.windows(2).any(|two| two == b"*=");
    header.param("charset").is_none_or(is_utf8)
        && is_plain(content_type.as_bytes())
        && (!header.main.starts_with("multipart/") || is_plain(body))
}

/// No body is an empty object, whatever its type says, or an empty form if it says so. Test:
/// `an_empty_body_is_empty_data_whatever_its_type`.
fn empty_data(header: &Header) -> Data {
    match header.main.as_str() {
        "application/x-www-form-urlencoded" | "multipart/form-data" => Data::Form(Form::default()),
        _ => Data::Json(Value::Map(Vec::new())),
    }
}

/// The type may have wildcards, as in an `Accept` header. Test:
/// `json_is_parsed_whatever_parameters_its_type_has`.
fn select_parser(header: &Header) -> Option<BodyParser> {
    let (main, sub) = header.main.split_once('/').unwrap_or((&header.main, ""));
    let suits = |(m, s, _): &&(&str, &str, BodyParser)| {
        (main == "*" || main == *m) && (sub == "*" || sub == *s)
    };
    PARSERS.iter().find(suits).map(|(_, _, parser)| *parser)
}

/// An unknown charset means UTF-8.
fn form_charset(header: &Header) -> Result<Charset<'_>, BodyError> {
    let label = header.param("charset");
    let charset = label.map_or(Ok(Charset::UTF_8), Charset::named);
    charset.map_err(|error| BodyError::Malformed(format!("Form parse error - {error}")))
}

fn parse_json(body: &[u8], charset: Option<&str>) -> Result<Data, BodyError> {
    let malformed = |what: Cow<'_, str>| BodyError::Malformed(format!("JSON parse error - {what}"));
    let text =
        charset::decode_json_body(body, charset).map_err(|e| malformed(e.to_string().into()))?;
    let value = json::loads(&text, Constants::Refuse).map_err(|error| match error {
        JsonError::TooDeep => malformed("Nested too deeply".into()),
        other => malformed(other.to_string().into()),
    })?;
    Ok(Data::Json(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&str> = Some("application/json");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn malformed(text: &str) -> Result<Data, BodyError> {
        Err(BodyError::Malformed(text.to_owned()))
    }

    #[test]
    fn an_empty_body_is_empty_data_whatever_its_type() {
        let empty = Data::Json(Value::Map(Vec::new()));
        assert_eq!(parse(None, b""), Ok(empty.clone()));
        assert_eq!(parse(Some("text/plain"), b""), Ok(empty));
        assert_eq!(parse(FORM, b""), Ok(Data::Form(Form::default())));
        assert_eq!(
            parse(Some("multipart/form-data"), b""),
            Ok(Data::Form(Form::default()))
        );
    }

    #[test]
    fn json_is_parsed_whatever_parameters_its_type_has() {
        for content_type in [
            "application/json",
            "APPLICATION/JSON; x=y",
            "application/json;",
            "application/json; charset=bogus",
            "application/*",
            "*/*",
        ] {
            let data = parse(Some(content_type), br#"{"a": 5}"#).unwrap();
            assert_eq!(
                data.get("a"),
                Some(Entry::Json(&Value::Int(5))),
                "{content_type}"
            );
        }
    }

    #[test]
    fn other_types_are_unsupported_and_echoed() {
        for content_type in [
            "",
            "text/plain",
            "garbage",
            "application/json, text/plain",
            "é/é",
        ] {
            let refused = BodyError::UnsupportedMediaType(content_type.to_owned());
            assert_eq!(parse(Some(content_type), b"x"), Err(refused));
        }
        assert_eq!(
            parse(None, b"x"),
            Err(BodyError::UnsupportedMediaType(String::new()))
        );
    }

    #[test]
    fn malformed_json_is_told_with_pythons_text() {
        assert_eq!(
            parse(JSON, b"{"),
            malformed(
                "JSON parse error - Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
            )
        );
        assert_eq!(
            parse(JSON, b"NaN"),
            malformed("JSON parse error - Out of range float values are not JSON compliant: 'NaN'")
        );
    }

    #[test]
    fn json_nested_too_deeply_for_django_is_refused() {
        let body = "[".repeat(100_000);
        assert_eq!(
            parse(JSON, body.as_bytes()),
            malformed("JSON parse error - Nested too deeply")
        );
    }

    #[test]
    fn a_charset_that_makes_no_text_is_refused_where_django_crashes() {
        assert_eq!(
            parse(Some("application/json; charset=rot13"), b"{}"),
            malformed("JSON parse error - the charset is not a text encoding")
        );
        assert_eq!(
            parse(
                Some("application/x-www-form-urlencoded; charset=zip"),
                b"a=1"
            ),
            malformed("Form parse error - the charset is not a text encoding")
        );
    }

    #[test]
    fn only_utf8_is_read_alike_by_everybody() {
        for plain in [
            "application/json",
            "application/json; charset=UTF-8",
            "*/*; charset=\"utf8\"",
            "multipart/form-data; boundary=B",
        ] {
            assert!(is_utf8(Some(plain), b"a*b=c"), "{plain}");
        }
        assert!(is_utf8(None, b""));
        for other in [
            "application/json; charset=utf-7",
            "application/json; charset=utf-8; charset=utf-7",
            "application/json; charset*=utf-7''utf-8",
            "application/json; charset=latin-1",
        ] {
            assert!(!is_utf8(Some(other), b""), "{other}");
        }
        let part = b"Content-Disposition: form-data; name*=utf-7''a";
        assert!(!is_utf8(Some("multipart/form-data; boundary=B"), part));
        assert!(is_utf8(JSON, part));
    }

    #[test]
    fn a_form_has_the_last_of_repeated_values() {
        let data = parse(FORM, b"a=1&a=2&b=").unwrap();
        assert_eq!(data.get("a"), Some(Entry::Text("2")));
        assert_eq!(data.get("b"), Some(Entry::Text("")));
        assert_eq!(data.get("c"), None);
        assert!(data.is_form());
    }

    #[test]
    fn too_many_form_fields_are_suspicious() {
        let error = parse(FORM, "a=1&".repeat(1001).as_bytes()).unwrap_err();
        assert_eq!(error, BodyError::Suspicious);
        assert_eq!(error.detail(), None);
    }

    #[test]
    fn a_file_is_true_and_prints_as_its_name_and_hides_a_field() {
        let content_type = Some("multipart/form-data; boundary=B");
        let body =
            b"--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a.txt\"\r\n\r\nx\r\n\
            --B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--B--\r\n";
        let data = parse(content_type, body).unwrap();
        let file = data.get("a").unwrap();
        assert_eq!((file, file.is_truthy()), (Entry::File("a.txt"), true));
        assert!(!data.has_large_upload());
    }

    #[test]
    fn multipart_errors_are_told_in_drfs_way() {
        assert_eq!(
            parse(Some("multipart/form-data"), b"x"),
            malformed("Multipart form parse error - Invalid boundary in multipart: None")
        );
        assert_eq!(
            parse(Some("Multipart/Form-Data; boundary=B"), b"x"),
            malformed(
                "Multipart form parse error - Invalid Content-Type: Multipart/Form-Data; boundary=B"
            )
        );
    }

    #[test]
    fn python_names_the_type_of_what_is_no_object() {
        for (body, name) in [
            ("[]", "list"),
            ("\"\"", "str"),
            ("5", "int"),
            ("5.0", "float"),
            ("true", "bool"),
            ("null", "NoneType"),
        ] {
            assert_eq!(
                parse(JSON, body.as_bytes()).unwrap().non_object_type(),
                Some(name)
            );
        }
        assert_eq!(parse(JSON, b"{}").unwrap().non_object_type(), None);
    }
}
