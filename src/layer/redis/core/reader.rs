//! Empties the queue of this process on one host.
//!
//! There is no backup queue: only this process reads it, and what a crash loses is in the store.
//!
//! **A host that was emptied** has lost what was in the queue. With one host the groups are gone as
//! well, and nothing newer comes until our memberships are restored. With several hosts groups may be
//! on another one, whose events go on coming. So each question asks in the same write whether the
//! host still knows us, right after what it takes.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use redis::{Cmd, Pipeline, Value, cmd};

use super::{Core, CoreHost, local_of, queue_key};
use crate::{
    layer::{
        CONTROL, Departure, LayerError,
        redis::{
            address::RedisConnection, clock::instant_of, codec::LayerMessage, inbox::Taken,
            keeper::LastSeen, link::means_gone, names::group_key,
        },
    },
    metrics::Sender,
};

/// Seconds that Redis holds our question while the queue is empty.
const BLOCK: u64 = 5;

/// Longest wait for its answer: a server that is silent for longer is gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(BLOCK + 3);

/// Most entries taken at once.
const BATCH: usize = 512;

/// Bytes of entries past which no more are read until the hub has taken them: an event takes
/// several times as much.
const READ_BYTES: usize = 1 << 20;

impl Core {
    /// Returns only when the connection is gone.
    ///
    /// Once an entry came, the rest of the queue and the wait for the next are asked for in one
    /// write: a queue that is emptied costs one round trip, and a lone entry none.
    pub(super) async fn read(
        &self,
        host: &CoreHost,
        connection: RedisConnection,
        seen: &LastSeen,
    ) -> LayerError {
        let key = queue_key(&self.settings.prefix, &self.queue);
        // Taken at once, this many entries are a queue that was full: senders may have been
        // refused, and do not tell us.
        let full = self.settings.capacities.of(&self.queue);
        let batch = full.clamp(1, BATCH);
        let wait = self.question(cmd("BZPOPMIN").arg(&key).arg(BLOCK).take());
        let drain = self.question(cmd("ZPOPMIN").arg(&key).arg(batch).take());
        let ask = |waits| {
            let question = if waits { &wait } else { &drain };
            ask(connection.clone(), question, waits)
        };
        let mut asked = FuturesOrdered::from_iter([ask(true)]);
        let mut looked = Instant::now();
        // Entries taken since the queue was last seen empty.
        let mut run = 0;
        loop {
            let Some(answer) = asked.next().await else {
                return LayerError::Closed;
            };
            let Answer {
                waits,
                taken,
                known,
            } = match answer {
                Ok(answer) => answer,
                Err(error) => return error,
            };
            let entries = if waits { first(taken) } else { pairs(taken) };
            let taken = entries.len();
            if waits {
                asked.extend((taken > 0).then(|| ask(false)));
                asked.push_back(ask(true));
            }
            let since = seen.get();
            if looked.elapsed() >= Duration::from_secs(self.settings.expiry) {
                // Entries may have been swept while we were not looking.
                self.inbox.lost(host.number, since);
                self.inbox.back(host.number);
            }
            looked = Instant::now();
            run += taken;
            // Some of these may be newer than what was refused or lost. We may have become a member
            // since the question was asked, and then nothing is lost: that costs a look at the store.
            let is_unknown = taken > 0 && known == Some(Value::Nil);
            let is_forgotten = is_unknown && host.members().is_told(CONTROL);
            if is_forgotten {
                // The keeper restores the memberships.
                host.missing.notify_one();
            }
            let is_behind = is_forgotten || (!waits && run >= full);
            let overrun = is_behind.then(|| self.inbox.overrun(since));
            self.take_all(host, entries).await;
            drop(overrun);
            if !waits {
                // The queue has been emptied: from here it is a new run.
                run = if taken < batch { 0 } else { run };
            }
            seen.set(self.inbox.now());
        }
    }

    /// Returns what is asked with a command that takes entries: with several hosts also whether this
    /// one knows us.
    fn question(&self, take: Cmd) -> Pipeline {
        let mut question = redis::pipe();
        question.add_command(take);
        if self.hosts.len() > 1 {
            let own = format!("{}{CONTROL}", self.queue);
            let control = group_key(&self.settings.prefix, CONTROL);
            question.cmd("ZSCORE").arg(control).arg(own);
        }
        question
    }

