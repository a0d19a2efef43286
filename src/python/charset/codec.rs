//! Python's codecs: their names, and how each reads the next character.

use encoding_rs::{DecoderResult, Encoding};

use super::codec_names::CODECS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// A codec of Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CharsetCodec {
    Utf8,
    Utf8Sig,
    Ascii,
    Latin1,
    /// Without an order, a byte order mark says it.
    Utf16(Option<Order>),
    Utf32(Option<Order>),
    /// One byte a character. What the Standard maps to control characters 0x80..0x9f, Python
    /// leaves undefined.
    SingleByte(&'static Encoding),
    /// One byte a character; the Standard's nearest, but 0x80..0x9f are control characters.
    Iso8859(&'static Encoding),
    /// With Python's name.
    MultiByte(&'static str, &'static Encoding),
    NotText,
}

impl CharsetCodec {
    /// `codecs.lookup`.
    pub(super) fn named(charset: Option<&str>) -> Self {
        let name = charset.map(normalize).unwrap_or_default();
        let undotted = name.replace('.', "_");
        let found = CODECS.iter().find(|(names, _)| {
            names
                .split(' ')
                .any(|known| known == name || known == undotted)
        });
        found.map_or(CharsetCodec::Utf8, |&(_, codec)| codec)
    }

    /// Returns the codec for what follows the byte order mark that `bytes` start with, and the
    /// length of that mark. Without one, the order is the machine's: little-endian.
    pub(super) fn after_mark(self, bytes: &[u8]) -> (Self, usize) {
        use Order::{Big, Little};
        match (self, bytes) {
            (CharsetCodec::Utf8Sig, [0xef, 0xbb, 0xbf, ..]) => (CharsetCodec::Utf8, 3),
            (CharsetCodec::Utf8Sig, _) => (CharsetCodec::Utf8, 0),
            (CharsetCodec::Utf16(None), [0xff, 0xfe, ..]) => (CharsetCodec::Utf16(Some(Little)), 2),
            (CharsetCodec::Utf16(None), [0xfe, 0xff, ..]) => (CharsetCodec::Utf16(Some(Big)), 2),
            (CharsetCodec::Utf32(None), [0xff, 0xfe, 0, 0, ..]) => {
                (CharsetCodec::Utf32(Some(Little)), 4)
            }
            (CharsetCodec::Utf32(None), [0, 0, 0xfe, 0xff, ..]) => {
                (CharsetCodec::Utf32(Some(Big)), 4)
            }
            _ => (self, 0),
        }
    }

    /// Returns the name of the encoding, if only a byte order mark can say its order.
    pub(super) fn wants_mark(self) -> Option<&'static str> {
        match self {
            CharsetCodec::Utf16(None) => Some("UTF-16"),
            CharsetCodec::Utf32(None) => Some("UTF-32"),
            _ => None,
        }
    }

    /// Returns the name in Python's messages.
    pub(super) fn error_name(self) -> &'static str {
        match self {
            CharsetCodec::Utf8 | CharsetCodec::Utf8Sig | CharsetCodec::NotText => "utf-8",
            CharsetCodec::Ascii => "ascii",
            CharsetCodec::Latin1 => "latin-1",
            CharsetCodec::Utf16(Some(Order::Big)) => "utf-16-be",
            CharsetCodec::Utf16(_) => "utf-16-le",
            CharsetCodec::Utf32(Some(Order::Big)) => "utf-32-be",
            CharsetCodec::Utf32(_) => "utf-32-le",
            CharsetCodec::SingleByte(_) | CharsetCodec::Iso8859(_) => "charmap",
            CharsetCodec::MultiByte(name, _) => name,
        }
    }

    /// Decodes the start of `bytes`, which are not empty.
    pub(super) fn step(self, bytes: &[u8]) -> CodecStep {
        let first = bytes.first().copied().unwrap_or_default();
        match self {
            CharsetCodec::Utf16(order) => utf16(bytes, order),
            CharsetCodec::Utf32(order) => utf32(bytes, order),
            CharsetCodec::Latin1 => CodecStep::Char(first.into(), 1),
            _ if first.is_ascii() => CodecStep::Char(first.into(), 1),
            CharsetCodec::Iso8859(_) if first < 0xa0 => CodecStep::Char(first.into(), 1),
            CharsetCodec::SingleByte(encoding) | CharsetCodec::Iso8859(encoding) => {
                match one_char(encoding, &[first]) {
                    Some(c) if !matches!(c, '\u{80}'..='\u{9f}') => CodecStep::Char(c, 1),
                    _ => CodecStep::Bad(1, "character maps to <undefined>"),
                }
            }
            CharsetCodec::MultiByte(name, encoding) => multi_byte(bytes, name, encoding),
            CharsetCodec::Ascii
            | CharsetCodec::Utf8
            | CharsetCodec::Utf8Sig
            | CharsetCodec::NotText => CodecStep::Bad(1, "ordinal not in range(128)"),
        }
    }
}

