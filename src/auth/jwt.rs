//! Identity by a signed token (RFC 7519): which keys and algorithms are good is said by the
//! settings, never by the token.

mod crypto;

use std::{collections::HashSet, path::Path, sync::Arc};

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, crypto::CryptoProvider, decode, decode_header,
    errors::ErrorKind,
};
use serde_json::{Map, Value};

use super::words::Words;
use super::{
    SetupError,
    identity::{Credentials, Denied, Identity, Token},
    jwks::Jwks,
    revoked::Revoked,
};
use crate::{
    chat::USER_ID_MAX,
    clock::since_1970,
    config::{self, Algorithm as Listed, Config, Secret},
    layer::{LayerError, redis::single::SingleHost},
    metrics::Metrics,
    tls::Authorities,
};

/// Reads tokens.
pub struct Jwt {
    keys: JwtKeys,
    algorithms: Vec<Algorithm>,
    /// Requirements of every token; the algorithm comes with the token.
    validation: Validation,
    settings: config::Jwt,
    /// `None` if tokens cannot be taken back.
    revoked: Option<Revoked>,
}

enum JwtKeys {
    One(DecodingKey),
    Set(Arc<Jwks>),
}

impl Jwt {
    /// # Errors
    /// When the settings do not say exactly which keys are good, or the key cannot be read.
    pub fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, SetupError> {
        let settings = &config.auth.jwt;
        install_signatures();
        let algorithms: Vec<Algorithm> =
            settings.algorithms.iter().copied().map(algorithm).collect();
        if algorithms.is_empty() {
            return Err(SetupError::NoAlgorithms);
        }
        let keys = match (
            &settings.secret,
            &settings.public_key_file,
            &settings.jwks_url,
        ) {
            (Some(secret), None, None) => {
                JwtKeys::One(DecodingKey::from_secret(secret.expose().as_bytes()))
            }
            (None, Some(file), None) => {
                let unusable = |why: String| SetupError::Key(file.display().to_string(), why);
                let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
                let key = public_key(&pem).ok_or_else(|| {
                    unusable("no PEM file with a public key of RSA, P-256, P-384 or Ed25519".into())
                })?;
                JwtKeys::One(key)
            }
            (None, None, Some(url)) => {
                if let Some(file) = &settings.jwks_ca {
                    believable(file)?;
                }
                let metrics = Arc::clone(metrics);
                JwtKeys::Set(Arc::new(Jwks::new(url.clone(), settings, metrics)))
            }
            _ => return Err(SetupError::NotOneKey),
        };
        let fits = |algorithm: &Algorithm| match &keys {
            JwtKeys::One(key) => key.family().algorithms().contains(algorithm),
            JwtKeys::Set(_) => !jsonwebtoken::AlgorithmFamily::Hmac
                .algorithms()
                .contains(algorithm),
        };
        if let Some(odd) = algorithms.iter().find(|algorithm| !fits(algorithm)) {
            return Err(SetupError::OddAlgorithm(format!("{odd:?}")));
        }
        if let Some(secret) = &settings.secret {
            long_enough(secret, &algorithms)?;
        }
        Ok(Jwt {
            validation: validation(settings),
            keys,
            algorithms,
            settings: settings.clone(),
            revoked: revoked(config)?,
        })
    }

    /// Returns the token of a request, if it has one.
    #[must_use]
    pub fn token(&self, asked: &Credentials<'_>, words: &Words) -> Option<Token> {
        let query = || asked.parameter(self.settings.query.as_deref()?);
        let cookie = || asked.cookie(self.settings.cookie.as_deref()?);
        let protocol = || words.in_protocol(asked).map(|offered| offered.token);
        let shown = words.in_header(asked).or_else(protocol).or_else(query);
        let by_cookie = shown.is_none();
        let text = shown.or_else(cookie)?;
        Some(Token { text, by_cookie })
    }

