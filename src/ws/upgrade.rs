//! Answers the opening handshake, and on success hands the connection over.

use std::{fmt, sync::Arc};

use fastwebsockets::upgrade::upgrade;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    ext::ReasonPhrase,
    header::{
        HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, WWW_AUTHENTICATE,
    },
    upgrade::{OnUpgrade, on},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, split};
use tracing::field::display;
use uuid::Uuid;

use super::{
    connection::{Connection, Name},
    ending::shut_down,
    history::{First, Rest},
    origin,
    protocol::django::history_frame,
    session::Reason,
    writer::close_frame,
};
use crate::{
    app::App,
    auth::{
        Admission,
        identity::{Credentials, Denied},
        sockets::Registration,
    },
    config::SocketRefusal,
    django::handshake::{self, VERSIONS},
    http::{Body, Response, reply, router},
    hub::{
        Membership,
        queue::{Limits, Queue},
    },
    limits::{Meter, Seat, Throttled},
    metrics::SecurityEvent,
    net::Stream,
    python::urls::decode_path,
    service::ChatError,
    store::{Of, history::History},
    telemetry::{
        request::{ACCESS, Trail},
        security::Refused,
        trace::{self, Trace},
    },
};

/// Why a socket is not opened.
#[derive(Debug)]
enum Refusal {
    /// Autobahn would not take the handshake.
    Handshake(handshake::Refused),
    /// No such path. The original's router raises, and Daphne makes a 500 of that after up to a
    /// second; clients know the status, so only the wait is gone.
    NoRoute,
    /// The conversation does not exist or is not active.
    Denied,
    /// The caller may not know of the conversation.
    Hidden,
    /// Pages of this origin may open no socket.
    Origin,
    /// The caller must be known and is not.
    Unknown(Denied),
    /// The store or the layer cannot be asked now.
    Unavailable(ChatError),
    /// The process is going away.
    Draining,
    /// The client opens too many.
    Throttled(Throttled),
}

impl From<ChatError> for Refusal {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::NoConversation => Refusal::Denied,
            ChatError::Hidden(_) => Refusal::Hidden,
            error => Refusal::Unavailable(error),
        }
    }
}

impl Refusal {
    /// Returns the entry for the security log.
    fn refused(&self) -> Option<Refused> {
        match self {
            Refusal::Hidden => Some(Refused::new(SecurityEvent::Policy, "see")),
            Refusal::Origin => Some(Refused::new(SecurityEvent::Origin, "not listed")),
            Refusal::Unknown(denied) => denied.refused(),
            Refusal::Throttled(throttled) => Some(reply::limited(*throttled)),
            _ => None,
        }
    }
}

/// A socket that may be opened, with all it needs: nothing can fail after the answer.
struct Opening {
    conversation_id: Uuid,
    admission: Admission,
    registration: Registration,
    /// The subprotocol that is agreed on.
    protocol: Option<String>,
    membership: Membership,
    queue: Arc<Queue>,
    history: First,
    seat: Seat,
}

/// Answers a request that wants to be upgraded, and serves the socket in a task of its own.
pub async fn answer(app: Arc<App>, mut request: Request<Incoming>, trail: &Trail) -> Response {
    let mut user = None;
    let refusal = match open(&app, &request, &mut user).await {
        Ok(mut opening) => {
            let protocol = opening.protocol.take();
            return accept(app, &mut request, protocol, opening, trail);
        }
        Err(refusal) => refusal,
    };
    let mut response = match &refusal {
        Refusal::Unknown(denied)
            if app.config.auth.socket_refusal == SocketRefusal::Close
                && !matches!(denied, Denied::Limited(_) | Denied::Unavailable(_)) =>
        {
            accept_to_close(&app, &mut request)
        }
        refusal => refuse(&app, refusal),
    };
    let client = trail.client.map(display);
    let (status, path) = (response.status().as_u16(), trail.path());
    let known = user.as_deref();
    tracing::debug!(target: ACCESS, status, client, user = known, path = &*path, "socket refused");
    if let Some(mut refused) = refusal.refused() {
        refused.user = user;
        response.extensions_mut().insert(refused);
    }
    response
}

