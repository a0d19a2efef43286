//! The public keys of an issuer, fetched from its JSON Web Key Set (RFC 7517).
//!
//! Fetched when a token first needs a key, and again when the set has become old or lacks the key a
//! token names: never twice within `auth.jwt.jwks_refetch_s`, whatever tokens say, and by one
//! request at a time. While the address does not answer, the last set is used for
//! `auth.jwt.jwks_stale_s`.

mod fetch;

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use self::fetch::FetchError;
use super::identity::Denied;
use crate::{
    config::{self, JwksUrl},
    metrics::Metrics,
};

/// Most keys of a set that are used.
const KEYS_MAX: usize = 100;

/// The key set behind one address.
pub struct Jwks {
    url: JwksUrl,
    /// Whom an `https` address is believed by; `None` for the system's.
    authorities: Option<PathBuf>,
    metrics: Arc<Metrics>,
    refetch: Duration,
    stale: Duration,
    /// The last set that could be fetched. Held for moments only.
    last: RwLock<Option<Arc<KeySet>>>,
    /// When the last attempt began; held while one is under way.
    attempt: Mutex<Option<Instant>>,
}

struct KeySet {
    keys: Vec<NamedKey>,
    fetched: Instant,
}

struct NamedKey {
    id: Option<String>,
    /// Use of the set; `None` if it names none.
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

impl Jwks {
    /// Makes the set at `url`; nothing is fetched yet.
    #[must_use]
    pub fn new(url: JwksUrl, settings: &config::Jwt, metrics: Arc<Metrics>) -> Self {
        Jwks {
            url,
            authorities: settings.jwks_ca.clone(),
            metrics,
            refetch: Duration::from_secs(settings.jwks_refetch_s),
            stale: Duration::from_secs(settings.jwks_stale_s),
            last: RwLock::default(),
            attempt: Mutex::default(),
        }
    }

    /// Returns the key that a token names, or the only one of its kind if it names none.
    ///
    /// # Errors
    /// [`Denied::BadToken`] if there is no such key, [`Denied::Unavailable`] if there is no set.
    pub async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Denied> {
        let known = self.usable();
        let found = known.as_ref().and_then(|set| set.find(id, algorithm));
        let is_fresh = known.is_some_and(|set| set.fetched.elapsed() < self.refetch);
        match found {
            Some(key) if is_fresh => return Ok(key),
            // Somebody else is looking whether it still is good.
            Some(key) if self.attempt.try_lock().is_err() => return Ok(key),
            _ => {
                // Not given up with the request that began it.
                let jwks = Arc::clone(self);
                let _ = tokio::spawn(async move { jwks.refetch().await }).await;
            }
        }
        let set = self
            .usable()
            .ok_or_else(|| Denied::Unavailable("there is no key set".into()))?;
        set.find(id, algorithm)
            .ok_or_else(|| Denied::BadToken("no such key in the key set".into()))
    }

    /// Fetches the set, unless that was tried a moment ago.
    async fn refetch(&self) {
        let mut attempt = self.attempt.lock().await;
        if attempt.is_some_and(|last| last.elapsed() < self.refetch) {
            return;
        }
        *attempt = Some(Instant::now());
        match self.fetch().await {
            Ok(set) => {
                self.metrics.jwks_fetched(true);
                let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
                *last = Some(Arc::new(set));
            }
            Err(error) => {
                self.metrics.jwks_fetched(false);
                tracing::warn!(%error, url = %self.url, "the key set could not be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let body = fetch::get(self.url.uri(), self.authorities.as_deref()).await?;
        KeySet::read(&body).ok_or(FetchError::NoKeySet)
    }

    fn usable(&self) -> Option<Arc<KeySet>> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        let set = last.as_ref()?;
        (set.fetched.elapsed() < self.stale).then(|| Arc::clone(set))
    }

    /// Checks whether the set can be fetched and has a key.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), String> {
        match self.fetch().await {
            Ok(set) if set.keys.is_empty() => Err(format!("{}: no key can be used", self.url)),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {error}", self.url)),
        }
    }
}

impl KeySet {
    /// Reads a set, less the keys that are of no use here: unknown kinds, keys to encrypt with,
    /// and shared secrets, which must not be published.
    fn read(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).ok()?;
        let keys = set.keys.into_iter().filter_map(NamedKey::read);
        Some(KeySet {
            keys: keys.take(KEYS_MAX).collect(),
            fetched: Instant::now(),
        })
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let fits = |key: &&NamedKey| {
            key.public.family().algorithms().contains(&algorithm)
                && key.algorithm.is_none_or(|own| own == algorithm)
                && (id.is_none() || key.id.as_deref() == id)
        };
        let mut found = self.keys.iter().filter(fits);
        let key = found.next()?;
        // Without a name it must be clear which one is meant.
        (id.is_some() || found.next().is_none()).then(|| key.public.clone())
    }
}

impl NamedKey {
    fn read(json: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let signs = matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        );
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        let is_public = public.family() != jsonwebtoken::AlgorithmFamily::Hmac;
        let algorithm = match jwk.common.key_algorithm {
            None => None,
            Some(named) => Some(Algorithm::from_str(&named.to_string()).ok()?),
        };
        (signs && is_public).then_some(NamedKey {
            id: jwk.common.key_id,
            algorithm,
            public,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = r#"{"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "b", "use": "sig", "alg": "EdDSA", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "EC", "crv": "P-256", "kid": "c", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "EC", "crv": "P-256", "kid": "d", "use": "enc", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "oct", "kid": "e", "k": "c2VjcmV0"},
        {"kty": "new", "kid": "f"},
        {"kid": "g"}, 7
    ], "more": true}"#;

    fn has(id: Option<&str>, algorithm: Algorithm) -> bool {
        let set = KeySet::read(SET.as_bytes()).unwrap();
        set.find(id, algorithm).is_some()
    }

    #[test]
    fn a_key_is_found_by_its_name_for_what_it_is_good_for() {
        assert!(has(Some("a"), Algorithm::EdDSA) && has(Some("b"), Algorithm::EdDSA));
        assert!(has(Some("c"), Algorithm::ES256));
        assert!(!has(Some("c"), Algorithm::EdDSA) && !has(Some("a"), Algorithm::HS256));
        assert!(!has(Some("z"), Algorithm::EdDSA) && !has(Some(""), Algorithm::ES256));
    }

    #[test]
    fn without_a_name_only_one_key_may_fit() {
        assert!(has(None, Algorithm::ES256));
        assert!(!has(None, Algorithm::EdDSA));
    }

    #[test]
    fn keys_of_other_use_shared_secrets_and_unknown_kinds_are_passed_over() {
        for id in ["d", "e", "f", "g"] {
            for algorithm in [Algorithm::ES256, Algorithm::HS256, Algorithm::EdDSA] {
                assert!(!has(Some(id), algorithm), "{id}");
            }
        }
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for text in ["", "[]", "{}", "null", r#"{"keys": {}}"#, "<html>"] {
            assert!(KeySet::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
