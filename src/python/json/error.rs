//! Errors in a JSON text, in the words of Python 3.11.

use std::fmt;

/// Lists and objects may be nested this deep; one more is [`JsonError::TooDeep`].
///
/// Python has no fixed bound: each level takes one of the 1000 frames its stack may hold, and the
/// framework around has taken some before. This is the depth that was still read behind the
/// middleware and a view of the original; one more crashed it.
/// Test: `nesting_past_the_bound_is_refused`.
pub const MAX_DEPTH: usize = 977;

/// A text may hold this many values, those in lists and objects counted one by one. Python has no
/// bound; here a text of nothing but tiny values would take dozens of times its length in memory.
/// Test: `more_values_than_anybody_sends_are_refused`.
pub const MAX_VALUES: usize = 250_000;

/// Python refuses to convert integers with more digits (`sys.set_int_max_str_digits`).
pub(super) const MAX_INT_DIGITS: usize = 4300;

/// Why a text is no JSON value; displays as Python's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// `JSONDecodeError`. Line and column count from 1, `char` from 0, all in code points.
    #[error("{what}: line {line} column {column} (char {char})")]
    Syntax {
        what: Syntax,
        line: usize,
        column: usize,
        char: usize,
    },
    /// A constant that [`super::Constants::Refuse`] refused.
    #[error("Out of range float values are not JSON compliant: '{0}'")]
    Constant(&'static str),
    #[error(
        "Exceeds the limit ({MAX_INT_DIGITS} digits) for integer string conversion: \
         value has {0} digits; use sys.set_int_max_str_digits() to increase the limit"
    )]
    LongInteger(usize),
    /// Deeper than [`MAX_DEPTH`], where Python raises `RecursionError` and Django crashes. The text
    /// is Python's.
    #[error("maximum recursion depth exceeded while decoding a JSON document")]
    TooDeep,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values in a JSON document")]
    TooMany,
}

/// The mistakes Python's scanner knows; displays as its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    Value,
    PropertyName,
    Colon,
    Comma,
    ExtraData,
    UnterminatedString,
    ControlCharacter,
    Escape,
    UnicodeEscape,
    ByteOrderMark,
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Syntax::Value => "Expecting value",
            Syntax::PropertyName => "Expecting property name enclosed in double quotes",
            Syntax::Colon => "Expecting ':' delimiter",
            Syntax::Comma => "Expecting ',' delimiter",
            Syntax::ExtraData => "Extra data",
            Syntax::UnterminatedString => "Unterminated string starting at",
            Syntax::ControlCharacter => "Invalid control character at",
            Syntax::Escape => "Invalid \\escape",
            Syntax::UnicodeEscape => "Invalid \\uXXXX escape",
            Syntax::ByteOrderMark => "Unexpected UTF-8 BOM (decode using utf-8-sig)",
        })
    }
}
