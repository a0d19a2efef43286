//! What has come in for this process and waits for the hub: events, and notices that events may
//! have been missed.
//!
//! Reading a message never fails towards the network: one that cannot be understood is counted and
//! skipped, an unknown type is logged once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    codec::{Codec, Message},
    event::{Passthrough, Strange},
};
use crate::{
    chat::Event,
    clock::since_1970,
    django::datetime::Timestamp,
    layer::{Departure, Received},
    metrics::Metrics,
};

/// Two gaps found while everything is up are at least this far apart: each makes every live
/// conversation be read from the store.
const BETWEEN_GAPS: Duration = Duration::from_secs(1);

/// The receiving end of a layer.
pub struct Inbox {
    sender: mpsc::UnboundedSender<Waiting>,
    /// Locked by the one task that receives.
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Waiting>>,
    closed: watch::Sender<bool>,
    pub codec: Codec,
    passthrough: Passthrough,
    /// Hosts that are away, and since when events may have been missed. Held for moments only.
    away: Mutex<BTreeMap<usize, Timestamp>>,
    found: watch::Sender<Found>,
    metrics: Arc<Metrics>,
}

struct Waiting {
    received: Received,
    /// Dropped when it has been taken, which is what whoever put it here waits for.
    _taken: oneshot::Sender<()>,
}

/// Resolves when what was put in has been taken.
pub type Taken = oneshot::Receiver<()>;

/// A gap found while everything is up. One notice is enough for several, but it must come after
/// all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    gap: Option<Timestamp>,
    told: Option<Instant>,
}

impl Inbox {
    #[must_use]
    pub fn new(codec: Codec, passthrough: Passthrough, metrics: Arc<Metrics>) -> Self {
        let (sender, waiting) = mpsc::unbounded_channel();
        Inbox {
            sender,
            waiting: tokio::sync::Mutex::new(waiting),
            closed: watch::Sender::new(false),
            codec,
            passthrough,
            away: Mutex::default(),
            found: watch::Sender::new(Found::default()),
            metrics,
        }
    }

    /// Hands an event to the channel called `local`. What is put in is taken in that order;
    /// waiting for the result keeps whoever puts from outrunning the hub.
    pub fn put(&self, local: String, event: Arc<Event>, sent: Option<Departure>) -> Taken {
        self.push(Received::Event { local, event, sent })
    }

    /// A host cannot be reached; events may have been missed since `since`.
    pub fn lost(&self, host: usize, since: Timestamp) {
        let mut away = self.away();
        if let Some(known) = away.get_mut(&host) {
            *known = since.min(*known);
        } else {
            away.insert(host, since);
            self.push(Received::Away);
        }
    }

    /// A host that was lost is back, and all is as it was there.
    pub fn back(&self, host: usize) {
        let mut away = self.away();
        let Some(since) = away.remove(&host) else {
            return;
        };
        self.push(Received::Gap { since });
        if !away.is_empty() {
            self.push(Received::Away);
        }
    }

    /// Events may have been missed although every host is there. Does not wait: whoever found it
    /// has to go on reading.
    pub fn gap(&self, since: Timestamp) {
        self.found.send_modify(|found| {
            found.gap = Some(found.gap.map_or(since, |gap| gap.min(since)));
        });
    }

    fn away(&self) -> MutexGuard<'_, BTreeMap<usize, Timestamp>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, received: Received) -> Taken {
        let (taken, until_taken) = oneshot::channel();
        // It cannot fail: `self` holds the receiver.
        let _ = self.sender.send(Waiting {
            received,
            _taken: taken,
        });
        until_taken
    }

    /// The message in stored bytes, counted and skipped if it is none.
    pub fn read(&self, stored: &[u8]) -> Option<Message> {
        match self.codec.open(stored, since_1970().as_secs()) {
            Ok(message) => Some(message),
            Err(error) => {
                tracing::debug!(%error, "a message of the channel layer cannot be read");
                self.metrics.layer_rejected("undecodable");
                None
            }
        }
    }

    /// The event of a message, counted and skipped if there is none.
    pub fn event(&self, message: Message) -> Option<Arc<Event>> {
        match self.passthrough.event(message) {
            Ok(event) => Some(Arc::new(event)),
            Err(strange) => {
                self.metrics.layer_rejected(strange.label());
                self.tell(&strange);
                None
            }
        }
    }

    fn tell(&self, strange: &Strange) {
        match strange {
            Strange::UnknownType(kind) if self.passthrough.is_news(kind) => tracing::warn!(
                kind,
                "an event of a type nobody handles; layer.passthrough can send it on"
            ),
            Strange::UnknownType(_) => {}
            other => tracing::debug!(error = %other, "an event that cannot be used"),
        }
    }

    /// A message was for no channel of ours.
    pub fn unroutable(&self) {
        self.metrics.layer_rejected("unroutable");
    }

    /// What comes next; `None` once the layer is closed.
    pub async fn receive(&self) -> Option<Received> {
        let mut waiting = self.waiting.lock().await;
        let mut closed = self.closed.subscribe();
        let mut found = self.found.subscribe();
        loop {
            let Found { gap, told } = *found.borrow_and_update();
            let due = gap.map(|_| told.map_or_else(Instant::now, |told| told + BETWEEN_GAPS));
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => return None,
                () = reached(due) => {
                    if let Some(since) = self.take_gap() {
                        return Some(Received::Gap { since });
                    }
                }
                next = waiting.recv() => return next.map(|waiting| waiting.received),
                _ = found.changed() => {}
            }
        }
    }

    fn take_gap(&self) -> Option<Timestamp> {
        let mut gap = None;
        self.found.send_modify(|found| {
            gap = found.gap.take();
            found.told = Some(Instant::now());
        });
        gap
    }

    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
