//! Events of messages that other programs have stored, as a Django beside this server does.
//!
//! Every `events.reconcile_s`, one process looks through all conversations, a few hundred at a time,
//! for messages since its last look. It goes by the index of conversation and time, and reads only the
//! messages whose ids are not Chatferry's. Their events get the ids that they would have had here, so
//! one that is there already is left as it is. They come later than those of Chatferry's own messages
//! of the same conversation.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    chat::{NewOutboxEvent, id::is_own},
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, after, before},
    random,
    store::{
        Store, StoreError,
        outbox::{Outbox, RECONCILED},
    },
};

/// Conversations that are looked at with one statement.
const CONVERSATIONS: usize = 500;

/// Most messages that are read at once.
const MESSAGES: usize = 200;

/// Pause between two statements, so that a long look leaves the database to others.
const PAUSE: Duration = Duration::from_millis(5);

/// Time before the last look that is looked at again: a transaction may have been committed that
/// late, and clocks may differ that much.
const LATE: Duration = Duration::from_secs(60);

/// Time that a look may take before another process begins one.
const LOOK: Duration = Duration::from_secs(600);

/// Looks again and again.
pub struct Reconciler {
    pub store: Arc<dyn Store>,
    pub outbox: Arc<Outbox>,
    /// Name of this process, for its lease.
    pub owner: String,
    pub every: Duration,
}

impl Reconciler {
    /// Looks until the process ends. The first look of all begins with the messages of its time.
    pub async fn run(self) {
        loop {
            let began = Instant::now();
            match self.look().await {
                Ok(0) => {}
                Ok(events) => {
                    tracing::info!(events, "messages of other programs have their events");
                }
                Err(error) => {
                    tracing::warn!(%error, "messages of other programs cannot be looked for");
                }
            }
            let rest = self.every.saturating_sub(began.elapsed());
            sleep(rest.max(PAUSE).mul_f64(1.0 + random::fraction() / 10.0)).await;
        }
    }

    /// Looks once, unless another process does. Returns how many messages of others had no event.
    async fn look(&self) -> Result<u64, StoreError> {
        let leased = self.outbox.lease(RECONCILED, &self.owner, LOOK).await?;
        let Some(mut lease) = leased else {
            return Ok(0);
        };
        let now = Timestamp::by(self.store.committer().clock());
        let mut looked = Ok(0);
        if lease.place > 0 {
            let since = before(Timestamp::from_micros(lease.place), LATE);
            looked = self.look_between((since, after(now, LATE))).await;
        }
        if looked.is_ok() {
            self.outbox.settle(&mut lease, now.micros()).await?;
        }
        self.outbox.release(&lease).await?;
        looked
    }

    async fn look_between(&self, between: (Timestamp, Timestamp)) -> Result<u64, StoreError> {
        let (mut last, mut found) = (None, 0);
        loop {
            let ids = self.store.conversation_ids(last, CONVERSATIONS).await?;
            let Some(next) = ids.last() else {
                return Ok(found);
            };
            last = Some(*next);
            found += self.look_at(&ids, between).await?;
            sleep(PAUSE).await;
        }
    }

    /// Looks at some conversations, from the oldest message to the newest.
    async fn look_at(
        &self,
        conversations: &[ConversationId],
        (mut since, until): (Timestamp, Timestamp),
    ) -> Result<u64, StoreError> {
        let mut found = 0;
        loop {
            let between = (since, until);
            let stored = self.store.stored_between(conversations, between, MESSAGES);
            let stored = stored.await?;
            let others = stored.iter().map(|(_, message, _)| *message);
            let others: Vec<MessageId> = others.filter(|id| !is_own(*id)).collect();
            found += self.add(&others).await?;
            match stored.last() {
                // More messages of one moment than that are passed over.
                Some((.., at)) if stored.len() == MESSAGES => {
                    since = if *at > since { *at } else { after(*at, PAUSE) };
                }
                _ => return Ok(found),
            }
        }
    }

    /// Adds the events of messages; returns how many were not there.
    async fn add(&self, messages: &[MessageId]) -> Result<u64, StoreError> {
        let (mut left, mut added) = (messages.to_vec(), 0);
        while !left.is_empty() {
            let page = self.store.messages_by_id(&left).await?;
            if page.messages.is_empty() {
                break;
            }
            left.retain(|id| page.messages.iter().all(|message| message.id != *id));
            let mut messages = page.messages;
            messages.sort_by_key(|message| message.created_at);
            let events: Vec<_> = messages
                .iter()
                .map(NewOutboxEvent::message_created)
                .collect();
            added += self.outbox.add(&events).await?;
        }
        Ok(added)
    }
}
