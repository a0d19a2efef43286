//! Messenger Core, a FastAPI service: users with tokens, private chats, messages with offline
//! delivery over one socket for each user. PostgreSQL holds everything; Redis is shared with its
//! Python processes, beside which it is served. STATUS.md has what is done otherwise.
//!
//! | | |
//! |---|---|
//! | [`routes`], [`rest`] | the operations; what each does |
//! | [`talk`], [`frames`] | one socket; what is said on it |
//! | [`core`], [`sockets`] | the use cases; the open sockets |
//! | [`peers`] | what is shared in Redis |
//! | [`database`], [`tables`], [`records`] | statements, tables, rows and their forms |

pub mod core;
pub mod database;
pub mod frames;
pub mod peers;
pub mod records;
pub mod rest;
pub mod routes;
pub mod sockets;
pub mod tables;
pub mod talk;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
};

use self::{
    core::Core,
    database::MessengerDatabase,
    peers::{EDITS, LIVE, Peers},
    rest::{Shown, caller, perform},
    routes::{HIDDEN, ROUTES},
    talk::{Refused, UserTalk},
};
use super::{System, SystemError};
use crate::{
    accounts::{
        handshake::SocketToken,
        refresh::RefreshTokens,
        tokens::{TokenLives, Tokens},
    },
    app::App,
    auth::identity::Credentials,
    config::Generation,
    fastapi::{cors::CorsRules, door::Door, error::HttpError, reply},
    http::{Response, extract, ops::Probe, serve::Answered},
    layer::{
        LayerError,
        redis::{
            side::{address, listen},
            single::SingleHost,
        },
    },
    limits::Throttled,
    metrics::SecurityEvent,
    random,
    store::StoreError,
    telemetry::{request::Trail, security::RefusedRequest},
    ws::{plain, refusal},
};

/// The generation of FastAPI that the original pins.
const GENERATION: Generation = Generation::V0_127;

/// Path of the sockets.
const SOCKET: &str = "/ws";

/// Seconds of a day and of a minute.
const DAY_S: u64 = 86_400;
const MINUTE_S: u64 = 60;

/// Messenger Core, started.
pub struct Messenger {
    core: Arc<Core>,
    door: Door,
    shown: Shown,
    /// Frames that may wait for a client.
    queue: usize,
    messages_in_10_s: u32,
    /// Longest message of a client, in bytes.
    message_max: usize,
}

/// Opens what the chat needs, and starts it.
///
/// # Errors
/// When a setting is missing, or the database cannot be reached or used. A Redis that is away is no
/// error.
pub async fn start(app: &Arc<App>) -> Result<Box<dyn System>, SystemError> {
    let config = &app.config;
    let settings = &config.messenger;
    let missing = |text: &'static str| SystemError::Unusable(text.into());
    let url = config.messenger_database();
    let url = url.ok_or_else(|| missing("messenger.database_url has to name a PostgreSQL"))?;
    let key = config.messenger_key();
    let key = key.ok_or_else(|| missing("messenger.secret_key needs 32 bytes at least"))?;
    let unusable = |error: LayerError| SystemError::Unusable(Box::new(error));
    let redis = address(&settings.redis, &config.layer).map_err(unusable)?;
    let metrics = Arc::clone(&app.metrics);
    let database = MessengerDatabase::open(url, settings.pool_size, metrics).await;
    let database = database.map_err(unreached)?;
    let lives = TokenLives {
        access: Duration::from_secs(settings.access_minutes * MINUTE_S),
        refresh: Duration::from_secs(settings.refresh_days * DAY_S),
    };
    let unused = RefreshTokens::in_redis(SingleHost::new(redis.clone()));
    let name = random::name().map_err(|error| SystemError::Unusable(Box::new(error)))?;
    let (peers, outgoing) = Peers::new(SingleHost::new(redis.clone()), name);
    let core = Core::start(database, Tokens::new(key, lives, unused), peers, &app.vital);
    let patterns = vec![LIVE.to_owned(), EDITS.to_owned()];
    let (heard, listening) = listen(redis, "messenger", patterns);
    app.vital.spawn("messenger subscription", listening);
    let recheck = Duration::from_secs(config.auth.recheck_s);
    let indexed = Arc::clone(&core);
    tokio::spawn(async move { indexed.database.add_indexes().await });
    spawn(app, "messenger peers", &core, |core| async move {
        core.hear(heard).await;
    });
    spawn(app, "messenger outgoing", &core, |core| async move {
        core.send_to_peers(outgoing).await;
    });
    spawn(app, "messenger users", &core, move |core| async move {
        core.look_after(recheck).await;
    });
    let origins = settings.allowed_origins.clone();
    Ok(Box::new(Messenger {
        core,
        door: Door {
            generation: GENERATION,
            cors: Some(CorsRules {
                origins,
                generation: GENERATION,
            }),
            is_secure: app.tls.is_some(),
        },
        shown: Shown {
            generation: GENERATION,
            deleted: settings.show_deleted,
        },
        queue: config.ws.queue_messages,
        messages_in_10_s: settings.messages_in_10_s,
        message_max: config.ws.max_message_bytes,
    }))
}

