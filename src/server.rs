//! Accepts, limits, and ends: the frame around every connection. [`Listener`] is the socket it
//! listens on, [`waiting`] what is answered there before there is anything to serve, [`full`] what
//! is answered when there is no place left, and [`scrape`] the other address that `/metrics` may
//! have. [`site`] is all that is served, and asks host, gateway, WebSockets and HTTP in that order;
//! `mounts` are the chats of other systems, on addresses of their own or below a prefix.

mod brief;
mod door;
mod full;
mod listener;
mod mounts;
pub mod scrape;
pub mod site;
pub mod waiting;

use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::select_all;
use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tracing::Instrument as _;

use self::{
    door::{Unwelcome, welcome},
    full::Full,
};
pub use self::{
    listener::Listener,
    mounts::{Entrance, Mounts},
    site::{Site, StartError},
};
use crate::{
    app::App,
    config::Bind,
    http::{Response, reply},
    net::{ConnectionPlace, Ends, Io, Peer, Socket, Stream},
    shutdown::Over,
    telemetry::{request::RequestId, trace::Trace},
};

/// Most bytes of a request's head, and most header lines: Twisted's own.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 500;

/// Time that a connection without a request has for one when the drain begins: its client was
/// accepted and may have sent a request that has not arrived.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Between two log lines of a drain.
const DRAIN_REPORT: Duration = Duration::from_secs(1);

/// Pause after the system refused another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that listens.
pub struct Server {
    site: Arc<Site>,
    listener: Listener,
    /// Addresses of single systems.
    entrances: Vec<(Entrance, Listener)>,
    /// One permit for each connection that may be open.
    permits: Arc<Semaphore>,
    full: Full,
    /// Numbers the connections for the log.
    accepted: AtomicU64,
}

/// End of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection came to its end.
    Drained,
    /// The drain was over while this many connections were open.
    Abandoned(usize, Over),
    /// The task of this name has panicked, without which nothing may go on.
    Failed(&'static str),
}

impl Server {
    /// Listens where `server.bind` and the `bind` of each mounted system say.
    ///
    /// # Errors
    /// See [`Listener::bind`].
    pub async fn bind(site: Arc<Site>) -> io::Result<Self> {
        let settings = &site.app.config.server;
        let listener = Listener::bind(&settings.bind, settings.reuse_port).await?;
        let mut entrances = Vec::new();
        for (entrance, mounted) in site.mounts.iter() {
            if let Some(bind) = &mounted.mount.bind {
                let listener = Listener::bind(bind, settings.reuse_port).await?;
                entrances.push((entrance, listener));
            }
        }
        Ok(Server::new(site, listener, entrances))
    }

    /// Makes a server on sockets that listen already: one for everything, and those of single
    /// systems.
    #[must_use]
    pub fn new(site: Arc<Site>, listener: Listener, entrances: Vec<(Entrance, Listener)>) -> Self {
        let permits = Arc::new(Semaphore::new(site.app.config.server.max_connections));
        Server {
            full: Full::new(Arc::clone(&site)),
            site,
            listener,
            entrances,
            permits,
            accepted: AtomicU64::new(0),
        }
    }

