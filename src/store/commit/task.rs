//! The one task that writes: batches, second tries, and what is said to whom.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Attempt, BATCH_BYTES, BATCH_MAX, Backend, CommitOutcome, Done, Draft, NewIds, PendingWrite,
    Write, health::Health,
};
use crate::{
    chat::{Message, NewMessage},
    clock::Clock,
    metrics::{ClockStep, Metrics},
    python::datetime::Timestamp,
    store::{StoreError, auto_now::auto_now},
};

/// Number of times that a batch may lose against other transactions before its callers get the
/// error.
const TRIES: u32 = 8;

/// Before a batch that lost is tried again; twice as long each time, 0.6 s in all.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// After this a batch that lost is not tried again: it has waited for locks, and others wait for
/// it.
const CONFLICT_MAX: Duration = Duration::from_secs(2);

/// Number of times that other tasks may run before a batch is written, as long as they hand more
/// over.
const YIELDS: usize = 16;

/// Between two attempts to learn what became of writes that were not confirmed.
const SETTLE_PAUSE: Duration = Duration::from_millis(250);

/// After this their callers get [`StoreError::Unknown`].
pub const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Microseconds that the messages of one batch may be ahead of the clock.
const CLOCK_GRAIN: i64 = 1_000_000;

/// Microseconds that the clock may be behind the last message's time and be waited for. Past it
/// that time was the wrong one.
const CLOCK_BEHIND_MAX: i64 = 60_000_000;

/// Gives messages their ids and times: each time later than the one before, unless the clock has
/// gone back by more than [`CLOCK_BEHIND_MAX`].
pub struct Stamps {
    ids: NewIds,
    clock: Arc<Clock>,
    last: Option<Timestamp>,
    /// The clock is behind `last`, and that has been reported.
    is_behind: bool,
}

impl Stamps {
    pub fn new(ids: NewIds, clock: Arc<Clock>) -> Self {
        Stamps {
            ids,
            clock,
            last: None,
            is_behind: false,
        }
    }

    fn stamp(&mut self, new: NewMessage, metrics: &Metrics) -> Message {
        let now = Timestamp::by(&self.clock);
        self.look(now, metrics);
        let again = || Timestamp::by(&self.clock);
        let (created_at, updated_at) = auto_now(now, self.last, again);
        self.last = Some(updated_at);
        new.stamped(self.ids.message(created_at), created_at, updated_at)
    }

    /// Compares the clock with the last message's time, and reports when it is behind.
    fn look(&mut self, now: Timestamp, metrics: &Metrics) {
        let behind = self.last.map_or(0, |last| last.micros() - now.micros());
        if behind <= CLOCK_GRAIN {
            self.is_behind = false;
            return;
        }
        let behind_s = behind / 1_000_000;
        if behind > CLOCK_BEHIND_MAX {
            self.last = None;
            self.is_behind = false;
            metrics.clock_stepped(ClockStep::Followed);
            tracing::warn!(
                behind_s,
                "the clock is far behind the last message's time: messages get earlier times from now on"
            );
        } else if !std::mem::replace(&mut self.is_behind, true) {
            metrics.clock_stepped(ClockStep::Held);
            tracing::warn!(
                behind_s,
                "the clock is behind the last message's time: until it has caught up, messages get \
                 times just after the last"
            );
        }
    }
}

/// Writes what comes, until no sender is left.
pub async fn run(
    backend: impl Backend,
    mut items: mpsc::Receiver<PendingWrite>,
    stamps: Stamps,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
) {
    let mut writer = BatchWriter {
        backend,
        metrics,
        health,
        stamps,
        unsettled: Vec::new(),
        unsettled_since: Instant::now(),
    };
    let mut gathered = Vec::new();
    loop {
        if writer.unsettled.is_empty() {
            let Some(first) = items.recv().await else {
                return;
            };
            gathered.push(first);
            take(&mut items, &mut gathered);
            // Callers of the last batch may have more to write: waiting for them
            // first costs a lone sender nothing, and spares a crowd a batch of a few. The runtime
            // lets only some of them run each time.
            for _ in 0..YIELDS {
                let before = gathered.len();
                tokio::task::yield_now().await;
                take(&mut items, &mut gathered);
                if gathered.len() == before {
                    break;
                }
            }
        } else {
            tokio::time::sleep(SETTLE_PAUSE).await;
            take(&mut items, &mut gathered);
        }
        writer.round(gathered.drain(..)).await;
    }
}

