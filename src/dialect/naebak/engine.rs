//! Engine.IO: sessions by their ids, and the requests of polling.

use std::{
    collections::HashMap,
    convert::Infallible,
    iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderValue, ORIGIN,
    },
};
use tokio::time::{interval, timeout};

use super::{
    INTERVAL, PAYLOAD_MAX, TIMEOUT,
    chat::Chat,
    identity::Identity,
    packet::{
        CLOSE, Limits, NOOP, PACKETS_MAX, Packet, Request, SEPARATOR, connected, no_namespace,
        open, rejected,
    },
    pages::allows,
    session::{Claim, Session, SessionEnd, Transport},
};
use crate::{
    app::App,
    config::CorsOrigin,
    http::{Body, Response},
    hub::queue::QueueLimits,
    limits::SocketSeat,
    metrics::SecurityEvent,
    random::{self, NoRandomness},
    telemetry::security::RefusedRequest,
};

/// Between two looks at the clocks of all sessions.
const TICK: Duration = Duration::from_secs(1);

/// Random bytes of an id; three more count.
const RANDOM: usize = 12;

/// The sessions of one process.
pub struct Engine {
    pub chat: Chat,
    identity: Identity,
    origins: Vec<CorsOrigin>,
    limits: QueueLimits,
    /// Most sessions.
    most: usize,
    /// Held for moments only.
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    counter: AtomicU32,
}

/// Parameters of a request that Engine.IO reads.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub version: Option<String>,
    pub transport: Option<String>,
    pub sid: Option<String>,
    pub claim: Claim,
}

/// Why a session is not opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("there are too many sessions")]
    Full,
}

/// Outcome of packets of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Well,
    /// It holds what is no packet.
    Garbage,
    /// The session has ended.
    Over,
}

impl Asked {
    /// Reads the query of a request. A header's token is the last choice.
    #[must_use]
    pub fn of(query: Option<&str>, bearer: Option<String>) -> Self {
        let mut asked = Asked::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let place = match &*name {
                "EIO" => &mut asked.version,
                "transport" => &mut asked.transport,
                "sid" => &mut asked.sid,
                "user_id" => &mut asked.claim.user_id,
                "token" => &mut asked.claim.token,
                _ => continue,
            };
            // The first, as the original takes it.
            place.get_or_insert_with(|| value.into_owned());
        }
        asked.claim.token = asked.claim.token.take().or(bearer);
        asked
    }
}

impl Engine {
    /// Makes an engine without sessions.
    #[must_use]
    pub fn new(
        chat: Chat,
        identity: Identity,
        origins: Vec<CorsOrigin>,
        limits: QueueLimits,
        most: usize,
    ) -> Self {
        Engine {
            chat,
            identity,
            origins,
            limits,
            most,
            sessions: Mutex::default(),
            counter: AtomicU32::new(0),
        }
    }

    /// Returns whether pages of the origin of a request may connect.
    #[must_use]
    pub fn lets_in(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(ORIGIN);
        origin.is_none_or(|origin| allows(&self.origins, origin))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// See [`NotOpened`].
    pub fn open(
        &self,
        claim: Claim,
        seat: SocketSeat,
        transport: Transport,
    ) -> Result<Arc<Session>, NotOpened> {
        let sid = self.name()?;
        let session = Session::new(sid.clone(), claim, seat, transport, self.limits);
        let session = Arc::new(session);
        let mut sessions = self.sessions();
        if sessions.len() >= self.most {
            return Err(NotOpened::Full);
        }
        sessions.insert(sid, Arc::clone(&session));
        drop(sessions);
        let limits = Limits {
            interval_ms: INTERVAL.as_secs() * 1000,
            timeout_ms: TIMEOUT.as_secs() * 1000,
            payload_max: PAYLOAD_MAX,
        };
        session.push(open(&session.sid, transport == Transport::Polling, limits));
        Ok(session)
    }

    /// Returns the session of an id.
    #[must_use]
    pub fn find(&self, sid: &str) -> Option<Arc<Session>> {
        let session = self.sessions().get(sid).cloned();
        session.filter(|session| !session.is_over())
    }

    /// Ends a session, and forgets it.
    pub fn close(&self, session: &Arc<Session>, end: SessionEnd) {
        session.finish(end);
        self.chat.leave(session);
        self.sessions().remove(&session.sid);
    }

    /// Looks at the clocks of all sessions, as long as the process lives.
    pub async fn keep_time(&self) -> Infallible {
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
            let now = Instant::now();
            let all: Vec<_> = self.sessions().values().cloned().collect();
            for session in all {
                session.beat(now);
                // The task of a WebSocket still has it, and says the end.
                if session.is_over() {
                    self.close(&session, SessionEnd::Closed);
                }
            }
        }
    }

    /// Does what a packet of a client asks for.
    pub async fn receive(&self, session: &Arc<Session>, text: &str) -> Received {
        match Packet::read(text) {
            None => return Received::Garbage,
            Some(Packet::Pong) => session.heard(),
            Some(Packet::Close) => self.close(session, SessionEnd::Closed),
            Some(Packet::Message(message)) => self.message(session, message).await,
            Some(Packet::Binary) => self.attachment(session),
            Some(Packet::Upgrade | Packet::Other) => {}
        }
        if session.is_over() {
            Received::Over
        } else {
            Received::Well
        }
    }