    /// Returns the address it listens on, as a client writes it: with the port that a bind to port
    /// 0 got.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn address(&self) -> io::Result<String> {
        let place = self.listener.place()?;
        Ok(match place {
            Bind::Tcp(address) if self.site.app.tls.is_some() => format!("https://{address}"),
            Bind::Tcp(address) => format!("http://{address}"),
            Bind::Unix(_) => place.to_string(),
        })
    }

    /// Returns the addresses of single systems, in the order of their mounts, as those of
    /// [`address`](Self::address).
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn entrances(&self) -> io::Result<Vec<Bind>> {
        let listeners = self.entrances.iter().map(|(_, listener)| listener.place());
        listeners.collect()
    }

    /// Serves until the app's drain has begun and every connection has ended, or the drain's
    /// window is over.
    pub async fn run(self) -> Ended {
        let drain = self.site.app.drain.clone();
        tokio::select! {
            never = self.accept_all() => match never {},
            () = drain.begun() => {}
            name = self.site.app.vital.failure() => return Ended::Failed(name),
        }
        let Server {
            site,
            listener,
            entrances,
            permits,
            ..
        } = self;
        let app = &site.app;
        drop((listener, entrances));
        let max = app.config.server.max_connections;
        // Each connection's permit holds the semaphore, whose free permits wait in `all` below.
        let open = || Arc::strong_count(&permits).saturating_sub(1);
        let all = permits.acquire_many(u32::try_from(max).unwrap_or(u32::MAX));
        tokio::select! {
            _ = all => Ended::Drained,
            name = app.vital.failure() => Ended::Failed(name),
            over = drain.over() => Ended::Abandoned(open(), over),
            never = report_drain(open) => match never {},
        }
    }

    async fn accept_all(&self) -> Infallible {
        let single = self.entrances.iter();
        let single = single.map(|(entrance, listener)| self.accept_at(listener, Some(*entrance)));
        let all = single.chain([self.accept_at(&self.listener, None)]);
        let (never, ..) = select_all(all.map(Box::pin)).await;
        match never {}
    }

    async fn accept_at(&self, listener: &Listener, entrance: Option<Entrance>) -> Infallible {
        loop {
            match listener.accept().await {
                Ok(socket) => self.start(socket, entrance),
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    self.site.app.metrics.error("accept");
                    if !self.accept_one_more(listener, &error).await {
                        // Descriptors in use may be given back soon.
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Accepts a connection for one answer, if the system has refused it for want of a descriptor
    /// and one is kept back.
    async fn accept_one_more(&self, listener: &Listener, refused: &io::Error) -> bool {
        let Some(lent) = self.full.lend(refused) else {
            return false;
        };
        match timeout(PAUSE, listener.accept()).await {
            Ok(Ok(socket)) => {
                self.full.meet_on(lent, socket);
                true
            }
            _ => false,
        }
    }

    fn start(&self, socket: Socket, entrance: Option<Entrance>) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return self.full.meet(socket);
        };
        let app = &self.site.app;
        let socket = socket.with_patience(app.config.ws.patience());
        let open = app.metrics.connection_accepted();
        let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let site = Arc::clone(&self.site);
        tokio::spawn(serve(
            site,
            socket,
            ConnectionPlace { permit, open },
            (number, entrance),
        ));
    }
}

/// Logs how many connections are still open while the server drains.
async fn report_drain(open: impl Fn() -> usize) -> Infallible {
    loop {
        sleep(DRAIN_REPORT).await;
        tracing::info!(open = open(), "draining");
    }
}

/// Serves a connection to its end; `number` is its name in the log.
async fn serve(
    site: Arc<Site>,
    socket: Socket,
    place: ConnectionPlace,
    (number, entrance): (u64, Option<Entrance>),
) {
    let app = &site.app;
    let first_head = Instant::now() + Duration::from_secs(app.config.server.header_timeout_s);
    let ends = site.host.is_some().then(|| socket.ends());
    let (io, peer) = if app.tls.is_some() || app.config.server.proxy_protocol {
        match Box::pin(welcomed(app, socket, first_head)).await {
            Some(welcomed) => welcomed,
            None => return,
        }
    } else {
        let address = socket.peer();
        let secure = false;
        (Io::Plain(socket), Peer { address, secure })
    };
    let stream = Stream::new(io, Some(place));
    speak(site, stream, (peer, ends, entrance), (number, first_head)).await;
}

/// Reads the PROXY header and does the TLS handshake, within the deadline.
async fn welcomed(app: &App, socket: Socket, deadline: Instant) -> Option<(Io, Peer)> {
    let welcome = welcome(&app.config.server, app.tls.as_ref(), socket);
    let welcomed = tokio::select! {
        welcomed = timeout_at(deadline, welcome) => welcomed,
        () = app.drain.begun() => return None,
    };
    match welcomed {
        Ok(Ok(welcomed)) => return Some(welcomed),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was refused");
            match error {
                Unwelcome::Proxy(_) => app.metrics.proxy_refused(),
                Unwelcome::Tls(failure) => app.metrics.tls_failure(failure.label()),
            }
        }
        Err(_) if app.tls.is_some() => app.metrics.tls_failure("late"),
        Err(_) => {}
    }
    None
}

async fn answer(
    site: Arc<Site>,
    mut request: Request<Incoming>,
    id: RequestId,
) -> Result<Response, Infallible> {
    let app = &site.app;
    let scheme = if app.tls.is_some() { "https" } else { "http" };
    let tracer = app.tracer.as_ref();
    let trace = tracer.and_then(|tracer| tracer.request(&request, scheme));
    let line = id.span(request.headers(), trace.as_ref());
    request.extensions_mut().insert(id);
    let mut response = match trace {
        None => site.answer(request).instrument(line).await,
        // Elsewhere, so that who is not traced has no room for it.
        Some(trace) => Box::pin(traced(&site, request, trace).instrument(line)).await,
    };
    if app.drain.has_begun() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        reply::close(&mut response);
    }
    Ok(response)
}

/// Answers a request as part of a trace.
async fn traced(site: &Site, mut request: Request<Incoming>, trace: Trace) -> Response {
    request.extensions_mut().insert(trace.clone());
    let answer = site.answer(request);
    let Some(span) = trace.span() else {
        return answer.await;
    };
    let response = span.around(answer).await;
    span.answered(response.status());
    span.end();
    response
}

/// Speaks HTTP, to the end of the connection or to its upgrade. The first head has to be there in
/// time.
async fn speak(
    site: Arc<Site>,
    stream: Stream,
    (peer, ends, entrance): (Peer, Option<Ends>, Option<Entrance>),
    (number, first_head): (u64, Instant),
) {
    // Requests read so far.
    let asked = Arc::new(AtomicU64::new(0));
    let drain = site.app.drain.clone();
    let keep_case = site.gateway.is_some();
    let keep_alive = Duration::from_secs(site.app.config.server.keep_alive_s);
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(ends) = ends {
                request.extensions_mut().insert(ends);
            }
            if let Some(entrance) = entrance {
                request.extensions_mut().insert(entrance);
            }
            let id = RequestId::new(number, asked.fetch_add(1, Ordering::Relaxed) + 1);
            answer(Arc::clone(&site), request, id)
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX)
        .auto_date_header(false)
        .preserve_header_case(keep_case)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = false;
    let mut waiting = true;
    let nothing_asked = || asked.load(Ordering::Relaxed) == 0;
    let mut late = pin!(sleep_until(first_head));
    let mut begun = pin!(async {
        drain.begun().await;
        if nothing_asked() {
            sleep(LAST_WORD).await;
        }
    });
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = &mut begun, if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut late, if waiting => {
                if nothing_asked() {
                    return;
                }
                waiting = false;
            }
        }
    }
}
