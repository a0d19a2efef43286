//! `/metrics` on an address of its own, `metrics.bind`: for those who watch, and out of the reach
//! of clients. Beside it is `/status`, and nothing else. It serves to the end of the process, so that a drain can be
//! watched too.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{
    Method, Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, time::sleep};

use super::{HEAD_MAX, Listener, PAUSE};
use crate::{
    app::App,
    http::{Response, ops, reply},
    net::{Io, Stream},
};

/// Connections at once: a few Prometheus servers and some people. Others wait to be accepted.
const AT_ONCE: usize = 64;

/// Longest life of a connection; Prometheus opens another without a word.
const LONGEST: Duration = Duration::from_secs(3600);

/// Answers until it is dropped.
pub async fn serve(app: Arc<App>, listener: Listener) -> Infallible {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let keep_alive = Duration::from_secs(app.config.server.keep_alive_s);
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let socket = match listener.accept().await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| {
                let answer = answer(&app, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(keep_alive)
                .max_header_size(HEAD_MAX)
                .serve_connection(TokioIo::new(Stream::new(Io::Plain(socket), None)), service);
            let _ = tokio::time::timeout(LONGEST, connection).await;
        });
    }
}

fn answer(app: &App, request: &Request<Incoming>) -> Response {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/status") {
        let text = "There is nothing here but /metrics and /status.\n";
        return reply::ours(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text);
    }
    match *request.method() {
        Method::GET | Method::HEAD if path == "/metrics" => ops::metrics(app),
        Method::GET | Method::HEAD => ops::status_page(),
        _ => reply::read_only(),
    }
}
