//! One request on its way to Django and the answer on its way back.

use std::{sync::Arc, time::Instant};

use hyper::{
    Request, StatusCode, Version,
    body::{Body as _, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE},
    http::response,
    upgrade::OnUpgrade,
};

use super::{
    Gateway, Relayed, Side,
    body::{Outgoing, Upload},
    headers,
    shadow::Question,
    tunnel::{Tunnel, may_open},
    upstream::Failure,
};
use crate::{
    app::App,
    django::{handshake, urls::decode_path},
    http::{
        Body, Response, reply,
        router::{self, Route},
    },
    limits::Meter,
    server::Peer,
    telemetry::{
        request::ACCESS,
        trace::{self, Trace},
    },
    value::Value,
    ws,
};

/// Passes a request to Django, a WebSocket handshake too, and answers with what Django answers.
pub async fn forward(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    mut request: Request<Incoming>,
) -> Response {
    let began = Instant::now();
    let question = gateway.question(app, &request);
    let route = label(app, &request);
    let trace = request.extensions().get::<Trace>().cloned();
    let method = request.method().clone();
    let headers = request.headers_mut();
    let call = trace.and_then(|trace| trace.pass_on(method.as_str(), headers));
    let answer = if handshake::wants_upgrade(request.headers()) {
        upgrade(app, gateway, request).await
    } else {
        relay(gateway, request).await
    };
    let response = match answer {
        Ok(response) => {
            if let Some(call) = &call {
                call.answered(response.status());
            }
            response
        }
        Err(failure) => {
            if let Some(call) = &call {
                call.fail(failure.label());
            }
            tracing::warn!(%failure, "a request could not be passed on");
            app.metrics.gateway_failure(failure.label());
            refuse(&failure)
        }
    };
    drop(call);
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics.gateway_request(route, status, took);
    tracing::debug!(target: ACCESS, route = "django", status, ?took, "answered");
    Question::ask(question, app);
    response
}

/// The name of the route in the metrics; the span of the request is told its template.
fn label(app: &App, request: &Request<Incoming>) -> &'static str {
    let path = decode_path(request.uri().path());
    if handshake::wants_upgrade(request.headers()) {
        if router::socket(&path, &app.config).is_some() {
            trace::note(|span| span.route(&router::socket_template(&app.config)));
        }
        return "socket";
    }
    match Route::of(&path, &app.config) {
        Some(route @ Route::Api(_)) => {
            trace::note(|span| span.route(&route.template(&app.config)));
            route.label()
        }
        _ => "django",
    }
}

async fn relay(gateway: &Arc<Gateway>, request: Request<Incoming>) -> Result<Response, Failure> {
    let response = gateway.upstream.send(outgoing(gateway, request)).await?;
    let (mut head, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    Ok(incoming(head, body))
}

/// A handshake: the answer decides whether there is a socket.
async fn upgrade(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    mut request: Request<Incoming>,
) -> Result<Response, Failure> {
    if !may_open(app) {
        return Ok(ws::upgrade::retry_later());
    }
    let seat = match Meter::of(&request).open_socket() {
        Ok(seat) => seat,
        Err(throttled) => return Ok(ws::upgrade::throttled(throttled)),
    };
    let client = hyper::upgrade::on(&mut request);
    let tunnel = Tunnel::of(app, gateway, &request, seat);
    let mut request = outgoing(gateway, request);
    request.extensions_mut().remove::<OnUpgrade>();
    let asked = request.headers_mut();
    asked.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    asked.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let mut response = gateway.upstream.upgrade(request).await?;
    tunnel.answered(response.status());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut head, body) = response.into_parts();
        headers::strip_hop_by_hop(&mut head.headers);
        return Ok(incoming(head, gateway.upstream.refusal(body)));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let (mut head, _) = response.into_parts();
    head.extensions.remove::<OnUpgrade>();
    tokio::spawn(tunnel.run(client, upstream));
    Ok(Response::from_parts(head, Body::default()))
}

/// The request as it is sent to Django.
fn outgoing(gateway: &Gateway, request: Request<Incoming>) -> Request<Outgoing> {
    let (mut head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().copied().unwrap_or_default();
    headers::prepare(&mut head.headers, peer, gateway.trusts(peer));
    head.version = Version::HTTP_11;
    if body.is_end_stream() {
        return Request::from_parts(head, Outgoing::Empty);
    }
    // A GET has a body too if it came with one.
    if !head.headers.contains_key(CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(TRANSFER_ENCODING, chunked);
    }
    Request::from_parts(head, Outgoing::Streaming(body, Upload::new(false)))
}

/// The answer as it is sent to the client.
fn incoming(mut head: response::Parts, body: Relayed) -> Response {
    head.version = Version::HTTP_11;
    Response::from_parts(head, Body::Upstream(body))
}

/// An answer of ours in place of Django's.
fn refuse(failure: &Failure) -> Response {
    let (status, text) = failure.answer();
    let body = Value::Map(vec![("detail".into(), text.into())]);
    let mut response = reply::json(status, &body);
    // What is left of the request's body would be taken for the next request.
    reply::close(&mut response);
    response
}

impl Gateway {
    /// What to ask both sides about this request, if it is one of those that are compared.
    #[must_use]
    pub fn question(&self, app: &App, request: &Request<Incoming>) -> Option<Question> {
        let percent = self.live.borrow().shadow_percent;
        Question::of(percent, app, request)
    }

    /// Whether the request is to be passed on.
    #[must_use]
    pub fn passes_on(&self, app: &App, request: &Request<Incoming>) -> bool {
        let side = self.side(
            request.method(),
            request.uri(),
            request.headers(),
            &app.config,
        );
        side == Side::Django
    }
}
