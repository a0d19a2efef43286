//! From bytes to text by the name of a Python codec: the `charset` of a request's `Content-Type`.
//!
//! Stands in for `codecs.getreader(charset)(body).read()`, which Django REST framework's
//! `JSONParser` reads a body with, and for `bytes.decode(charset, "replace")`, which forms go
//! through. The error texts of the first are on the wire.
//!
//! Python's tables and those of the Encoding Standard, which we use, agree for Korean, and for the
//! encodings of one byte but in three characters of `koi8_u` and `cp1255`. For Chinese and Japanese
//! they differ in some symbols, and the Standard knows more characters.

mod codec;
mod codec_names;

use codec::{CharsetCodec, CodecStep};

/// Why bytes are no text; displays as Python's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("'{codec}' codec can't decode byte 0x{byte:02x} in position {at}: {reason}")]
    Byte {
        codec: &'static str,
        byte: u8,
        at: usize,
        reason: &'static str,
    },
    #[error("'{codec}' codec can't decode bytes in position {first}-{last}: {reason}")]
    Bytes {
        codec: &'static str,
        first: usize,
        last: usize,
        reason: &'static str,
    },
    /// UTF-16 or UTF-32 without a byte order.
    #[error("{0} stream does not start with BOM")]
    ByteOrderMark(&'static str),
    /// A codec from bytes to bytes (`zip`) or text to text (`rot13`): Python crashed.
    #[error("the charset is not a text encoding")]
    NotText,
}

/// Reads a whole body as JSON's text. Without a charset, or with one that Python or we do not know,
/// it is UTF-8. A character cut short at the end of UTF-8, UTF-16 or UTF-32 is left out, as by
/// Python's `StreamReader`.
///
/// # Errors
/// The first bytes that are no character.
pub fn decode_json_body(bytes: &[u8], charset: Option<&str>) -> Result<String, DecodeError> {
    let named = CharsetCodec::named(charset);
    let (codec, mark) = named.after_mark(bytes);
    match codec {
        CharsetCodec::Utf8 => utf8(bytes.get(mark..).unwrap_or_default()),
        CharsetCodec::NotText => Err(DecodeError::NotText),
        codec => {
            let (text, end) = decode_strict(bytes, mark, codec)?;
            // Python reads on without a mark, and minds that only afterwards.
            match named.wants_mark() {
                Some(name) if mark == 0 && end > 0 => Err(DecodeError::ByteOrderMark(name)),
                _ => Ok(text),
            }
        }
    }
}

/// Reads the percent-decoded bytes of a form's name or value, U+FFFD standing for what is no
/// character. Without a charset, or with one that Python or we do not know, it is UTF-8.
///
/// # Errors
/// [`DecodeError::NotText`] only.
pub fn decode_form(bytes: &[u8], charset: Option<&str>) -> Result<String, DecodeError> {
    let (codec, mark) = CharsetCodec::named(charset).after_mark(bytes);
    let unmarked = bytes.get(mark..).unwrap_or_default();
    match codec {
        CharsetCodec::Utf8 => Ok(String::from_utf8_lossy(unmarked).into_owned()),
        CharsetCodec::NotText => Err(DecodeError::NotText),
        codec => Ok(decode_lossy(unmarked, codec)),
    }
}

/// Returns the characters up to a cut end, and how many bytes they took; from the byte `start` on.
fn decode_strict(
    bytes: &[u8],
    start: usize,
    codec: CharsetCodec,
) -> Result<(String, usize), DecodeError> {
    let mut text = String::with_capacity(bytes.len());
    let mut at = start;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match codec.step(rest) {
            CodecStep::Char(c, len) => {
                text.push(c);
                at += len;
            }
            CodecStep::Bad(len, reason) => return Err(not_text(codec, bytes, at, len, reason)),
            CodecStep::CutIsBad(reason) => {
                return Err(not_text(codec, bytes, at, rest.len(), reason));
            }
            CodecStep::Cut => break,
        }
    }
    Ok((text, at))
}

fn decode_lossy(mut rest: &[u8], codec: CharsetCodec) -> String {
    let mut text = String::with_capacity(rest.len());
    while !rest.is_empty() {
        let (c, len) = match codec.step(rest) {
            CodecStep::Char(c, len) => (c, len),
            CodecStep::Bad(len, _) => (char::REPLACEMENT_CHARACTER, len),
            CodecStep::Cut | CodecStep::CutIsBad(_) => (char::REPLACEMENT_CHARACTER, rest.len()),
        };
        text.push(c);
        rest = rest.get(len..).unwrap_or_default();
    }
    text
}

