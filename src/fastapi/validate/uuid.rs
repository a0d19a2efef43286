//! UUIDs, with the errors of the Rust crate that pydantic is built on.

use super::{Checked, Mistake};
use crate::{config::Generation, value::Value};

/// Digits of the groups between the dashes.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// A text longer than this is not looked at, but in the first generation.
const LONGEST: usize = 45;

/// Part of the first generation's text for a wrong character.
const EXPECTED: &str = "expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-], ";

/// Reads a UUID: 32 digits, or groups of them with dashes, which may stand in braces or after
/// `urn:uuid:`.
pub(super) fn read(sent: &Value, generation: Generation) -> Checked {
    let Value::Str(text) = sent else {
        let text = "UUID input should be a string, bytes or UUID object";
        return Err(Mistake::plain("uuid_type", text));
    };
    let text = text.as_str().unwrap_or_default();
    parse(text, generation).map_err(|error| {
        let text = format!("Input should be a valid UUID, {error}");
        Mistake::with("uuid_parsing", text, "error", error.into())
    })
}

fn parse(text: &str, generation: Generation) -> Result<Value, String> {
    let is_old = generation == Generation::V0_115;
    let length = || {
        let expected = if is_old {
            "expected length 32 for simple format, "
        } else {
            ""
        };
        format!("invalid length: {expected}found {}", text.len())
    };
    if !is_old && text.len() > LONGEST {
        return Err(length());
    }
    let (start, inner) = inside(text);
    for (at, character) in inner.char_indices() {
        if !character.is_ascii_hexdigit() && character != '-' {
            let (expected, at) = if is_old {
                (EXPECTED, start + at + 1)
            } else {
                ("", start + at)
            };
            return Err(format!(
                "invalid character: {expected}found `{character}` at {at}"
            ));
        }
    }
    if start == 0 && !inner.contains('-') {
        let is_whole = inner.len() == GROUPS.iter().sum::<usize>();
        return is_whole.then(|| dashed(inner)).ok_or_else(length);
    }
    groups(inner)?;
    Ok(dashed(inner))
}

/// Returns the part of a text that has the digits, and where it begins.
fn inside(text: &str) -> (usize, &str) {
    let braced = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match (braced, text.strip_prefix("urn:uuid:")) {
        (Some(inner), _) => (1, inner),
        (_, Some(inner)) => (text.len() - inner.len(), inner),
        _ => (0, text),
    }
}

fn groups(inner: &str) -> Result<(), String> {
    let lengths: Vec<usize> = inner.split('-').map(str::len).collect();
    if lengths.len() != GROUPS.len() {
        return Err(format!(
            "invalid group count: expected {}, found {}",
            GROUPS.len(),
            lengths.len()
        ));
    }
    for (group, (found, expected)) in lengths.iter().zip(GROUPS).enumerate() {
        if *found != expected {
            return Err(format!(
                "invalid group length in group {group}: expected {expected}, found {found}"
            ));
        }
    }
    Ok(())
}

fn dashed(inner: &str) -> Value {
    let digits = inner.replace('-', "").to_ascii_lowercase();
    let mut groups = Vec::with_capacity(GROUPS.len());
    let mut rest = digits.as_str();
    for size in GROUPS {
        let (group, after) = rest.split_at_checked(size).unwrap_or((rest, ""));
        groups.push(group);
        rest = after;
    }
    groups.join("-").into()
}
