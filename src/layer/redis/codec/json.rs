//! A JSON body, read as `json.loads(bytes)` reads it: UTF-8, UTF-16 or UTF-32, with or without a
//! byte order mark.

use crate::{
    python::json::{Constants, loads},
    value::Value,
};

const NO_TEXT: &str = "the bytes are not in the encoding they begin with";

/// Reads one value, the whole of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let text = decode(bytes).ok_or(NO_TEXT)?;
    loads(&text, Constants::Allow).map_err(|error| error.to_string())
}

/// Stands in for `json.detect_encoding`.
fn decode(bytes: &[u8]) -> Option<String> {
    match *bytes {
        [0xFF, 0xFE, 0, 0, ref rest @ ..] => utf32(rest, u32::from_le_bytes),
        [0, 0, 0xFE, 0xFF, ref rest @ ..] => utf32(rest, u32::from_be_bytes),
        [0xFF, 0xFE, ref rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, ref rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, ref rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0, 0, 0, _, ..] => utf32(bytes, u32::from_be_bytes),
        [0, _, ..] => utf16(bytes, u16::from_be_bytes),
        [_, 0, 0, 0, ..] => utf32(bytes, u32::from_le_bytes),
        [_, 0, ..] => utf16(bytes, u16::from_le_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = bytes.as_chunks();
    let text = char::decode_utf16(units.iter().map(|bytes| unit(*bytes)));
    rest.is_empty()
        .then(|| text.collect::<Result<_, _>>().ok())?
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> Option<String> {
    let (units, rest) = bytes.as_chunks();
    let text = units.iter().map(|bytes| char::from_u32(unit(*bytes)));
    rest.is_empty().then(|| text.collect::<Option<_>>())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_python_detects_is_read() {
        let text = "{\"a\": \"채팅 😀\"}";
        let want = loads(text, Constants::Allow).unwrap();
        let le16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let be16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
        let le32 = |text: &str| -> Vec<u8> {
            text.chars()
                .flat_map(|c| u32::from(c).to_le_bytes())
                .collect()
        };
        let be32 = |text: &str| -> Vec<u8> {
            text.chars()
                .flat_map(|c| u32::from(c).to_be_bytes())
                .collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            le16(text),
            be16(text),
            le32(text),
            be32(text),
        ] {
            assert_eq!(read(&bytes).as_ref(), Ok(&want), "{bytes:?}");
        }
        let marked = format!("\u{feff}{text}");
        for bytes in [
            marked.as_bytes().to_vec(),
            le16(&marked),
            be16(&marked),
            le32(&marked),
            be32(&marked),
        ] {
            assert_eq!(read(&bytes).as_ref(), Ok(&want), "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        for bytes in [&b"\xff"[..], b"{\0", b"", b"\xd8\0\0\0", b"[1"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
