//! Encryption of messages: Fernet with key rotation, as `symmetric_encryption_keys` asks for it.
//!
//! Stands in for `cryptography.fernet.MultiFernet`. A token is base64url, padded, of `0x80`, the
//! time in seconds (64 bits, big endian), the IV, the AES-128-CBC ciphertext (PKCS#7), and the
//! HMAC-SHA256 of all before. The key of a setting is its SHA-256: sixteen bytes sign, sixteen
//! encrypt.

use aes::Aes128;
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const VERSION: u8 = 0x80;
/// Version and time.
const HEAD: usize = 9;
const IV: usize = 16;
const MAC: usize = 32;
/// A token's clock may be this much ahead of ours, in seconds.
const SKEW: u64 = 60;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The token was not made with one of our keys, is too old, from the future, or no token at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of ours: another key, too old, or damaged")]
pub struct InvalidToken;

/// Keys that encrypt and decrypt: the first encrypts, each may decrypt.
pub struct Keys(Vec<CipherKey>);

struct CipherKey {
    /// Padded with zeros to SHA-256's block, which is what HMAC itself does with a short key.
    signing: [u8; 64],
    encryption: [u8; 16],
}

impl Keys {
    /// `None` if there are no keys: then nothing is encrypted.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let keys: Vec<CipherKey> = keys.into_iter().map(CipherKey::derive).collect();
        (!keys.is_empty()).then_some(Keys(keys))
    }

    /// Makes a token of `data` at `now` (Unix seconds). `iv` must be random.
    #[must_use]
    pub fn encrypt(&self, data: &[u8], now: u64, iv: [u8; IV]) -> Vec<u8> {
        let Some(key) = self.0.first() else {
            return Vec::new();
        };
        let mut token = Vec::with_capacity(HEAD + IV + data.len() + IV + MAC);
        token.push(VERSION);
        token.extend(now.to_be_bytes());
        token.extend(iv);
        let cipher = cbc::Encryptor::<Aes128>::new(&key.encryption.into(), &iv.into());
        token.extend(cipher.encrypt_padded_vec::<Pkcs7>(data));
        let signature = key.sign(&token).finalize().into_bytes();
        token.extend(signature);
        BASE64.encode(token).into_bytes()
    }

    /// Returns the content of a token. With a `lifetime` (seconds), one that is older at `now` is
    /// refused, and one from more than a minute ahead.
    ///
    /// # Errors
    /// For any reason: the token does not say which.
    pub fn decrypt(
        &self,
        token: &[u8],
        now: u64,
        lifetime: Option<u64>,
    ) -> Result<Vec<u8>, InvalidToken> {
        // Python reads either alphabet.
        let token: Vec<u8> = token
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        let token = BASE64.decode(token).map_err(|_| InvalidToken)?;
        let (made, signed, signature) = parts(&token).ok_or(InvalidToken)?;
        if lifetime.is_some_and(|life| now > made.saturating_add(life) || made > now + SKEW) {
            return Err(InvalidToken);
        }
        self.0
            .iter()
            .find_map(|key| key.open(signed, signature))
            .ok_or(InvalidToken)
    }
}

/// When the token was made, what is signed, and the signature.
fn parts(token: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (signed, signature) = token.split_last_chunk::<MAC>()?;
    let (head, _) = signed.split_first_chunk::<HEAD>()?;
    let [VERSION, time @ ..] = head else {
        return None;
    };
    Some((u64::from_be_bytes(*time), signed, signature))
}

impl CipherKey {
    fn derive(secret: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let (mut signing, mut encryption) = ([0; 64], [0; 16]);
        signing[..16].copy_from_slice(&digest[..16]);
        encryption.copy_from_slice(&digest[16..]);
        CipherKey {
            signing,
            encryption,
        }
    }

    fn sign(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.signing.into());
        mac.update(signed);
        mac
    }

    fn open(&self, signed: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        self.sign(signed).verify_slice(signature).ok()?;
        let (iv, ciphertext) = signed.get(HEAD..)?.split_first_chunk::<IV>()?;
        cbc::Decryptor::<Aes128>::new(&self.encryption.into(), &(*iv).into())
            .decrypt_padded_vec::<Pkcs7>(ciphertext)
            .ok()
    }
}
