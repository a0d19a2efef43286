//! A server with as many connections as it may have: load balancers and Prometheus still hear how
//! it is, everybody else is told to come back.
//!
//! A full server works. If it did not answer `/healthz`, whoever watches it would restart it, and
//! all its clients would come back at once.

use std::sync::Arc;

use hyper::{Method, Request, body::Incoming};
use tokio::{io::AsyncWriteExt, sync::Semaphore, time::timeout};

use super::{PAUSE, Socket, brief};
use crate::{
    app::App,
    http::{Response, ops, reply, router::Route},
};

/// Connections above `server.max_connections`, for one answer each.
const SPARE: usize = 256;

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";

/// Meets those for whom there is no place.
pub struct Full {
    app: Arc<App>,
    spare: Arc<Semaphore>,
}

impl Full {
    pub fn new(app: Arc<App>) -> Self {
        let spare = Arc::new(Semaphore::new(SPARE));
        Full { app, spare }
    }

    /// Answers one request of this connection, and nothing more.
    pub fn meet(&self, mut socket: Socket) {
        let app = Arc::clone(&self.app);
        if let Ok(permit) = Arc::clone(&self.spare).try_acquire_owned() {
            tokio::spawn(async move {
                let (_permit, app) = (permit, &*app);
                let answer = |request| answer(app, request);
                brief::serve(&app.config.server, app.tls.as_ref(), socket, answer).await;
            });
            return;
        }
        app.metrics.connection_refused();
        // Whoever expects TLS would not understand.
        if app.tls.is_none() {
            tokio::spawn(async move {
                let _ = timeout(PAUSE * 20, socket.write_all(REFUSAL)).await;
            });
        }
    }
}

async fn answer(app: &App, request: Request<Incoming>) -> Response {
    let route = Route::of(request.uri().path(), &app.config);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match route {
        Some(Route::Healthz | Route::Readyz | Route::Metrics) if !is_read => reply::read_only(),
        Some(Route::Healthz) => ops::healthz(),
        Some(Route::Readyz) => ops::readyz(app, false).await,
        Some(Route::Metrics) => ops::metrics(app),
        _ => {
            app.metrics.connection_refused();
            reply::no_room()
        }
    }
}
