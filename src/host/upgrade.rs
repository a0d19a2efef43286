//! Answers the opening handshake of a hosted path, as Daphne does: 403 if the application closes,
//! 500 if it fails, and on success the connection is handed over.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tracing::field::display;

use super::{
    Host,
    mailbox::WorkerReply,
    place::WorkerPlace,
    scope,
    socket::{Hosted, HostedName},
    wire::{Accept, Class, Down},
};
use crate::{
    app::App,
    http::{Response, reply},
    hub::queue::QueueLimits,
    limits::{Meter, SocketSeat, Throttled},
    metrics::{Call, HostFailure, SecurityEvent},
    net::Stream,
    telemetry::{
        request::{ACCESS, Trail},
        security::RefusedRequest,
    },
    ws::{handshake, refusal, upgrade},
};

/// Headers of the answer that are ours to set.
const OURS: [&str; 6] = [
    "connection",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
    "upgrade",
];

/// Characters of the path that an open socket keeps.
const PATH_KEPT: usize = 1024;

/// Reasons why a hosted socket is not opened.
#[derive(Debug)]
enum HostedRefusal {
    Handshake(handshake::BadHandshake),
    /// The application has closed it.
    Denied,
    /// The application has failed, or has answered with what cannot be said; in a consumer of this
    /// class, if it has reached one.
    Failed(Option<Arc<Class>>),
    /// There is no worker, it is gone, or the process is going away.
    Unavailable,
    /// The application took too long.
    Late,
    Throttled(Throttled),
}

/// A socket that the application has accepted.
struct Opening {
    place: WorkerPlace,
    class: Option<Arc<Class>>,
    accept: Accept,
    /// Set if the connect has returned already.
    connected: bool,
    seat: SocketSeat,
}

/// Answers a handshake, and serves the socket in a task of its own.
pub async fn answer(
    app: Arc<App>,
    host: &Arc<Host>,
    mut request: Request<Incoming>,
    trail: &Trail,
) -> Response {
    let refusal = match Box::pin(open(&app, host, &request)).await {
        Ok(opening) => return accept(app, &mut request, opening, trail),
        Err(refusal) => refusal,
    };
    match &refusal {
        HostedRefusal::Failed(class) => {
            let class = class.as_ref().map_or("", |class| &class.name);
            app.metrics.host_exception(class);
        }
        HostedRefusal::Unavailable => app.metrics.host_failure(HostFailure::Lost),
        HostedRefusal::Late => app.metrics.host_failure(HostFailure::Late),
        HostedRefusal::Handshake(_) | HostedRefusal::Denied | HostedRefusal::Throttled(_) => {}
    }
    let mut response = refuse(&refusal);
    let (client, path) = (trail.client.map(display), trail.path());
    let status = response.status().as_u16();
    tracing::debug!(target: ACCESS, status, client, path = &*path, "hosted socket refused");
    if let Some(refused) = refused(&refusal) {
        response.extensions_mut().insert(refused);
    }
    response
}

/// Returns the entry for the security log; none for what is no fault of the client's.
fn refused(refusal: &HostedRefusal) -> Option<RefusedRequest> {
    match refusal {
        HostedRefusal::Denied => Some(RefusedRequest::new(SecurityEvent::Policy, "application")),
        HostedRefusal::Throttled(throttled) => Some(reply::limited(*throttled)),
        HostedRefusal::Handshake(_)
        | HostedRefusal::Failed(_)
        | HostedRefusal::Unavailable
        | HostedRefusal::Late => None,
    }
}

fn refuse(refusal: &HostedRefusal) -> Response {
    match refusal {
        HostedRefusal::Handshake(refused) => refusal::malformed(refused),
        HostedRefusal::Denied => refusal::refusal(StatusCode::FORBIDDEN, "Access denied"),
        HostedRefusal::Failed(_) => {
            refusal::refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
        }
        HostedRefusal::Unavailable | HostedRefusal::Late => refusal::retry_later(),
        HostedRefusal::Throttled(throttled) => refusal::throttled(*throttled),
    }
}

