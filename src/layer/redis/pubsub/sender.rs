//! Publishes on one host, in the order the events came, all that has gathered in one write.
//!
//! An event that the host does not take is owed to it: see [`ledger`](crate::layer::redis::ledger).
//! An event of our own is delivered from here at once when it is owed, behind those that have not
//! come back yet, and passed over when it comes back in the end.
//!
//! Subscriptions outlive what a Redis has stored: after a flush, a restart or a failover the note
//! of a call is gone, a Redis without memory writes none, and the subscribers may have heard what
//! the call published. Then it is not repeated.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::{sync::oneshot, time::Instant};

use super::{Inner, PubSubHost, echo::Heard};
use crate::{
    layer::{
        LayerError,
        redis::{
            codec::ChannelRoute,
            debts::{Debts, Due, OwedItem, Placed, Unsettled, Wire},
            inbox::Taken,
            jobs::JobQueue,
            link::accepted,
            names::group_channel,
            script::{self, Once},
        },
    },
    python::datetime::Timestamp,
};

/// Most events published together.
const BATCH: usize = 256;

/// Time after a call in which its note is certainly there when a call is repeated, unless Redis was
/// emptied: the note's life, less what a call waits to be repeated.
const NOTED: Duration = Duration::from_secs(script::NOTE_LIFE - 400);

/// An event that a caller hands over.
pub(super) struct Job {
    pub item: OwedItem,
    pub bytes: Vec<u8>,
    /// Its number among the events that may come back; none if we do not listen there.
    pub echo: Option<u64>,
    pub done: oneshot::Sender<Result<(), LayerError>>,
}

/// The publishing task of one host.
struct PubSubSender {
    inner: Arc<Inner>,
    host: Arc<PubSubHost>,
    debts: Debts,
    /// Of the last call.
    number: u64,
    /// When Redis last answered that it executed a call.
    noted: Option<Instant>,
}

/// Ends when the layer is closed.
pub(super) async fn run(inner: Arc<Inner>, host: Arc<PubSubHost>, mut jobs: JobQueue<Job>) {
    let mut sender = PubSubSender {
        debts: Debts::new(&inner.inbox, Arc::clone(&host.link.metrics)),
        inner,
        host,
        number: 0,
        noted: None,
    };
    let mut gathered = Vec::new();
    loop {
        tokio::select! {
            taken = jobs.take(&mut gathered, BATCH) => {
                if taken == 0 {
                    return;
                }
                let batch = sender.queue_behind(std::mem::take(&mut gathered)).await;
                sender.send(batch).await;
            }
            () = sender.debts.due() => sender.pay().await,
        }
    }
}

impl PubSubSender {
    /// Leaves those that may be published now.
    async fn queue_behind(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let here = self.host.number;
        if self.debts.are_none(here) {
            return jobs;
        }
        let mut free = Vec::with_capacity(jobs.len());
        for job in jobs {
            if let Some(error) = self.debts.block(here, &job.item.group) {
                let answer = (Heard::No, Err(error));
                let item = self.inner.settle(&self.host, job, answer).await;
                self.debts.owe(here, item);
            } else {
                free.push(job);
            }
        }
        free
    }

    async fn send(&mut self, batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        self.number += 1;
        let messages = batch.iter().map(|job| (&*job.item.group, &*job.bytes));
        let answers = self.publish(self.number, None, messages).await;
        match answers {
            Ok(answers) => {
                let mut answers = answers.unwrap_or_default().into_iter();
                for job in batch {
                    let answer = accepted(answers.next().unwrap_or(Value::Nil));
                    let refused = answer.as_ref().err().cloned();
                    let heard = match answer {
                        Ok(Value::Int(1..)) => Heard::Yes,
                        // There is no subscriber, not even us: our subscription is on its way, or
                        // gone.
                        _ => Heard::No,
                    };
                    let answer = (heard, answer);
                    let item = self.inner.settle(&self.host, job, answer).await;
                    if let Some(error) = refused {
                        let here = self.host.number;
                        self.debts.refused(here, vec![(0, item)], &error);
                    }
                }
            }
            Err(error) => {
                let heard = match error {
                    LayerError::Unavailable(_) => Heard::Unknown,
                    _ => Heard::No,
                };
                let mut items = Vec::with_capacity(batch.len());
                for (place, job) in batch.into_iter().enumerate() {
                    let failed = (heard, Err(error.clone()));
                    items.push((place, self.inner.settle(&self.host, job, failed).await));
                }
                self.debts
                    .failed(self.host.number, self.number, items, &error);
            }
        }
    }

