//! Signed texts and the sessions in them: stands in for `django/core/signing.py`, for the decoding
//! of `django/contrib/sessions/backends`, and for `salted_hmac` of `django/utils/crypto.py`.
//!
//! A signed object is `DATA:TIME:SIGNATURE`. `DATA` is JSON in base64url without padding, after a
//! dot if it was compressed by zlib; `TIME` is in seconds since 1970, in base 62; `SIGNATURE` is
//! the base64url of an HMAC-SHA256 of all before it. Checked with sessions of a real Django by the
//! integration tests.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use sha2::{Digest, Sha256};

use crate::python::json::{self, Constants};
use crate::value::Value;

/// Salt of `backends.db` and `backends.cached_db`.
pub const DATABASE_SESSION: &str = "django.contrib.sessions.SessionStore";
/// Salt of `backends.signed_cookies`.
pub const COOKIE_SESSION: &str = "django.contrib.sessions.backends.signed_cookies";
/// Salt of what a session remembers of the user's password.
const SESSION_AUTH_HASH: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// Most bytes that a compressed session may become.
const UNPACKED_MAX: usize = 1024 * 1024;

/// A text that was signed with none of the keys, is too old, or is no signed text at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not good")]
pub struct BadSignature;

/// Signed value and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    pub value: Value,
    /// Seconds since 1970.
    pub at: u64,
}

/// `signing.loads`: the value of a text that one of `keys` has signed. How old it may be is for
/// the caller.
///
/// # Errors
/// [`BadSignature`]; a value that is not JSON, as Django's old pickled sessions, is one too.
pub fn loads<'a>(
    text: &str,
    salt: &str,
    keys: impl IntoIterator<Item = &'a str>,
) -> Result<Signed, BadSignature> {
    let (signed, signature) = text.rsplit_once(':').ok_or(BadSignature)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| BadSignature)?;
    let salt = format!("{salt}signer");
    let is_good = |key| mac(&salt, key, signed).verify_slice(&signature).is_ok();
    if !keys.into_iter().any(is_good) {
        return Err(BadSignature);
    }
    let (data, time) = signed.rsplit_once(':').ok_or(BadSignature)?;
    let at = from_base62(time).ok_or(BadSignature)?;
    let value = unpack(data).ok_or(BadSignature)?;
    Ok(Signed { value, at })
}

/// Returns whether a session was begun with this password, by what it remembers of its hash
/// (`_auth_user_hash`).
#[must_use]
pub fn is_hash_of<'a>(
    session_hash: &str,
    password: &str,
    keys: impl IntoIterator<Item = &'a str>,
) -> bool {
    let Some(hash) = from_hex(session_hash) else {
        return false;
    };
    keys.into_iter().any(|key| {
        mac(SESSION_AUTH_HASH, key, password)
            .verify_slice(&hash)
            .is_ok()
    })
}

/// `salted_hmac`: the key is a hash of salt and secret, and comparing takes the same time whatever
/// is compared.
fn mac(salt: &str, secret: &str, value: &str) -> Hmac<Sha256> {
    let key = Sha256::new()
        .chain_update(salt)
        .chain_update(secret)
        .finalize();
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(&key);
    // A key of exactly one block, which is what a shorter one is filled up to.
    Hmac::<Sha256>::new(&block.into()).chain_update(value)
}

fn unpack(data: &str) -> Option<Value> {
    let (packed, is_compressed) = match data.strip_prefix('.') {
        Some(packed) => (packed, true),
        None => (data, false),
    };
    let bytes = URL_SAFE_NO_PAD.decode(packed).ok()?;
    let bytes = if is_compressed {
        decompress_to_vec_zlib_with_limit(&bytes, UNPACKED_MAX).ok()?
    } else {
        bytes
    };
    // `JSONSerializer` writes ASCII.
    json::loads(std::str::from_utf8(&bytes).ok()?, Constants::Allow).ok()
}

fn from_base62(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        number.checked_mul(62)?.checked_add(digit.into())
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "the-reference-service-keeps-no-secrets-0123456789";
    const PLAIN: &str =
        "eyJfYXV0aF91c2VyX2lkIjoiNyJ9:1xULG3:Qz-0YDeqzE1wadDLCy-w6vGWPpQDWt-0VsdmL47BPlk";
    const COMPRESSED: &str =
        ".eJyrVkrLzMlJLVKyUqoYJkCpFgB7vGH5:1xULG3:c9PBEOQPW6FrQtXjkjwNhpxuv_fNXGMJxrbPwKqMKro";
    const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";
    const PASSWORD_HASH: &str = "00af5510f126478896881575a53da672b44f06f74caf653ee6a36e9494ca1a3f";
    const AT: u64 = 1_795_168_215;

    fn open(text: &str, keys: &[&str]) -> Result<Signed, BadSignature> {
        loads(text, DATABASE_SESSION, keys.iter().copied())
    }

    #[test]
    fn what_django_signed_is_read() {
        let signed = open(PLAIN, &[KEY]).unwrap();
        assert_eq!(signed.at, AT);
        assert_eq!(signed.value.get("_auth_user_id"), Some(&"7".into()));
        let signed = open(COMPRESSED, &[KEY]).unwrap();
        assert_eq!(signed.value.get("filler"), Some(&"x".repeat(200).into()));
    }

    #[test]
    fn an_older_key_is_as_good_and_no_other_is() {
        assert!(open(PLAIN, &["new", KEY]).is_ok());
        assert_eq!(open(PLAIN, &["new"]), Err(BadSignature));
        assert_eq!(open(PLAIN, &[]), Err(BadSignature));
        let elsewhere = loads(PLAIN, COOKIE_SESSION, [KEY]);
        assert_eq!(elsewhere, Err(BadSignature), "the salt is part of the key");
    }

    #[test]
    fn a_text_changed_anywhere_is_not_good() {
        for at in 0..PLAIN.len() {
            let mut bytes = PLAIN.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(bytes).unwrap();
            // The last of 43 digits has two bits that mean nothing.
            if URL_SAFE_NO_PAD.decode(&text[text.len() - 43..])
                != URL_SAFE_NO_PAD.decode(&PLAIN[PLAIN.len() - 43..])
                || text[..text.len() - 43] != PLAIN[..PLAIN.len() - 43]
            {
                assert_eq!(open(&text, &[KEY]), Err(BadSignature), "{text}");
            }
        }
        for text in ["", ":", "::", "a:b:c", "\u{e9}:1:x"] {
            assert_eq!(open(text, &[KEY]), Err(BadSignature), "{text}");
        }
    }

    #[test]
    fn another_password_ends_a_session() {
        assert!(is_hash_of(PASSWORD_HASH, PASSWORD, ["new", KEY]));
        assert!(!is_hash_of(PASSWORD_HASH, "other", [KEY]));
        assert!(!is_hash_of(PASSWORD_HASH, PASSWORD, ["new"]));
        for hash in ["", "0", "zz", &PASSWORD_HASH[..62]] {
            assert!(!is_hash_of(hash, PASSWORD, [KEY]), "{hash}");
        }
    }
}
