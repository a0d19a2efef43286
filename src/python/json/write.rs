//! `json.dumps`: from a [`Value`] to bytes, in the two forms the original sent.
//!
//! The WebSocket consumer used Python's defaults (`ascii`), the REST views Django REST framework's
//! renderer (`utf8`, `pretty`). The functions append to `out` and cannot fail; they take a stack
//! frame for each level of nesting, which the maker of the value has bounded.

use std::io::Write as _;

use super::run::plain_run;
use crate::python::pystr::write_float;
use crate::value::{Text, Value, ValueRef};

/// Differences between the two forms.
#[derive(Clone, Copy)]
struct JsonForm {
    comma: &'static str,
    colon: &'static str,
    /// Spaces for each level, every member on a line of its own; none is all on one line.
    indent: Option<usize>,
    /// Appends a text without its quotes.
    escape: fn(&mut Vec<u8>, &str),
    /// Floats that are not finite are written as Python's names for them, which is not JSON.
    constants: bool,
}

const ASCII: JsonForm = JsonForm {
    comma: ", ",
    colon: ": ",
    indent: None,
    escape: escape_ascii,
    constants: true,
};

const UTF8: JsonForm = JsonForm {
    comma: ",",
    colon: ":",
    indent: None,
    escape: escape_utf8,
    constants: false,
};

const RAW: JsonForm = JsonForm {
    escape: escape_raw,
    ..UTF8
};

/// `json.dumps(value)`: spaces after commas and colons, ASCII only, `NaN` and `Infinity` as such.
pub fn write_ascii(out: &mut Vec<u8>, value: &Value) {
    ASCII.write(out, value, 0);
}

/// Django REST framework's compact form: no spaces, characters as themselves.
///
/// Two things crashed there: floats that are not finite become `null`, and lone surrogates become
/// escapes.
pub fn write_utf8(out: &mut Vec<u8>, value: &Value) {
    UTF8.write(out, value, 0);
}

/// Starlette's form: as [`write_utf8`], but U+2028 and U+2029 are themselves too.
pub fn write_raw(out: &mut Vec<u8>, value: &Value) {
    RAW.write(out, value, 0);
}

/// Django REST framework's form for `Accept: application/json; indent=N`: as [`write_utf8`] with
/// every member on its own line, `indent` spaces a level. The caller clamps `indent` to 1..=8.
pub fn write_pretty(out: &mut Vec<u8>, value: &Value, indent: usize) {
    pretty(indent).write(out, value, 0);
}

fn pretty(indent: usize) -> JsonForm {
    JsonForm {
        colon: ": ",
        indent: Some(indent),
        ..UTF8
    }
}

/// As [`write_ascii`], of a value that borrows its parts.
pub fn write_ascii_ref(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Text(text) => write_ascii_str(out, text),
        ValueRef::Bool(flag) => write_ascii(out, &Value::Bool(flag)),
        ValueRef::Value(value) => write_ascii(out, value),
        ValueRef::Map(members) => {
            out.push(b'{');
            write_ascii_members(out, members);
            out.push(b'}');
        }
    }
}

/// The members of a map, without its braces.
pub fn write_ascii_members(out: &mut Vec<u8>, members: &[(&'static str, ValueRef<'_>)]) {
    for (place, (name, value)) in members.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b", ");
        }
        write_ascii_str(out, name);
        out.extend_from_slice(b": ");
        write_ascii_ref(out, *value);
    }
}

/// A quoted string in ASCII: all else, DEL included, as `\uXXXX`, two of them past U+FFFF.
pub fn write_ascii_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape_ascii(out, text);
    out.push(b'"');
}

/// A quoted string in UTF-8: escapes only what JSON and, for U+2028 and U+2029, JavaScript need.
pub fn write_utf8_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape_utf8(out, text);
    out.push(b'"');
}

fn escape_ascii(out: &mut Vec<u8>, text: &str) {
    let is_plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    out.reserve(text.len() + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, special) = rest.split_at(plain_run(rest.as_bytes(), |b| !is_plain(b)));
        out.extend_from_slice(plain.as_bytes());
        rest = special.trim_start_matches(|c: char| {
            let is_special = !c.is_ascii() || !is_plain(c as u8);
            if is_special {
                escape_char(out, c);
            }
            is_special
        });
    }
}

fn escape_utf8(out: &mut Vec<u8>, text: &str) {
    // 0xe2 begins U+2028 and U+2029, and much besides.
    let is_special = |b: u8| b < b' ' || b == b'"' || b == b'\\' || b == 0xe2;
    escape_some(out, text, is_special);
}

fn escape_raw(out: &mut Vec<u8>, text: &str) {
    escape_some(out, text, |b| b < b' ' || b == b'"' || b == b'\\');
}

/// Escapes ASCII characters that begin with a special byte, and the two that JavaScript needs.
fn escape_some(out: &mut Vec<u8>, text: &str, is_special: impl Fn(u8) -> bool + Copy) {
    out.reserve(text.len() + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, special) = rest.split_at(plain_run(rest.as_bytes(), is_special));
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        match chars.next() {
            Some(c) if c.is_ascii() || matches!(c, '\u{2028}' | '\u{2029}') => escape_char(out, c),
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {}
        }
        rest = chars.as_str();
    }
}

/// A step in writing a value that is never held whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The beginning of a list.
    List,
    /// The beginning of a map.
    Map,
    /// The name of the member that comes next.
    Key(&'static str),
    Value(Value),
    /// The end of the list or map that began last.
    End,
}