    /// Returns the user that the token names.
    ///
    /// # Errors
    /// [`Denied`] for a token that is not good, or if the keys cannot be had.
    pub async fn read(&self, token: &Token) -> Result<Identity, Denied> {
        let header = decode_header(&token.text).map_err(|error| bad(error.to_string()))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(bad("an algorithm that is not allowed"));
        }
        // None of the extensions that a token may call critical is known here (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(bad("a critical header that is not known"));
        }
        let fetched;
        let key = match &self.keys {
            JwtKeys::One(key) => key,
            JwtKeys::Set(set) => {
                let Header { kid, alg, .. } = &header;
                fetched = set.key(kid.as_deref(), *alg).await?;
                &fetched
            }
        };
        let validation = Validation {
            algorithms: vec![header.alg],
            ..self.validation.clone()
        };
        let decoded = decode::<Map<String, Value>>(&token.text, key, &validation);
        let claims = decoded.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Denied::ExpiredToken,
            _ => bad(error.to_string()),
        })?;
        let known = self.identity(&claims.claims, token.by_cookie)?;
        if let Some(id) = known.token_id.as_deref()
            && self.revoked(&[id]).await?.contains(id)
        {
            return Err(bad("it was taken back"));
        }
        Ok(known)
    }

    /// Returns the tokens, by their `jti`, that were taken back, of those given.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] if that cannot be found out.
    pub async fn revoked<'a>(&self, ids: &[&'a str]) -> Result<HashSet<&'a str>, Denied> {
        match &self.revoked {
            Some(revoked) if !ids.is_empty() => revoked.among(ids).await,
            _ => Ok(HashSet::new()),
        }
    }

    fn identity(&self, claims: &Map<String, Value>, by_cookie: bool) -> Result<Identity, Denied> {
        // Simplejwt signs its refresh tokens with the same key; they are for the issuer alone.
        let kind = claims.get("token_type").map(Value::as_str);
        let is_access = kind.is_none_or(|kind| {
            kind.is_some_and(|kind| {
                kind.eq_ignore_ascii_case("access") || kind.eq_ignore_ascii_case("bearer")
            })
        });
        if !is_access {
            return Err(bad("not an access token"));
        }
        let claim = &self.settings.user_claim;
        let user = match claims.get(claim) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
            _ => String::new(),
        };
        if user.is_empty() || user.chars().count() > USER_ID_MAX {
            return Err(bad(format!("no user in the claim {claim}")));
        }
        let token_id = match (&self.revoked, claims.get("jti")) {
            (None, _) => None,
            (Some(_), Some(Value::String(id))) if !id.is_empty() => Some(id.as_str().into()),
            (Some(_), _) => return Err(bad("no jti, by which it could be taken back")),
        };
        let now = since_1970().as_secs();
        let exp = time_in(claims, "exp").ok_or_else(|| bad("no time to run out at"))?;
        let end = self.end_of_life(exp, time_in(claims, "iat"), now)?;
        // The leeway that a token is still taken in is left to its socket too.
        let until = end.saturating_add(self.settings.leeway_s);
        // The crate takes it for good in that very second, when its socket has been closed.
        if until <= now {
            return Err(Denied::ExpiredToken);
        }
        Ok(Identity {
            user: user.into(),
            until,
            token_id,
            by_cookie,
        })
    }

    /// When a token runs out that says `exp`, or before that if it would live for too long. All are
    /// seconds since 1970.
    fn end_of_life(&self, exp: u64, issued: Option<u64>, now: u64) -> Result<u64, Denied> {
        let most = match self.settings.max_life_s {
            0 => return Ok(exp),
            most => most,
        };
        match issued {
            // Else it would be young for ever.
            Some(issued) if issued > now.saturating_add(self.settings.leeway_s) => {
                Err(bad("issued at a time that is still to come"))
            }
            Some(issued) => Ok(exp.min(issued.saturating_add(most))),
            None if exp <= now.saturating_add(most) => Ok(exp),
            None => Err(bad("a life past auth.jwt.max_life_s, and no time of issue")),
        }
    }

    /// Checks whether the keys can be had; for [`crate::cli`]'s check.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), SetupError> {
        if let JwtKeys::Set(set) = &self.keys {
            set.check().await.map_err(SetupError::Jwks)?;
        }
        let asked = self.revoked(&["chatferry-check"]).await;
        asked.map_err(|error| SetupError::Revoked(error.to_string()))?;
        Ok(())
    }
}

