//! Identity and policy: who sends a request, and what they may do.
//!
//! - [`identity`] is where a request shows who is asking, and what comes of it,
//! - [`jwt`] reads signed tokens, with the keys of the settings or of [`jwks`],
//! - [`proof`] is what a dialect brings along to be known by,
//! - [`words`] are those that stand before a token,
//! - [`sockets`] are those that are open, whose rights [`recheck`] looks at again.
//!
//! [`Auth::admit`] is asked once for each request and each handshake; what it gives is handed down
//! as a value. With `auth.identity = none` there is nothing here to ask or to keep.

pub mod identity;
pub mod jwks;
pub mod jwt;
pub mod proof;
mod recheck;
pub mod remembered;
mod revoked;
pub mod sockets;
pub mod words;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::header::HeaderValue;

use self::{
    identity::{Credentials, Denied, Identity, Token},
    jwt::Jwt,
    proof::{OpenProof, Proof, guard},
    remembered::Found,
    sockets::{OpenSocket, OpenSockets, Registration},
    words::Words,
};
use crate::{
    chat::policy::Caller,
    config::{self, AllowedOrigin, Config, Policy, Secret},
    id::ConversationId,
    limits::{LimitedAction, Meter},
    metrics::Metrics,
    store::{self, Schema, Store, StoreError},
};

/// No socket gets as old, and a clock that is added to must not overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Identity and policy of callers, as the settings have them.
pub struct Auth {
    method: Method,
    words: Words,
    policy: Policy,
    trusted: Vec<AllowedOrigin>,
    /// True if `ws.allowed_origins` says which origins may open a socket.
    sockets_are_listed: bool,
    sockets: Arc<OpenSockets>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

enum Method {
    None,
    Jwt(Box<Jwt>),
    Proof(Box<dyn Proof>),
}

impl Method {
    fn open(
        config: &Config,
        open_proof: OpenProof,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        let settings = &config.auth;
        Ok(match settings.identity {
            config::Identity::None if settings.policy == Policy::Participants => {
                return Err(SetupError::PolicyOfNobody);
            }
            config::Identity::None => Method::None,
            config::Identity::Jwt => Method::Jwt(Box::new(Jwt::open(config, metrics)?)),
            config::Identity::DjangoSession | config::Identity::DjangoToken => {
                let proof = open_proof(config)?;
                Method::Proof(proof.ok_or(SetupError::NoProof(settings.identity))?)
            }
        })
    }

    /// Returns the label in the metrics: the word of the settings. `None` if callers need no
    /// identity.
    fn label(&self) -> Option<&'static str> {
        match self {
            Method::None => None,
            Method::Jwt(_) => Some("jwt"),
            Method::Proof(proof) => Some(proof.label()),
        }
    }
}

/// Checks whether callers could be known with these settings: they make sense, and the key set and
/// the tables of users that they point to are there. No database is made for it.
///
/// # Errors
/// Why not.
pub async fn check(
    config: &Config,
    schema: &Schema,
    open_proof: OpenProof,
) -> Result<(), SetupError> {
    let metrics = Arc::new(Metrics::new());
    match Method::open(config, open_proof, &metrics)? {
        Method::None => Ok(()),
        Method::Jwt(jwt) => jwt.check().await,
        Method::Proof(proof) => {
            if let Some(file) = config.store.url.sqlite_file().filter(|file| !file.exists()) {
                let why = format!("{}: there is no such file yet", file.display());
                return Err(StoreError::Unavailable(why).into());
            }
            let store = store::open(config, schema, metrics).await?;
            let found = proof.check(&*store).await;
            store.close().await;
            Ok(found?)
        }
    }
}

/// Rights of one request or socket, and their end.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    pub caller: Caller,
    /// User of the caller, if known, under any policy.
    pub user: Option<Arc<str>>,
    /// When its token or session runs out.
    pub until: Option<Instant>,
    /// The cookie of its session, or the token of a row, of a socket that is known by one.
    pub session: Option<Secret>,
    /// The `jti` of its token, where tokens may be taken back.
    pub token_id: Option<Arc<str>>,
    /// Known by a cookie: see [`Auth::guard`].
    pub by_cookie: bool,
}

