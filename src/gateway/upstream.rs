//! Connections to the upstream: opened when needed, kept for a moment after an answer.

use std::{
    io,
    path::Path,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::{TrySendError, http1},
    ext::on_informational,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    body::{Outgoing, Relayed, Upload},
    breaker::Breaker,
    tls::{self, TrustError},
};
use crate::{
    config::UpstreamAddress as Address,
    metrics::Metrics,
    net::{Io, Stream, client::TlsName},
};

/// Longest time an unused connection is kept: less than the 5 s after which Uvicorn, the most
/// impatient of Django's servers, closes its own.
const IDLE: Duration = Duration::from_secs(4);

/// Most unused connections that are kept.
const IDLE_MAX: usize = 128;

/// Most bytes of the head of an answer.
const HEAD: usize = 64 * 1024;

/// Most interim answers to one request. A server that sends more would occupy a worker thread.
const INTERIM: usize = 16;

/// Longest time for a connection to be ready again after an answer was read from it.
const SETTLE: Duration = Duration::from_millis(5);

/// A connection to the upstream.
#[derive(Debug)]
struct UpstreamSender {
    requests: http1::SendRequest<Outgoing>,
    /// Of the task that reads and writes.
    driver: AbortHandle,
}

impl UpstreamSender {
    /// Sends a request, which is given back if it was not begun.
    async fn send(
        &mut self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let (driver, count) = (self.driver.clone(), AtomicUsize::new(0));
        on_informational(&mut request, move |_| {
            if count.fetch_add(1, Ordering::Relaxed) == INTERIM {
                driver.abort();
            }
        });
        self.requests.try_send_request(request).await
    }
}

/// Why there is no answer from the upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFailure {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the connection broke before the answer: {0}")]
    Broken(hyper::Error),
    #[error("no answer in time")]
    Late,
    /// As many requests are under way as may be, and none ended in time, or too many wait for that.
    #[error("too many requests are under way")]
    Busy,
    /// It has not answered lately, and is not asked. The time after which to try again.
    #[error("it has not answered lately")]
    Silent(Duration),
    /// It agreed to an upgrade, or to an extension of WebSocket, that it was not asked for.
    #[error("the answer agrees to what was not asked for")]
    Unasked,
    /// It is the client that stopped sending.
    #[error("the request's body stopped coming")]
    Starved,
}

impl UpstreamFailure {
    /// Returns the status of the answer, and its text.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            UpstreamFailure::Connect(_) => (
                StatusCode::BAD_GATEWAY,
                "The server behind this one cannot be reached, try again.",
            ),
            UpstreamFailure::Broken(_) | UpstreamFailure::Unasked => (
                StatusCode::BAD_GATEWAY,
                "The server behind this one broke off, try again.",
            ),
            UpstreamFailure::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The server behind this one is busy, try again.",
            ),
            UpstreamFailure::Silent(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The server behind this one does not answer, try again later.",
            ),
            UpstreamFailure::Late => (
                StatusCode::GATEWAY_TIMEOUT,
                "The server behind this one took too long, try again.",
            ),
            UpstreamFailure::Starved => (
                StatusCode::REQUEST_TIMEOUT,
                "The request's body came too slowly.",
            ),
        }
    }

    /// Seconds after which the client may try again, where that is known.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            UpstreamFailure::Busy => Some(1),
            UpstreamFailure::Silent(left) => Some(left.as_secs() + 1),
            _ => None,
        }
    }

    /// Returns the word of the metrics for it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            UpstreamFailure::Connect(_) => "connect",
            UpstreamFailure::Broken(_) => "broken",
            UpstreamFailure::Late => "late",
            UpstreamFailure::Busy => "busy",
            UpstreamFailure::Silent(_) => "silent",
            UpstreamFailure::Unasked => "unasked",
            UpstreamFailure::Starved => "starved",
        }
    }
}

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits {
    /// Requests under way at once.
    pub requests: usize,
    /// Requests that wait for one of these to end.
    pub waiting: usize,
    /// Requests one after the other that find it hanging, after which it is not asked; 0 for any
    /// number.
    pub hangs: u32,
    /// Time that it is not asked then.
    pub pause: Duration,
    pub connect: Duration,
    /// From the last byte of the request's body to the head of the answer.
    pub response: Duration,
    /// Without a byte either way in the middle of an answer.
    pub idle: Duration,
}

