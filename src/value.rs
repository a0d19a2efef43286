//! A value whose shape the sender chose: what a JSON body, a WebSocket frame or a channel layer
//! message carries before anybody asks what it means.
//!
//! It holds what Python's `json` module would hold: integers of any length, floats that are not
//! finite, and strings with lone surrogates, so that nothing is lost between reading a value and
//! echoing it. How such a value is read and written is for [`crate::python`]; this file only
//! stores it.

use std::borrow::Cow;

/// A value as Python's `json.loads` would build it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// An integer outside `i128`: canonical decimal digits with an optional `-`.
    BigInt(Box<str>),
    /// May be NaN or infinite: Python reads and writes both.
    Float(f64),
    Str(Text),
    List(Vec<Value>),
    /// In the order of first appearance; keys are unique.
    Map(Vec<(Text, Value)>),
}

impl Value {
    /// Returns the member `key` of a map; `None` for anything else.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Returns the text of a string without lone surrogates.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => text.as_str(),
            _ => None,
        }
    }
}

/// A value that borrows its parts: written without being built.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    Text(&'a str),
    Bool(bool),
    Value(&'a Value),
    /// Members in their order; keys are unique.
    Map(&'a [(&'static str, ValueRef<'a>)]),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(text.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

/// A Python `str`: Unicode text, or a sequence of code points with at least one lone surrogate,
/// which JSON escapes (`"\ud800"`) can make and no encoding can carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Text {
    /// Borrowed are the names of fields, which every message has.
    Utf8(Cow<'static, str>),
    /// All code points of a text that UTF-8 cannot hold.
    Surrogates(Box<[u32]>),
}

impl Text {
    /// Makes the text from code points, in UTF-8 wherever that is possible.
    #[must_use]
    pub fn from_code_points(points: &[u32]) -> Self {
        match points.iter().map(|&p| char::from_u32(p)).collect() {
            Some(utf8) => Text::Utf8(Cow::Owned(utf8)),
            None => Text::Surrogates(points.into()),
        }
    }

    /// Makes a text of the program's own.
    #[must_use]
    pub const fn fixed(text: &'static str) -> Self {
        Text::Utf8(Cow::Borrowed(text))
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Text::Utf8(text) => Some(text),
            Text::Surrogates(_) => None,
        }
    }

    /// Every code point, lone surrogates among them.
    pub fn code_points(&self) -> impl Iterator<Item = u32> + '_ {
        let (utf8, rest): (&str, &[u32]) = match self {
            Text::Utf8(text) => (text, &[]),
            Text::Surrogates(points) => ("", points),
        };
        utf8.chars().map(u32::from).chain(rest.iter().copied())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Text::Utf8(text) if text.is_empty())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text::Utf8(Cow::Owned(text.to_owned()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text::Utf8(Cow::Owned(text))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}