/// Settings of identity and policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("auth.policy = participants needs an auth.identity: jwt or django_session")]
    PolicyOfNobody,
    #[error(
        "auth.identity = jwt needs exactly one of auth.jwt.secret, auth.jwt.public_key_file and \
         auth.jwt.jwks_url"
    )]
    NotOneKey,
    #[error(
        "auth.identity = jwt needs auth.jwt.algorithms: those that your tokens are signed with"
    )]
    NoAlgorithms,
    #[error(
        "auth.jwt.algorithms: {0} does not go with the key: HS256 to HS512 go with a secret and \
         nothing else does, the others with a public key of their kind"
    )]
    OddAlgorithm(String),
    #[error(
        "auth.jwt.secret has {have} bytes, and {algorithm} needs {least} at least (RFC 7518): set a \
         longer one wherever the tokens are signed, as `openssl rand -base64 64` makes them"
    )]
    ShortSecret {
        have: usize,
        algorithm: String,
        least: usize,
    },
    #[error("auth.jwt.public_key_file {0}: {1}")]
    Key(String, String),
    #[error("auth.jwt.jwks_ca {0}: {1}")]
    Authority(String, String),
    #[error("auth.jwt.jwks_url {0}")]
    Jwks(String),
    #[error("auth.jwt.revoked_prefix: {0}")]
    Revoked(String),
    #[error("auth.identity = {0}: no dialect that is mounted has it")]
    NoProof(config::Identity),
    #[error("auth.identity = django_session needs django.secret_key: Django's own")]
    NoSecretKey,
    #[error("auth.django_session: {0}")]
    Sessions(#[from] StoreError),
}

impl Auth {
    /// # Errors
    /// When the settings contradict each other, or a key cannot be read.
    pub fn open(
        config: &Config,
        open_proof: OpenProof,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        Ok(Auth {
            method: Method::open(config, open_proof, &metrics)?,
            words: Words::of(&config.auth),
            policy: config.auth.policy,
            trusted: config.django.csrf_trusted_origins.clone(),
            sockets_are_listed: !config.ws.allowed_origins.is_empty(),
            sockets: Arc::default(),
            store,
            metrics,
        })
    }

    /// Returns the rights of a REST request.
    ///
    /// # Errors
    /// [`Denied`] to a caller who must be known and is not.
    pub async fn admit(&self, asked: &Credentials<'_>, meter: &Meter) -> Result<Admission, Denied> {
        let known = self.identify(asked, meter).await;
        self.admitted(known.map(|known| self.admission(known)))
    }

    /// Guards a caller known by a cookie against the pages of others, in a request that would
    /// change something. `form_token` is what a posted form has for Django's token.
    ///
    /// # Errors
    /// [`Denied::Forged`].
    pub fn guard(&self, asked: &Credentials<'_>, form_token: Option<&str>) -> Result<(), Denied> {
        let foreign = asked.foreign_origin(&self.trusted);
        let outcome = match self.proof() {
            Some(proof) => proof.guard(asked, foreign.as_deref(), form_token),
            None => guard(asked, foreign.as_deref()),
        };
        self.counted(outcome.map_err(Denied::Forged))
    }

    /// Returns the rights of a socket. A page of another host may not open one with a cookie that
    /// it cannot read, unless its origin is listed.
    ///
    /// # Errors
    /// As [`Auth::admit`].
    pub async fn admit_socket(
        &self,
        asked: &Credentials<'_>,
        meter: &Meter,
    ) -> Result<Admission, Denied> {
        let outcome = self.identify(asked, meter).await.and_then(|known| {
            let is_by_cookie = known.as_ref().is_some_and(|known| known.by_cookie);
            if is_by_cookie && !self.sockets_are_listed {
                let own = [AllowedOrigin::Same];
                let trusted = [&self.trusted[..], &own].concat();
                if asked.foreign_origin(&trusted).is_some() {
                    return Err(Denied::Forged("the page of another host".into()));
                }
            }
            let session = self.proof().and_then(|it| it.shown(asked, &self.words));
            Ok(Admission {
                session: session.map(Secret::from),
                ..self.admission(known)
            })
        });
        self.admitted(outcome)
    }

    /// Notes that a socket which was admitted is about to open: its rights may end before it does.
    #[must_use]
    pub fn register(
        &self,
        conversation_id: Option<ConversationId>,
        admission: &Admission,
    ) -> Registration {
        self.sockets.register(conversation_id, admission)
    }

    /// Notes that a socket is about to be in one more conversation: its rights to it may end before
    /// it is.
    #[must_use]
    pub fn register_part(
        &self,
        conversation_id: ConversationId,
        socket: &OpenSocket,
    ) -> Registration {
        self.sockets.register_part(conversation_id, socket)
    }

    /// Returns whether callers are known by tokens, so that an open socket may be given a fresh
    /// one.
    #[must_use]
    pub fn renews(&self) -> bool {
        matches!(self.method, Method::Jwt(_))
    }

