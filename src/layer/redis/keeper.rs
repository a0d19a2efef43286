//! Keeps a host connected: sets up, serves until that fails, tells of the gap, and tries again.
//!
//! Both layers have two connections to each host, one for commands and one that messages come by.
//! Whatever happens to one of them, both are opened again: it is simpler, and a host that failed
//! one has mostly failed the other. The inbox is notified before memberships are restored, so that
//! what comes by them waits for what was missed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{backoff::Backoff, inbox::Inbox, link::HostLink};
use crate::{layer::LayerError, metrics::Outcome, python::datetime::Timestamp, vital::Vital};

/// Longest pause before the next attempt once the process is about to end: what it owes must be taken
/// by then.
const HURRIED: Duration = Duration::from_millis(100);

/// Longest wait of the process' start for a host.
const START: Duration = Duration::from_secs(3);

/// When a host last answered, and with that said that nothing was amiss.
pub struct LastSeen(Mutex<Timestamp>);

impl LastSeen {
    fn at(time: Timestamp) -> Self {
        LastSeen(Mutex::new(time))
    }

    pub fn get(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

/// A layer's business with one host.
pub trait KeptHost: Send + Sync + 'static {
    /// Connection that messages come by.
    type Incoming: Send;

    /// Returns the place among the hosts.
    fn number(&self) -> usize;

    /// Returns the connection for commands; taken down here, set up by [`set_up`](Self::set_up).
    fn link(&self) -> &HostLink;

    /// Returns the inbox that gaps are reported to.
    fn inbox(&self) -> &Inbox;

    /// Opens both connections and restores on the host what this process wants there.
    fn set_up(&self) -> impl Future<Output = Result<Self::Incoming, LayerError>> + Send;

    /// Takes what comes in and looks after the host until something fails.
    fn serve(
        &self,
        incoming: Self::Incoming,
        seen: &LastSeen,
    ) -> impl Future<Output = LayerError> + Send;

    /// The connections are gone.
    fn lost(&self) {}
}

/// Keeps a host until the task is aborted; returns when it has tried to connect once, or after
/// [`START`].
pub async fn start(kept: impl KeptHost, vital: &Vital) -> JoinHandle<()> {
    let (tried, first) = oneshot::channel();
    let keeper = vital.spawn("keeper", keep(kept, tried));
    let _ = timeout(START, first).await;
    keeper
}

/// Never returns.
async fn keep(kept: impl KeptHost, tried: oneshot::Sender<()>) {
    let (link, inbox) = (kept.link(), kept.inbox());
    let host = &link.address;
    let mut tried = Some(tried);
    let mut backoff = Backoff::default();
    let mut well = inbox.now();
    loop {
        let set_up = kept.set_up().await;
        link.metrics.redis_connected(Outcome::of(&set_up));
        let error = match set_up {
            Ok(incoming) => {
                let _up = link.metrics.redis_up();
                if !backoff.is_fresh() {
                    tracing::info!(%host, "the channel layer is back");
                }
                inbox.back(kept.number());
                let _ = tried.take().map(|tried| tried.send(()));
                let (began, seen) = (Instant::now(), LastSeen::at(inbox.now()));
                let error = tokio::select! {
                    error = kept.serve(incoming, &seen) => error,
                    () = link.broken() => LayerError::Unavailable(link.why().to_string()),
                };
                well = seen.get();
                tracing::warn!(%host, %error, "the channel layer is away");
                backoff.worked_for(began.elapsed());
                error
            }
            Err(error) => {
                if backoff.is_fresh() || !link.is_down_for(&error) {
                    tracing::warn!(%host, %error, "no channel layer");
                }
                error
            }
        };
        link.take_down_for(&error);
        let _ = tried.take().map(|tried| tried.send(()));
        kept.lost();
        inbox.lost(kept.number(), well);
        let pause = backoff.next();
        tokio::select! {
            () = sleep(pause) => {}
            () = inbox.hurries() => sleep(pause.min(HURRIED)).await,
        }
    }
}
