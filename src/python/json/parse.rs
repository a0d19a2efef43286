//! `json.loads`: from text to a [`Value`], with Python's own words when that fails.
//!
//! Follows `_json.c` of Python 3.11 in what it accepts and in which mistake it reports first. The
//! differences are named at [`MAX_DEPTH`] and [`MAX_VALUES`].

use super::build::{ObjectMembers, TextBuilder};
use super::error::{JsonError, MAX_DEPTH, MAX_INT_DIGITS, MAX_VALUES, Syntax};
use super::run::plain_run;
use crate::value::{Text, Value};

/// Handling of `NaN`, `Infinity` and `-Infinity`, which are not JSON but which Python reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constants {
    /// They are floats: the WebSocket consumer's plain `json.loads`.
    Allow,
    /// They are an error: Django REST framework's `STRICT_JSON`.
    Refuse,
}

/// Reads one JSON value, the whole of `text`, as `json.loads` does. Takes time and memory in
/// proportion to the length of `text`, and no stack.
///
/// # Errors
/// The first mistake, in Python's order of looking.
pub fn loads(text: &str, constants: Constants) -> Result<Value, JsonError> {
    let mut parser = Parser {
        text,
        at: 0,
        values: 0,
        constants,
    };
    if text.starts_with('\u{feff}') {
        return Err(parser.wrong(Syntax::ByteOrderMark, 0));
    }
    parser.skip_space();
    let value = parser.value()?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.wrong(Syntax::ExtraData, parser.at));
    }
    Ok(value)
}

/// A list or object whose end has not been reached.
enum OpenValue {
    List(Vec<Value>),
    /// The members so far, and the key whose value is being read.
    Map(ObjectMembers, Text),
}

struct Parser<'a> {
    text: &'a str,
    /// The byte offset of the next character.
    at: usize,
    /// Number of values that have begun.
    values: usize,
    constants: Constants,
}

impl<'a> Parser<'a> {
    /// Reads a value of any kind. Containers wait on a list of our own, so that nesting takes no
    /// stack.
    fn value(&mut self) -> Result<Value, JsonError> {
        let mut open: Vec<OpenValue> = Vec::new();
        loop {
            self.values += 1;
            if self.values > MAX_VALUES {
                return Err(JsonError::TooMany);
            }
            let mut done = match self.peek() {
                Some(b'[' | b'{') if open.len() == MAX_DEPTH => return Err(JsonError::TooDeep),
                Some(b'[') => {
                    if !self.opens_empty(b']') {
                        open.push(OpenValue::List(Vec::new()));
                        continue;
                    }
                    Value::List(Vec::new())
                }
                Some(b'{') => {
                    if !self.opens_empty(b'}') {
                        open.push(OpenValue::Map(ObjectMembers::default(), self.key()?));
                        continue;
                    }
                    Value::Map(Vec::new())
                }
                _ => self.scalar()?,
            };
            // Give the value to the container it is in, and close every container that ends here.
            loop {
                let Some(container) = open.pop() else {
                    return Ok(done);
                };
                match self.add(container, done)? {
                    AddedValue::Closed(container) => done = container,
                    AddedValue::Open(container) => {
                        open.push(container);
                        break;
                    }
                }
            }
        }
    }

    /// Passes the opening bracket, and `close` if that follows.
    fn opens_empty(&mut self, close: u8) -> bool {
        self.at += 1;
        self.skip_space();
        self.take(close)
    }

    /// Puts `value` into `container` and reads on to the next value, or past the end of it.
    fn add(&mut self, container: OpenValue, value: Value) -> Result<AddedValue, JsonError> {
        self.skip_space();
        match container {
            OpenValue::List(mut items) => {
                items.push(value);
                if self.take(b']') {
                    return Ok(AddedValue::Closed(Value::List(items)));
                }
                self.expect(b',', Syntax::Comma)?;
                self.skip_space();
                Ok(AddedValue::Open(OpenValue::List(items)))
            }
            OpenValue::Map(mut members, key) => {
                members.set(key, value);
                if self.take(b'}') {
                    return Ok(AddedValue::Closed(Value::Map(members.into_list())));
                }
                self.expect(b',', Syntax::Comma)?;
                self.skip_space();
                let key = self.key()?;
                Ok(AddedValue::Open(OpenValue::Map(members, key)))
            }
        }
    }

