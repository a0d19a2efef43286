//! The bodies of "create conversation" and "mark as read": names of users, hardly checked.
//!
//! Stands in for the views' own `request.data.get(...)`. The original takes every value that is
//! true and stores what `str()` makes of it; where its database then refuses, or it crashes before
//! that, the refusal here is ours, in the framework's words.

use super::message::first_surrogate;
use super::texts;
use super::{FieldErrors, Language};
use crate::dialect::django::body::{Data, Entry};
use crate::value::Text;

/// Length of the columns, in code points. The original's database cuts off spaces at the end, so
/// they do not count. Test: `an_id_too_long_for_its_column_is_refused_unless_spaces_make_it_so`.
const MAX_ID: usize = 255;
const PARTICIPANTS_MISSING: &str = "participant1_id와 participant2_id가 필요합니다.";
const READER_MISSING: &str = "user_id가 필요합니다.";

/// `participant1_id` and `participant2_id`, not trimmed; either may be longer than 255 code points
/// by spaces at its end.
///
/// # Errors
/// If one is missing or false (test: `every_false_value_is_a_missing_id`); and in our words if the
/// body is no object, or an id cannot be stored because it is too long or has a lone surrogate.
pub fn validate_participants(
    data: &Data,
    language: Language,
) -> Result<(String, String), FieldErrors> {
    check_object(data, language)?;
    let (Some(first), Some(second)) = (
        truthy(data, "participant1_id"),
        truthy(data, "participant2_id"),
    ) else {
        return Err(FieldErrors::plain("error", PARTICIPANTS_MISSING));
    };
    let mut errors = FieldErrors::default();
    let first = errors.note("participant1_id", storable(first, language));
    let second = errors.note("participant2_id", storable(second, language));
    first.zip(second).ok_or(errors)
}

/// `user_id`, on the same terms.
///
/// # Errors
/// As [`validate_participants`].
pub fn validate_reader(data: &Data, language: Language) -> Result<String, FieldErrors> {
    check_object(data, language)?;
    let Some(reader) = truthy(data, "user_id") else {
        return Err(FieldErrors::plain("error", READER_MISSING));
    };
    let mut errors = FieldErrors::default();
    errors
        .note("user_id", storable(reader, language))
        .ok_or(errors)
}

fn check_object(data: &Data, language: Language) -> Result<(), FieldErrors> {
    match data.non_object_type() {
        Some(python_type) => Err(FieldErrors::plain(
            "detail",
            texts::not_an_object(python_type, language),
        )),
        None => Ok(()),
    }
}

fn truthy<'a>(data: &'a Data, key: &str) -> Option<Entry<'a>> {
    data.get(key).filter(|entry| entry.is_truthy())
}

fn storable(entry: Entry<'_>, language: Language) -> Result<String, Vec<String>> {
    let text = entry.to_text();
    let mut errors = Vec::new();
    if len_without_spaces_at_end(&text) > MAX_ID {
        errors.push(texts::max_length(MAX_ID, language));
    }
    match text {
        Text::Utf8(id) if errors.is_empty() => return Ok(id.into_owned()),
        Text::Utf8(_) => {}
        Text::Surrogates(points) => errors.extend(first_surrogate(&points)),
    }
    Err(errors)
}

/// In code points.
fn len_without_spaces_at_end(text: &Text) -> usize {
    let others = text
        .code_points()
        .enumerate()
        .filter(|&(_, point)| point != 0x20);
    others.last().map_or(0, |(at, _)| at + 1)
}