/// Takes what is waiting, as far as there is room in the batch.
fn take(items: &mut mpsc::Receiver<PendingWrite>, gathered: &mut Vec<PendingWrite>) {
    let mut bytes: usize = gathered.iter().map(PendingWrite::bytes).sum();
    while gathered.len() < BATCH_MAX
        && bytes < BATCH_BYTES
        && let Ok(item) = items.try_recv()
    {
        bytes += item.bytes();
        gathered.push(item);
    }
}

/// The task that writes, and what it remembers from one batch to the next.
struct BatchWriter<B> {
    backend: B,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stamps: Stamps,
    /// Written, and not known to be committed. Nothing else is written before these are
    /// settled: messages must be announced in the order of their times.
    unsettled: Vec<(Write, Done)>,
    unsettled_since: Instant,
}

impl<B: Backend> BatchWriter<B> {
    async fn round(&mut self, items: impl ExactSizeIterator<Item = PendingWrite>) {
        if !self.unsettled.is_empty() && !self.settle().await {
            let away = StoreError::Unavailable("an earlier commit is not confirmed yet".into());
            for PendingWrite { draft, done, .. } in items {
                let write = self.written(draft);
                self.tell(write, done, Err(away.clone()));
            }
            return;
        }
        let mut since = Instant::now();
        let rows = items.len();
        let mut has_chosen = false;
        let mut batch: Vec<_> = items
            .map(|item| {
                since = since.min(item.since);
                if let Some(span) = &item.span {
                    span.event("batch begins", "rows", rows);
                }
                has_chosen |= item.draft.has_chosen_id();
                (self.written(item.draft), item.done)
            })
            .collect();
        let again = if has_chosen {
            take_repeated(&mut batch)
        } else {
            Vec::new()
        };
        if !batch.is_empty() {
            self.write(batch, since).await;
        }
        for written in again {
            self.write(vec![written], since).await;
        }
    }

    fn written(&mut self, draft: Draft) -> Write {
        match draft {
            Draft::Ready(write) => write,
            Draft::Message(mut new) => {
                let attachments = std::mem::take(&mut new.attachments);
                let message = self.stamps.stamp(new, &self.metrics);
                if attachments.is_empty() {
                    Write::Message(message)
                } else {
                    Write::Attached(message, attachments)
                }
            }
        }
    }

    /// Writes a batch whose first row has waited `since` then.
    async fn write(&mut self, batch: Vec<(Write, Done)>, since: Instant) {
        let began = Instant::now();
        let waited = began.duration_since(since);
        let (batch, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let batch = Arc::new(batch);
        let outcomes = write_batch(&mut self.backend, &batch, Attempt::New).await;
        self.metrics.commit(batch.len(), waited, began.elapsed());
        let written = Arc::unwrap_or_clone(batch).into_iter().zip(outcomes);
        for (done, (write, outcome)) in waiting.into_iter().zip(written) {
            match outcome {
                Err(StoreError::Unknown(_)) => self.unsettled.push((write, done)),
                outcome => self.tell(write, done, outcome),
            }
        }
        if !self.unsettled.is_empty() {
            self.unsettled_since = began;
            // Mostly it was one connection that was lost, and the next one can tell.
            self.settle().await;
        }
    }

    fn tell(&self, write: Write, done: Done, outcome: Result<CommitOutcome, StoreError>) {
        self.health.note(&outcome);
        if let Err(error) = &outcome {
            self.metrics.store_error(error.label());
        }
        done(write, outcome);
    }

    /// Finds out what became of the unsettled writes, and writes those that were lost, before
    /// their callers are answered. Returns whether they are settled now.
    async fn settle(&mut self) -> bool {
        let (batch, waiting): (Vec<_>, Vec<_>) = self.unsettled.drain(..).unzip();
        tracing::warn!(rows = batch.len(), "looking up what was not confirmed");
        let batch = Arc::new(batch);
        let outcomes = write_batch(&mut self.backend, &batch, Attempt::Unconfirmed).await;
        let expired = self.unsettled_since.elapsed() > SETTLE_MAX;
        let written = Arc::unwrap_or_clone(batch).into_iter().zip(outcomes);
        for (done, (write, outcome)) in waiting.into_iter().zip(written) {
            match outcome {
                // A conflict may be with the very commit in question.
                Err(
                    StoreError::Unknown(_)
                    | StoreError::Unavailable(_)
                    | StoreError::Denied(_)
                    | StoreError::Unfit { .. }
                    | StoreError::Conflict(_),
                ) if !expired => {
                    self.unsettled.push((write, done));
                }
                Err(
                    StoreError::Unavailable(why)
                    | StoreError::Denied(why)
                    | StoreError::Unfit { why, .. }
                    | StoreError::Conflict(why),
                ) => {
                    self.tell(write, done, Err(StoreError::Unknown(why)));
                }
                outcome => self.tell(write, done, outcome),
            }
        }
        self.unsettled.is_empty()
    }
}

/// Takes out the messages whose ids come before them in the batch: a client has sent the same again
/// before it had an answer. Written later, they find what is there by then.
fn take_repeated(batch: &mut Vec<(Write, Done)>) -> Vec<(Write, Done)> {
    let mut ids = HashSet::new();
    let is_repeated = |(write, _): &mut (Write, Done)| match write.message() {
        Some(message) => !ids.insert(message.id),
        None => false,
    };
    batch.extract_if(.., is_repeated).collect()
}

/// Writes `batch` as one; if a row is bad, row by row. One result for each write, in order.
async fn write_batch(
    backend: &mut impl Backend,
    batch: &Arc<Vec<Write>>,
    attempt: Attempt,
) -> Vec<Result<CommitOutcome, StoreError>> {
    match write_through(backend, batch, attempt).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(StoreError::Refused(_)) if batch.len() > 1 => {
            let mut outcomes = Vec::with_capacity(batch.len());
            for write in batch.iter() {
                let alone = match outcomes.last() {
                    // Rows after one of unknown fate are settled with it, to stay in order.
                    Some(Err(error @ StoreError::Unknown(_))) => Err(error.clone()),
                    _ => write_through(backend, &Arc::new(vec![write.clone()]), attempt).await,
                };
                outcomes.push(alone.and_then(|mut outcome| {
                    outcome
                        .pop()
                        .ok_or_else(|| StoreError::Refused("no outcome".into()))
                }));
            }
            outcomes
        }
        Err(error) => vec![Err(error); batch.len()],
    }
}