    async fn take_all(&self, host: &CoreHost, entries: Vec<(f64, Vec<u8>)>) {
        let (mut last, mut bytes) = (None, 0);
        for entry in entries {
            bytes += entry.1.len();
            last = self.take(host, entry).pop().or(last);
            // The hub takes in order: when it has the last, it has all.
            if bytes >= READ_BYTES
                && let Some(last) = last.take()
            {
                bytes = 0;
                let _ = last.await;
            }
        }
        if let Some(last) = last {
            let _ = last.await;
        }
    }

    /// One entry: score and bytes.
    fn take(&self, host: &CoreHost, (score, bytes): (f64, Vec<u8>)) -> Vec<Taken> {
        let Some(message) = self.inbox.read(&bytes) else {
            return Vec::new();
        };
        let locals = self.locals(&message);
        if locals.is_empty() {
            self.inbox.unroutable();
            return Vec::new();
        }
        self.note_age(score);
        let is_stale = host.link.moved.may_repeat(instant_of(score));
        let resent = message.resent.or(is_stale.then(|| instant_of(score)));
        let Some(event) = self.inbox.event(message) else {
            return Vec::new();
        };
        if is_stale && event.goes_stale() {
            return Vec::new();
        }
        let by = Sender::Others;
        let sent = Some(Departure { by, at: score });
        let put = |local| self.inbox.put(local, Arc::clone(&event), sent, resent);
        locals.into_iter().map(put).collect()
    }

    /// Counts an entry older than `expiry`. It is delivered all the same, as Python does: better
    /// late than never, and the sender's clock may be wrong.
    fn note_age(&self, score: f64) {
        let expiry = Duration::from_secs(self.settings.expiry).as_secs_f64();
        if score <= self.scores.earliest() - expiry {
            self.metrics.layer_late();
        }
    }

    /// Returns the local names of the channels of ours that a message is for, each once.
    fn locals(&self, message: &LayerMessage) -> Vec<String> {
        let route = message.route.iter().flatten();
        let locals = route.filter_map(|name| local_of(name, &self.queue));
        let mut locals: Vec<&str> = locals.collect();
        if locals.len() > 1 {
            let mut known = HashSet::new();
            locals.retain(|local| known.insert(*local));
        }
        locals.into_iter().map(str::to_owned).collect()
    }
}

/// Answer to a question.
struct Answer {
    /// It was asked to wait for an entry.
    waits: bool,
    taken: Value,
    /// Our place in the group of Chatferry's processes, if that was asked.
    known: Option<Value>,
}

async fn ask(
    mut connection: RedisConnection,
    question: &Pipeline,
    waits: bool,
) -> Result<Answer, LayerError> {
    let answers = connection.send_packed_commands(question, 0, question.len());
    let taken = answers.await.and_then(|answers| {
        let mut answers = answers.into_iter();
        let taken = answers.next().unwrap_or(Value::Nil).extract_error()?;
        let known = answers.next();
        Ok(Answer {
            waits,
            taken,
            known,
        })
    });
    taken.map_err(|error| {
        let why = error.to_string();
        if means_gone(&error) {
            LayerError::Unavailable(why)
        } else {
            LayerError::Refused(why)
        }
    })
}

/// Reads the answer of `BZPOPMIN`: key, bytes, score; nothing if the queue stayed empty.
fn first(answer: Value) -> Vec<(f64, Vec<u8>)> {
    match answer {
        Value::Array(parts) => pairs(Value::Array(parts.into_iter().skip(1).collect())),
        _ => Vec::new(),
    }
}

/// Reads the answer of `ZPOPMIN`: bytes and score in turn.
fn pairs(answer: Value) -> Vec<(f64, Vec<u8>)> {
    let Value::Array(parts) = answer else {
        return Vec::new();
    };
    let mut parts = parts.into_iter();
    let mut pairs = Vec::new();
    while let (Some(Value::BulkString(bytes)), Some(score)) = (parts.next(), parts.next()) {
        let score = redis::from_redis_value::<f64>(score).unwrap_or_default();
        pairs.push((score, bytes));
    }
    pairs
}