/// `encodings.normalize_encoding`: punctuation and spaces between words become one `_`.
fn normalize(charset: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '.';
    let words = charset
        .split(|c| !is_word(c))
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

/// Character or error at the start of some bytes. Reasons are Python's.
pub(super) enum CodecStep {
    /// A character, and its length in bytes.
    Char(char, usize),
    /// This many bytes that are none.
    Bad(usize, &'static str),
    /// A character whose end is missing. Python's stream readers stop before it without a word...
    Cut,
    /// ...but for the ones of encodings with several bytes.
    CutIsBad(&'static str),
}

fn utf16(bytes: &[u8], order: Option<Order>) -> CodecStep {
    let unit = |at: usize| {
        let pair = bytes.get(at..)?.first_chunk()?;
        Some(match order {
            Some(Order::Big) => u16::from_be_bytes(*pair),
            _ => u16::from_le_bytes(*pair),
        })
    };
    let Some(first) = unit(0) else {
        return CodecStep::Cut;
    };
    let second = match first {
        0xd800..=0xdbff => unit(2),
        _ => Some(0),
    };
    match char::decode_utf16([first].into_iter().chain(second)).next() {
        _ if second.is_none() => CodecStep::Cut,
        Some(Ok(c)) => CodecStep::Char(c, 2 * c.len_utf16()),
        _ if first < 0xdc00 => CodecStep::Bad(2, "illegal UTF-16 surrogate"),
        _ => CodecStep::Bad(2, "illegal encoding"),
    }
}

fn utf32(bytes: &[u8], order: Option<Order>) -> CodecStep {
    let Some(word) = bytes.first_chunk() else {
        return CodecStep::Cut;
    };
    let point = match order {
        Some(Order::Big) => u32::from_be_bytes(*word),
        _ => u32::from_le_bytes(*word),
    };
    match char::from_u32(point) {
        Some(c) => CodecStep::Char(c, 4),
        None if point > 0x10_ffff => CodecStep::Bad(4, "code point not in range(0x110000)"),
        None => CodecStep::Bad(
            4,
            "code point in surrogate code point range(0xd800, 0xe000)",
        ),
    }
}

fn multi_byte(bytes: &[u8], name: &str, encoding: &'static Encoding) -> CodecStep {
    const ILLEGAL: CodecStep = CodecStep::Bad(1, "illegal multibyte sequence");
    const CUT: CodecStep = CodecStep::CutIsBad("incomplete multibyte sequence");
    if name == "euc_kr" && bytes.starts_with(FILLER) {
        return match bytes.first_chunk() {
            Some(&spelt) => {
                spelt_syllable(spelt).map_or(ILLEGAL, |c| CodecStep::Char(c, spelt.len()))
            }
            None => CUT,
        };
    }
    // The Standard's EUC-KR has Microsoft's additions, which Python's cp949 has and euc_kr has not.
    let in_charset = |char_bytes: &[u8]| name != "euc_kr" || char_bytes.iter().all(|&b| b >= 0xa1);
    for len in 1..=4 {
        let char_bytes = bytes.get(..len).filter(|b| in_charset(b));
        if let Some(c) = char_bytes.and_then(|b| one_char(encoding, b)) {
            return CodecStep::Char(c, len);
        }
    }
    if bytes.len() == 1 { CUT } else { ILLEGAL }
}

/// The Hangul filler of KS X 1001.
const FILLER: &[u8] = b"\xa4\xd4";

/// Returns a syllable that KS X 1001 has not, which Python's `euc_kr` spells out: the filler, then
/// its initial, its vowel, and its final letter or the filler again. Test:
/// `euc_kr_spells_out_the_syllables_it_has_not`.
fn spelt_syllable(bytes: [u8; 8]) -> Option<char> {
    const INITIALS: &str = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ";
    const FINALS: &str = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ";
    let [_, _, 0xa4, initial, 0xa4, vowel, 0xa4, last] = bytes else {
        return None;
    };
    let place = |letters: &str, byte: u8| {
        let letter = char::from_u32('ㄱ' as u32 + u32::from(byte.checked_sub(0xa1)?))?;
        u32::try_from(letters.chars().position(|c| c == letter)?).ok()
    };
    let initial = place(INITIALS, initial)?;
    let vowel = u32::from(vowel.checked_sub(0xbf).filter(|&v| v < 21)?);
    let last = match last {
        0xd4 => 0,
        letter => place(FINALS, letter)? + 1,
    };
    char::from_u32('가' as u32 + (initial * 21 + vowel) * 28 + last)
}

/// Returns the character that these bytes, all of them, are in the Encoding Standard.
fn one_char(encoding: &'static Encoding, bytes: &[u8]) -> Option<char> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut units = [0; 4];
    let (result, _, written) = decoder.decode_to_utf16_without_replacement(bytes, &mut units, true);
    let mut chars = char::decode_utf16(units.into_iter().take(written));
    let c = chars.next()?.ok()?;
    (result == DecoderResult::InputEmpty && chars.next().is_none()).then_some(c)
}
