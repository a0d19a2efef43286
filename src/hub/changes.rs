//! Messages that their senders have changed or deleted, for the sockets of dialects that have a form
//! for it.
//!
//! The notice of a change ([`Changed`](crate::layer::control::Changed)) names its conversation and
//! its time. Each process with such sockets there looks up what has been changed since then, reads
//! the messages as they are now, and shows them. A change that is made here is looked up without its
//! notice. The same look is done after a gap in the layer, when another process could not send, and with
//! each sweep, from the time that the messages are compared from: a notice that is lost costs time only.
//! One look is under way at a time, for all conversations together.
//!
//! A change is shown once while it is remembered, and perhaps again later: clients show the latest
//! version of a message, in whatever order versions come.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::{Hub, repair::TOGETHER, room::Room};
use crate::{
    chat::{Change, Event, Message},
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, before},
    store::{StoreError, history::PAGE_MESSAGES},
};

/// Time before a change's own time that is looked at too: others may be committed late.
const MARGIN: Duration = Duration::from_secs(2);

/// Pause before a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Most changes that one query finds.
const MOST: usize = 1000;

/// Conversations that are to be looked at.
#[derive(Default)]
pub struct Changes {
    /// Each with the time since when. Held for moments only.
    since: Mutex<HashMap<ConversationId, Timestamp>>,
    /// Notified when there is one.
    news: Notify,
}

impl Changes {
    fn since(&self) -> MutexGuard<'_, HashMap<ConversationId, Timestamp>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has been changed in a conversation at that time.
    pub fn note(&self, id: ConversationId, at: Timestamp) {
        self.add(id, before(at, MARGIN));
    }

    fn add(&self, id: ConversationId, since: Timestamp) {
        let mut all = self.since();
        let known = all.entry(id).or_insert(since);
        *known = since.min(*known);
        drop(all);
        self.news.notify_one();
    }

    pub(super) fn take(&self) -> Vec<(ConversationId, Timestamp)> {
        self.since().drain().collect()
    }
}

impl Hub {
    /// Something may have been changed in a conversation since then.
    pub(super) fn look_for_changes(&self, room: &Room, since: Timestamp) {
        if room.others_speak() && self.store.keeps_changes() {
            self.changes.note(room.id, since);
        }
    }

    /// Shows what is changed, until the process ends.
    pub(super) async fn show_changes(self: Arc<Self>) {
        loop {
            self.changes.news.notified().await;
            for some in self.changes.take().chunks(TOGETHER) {
                let Err(error) = self.show_changes_of(some).await else {
                    continue;
                };
                tracing::warn!(%error, "changes of messages cannot be looked up");
                if error.may_pass() {
                    for (id, since) in some {
                        self.changes.add(*id, *since);
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn show_changes_of(
        &self,
        some: &[(ConversationId, Timestamp)],
    ) -> Result<(), StoreError> {
        let Some(since) = some.iter().map(|(_, since)| *since).min() else {
            return Ok(());
        };
        let speaks = |id: &ConversationId| self.room(*id).is_some_and(|room| room.others_speak());
        let ids = some.iter().map(|(id, _)| *id).filter(speaks);
        let ids: Vec<ConversationId> = ids.collect();
        if ids.is_empty() {
            return Ok(());
        }
        let between = (since, self.far());
        let mut changes = self.store.changed_between(&ids, between, MOST).await?;
        if changes.len() == MOST {
            self.metrics.sweep_cut_short();
        }
        changes.retain(|change| {
            let room = self.room(change.conversation_id);
            room.is_some_and(|room| !room.has_met(change.id.bits()))
        });
        // Of several changes of a message the last one stands for all: they show the same.
        let mut last: HashMap<MessageId, Change> = HashMap::new();
        for change in &changes {
            last.insert(change.message_id, *change);
        }
        let messages: Vec<MessageId> = last.keys().copied().collect();
        for some in messages.chunks(PAGE_MESSAGES) {
            self.show_changed(some, &last).await?;
        }
        Ok(())
    }

    /// Reads these messages and shows them as they are now.
    async fn show_changed(
        &self,
        ids: &[MessageId],
        changes: &HashMap<MessageId, Change>,
    ) -> Result<(), StoreError> {
        let mut left = ids.to_vec();
        while !left.is_empty() {
            let page = self.store.messages_by_id(&left).await?;
            self.metrics.rows_unreadable(page.unreadable.len());
            let is_whole = !page.is_full || page.messages.is_empty();
            for message in page.messages {
                left.retain(|id| *id != message.id);
                if let Some(change) = changes.get(&message.id) {
                    self.show_change(*change, message);
                }
            }
            if is_whole {
                break;
            }
        }
        Ok(())
    }

    fn show_change(&self, change: Change, message: Message) {
        let room = self.room(change.conversation_id);
        if let Some(room) = room.filter(|room| room.others_speak()) {
            let event = Event::MessageChanged {
                change: change.id,
                message: Arc::new(message),
            };
            self.deliver(&room, &event, None);
        }
    }
}
