//! A server that listens and cannot serve yet: `/healthz` is well, everything else is told to come
//! back.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};

use super::{HEAD_MAX, Listener, PAUSE, Socket, Stream, door::welcome};
use crate::{
    config,
    http::{Body, ops},
    tls::Tls,
};

/// How long one client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers until it is dropped. One answer for each connection, so that whoever asks again meets
/// the server that took over.
pub async fn answer(
    listener: &Listener,
    settings: &config::Server,
    tls: Option<Tls>,
) -> Infallible {
    let meanwhile = Arc::new((settings.clone(), tls));
    loop {
        match listener.accept().await {
            Ok(socket) => {
                let meanwhile = Arc::clone(&meanwhile);
                tokio::spawn(timeout(PATIENCE, async move {
                    let (settings, tls) = &*meanwhile;
                    serve(settings, tls.as_ref(), socket).await;
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(settings: &config::Server, tls: Option<&Tls>, socket: Socket) {
    let io = match welcome(settings, tls, socket).await {
        Ok((io, _)) => io,
        Err(error) => {
            tracing::debug!(%error, "a connection was refused");
            return;
        }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_header_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Stream::new(io, None)), service_fn(reply));
    // Whoever breaks off has not waited for the answer.
    let _ = connection.await;
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
