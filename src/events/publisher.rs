//! Publishes the events of the outbox to one sink, while this process has the sink's lease.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    envelope::{Envelopes, Outgoing},
    sink::{Published, Sink, SinkError},
};
use crate::{
    config::{self, SinkName},
    layer::redis::backoff::Backoff,
    metrics::Metrics,
    python::datetime::Timestamp,
    random,
    store::{
        StoreError,
        outbox::{Lease, Outbox, OutboxRow},
    },
};

/// Most events that are read at once.
const BATCH: usize = 500;

/// Most dead letters that are published again at once.
const AGAIN: usize = 50;

/// Pause after all events have been published; twice as long each time, to the second.
const IDLE: Duration = Duration::from_millis(50);
const IDLE_MOST: Duration = Duration::from_millis(500);

/// Time between two looks at the backlog.
const LOOK: Duration = Duration::from_secs(5);

/// One sink and its place in the outbox.
pub struct Publisher {
    outbox: Arc<Outbox>,
    name: SinkName,
    sink: Box<dyn Sink>,
    envelopes: Envelopes,
    /// Name of this process, for its leases.
    owner: String,
    lasts: Duration,
    attempts: u32,
    metrics: Arc<Metrics>,
    lease: Option<Lease>,
    /// The event that was refused last, and how often.
    refused: (String, u32),
    /// When the backlog was last looked at.
    looked: Option<Instant>,
    /// True if the log says that nothing is published.
    is_reported: bool,
}

/// Outcome of a turn that went well.
enum Turn {
    /// There may be more events.
    More,
    /// All events are published.
    Idle,
    /// Another process publishes.
    Elsewhere,
}

