//! Sockets and requests of any application of Django Channels: held here, while the project's own consumers run
//! in workers that hold none. `host/README.md` is the manual, and describes the wire.
//!
//! - [`wire`] is what is said to a worker and what it may say,
//! - [`link`] is the connection to one, [`pool`] starts them and lets them join, by TCP [`remote`]
//!   with a [`proof`],
//! - [`routes`] is which paths are the application's,
//! - [`upgrade`] answers the handshake of a hosted path, with what [`scope`] tells of it,
//! - [`http`] answers requests of HTTP, which [`exchange`] knows at a worker,
//! - [`reload`] replaces all workers, [`state`] is what is left of a consumer meanwhile, [`order`]
//!   is how a command asks for it,
//! - [`socket`] is an open socket, [`place`] what it holds, [`mailbox`] what waits for it,
//!   [`calls`] what waits for the worker,
//! - [`groups`] is who is in which group, [`event`] what is sent to them,
//! - [`request`] is what consumers ask of the channel layer.
//!
//! The host has a channel layer of its own, so that other processes reach hosted sockets by the
//! very names that Channels gives them, and the chat's events have nothing to do with it. Nothing
//! of this is there unless something is hosted.

mod calls;
mod event;
mod exchange;
mod groups;
pub mod http;
mod link;
mod mailbox;
pub mod order;
mod place;
mod pool;
mod proof;
pub mod reload;
mod remote;
mod request;
mod routes;
mod scope;
mod socket;
mod state;
pub mod upgrade;
pub mod wire;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use self::{
    event::Shared,
    groups::{Channel, Groups, Local},
    link::{LinkError, WorkerLink},
    mailbox::{Mailbox, WorkerReply},
    order::Orders,
    remote::RemotePlace,
    routes::Routes,
    state::States,
};
use crate::{
    chat::Event,
    config::{self, Config},
    gateway::HeaderTrust,
    layer::{self, ChannelLayer, LayerError, Received},
    metrics::Metrics,
    random::NoRandomness,
    vital::Vital,
};

/// Time for workers to finish with the sockets that have ended, when the process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Between two looks whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Memberships in groups that there may be, and for each hosted socket besides.
const MEMBERSHIPS: usize = 100_000;
const MEMBERSHIPS_EACH: usize = 100;

/// Reasons why nothing can be hosted.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("host.socket: cannot listen at {path}: {error}")]
    Socket { path: String, error: io::Error },
    #[error("host.listen: cannot listen at {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
}

/// Everything that is hosted.
pub struct Host {
    settings: config::Host,
    routes: Routes,
    trust: HeaderTrust,
    expiry: (u64, u64),
    layer: Arc<dyn ChannelLayer>,
    /// Text before the local name of a channel here.
    prefix: String,
    groups: Groups,
    sockets: Mutex<HashMap<u64, Arc<Mailbox>>>,
    workers: Mutex<Vec<Arc<WorkerLink>>>,
    /// By the id of the process: tells who has started it to kill it.
    started: Mutex<HashMap<u32, Arc<Notify>>>,
    last: AtomicU64,
    /// Where workers join.
    path: PathBuf,
    /// The workers that are started again when they end.
    generation: Mutex<pool::Generation>,
    /// Held while all workers are replaced.
    reloading: tokio::sync::Mutex<()>,
    orders: Orders,
    /// Number of the first worker that gets no sockets yet, if others can have them.
    newcomers: AtomicU64,
    states: Arc<States>,
    stopping: watch::Sender<bool>,
    vital: Vital,
    metrics: Arc<Metrics>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Opens the host of these settings, if they have one, and starts its workers.
    ///
    /// # Errors
    /// When the layer's settings make no sense, or workers have no place to join at.
    pub async fn open(
        config: &Config,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, HostError> {
        let settings = &config.host;
        if !settings.is_on() {
            return Ok(None);
        }
        let layer = layer::open_packed(config, Arc::default(), Arc::clone(metrics)).await?;
        let place = pool::WorkerPlace::bind(settings.socket.as_deref())?;
        let remote = RemotePlace::bind(settings).await?;
        let vital = Vital::default();
        vital.include(&layer.vital());
        let host = Arc::new(Host {
            settings: settings.clone(),
            routes: Routes::of(config),
            trust: HeaderTrust::of(config),
            expiry: (config.layer.expiry, config.layer.group_expiry),
            prefix: layer.channel(""),
            layer,
            groups: Groups::default(),
            sockets: Mutex::default(),
            workers: Mutex::default(),
            started: Mutex::default(),
            last: AtomicU64::new(0),
            path: place.path().to_owned(),
            generation: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            orders: Orders::default(),
            newcomers: AtomicU64::new(u64::MAX),
            states: Arc::new(States::new(metrics)),
            stopping: watch::Sender::new(false),
            vital: vital.clone(),
            metrics: Arc::clone(metrics),
        });
        vital.spawn("host", Arc::clone(&host).receive());
        vital.spawn("workers", pool::run(Arc::clone(&host), place, remote));
        Ok(Some(host))
    }

    /// Returns who serves which path.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Takes over the settings that may change while the server runs.
    pub fn take_over(&self, config: &Config) {
        if self.routes.reload(config) {
            for mailbox in lock(&self.sockets).values() {
                mailbox.reply(WorkerReply::Rerouted);
            }
        }
    }

    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.layer
    }

