//! The queue of what has come in for this process and waits for the hub: events, and notices that
//! events may have been missed.
//!
//! Reading a message never fails towards the network: one that cannot be understood is counted and
//! skipped, an unknown type is logged once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    bounds::TOO_LARGE,
    codec::{Codec, LayerMessage},
    event::Passthrough,
};
use crate::{
    chat::Event,
    clock::Clock,
    layer::{Departure, Received, events::Strange},
    metrics::Metrics,
    python::datetime::Timestamp,
};

/// The receiving end of a layer.
pub struct Inbox {
    sender: mpsc::UnboundedSender<WaitingEvent>,
    /// Locked by the one task that receives.
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<WaitingEvent>>,
    closed: watch::Sender<bool>,
    pub codec: Codec,
    pub clock: Arc<Clock>,
    /// Number of sending tasks that owe something.
    pub owing: watch::Sender<usize>,
    /// True once the process waits for what it owes to be taken, before its end.
    leaving: watch::Sender<bool>,
    passthrough: Passthrough,
    /// Hosts that are away. Held for moments only.
    away: Mutex<BTreeMap<usize, Away>>,
    metrics: Arc<Metrics>,
}

struct WaitingEvent {
    received: Received,
    /// Dropped when it has been taken, for which its sender waits.
    _taken: oneshot::Sender<()>,
}

/// Resolves when what was put in has been taken.
pub type Taken = oneshot::Receiver<()>;

/// A host that cannot be reached.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// Since when events may have been missed.
    since: Timestamp,
    /// True if memberships are being restored there.
    returning: bool,
}

/// A queue that has run over; dropping it tells of the gap.
pub struct Overrun<'a> {
    inbox: &'a Inbox,
    since: Timestamp,
}

impl Drop for Overrun<'_> {
    fn drop(&mut self) {
        let away = self.inbox.away();
        self.inbox.tell_gap(self.since, &away);
    }
}

impl Inbox {
    #[must_use]
    pub fn new(
        codec: Codec,
        passthrough: Passthrough,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (sender, waiting) = mpsc::unbounded_channel();
        Inbox {
            sender,
            waiting: tokio::sync::Mutex::new(waiting),
            closed: watch::Sender::new(false),
            codec,
            clock,
            owing: watch::Sender::new(0),
            leaving: watch::Sender::new(false),
            passthrough,
            away: Mutex::default(),
            metrics,
        }
    }

    /// Hands an event to the channel called `local`. What is put in is taken in that order;
    /// waiting for the result keeps a sender from outrunning the hub.
    pub fn put(
        &self,
        local: String,
        event: Arc<Event>,
        sent: Option<Departure>,
        resent: Option<Timestamp>,
    ) -> Taken {
        self.push(Received::Event {
            local,
            event,
            sent,
            resent,
        })
    }

    /// A host cannot be reached; events may have been missed since `since`.
    pub fn lost(&self, host: usize, since: Timestamp) {
        let mut away = self.away();
        let Some(known) = away.get_mut(&host) else {
            let returning = false;
            away.insert(host, Away { since, returning });
            self.push(Received::Away { since });
            return;
        };
        known.since = since.min(known.since);
        if std::mem::replace(&mut known.returning, false) {
            // It did not come back after all: what waits for it must not wait any longer.
            let since = known.since;
            self.tell_gap(since, &away);
        }
    }

    /// Events may have been missed since then on a host that was lost.
    pub fn reach_back(&self, host: usize, since: Timestamp) {
        if let Some(known) = self.away().get_mut(&host) {
            known.since = since.min(known.since);
        }
    }

    /// Memberships are about to be restored on a host that was lost.
    pub fn returning(&self, host: usize) {
        if let Some(away) = self.away().get_mut(&host) {
            away.returning = true;
            self.push(Received::Returning);
        }
    }

    /// A host that was lost is back, and all is as it was there.
    pub fn back(&self, host: usize) {
        let mut away = self.away();
        let Some(Away { since, .. }) = away.remove(&host) else {
            return;
        };
        self.tell_gap(since, &away);
    }