    /// Takes a binary part of an event.
    pub fn attachment(&self, session: &Session) {
        if !session.attachment() {
            tracing::debug!("a binary part of no event");
        }
    }

    async fn message(&self, session: &Arc<Session>, message: &str) {
        match Request::read(message) {
            None => {}
            Some(Request::Connect { namespace, .. }) if namespace != "/" => {
                session.push(no_namespace(&namespace));
            }
            Some(Request::Connect { auth, .. }) => {
                let user = self.identity.user(&session.claim, auth.as_ref());
                let user: Option<Arc<str>> = user.map(Into::into);
                match user {
                    Some(user) if session.user().is_none() => self.enter(session, &user),
                    // It is there already.
                    Some(_) => {}
                    None => session.push(rejected()),
                }
            }
            Some(Request::Disconnect) => self.chat.leave(session),
            Some(Request::Event(event)) => {
                session.expect(event.attachments);
                if let Some(user) = session.user() {
                    self.chat.event(session, &user, event).await;
                }
            }
        }
    }

    fn enter(&self, session: &Arc<Session>, user: &Arc<str>) {
        match (session.enter(user), self.name()) {
            (Ok(()), Ok(sid)) => {
                // The answer first, as others may write into the room at once.
                session.push(connected(&sid));
                self.chat.enter(user, session);
            }
            _ => session.push(rejected()),
        }
    }

    /// Makes an id as python-engineio does: 12 random bytes and a number.
    fn name(&self) -> Result<String, NoRandomness> {
        let random: [u8; RANDOM] = random::bytes()?;
        let [_, number @ ..] = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut bytes = random.to_vec();
        bytes.extend(number);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a request of polling to an open session: gives what waits, or waits for it.
pub async fn poll(app: &App, engine: &Engine, session: &Arc<Session>) -> Response {
    match session.transport() {
        Transport::Polling => {}
        Transport::Upgrading => return payload(NOOP),
        Transport::WebSocket => return refuse("Unexpected HTTP request"),
    }
    let ready = async {
        loop {
            match session.take() {
                Ok(packets) if !packets.is_empty() => break packets,
                Ok(_) => session.filled().await,
                Err(_) => break iter::once(Bytes::from_static(CLOSE.as_bytes())).collect(),
            }
        }
    };
    let packets = tokio::select! {
        packets = timeout(INTERVAL + TIMEOUT, ready) => packets,
        // The client connects to another process.
        () = app.drain.begun() => {
            engine.close(session, SessionEnd::Closed);
            return payload(CLOSE);
        }
    };
    let Ok(packets) = packets else {
        engine.close(session, SessionEnd::Closed);
        return refuse("Bad Request");
    };
    let mut body = Vec::new();
    for (place, packet) in packets.into_iter().enumerate() {
        if place > 0 {
            body.push(SEPARATOR);
        }
        body.extend_from_slice(&packet);
    }
    payload(body)
}

/// Takes the packets of a request of polling, in their order. What is no payload is passed over, as
/// the original does.
pub async fn post(engine: &Engine, session: &Arc<Session>, body: &[u8]) -> Response {
    if body.len() > PAYLOAD_MAX {
        engine.close(session, SessionEnd::Closed);
        return text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "\"Payload Too Large\"".to_owned(),
        );
    }
    let body = std::str::from_utf8(body).unwrap_or_default();
    if body.split(char::from(SEPARATOR)).nth(PACKETS_MAX).is_none() {
        for packet in body.split(char::from(SEPARATOR)) {
            match Packet::read(packet) {
                None => break,
                // Of clients it is none that the original knows.
                Some(Packet::Other) => {
                    engine.close(session, SessionEnd::Closed);
                    return refuse("Bad Request");
                }
                Some(_) => {}
            }
            if engine.receive(session, packet).await != Received::Well {
                break;
            }
        }
    }
    text(StatusCode::OK, "OK".to_owned())
}

/// Makes a refusal: its text as JSON.
#[must_use]
pub fn refuse(why: &str) -> Response {
    let shown = why.replace(|c: char| c.is_control() || c == '"' || c == '\\', "");
    let mut response = text(StatusCode::BAD_REQUEST, format!("\"{shown}\""));
    if shown == NOT_ACCEPTED {
        let refused = RefusedRequest::new(SecurityEvent::Origin, "not listed");
        response.extensions_mut().insert(refused);
    }
    response
}

/// Refusal of pages of other sites.
pub const NOT_ACCEPTED: &str = "Not an accepted origin.";

/// Answers a page that asks whether it may.
#[must_use]
pub fn preflight() -> Response {
    let mut response = text(StatusCode::OK, "OK".to_owned());
    let methods = HeaderValue::from_static("OPTIONS, GET, POST");
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    response
}

/// Lets pages of the origin of a request read an answer.
pub fn share(request: &HeaderMap, response: &mut Response) {
    let headers = response.headers_mut();
    if let Some(origin) = request.get(ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    let yes = HeaderValue::from_static("true");
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
}

fn text(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn payload(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::new(body.into()));
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
