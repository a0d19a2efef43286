//! Python's `str()`, `repr()`, `bool()` and `str.strip()` for values of JSON.
//!
//! The original never checked the types of what it was sent: a number or a list sent as a name was
//! put through `str()` on its way into the database, and "missing" was whatever `bool()` calls
//! false. Stands in for those built-ins of Python 3.11.

mod unicode14;

use std::fmt::Write as _;
use std::io::Write as _;

use crate::value::{Text, Value};
use unicode14::{DECIMAL_ZEROS, PRINTABLE_FLIPS};

/// `str(value)`: strings as they are, everything else as [`repr_of`] has it.
#[must_use]
pub fn str_of(value: &Value) -> Text {
    match value {
        Value::Str(text) => text.clone(),
        other => repr_of(other).into(),
    }
}

/// `repr(value)`: lone surrogates are escaped in it, so it is always UTF-8.
///
/// Takes a stack frame for each level of nesting, which the maker of the value has bounded.
#[must_use]
fn repr_of(value: &Value) -> String {
    let mut out = String::new();
    repr_into(&mut out, value);
    out
}

/// Appends `repr(value)`.
fn repr_into(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(float) => out.push_str(&float_repr(*float)),
        Value::Str(text) => repr_text(out, text),
        Value::List(items) => repr_each(out, ['[', ']'], items, repr_into),
        Value::Map(members) => repr_each(out, ['{', '}'], members, |out, (key, value)| {
            repr_text(out, key);
            out.push_str(": ");
            repr_into(out, value);
        }),
    }
}

fn repr_each<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    repr_item: impl Fn(&mut String, &T),
) {
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        repr_item(out, item);
    }
    out.push(close);
}

/// `repr(str)`: in single quotes, or in double ones if that saves escaping.
fn repr_text(out: &mut String, text: &Text) {
    let has = |quote: char| text.code_points().any(|p| p == u32::from(quote));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    out.push(quote);
    for point in text.code_points() {
        match char::from_u32(point) {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(c) if c == quote || c == '\\' => out.extend(['\\', c]),
            Some(c) if is_printable(point) => out.push(c),
            _ => escape_point(out, point),
        }
    }
    out.push(quote);
}

fn escape_point(out: &mut String, point: u32) {
    let _infallible = match point {
        0..=0xff => write!(out, "\\x{point:02x}"),
        0x100..=0xffff => write!(out, "\\u{point:04x}"),
        _ => write!(out, "\\U{point:08x}"),
    };
}

/// `chr(point).isprintable()` in Python 3.11.
#[must_use]
pub fn is_printable(point: u32) -> bool {
    let flips = PRINTABLE_FLIPS.partition_point(|&flip| flip <= point);
    flips % 2 == 0
}

/// `unicodedata.decimal`: the value of a decimal digit of any script.
#[must_use]
pub fn decimal_digit(c: char) -> Option<u32> {
    let point = u32::from(c);
    let zeros = DECIMAL_ZEROS.partition_point(|&zero| zero <= point);
    let zero = DECIMAL_ZEROS.get(zeros.checked_sub(1)?)?;
    Some(point - zero).filter(|&digit| digit < 10)
}

/// `repr(float)`: `inf`, `-inf` and `nan`, else as [`write_float`].
#[must_use]
fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let mut out = Vec::new();
    write_float(&mut out, float);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends a finite float as `repr` and `json.dumps` do: the fewest digits that read back as the
/// same float, with an exponent below 1e-4 and from 1e16 on, and never looking like an integer.
pub fn write_float(out: &mut Vec<u8>, float: f64) {
    let magnitude = float.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        let shortest = format!("{float:?}");
        let places = decimal_places(&shortest);
        let text = nearest(float, shortest, format!("{float:.places$}"));
        return out.extend_from_slice(text.as_bytes());
    }
    let shortest = format!("{float:e}");
    let places = decimal_places(&shortest);
    let text = nearest(float, shortest, format!("{float:.places$e}"));
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let _infallible = write!(out, "{digits}e{sign}{exponent:0>2}");
}

/// Returns the number of digits after the point.
fn decimal_places(number: &str) -> usize {
    let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).count()
}

/// Of two texts with equally many digits, the one Python prefers: half way between two of them it
/// rounds to even, as Rust does for a given number of digits, though not for the fewest. Test:
/// `a_float_half_way_between_two_texts_takes_the_even_one`.
fn nearest(float: f64, shortest: String, rounded: String) -> String {
    if rounded.parse() == Ok(float) {
        rounded
    } else {
        shortest
    }
}

/// `bool(value)`: empty, zero, false and null are not true; NaN and `"0"` are.
#[must_use]
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Int(int) => *int != 0,
        Value::BigInt(_) => true,
        Value::Float(float) => *float != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(members) => !members.is_empty(),
    }
}

