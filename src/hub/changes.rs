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
//! A group that has changed is found in the same way, and shown as it is now. Sockets of users who are
//! no members any more lose their rights to it first, whatever became of the order to disconnect them.
//!
//! A change is shown once while it is remembered, and perhaps again later: clients show the latest
//! version of a message, in whatever order versions come.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::{Hub, OnGroup, repair::TOGETHER, room::Room};
use crate::{
    chat::{Change, Event, Message},
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, before},
    store::{Store, StoreError, history::PAGE_MESSAGES},
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
    pub(super) async fn show_changes(self: Arc<Self>, keep_members: OnGroup) {
        loop {
            self.changes.news.notified().await;
            for some in self.changes.take().chunks(TOGETHER) {
                let Err(error) = self.show_changes_of(some, &keep_members).await else {
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
        keep_members: &OnGroup,
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
        let is_of_group = |change: &Change| change.is_of_group();
        let (of_groups, changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_of_group);
        self.show_groups(&of_groups, keep_members).await?;
        // Those of each kind of conversations are read from their own table.
        let is_in_group = |change: &Change| change.conversation_id.is_group();
        let (groups, pairs): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_in_group);
        self.show_changed_of(&pairs).await?;
        self.show_changed_of(&groups).await
    }

    /// Shows the groups of these changes as they are now.
    async fn show_groups(
        &self,
        changes: &[Change],
        keep_members: &OnGroup,
    ) -> Result<(), StoreError> {
        // The last change of each stands for all.
        let last = changes
            .iter()
            .map(|change| (change.conversation_id, *change));
        let last: HashMap<ConversationId, Change> = last.collect();
        if last.is_empty() || !self.store.keeps_groups() {
            return Ok(());
        }
        let ids: Vec<ConversationId> = last.keys().copied().collect();
        for group in self.store.groups_of(&ids).await? {
            let (Some(change), Some(room)) = (last.get(&group.id), self.room(group.id)) else {
                continue;
            };
            keep_members(&group);
            self.show_present(&room, &group);
            let event = Event::GroupChanged {
                change: change.id,
                group: Arc::new(group),
            };
            self.deliver(&room, &event, None);
        }
        Ok(())
    }

    /// Shows the messages of these changes, which are of one kind of conversations.
    async fn show_changed_of(&self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(first) = changes.first() else {
            return Ok(());
        };
        let store = self.store.of(first.conversation_id);
        // Of several changes of a message the last one stands for all: they show the same.
        let mut last: HashMap<MessageId, Change> = HashMap::new();
        for change in changes {
            last.insert(change.message_id, *change);
        }
        let messages: Vec<MessageId> = last.keys().copied().collect();
        for some in messages.chunks(PAGE_MESSAGES) {
            self.show_changed(store, some, &last).await?;
        }
        Ok(())
    }

    /// Reads these messages and shows them as they are now.
    async fn show_changed(
        &self,
        store: &dyn Store,
        ids: &[MessageId],
        changes: &HashMap<MessageId, Change>,
    ) -> Result<(), StoreError> {
        let mut left = ids.to_vec();
        while !left.is_empty() {
            let page = store.messages_by_id(&left).await?;
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