/// Writes a value part by part, to the same bytes as the whole of it.
#[derive(Clone)]
pub struct PartWriter {
    form: JsonForm,
    /// The lists and maps that have begun, the innermost last.
    open: Vec<OpenContainer>,
    follows_key: bool,
}

#[derive(Clone, Copy)]
struct OpenContainer {
    closes: u8,
    is_empty: bool,
}

impl PartWriter {
    /// In the form of [`write_ascii`].
    #[must_use]
    pub fn ascii() -> Self {
        PartWriter::of(ASCII)
    }

    /// In the form of [`write_utf8`].
    #[must_use]
    pub fn utf8() -> Self {
        PartWriter::of(UTF8)
    }

    /// In the form of [`write_pretty`].
    #[must_use]
    pub fn pretty(indent: usize) -> Self {
        PartWriter::of(pretty(indent))
    }

    fn of(form: JsonForm) -> Self {
        PartWriter {
            form,
            open: Vec::new(),
            follows_key: false,
        }
    }

    /// Appends one part.
    pub fn write(&mut self, out: &mut Vec<u8>, part: &Part) {
        match part {
            Part::List => self.begin(out, *b"[]"),
            Part::Map => self.begin(out, *b"{}"),
            Part::Key(name) => {
                self.separate(out);
                self.form.write_text(out, &Text::fixed(name));
                out.extend_from_slice(self.form.colon.as_bytes());
                self.follows_key = true;
            }
            Part::Value(value) => {
                self.separate(out);
                self.form.write(out, value, self.open.len());
            }
            Part::End => self.end(out),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>, [opens, closes]: [u8; 2]) {
        self.separate(out);
        out.push(opens);
        self.open.push(OpenContainer {
            closes,
            is_empty: true,
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Some(ended) = self.open.pop() else { return };
        if !ended.is_empty {
            self.form.write_line_break(out, self.open.len());
        }
        out.push(ended.closes);
    }

    /// Appends what stands between the part before and the next member or item.
    fn separate(&mut self, out: &mut Vec<u8>) {
        let level = self.open.len();
        if std::mem::take(&mut self.follows_key) {
            return;
        }
        if let Some(inner) = self.open.last_mut() {
            if !std::mem::take(&mut inner.is_empty) {
                out.extend_from_slice(self.form.comma.as_bytes());
            }
            self.form.write_line_break(out, level);
        }
    }
}

impl JsonForm {
    fn write(&self, out: &mut Vec<u8>, value: &Value, level: usize) {
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Int(int) => write_display(out, int),
            Value::BigInt(digits) => out.extend_from_slice(digits.as_bytes()),
            Value::Float(float) => self.write_float(out, *float),
            Value::Str(text) => self.write_text(out, text),
            Value::List(items) => self.write_each(out, *b"[]", items, level, |out, item| {
                self.write(out, item, level + 1);
            }),
            Value::Map(members) => {
                self.write_each(out, *b"{}", members, level, |out, (key, value)| {
                    self.write_text(out, key);
                    out.extend_from_slice(self.colon.as_bytes());
                    self.write(out, value, level + 1);
                });
            }
        }
    }

    fn write_each<T>(
        &self,
        out: &mut Vec<u8>,
        [open, close]: [u8; 2],
        items: &[T],
        level: usize,
        write_item: impl Fn(&mut Vec<u8>, &T),
    ) {
        out.push(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(self.comma.as_bytes());
            }
            self.write_line_break(out, level + 1);
            write_item(out, item);
        }
        if !items.is_empty() {
            self.write_line_break(out, level);
        }
        out.push(close);
    }

    fn write_line_break(&self, out: &mut Vec<u8>, level: usize) {
        if let Some(indent) = self.indent {
            out.push(b'\n');
            out.resize(out.len() + indent * level, b' ');
        }
    }

    fn write_float(&self, out: &mut Vec<u8>, float: f64) {
        let text: &[u8] = match float {
            _ if float.is_finite() => return write_float(out, float),
            _ if !self.constants => b"null",
            _ if float.is_nan() => b"NaN",
            _ if float > 0.0 => b"Infinity",
            _ => b"-Infinity",
        };
        out.extend_from_slice(text);
    }

    fn write_text(&self, out: &mut Vec<u8>, text: &Text) {
        out.push(b'"');
        match text {
            Text::Utf8(utf8) => (self.escape)(out, utf8),
            Text::Surrogates(points) => self.escape_points(out, points),
        }
        out.push(b'"');
    }

    /// A text with lone surrogates: each of them escaped, the stretches between as usual.
    fn escape_points(&self, out: &mut Vec<u8>, points: &[u32]) {
        let mut stretch = String::new();
        for &point in points {
            if let Some(c) = char::from_u32(point) {
                stretch.push(c);
            } else {
                (self.escape)(out, &stretch);
                stretch.clear();
                escape_unit(out, point);
            }
        }
        (self.escape)(out, &stretch);
    }
}

fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _infallible = write!(out, "{value}");
}

fn escape_char(out: &mut Vec<u8>, c: char) {
    let letter = match c {
        '"' | '\\' => c as u8,
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\x08' => b'b',
        '\x0c' => b'f',
        _ => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escape_unit(out, u32::from(*unit));
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// `\uXXXX`, in lower case, of a UTF-16 code unit.
fn escape_unit(out: &mut Vec<u8>, unit: u32) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u32| HEX[(unit >> shift & 0xf) as usize];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}