    /// When a socket is to end, now that a fresh token was shown.
    ///
    /// # Errors
    /// [`Denied`] for a token that is not good, or is somebody else's.
    pub async fn renew(&self, socket: &OpenSocket, token: &Secret) -> Result<Instant, Denied> {
        let Method::Jwt(jwt) = &self.method else {
            return Err(Denied::NoToken);
        };
        let token = Token {
            text: token.expose().to_owned(),
            by_cookie: false,
        };
        let known = jwt.read(&token).await;
        self.counted(known.and_then(|known| {
            if socket.user.as_ref() != Some(&known.user) {
                return Err(Denied::BadToken("it is somebody else's".into()));
            }
            let until = end_of(&known);
            socket.shows(known.token_id);
            Ok(until)
        }))
    }

    /// Returns the subprotocol to agree on: that which says where a token is, if tokens are read at
    /// all.
    #[must_use]
    pub fn protocol(&self, asked: &Credentials<'_>) -> Option<String> {
        let reads = self.renews() || self.proof().is_some_and(Proof::is_in_protocol);
        let offered = reads.then(|| self.words.in_protocol(asked)).flatten();
        offered.map(|offered| offered.agreed)
    }

    /// The `WWW-Authenticate` header for who is denied, if a token would help.
    #[must_use]
    pub fn challenge(&self, denied: &Denied) -> Option<HeaderValue> {
        self.words.challenge(denied)
    }

    /// Forgets what is remembered of a user's sessions or tokens.
    fn forget(&self, user: &str) {
        if let Some(proof) = self.proof() {
            proof.forget(user);
        }
    }

    /// Returns the proof of a dialect that callers are known by.
    #[must_use]
    pub fn proof(&self) -> Option<&dyn Proof> {
        match &self.method {
            Method::Proof(proof) => Some(&**proof),
            Method::None | Method::Jwt(_) => None,
        }
    }

    fn tokens(&self) -> Option<&Jwt> {
        match &self.method {
            Method::Jwt(jwt) => Some(jwt),
            Method::None | Method::Proof(_) => None,
        }
    }

    /// Returns the identity of the caller; `None` if callers need none.
    async fn identify(
        &self,
        asked: &Credentials<'_>,
        meter: &Meter,
    ) -> Result<Option<Identity>, Denied> {
        match &self.method {
            Method::None => Ok(None),
            Method::Jwt(jwt) => {
                let token = jwt.token(asked, &self.words).ok_or(Denied::NoToken)?;
                let known = jwt.read(&token).await;
                if let Err(Denied::BadToken(_) | Denied::ExpiredToken) = known {
                    meter
                        .allow(LimitedAction::Denied)
                        .map_err(Denied::Limited)?;
                }
                known.map(Some)
            }
            Method::Proof(proof) => {
                let shown = proof.shown(asked, &self.words);
                let shown = shown.ok_or_else(|| proof.denied(None))?;
                match proof.find(&*self.store, &shown, meter).await? {
                    Found::Known(known) => Ok(Some(known)),
                    found => Err(proof.denied(Some(&found))),
                }
            }
        }
    }

    fn admission(&self, known: Option<Identity>) -> Admission {
        let by_cookie = known.as_ref().is_some_and(|known| known.by_cookie);
        let until = known.as_ref().map(end_of);
        let token_id = known.as_ref().and_then(|known| known.token_id.clone());
        let user = known.map(|known| known.user);
        let caller = match (self.policy, &user) {
            (Policy::Participants, Some(user)) => Caller::Only(Arc::clone(user)),
            _ => Caller::Anybody,
        };
        Admission {
            caller,
            user,
            until,
            session: None,
            token_id,
            by_cookie,
        }
    }

    fn admitted(&self, outcome: Result<Admission, Denied>) -> Result<Admission, Denied> {
        if outcome.is_ok()
            && let Some(identity) = self.method.label()
        {
            self.metrics.auth_admitted(identity);
        }
        self.counted(outcome)
    }

    fn counted<T>(&self, outcome: Result<T, Denied>) -> Result<T, Denied> {
        if let Err(denied) = &outcome {
            self.metrics.auth_denied(denied.label());
            match denied {
                Denied::Unavailable(_) => tracing::error!("{denied}"),
                denied => tracing::debug!("{denied}"),
            }
        }
        outcome
    }
}

/// When a socket of somebody who is known must end.
fn end_of(known: &Identity) -> Instant {
    Instant::now() + known.remaining().min(LONGEST)
}
