//! The fields of a text line, in which nothing that somebody else chose can begin another line or
//! speak to a terminal.

use std::fmt::{self, Write};

use tracing::field::Field;
use tracing_subscriber::fmt::format::Writer;

/// Writes one field as the subscriber's own format has it, and escapes it.
pub fn write(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let name = field.name();
    if name != "message" {
        if writer.has_ansi_escapes() {
            // In italics, the sign dimmed.
            write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
        } else {
            write!(writer, "{name}=")?;
        }
    }
    write!(Escaped(writer), "{value:?}")
}

/// Passes text on, with escapes in the place of what is no plain character.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_active) {
            let (plain, tail) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut tail = tail.chars();
            if let Some(active) = tail.next() {
                write!(self.0, "{}", active.escape_default())?;
            }
            rest = tail.as_str();
        }
        self.0.write_str(rest)
    }
}

/// True for control characters, other line breaks, and what changes the direction of the text
/// around it.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_character_is_escaped() {
        for (text, expected) in [
            ("plain 대화 \\n", "plain 대화 \\n"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            (
                "a\u{85}b\u{2028}c\u{202e}d",
                "a\\u{85}b\\u{2028}c\\u{202e}d",
            ),
            ("", ""),
        ] {
            let mut written = String::new();
            Escaped(&mut written).write_str(text).unwrap();
            assert_eq!(written, expected);
        }
    }
}
