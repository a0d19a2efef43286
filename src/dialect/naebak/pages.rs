//! Answers of Flask: the health of the service, and pages for what is not there.

use hyper::{
    HeaderMap, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN, VARY},
};

use crate::{
    config::CorsOrigin,
    fastapi::times::naive,
    http::{Body, Response, reply::JSON},
    python::{datetime::Timestamp, json::write_ascii_str},
};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const METHODS: HeaderValue = HeaderValue::from_static("GET, OPTIONS, HEAD");

const NOT_FOUND: &str = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n\
    <h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL \
    manually please check your spelling and try again.</p>\n";

const NOT_ALLOWED: &str = "<!doctype html>\n<html lang=en>\n<title>405 Method Not Allowed</title>\n\
    <h1>Method Not Allowed</h1>\n<p>The method is not allowed for the requested URL.</p>\n";

/// Path of the health.
pub const HEALTH: &str = "/health";

/// Answers a request that is none of Socket.IO's. `redis` is the state that the health shows.
#[must_use]
pub fn answer(
    method: &str,
    path: &str,
    redis: &str,
    headers: &HeaderMap,
    origins: &[CorsOrigin],
) -> Response {
    let mut response = match (path, method) {
        (HEALTH, "GET" | "HEAD") => health(redis),
        (HEALTH, "OPTIONS") => allowed(page(StatusCode::OK, "")),
        (HEALTH, _) => allowed(page(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED)),
        _ => page(StatusCode::NOT_FOUND, NOT_FOUND),
    };
    share(headers, response.headers_mut(), origins);
    response
}

fn health(redis: &str) -> Response {
    let mut body = b"{\"redis_status\":".to_vec();
    write_ascii_str(&mut body, redis);
    let now = naive(Timestamp::now());
    let rest = format!(
        ",\"service\":\"naebak-messaging-service\",\"status\":\"ok\",\"timestamp\":\"{now}\",\"version\":\"1.0.0\"}}\n"
    );
    body.extend_from_slice(rest.as_bytes());
    let mut response = Response::new(Body::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn page(status: StatusCode, body: &'static str) -> Response {
    let mut response = Response::new(Body::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    response
}

fn allowed(mut response: Response) -> Response {
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

/// Lets pages of other sites read an answer, as flask-cors does.
fn share(request: &HeaderMap, response: &mut HeaderMap, origins: &[CorsOrigin]) {
    let takes_any = origins.contains(&CorsOrigin::Any);
    match request.get(ORIGIN) {
        Some(origin) if allows(origins, origin) => {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(VARY, HeaderValue::from_static("Origin"));
        }
        None if takes_any => {
            let any = HeaderValue::from_static("*");
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
        }
        _ => {}
    }
}

/// Returns whether pages of this origin are let in.
#[must_use]
pub fn allows(origins: &[CorsOrigin], origin: &HeaderValue) -> bool {
    origins.iter().any(|allowed| match allowed {
        CorsOrigin::Any => true,
        CorsOrigin::Exact(exact) => exact.as_bytes() == origin.as_bytes(),
    })
}