    /// Events may have been missed since then although every host is there, and what is put in
    /// while the result lives may be newer than those.
    pub fn overrun(&self, since: Timestamp) -> Overrun<'_> {
        self.push(Received::Returning);
        Overrun { inbox: self, since }
    }

    /// Tells of a gap, which ends what was said of any host, and again of the hosts that are away.
    fn tell_gap(&self, since: Timestamp, away: &BTreeMap<usize, Away>) {
        self.push(Received::Gap { since });
        if let Some(since) = away.values().map(|host| host.since).min() {
            self.push(Received::Away { since });
        }
        if away.values().any(|host| host.returning) {
            self.push(Received::Returning);
        }
    }

    /// Returns whether a host cannot be reached.
    #[must_use]
    pub fn is_away(&self, host: usize) -> bool {
        self.away().contains_key(&host)
    }

    fn away(&self) -> MutexGuard<'_, BTreeMap<usize, Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, received: Received) -> Taken {
        let (taken, until_taken) = oneshot::channel();
        // It cannot fail: `self` holds the receiver.
        let _ = self.sender.send(WaitingEvent {
            received,
            _taken: taken,
        });
        until_taken
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::by(&self.clock)
    }

    /// Returns Unix seconds, by which messages are sealed and opened.
    pub fn now_s(&self) -> u64 {
        u64::try_from(self.clock.micros() / 1_000_000).unwrap_or_default()
    }

    /// Returns the message in stored bytes, counted and skipped if it is none.
    pub fn read(&self, stored: &[u8]) -> Option<LayerMessage> {
        if stored == TOO_LARGE {
            tracing::debug!("a message of the channel layer is too large");
            self.metrics.layer_rejected("too_large");
            return None;
        }
        match self.codec.open(stored, self.now_s()) {
            Ok(message) => Some(message),
            Err(error) => {
                tracing::debug!(%error, "a message of the channel layer cannot be read");
                self.metrics.layer_rejected("undecodable");
                None
            }
        }
    }

    /// Returns the event of a message, counted and skipped if there is none.
    pub fn event(&self, message: LayerMessage) -> Option<Arc<Event>> {
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

    /// Returns the next event; `None` once the layer is closed.
    pub async fn receive(&self) -> Option<Received> {
        let mut waiting = self.waiting.lock().await;
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => None,
            next = waiting.recv() => next.map(|waiting| waiting.received),
        }
    }

    /// Returns whether the next event is there already, for the task that receives.
    pub fn has_more(&self) -> bool {
        let waiting = self.waiting.try_lock();
        waiting.is_ok_and(|waiting| !waiting.is_empty())
    }

    /// Waits until no sending task owes anything. Hosts that are away are tried more often from now on.
    pub async fn settled(&self) {
        self.leaving.send_replace(true);
        // It cannot fail: `self` holds the sender.
        let _ = self.owing.subscribe().wait_for(|tasks| *tasks == 0).await;
    }

    /// Returns once the process waits for what it owes to be taken.
    pub async fn hurries(&self) {
        // It cannot fail: `self` holds the sender.
        let _ = self.leaving.subscribe().wait_for(|leaving| *leaving).await;
    }

    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Serializer;

    async fn said(inbox: &Inbox, count: usize) -> Vec<&'static str> {
        let mut said = Vec::new();
        for _ in 0..count {
            said.push(match inbox.receive().await {
                Some(Received::Event { .. }) => "event",
                Some(Received::Away { .. }) => "away",
                Some(Received::Returning) => "returning",
                Some(Received::Gap { .. }) => "gap",
                None => "closed",
            });
        }
        said
    }

    fn inbox() -> Inbox {
        let codec = Codec {
            format: Serializer::Msgpack,
            prefix_len: 0,
            keys: None,
            token_life: None,
            event_max: usize::MAX,
            events: None,
        };
        Inbox::new(
            codec,
            Passthrough::all(),
            Arc::default(),
            Arc::new(Metrics::new()),
        )
    }

    #[tokio::test]
    async fn a_gap_of_one_host_does_not_let_go_of_what_waits_for_another() {
        let inbox = inbox();
        let since = Timestamp::now();
        for host in [0, 1] {
            inbox.lost(host, since);
            inbox.returning(host);
        }
        inbox.back(0);
        drop(inbox.overrun(since));
        inbox.back(1);
        let both = ["away", "returning", "away", "returning"];
        let one = ["gap", "away", "returning"];
        let overrun = ["returning", "gap", "away", "returning"];
        let all = [&both[..], &one, &overrun, &["gap"]].concat();
        assert_eq!(said(&inbox, all.len()).await, all);
    }

    #[tokio::test]
    async fn a_host_that_does_not_come_back_after_all_lets_go_of_what_waited_for_it() {
        let inbox = inbox();
        let since = Timestamp::now();
        inbox.returning(0);
        inbox.back(0);
        inbox.lost(0, since);
        inbox.lost(0, since);
        inbox.returning(0);
        inbox.lost(0, since);
        inbox.returning(0);
        inbox.back(0);
        let all = ["away", "returning", "gap", "away", "returning", "gap"];
        assert_eq!(said(&inbox, all.len()).await, all);
        inbox.close();
        assert_eq!(said(&inbox, 1).await, ["closed"]);
    }
}
