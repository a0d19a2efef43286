//! One request on its way to Django and the answer on its way back.

use std::{sync::Arc, time::Instant};

use hyper::{
    Request, StatusCode, Version,
    body::Body as HttpBody,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS,
        TRANSFER_ENCODING, UPGRADE,
    },
    http::{request, response, uri::PathAndQuery},
    upgrade::OnUpgrade,
};

use super::{
    Gateway,
    body::{Outgoing, Relayed},
    headers,
    shadow::Question,
    tunnel::{Tunnel, may_open},
    upstream::UpstreamFailure,
};
use crate::{
    app::App,
    auth::Admission,
    dialect::django::routes::Route,
    http::{Body, Response, reply},
    limits::{Meter, SocketSeat, Throttled},
    net::Peer,
    python::urls::decode_path,
    telemetry::{
        request::{ACCESS, Trail, micros},
        trace::{self, Trace},
    },
    value::Value,
    ws::{handshake, protocol::Protocol, refusal},
};

/// Passes a request to Django, a WebSocket handshake too, and answers with what Django answers. The
/// policy has admitted it.
pub async fn forward(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    mut request: Request<Outgoing>,
    admission: Admission,
    trail: &Trail,
) -> Response {
    let user = admission.user.clone();
    let began = Instant::now();
    let question = Question::of(gateway, app, &request);
    let route = label(app, gateway, &request);
    let trace = request.extensions().get::<Trace>().cloned();
    let method = request.method().clone();
    let headers = request.headers_mut();
    let call = trace.and_then(|trace| trace.pass_on(method.as_str(), headers));
    let answer = if handshake::wants_upgrade(request.headers()) {
        upgrade(app, gateway, request, admission, trail).await
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
    tracing::debug!(
        target: ACCESS,
        %method,
        route = "django",
        status,
        took_us = micros(took),
        client = trail.client.map(display),
        user = user.as_deref(),
        path = &*trail.path(),
        "answered"
    );
    Question::ask(question, app);
    response
}

/// Returns the route's name in the metrics, and sets its template on the span of the request.
fn label(app: &App, gateway: &Gateway, request: &Request<Outgoing>) -> &'static str {
    let path = decode_path(request.uri().path());
    if handshake::wants_upgrade(request.headers()) {
        if gateway.consumer.target(&path).is_some() {
            trace::note(|span| span.route(&gateway.consumer.template()));
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

async fn relay(
    gateway: &Arc<Gateway>,
    request: Request<Outgoing>,
) -> Result<Response, UpstreamFailure> {
    let response = gateway.upstream.send(outgoing(gateway, request)).await?;
    if response.status().is_informational() {
        return Err(UpstreamFailure::Unasked);
    }
    let (mut head, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    Ok(incoming(head, body))
}

/// A handshake: the answer decides whether there is a socket.
async fn upgrade(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    mut request: Request<Outgoing>,
    admission: Admission,
    trail: &Trail,
) -> Result<Response, UpstreamFailure> {
    if !may_open(app) {
        return Ok(refusal::retry_later());
    }
    let seat = match seat(&request, &admission) {
        Ok(seat) => seat,
        Err(throttled) => {
            let mut refused = reply::limited(throttled);
            refused.user.clone_from(&admission.user);
            let mut response = refusal::throttled(throttled);
            response.extensions_mut().insert(refused);
            return Ok(response);
        }
    };
    let client = hyper::upgrade::on(&mut request);
    let tunnel = Tunnel::of(app, gateway, &request, seat, &admission, trail.client);
    let mut request = outgoing(gateway, request);
    request.extensions_mut().remove::<OnUpgrade>();
    let asked = request.headers_mut();
    asked.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    asked.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if tunnel.is_inspected() {
        // Frames that an extension has changed could not be read.
        asked.remove(SEC_WEBSOCKET_EXTENSIONS);
    }
    let mut response = gateway.upstream.upgrade(request).await?;
    tunnel.answered(response.status());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut head, body) = response.into_parts();
        headers::strip_hop_by_hop(&mut head.headers);
        return Ok(incoming(head, gateway.upstream.refusal(body)));
    }
    if tunnel.is_inspected() && response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(UpstreamFailure::Unasked);
    }
    let upstream = hyper::upgrade::on(&mut response);
    let (mut head, _) = response.into_parts();
    head.extensions.remove::<OnUpgrade>();
    tokio::spawn(tunnel.run(client, upstream));
    Ok(Response::from_parts(head, Body::default()))
}

fn seat(request: &Request<Outgoing>, admission: &Admission) -> Result<SocketSeat, Throttled> {
    let mut seat = Meter::of(request).open_socket()?;
    if let Some(user) = &admission.user {
        seat.is_user(user)?;
    }
    Ok(seat)
}

/// The request as it is sent to Django: in origin form, with one `Host`.
fn outgoing(gateway: &Gateway, request: Request<Outgoing>) -> Request<Outgoing> {
    let (mut head, body) = request.into_parts();
    to_origin_form(&mut head);
    let peer = head.extensions.get::<Peer>().copied().unwrap_or_default();
    headers::prepare(&mut head.headers, peer, &gateway.trust);
    head.version = Version::HTTP_11;
    if body.is_end_stream() {
        return Request::from_parts(head, Outgoing::Empty);
    }
    // A GET has a body too if it came with one.
    if !head.headers.contains_key(CONTENT_LENGTH) {
        let (name, value) = match body.size_hint().exact() {
            Some(length) => (CONTENT_LENGTH, HeaderValue::from(length)),
            None => (TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        };
        head.headers.insert(name, value);
    }
    Request::from_parts(head, body)
}

/// Takes scheme and authority out of a target that has them; the authority is what `Host` says then
/// (RFC 9112, 3.2.2).
pub fn to_origin_form(head: &mut request::Parts) {
    let Some(authority) = head.uri.authority() else {
        return;
    };
    let text = authority.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if let Ok(host) = HeaderValue::from_str(host) {
        head.headers.insert(HOST, host);
    }
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // A path that was parsed before is one again.
    head.uri = path.parse().unwrap_or_default();
}

/// The answer as it is sent to the client.
fn incoming(mut head: response::Parts, body: Relayed) -> Response {
    head.version = Version::HTTP_11;
    Response::from_parts(head, Body::passed(body))
}

/// Returns an answer of ours in place of Django's.
fn refuse(failure: &UpstreamFailure) -> Response {
    let (status, text) = failure.answer();
    let body = Value::Map(vec![("detail".into(), text.into())]);
    let mut response = reply::json(status, &body);
    if let Some(seconds) = failure.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    // The rest of the request's body would be taken for the next request.
    reply::close(&mut response);
    response
}