/// All that the socket needs. `user` is set as soon as the client is known.
async fn open(
    app: &Arc<App>,
    request: &Request<Incoming>,
    user: &mut Option<Arc<str>>,
) -> Result<Opening, Refusal> {
    handshake::check(request.method(), request.headers()).map_err(Refusal::Handshake)?;
    if app.drain.has_begun() {
        return Err(Refusal::Draining);
    }
    let seat = Meter::of(request).open_socket();
    let mut seat = seat.map_err(Refusal::Throttled)?;
    let path = decode_path(request.uri().path());
    let conversation_id = router::socket(&path, &app.config).ok_or(Refusal::NoRoute)?;
    trace::note(|span| {
        span.route(&router::socket_template(&app.config));
        span.set("conversation_id", conversation_id.to_string());
    });
    if !origin::is_allowed(app, request) {
        return Err(Refusal::Origin);
    }
    let asked = Credentials::of(request);
    let admission = app.auth.admit_socket(&asked, seat.meter()).await;
    let admission = admission.map_err(Refusal::Unknown)?;
    user.clone_from(&admission.user);
    if let Some(user) = &admission.user {
        seat.is_user(user).map_err(Refusal::Throttled)?;
    }
    // First registered, then looked at: what ends its rights in between is not missed.
    let registration = app.auth.register(conversation_id, &admission);
    let of = Of::Conversation(conversation_id);
    app.chat.admit(&admission.caller, of).await?;
    let meter = seat.meter().clone();
    meter.allow_rows().map_err(Refusal::Throttled)?;
    if !app.chat.may_connect(conversation_id).await? {
        return Err(Refusal::Denied);
    }
    let limits = &app.config.ws;
    let queue = Arc::new(Queue::new(Limits {
        frames: limits.queue_messages,
        bytes: limits.queue_bytes,
    }));
    // First a member, then the history: an event in between is in both, and shown once.
    let group = app.chat.group(conversation_id);
    let membership = app
        .hub
        .join(conversation_id, group, Arc::clone(&queue))
        .await
        .map_err(|error| Refusal::Unavailable(error.into()))?;
    let history = match app.chat.history(conversation_id).await? {
        History::Short(messages) => {
            membership.is_shown(&messages);
            meter.charge_rows(messages.len());
            First::Frame(history_frame(&messages, app.zone()))
        }
        History::Long(pages) => First::Telling(Rest::new(pages, meter)),
    };
    Ok(Opening {
        conversation_id,
        admission,
        registration,
        protocol: app.auth.protocol(&asked),
        membership,
        queue,
        history,
        seat,
    })
}

fn accept(
    app: Arc<App>,
    request: &mut Request<Incoming>,
    protocol: Option<String>,
    opening: Opening,
    trail: &Trail,
) -> Response {
    let name = Name {
        client: trail.client,
        id: request.extensions().get().copied().unwrap_or_default(),
        origin: request.extensions().get().map(Trace::origin).map(Arc::new),
    };
    agree(request, protocol, |upgraded| {
        serve(app, upgraded, opening, name)
    })
}

/// Opens a socket only to close it with a code that says why: a script in a browser cannot see the
/// status of a handshake.
fn accept_to_close(app: &App, request: &mut Request<Incoming>) -> Response {
    let protocol = app.auth.protocol(&Credentials::of(request));
    agree(request, protocol, close_unknown)
}