    /// Returns the orders of operators.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    fn groups(&self) -> &Groups {
        &self.groups
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn capacity(&self) -> usize {
        self.settings.capacity
    }

    fn max_calls(&self) -> usize {
        self.settings.max_calls
    }

    /// Memberships in groups that there may be now.
    fn max_memberships(&self) -> usize {
        MEMBERSHIPS + MEMBERSHIPS_EACH * lock(&self.sockets).len()
    }

    /// Returns `true` if no other process is on the channel layer.
    fn is_alone(&self) -> bool {
        self.prefix == layer::memory::LOCAL_PREFIX
    }

    fn call_timeout(&self) -> Duration {
        Duration::from_secs(self.settings.call_timeout_s)
    }

    fn expiry(&self) -> u64 {
        self.expiry.0
    }

    fn group_expiry(&self) -> u64 {
        self.expiry.1
    }

    fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the tasks without which nothing is hosted.
    #[must_use]
    pub fn vital(&self) -> &Vital {
        &self.vital
    }

    /// Fails unless hosted sockets can be opened now.
    ///
    /// # Errors
    /// The reason in words.
    pub fn ping(&self) -> Result<(), String> {
        match self.worker() {
            Some(_) => Ok(()),
            None => Err("none has joined".to_owned()),
        }
    }

    /// Returns the worker with the fewest sockets.
    fn worker(&self) -> Option<Arc<WorkerLink>> {
        self.least(WorkerLink::sockets)
    }

    /// Returns the worker with the fewest requests.
    fn worker_for_request(&self) -> Option<Arc<WorkerLink>> {
        self.least(|link| link.exchanges.len())
    }

    fn least(&self, load: impl Fn(&WorkerLink) -> usize) -> Option<Arc<WorkerLink>> {
        let newcomers = self.newcomers.load(Ordering::Acquire);
        let workers = lock(&self.workers);
        let open = workers.iter().filter(|link| link.is_open());
        let least = open.min_by_key(|link| (link.number >= newcomers, load(link)));
        least.cloned()
    }

    /// A worker has joined.
    fn joined(&self, link: &Arc<WorkerLink>) {
        let (worker, pid) = (link.number, link.hello.pid);
        let (application, layer) = (&link.hello.application, &link.hello.layer);
        tracing::info!(worker, pid, application, layer, "a worker has joined");
        if layer.contains("Redis") == self.is_alone() {
            tracing::warn!(
                layer,
                "the project's channel layer is of another kind than layer.backend: what its other \
                 processes send does not reach hosted sockets, and the other way round"
            );
        }
        self.metrics.host_worker_joined();
        let was_missed = self.worker().is_none();
        lock(&self.workers).push(Arc::clone(link));
        if was_missed {
            // Sockets that hibernate may wait for one.
            for mailbox in lock(&self.sockets).values() {
                mailbox.nudge();
            }
        }
    }

