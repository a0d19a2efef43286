//! The matching chat, a FastAPI service: rooms of 2 to 16 people from two groups, who may be blind to
//! each other. PostgreSQL holds everything; Redis is shared with its Python processes, beside which it
//! is served. STATUS.md has what is done otherwise.
//!
//! | | |
//! |---|---|
//! | [`routes`], [`rest`] | the operations; what each does |
//! | [`talk`] | one socket |
//! | [`core`], [`sockets`] | the use cases; the open sockets |
//! | [`peers`] | what is shared in Redis |
//! | [`shown`] | forms of rooms and messages |
//! | [`database`], [`tables`] | statements, tables |

pub mod core;
pub mod database;
pub mod peers;
pub mod rest;
pub mod routes;
pub mod shown;
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
use uuid::Uuid;

use self::{
    core::{Core, TokenReader},
    database::MatchingDatabase,
    peers::{CHANNELS, Peers},
    rest::{Rules, perform, place},
    routes::{API_V1, HIDDEN, ROUTES, ROUTES_V1},
    shown::Forms,
    talk::MemberTalk,
};
use super::{System, SystemError};
use crate::{
    accounts::handshake::SocketToken,
    app::App,
    config::{MatchingErrors, MatchingPrefix},
    fastapi::{cors::CorsRules, door::Door, error::HttpError, reply},
    http::{Response, extract, ops::Probe, serve::Answered},
    layer::{
        LayerError,
        redis::{
            side::{address, listen},
            single::SingleHost,
        },
    },
    limits::{SocketSeat, Throttled},
    metrics::SecurityEvent,
    python::urls::decode_path,
    store::StoreError,
    telemetry::{request::Trail, security::RefusedRequest},
    ws::{plain, refusal},
};

/// Paths of sockets: that of the text, and that of its drawing.
const SOCKETS: [&str; 2] = ["/ws/matching/chats/", "/matching/chats/"];

/// The matching chat, started.
pub struct Matching {
    core: Arc<Core>,
    rules: Arc<Rules>,
    door: Door,
    prefixes: Vec<MatchingPrefix>,
    errors: MatchingErrors,
    /// Frames that may wait for a client.
    queue: usize,
    /// Longest message of a client, in bytes.
    message_max: usize,
}

/// Opens what the chat needs, and starts it.
///
/// # Errors
/// When a setting is missing, or the database cannot be reached or used. A Redis that is away is no
/// error.
pub async fn start(app: &Arc<App>) -> Result<Box<dyn System>, SystemError> {
    let (config, settings) = (&app.config, &app.config.matching);
    let missing = |text: &'static str| SystemError::Unusable(text.into());
    let url = config.matching_database();
    let url = url.ok_or_else(|| missing("matching.database_url has to name a PostgreSQL"))?;
    let key = config.matching_key();
    let key = key.ok_or_else(|| missing("matching.secret_key needs 16 bytes at least"))?;
    let service = config.matching_service().map_err(missing)?.cloned();
    let unusable = |error: LayerError| SystemError::Unusable(Box::new(error));
    let redis = address(&settings.redis, &config.layer).map_err(unusable)?;
    let metrics = Arc::clone(&app.metrics);
    let database = MatchingDatabase::open(url, settings.pool_size, metrics).await;
    let database = database.map_err(|error| match error {
        StoreError::Unavailable(_) => SystemError::Unavailable(Box::new(error)),
        error => SystemError::Unusable(Box::new(error)),
    })?;
    let (peers, waiting) = Peers::new(SingleHost::new(redis.clone()), settings.streams);
    let forms = (Forms::from(settings), settings.messages_per_minute);
    let core = Core::start(database, TokenReader::new(key), peers, forms, &app.vital);
    let (heard, listening) = listen(redis, "matching", vec![CHANNELS.to_owned()]);
    app.vital.spawn("matching subscription", listening);
    let recheck = Duration::from_secs(config.auth.recheck_s);
    let indexed = Arc::clone(&core);
    tokio::spawn(async move { indexed.database.add_indexes().await });
    let (hearing, sending, looking) = (Arc::clone(&core), Arc::clone(&core), Arc::clone(&core));
    app.vital
        .spawn("matching peers", async move { hearing.hear(heard).await });
    app.vital.spawn("matching outgoing", async move {
        sending.send_to_peers(waiting).await;
    });
    app.vital.spawn("matching rooms", async move {
        looking.look_after(recheck).await;
    });
    Ok(Box::new(Matching {
        core,
        rules: Arc::new(Rules {
            generation: settings.fastapi,
            order: settings.order,
            hides_rooms: settings.hide_rooms,
            service,
        }),
        door: Door {
            generation: settings.fastapi,
            cors: Some(CorsRules {
                origins: settings.allowed_origins.clone(),
                generation: settings.fastapi,
            }),
            is_secure: app.tls.is_some(),
        },
        prefixes: settings.prefixes.clone(),
        errors: settings.errors,
        queue: config.ws.queue_messages,
        message_max: config.ws.max_message_bytes,
    }))
}