fn not_text(
    codec: CharsetCodec,
    bytes: &[u8],
    at: usize,
    len: usize,
    reason: &'static str,
) -> DecodeError {
    let codec = codec.error_name();
    match bytes.get(at) {
        Some(&byte) if len == 1 => DecodeError::Byte {
            codec,
            byte,
            at,
            reason,
        },
        _ => DecodeError::Bytes {
            codec,
            first: at,
            last: at + len - 1,
            reason,
        },
    }
}

/// UTF-8, a character cut short at the end left out.
fn utf8(bytes: &[u8]) -> Result<String, DecodeError> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(text.to_owned()),
        Err(error) => error,
    };
    let (valid, rest) = bytes.split_at(error.valid_up_to());
    let reason = match rest {
        [0xc2..=0xf4, ..] => "invalid continuation byte",
        _ => "invalid start byte",
    };
    match (error.error_len(), rest) {
        // The start of a surrogate, which Python waits to see the end of before it minds. Test:
        // `a_character_cut_short_at_the_end_is_dropped`.
        (None, _) | (_, [0xed, 0xa0..=0xbf]) => Ok(String::from_utf8_lossy(valid).into_owned()),
        (Some(len), _) => Err(not_text(
            CharsetCodec::Utf8,
            bytes,
            valid.len(),
            len,
            reason,
        )),
    }
}

#[cfg(test)]
mod tests {
    //! The answers of `codecs` of Python 3.11.7.

    use super::*;

    fn body(bytes: &[u8], charset: &str) -> Result<String, String> {
        decode_json_body(bytes, Some(charset)).map_err(|error| error.to_string())
    }

    fn form(bytes: &[u8], charset: &str) -> String {
        decode_form(bytes, Some(charset)).expect(charset)
    }

    fn message(codec: &str, bytes: &str, reason: &str) -> Result<String, String> {
        Err(format!("'{codec}' codec can't decode {bytes}: {reason}"))
    }

    #[test]
    fn utf8_is_the_default_and_what_unknown_names_mean() {
        assert_eq!(decode_json_body("한".as_bytes(), None), Ok("한".into()));
        for name in ["utf-8", "UTF8", "\"utf-8\"", "", "nope", "x-sjis", "utf-8."] {
            assert_eq!(body("한".as_bytes(), name), Ok("한".into()), "{name}");
        }
    }

    #[test]
    fn broken_utf8_is_pythons_error() {
        assert_eq!(
            body(b"{\"a\":\"\xff\"}", "utf-8"),
            message("utf-8", "byte 0xff in position 6", "invalid start byte")
        );
        assert_eq!(
            body(b"\"\xe2\x28", "utf-8"),
            message(
                "utf-8",
                "byte 0xe2 in position 1",
                "invalid continuation byte"
            )
        );
        assert_eq!(
            body(b"\"\xf0\x9f\x98\"", "utf-8"),
            message(
                "utf-8",
                "bytes in position 1-3",
                "invalid continuation byte"
            )
        );
    }

    #[test]
    fn a_character_cut_short_at_the_end_is_dropped() {
        assert_eq!(body(b"a\xed\x95", "utf-8"), Ok("a".into()));
        assert_eq!(body(b"a\xed\xa0", "utf-8"), Ok("a".into()));
        assert_eq!(body(b"a\0b", "utf-16-le"), Ok("a".into()));
        assert_eq!(body(b"\xff\xfe\x3d\xd8", "utf-16"), Ok(String::new()));
    }

    #[test]
    fn a_multibyte_character_cut_short_is_an_error() {
        assert_eq!(
            body(b"a\xb0", "euc-kr"),
            message(
                "euc_kr",
                "byte 0xb0 in position 1",
                "incomplete multibyte sequence"
            )
        );
    }

    #[test]
    fn only_utf_8_sig_drops_a_byte_order_mark() {
        assert_eq!(body(b"\xef\xbb\xbf1", "utf-8"), Ok("\u{feff}1".into()));
        assert_eq!(body(b"\xef\xbb\xbf1", "utf-8-sig"), Ok("1".into()));
        assert_eq!(body(b"1", "utf-8-sig"), Ok("1".into()));
    }