/// `str.strip()`: without white space at both ends, as Python defines that.
#[must_use]
pub fn strip(text: &Text) -> Text {
    match text {
        Text::Utf8(utf8) => strip_str(utf8).into(),
        Text::Surrogates(points) => {
            let is_space = |p: &u32| char::from_u32(*p).is_some_and(is_space);
            let start = points.iter().take_while(|p| is_space(p)).count();
            let end = points.iter().rev().take_while(|p| is_space(p)).count();
            Text::Surrogates(points[start..points.len() - end].into())
        }
    }
}

/// [`strip`] for text that is UTF-8.
#[must_use]
pub fn strip_str(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.isspace` of one character: Unicode's white space and the four separators U+001C..U+001F.
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    //! The answers of Python 3.11.7.

    use super::*;

    fn float(literal: &str) -> String {
        float_repr(literal.parse().expect(literal))
    }

    fn repr(text: &str) -> String {
        repr_of(&Value::from(text))
    }

    #[test]
    fn floats_have_an_exponent_only_when_far_from_one() {
        for (literal, expected) in [
            ("1", "1.0"),
            ("-0.0", "-0.0"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1e22", "1e+22"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("-1.5e-7", "-1.5e-07"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("inf", "inf"),
            ("-inf", "-inf"),
            ("nan", "nan"),
        ] {
            assert_eq!(float(literal), expected);
        }
    }

    #[test]
    fn a_float_half_way_between_two_texts_takes_the_even_one() {
        assert_eq!(float("1342035882688589.25"), "1342035882688589.2");
        assert_eq!(float("81907330038584.625"), "81907330038584.62");
    }

    #[test]
    fn containers_are_shown_as_python_literals() {
        let value = Value::List(vec![
            "a".into(),
            Value::Int(1),
            Value::Null,
            true.into(),
            Value::Map(vec![("k".into(), "it's".into())]),
        ]);
        assert_eq!(
            str_of(&value),
            Text::from(r#"['a', 1, None, True, {'k': "it's"}]"#)
        );
    }

    #[test]
    fn strings_change_quotes_only_to_save_escapes() {
        assert_eq!(repr("it's"), r#""it's""#);
        assert_eq!(repr(r#"it's "it""#), r#"'it\'s "it"'"#);
        assert_eq!(repr(r"a\b"), r"'a\\b'");
    }

    #[test]
    fn what_cannot_be_printed_is_escaped_and_the_rest_is_not() {
        assert_eq!(
            repr("\n\r\t\0\x1f\x7f\u{a0}\u{ad}\u{200b}\u{2028}\u{3000}\u{feff}\u{e0001}"),
            r"'\n\r\t\x00\x1f\x7f\xa0\xad\u200b\u2028\u3000\ufeff\U000e0001'"
        );
        assert_eq!(repr("é한😀"), "'é한😀'");
        // Assigned in Unicode 15, after Python 3.11.
        assert_eq!(repr("\u{1fae8}"), r"'\U0001fae8'");
        let lone = Value::Str(Text::from_code_points(&[0xd800]));
        assert_eq!(repr_of(&lone), r"'\ud800'");
    }

    #[test]
    fn only_strings_are_left_as_they_are_by_str() {
        assert_eq!(str_of(&"it's\n".into()), Text::from("it's\n"));
        let digits = "9".repeat(40);
        let int = Value::BigInt(digits.clone().into());
        assert_eq!(str_of(&int), Text::from(digits));
    }

    #[test]
    fn emptiness_and_zero_are_false_and_nothing_else_is() {
        for falsy in [
            Value::Null,
            false.into(),
            Value::Int(0),
            Value::Float(-0.0),
            "".into(),
            Value::List(vec![]),
            Value::Map(vec![]),
        ] {
            assert!(!is_truthy(&falsy), "{falsy:?}");
        }
        for truthy in [
            " ".into(),
            "0".into(),
            Value::Float(f64::NAN),
            Value::Int(-1),
        ] {
            assert!(is_truthy(&truthy), "{truthy:?}");
        }
    }

    #[test]
    fn strip_takes_pythons_white_space_and_no_invisible_letters() {
        assert_eq!(
            strip_str("\x1c\x1f \t\u{85}\u{a0}\u{3000}a b\u{2003}\n"),
            "a b"
        );
        assert_eq!(strip_str("\u{200b}a\u{feff}"), "\u{200b}a\u{feff}");
        let lone = Text::from_code_points(&[0x20, 0xd800, 0x20, 0xdc00, 0x3000]);
        assert_eq!(
            strip(&lone),
            Text::from_code_points(&[0xd800, 0x20, 0xdc00])
        );
    }

    #[test]
    fn decimal_digits_are_known_in_every_script() {
        assert_eq!(decimal_digit('7'), Some(7));
        assert_eq!(decimal_digit('\u{665}'), Some(5));
        assert_eq!(decimal_digit('９'), Some(9));
        assert_eq!(decimal_digit('²'), None);
        assert_eq!(decimal_digit('!'), None);
    }
}