impl Matching {
    fn has(&self, prefix: MatchingPrefix) -> bool {
        self.prefixes.contains(&prefix)
    }

    /// Returns a path without the prefix that it is below; `None` if it is served nowhere.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let v1 = path
            .strip_prefix(API_V1)
            .filter(|rest| rest.starts_with('/'));
        match v1 {
            Some(rest) if self.has(MatchingPrefix::ApiV1) => Some(rest),
            _ if self.has(MatchingPrefix::Root) => Some(path),
            _ => None,
        }
    }

    /// Returns the room of a socket's path.
    fn room(&self, path: &str) -> Option<Uuid> {
        let path = self.below(path)?;
        let id = SOCKETS
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix))?;
        Uuid::try_parse(id).ok()
    }

    /// Lets a member in, whose place among the open sockets it returns.
    async fn admit(
        &self,
        app: &App,
        request: &Request<Incoming>,
        token: Option<String>,
    ) -> Result<(Uuid, Arc<str>, SocketSeat), Box<Response>> {
        let refuse = || {
            let mut response = reply::refused_socket(self.rules.generation);
            let refused = RefusedRequest::new(SecurityEvent::Identity, "no member");
            response.extensions_mut().insert(refused);
            Box::new(response)
        };
        let room = self
            .room(&decode_path(request.uri().path()))
            .ok_or_else(refuse)?;
        let seat = plain::admit(app, request);
        let mut seat = seat.map_err(|refused| Box::new(refusal::refuse(app, &refused)))?;
        let user = token
            .and_then(|token| self.core.user(&token))
            .ok_or_else(refuse)?;
        match place(&self.core, &self.rules, room, &user).await {
            Ok(_) => {}
            Err(refused) if refused.status().is_client_error() => return Err(refuse()),
            Err(_) => return Err(Box::new(refusal::retry_later())),
        }
        let user: Arc<str> = user.into();
        seat.is_user(&user)
            .map_err(|throttled| Box::new(refusal::throttled(throttled)))?;
        Ok((room, user, seat))
    }
}

fn too_many(throttled: Throttled) -> HttpError {
    let seconds = HeaderValue::from(throttled.seconds());
    let text = "Too many requests";
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, text).with(RETRY_AFTER, seconds)
}

#[async_trait]
impl System for Matching {
    async fn answer(&self, _: &Arc<App>, root: &str, request: &extract::Request) -> Answered {
        let path = request.path.as_str();
        let is_v1 = path.starts_with(API_V1) && self.has(MatchingPrefix::ApiV1);
        let routes = match path {
            "/openapi.json" => HIDDEN,
            _ if is_v1 => ROUTES_V1,
            _ if self.has(MatchingPrefix::Root) => ROUTES,
            _ => HIDDEN,
        };
        let is_wrapped = self.errors == MatchingErrors::Wrapped;
        let call = match self.door.admit(routes, request, root) {
            Ok(call) => call,
            Err(early) => {
                let (label, response) = *early;
                return (label.unwrap_or("matching"), response);
            }
        };
        let done = perform(&self.core, &self.rules, &call).await;
        let is_refused = done.as_ref().is_err_and(HttpError::is_unauthorized);
        let done = done.or_else(|error| {
            if is_wrapped && !error.is_internal() {
                Ok(error.wrapped())
            } else {
                Err(error)
            }
        });
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
        let SocketToken { token, agreed } = SocketToken::of(&request);
        let (room, user, seat) = match self.admit(app, &request, token).await {
            Ok(admitted) => admitted,
            Err(refused) => return *refused,
        };
        // Before the answer: what is sent from now on is not missed.
        let inbox = self.core.fan_out.sockets.open(room, &user, self.queue);
        let talk = MemberTalk {
            core: Arc::clone(&self.core),
            rules: Arc::clone(&self.rules),
            room,
            user: Arc::clone(&user),
            inbox,
        };
        let seat = (seat, Some(user));
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
            name: "matching",
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