    /// A worker has left, with all that it held.
    async fn left(&self, link: &Arc<WorkerLink>, error: &LinkError, after: Duration) {
        lock(&self.workers).retain(|it| it.number != link.number);
        self.metrics.host_worker_left(error.label());
        if *self.stopping.borrow() {
            return;
        }
        let (worker, pid) = (link.number, link.hello.pid);
        if matches!(error, LinkError::Replaced) {
            tracing::info!(worker, pid, ?after, "a worker was replaced");
        } else {
            tracing::error!(worker, pid, ?after, %error, "a worker has left");
        }
        for channel in self.groups.of_worker(link.number) {
            self.groups.leave_all(&*self.layer, channel).await;
        }
    }

    /// Somebody who wanted to join was turned away.
    fn refused(&self, error: &LinkError) {
        self.metrics.host_worker_refused(error.label());
        tracing::error!(%error, "a worker was turned away");
    }

    /// Kills a worker that was started here, at once if it `is_stuck`.
    fn kill(&self, pid: u32, is_stuck: bool) {
        if is_stuck && let Some(kill) = lock(&self.started).get(&pid) {
            kill.notify_one();
        }
    }

    /// Returns `true` while a channel has a reader.
    fn is_open(&self, channel: Channel) -> bool {
        match channel {
            Channel::Socket(socket) => lock(&self.sockets).contains_key(&socket),
            Channel::Worker { worker, .. } => {
                lock(&self.workers).iter().any(|it| it.number == worker)
            }
        }
    }

    /// Delivers what the layer has for this process.
    async fn receive(self: Arc<Self>) {
        while let Some(received) = self.layer.receive().await {
            let Received::Event { local, event, .. } = received else {
                continue;
            };
            let Event::Packed(body) = &*event else {
                continue;
            };
            match Local::parse(&local) {
                Some(Local::Channel(channel)) => {
                    self.deliver_to(channel, body);
                }
                Some(Local::Group(number)) => self.deliver(number, body),
                None => {}
            }
        }
    }

    /// Delivers an event to the members of a group.
    fn deliver(&self, group: u64, body: &Bytes) {
        let members = self.groups.members(group);
        let event = Arc::new(Shared::new(body.clone()));
        for channel in members {
            self.deliver_shared(channel, &event);
        }
    }

    /// Delivers an event to one channel. Returns `false` if there was no room.
    fn deliver_to(&self, channel: Channel, body: &Bytes) -> bool {
        self.deliver_shared(channel, &Arc::new(Shared::new(body.clone())))
    }

    fn deliver_shared(&self, channel: Channel, event: &Arc<Shared>) -> bool {
        let delivered = match channel {
            Channel::Socket(socket) => {
                let mailbox = lock(&self.sockets).get(&socket).cloned();
                mailbox.is_none_or(|mailbox| mailbox.event(event))
            }
            Channel::Worker { worker, number } => {
                let workers = lock(&self.workers);
                let link = workers.iter().find(|it| it.number == worker);
                link.is_none_or(|link| link.send_event(number, event.body()))
            }
        };
        if !delivered {
            self.metrics.host_dropped();
        }
        delivered
    }

    /// Waits until the host stops.
    async fn stopped(&self) {
        // It cannot fail: `self` holds the sender.
        let _ = self.stopping.subscribe().wait_for(|it| *it).await;
    }

    /// Waits until workers have finished with the sockets that have ended, then ends them. What they
    /// have sent is in the layer's hands.
    pub async fn dismiss(&self) {
        let farewell = async {
            let links = lock(&self.workers).clone();
            while links.iter().any(|link| link.is_busy()) {
                sleep(LOOK).await;
            }
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("workers had not finished with all sockets and requests");
        }
        self.stopping.send_replace(true);
        let ended = async {
            while !lock(&self.started).is_empty() {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(FAREWELL, ended).await;
    }
}
