//! The spellings of a UUID that the original understood.
//!
//! Stands in for the `uuid` path converter of Django's `urls/converters.py`, for `UUIDField` of
//! its models, and for the constructor of Python's `uuid.UUID`.

use uuid::Uuid;

use super::pystr::{decimal_digit, is_space};
use crate::value::{Text, Value};

/// A value that cannot be a UUID: the original raised `ValidationError` and crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid UUID")]
pub struct NotUuid;

/// Reads a UUID in a URL: dashed and in lower case, or it is another URL.
#[must_use]
pub fn from_path(segment: &str) -> Option<Uuid> {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let dashed = segment.len() == 36 && segment.bytes().all(|b| b == b'-' || is_digit(b));
    // Of this length and these characters, the crate takes nothing but the dashed form.
    Uuid::try_parse(segment).ok().filter(|_| dashed)
}

/// Reads a UUID in a JSON message (`UUIDField.to_python`): an integer, `true` being 1, is the
/// number itself; a string is what [`from_python_str`] makes of it.
///
/// # Errors
/// Every other kind of value, and integers outside 0..2^128.
pub fn from_python(value: &Value) -> Result<Uuid, NotUuid> {
    let number = match value {
        Value::Str(Text::Utf8(text)) => return from_python_str(text),
        Value::Bool(flag) => u128::from(*flag),
        Value::Int(int) => u128::try_from(*int).map_err(|_| NotUuid)?,
        Value::BigInt(digits) => digits.parse().map_err(|_| NotUuid)?,
        _ => return Err(NotUuid),
    };
    Ok(Uuid::from_u128(number))
}

/// `uuid.UUID(text)`: `urn:` and `uuid:` are removed, then braces at the ends, then every dash;
/// what is left must be 32 characters that `int(…, 16)` takes. Tests: `python_takes_…`,
/// `python_refuses_what_int_refuses`.
///
/// # Errors
/// Every other text.
pub fn from_python_str(text: &str) -> Result<Uuid, NotUuid> {
    let hex = text.replace("urn:", "").replace("uuid:", "");
    let hex = hex.trim_matches(['{', '}']).replace('-', "");
    if hex.chars().count() != 32 {
        return Err(NotUuid);
    }
    int_base_16(&hex).map(Uuid::from_u128).ok_or(NotUuid)
}

/// Returns the 32 digits without dashes, lower-case: how Django keeps a UUID in `char(32)`.
#[must_use]
pub fn hex32(id: &Uuid) -> String {
    id.simple().to_string()
}

/// Python's `int(text, 16)` for a text without `-`: white space around it, `+`, `0x`, single
/// underscores between digits, and decimal digits of any script.
fn int_base_16(text: &str) -> Option<u128> {
    let text = text.trim_matches(is_int_space);
    let digits = strip_0x(text.strip_prefix('+').unwrap_or(text));
    let mut number: u128 = 0;
    for group in digits.split('_') {
        if group.is_empty() {
            return None;
        }
        for c in group.chars() {
            let digit = c.to_digit(16).or_else(|| decimal_digit(c))?;
            number = number.checked_mul(16)? + u128::from(digit);
        }
    }
    Some(number)
}

/// Without `0x` and the one underscore allowed after it. The zero may be of any script.
fn strip_0x(text: &str) -> &str {
    let mut chars = text.chars();
    let zero = chars.next().and_then(decimal_digit) == Some(0);
    if !(zero && matches!(chars.next(), Some('x' | 'X'))) {
        return text;
    }
    let digits = chars.as_str();
    digits.strip_prefix('_').unwrap_or(digits)
}

/// Unlike `str.strip`, `int` does not take U+001C to U+001F for white space.
fn is_int_space(c: char) -> bool {
    is_space(c) && !matches!(c, '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    //! The answers of `uuid.UUID` of Python 3.11.7.

    use super::*;

    const DASHED: &str = "38d49a9c-1f4e-4c65-8f8b-1f0f4a3c2b1d";

    fn python(text: &str) -> Option<String> {
        from_python_str(text).ok().map(|id| hex32(&id))
    }

    #[test]
    fn a_path_holds_lower_case_dashed_uuids_only() {
        assert_eq!(
            from_path(DASHED).map(|id| id.to_string()),
            Some(DASHED.into())
        );
        for other in [
            &DASHED.to_uppercase(),
            &DASHED.replace('-', ""),
            &format!("{{{DASHED}}}"),
            &format!("urn:uuid:{DASHED}"),
            &format!("{DASHED}\n"),
            "38d49a9c1-f4e-4c65-8f8b-1f0f4a3c2b1d",
            "",
        ] {
            assert_eq!(from_path(other), None, "{other:?}");
        }
    }

    #[test]
    fn python_takes_prefixes_braces_and_dashes_anywhere() {
        let hex = DASHED.replace('-', "");
        for spelling in [
            DASHED,
            &DASHED.to_uppercase(),
            &format!("urn:uuid:{{{hex}}}"),
            &format!("}}}}{hex}{{"),
            &format!("-{hex}--"),
            &hex.replace('d', "urn:uuid:d"),
        ] {
            assert_eq!(python(spelling).as_ref(), Some(&hex), "{spelling:?}");
        }
    }

    #[test]
    fn python_takes_whatever_int_takes_in_32_characters() {
        let a = |count: usize| "a".repeat(count);
        for (spelling, digits) in [
            (format!("0x{}", a(30)), a(30)),
            (format!("+0X_{}", a(28)), a(28)),
            (format!(" \t{}\u{3000}\n", a(28)), a(28)),
            (format!("{}aa", "a_".repeat(15)), a(17)),
            (format!("０x{}", a(30)), a(30)),
            ("٣".repeat(32), "3".repeat(32)),
        ] {
            assert_eq!(
                python(&spelling),
                Some(format!("{digits:0>32}")),
                "{spelling:?}"
            );
        }
    }

    #[test]
    fn python_refuses_what_int_refuses() {
        let a = |count: usize| "a".repeat(count);
        for spelling in [
            "nope".to_owned(),
            a(31),
            a(33),
            format!("g{}", a(31)),
            format!("_{}", a(31)),
            format!("{}_", a(31)),
            format!("a__{}", a(29)),
            format!("0x+{}", a(29)),
            format!("\x1c{}", a(31)),
            format!("0x{}", " ".repeat(30)),
            "²".repeat(32),
        ] {
            assert_eq!(python(&spelling), None, "{spelling:?}");
        }
    }

    #[test]
    fn integers_are_the_number_itself() {
        let id = |value| from_python(&value).map(|id| id.as_u128());
        assert_eq!(id(true.into()), Ok(1));
        assert_eq!(id(Value::Int(5)), Ok(5));
        assert_eq!(
            id(Value::BigInt(u128::MAX.to_string().into())),
            Ok(u128::MAX)
        );
        assert_eq!(id(Value::Int(-1)), Err(NotUuid));
        assert_eq!(id(Value::BigInt("9".repeat(60).into())), Err(NotUuid));
    }

    #[test]
    fn other_values_are_refused() {
        let lone = Value::Str(Text::from_code_points(&[0xd800; 32]));
        for value in [Value::Null, Value::Float(1.0), Value::List(vec![]), lone] {
            assert_eq!(from_python(&value), Err(NotUuid));
        }
    }
}