/// Writes `batch`, again and again while it loses against other transactions.
async fn write_through(
    backend: &mut impl Backend,
    batch: &Arc<Vec<Write>>,
    attempt: Attempt,
) -> Result<Vec<CommitOutcome>, StoreError> {
    let (began, mut pause) = (Instant::now(), CONFLICT_PAUSE);
    for _ in 1..TRIES {
        match backend.write(Arc::clone(batch), attempt).await {
            Err(StoreError::Conflict(why)) if began.elapsed() < CONFLICT_MAX => {
                tracing::debug!(why, "writing again");
            }
            settled => return settled,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    backend.write(Arc::clone(batch), attempt).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IdVersion;

    /// Returns a clock after a message that is this many seconds ahead of it, and its counters.
    fn ahead(seconds: i64) -> (Stamps, Metrics, Timestamp) {
        let now = Timestamp::now();
        let last = Timestamp::from_micros(now.micros() + seconds * 1_000_000);
        let ids = NewIds::ours(IdVersion::V7);
        let mut stamps = Stamps::new(ids, Arc::default());
        stamps.last = Some(last);
        (stamps, Metrics::new(), now)
    }

    fn steps(metrics: &Metrics) -> [bool; 2] {
        let text = metrics.render();
        ["held", "followed"].map(|step| {
            text.contains(&format!(
                "chatferry_clock_steps_back_total{{times=\"{step}\"}} 1\n"
            ))
        })
    }

    #[test]
    fn a_clock_that_is_a_little_behind_is_waited_for() {
        let (mut stamps, metrics, now) = ahead(50);
        for _ in 0..3 {
            stamps.look(now, &metrics);
        }
        assert!(stamps.last > Some(now));
        assert_eq!(steps(&metrics), [true, false], "once for all messages");
    }

    #[test]
    fn a_clock_that_was_far_ahead_for_a_moment_is_followed_back() {
        let (mut stamps, metrics, now) = ahead(400 * 86_400);
        stamps.look(now, &metrics);
        assert_eq!(stamps.last, None);
        assert_eq!(steps(&metrics), [false, true]);
    }

    #[test]
    fn messages_of_one_batch_are_no_step_of_the_clock() {
        let (mut stamps, metrics, now) = ahead(0);
        stamps.look(now, &metrics);
        assert!(stamps.last.is_some());
        assert_eq!(steps(&metrics), [false, false]);
    }
}