async fn open(
    app: &App,
    host: &Arc<Host>,
    request: &Request<Incoming>,
) -> Result<Opening, HostedRefusal> {
    handshake::check(request.method(), request.headers()).map_err(HostedRefusal::Handshake)?;
    if app.drain.has_begun() {
        return Err(HostedRefusal::Unavailable);
    }
    let seat = Meter::of(request).open_socket();
    let seat = seat.map_err(HostedRefusal::Throttled)?;
    let limits = QueueLimits {
        frames: app.config.ws.queue_messages,
        bytes: app.config.ws.queue_bytes,
    };
    let mut place = WorkerPlace::enter(host, limits).ok_or(HostedRefusal::Unavailable)?;
    let began = Instant::now();
    let deadline = began + host.call_timeout();
    let credit = timeout_at(deadline, place.link.credit()).await;
    let credit = credit.map_err(|_| HostedRefusal::Late)?;
    let credit = credit.ok_or(HostedRefusal::Unavailable)?;
    app.metrics.host_call(Call::Connect, began.elapsed());
    place.mailbox.begin(credit);
    let scope = scope::of(request, &host.trust, &app.config.server);
    place.link.send(Down::Open, place.number, &scope);
    let answered = timeout_at(deadline, answered(&mut place)).await;
    let AnsweredHandshake {
        class,
        accept,
        connected,
    } = answered.map_err(|_| HostedRefusal::Late)??;
    let offered = scope::offered(request.headers());
    let chosen = accept.subprotocol.as_ref();
    if chosen.is_some_and(|chosen| !offered.contains(chosen)) {
        tracing::warn!("a consumer accepted with a subprotocol that was not offered");
        return Err(HostedRefusal::Failed(class));
    }
    Ok(Opening {
        place,
        class,
        accept,
        connected,
        seat,
    })
}

/// The application's answer to a handshake.
struct AnsweredHandshake {
    class: Option<Arc<Class>>,
    accept: Accept,
    connected: bool,
}

/// Waits for it.
async fn answered(place: &mut WorkerPlace) -> Result<AnsweredHandshake, HostedRefusal> {
    let (mut class, mut connected) = (None, false);
    loop {
        match place.mailbox.take_reply(true) {
            None => place.mailbox.changed().await,
            Some(WorkerReply::Class(known)) => class = Some(known),
            Some(WorkerReply::Accept(accept)) => {
                return Ok(AnsweredHandshake {
                    class,
                    accept,
                    connected,
                });
            }
            Some(WorkerReply::Close { .. }) => return Err(HostedRefusal::Denied),
            Some(WorkerReply::Frame(_) | WorkerReply::State(_) | WorkerReply::Refused(_)) => {
                return Err(HostedRefusal::Failed(class));
            }
            // A connect that neither accepts nor closes yet.
            Some(WorkerReply::Done) => connected = true,
            Some(WorkerReply::Ended { failed }) => {
                place.ended();
                // Daphne waits for an application that returns without a word, and then refuses.
                return Err(if failed {
                    HostedRefusal::Failed(class)
                } else {
                    HostedRefusal::Denied
                });
            }
            Some(WorkerReply::Lost) => {
                place.ended();
                return Err(HostedRefusal::Unavailable);
            }
            // The next one goes where it belongs.
            Some(WorkerReply::Rerouted) => {}
        }
    }
}

fn accept(
    app: Arc<App>,
    request: &mut Request<Incoming>,
    opening: Opening,
    trail: &Trail,
) -> Response {
    let name = HostedName {
        id: request.extensions().get().copied().unwrap_or_default(),
        client: trail.client,
        path: request.uri().path().chars().take(PATH_KEPT).collect(),
    };
    let subprotocol = opening.accept.subprotocol.clone();
    let headers = opening.accept.headers.clone();
    let mut response = upgrade::agree(request, subprotocol, |upgraded| {
        serve(app, upgraded, opening, name)
    });
    for (name, value) in headers {
        let name = HeaderName::from_bytes(&name);
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        let (Ok(name), Ok(value)) = (name, value) else {
            tracing::warn!("a consumer accepted with a header that cannot be sent");
            continue;
        };
        if !OURS.contains(&name.as_str()) && !name.as_str().starts_with("sec-websocket-") {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Makes the task of a socket, which has room for what it serves once ([`crate::ws::upgrade`]).
fn serve(
    app: Arc<App>,
    upgraded: OnUpgrade,
    opening: Opening,
    name: HostedName,
) -> impl Future<Output = ()> + Send {
    let beginning = Box::pin(begin(app, upgraded, opening, name));
    async move {
        let mut begun = beginning.await;
        if let Some(socket) = &mut begun {
            socket.run().await;
        }
    }
}

async fn begin(
    app: Arc<App>,
    upgraded: OnUpgrade,
    opening: Opening,
    name: HostedName,
) -> Option<Hosted<Stream>> {
    // The client may be gone before it has read our answer.
    let upgraded = upgraded.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    let Opening {
        place,
        class,
        connected,
        seat,
        ..
    } = opening;
    let stream = parts.io.into_inner();
    Some(Hosted::new(
        app,
        place,
        (class, connected),
        (name, seat),
        stream,
        &parts.read_buf,
    ))
}
