//! Integers, floats and booleans, from what is sent for them.

use super::{Checked, Mistake};
use crate::value::Value;

/// Digits of the longest integer in a text: `sys.set_int_max_str_digits`.
const MAX_INT_DIGITS: usize = 4300;

/// Floats from here on are no integer that pydantic makes of them.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// Reads an integer: a number without a fraction, a boolean, or a text with such a number.
pub(super) fn int(sent: &Value) -> Checked {
    match sent {
        Value::Int(_) | Value::BigInt(_) => Ok(sent.clone()),
        Value::Bool(flag) => Ok(Value::Int((*flag).into())),
        Value::Float(float) => int_of_float(*float),
        Value::Str(_) => {
            let text = sent.as_str().unwrap_or_default().trim();
            if text.len() > MAX_INT_DIGITS {
                return Err(too_large());
            }
            int_of_text(text).ok_or_else(|| {
                let text = "Input should be a valid integer, unable to parse string as an integer";
                Mistake::plain("int_parsing", text)
            })
        }
        _ => Err(Mistake::plain(
            "int_type",
            "Input should be a valid integer",
        )),
    }
}

fn too_large() -> Mistake {
    let text = "Unable to parse input string as an integer, exceeded maximum size";
    Mistake::plain("int_parsing_size", text)
}

fn int_of_float(float: f64) -> Checked {
    if !float.is_finite() {
        return Err(Mistake::plain(
            "finite_number",
            "Input should be a finite number",
        ));
    }
    if float.fract() != 0.0 {
        let text = "Input should be a valid integer, got a number with a fractional part";
        return Err(Mistake::plain("int_from_float", text));
    }
    if float.abs() >= I64_END {
        return Err(too_large());
    }
    // Whole, and within i64: its decimal text is that of an integer.
    int_of_text(&format!("{float:.0}")).ok_or_else(too_large)
}

/// Reads `5`, `-5`, `+5`, `1_000` and `5.00`.
fn int_of_text(text: &str) -> Option<Value> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = match text.split_once('.') {
        Some((whole, zeros)) => {
            let is_whole = !zeros.is_empty() && zeros.bytes().all(|digit| digit == b'0');
            is_whole.then_some(whole)?
        }
        None => text,
    };
    let digits = without_underscores(digits)?;
    let digits = digits.trim_start_matches('0');
    let literal = if digits.is_empty() {
        "0".to_owned()
    } else {
        format!("{sign}{digits}")
    };
    Some(match literal.parse() {
        Ok(number) => Value::Int(number),
        Err(_) => Value::BigInt(literal.into()),
    })
}

/// Returns the digits, of which two may have one underscore between them.
fn without_underscores(text: &str) -> Option<String> {
    let groups = text.split('_');
    let is_number =
        |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    groups.clone().all(is_number).then(|| groups.collect())
}

/// Reads a float: a number, a boolean, or a text as Python's `float` takes it.
pub(super) fn float(sent: &Value) -> Checked {
    let text = "Input should be a valid number";
    let wrong = Mistake::plain("float_type", text);
    let float = match sent {
        Value::Float(float) => Some(*float),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Int(int) => int.to_string().parse().ok(),
        Value::BigInt(digits) => digits.parse().ok(),
        Value::Str(_) => {
            let text = "Input should be a valid number, unable to parse string as a number";
            let sent = sent.as_str().unwrap_or_default().trim();
            let parsed = float_of_text(sent).map(Value::Float);
            return parsed.ok_or_else(|| Mistake::plain("float_parsing", text));
        }
        _ => None,
    };
    float.map(Value::Float).ok_or(wrong)
}

fn float_of_text(text: &str) -> Option<f64> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let mut places = text.match_indices('_').map(|(at, _)| at);
    let between =
        places.all(|at| at > 0 && is_digit(bytes.get(at - 1)) && is_digit(bytes.get(at + 1)));
    between
        .then(|| text.replace('_', "").parse().ok())
        .flatten()
}

/// Reads a boolean: 0 or 1, or one of the words for them in any case.
pub(super) fn bool(sent: &Value) -> Checked {
    let parsed = match sent {
        Value::Bool(flag) => Some(*flag),
        Value::Float(float) if *float == 0.0 => Some(false),
        Value::Float(float) if (*float - 1.0).abs() == 0.0 => Some(true),
        Value::Int(int) if i64::try_from(*int).is_ok() => {
            return flag(match int {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            });
        }
        Value::Str(_) => {
            let word = sent.as_str().unwrap_or_default().to_ascii_lowercase();
            return flag(match word.as_str() {
                "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
                "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
                _ => None,
            });
        }
        _ => None,
    };
    let wrong = || Mistake::plain("bool_type", "Input should be a valid boolean");
    parsed.map(Value::Bool).ok_or_else(wrong)
}

fn flag(parsed: Option<bool>) -> Checked {
    parsed.map(Value::Bool).ok_or_else(|| {
        let text = "Input should be a valid boolean, unable to interpret input";
        Mistake::plain("bool_parsing", text)
    })
}
