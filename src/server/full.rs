//! A server with as many connections as it may have: load balancers and Prometheus still hear how
//! it is, all other clients are sent away with 503.
//!
//! A full server works. If it did not answer `/healthz`, its supervisor would restart it, and
//! all its clients would come back at once.

use std::{
    fs::File,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::{Request, body::Incoming};
use tokio::{io::AsyncWriteExt, sync::Semaphore, time::timeout};

use super::{PAUSE, Site, brief};
use crate::{
    app::App,
    http::{Response, ops::Endpoint, reply},
    metrics::SecurityEvent,
    net::Socket,
    telemetry::security::{AuditPlace, SecurityFinding},
};

/// Connections above `server.max_connections`, for one answer each.
const SPARE: usize = 256;

/// Descriptors kept back, each for one connection when the system gives no others.
const KEPT: usize = 8;

/// The process, or the system, has as many files open as it may: `EMFILE` and `ENFILE`.
const NO_FILES: [i32; 2] = [24, 23];

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";

/// Meets those for whom there is no place.
pub struct Full {
    site: Arc<Site>,
    spare: Arc<Semaphore>,
    kept: Arc<SpareFiles>,
}

/// Files that are open for nothing but their descriptors. Held for moments only.
#[derive(Default)]
struct SpareFiles(Mutex<Vec<File>>);

impl SpareFiles {
    /// Fills up what is missing, as far as the system gives it.
    fn fill(&self) {
        let mut files = self.files();
        while files.len() < KEPT
            && let Ok(file) = File::open("/dev/null")
        {
            files.push(file);
        }
    }

    fn files(&self) -> MutexGuard<'_, Vec<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One descriptor less is kept back, until this is dropped.
pub struct Lent(Arc<SpareFiles>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.fill();
    }
}

impl Full {
    pub fn new(site: Arc<Site>) -> Self {
        let spare = Arc::new(Semaphore::new(SPARE));
        let kept = Arc::<SpareFiles>::default();
        kept.fill();
        Full { site, spare, kept }
    }

    /// Gives a descriptor back to the system if it has refused a connection for want of one.
    pub fn lend(&self, error: &io::Error) -> Option<Lent> {
        let code = error.raw_os_error()?;
        if !NO_FILES.contains(&code) {
            return None;
        }
        self.kept.fill();
        drop(self.kept.files().pop()?);
        Some(Lent(Arc::clone(&self.kept)))
    }

    /// As [`Full::meet`], on a descriptor that was lent.
    pub fn meet_on(&self, lent: Lent, socket: Socket) {
        let site = Arc::clone(&self.site);
        tokio::spawn(async move {
            meet(&site, socket).await;
            // Only now, when the socket is closed.
            drop(lent);
        });
    }

    /// Answers one request of this connection, and nothing more.
    pub fn meet(&self, mut socket: Socket) {
        if let Ok(permit) = Arc::clone(&self.spare).try_acquire_owned() {
            let site = Arc::clone(&self.site);
            tokio::spawn(async move {
                let _permit = permit;
                meet(&site, socket).await;
            });
            return;
        }
        let app = &self.site.app;
        refused(app, socket.peer());
        // A client that expects TLS would not understand.
        if app.tls.is_none() {
            tokio::spawn(async move {
                let _ = timeout(PAUSE * 20, socket.write_all(REFUSAL)).await;
            });
        }
    }
}

/// Answers one request of a connection.
async fn meet(site: &Site, socket: Socket) {
    let (app, client) = (&site.app, socket.peer());
    let answer = |request| answer(site, request, client);
    brief::serve(&app.config.server, app.tls.as_ref(), socket, answer).await;
}

/// Counts a connection for which there is no place.
fn refused(app: &App, client: Option<IpAddr>) {
    app.metrics.connection_refused();
    app.audit.note(&SecurityFinding {
        event: SecurityEvent::Limit,
        reason: "connections",
        client: client.filter(|_| !app.config.server.trusts(client)),
        user: None,
        place: AuditPlace::Nothing,
    });
}

async fn answer(site: &Site, request: Request<Incoming>, client: Option<IpAddr>) -> Response {
    let app = &*site.app;
    if let Some(endpoint) = Endpoint::of(request.uri().path(), &app.config) {
        let method = request.method().as_str();
        return endpoint.answer(app, &site.probes, method, false).await;
    }
    refused(app, client);
    reply::no_room()
}
