//! Naebak, a Flask service of messages between two people over Socket.IO 5 and Engine.IO 4. Redis
//! holds everything, and is shared with its Python processes. STATUS.md has what is done otherwise.
//!
//! | | |
//! |---|---|
//! | [`packet`] | packets of both protocols |
//! | [`engine`], [`session`], [`talk`] | sessions and polling; one session; its WebSocket |
//! | [`chat`] | rooms, events, and what is in Redis |
//! | [`identity`] | as whom a client connects |
//! | [`pages`] | answers of Flask |

pub mod chat;
pub mod engine;
pub mod identity;
pub mod packet;
pub mod pages;
pub mod session;
pub mod talk;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};

use self::{
    chat::{CHANNEL, Chat},
    engine::{Asked, Engine, NOT_ACCEPTED, poll, post, preflight, refuse, share},
    identity::Identity,
    session::{Session, Transport},
    talk::SessionTalk,
};
use super::{System, SystemError};
use crate::{
    app::App,
    config::CorsOrigin,
    http::{Body, Response, extract, ops::Probe, serve::Answered},
    hub::queue::QueueLimits,
    layer::{
        LayerError,
        redis::{
            side::{address, listen},
            single::SingleHost,
        },
    },
    limits::{SocketSeat, Throttled},
    python::urls::decode_path,
    random,
    telemetry::request::Trail,
    ws::{plain, refusal},
};

/// Between two pings of the server, and the time for their answer: python-engineio's own.
pub const INTERVAL: Duration = Duration::from_secs(25);
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Most bytes of a payload of polling, and of a message on a WebSocket: python-engineio's own.
pub const PAYLOAD_MAX: usize = 1_000_000;

/// Prefix of the paths of Socket.IO.
const SOCKETS: &str = "/socket.io/";

const UNSUPPORTED: &str =
    "The client is using an unsupported version of the Socket.IO or Engine.IO protocols";

/// Naebak, started.
pub struct Naebak {
    engine: Arc<Engine>,
    origins: Vec<CorsOrigin>,
}

/// Opens what the chat needs, and starts it.
///
/// # Errors
/// When a setting is missing or wrong. A Redis that is away is no error.
#[allow(clippy::unused_async, reason = "as every system is started")]
pub async fn start(app: &Arc<App>) -> Result<Box<dyn System>, SystemError> {
    let (config, settings) = (&app.config, &app.config.naebak);
    let identity = if settings.trust_user_id {
        Identity::Trusted
    } else {
        let missing = "naebak.secret_key needs 16 bytes at least, to know users by their tokens; \
                       or naebak.trust_user_id = true, behind a gateway that knows them";
        let key = config.naebak_key();
        Identity::of_tokens(key.ok_or_else(|| SystemError::Unusable(missing.into()))?)
    };
    let unusable = |error: LayerError| SystemError::Unusable(Box::new(error));
    let redis = address(&settings.redis, &config.layer).map_err(unusable)?;
    let name = random::name().map_err(|error| SystemError::Unusable(Box::new(error)))?;
    let (chat, outgoing) = Chat::new(SingleHost::new(redis.clone()), name);
    let limits = QueueLimits {
        frames: config.ws.queue_messages,
        bytes: config.ws.queue_bytes,
    };
    let origins = settings.allowed_origins.clone();
    let most = config.server.max_connections;
    let engine = Arc::new(Engine::new(chat, identity, origins.clone(), limits, most));
    let (heard, listening) = listen(redis, "naebak", vec![CHANNEL.to_owned()]);
    app.vital.spawn("naebak subscription", listening);
    let hearing = Arc::clone(&engine);
    app.vital.spawn("naebak peers", async move {
        hearing.chat.hear(heard).await;
    });
    let publishing = Arc::clone(&engine);
    app.vital.spawn("naebak outgoing", async move {
        publishing.chat.publish(outgoing).await;
    });
    let clock = Arc::clone(&engine);
    app.vital.spawn(
        "naebak clock",
        async move { match clock.keep_time().await {} },
    );
    Ok(Box::new(Naebak { engine, origins }))
}

impl Naebak {
    /// Answers a request of Socket.IO that is no WebSocket's.
    async fn polled(&self, app: &Arc<App>, request: &extract::Request) -> Response {
        let asked = Asked::of(request.query.as_deref(), bearer(&request.headers));
        if request.sent_method != "OPTIONS"
            && let Some(refused) = early(&asked)
        {
            return refused;
        }
        if !self.engine.lets_in(&request.headers) {
            return refuse(NOT_ACCEPTED);
        }
        let mut response = match request.sent_method.as_str() {
            "OPTIONS" => preflight(),
            "GET" if let Some(refused) = not_upgraded(&asked, false) => refused,
            "GET" => self.get(app, request, &asked).await,
            "POST" => match self.session(&asked) {
                Ok(session) => post(&self.engine, &session, &request.body).await,
                Err(refused) => *refused,
            },
            _ => refuse("Method Not Found"),
        };
        share(&request.headers, &mut response);
        response
    }

