//! Tokens signed here, by another hand than the one that reads them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chatferry::clock::since_1970;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    },
};
use serde_json::{Value, json};

/// The secret of the tests' settings.
pub const SECRET: &str = "a secret of sixty-four bytes and more, as HS512 has a hash of that size";

/// What makes a server know callers by tokens with [`SECRET`].
pub const BY_SECRET: [(&str, &str); 3] = [
    ("auth.identity", "jwt"),
    ("auth.jwt.secret", SECRET),
    ("auth.jwt.algorithms", "HS256,HS384,HS512"),
];

/// A key that signs.
pub enum Key {
    Hmac(hmac::Algorithm, &'static str, String),
    Curve(EcdsaKeyPair, &'static str),
    Edwards(Ed25519KeyPair),
}

impl Key {
    pub fn secret() -> Self {
        Key::Hmac(hmac::HMAC_SHA256, "HS256", SECRET.to_owned())
    }

    pub fn p256() -> Self {
        Key::Curve(curve(&ECDSA_P256_SHA256_FIXED_SIGNING), "ES256")
    }

    pub fn p384() -> Self {
        Key::Curve(curve(&ECDSA_P384_SHA384_FIXED_SIGNING), "ES384")
    }

    pub fn edwards() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Key::Edwards(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Key::Hmac(_, name, _) | Key::Curve(_, name) => name,
            Key::Edwards(_) => "EdDSA",
        }
    }

    pub fn sign(&self, message: &str) -> Vec<u8> {
        let message = message.as_bytes();
        match self {
            Key::Hmac(hash, _, secret) => {
                let key = hmac::Key::new(*hash, secret.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Key::Curve(pair, _) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            Key::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public half as a JSON Web Key of this name.
    pub fn jwk(&self, id: &str) -> Value {
        match self {
            Key::Hmac(_, _, secret) => json!({"kty": "oct", "kid": id, "k": BASE64.encode(secret)}),
            Key::Curve(pair, name) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if *name == "ES256" { "P-256" } else { "P-384" };
                json!({"kty": "EC", "kid": id, "use": "sig", "alg": name, "crv": curve,
                       "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            Key::Edwards(pair) => {
                let x = BASE64.encode(pair.public_key().as_ref());
                json!({"kty": "OKP", "kid": id, "use": "sig", "crv": "Ed25519", "x": x})
            }
        }
    }

    /// The public half as a PEM file.
    pub fn pem(&self) -> String {
        // What RFC 5480 and RFC 8410 have before the key itself.
        let (head, key): (&str, &[u8]) = match self {
            Key::Hmac(..) => panic!("a shared secret has no public half"),
            Key::Curve(pair, "ES256") => (
                "3059301306072a8648ce3d020106082a8648ce3d030107034200",
                pair.public_key().as_ref(),
            ),
            Key::Curve(pair, _) => (
                "3076301006072a8648ce3d020106052b81040022036200",
                pair.public_key().as_ref(),
            ),
            Key::Edwards(pair) => ("302a300506032b6570032100", pair.public_key().as_ref()),
        };
        let bytes = (0..head.len()).step_by(2);
        let mut der: Vec<u8> = bytes
            .map(|at| u8::from_str_radix(&head[at..at + 2], 16).unwrap())
            .collect();
        der.extend(key);
        let lines = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "typ": "JWT"}), claims)
    }

    /// A token whose header may say anything.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let signed = signed.join(".");
        let signature = BASE64.encode(self.sign(&signed));
        format!("{signed}.{signature}")
    }
}

fn curve(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

/// The time in seconds since 1970.
pub fn now() -> u64 {
    since_1970().as_secs()
}

/// The claims of a user whose token is good for an hour.
pub fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": now() + 3600})
}

/// A good token of this user, with the tests' secret.
pub fn token_of(user: &str) -> String {
    Key::secret().token(&claims(user))
}

/// The header of a good token of this user.
pub fn bearer(user: &str) -> String {
    format!("Bearer {}", token_of(user))
}
