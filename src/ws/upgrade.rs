//! Answers the opening handshake, and on success hands the connection over.

use std::sync::Arc;

use fastwebsockets::upgrade::upgrade;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION},
    upgrade::{OnUpgrade, on},
};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tracing::field::display;

use super::{
    connection::{Connection, SocketName},
    ending::shut_down,
    handshake,
    history::FirstFrames,
    origin,
    protocol::{Guest, Protocol},
    refusal::{Refusal, refusal, refuse},
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
    http::{Body, Response},
    hub::queue::{Queue, QueueLimits},
    limits::{Meter, SocketSeat},
    net::Stream,
    python::urls::decode_path,
    telemetry::{
        request::{ACCESS, Trail},
        trace::{self, Trace},
    },
};

/// A socket that may be opened, with all it needs: nothing can fail after the answer.
struct Opening<P: Protocol> {
    admission: Admission,
    registration: Registration,
    /// The subprotocol that is agreed on.
    agreed: Option<String>,
    place: P::Place,
    queue: Arc<Queue>,
    history: FirstFrames,
    seat: SocketSeat,
}

/// Answers a request that wants to be upgraded, and serves the socket in a task of its own.
pub async fn answer<P: Protocol>(
    app: Arc<App>,
    protocol: Arc<P>,
    mut request: Request<Incoming>,
    trail: &Trail,
) -> Response {
    let mut user = None;
    let refusal = match open(&app, &*protocol, &request, &mut user).await {
        Ok(mut opening) => {
            let agreed = opening.agreed.take();
            return accept((app, protocol), &mut request, agreed, opening, trail);
        }
        Err(refusal) => refusal,
    };
    let mut response = match &refusal {
        Refusal::Unknown(denied)
            if app.config.auth.socket_refusal == SocketRefusal::Close
                && !matches!(denied, Denied::Limited(_) | Denied::Unavailable(_)) =>
        {
            let agreed = protocol.agreed(&app.auth, &Credentials::of(&request));
            agree(&mut request, agreed, close_unknown)
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

/// Prepares all that the socket needs. `user` is set as soon as the client is known.
async fn open<P: Protocol>(
    app: &Arc<App>,
    protocol: &P,
    request: &Request<Incoming>,
    user: &mut Option<Arc<str>>,
) -> Result<Opening<P>, Refusal> {
    handshake::check(request.method(), request.headers()).map_err(Refusal::Handshake)?;
    if app.drain.has_begun() {
        return Err(Refusal::Draining);
    }
    let seat = Meter::of(request).open_socket();
    let mut seat = seat.map_err(Refusal::Throttled)?;
    let path = decode_path(request.uri().path());
    let target = protocol.target(&path).ok_or(Refusal::NoRoute)?;
    let conversation_id = protocol.conversation(target);
    trace::note(|span| {
        span.route(&protocol.template());
        if let Some(id) = conversation_id {
            span.set("conversation_id", id.to_string());
        }
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
    let limits = &app.config.ws;
    let queue = Arc::new(Queue::of(
        protocol.slot(),
        QueueLimits {
            frames: limits.queue_messages,
            bytes: limits.queue_bytes,
        },
    ));
    let guest = Guest {
        admission: &admission,
        registration: &registration,
        queue: &queue,
        meter: seat.meter(),
    };
    let (place, history) = protocol.enter(app, target, &guest).await?;
    Ok(Opening {
        admission,
        registration,
        agreed: protocol.agreed(&app.auth, &asked),
        place,
        queue,
        history,
        seat,
    })
}

fn accept<P: Protocol>(
    served: (Arc<App>, Arc<P>),
    request: &mut Request<Incoming>,
    agreed: Option<String>,
    opening: Opening<P>,
    trail: &Trail,
) -> Response {
    let name = SocketName {
        client: trail.client,
        id: request.extensions().get().copied().unwrap_or_default(),
        origin: request.extensions().get().map(Trace::origin).map(Arc::new),
    };
    agree(request, agreed, |upgraded| {
        serve(served, upgraded, opening, name)
    })
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

/// Closes a socket that was opened only for this: a script in a browser cannot see the status of a
/// handshake.
async fn close_unknown(upgraded: OnUpgrade) {
    let Ok(upgraded) = upgraded.await else { return };
    let mut stream = TokioIo::new(upgraded);
    let goodbye = close_frame(Reason::Expired.code());
    if stream.write_all(&goodbye).await.is_ok() {
        shut_down(&mut stream).await;
    }
}

/// Makes the task of a socket. It is as large as all that it ever holds, for as long as it runs:
/// what it begins with is elsewhere, and gone before the socket is served.
fn serve<P: Protocol>(
    served: (Arc<App>, Arc<P>),
    upgraded: OnUpgrade,
    opening: Opening<P>,
    name: SocketName,
) -> impl Future<Output = ()> + Send {
    let beginning = Box::pin(begin(served, upgraded, opening, name));
    async move {
        // Bound by reference: a pattern that moves the connection would keep room for it twice.
        let mut begun = beginning.await;
        if let Some(connection) = &mut begun {
            connection.run().await;
        }
    }
}

/// Takes over the socket. What hyper kept for it, above all its buffer, is gone when this returns:
/// a socket that sits there for hours must not hold on to it.
async fn begin<P: Protocol>(
    served: (Arc<App>, Arc<P>),
    upgraded: OnUpgrade,
    opening: Opening<P>,
    name: SocketName,
) -> Option<Connection<P>> {
    // The client may be gone before it has read our answer.
    let upgraded = upgraded.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    let Opening {
        admission,
        registration,
        agreed: _,
        place,
        queue,
        history,
        seat,
    } = opening;
    let place = (place, queue, seat);
    let stream = parts.io.into_inner();
    let received = &parts.read_buf;
    let rights = (admission, registration);
    Some(Connection::new(
        served, name, rights, place, stream, received, history,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::django::consumer::Consumer;

    type Served = Connection<Consumer>;

    fn size_of_task<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_run<F>(_: impl Fn(&'static mut Served) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_socket_has_room_for_its_connection_once() {
        let needed = size_of::<Served>() + size_of_run(Connection::run);
        let task = size_of_task(serve::<Consumer>);
        assert!(task <= needed + 64, "{task} of {needed}");
    }
}
