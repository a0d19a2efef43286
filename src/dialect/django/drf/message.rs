//! The body of "send message".
//!
//! Stands in for the message serializer on top of `rest_framework/fields.py`.

use super::texts;
use super::{FieldErrors, Language};
use crate::dialect::django::body::{Data, Entry};
use crate::python::pystr;
use crate::value::{Text, Value};

const MAX_SENDER_ID: usize = 255;
const MESSAGE_TYPES: [&str; 3] = ["text", "image", "file"];
/// Django crashes when it copies an upload that it put on disk; this text is ours. Test:
/// `an_upload_that_crashes_django_is_refused`.
const LARGE_UPLOAD: &str = "Uploads of more than 2621440 bytes are not accepted.";

/// Fields of a new message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFields {
    /// Trimmed, 1 to 255 code points, no NUL.
    pub sender_id: String,
    /// Trimmed, not empty, no NUL.
    pub content: String,
    /// `text`, `image` or `file`.
    pub message_type: String,
    pub is_deleted: bool,
}

/// Why a field is refused: all its errors.
type Checked<T> = Result<T, Vec<String>>;

/// Checks a body as the serializer does.
///
/// # Errors
/// The serializer's verdict, field by field; and where the original crashes (a body that is no
/// object, an upload of more than 2.5 MB, a lone surrogate in `message_type`), a refusal of ours.
pub fn validate_message(data: &Data, language: Language) -> Result<MessageFields, FieldErrors> {
    if let Some(python_type) = data.non_object_type() {
        return Err(FieldErrors::plain(
            "detail",
            texts::not_an_object(python_type, language),
        ));
    }
    if data.has_large_upload() {
        return Err(FieldErrors::plain("detail", LARGE_UPLOAD));
    }
    let mut errors = FieldErrors::default();
    let sender_id = errors.note("sender_id", sender_id(data, language));
    let content = errors.note("content", trimmed_text(data, "content", None, language));
    let message_type = errors.note("message_type", message_type(data, language));
    let is_deleted = errors.note("is_deleted", is_deleted(data, language));
    match (sender_id, content, message_type, is_deleted) {
        (Some(sender_id), Some(content), Some(message_type), Some(is_deleted)) => {
            Ok(MessageFields {
                sender_id,
                content,
                message_type,
                is_deleted,
            })
        }
        _ => Err(errors),
    }
}

fn sender_id(data: &Data, language: Language) -> Checked<String> {
    trimmed_text(data, "sender_id", Some(MAX_SENDER_ID), language)
}

/// Checks a required `CharField`. Test: `numbers_are_taken_for_texts`.
fn trimmed_text(
    data: &Data,
    field: &str,
    max_length: Option<usize>,
    language: Language,
) -> Checked<String> {
    let refused = |text: &str| Err(vec![text.to_owned()]);
    let Some(entry) = data.get(field) else {
        return refused(texts::required(language));
    };
    let text = match entry {
        Entry::Json(Value::Null) => return refused(texts::null(language)),
        Entry::Json(Value::Bool(_) | Value::List(_) | Value::Map(_)) | Entry::File(_) => {
            return refused(texts::NOT_A_STRING);
        }
        other => pystr::strip(&other.to_text()),
    };
    if text.is_empty() {
        return refused(texts::blank(language));
    }
    clean(text, max_length, language)
}

/// Runs the validators of a `CharField`; all of them report. Test:
/// `all_that_is_wrong_with_a_text_is_told`.
fn clean(text: Text, max_length: Option<usize>, language: Language) -> Checked<String> {
    let mut errors = Vec::new();
    if let Some(max) = max_length.filter(|&max| text.code_points().nth(max).is_some()) {
        errors.push(texts::max_length(max, language));
    }
    if text.code_points().any(|point| point == 0) {
        errors.push(texts::nul_character(language).to_owned());
    }
    match text {
        Text::Utf8(text) if errors.is_empty() => return Ok(text.into_owned()),
        Text::Utf8(_) => {}
        Text::Surrogates(points) => errors.extend(first_surrogate(&points)),
    }
    Err(errors)
}

/// Returns the error of a text with lone surrogates, which names the first.
pub(super) fn first_surrogate(points: &[u32]) -> Option<String> {
    let lone = points
        .iter()
        .find(|&&point| char::from_u32(point).is_none());
    lone.map(|&point| texts::surrogate(point))
}

/// Checks a `ChoiceField` that may be missing. Tests: `blank_form_fields_mean_the_defaults`,
/// `a_message_type_that_cannot_be_echoed_is_refused_all_the_same`.
fn message_type(data: &Data, language: Language) -> Checked<String> {
    let value = match data.get("message_type") {
        None | Some(Entry::Text("")) => return Ok(MESSAGE_TYPES[0].to_owned()),
        Some(Entry::Json(Value::Null)) => return Err(vec![texts::null(language).to_owned()]),
        Some(entry) => entry.to_text(),
    };
    match value {
        Text::Utf8(value) if MESSAGE_TYPES.contains(&&*value) => Ok(value.into_owned()),
        Text::Utf8(value) => Err(vec![texts::not_a_choice(&value, language)]),
        Text::Surrogates(points) => Err(first_surrogate(&points).into_iter().collect()),
    }
}

/// Checks a `BooleanField` that may be missing. Test: `many_things_are_booleans`.
fn is_deleted(data: &Data, language: Language) -> Checked<bool> {
    let flag = match data.get("is_deleted") {
        None | Some(Entry::Text("")) => Some(false),
        Some(Entry::Json(Value::Null)) => return Err(vec![texts::null(language).to_owned()]),
        Some(Entry::Json(Value::Str(Text::Utf8(word)))) => flag_of_word(word),
        Some(Entry::Text(word)) => flag_of_word(word),
        Some(Entry::Json(Value::Bool(flag))) => Some(*flag),
        Some(Entry::Json(Value::Int(number))) => match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Some(Entry::Json(Value::Float(number))) => flag_of_float(*number),
        Some(_) => None,
    };
    flag.ok_or_else(|| vec![texts::NOT_A_BOOLEAN.to_owned()])
}

#[expect(clippy::float_cmp, reason = "Python compares exactly, too")]
fn flag_of_float(number: f64) -> Option<bool> {
    if number == 1.0 {
        Some(true)
    } else {
        (number == 0.0).then_some(false)
    }
}

fn flag_of_word(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "t" | "y" | "yes" | "true" | "on" | "1" => Some(true),
        "f" | "n" | "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}