/// Says to the crate for tokens how signatures are made and checked: a table of functions for the
/// whole process. A second server in it sets the same one.
pub fn install_signatures() {
    let _ = CryptoProvider::install_default(&crypto::PROVIDER);
}

/// Checks that a secret has as many bytes as the hash of each algorithm (RFC 7518, 3.2).
fn long_enough(secret: &Secret, algorithms: &[Algorithm]) -> Result<(), SetupError> {
    let have = secret.expose().len();
    let least = |algorithm: &Algorithm| match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    };
    match algorithms.iter().max_by_key(|it| least(it)) {
        Some(algorithm) if have < least(algorithm) => Err(SetupError::ShortSecret {
            have,
            algorithm: format!("{algorithm:?}"),
            least: least(algorithm),
        }),
        _ => Ok(()),
    }
}

/// Returns the list of tokens that were taken back, in the first Redis of the channel layer.
fn revoked(config: &Config) -> Result<Option<Revoked>, SetupError> {
    let Some(prefix) = &config.auth.jwt.revoked_prefix else {
        return Ok(None);
    };
    let unusable = |error: LayerError| SetupError::Revoked(error.to_string());
    let first = SingleHost::first_of(&config.layer).map_err(unusable)?;
    Ok(first.map(|host| Revoked::new(host, prefix.clone())))
}

/// Returns a time in seconds since 1970.
fn time_in(claims: &Map<String, Value>, name: &str) -> Option<u64> {
    let Some(Value::Number(time)) = claims.get(name) else {
        return None;
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates: a time before 1970 is over as well"
    )]
    let rounded = || time.as_f64().map(|time| time.round() as u64);
    time.as_u64().or_else(rounded)
}

fn bad(why: impl Into<String>) -> Denied {
    Denied::BadToken(why.into())
}

fn validation(settings: &config::Jwt) -> Validation {
    let mut validation = Validation::default();
    let mut required = vec!["exp"];
    if let Some(issuer) = &settings.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    if let Some(audience) = &settings.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation.leeway = settings.leeway_s;
    validation.validate_nbf = true;
    validation
}

/// Checks whether there is an authority in a PEM file. It is read again whenever it is needed.
fn believable(file: &Path) -> Result<(), SetupError> {
    let why = match Authorities::read(Some(file)) {
        Ok(authorities) if authorities.is_empty() => "no PEM file with a certificate".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(SetupError::Authority(file.display().to_string(), why))
}

/// Reads the key in a PEM file; which kind it is of is tried.
fn public_key(pem: &[u8]) -> Option<DecodingKey> {
    let kinds = [
        DecodingKey::from_rsa_pem,
        DecodingKey::from_ec_pem,
        DecodingKey::from_ed_pem,
    ];
    kinds.iter().find_map(|kind| kind(pem).ok())
}

fn algorithm(listed: Listed) -> Algorithm {
    match listed {
        Listed::Hs256 => Algorithm::HS256,
        Listed::Hs384 => Algorithm::HS384,
        Listed::Hs512 => Algorithm::HS512,
        Listed::Rs256 => Algorithm::RS256,
        Listed::Rs384 => Algorithm::RS384,
        Listed::Rs512 => Algorithm::RS512,
        Listed::Ps256 => Algorithm::PS256,
        Listed::Ps384 => Algorithm::PS384,
        Listed::Ps512 => Algorithm::PS512,
        Listed::Es256 => Algorithm::ES256,
        Listed::Es384 => Algorithm::ES384,
        Listed::EdDsa => Algorithm::EdDSA,
    }
}