    #[test]
    fn utf16_and_utf32_bodies_need_a_byte_order_mark() {
        assert_eq!(body(b"\xff\xfe\x3d\xd8\x00\xde", "utf-16"), Ok("😀".into()));
        assert_eq!(body(b"\xfe\xff\xd5\x5c", "utf-16"), Ok("한".into()));
        assert_eq!(body(b"\0\0\xfe\xff\0\x01\xf6\0", "utf-32"), Ok("😀".into()));
        let unmarked = "UTF-16 stream does not start with BOM";
        assert_eq!(body(b"1\0", "utf-16"), Err(unmarked.into()));
        let unmarked = "UTF-32 stream does not start with BOM";
        assert_eq!(body(b"1\0\0\0", "utf-32"), Err(unmarked.into()));
        assert_eq!(body(b"", "utf-16"), Ok(String::new()));
        assert_eq!(form(b"1\0", "utf-16"), "1");
    }

    #[test]
    fn surrogates_without_their_other_half_are_errors() {
        assert_eq!(
            body(b"\xff\xfe\x00\xd8a\0", "utf-16"),
            message(
                "utf-16-le",
                "bytes in position 2-3",
                "illegal UTF-16 surrogate"
            )
        );
        assert_eq!(
            body(b"\xdc\x00", "utf-16-be"),
            message("utf-16-be", "bytes in position 0-1", "illegal encoding")
        );
        assert_eq!(
            body(b"\0\0\x11\0", "utf-32-le"),
            message(
                "utf-32-le",
                "bytes in position 0-3",
                "code point not in range(0x110000)"
            )
        );
    }

    #[test]
    fn one_byte_encodings_know_which_bytes_are_undefined() {
        assert_eq!(body(b"\xff", "latin-1"), Ok("ÿ".into()));
        assert_eq!(body(b"\x80", "windows-1252"), Ok("€".into()));
        assert_eq!(body(b"\x80", "iso-8859-9"), Ok("\u{80}".into()));
        assert_eq!(
            body(b"a\x81", "cp1252"),
            message(
                "charmap",
                "byte 0x81 in position 1",
                "character maps to <undefined>"
            )
        );
        assert_eq!(
            body(b"a\x80", "us-ascii"),
            message(
                "ascii",
                "byte 0x80 in position 1",
                "ordinal not in range(128)"
            )
        );
    }

    #[test]
    fn korean_encodings_differ_in_microsofts_syllables() {
        for name in ["euc-kr", "KS_C_5601-1987", "ks x 1001", "cp949", "uhc"] {
            assert_eq!(
                body(b"\"\xc7\xd1\xb1\xdb\"", name),
                Ok("\"한글\"".into()),
                "{name}"
            );
        }
        assert_eq!(body(b"\x94\xee", "cp949"), Ok("뷁".into()));
        assert_eq!(
            body(b"\"\x94\xee\"", "euc-kr"),
            message(
                "euc_kr",
                "byte 0x94 in position 1",
                "illegal multibyte sequence"
            )
        );
    }

    #[test]
    fn euc_kr_spells_out_the_syllables_it_has_not() {
        let spelt = b"\xa4\xd4\xa4\xb2\xa4\xce\xa4\xaa";
        assert_eq!(body(spelt, "euc-kr"), Ok("뷁".into()));
        assert_eq!(
            body(b"\xa4\xd4\xa4\xb6\xa4\xd0\xa4\xd4", "euc-kr"),
            Ok("쓔".into())
        );
        assert_eq!(
            body(b"\xa4\xd4\xa4\xb2\xa4\xce\xa4\xbf", "euc-kr"),
            message(
                "euc_kr",
                "byte 0xa4 in position 0",
                "illegal multibyte sequence"
            )
        );
        assert_eq!(
            body(b"\xa4\xd4\xa4", "euc-kr"),
            message(
                "euc_kr",
                "bytes in position 0-2",
                "incomplete multibyte sequence"
            )
        );
    }

    #[test]
    fn forms_replace_what_is_no_character() {
        assert_eq!(form(b"a\xff\xed\x95b", "utf-8"), "a\u{fffd}\u{fffd}b");
        assert_eq!(
            form(b"\xb0\xffA\xb0", "euc-kr"),
            "\u{fffd}\u{fffd}A\u{fffd}"
        );
        assert_eq!(form(b"\x81", "cp1252"), "\u{fffd}");
        assert_eq!(form(b"\xc7\xd1", "euc-kr"), "한");
    }

    #[test]
    fn codecs_that_are_no_text_encodings_are_refused() {
        for name in ["rot13", "zip", "base64", "hex"] {
            assert_eq!(
                decode_json_body(b"1", Some(name)),
                Err(DecodeError::NotText)
            );
            assert_eq!(decode_form(b"1", Some(name)), Err(DecodeError::NotText));
        }
    }
}