    /// Reads a key, its colon, and the space around that.
    fn key(&mut self) -> Result<Text, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong(Syntax::PropertyName, self.at));
        }
        let key = self.string()?;
        self.skip_space();
        self.expect(b':', Syntax::Colon)?;
        self.skip_space();
        Ok(key)
    }

    fn scalar(&mut self) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Str),
            Some(b'n') if self.take_word("null") => Ok(Value::Null),
            Some(b't') if self.take_word("true") => Ok(Value::Bool(true)),
            Some(b'f') if self.take_word("false") => Ok(Value::Bool(false)),
            Some(b'N') if self.take_word("NaN") => self.constant("NaN", f64::NAN),
            Some(b'I') if self.take_word("Infinity") => self.constant("Infinity", f64::INFINITY),
            Some(b'-') if self.take_word("-Infinity") => {
                self.constant("-Infinity", f64::NEG_INFINITY)
            }
            _ => self.number(),
        }
    }

    fn constant(&self, name: &'static str, float: f64) -> Result<Value, JsonError> {
        match self.constants {
            Constants::Allow => Ok(Value::Float(float)),
            Constants::Refuse => Err(JsonError::Constant(name)),
        }
    }

    /// As much as is a number: what follows, even `.` or `e`, is left for the caller to refuse.
    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.take(b'-');
        let int_start = self.at;
        if !self.take(b'0') && self.skip_digits() == 0 {
            return Err(self.wrong(Syntax::Value, start));
        }
        let int_end = self.at;
        if !(self.take(b'.') && self.skip_digits() > 0) {
            self.at = int_end;
        }
        let fraction_end = self.at;
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            if self.skip_digits() == 0 {
                self.at = fraction_end;
            }
        }
        let literal = &self.text[start..self.at];
        if self.at == int_end {
            return integer(literal, int_end - int_start);
        }
        // A decimal literal always parses; out of range it is infinite, as in Python.
        Ok(Value::Float(literal.parse().unwrap_or(f64::INFINITY)))
    }

    /// Reads a string, the next character being its opening quote.
    fn string(&mut self) -> Result<Text, JsonError> {
        let begin = self.at;
        self.at += 1;
        let mut text = TextBuilder::default();
        loop {
            let plain = self.plain_run();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text.finish(plain));
                }
                Some(b'\\') => {
                    text.push_plain(plain);
                    self.at += 1;
                    text.push(self.escape(begin)?);
                }
                Some(_) => return Err(self.wrong(Syntax::ControlCharacter, self.at)),
                None => return Err(self.wrong(Syntax::UnterminatedString, begin)),
            }
        }
    }

    fn plain_run(&mut self) -> &'a str {
        let (text, start) = (self.text, self.at);
        let rest = &self.text.as_bytes()[start..];
        self.at += plain_run(rest, |b| b == b'"' || b == b'\\' || b < 0x20);
        &text[start..self.at]
    }

    /// Returns the code point an escape stands for, its backslash having been passed.
    fn escape(&mut self, string_begin: usize) -> Result<u32, JsonError> {
        let Some(letter) = self.peek() else {
            return Err(self.wrong(Syntax::UnterminatedString, string_begin));
        };
        let point = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.wrong(Syntax::Escape, self.at - 1)),
        };
        self.at += 1;
        Ok(point.into())
    }

    /// `uXXXX`, or a surrogate pair of two; lone surrogates stay what they are.
    fn unicode_escape(&mut self) -> Result<u32, JsonError> {
        let Some(point) = self.hex4(self.at + 1) else {
            return Err(self.wrong(Syntax::UnicodeEscape, self.at));
        };
        self.at += 5;
        let pair = matches!(point, 0xd800..=0xdbff) && self.rest().starts_with(b"\\u");
        match self.hex4(self.at + 2) {
            Some(low @ 0xdc00..=0xdfff) if pair => {
                self.at += 6;
                Ok(0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00))
            }
            _ => Ok(point),
        }
    }

    /// Four hexadecimal digits that are not the very end of the text: Python wants one character
    /// more before it looks at them. Test:
    /// `a_unicode_escape_at_the_very_end_is_invalid_rather_than_unterminated`.
    fn hex4(&self, start: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(start..start + 4)?;
        if start + 4 == self.text.len() {
            return None;
        }
        digits.iter().try_fold(0, |value, &digit| {
            Some(value << 4 | char::from(digit).to_digit(16)?)
        })
    }

    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn expect(&mut self, byte: u8, otherwise: Syntax) -> Result<(), JsonError> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.wrong(otherwise, self.at))
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn skip_digits(&mut self) -> usize {
        let digits = self.rest().iter().take_while(|b| b.is_ascii_digit());
        let count = digits.count();
        self.at += count;
        count
    }

    /// Returns the error `what` at the byte offset `at`.
    fn wrong(&self, what: Syntax, at: usize) -> JsonError {
        let before = &self.text[..at];
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        JsonError::Syntax {
            what,
            line: before.bytes().filter(|&b| b == b'\n').count() + 1,
            column: last_line.chars().count() + 1,
            char: before.chars().count(),
        }
    }
}

enum AddedValue {
    Open(OpenValue),
    Closed(Value),
}

/// Reads an integer literal that `number` has checked.
fn integer(literal: &str, digits: usize) -> Result<Value, JsonError> {
    if digits > MAX_INT_DIGITS {
        return Err(JsonError::LongInteger(digits));
    }
    Ok(literal
        .parse()
        .map_or_else(|_| Value::BigInt(literal.into()), Value::Int))
}
