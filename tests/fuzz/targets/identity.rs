//! What shows who is asking: the cookie of a session, and a token.

use std::sync::{Arc, LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chatferry::{
    auth::{
        identity::{Denied, Identity, Token},
        jwt::Jwt,
    },
    clock::since_1970,
    config::Config,
    dialect::django::signing::{self, COOKIE_SESSION, DATABASE_SESSION},
    metrics::Metrics,
    python::cookies,
};
use ring::{digest, hmac};
use tokio::runtime::{Builder, Runtime};

/// That of the reference service, whose cookies are in the corpus.
const KEY: &str = "the-reference-service-keeps-no-secrets-0123456789";

static TOKENS: LazyLock<Jwt> = LazyLock::new(|| {
    let flags = [
        ("auth.jwt.secret", KEY),
        ("auth.jwt.algorithms", "HS256"),
        ("auth.jwt.leeway_s", "0"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let loaded = Config::load(None, std::iter::empty(), &flags).unwrap();
    Jwt::open(&loaded.config, &Arc::new(Metrics::new())).unwrap()
});

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// A `Cookie` header, and the session in it: with any other key it is none, and whatever somebody
/// with the right one signs is read or refused.
pub fn session_cookie(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for name in ["sessionid", "csrftoken"] {
        let _ = cookies::value_of(&[input], name);
    }
    for salt in [DATABASE_SESSION, COOKIE_SESSION] {
        assert!(signing::loads(&text, salt, ["another key"]).is_err());
        let _ = signing::loads(&text, salt, ["another key", KEY]);
    }
    let cookie = format!("{text}:{}", django_signature(&text));
    if signing::loads(&cookie, COOKIE_SESSION, [KEY]).is_ok() {
        assert!(signing::loads(&cookie, DATABASE_SESSION, [KEY]).is_err());
    }
    let _ = signing::is_hash_of(&text, "password", [KEY]);
}

/// `django.core.signing` over these bytes.
fn django_signature(text: &str) -> String {
    let salted = format!("{COOKIE_SESSION}signer{KEY}");
    let key = digest::digest(&digest::SHA256, salted.as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    BASE64.encode(hmac::sign(&key, text.as_bytes()))
}

/// A token as it stands; and one whose header is the first line and whose claims are the rest,
/// signed with the right secret. Whoever is let in has a name and an end.
pub fn jwt(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let _ = read(text.clone()).map(|known| is_sound(&known));
    let (header, claims) = text.split_once('\n').unwrap_or(("", &text));
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", BASE64.encode(signature));
    if let Ok(known) = read(token) {
        is_sound(&known);
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"another secret");
        let forged = hmac::sign(&other, signed.as_bytes());
        let forged = format!("{signed}.{}", BASE64.encode(forged));
        assert!(matches!(read(forged), Err(Denied::BadToken(_))));
    }
}

fn read(text: String) -> Result<Identity, Denied> {
    let by_cookie = false;
    RUNTIME.block_on(TOKENS.read(&Token { text, by_cookie }))
}

fn is_sound(known: &Identity) {
    assert!((1..=255).contains(&known.user.chars().count()));
    // The second may just have ended.
    assert!(known.until + 1 > since_1970().as_secs());
}