fn spawn<F: Future<Output = ()> + Send + 'static>(
    app: &App,
    name: &'static str,
    core: &Arc<Core>,
    task: impl FnOnce(Arc<Core>) -> F,
) {
    drop(app.vital.spawn(name, task(Arc::clone(core))));
}

fn unreached(error: StoreError) -> SystemError {
    match error {
        StoreError::Unavailable(_) => SystemError::Unavailable(Box::new(error)),
        error => SystemError::Unusable(Box::new(error)),
    }
}

/// Answers a client that has reached a limit.
fn too_many(throttled: Throttled) -> HttpError {
    let seconds = HeaderValue::from(throttled.seconds());
    let text = "Too Many Requests";
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, text).with(RETRY_AFTER, seconds)
}

#[async_trait]
impl System for Messenger {
    async fn answer(&self, _: &Arc<App>, root: &str, request: &extract::Request) -> Answered {
        let routes = if request.path == "/openapi.json" {
            HIDDEN
        } else {
            ROUTES
        };
        let call = match self.door.admit(routes, request, root) {
            Ok(call) => call,
            Err(early) => {
                let (label, response) = *early;
                return (label.unwrap_or("messenger"), response);
            }
        };
        let done = perform(&self.core, self.shown, &call).await;
        let is_refused = done.as_ref().is_err_and(HttpError::is_unauthorized);
        let mut response = self.door.answer(&request.headers, done);
        if is_refused {
            let refused = RefusedRequest::new(SecurityEvent::Identity, "token");
            response.extensions_mut().insert(refused);
        }
        (call.route.label, response)
    }

    async fn open(
        &self,
        app: &Arc<App>,
        mut request: Request<Incoming>,
        trail: &Trail,
    ) -> Response {
        if request.uri().path() != SOCKET {
            return reply::refused_socket(GENERATION);
        }
        let mut seat = match plain::admit(app, &request) {
            Ok(seat) => seat,
            Err(refused) => return refusal::refuse(app, &refused),
        };
        let SocketToken { token, agreed } = SocketToken::of(&request);
        let user = match token {
            Some(token) => caller(&self.core, &token).await,
            None => Err(HttpError::unauthorized("")),
        };
        let user = match user {
            Ok(user) => user,
            Err(refused) if refused.is_unauthorized() => {
                let seat = (seat, None);
                let max = self.message_max;
                let mut response =
                    plain::accept(app, &mut request, agreed, seat, max, trail, Refused);
                let refused = RefusedRequest::new(SecurityEvent::Identity, "token");
                response.extensions_mut().insert(refused);
                return response;
            }
            Err(_) => return refusal::retry_later(),
        };
        let known: Arc<str> = user.id.to_string().into();
        if let Err(throttled) = seat.is_user(&known) {
            return refusal::throttled(throttled);
        }
        let talk = UserTalk {
            core: Arc::clone(&self.core),
            user: user.id,
            queue: self.queue,
            acknowledges: Credentials::of(&request).parameter("ack").as_deref() == Some("1"),
            messages_in_10_s: self.messages_in_10_s,
        };
        let seat = (seat, Some(known));
        plain::accept(
            app,
            &mut request,
            agreed,
            seat,
            self.message_max,
            trail,
            talk,
        )
    }

    fn throttled(&self, throttled: Throttled) -> Response {
        too_many(throttled).response()
    }

    fn probes(&self) -> Vec<Probe> {
        let core = Arc::clone(&self.core);
        vec![Probe {
            name: "messenger",
            is_needed: true,
            ping: Box::new(move || {
                let core = Arc::clone(&core);
                Box::pin(async move {
                    let answered = core.database.ping().await;
                    answered.map_err(|error| error.to_string())
                })
            }),
        }]
    }

    async fn leave(&self) -> bool {
        self.core.close().await;
        true
    }
}
