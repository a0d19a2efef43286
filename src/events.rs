//! Events for other services, published from the outbox of the store to sinks.
//!
//! A message, a receipt, a change and a conversation are stored together with their event
//! ([`crate::store::outbox`]). One task for each sink publishes: the process that has the sink's
//! lease reads events in their order, hands them to the sink, and moves the cursor once the sink has
//! confirmed them. So an event is published at least once, and its first publication comes after
//! those of all earlier events of its conversation. A repeated one has the same id.
//!
//! An event that a sink refuses for good is put aside as a dead letter after `events.attempts`, so that later
//! events follow. A sink that is away is tried until it is back.

pub mod envelope;
mod inward;
mod publisher;
mod reconcile;
pub mod schemas;
pub mod sink;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use self::{envelope::Envelopes, inward::Consumer, publisher::Publisher, reconcile::Reconciler};
use crate::{
    app::App,
    config,
    python::datetime::{Timestamp, before},
    random,
    store::{
        StoreError,
        outbox::{Outbox, TOGETHER},
    },
};

pub use self::sink::SinkSettingsError;

/// Time between two looks for events that need not be kept any longer.
const PRUNE: Duration = Duration::from_secs(30);

/// Pause between two transactions that delete.
const PRUNE_PAUSE: Duration = Duration::from_millis(100);

/// The publishers and consumers of one process.
pub struct Events {
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Why events cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] SinkSettingsError),
}

impl Events {
    /// Starts a publisher for each sink, and what else the settings ask for; `None` if that is nothing.
    ///
    /// # Errors
    /// When the outbox cannot be used, or a setting makes no sense.
    pub async fn start(app: &Arc<App>) -> Result<Option<Self>, EventsError> {
        let stop = watch::Sender::new(false);
        let mut tasks = Vec::new();
        for consumer in Consumer::all(app)? {
            let run = consumer.run(stop.subscribe());
            tasks.push(app.vital.spawn("events of others", run));
        }
        if let Some(outbox) = app.store.outbox() {
            tasks.extend(publish(app, outbox, &stop).await?);
        }
        Ok((!tasks.is_empty()).then(|| Events {
            stop,
            tasks: Mutex::new(tasks),
        }))
    }

    /// Publishes what is stored, if the sinks take it now, consumes no more, and lets other processes
    /// take over.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        // A panic in one of them has been reported already.
        join_all(tasks).await;
    }
}

/// Starts what works on the outbox; returns the publishers.
async fn publish(
    app: &Arc<App>,
    outbox: &Arc<Outbox>,
    stop: &watch::Sender<bool>,
) -> Result<Vec<JoinHandle<()>>, EventsError> {
    let settings = &app.config.events;
    let names: Vec<&str> = settings.sinks.iter().map(|it| it.as_str()).collect();
    outbox.prepare(&names).await?;
    warn_of_others(outbox, &names).await?;
    let mut publishers = Vec::new();
    for name in &settings.sinks {
        let publisher = Publisher::new(
            Arc::clone(outbox),
            *name,
            sink::open(*name, settings)?,
            Envelopes::new(settings, app.zone(), *name),
            (settings, Arc::clone(&app.metrics)),
        );
        publishers.push(app.vital.spawn("events", publisher.run(stop.subscribe())));
    }
    let prune = prune(Arc::clone(outbox), settings);
    app.vital.spawn("old events", prune);
    if settings.reconcile_s > 0 {
        let reconciler = Reconciler {
            store: Arc::clone(&app.store),
            outbox: Arc::clone(outbox),
            owner: owner(),
            every: Duration::from_secs(settings.reconcile_s),
        };
        app.vital.spawn("events of messages", reconciler.run());
    }
    Ok(publishers)
}

/// Returns a name of this process for leases and groups. Without randomness two processes may share
/// one: the epochs of leases still tell them apart.
fn owner() -> String {
    random::name().unwrap_or_else(|_| std::process::id().to_string())
}

/// Reports sinks that have a cursor and are not set: events are kept for them.
async fn warn_of_others(outbox: &Outbox, names: &[&str]) -> Result<(), StoreError> {
    for sink in outbox.sinks().await? {
        if !names.contains(&sink.name.as_str()) {
            tracing::warn!(
                sink = sink.name,
                "events are kept for a sink that is not in events.sinks: `chatferry events drop \
                 --sink {}` ends that",
                sink.name
            );
        }
    }
    Ok(())
}

/// Deletes events that every sink has got and that are older than `events.keep_s`, a few at a time.
fn prune(outbox: Arc<Outbox>, settings: &config::Events) -> impl Future<Output = ()> + use<> {
    let keep = Duration::from_secs(settings.keep_s);
    async move {
        loop {
            sleep(PRUNE.mul_f64(1.0 + random::fraction())).await;
            loop {
                match outbox.prune(before(Timestamp::now(), keep)).await {
                    Ok(pruned) if pruned >= TOGETHER as u64 => sleep(PRUNE_PAUSE).await,
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(%error, "old events cannot be deleted");
                        break;
                    }
                }
            }
        }
    }
}
