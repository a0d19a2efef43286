//! Access and refresh tokens of users of our own: JSON Web Tokens with the claims `sub`, `exp`,
//! `jti` and `type`, signed by HS256.
//!
//! An access token is good until it runs out. A refresh token can be used once, for a new pair; it
//! is known by its `jti` until then ([`RefreshTokens`]).

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::refresh::RefreshTokens;
use crate::{
    auth::jwt::install_signatures,
    clock::since_1970,
    config::Secret,
    layer::LayerError,
    random::{self, NoRandomness},
};

/// Signs and reads the tokens of one chat.
pub struct Tokens {
    signing: EncodingKey,
    reading: DecodingKey,
    validation: Validation,
    lives: TokenLives,
    unused: RefreshTokens,
}

/// Lives of the tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenLives {
    pub access: Duration,
    pub refresh: Duration,
}

/// The tokens that a user gets for a password, or for a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    pub access: String,
    pub refresh: String,
}

/// Why no tokens can be made or looked for now.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("a token cannot be signed: {0}")]
    Signature(#[from] jsonwebtoken::errors::Error),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("refresh tokens: {0}")]
    Unavailable(#[from] LayerError),
}

/// Result of taking a refresh token back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBack {
    Done,
    /// No refresh token, or one that was used already.
    Unknown,
    /// Another user's. It stays good.
    OfAnother,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenType {
    Access,
    Refresh,
}

/// In the order in which they are written.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    jti: String,
    #[serde(rename = "type")]
    kind: TokenType,
}

impl Tokens {
    /// Signs with this secret from now on.
    #[must_use]
    pub fn new(secret: &Secret, lives: TokenLives, unused: RefreshTokens) -> Self {
        install_signatures();
        let secret = secret.expose().as_bytes();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        Tokens {
            signing: EncodingKey::from_secret(secret),
            reading: DecodingKey::from_secret(secret),
            validation,
            lives,
            unused,
        }
    }

