//! One answer for each connection: how those are met whom the server cannot serve, not yet
//! ([`waiting`](super::waiting)) or not now ([`full`](super::full)).

use std::{convert::Infallible, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use super::{HEAD_MAX, door::welcome};
use crate::{
    config,
    http::Response,
    net::{Socket, Stream},
    tls::Tls,
};

/// Longest time for one client, from the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads one request, gives the answer to it, and closes the connection.
pub async fn serve<F>(
    settings: &config::Server,
    tls: Option<&Tls>,
    socket: Socket,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response>,
{
    let exchange = async {
        let io = match welcome(settings, tls, socket).await {
            Ok((io, _)) => io,
            Err(error) => {
                tracing::debug!(%error, "a connection was refused");
                return;
            }
        };
        let service = service_fn(|request| {
            let answer = answer(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_header_size(HEAD_MAX)
            .serve_connection(TokioIo::new(Stream::new(io, None)), service);
        // A client that breaks off has not waited for the answer.
        let _ = connection.await;
    };
    let _ = timeout(PATIENCE, exchange).await;
}