    async fn get(&self, app: &Arc<App>, request: &extract::Request, asked: &Asked) -> Response {
        if asked.sid.is_some() {
            return match self.session(asked) {
                Ok(session) => poll(app, &self.engine, &session).await,
                Err(refused) => *refused,
            };
        }
        if app.drain.has_begun() {
            return unavailable();
        }
        let seat = match request.meter.open_socket() {
            Ok(seat) => seat,
            Err(refused) => return throttled(refused),
        };
        let opened = self
            .engine
            .open(asked.claim.clone(), seat, Transport::Polling);
        match opened {
            Ok(session) => poll(app, &self.engine, &session).await,
            Err(error) => {
                tracing::warn!(%error, "a session is not opened");
                unavailable()
            }
        }
    }

    fn session(&self, asked: &Asked) -> Result<Arc<Session>, Box<Response>> {
        let sid = asked.sid.as_deref().unwrap_or("None");
        let session = self.engine.find(sid);
        session.ok_or_else(|| Box::new(refuse(&format!("Invalid session {sid}"))))
    }

    /// Returns the session for a WebSocket, and the place of the client among open sockets.
    fn opened(
        &self,
        app: &App,
        request: &Request<Incoming>,
    ) -> Result<(Arc<Session>, SocketSeat), Box<Response>> {
        let asked = Asked::of(request.uri().query(), bearer(request.headers()));
        if let Some(refused) = early(&asked).or_else(|| not_upgraded(&asked, true)) {
            return Err(Box::new(refused));
        }
        if !self.engine.lets_in(request.headers()) {
            return Err(Box::new(refuse(NOT_ACCEPTED)));
        }
        let seat = plain::admit(app, request);
        let seat = seat.map_err(|refused| Box::new(refusal::refuse(app, &refused)))?;
        if asked.sid.is_some() {
            // The session has a place already.
            drop(seat);
            return Ok((self.session(&asked)?, SocketSeat::default()));
        }
        let opened = self.engine.open(asked.claim, seat, Transport::WebSocket);
        let session = opened.map_err(|error| {
            tracing::warn!(%error, "a session is not opened");
            Box::new(unavailable())
        })?;
        Ok((session, SocketSeat::default()))
    }
}

/// Returns the refusal of a request of another transport or version, which comes before all else and
/// which no page may read.
fn early(asked: &Asked) -> Option<Response> {
    let transport = asked.transport.as_deref().unwrap_or("polling");
    if !["polling", "websocket"].contains(&transport) {
        return Some(refuse("Invalid transport"));
    }
    let is_known = asked.version.as_deref() == Some("4");
    (asked.sid.is_none() && !is_known).then(|| refuse(UNSUPPORTED))
}

/// Returns the refusal of a request for a WebSocket that asks for no upgrade, or the other way round.
fn not_upgraded(asked: &Asked, is_upgrade: bool) -> Option<Response> {
    let wants = asked.transport.as_deref() == Some("websocket");
    (wants != is_upgrade).then(|| refuse("Invalid websocket upgrade"))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| token.trim().to_owned())
}

fn unavailable() -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn throttled(throttled: Throttled) -> Response {
    let mut response = Response::new(Body::new("\"Too Many Requests\"".into()));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(RETRY_AFTER, HeaderValue::from(throttled.seconds()));
    response
}

#[async_trait]
impl System for Naebak {
    async fn answer(&self, app: &Arc<App>, _: &str, request: &extract::Request) -> Answered {
        if request.path.starts_with(SOCKETS) {
            return ("naebak_polling", self.polled(app, request).await);
        }
        let redis = match request.path.as_str() {
            pages::HEALTH => match self.engine.chat.ping().await {
                Ok(()) => "connected".to_owned(),
                Err(error) => format!("error: {error}"),
            },
            _ => String::new(),
        };
        let (method, headers) = (&request.sent_method, &request.headers);
        let response = pages::answer(method, &request.path, &redis, headers, &self.origins);
        ("naebak", response)
    }

    async fn open(
        &self,
        app: &Arc<App>,
        mut request: Request<Incoming>,
        trail: &Trail,
    ) -> Response {
        let path = decode_path(request.uri().path());
        if !path.starts_with(SOCKETS) {
            let (method, headers) = (request.method().as_str(), request.headers());
            return pages::answer(method, &path, "", headers, &self.origins);
        }
        let (session, seat) = match self.opened(app, &request) {
            Ok(opened) => opened,
            Err(refused) => return *refused,
        };
        let talk = SessionTalk {
            engine: Arc::clone(&self.engine),
            session,
        };
        plain::accept(
            app,
            &mut request,
            None,
            (seat, None),
            PAYLOAD_MAX,
            trail,
            talk,
        )
    }

    fn throttled(&self, refused: Throttled) -> Response {
        throttled(refused)
    }

    fn probes(&self) -> Vec<Probe> {
        let engine = Arc::clone(&self.engine);
        vec![Probe {
            name: "naebak",
            is_needed: true,
            ping: Box::new(move || {
                let engine = Arc::clone(&engine);
                Box::pin(async move {
                    let answered = engine.chat.ping().await;
                    answered.map_err(|error| error.to_string())
                })
            }),
        }]
    }

    async fn leave(&self) -> bool {
        // Every message was confirmed by Redis before its sender was answered.
        true
    }
}