/// Agrees to the upgrade; `then` goes on with the connection once the answer is written.
pub fn agree<F>(
    request: &mut Request<Incoming>,
    protocol: Option<String>,
    then: impl FnOnce(OnUpgrade) -> F,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgraded = on(&mut *request);
    // Daphne also takes version 8 and `013`; the answer to all is the same.
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    match upgrade(request) {
        Ok((response, _)) => {
            tokio::spawn(then(upgraded));
            let mut response = response.map(|_| Body::default());
            if let Some(protocol) = protocol.and_then(|it| HeaderValue::try_from(it).ok()) {
                let headers = response.headers_mut();
                headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
            }
            response
        }
        Err(error) => refusal(StatusCode::BAD_REQUEST, error),
    }
}

async fn close_unknown(upgraded: OnUpgrade) {
    let Ok(upgraded) = upgraded.await else { return };
    let (mut read, mut write) = split(TokioIo::new(upgraded));
    let goodbye = close_frame(Reason::Expired.code());
    if write.write_all(&goodbye).await.is_ok() {
        shut_down(&mut read, &mut write).await;
    }
}

/// A socket's task. It is as large as all that it ever holds, for as long as it runs: what it begins
/// with is elsewhere, and gone before the socket is served.
fn serve(
    app: Arc<App>,
    upgraded: OnUpgrade,
    opening: Opening,
    name: Name,
) -> impl Future<Output = ()> + Send {
    let beginning = Box::pin(begin(app, upgraded, opening, name));
    async move {
        if let Some(mut connection) = beginning.await {
            connection.run().await;
        }
    }
}

/// Takes over the socket. What hyper kept for it, above all its buffer, is gone when this returns:
/// a socket that sits there for hours must not hold on to it.
async fn begin(
    app: Arc<App>,
    upgraded: OnUpgrade,
    opening: Opening,
    name: Name,
) -> Option<Connection<Stream>> {
    // The client may be gone before it has read our answer.
    let upgraded = upgraded.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    let Opening {
        conversation_id,
        admission,
        registration,
        protocol: _,
        membership,
        queue,
        history,
        seat,
    } = opening;
    let place = (conversation_id, membership, queue, seat);
    let stream = parts.io.into_inner();
    let received = &parts.read_buf;
    let rights = (admission, registration);
    Some(Connection::new(
        app, name, rights, place, stream, received, history,
    ))
}

fn refuse(app: &App, refused: &Refusal) -> Response {
    match refused {
        Refusal::Handshake(refused) => malformed(refused),
        Refusal::NoRoute => refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        Refusal::Denied | Refusal::Hidden | Refusal::Origin => {
            refusal(StatusCode::FORBIDDEN, "Access denied")
        }
        Refusal::Draining | Refusal::Unknown(Denied::Unavailable(_)) => retry_later(),
        Refusal::Throttled(refused) | Refusal::Unknown(Denied::Limited(refused)) => {
            throttled(*refused)
        }
        Refusal::Unknown(denied) => match app.auth.challenge(denied) {
            Some(challenge) => {
                let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            None => refusal(StatusCode::FORBIDDEN, "Access denied"),
        },
        Refusal::Unavailable(error) => {
            tracing::error!(%error, "a socket could not be opened");
            retry_later()
        }
    }
}

/// For a handshake that is none.
#[must_use]
pub fn malformed(refused: &handshake::Refused) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = refusal(status, &refused.reason);
    if refused.lists_versions {
        let versions = HeaderValue::from_static(VERSIONS);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, versions);
    }
    response
}

/// For a client that opens too many sockets.
#[must_use]
pub fn throttled(throttled: Throttled) -> Response {
    later(StatusCode::TOO_MANY_REQUESTS, throttled.seconds())
}

/// For a client that will find another process, or this one in better shape.
#[must_use]
pub fn retry_later() -> Response {
    later(StatusCode::SERVICE_UNAVAILABLE, 1)
}

fn later(status: StatusCode, seconds: u64) -> Response {
    let mut response = refusal(status, status.canonical_reason().unwrap_or_default());
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// An answer without headers and body that says why in its status line, as Autobahn's do.
pub fn refusal(status: StatusCode, reason: impl fmt::Display) -> Response {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    if let Ok(reason) = ReasonPhrase::try_from(reason.to_string().into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}
