//! The body of a request, as far as its content type says how to read it.

use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::{error::HttpError, invalid::Invalid};
use crate::{
    config::Generation,
    python::json::{self, Constants, JsonError},
    value::Value,
};

/// A body as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum SentBody {
    Nothing,
    Json(Value),
    /// Of another content type.
    Other(String),
    /// Names and values; none if it was no form.
    Form(Vec<(String, String)>),
}

impl SentBody {
    /// Reads a form. A body of another content type is an empty one.
    #[must_use]
    pub fn read_form(headers: &HeaderMap, bytes: &[u8]) -> Self {
        let is_form = content_type(headers) == "application/x-www-form-urlencoded";
        let bytes = if is_form { bytes } else { b"" };
        SentBody::Form(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// Returns the fields of a form.
    #[must_use]
    pub fn form(&self) -> &[(String, String)] {
        match self {
            SentBody::Form(fields) => fields,
            _ => &[],
        }
    }

    /// Reads a body, which FastAPI does before it asks who the caller is. It must be in UTF-8.
    ///
    /// # Errors
    /// 422 if it should be JSON and is not, 400 if it cannot be read at all.
    pub fn read(
        headers: &HeaderMap,
        bytes: &[u8],
        generation: Generation,
    ) -> Result<Self, HttpError> {
        if bytes.is_empty() {
            return Ok(SentBody::Nothing);
        }
        if !is_json(headers, generation) {
            return Ok(SentBody::Other(String::from_utf8_lossy(bytes).into_owned()));
        }
        let unreadable = || {
            let text = "There was an error parsing the body";
            HttpError::new(StatusCode::BAD_REQUEST, text)
        };
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match json::loads(text, Constants::Allow) {
            Ok(value) => Ok(SentBody::Json(value)),
            Err(JsonError::Syntax { what, char, .. }) => {
                let place = Value::Int(char.try_into().unwrap_or(i128::MAX));
                Err(HttpError::invalid(vec![Invalid {
                    kind: "json_invalid",
                    place: vec!["body".into(), place],
                    text: "JSON decode error".into(),
                    input: Value::Map(Vec::new()),
                    context: vec![("error", what.to_string().into())],
                }]))
            }
            Err(_) => Err(unreadable()),
        }
    }
}

/// Returns the content type in lower case, without its parameters; empty if there is none.
fn content_type(headers: &HeaderMap) -> String {
    let sent = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let sent = String::from_utf8_lossy(sent.unwrap_or_default()).to_lowercase();
    sent.split(';').next().unwrap_or_default().trim().to_owned()
}

/// Returns whether the content type is JSON's.
fn is_json(headers: &HeaderMap, generation: Generation) -> bool {
    if headers.get(CONTENT_TYPE).is_none_or(HeaderValue::is_empty) {
        return generation != Generation::V0_165;
    }
    match content_type(headers).split_once('/') {
        Some(("application", subtype)) => {
            !subtype.contains('/') && (subtype == "json" || subtype.ends_with("+json"))
        }
        _ => false,
    }
}
