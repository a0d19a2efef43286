//! A server that listens and cannot serve yet: `/healthz` is well, everything else is asked to come
//! back.

use std::{convert::Infallible, sync::Arc};

use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
};
use tokio::time::sleep;

use super::{Listener, PAUSE, brief};
use crate::{
    config,
    http::{Body, Response, ops},
    tls::Tls,
};

/// Answers until it is dropped. One answer for each connection, so that the next request meets
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
                tokio::spawn(async move {
                    let (settings, tls) = &*meanwhile;
                    brief::serve(settings, tls.as_ref(), socket, reply).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn reply(request: Request<Incoming>) -> Response {
    if request.uri().path() == "/healthz" {
        return ops::healthz();
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
    response
}
