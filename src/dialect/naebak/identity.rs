//! As whom a client connects. The original believes the address; here a token proves it, unless the
//! setting says that somebody has looked before.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use super::session::Claim;
use crate::{auth::jwt::install_signatures, config::Secret, value::Value};

/// Longest id of a user, in bytes.
const USER_MAX: usize = 255;

/// The way to know a client.
pub enum Identity {
    /// The address is believed.
    Trusted,
    Tokens(Box<TokenReader>),
}

/// Reads tokens.
pub struct TokenReader {
    key: DecodingKey,
    validation: Validation,
}

/// The claims that name a user: the first of them that is there.
#[derive(Deserialize)]
struct Claims {
    user_id: Option<serde_json::Value>,
    sub: Option<serde_json::Value>,
}

impl Identity {
    /// Reads tokens that are signed with this key.
    #[must_use]
    pub fn of_tokens(key: &Secret) -> Self {
        install_signatures();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        // Looked at here, where a number is one too.
        validation.sub = None;
        Identity::Tokens(Box::new(TokenReader {
            key: DecodingKey::from_secret(key.expose().as_bytes()),
            validation,
        }))
    }

    /// Returns the user that a client connects as; `auth` is what it sent along with the connect.
    /// `None` if it may not.
    #[must_use]
    pub fn user(&self, claim: &Claim, auth: Option<&Value>) -> Option<String> {
        let named = claim.user_id.as_deref().filter(|id| !id.is_empty());
        let user = match self {
            Identity::Trusted => named?.to_owned(),
            Identity::Tokens(reader) => {
                let token = auth.and_then(|auth| auth.get("token")?.as_str());
                let user = reader.user(token.or(claim.token.as_deref())?)?;
                if named.is_some_and(|named| named != user) {
                    return None;
                }
                user
            }
        };
        (!user.is_empty() && user.len() <= USER_MAX).then_some(user)
    }
}

impl TokenReader {
    fn user(&self, token: &str) -> Option<String> {
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .ok()?
            .claims;
        match claims.user_id.or(claims.sub)? {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const KEY: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    fn token(claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_secret(KEY.as_bytes());
        encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    fn user(claims: &serde_json::Value, named: Option<&str>) -> Option<String> {
        let identity = Identity::of_tokens(&Secret::from(KEY.to_owned()));
        let claim = Claim {
            user_id: named.map(str::to_owned),
            token: Some(token(claims)),
        };
        identity.user(&claim, None)
    }

    #[test]
    fn a_token_names_its_user_by_user_id_and_then_by_sub() {
        let exp = 4_102_444_800_u64;
        let of = |claims| user(&claims, None);
        assert_eq!(
            of(json!({"user_id": "ann", "sub": "x", "exp": exp})).unwrap(),
            "ann"
        );
        assert_eq!(of(json!({"user_id": 7, "exp": exp})).unwrap(), "7");
        assert_eq!(of(json!({"sub": "ben", "exp": exp})).unwrap(), "ben");
        for claims in [
            json!({"exp": exp}),
            json!({"sub": "ben"}),
            json!({"sub": "ben", "exp": 1}),
            json!({"sub": "ben", "exp": exp, "nbf": exp}),
            json!({"sub": "", "exp": exp}),
            json!({"sub": ["ben"], "exp": exp}),
        ] {
            assert_eq!(of(claims.clone()), None, "{claims}");
        }
    }

    #[test]
    fn an_address_may_not_name_another_than_the_token() {
        let claims = json!({"sub": "ben", "exp": 4_102_444_800_u64});
        assert_eq!(user(&claims, Some("ben")).as_deref(), Some("ben"));
        assert_eq!(user(&claims, Some("")).as_deref(), Some("ben"));
        assert_eq!(user(&claims, Some("ann")), None);
    }

    #[test]
    fn the_address_is_believed_only_where_the_setting_says_so() {
        let claim = Claim {
            user_id: Some("ann".to_owned()),
            token: None,
        };
        assert_eq!(Identity::Trusted.user(&claim, None).as_deref(), Some("ann"));
        assert_eq!(Identity::Trusted.user(&Claim::default(), None), None);
        let tokens = Identity::of_tokens(&Secret::from(KEY.to_owned()));
        assert_eq!(tokens.user(&claim, None), None);
    }
}
