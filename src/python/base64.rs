//! Base64 as Python's `binascii.a2b_base64` reads it: leniently.
//!
//! Characters outside the alphabet are passed over, and the first complete padding ends the input.
//! Tests: `what_is_not_of_the_alphabet_is_passed_over`, `what_follows_the_padding_is_ignored`.

/// The characters left over do not make whole bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Incorrect padding")]
pub struct IncorrectPadding;

/// Decodes as `base64.b64decode(data)` does.
///
/// # Errors
/// If the padding is missing or a lone character is left over.
pub fn decode(data: &[u8]) -> Result<Vec<u8>, IncorrectPadding> {
    let mut out = Vec::with_capacity(data.len() / 4 * 3);
    let (mut group, mut digits, mut pads) = (0u32, 0u32, 0u32);
    for &byte in data {
        if byte == b'=' {
            pads += u32::from(digits >= 2);
            if digits >= 2 && digits + pads >= 4 {
                push_bytes(&mut out, group, digits);
                return Ok(out);
            }
        } else if let Some(digit) = digit_value(byte) {
            group = group << 6 | digit;
            digits += 1;
            pads = 0;
            if digits == 4 {
                push_bytes(&mut out, group, digits);
                (group, digits) = (0, 0);
            }
        }
    }
    if digits == 0 {
        Ok(out)
    } else {
        Err(IncorrectPadding)
    }
}

/// The whole bytes of two to four digits.
fn push_bytes(out: &mut Vec<u8>, group: u32, digits: u32) {
    let [_, bytes @ ..] = (group << (6 * (4 - digits))).to_be_bytes();
    out.extend(bytes.iter().take(digits.saturating_sub(1) as usize));
}

fn digit_value(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_base64_is_decoded() {
        assert_eq!(decode(b"YTpi").unwrap(), b"a:b");
        assert_eq!(decode(b"YTo=").unwrap(), b"a:");
        assert_eq!(decode(b"YQ==").unwrap(), b"a");
        assert_eq!(decode(b"").unwrap(), b"");
    }

    #[test]
    fn what_is_not_of_the_alphabet_is_passed_over() {
        assert_eq!(decode(b"Y!T\r\np-i\xff").unwrap(), b"a:b");
        assert_eq!(decode(b"=YQ==").unwrap(), b"a");
    }

    #[test]
    fn what_follows_the_padding_is_ignored() {
        assert_eq!(decode(b"YQ==YTpi").unwrap(), b"a");
    }

    #[test]
    fn missing_padding_is_an_error() {
        assert_eq!(decode(b"YQ="), Err(IncorrectPadding));
        assert_eq!(decode(b"YTpiY"), Err(IncorrectPadding));
    }
}