/// Why nothing more was published.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Publisher {
    pub fn new(
        outbox: Arc<Outbox>,
        name: SinkName,
        sink: Box<dyn Sink>,
        envelopes: Envelopes,
        (settings, metrics): (&config::Events, Arc<Metrics>),
    ) -> Self {
        Publisher {
            outbox,
            name,
            sink,
            envelopes,
            owner: super::owner(),
            lasts: Duration::from_secs(settings.lease_s),
            attempts: settings.attempts,
            metrics,
            lease: None,
            refused: (String::new(), 0),
            looked: None,
            is_reported: false,
        }
    }

    /// Publishes until it is to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (mut backoff, mut idle) = (Backoff::default(), IDLE);
        loop {
            let is_last = *stop.borrow_and_update();
            let turn = self.turn().await;
            if turn.is_ok() {
                self.recovered();
                backoff = Backoff::default();
            }
            let pause = match turn {
                Ok(Turn::More) => {
                    idle = IDLE;
                    if is_last {
                        continue;
                    }
                    Duration::ZERO
                }
                Ok(Turn::Idle) => {
                    idle = (idle * 2).min(IDLE_MOST);
                    idle
                }
                Ok(Turn::Elsewhere) => (self.lasts / 4).mul_f64(0.75 + random::fraction() / 4.0),
                Err(error) => {
                    self.failed(&error);
                    backoff.next()
                }
            };
            if is_last {
                return self.release().await;
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }

    async fn turn(&mut self) -> Result<Turn, TurnError> {
        let Some(mut lease) = self.held().await? else {
            self.metrics
                .events_backlog(self.name.as_str(), 0, Duration::ZERO, 0);
            return Ok(Turn::Elsewhere);
        };
        // If anything fails from here on, the lease is asked for again.
        self.look().await?;
        self.repeat_dead_letters().await?;
        while self.outbox.give_places().await? == crate::store::outbox::TOGETHER {}
        let rows = self.outbox.after(lease.place, BATCH).await?;
        if rows.is_empty() {
            self.lease = Some(lease);
            return Ok(Turn::Idle);
        }
        let places: Vec<i64> = rows.iter().map(|row| row.place).collect();
        let Published { confirmed, failure } = self.publish(&rows).await;
        if confirmed > 0 {
            self.metrics.events_published(self.name.as_str(), confirmed);
            if !self
                .outbox
                .settle(&mut lease, places[confirmed - 1])
                .await?
            {
                tracing::warn!(sink = %self.name, "another process has taken the sink over");
                return Ok(Turn::Elsewhere);
            }
        }
        match failure {
            None => {}
            Some(SinkError::Refused(why)) if self.is_hopeless(&rows[confirmed]) => {
                let row = &rows[confirmed];
                self.note_dead(row, &why);
                if !self.outbox.bury(&mut lease, row.place, &why).await? {
                    return Ok(Turn::Elsewhere);
                }
            }
            Some(error) => {
                self.lease = Some(lease);
                return Err(error.into());
            }
        }
        self.lease = Some(lease);
        Ok(Turn::More)
    }

    /// Returns the lease of the sink, renewed; `None` while another process has it.
    async fn held(&mut self) -> Result<Option<Lease>, StoreError> {
        if let Some(mut lease) = self.lease.take() {
            let place = lease.place;
            if self.outbox.settle(&mut lease, place).await? {
                return Ok(Some(lease));
            }
        }
        let name = self.name.as_str();
        self.outbox.lease(name, &self.owner, self.lasts).await
    }

    /// Hands events to the sink, for less time than the lease lasts.
    async fn publish(&mut self, rows: &[OutboxRow]) -> Published {
        let events = rows.iter().map(|row| self.envelopes.of(row));
        let events: Vec<Outgoing> = events.collect();
        let until = Instant::now() + self.lasts / 4;
        let published = self.sink.publish(&events, until);
        match timeout(self.lasts * 3 / 4, published).await {
            Ok(published) => published,
            Err(_) => Published::away("no confirmation in time"),
        }
    }

    /// Counts a refusal. Returns whether the event has been refused for the last time.
    fn is_hopeless(&mut self, row: &OutboxRow) -> bool {
        if self.refused.0 != row.event_id {
            self.refused = (row.event_id.clone(), 0);
        }
        self.refused.1 += 1;
        self.refused.1 >= self.attempts
    }

    async fn repeat_dead_letters(&mut self) -> Result<(), TurnError> {
        let name = self.name.as_str();
        for row in self.outbox.to_be_repeated(name, AGAIN).await? {
            let id = row.event_id.clone();
            let Published { confirmed, failure } = self.publish(std::slice::from_ref(&row)).await;
            match failure {
                None if confirmed == 1 => {
                    self.metrics.events_published(name, 1);
                    self.outbox.drop_dead(name, Some(&id)).await?;
                }
                None => {}
                Some(SinkError::Refused(why)) => {
                    self.note_dead(&row, &why);
                    self.outbox.bury_again(name, &id, &why).await?;
                }
                Some(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn note_dead(&self, row: &OutboxRow, why: &str) {
        self.metrics.event_died(self.name.as_str());
        tracing::error!(
            sink = %self.name,
            event_id = row.event_id,
            event_type = row.event_type,
            why,
            "an event is put aside as a dead letter: `chatferry events list` shows it"
        );
    }

    /// Shows the backlog in the metrics, every few seconds.
    async fn look(&mut self) -> Result<(), StoreError> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(());
        }
        let backlog = self.outbox.backlog(self.name.as_str()).await?;
        self.looked = Some(Instant::now());
        let lag = backlog.since.map_or(0, |since| {
            Timestamp::now().micros().saturating_sub(since.micros())
        });
        let lag = Duration::from_micros(u64::try_from(lag).unwrap_or_default());
        self.metrics
            .events_backlog(self.name.as_str(), backlog.events, lag, backlog.dead);
        Ok(())
    }

    /// Counts a turn that failed, and reports the first of several.
    fn failed(&mut self, error: &TurnError) {
        self.metrics.events_failed(self.name.as_str());
        if std::mem::replace(&mut self.is_reported, true) {
            tracing::debug!(sink = %self.name, %error, "events are still not published");
        } else {
            tracing::warn!(sink = %self.name, %error, "events are not published, and kept");
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_reported) {
            tracing::info!(sink = %self.name, "events are published again");
        }
    }

    async fn release(self) {
        if let Some(lease) = &self.lease
            && let Err(error) = self.outbox.release(lease).await
        {
            tracing::debug!(sink = %self.name, %error, "the sink's lease is left to run out");
        }
    }
}