    /// Returns the subscribers of each message, of none if this call was executed before. If it is
    /// repeated, as it failed at that time, and Redis has lost whether it was executed: `None`.
    async fn publish<'a>(
        &mut self,
        number: u64,
        failed: Option<Timestamp>,
        messages: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) -> Result<Option<Vec<Value>>, LayerError> {
        let link = &self.host.link;
        if failed.is_some_and(|failed| link.moved.is_before(failed)) {
            return Ok(None);
        }
        if link.is_up() && !link.has_script() {
            let mut commands = redis::pipe();
            for (channel, bytes) in messages {
                commands.cmd("PUBLISH").arg(channel).arg(bytes);
            }
            return link.ask(&commands).await.map(Some);
        }
        let once = Once {
            note: self.inner.note(),
            number,
        };
        let is_noted = self.noted.is_some_and(|at| at.elapsed() < NOTED);
        let must = failed.is_some() && is_noted;
        let call = |name: Option<&str>| script::publish(name, &once, must, messages.clone());
        Ok(match link.evaluate(call).await? {
            Value::Array(heard) => {
                self.noted = Some(Instant::now());
                Some(heard)
            }
            Value::Int(_) => None,
            _ => Some(Vec::new()),
        })
    }

    /// Publishes a batch of what is owed.
    async fn pay(&mut self) {
        let wire = Wire {
            format: self.inner.inbox.codec.format,
            group_prefix: group_channel(&self.inner.prefix, ""),
        };
        let link = &self.host.link;
        let due = self.debts.take(|_| link.is_up(), || 0.0, &wire);
        let Some((_, due)) = due else { return };
        let here = self.host.number;
        let (items, number, failed) = match due {
            Due::Repeat(Unsettled {
                number,
                items,
                failed,
            }) => (items, number, Some(failed)),
            Due::Again(items) => {
                self.number += 1;
                (items, self.number, None)
            }
        };
        let kept = items.into_iter().filter(|(_, item)| item.keeps);
        let items: Vec<Placed> = kept.collect();
        let now = self.inner.inbox.now_s();
        let codec = &self.inner.inbox.codec;
        let seal = |(_, item): &Placed| codec.seal(&item.fields, ChannelRoute::Plain, now);
        let bytes: Vec<Vec<u8>> = match items.iter().map(seal).collect() {
            Ok(bytes) => bytes,
            Err(error) => {
                self.debts.failed(here, number, items, &error.into());
                return self.debts.tried();
            }
        };
        let messages = items.iter().zip(&bytes);
        let messages = messages.map(|((_, item), bytes)| (&*item.group, &**bytes));
        // They were delivered from here when they became a debt.
        let expected = self.host.state().echoes.expect_known(messages.clone());
        let answers = self.publish(number, failed, messages).await;
        match answers {
            Ok(answers) => {
                let is_unknown = answers.is_none();
                let answers = answers.unwrap_or_default();
                let heard = |(place, _): &(usize, &u64)| {
                    let answer = answers.get(*place);
                    matches!(answer, Some(Value::Int(1..)))
                };
                let silent = expected.iter().enumerate().filter(|it| !heard(it));
                let silent: Vec<u64> = silent.map(|(_, echo)| *echo).collect();
                self.host.state().echoes.drop_known(&silent);
                if is_unknown {
                    self.debts.unknown(here, items);
                }
            }
            Err(error) => self.debts.failed(here, number, items, &error),
        }
        self.debts.tried();
    }
}

impl Inner {
    /// Makes sure that our own channels have the event: by the subscription if anybody heard it,
    /// or else from here. Returns what is owed if it could not be published.
    async fn settle(
        &self,
        host: &PubSubHost,
        job: Job,
        (heard, answer): (Heard, Result<Value, LayerError>),
    ) -> OwedItem {
        let group = &job.item.group;
        let taken: Vec<Taken> = {
            let mut state = host.state();
            let is_ours = state.groups.contains_key(group);
            let settle = |echo| state.echoes.settle(echo, heard, is_ours);
            let missing = job.echo.map_or_else(Vec::new, settle);
            let put = |event| state.put(&self.inbox, group, event, None);
            missing.iter().flat_map(put).collect()
        };
        for taken in taken {
            let _ = taken.await;
        }
        // A caller that has gone away no longer cares.
        let _ = job.done.send(answer.map(|_| ()));
        job.item
    }
}
