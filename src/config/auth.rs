//! `[auth]`: who is asking, and what they may do.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use serde::Deserialize;

use super::TableName;
use super::declare::{choice, settings};
use super::secret::Secret;

settings! {
    /// Who is asking, and what they may do.
    pub struct Auth in "auth" {
        /// How a caller is known. `none`: the ids a caller gives are believed, as in the original.
        /// `jwt`: by a signed token, see `auth.jwt`. `django_session`: by the cookie of somebody
        /// logged in to Django, see `auth.django_session`. `django_token`: by a token of REST
        /// framework's `authtoken`, see `auth.django_token`. With any of these a caller who is not
        /// known is served nothing of the chat.
        identity: Identity = "none",
        /// What a caller may do. `open`: everything, as in the original. `participants`: only the
        /// two participants of a conversation may see it, join it, and send, mark and type in it,
        /// each as nobody but themselves; it needs an `auth.identity`.
        policy: Policy = "open",
        /// Must be true to listen on an address other machines can reach while `auth.identity` is
        /// `none`: everybody who reaches it can read and write as anybody.
        allow_anonymous: bool = false,
        /// Seconds after which the rights of open sockets are looked at again: the session, and
        /// with `auth.policy = participants` the conversation, which must be active, and its
        /// participants. A socket that would not be opened now is closed, with 4401 without a
        /// session and 1008 otherwise. 0: not at all.
        recheck_s: u64 = 60 in 0..=86_400,
        /// How a socket of somebody who is not known is refused. `status`: the handshake gets a 401
        /// or 403. `close`: the socket is opened and closed with 4401 at once, which scripts in a
        /// browser can tell from a network failure.
        socket_refusal: SocketRefusal = "status",
        /// Words that may stand before a token in the `Authorization` header, in any case; a 401
        /// asks for the first. simplejwt's `AUTH_HEADER_TYPES`. None is `Bearer` with `jwt`, and
        /// `Token` with `django_token`.
        token_words: Vec<HeaderWord> = [],
        /// Subprotocols of a handshake that say that the next one is a token, as in
        /// `Sec-WebSocket-Protocol: access_token, TOKEN`. The answer agrees on this one.
        token_protocols: Vec<HeaderWord> = ["access_token"],
        /// A subprotocol that is the only one is a token, `Sec-WebSocket-Protocol: TOKEN`, and the
        /// answer repeats it.
        token_is_protocol: bool = false,
    }
    with { jwt: Jwt, django_session: DjangoSession, django_token: DjangoToken }
}

choice! {
    /// How a caller is known.
    pub enum Identity {
        None = "none",
        DjangoSession = "django_session",
        DjangoToken = "django_token",
        Jwt = "jwt",
    }
}

choice! {
    /// What a caller may do.
    pub enum Policy {
        Open = "open",
        Participants = "participants",
    }
}

choice! {
    /// How somebody who is not known learns that there is no socket.
    pub enum SocketRefusal {
        Status = "status",
        Close = "close",
    }
}

settings! {
    /// The tokens of `auth.identity = jwt`. One of `secret`, `public_key_file` and `jwks_url` says
    /// which signatures are good. A token is taken from `Authorization: Bearer`, from
    /// `Sec-WebSocket-Protocol: access_token, TOKEN` (other words are `auth.token_words` and
    /// `auth.token_protocols`), from the query and from a cookie; the first of these that there is
    /// counts.
    pub struct Jwt in "auth.jwt" {
        /// The shared secret of HS256, HS384 or HS512; of Django simplejwt its `SIGNING_KEY`. It
        /// has as many bytes as the hash at least: 32, 48 or 64.
        secret: Option<Secret> = "",
        /// PEM file with the public key (SPKI) of RSA, ECDSA or Ed25519.
        public_key_file: Option<PathBuf> = "",
        /// Where the public keys are: a JSON Web Key Set by `http` or `https`. The token's `kid`
        /// chooses the key. Redirections, and addresses in tokens (`jku`, `x5u`), are not followed.
        jwks_url: Option<JwksUrl> = "",
        /// PEM file of the authorities that an `https` key set is believed by; without one the
        /// system's.
        jwks_ca: Option<PathBuf> = "",
        /// Seconds after which the key set is asked for again, and least time between two attempts:
        /// a new key is known, and a withdrawn one refused, after at most this time.
        jwks_refetch_s: u64 = 60 in 1..=86_400,
        /// Seconds that a key set is used for after it was fetched, if it cannot be fetched again.
        jwks_stale_s: u64 = 3600 in 1..=604_800,
        /// Algorithms that are accepted, whatever a token says: `HS256`, `HS384`, `HS512`, `RS256`,
        /// `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`. Must be given.
        algorithms: Vec<Algorithm> = [],
        /// What `iss` must be. None: it is not looked at.
        issuer: Option<String> = "",
        /// What `aud` must be or contain. None: tokens that name an audience are refused, as they
        /// are meant for others.
        audience: Option<String> = "",
        /// The claim that holds the user's id, a text or a whole number: `user_id` for Django
        /// simplejwt.
        user_claim: String = "sub",
        /// Seconds that a token is good for at most after it was issued (`iat`), whatever its `exp`
        /// says. One without an `iat` is refused if it has longer to go. 0: as long as it says.
        max_life_s: u64 = 0 in 0..=315_360_000,
        /// Tokens are taken back by a key in the first Redis of `layer.hosts` that is called this
        /// and the token's `jti`, as `revoked:` and `3f2a…`; its value does not matter. It is
        /// looked for with each token that is shown, and for open sockets every `auth.recheck_s`.
        /// Without an answer of Redis nobody is let in, and tokens without a `jti` are refused.
        /// None: tokens cannot be taken back.
        revoked_prefix: Option<String> = "",
        /// Seconds that the clock of the issuer may differ from ours.
        leeway_s: u64 = 30 in 0..=3600,
        /// The query parameter that may hold the token. None: tokens are not taken from the query,
        /// which proxies and browsers write into logs and histories.
        query: Option<String> = "token",
        /// The cookie that may hold the token. Requests that change something, and sockets, must
        /// then come from the host itself or from `django.csrf_trusted_origins`.
        cookie: Option<String> = "",
    }
}