    /// Makes a pair of tokens for a user.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn issue(&self, user: &str) -> Result<TokenPair, TokenError> {
        let (access, _) = self.sign(user, TokenType::Access, self.lives.access)?;
        let life = self.lives.refresh;
        let (refresh, id) = self.sign(user, TokenType::Refresh, life)?;
        self.unused.keep(&id, user, life).await?;
        Ok(TokenPair { access, refresh })
    }

    /// Returns the user of an access token that is good.
    #[must_use]
    pub fn user(&self, access: &str) -> Option<String> {
        self.read(access, TokenType::Access)
            .map(|claims| claims.sub)
    }

    /// Uses a refresh token; returns its user, for whom new ones may be [issued](Self::issue).
    /// `None` for any other token, and for one that was used.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`]
    pub async fn spend(&self, refresh: &str) -> Result<Option<String>, TokenError> {
        let Some(claims) = self.read(refresh, TokenType::Refresh) else {
            return Ok(None);
        };
        let kept_for = self.unused.take(&claims.jti).await?;
        Ok(kept_for.filter(|user| *user == claims.sub))
    }

    /// Takes back a refresh token of this user.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`]
    pub async fn take_back(&self, refresh: &str, user: &str) -> Result<TakenBack, TokenError> {
        match self.read(refresh, TokenType::Refresh) {
            None => Ok(TakenBack::Unknown),
            Some(claims) if claims.sub != user => Ok(TakenBack::OfAnother),
            Some(claims) => Ok(match self.unused.take(&claims.jti).await? {
                Some(_) => TakenBack::Done,
                None => TakenBack::Unknown,
            }),
        }
    }

    fn sign(
        &self,
        user: &str,
        kind: TokenType,
        life: Duration,
    ) -> Result<(String, String), TokenError> {
        let id = uuid::Builder::from_random_bytes(random::bytes()?).into_uuid();
        let claims = Claims {
            sub: user.to_owned(),
            exp: (since_1970() + life).as_secs(),
            jti: Uuid::to_string(&id),
            kind,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.signing)?;
        Ok((token, claims.jti))
    }

    /// Reads a token that is good and of this type.
    fn read(&self, token: &str, kind: TokenType) -> Option<Claims> {
        let decoded = decode::<Claims>(token, &self.reading, &self.validation).ok()?;
        Some(decoded.claims).filter(|claims| claims.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn tokens(secret: &str) -> Tokens {
        let lives = TokenLives {
            access: Duration::from_secs(900),
            refresh: Duration::from_secs(604_800),
        };
        let secret = Secret::from(secret.to_owned());
        Tokens::new(&secret, lives, RefreshTokens::in_memory())
    }

    const SECRET: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    fn part(token: &str, place: usize) -> String {
        let part = token.split('.').nth(place).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_token_has_the_claims_of_the_original_in_their_order() {
        let pair = tokens(SECRET).issue("1").await.unwrap();
        assert_eq!(part(&pair.access, 0), r#"{"typ":"JWT","alg":"HS256"}"#);
        let claims = part(&pair.access, 1);
        assert!(claims.starts_with(r#"{"sub":"1","exp":"#), "{claims}");
        assert!(claims.ends_with(r#","type":"access"}"#), "{claims}");
        assert!(part(&pair.refresh, 1).ends_with(r#","type":"refresh"}"#));
    }

    #[tokio::test]
    async fn a_token_of_python_jose_is_read() {
        // python-jose 3.5, with the secret of these tests; it runs out in the year 2100.
        let theirs = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIiwiZXhwIjo0MTAyNDQ0ODAwLCJqdGkiOiI4YWE3YTlmZi1kNWFjLTQ5OTgtYjc0MC03OWI5Y2U1NjdlZDgiLCJ0eXBlIjoiYWNjZXNzIn0.12AzCjTq4F37M2coN4r_JL9secjhldJlbT0e3vCYDb8";
        let tokens = tokens(SECRET);
        assert_eq!(tokens.user(theirs).as_deref(), Some("1"));
        let other = theirs.replace("12Az", "12Ay");
        assert_eq!(tokens.user(&other), None);
    }

    #[tokio::test]
    async fn only_an_access_token_that_is_good_names_a_user() {
        let tokens = tokens(SECRET);
        let pair = tokens.issue("7").await.unwrap();
        assert_eq!(tokens.user(&pair.access).as_deref(), Some("7"));
        assert_eq!(tokens.user(&pair.refresh), None);
        let others = self::tokens("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
        assert_eq!(others.user(&pair.access), None);
        for junk in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0."] {
            assert_eq!(tokens.user(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_token_that_ran_out_names_no_user() {
        let tokens = tokens(SECRET);
        let claims = Claims {
            sub: "7".to_owned(),
            exp: since_1970().as_secs() - 1,
            jti: "a".to_owned(),
            kind: TokenType::Access,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &tokens.signing);
        assert_eq!(tokens.user(&token.unwrap()), None);
    }

    #[tokio::test]
    async fn a_refresh_token_is_good_for_one_new_pair() {
        let tokens = tokens(SECRET);
        let pair = tokens.issue("7").await.unwrap();
        assert_eq!(tokens.spend(&pair.access).await.unwrap(), None);
        let user = tokens.spend(&pair.refresh).await.unwrap();
        assert_eq!(user.as_deref(), Some("7"));
        assert_eq!(tokens.spend(&pair.refresh).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_its_user_takes_a_refresh_token_back() {
        let tokens = tokens(SECRET);
        let pair = tokens.issue("7").await.unwrap();
        let take = async |token: &str, user| tokens.take_back(token, user).await.unwrap();
        assert_eq!(take("junk", "7").await, TakenBack::Unknown);
        assert_eq!(take(&pair.access, "7").await, TakenBack::Unknown);
        assert_eq!(take(&pair.refresh, "8").await, TakenBack::OfAnother);
        assert_eq!(take(&pair.refresh, "7").await, TakenBack::Done);
        assert_eq!(take(&pair.refresh, "7").await, TakenBack::Unknown);
        assert_eq!(tokens.spend(&pair.refresh).await.unwrap(), None);
    }
}
