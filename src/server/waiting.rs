//! A server that listens and cannot serve yet: `/healthz` is well, everything else is told to come
//! back.

use std::{convert::Infallible, time::Duration};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};

use super::{HEAD_MAX, Io, Listener, PAUSE, Stream};
use crate::http::{Body, ops};

/// How long one client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers until it is dropped. One answer for each connection, so that whoever asks again meets
/// the server that took over.
pub async fn answer(listener: &Listener) -> Infallible {
    loop {
        match listener.accept().await {
            Ok(socket) => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .keep_alive(false)
                    .max_header_size(HEAD_MAX)
                    .serve_connection(
                        TokioIo::new(Stream::new(Io::Plain(socket), None)),
                        service_fn(reply),
                    );
                tokio::spawn(timeout(PATIENCE, connection));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn reply(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/healthz" {
        return Ok(ops::healthz());
    }
    let mut response = if request.uri().path() == "/readyz" {
        ops::starting()
    } else {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(response)
}