choice! {
    /// A signature algorithm of RFC 7518 or RFC 8037.
    pub enum Algorithm {
        Hs256 = "HS256",
        Hs384 = "HS384",
        Hs512 = "HS512",
        Rs256 = "RS256",
        Rs384 = "RS384",
        Rs512 = "RS512",
        Ps256 = "PS256",
        Ps384 = "PS384",
        Ps512 = "PS512",
        Es256 = "ES256",
        Es384 = "ES384",
        EdDsa = "EdDSA",
    }
}

settings! {
    /// The sessions of `auth.identity = django_session`, which needs `django.secret_key`.
    pub struct DjangoSession in "auth.django_session" {
        /// `database` for Django's `backends.db` and `backends.cached_db`, `signed_cookies` for
        /// `backends.signed_cookies`. Sessions that are only in a cache cannot be read.
        engine: SessionEngine = "database",
        /// Django's `SESSION_COOKIE_NAME`.
        cookie: String = "sessionid",
        /// Django's `SESSION_COOKIE_AGE`: seconds that a signed cookie is good for.
        cookie_age_s: u64 = 1209600 in 1..=315_360_000,
        /// Django's `LOGIN_URL`, a path or an address: the chat page leads there to sign in, with its own
        /// address as `next`. None: it says only that one must.
        login_url: Option<LoginUrl> = "",
        /// The table of the users: `db_table` of `AUTH_USER_MODEL`.
        users_table: TableName = "auth_user",
        /// The column of the primary key, which sessions name their user by.
        id_column: TableName = "id",
        /// The column of the password's hash. Whoever changes the password ends the session.
        password_column: TableName = "password",
        /// The column that says whether a user may log in. None: all may.
        active_column: Option<TableName> = "is_active",
        /// The column that holds the user's id in the chat.
        user_column: TableName = "id",
        /// Seconds that a session is believed without asking the database again. 0: not at all.
        cache_s: u64 = 10 in 0..=3600,
        /// Sessions that are remembered at once.
        cache_size: usize = 10000 in 1..=1_000_000,
    }
}

/// Address of the page that signs people in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LoginUrl(String);

impl LoginUrl {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LoginUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let is_path = url.starts_with('/') && !url.starts_with("//");
        let is_address = url.starts_with("https://") || url.starts_with("http://");
        let is_plain = url
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"#\\\"<>".contains(&b));
        if (is_path || is_address) && is_plain {
            Ok(Self(url))
        } else {
            Err("a path that starts with `/`, or an address that starts with `https://`")
        }
    }
}

impl fmt::Display for LoginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

choice! {
    /// Where Django keeps its sessions.
    pub enum SessionEngine {
        Database = "database",
        SignedCookies = "signed_cookies",
    }
}

settings! {
    /// The tokens of `auth.identity = django_token`: keys of `rest_framework.authtoken`, compared
    /// byte by byte. They are taken from `Authorization: Token` and from the subprotocol, and are
    /// good until their row is deleted or their user is no longer active. Table and columns of the
    /// users are those of `auth.django_session`, which has `cache_s` and `cache_size` too.
    pub struct DjangoToken in "auth.django_token" {
        /// The table of the tokens, with the columns `key` and `user_id`.
        table: TableName = "authtoken_token",
        /// The query parameter that may hold the token. None: tokens are not taken from the query,
        /// which proxies and browsers write into logs and histories.
        query: Option<String> = "",
    }
}

/// A word in a header: an RFC 9110 token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HeaderWord(String);

impl TryFrom<String> for HeaderWord {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !text.is_empty() && text.bytes().all(is_part) {
            Ok(Self(text))
        } else {
            Err("words as `Bearer`, without spaces and separators")
        }
    }
}

impl fmt::Display for HeaderWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct JwksUrl(Uri);

impl JwksUrl {
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl TryFrom<String> for JwksUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str =
            "an address as `https://login.example/jwks.json`, without a password";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri
            .authority()
            .is_some_and(|at| !at.host().is_empty() && !at.as_str().contains('@'));
        if is_http && has_host {
            Ok(Self(uri))
        } else {
            Err(EXPECTED)
        }
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::JwksUrl;

    #[test]
    fn a_key_set_is_fetched_by_http_without_a_password() {
        let url = |text: &str| JwksUrl::try_from(text.to_owned()).map(|url| url.to_string());
        for text in [
            "https://login.example/jwks.json?v=1",
            "http://127.0.0.1:8080/keys",
        ] {
            assert_eq!(url(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "login.example/jwks.json",
            "file:///etc/passwd",
            "https:///keys",
            "https://u:p@login.example/",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