/// The upstream and the connections to it that are free.
pub struct Upstream {
    address: Address,
    /// Of an address that asks for it.
    tls: Option<TlsName>,
    limits: UpstreamLimits,
    metrics: Arc<Metrics>,
    /// One permit for each request that may be under way.
    permits: Arc<Semaphore>,
    /// One permit for each that may wait for one of those.
    queue: Semaphore,
    breaker: Breaker,
    /// The one used last is last, and used next.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: UpstreamSender,
    since: Instant,
}

/// A connection in use, and where it belongs.
pub struct UpstreamPlace {
    upstream: Arc<Upstream>,
    sender: UpstreamSender,
    upload: Arc<Upload>,
}

impl UpstreamPlace {
    /// The connection may be used again, if the request has been sent whole.
    pub fn give_back(self) {
        if !self.upload.is_done() || self.sender.requests.is_closed() {
            return;
        }
        self.upstream.keep(self.sender);
    }
}

impl Upstream {
    /// `authorities` is a file of those who may say who the upstream is, if it has TLS.
    ///
    /// # Errors
    /// When there are none of them.
    pub fn new(
        address: Address,
        authorities: Option<&Path>,
        limits: UpstreamLimits,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TrustError> {
        let tls = match &address {
            Address::Tls(address) => Some(tls::to(address, authorities)?),
            Address::Tcp(_) | Address::Unix(_) => None,
        };
        Ok(Upstream {
            address,
            tls,
            permits: Arc::new(Semaphore::new(limits.requests)),
            queue: Semaphore::new(limits.waiting),
            breaker: Breaker::new(limits.hangs, limits.pause),
            limits,
            metrics,
            idle: Mutex::default(),
        })
    }

    /// Sends a request and waits for the head of the answer. A kept connection that turns out to
    /// be dead costs one more attempt, if the request can be sent again.
    ///
    /// # Errors
    /// See [`UpstreamFailure`].
    pub async fn send(
        self: &Arc<Self>,
        request: Request<Outgoing>,
    ) -> Result<Response<Relayed>, UpstreamFailure> {
        let attempt = self.breaker.admit().map_err(UpstreamFailure::Silent)?;
        let outcome = self.ask(request).await;
        attempt.ended(&outcome);
        outcome
    }

    async fn ask(
        self: &Arc<Self>,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Relayed>, UpstreamFailure> {
        let upload = match request.body() {
            Outgoing::Empty | Outgoing::Whole(_) => Upload::new(true),
            Outgoing::Streaming(_, upload) => Arc::clone(upload),
        };
        let permit = self.permit().await?;
        let relayed = |response: Response<Incoming>, sender| {
            let place = UpstreamPlace {
                upstream: Arc::clone(self),
                sender,
                upload: Arc::clone(&upload),
            };
            response.map(|body| {
                let relayed = self.relayed(body, Arc::clone(&upload), Some(place));
                relayed.holding(permit)
            })
        };
        let patience = self.limits.response;
        if let Some(mut sender) = self.kept().await {
            let copy = copy(&request);
            match in_time(&upload, patience, sender.send(request)).await? {
                Ok(response) => return Ok(relayed(response, sender)),
                Err(mut error) => match error.take_message().or(copy) {
                    Some(unsent) => request = unsent,
                    None => return Err(UpstreamFailure::Broken(error.into_error())),
                },
            }
        }
        let mut sender = self.connect(false).await?;
        let response = in_time(&upload, patience, sender.send(request)).await?;
        let response = response.map_err(|error| UpstreamFailure::Broken(error.into_error()))?;
        Ok(relayed(response, sender))
    }

    /// Fails unless a connection can be had and requests are passed on; one that is opened for it
    /// is kept.
    ///
    /// # Errors
    /// See [`UpstreamFailure`].
    pub async fn ping(&self) -> Result<(), UpstreamFailure> {
        if let Some(left) = self.breaker.pause_left() {
            return Err(UpstreamFailure::Silent(left));
        }
        let is_kept =
            |idle: &Idle| idle.since.elapsed() < IDLE && !idle.sender.requests.is_closed();
        if !self.idle().iter().any(is_kept) {
            let sender = self.connect(false).await?;
            self.keep(sender);
        }
        Ok(())
    }

    /// Waits until one more request may be under way.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, UpstreamFailure> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self
            .queue
            .try_acquire()
            .map_err(|_| UpstreamFailure::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned();
        match timeout(self.limits.connect, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(UpstreamFailure::Busy),
        }
    }

    fn relayed(
        &self,
        body: Incoming,
        upload: Arc<Upload>,
        place: Option<UpstreamPlace>,
    ) -> Relayed {
        Relayed::new(
            body,
            upload,
            self.limits.idle,
            place,
            Arc::clone(&self.metrics),
        )
    }

    /// Sends a request that may be answered with an upgrade, on a connection of its own.
    ///
    /// # Errors
    /// See [`UpstreamFailure`].
    pub async fn upgrade(
        &self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, UpstreamFailure> {
        let attempt = self.breaker.admit().map_err(UpstreamFailure::Silent)?;
        let outcome = self.ask_for_upgrade(request).await;
        attempt.ended(&outcome);
        outcome
    }

    async fn ask_for_upgrade(
        &self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, UpstreamFailure> {
        let _permit = self.permit().await?;
        let mut sender = self.connect(true).await?;
        let (upload, patience) = (Upload::new(true), self.limits.response);
        let response = in_time(&upload, patience, sender.send(request)).await?;
        response.map_err(|error| UpstreamFailure::Broken(error.into_error()))
    }

    /// Returns the body of an answer to [`Upstream::upgrade`] that is no upgrade.
    pub fn refusal(&self, body: Incoming) -> Relayed {
        self.relayed(body, Upload::new(true), None)
    }

    /// Returns a kept connection that still lives.
    async fn kept(&self) -> Option<UpstreamSender> {
        loop {
            let Idle { mut sender, since } = self.idle().pop()?;
            let ready = timeout(SETTLE, sender.requests.ready());
            if since.elapsed() < IDLE && matches!(ready.await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    async fn connect(&self, upgrade: bool) -> Result<UpstreamSender, UpstreamFailure> {
        let io = timeout(self.limits.connect, self.open())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(UpstreamFailure::Connect)?;
        let (requests, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(HEAD)
            .handshake(TokioIo::new(Stream::new(io, None)))
            .await
            .map_err(UpstreamFailure::Broken)?;
        let driver = tokio::spawn(async move {
            let ended = if upgrade {
                connection.with_upgrades().await
            } else {
                connection.await
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the upstream ended");
            }
        });
        let driver = driver.abort_handle();
        Ok(UpstreamSender { requests, driver })
    }

    async fn open(&self) -> io::Result<Io> {
        let address = match &self.address {
            Address::Tcp(address) | Address::Tls(address) => address,
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                return Ok(Io::Plain(stream.into()));
            }
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => tls.over(stream.into()).await,
            None => Ok(Io::Plain(stream.into())),
        }
    }

    /// Keeps a connection for the next request.
    fn keep(&self, sender: UpstreamSender) {
        let mut idle = self.idle();
        let now = Instant::now();
        idle.retain(|idle| now - idle.since < IDLE && !idle.sender.requests.is_closed());
        if idle.len() < IDLE_MAX {
            idle.push(Idle { sender, since: now });
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the same request again, if it does no harm to send it twice.
fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS];
    if !safe.contains(request.method()) || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Outgoing::Empty);
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    request.extensions().clone_into(copy.extensions_mut());
    Some(copy)
}

/// Waits as long as the request's body makes progress, and `patience` after that.
async fn in_time<T>(
    upload: &Upload,
    patience: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, UpstreamFailure> {
    let mut answer = pin!(answer);
    loop {
        let due = upload.last_at() + patience;
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            () = sleep_until(due) => {
                if upload.last_at() + patience > Instant::now() {
                    continue;
                }
                return Err(if upload.is_starved() { UpstreamFailure::Starved } else { UpstreamFailure::Late });
            }
        }
    }
}
