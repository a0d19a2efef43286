//! The signatures of tokens, made and checked by ring: the crate for tokens leaves the choice, and
//! ring is here for TLS anyway. Tokens are signed with a shared secret only.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::ErrorKind,
    signature,
};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};

pub static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        if key.family() != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(HmacSigner {
            algorithm: *algorithm,
            key: hmac::Key::new(hash, key.as_bytes()),
        }))
    },
    verifier_factory: |algorithm, key| {
        // A key says what it is good for; an RSA key must never be taken for a shared secret.
        if !key.family().algorithms().contains(algorithm) {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(Verifier {
            algorithm: *algorithm,
            key: key.clone(),
        }))
    },
    // For making keys, which is not done here.
    key_utils: KeyUtils::new_unimplemented(),
};

struct HmacSigner {
    algorithm: Algorithm,
    key: hmac::Key,
}

impl JwtSigner for HmacSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl signature::Signer<Vec<u8>> for HmacSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let is_good = match self.algorithm {
            Algorithm::HS256 => self.hmac(hmac::HMAC_SHA256, message, signature),
            Algorithm::HS384 => self.hmac(hmac::HMAC_SHA384, message, signature),
            Algorithm::HS512 => self.hmac(hmac::HMAC_SHA512, message, signature),
            Algorithm::RS256 => self.rsa(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Algorithm::RS384 => self.rsa(&RSA_PKCS1_2048_8192_SHA384, message, signature),
            Algorithm::RS512 => self.rsa(&RSA_PKCS1_2048_8192_SHA512, message, signature),
            Algorithm::PS256 => self.rsa(&RSA_PSS_2048_8192_SHA256, message, signature),
            Algorithm::PS384 => self.rsa(&RSA_PSS_2048_8192_SHA384, message, signature),
            Algorithm::PS512 => self.rsa(&RSA_PSS_2048_8192_SHA512, message, signature),
            Algorithm::ES256 => self.curve(&ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::ES384 => self.curve(&ECDSA_P384_SHA384_FIXED, message, signature),
            Algorithm::EdDSA => self.curve(&ED25519, message, signature),
            _ => false,
        };
        is_good.then_some(()).ok_or_else(signature::Error::new)
    }
}

impl Verifier {
    fn hmac(&self, hash: hmac::Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.key.try_get_as_bytes().is_ok_and(|secret| {
            let key = hmac::Key::new(hash, secret);
            hmac::verify(&key, message, signature).is_ok()
        })
    }

    fn rsa(&self, how: &'static RsaParameters, message: &[u8], signature: &[u8]) -> bool {
        match self.key.kind() {
            DecodingKeyKind::SecretOrDer(_) => self.curve(how, message, signature),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                // A number in a key set may have zeros before it; ring takes none.
                let bare = |bytes: &[u8]| {
                    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
                    bytes[zeros..].to_vec()
                };
                let key = RsaPublicKeyComponents {
                    n: bare(n),
                    e: bare(e),
                };
                key.verify(how, message, signature).is_ok()
            }
        }
    }

    /// With a key that is one run of bytes.
    fn curve(
        &self,
        how: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.key.try_get_as_bytes().is_ok_and(|key| {
            UnparsedPublicKey::new(how, key)
                .verify(message, signature)
                .is_ok()
        })
    }
}
