//! Read marks that no event came for, read from the receipts in the store.
//!
//! A receipt has no time of its own in any index: it is found by its message. So the newest messages
//! of a conversation are looked up, [`NEWEST`] and as many as were said since the time in question, and
//! those of their receipts are taken that were made since then. Of more than [`MOST`] receipts, or
//! [`MESSAGES`] messages, the rest is not compared, and counted.
//!
//! Not found: a mark of a message older than these, and a receipt that was there with another status
//! before, which keeps its time (Django's chat makes none). A mark that was made again leaves no trace,
//! and tells nothing new.

use std::{collections::HashSet, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::{Hub, repair::PAUSE, room::Room, shown::after};
use crate::{
    chat::{Event, Receipt},
    metrics::EventType,
    python::datetime::Timestamp,
    store::{Marks, StoreError},
};

/// Messages of each conversation that a repair looks up beside those that came since the gap.
pub(super) const NEWEST: usize = 50;

/// Most messages of one conversation that are looked up.
const MESSAGES: usize = 5000;

/// Most receipts that one query finds.
const MOST: usize = 5000;

/// Most that the clocks of other machines may be ahead.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

impl Hub {
    /// Returns the read marks that were made between two times, of a number of the newest messages of each
    /// conversation.
    pub(super) async fn marks(
        &self,
        newest: &[(Uuid, usize)],
        between: (Timestamp, Timestamp),
    ) -> Result<Vec<(Uuid, Receipt)>, StoreError> {
        let bounded = |(id, count): &(Uuid, usize)| (*id, (*count).min(MESSAGES));
        let newest: Vec<_> = newest.iter().map(bounded).collect();
        let found = self.store.marked_between(&newest, between, MOST).await?;
        if found.len() == MOST || newest.iter().any(|(_, count)| *count == MESSAGES) {
            self.metrics.sweep_cut_short();
        }
        let Marks { marks, unreadable } = found;
        self.metrics.rows_unreadable(unreadable);
        Ok(marks)
    }

    /// Those of the conversations in which a message was stored since then, or one marked as read.
    pub(super) async fn changed_since(
        &self,
        ids: &[Uuid],
        since: Timestamp,
    ) -> Result<HashSet<Uuid>, StoreError> {
        let spoken_in = self.store.spoken_in(ids, since).await?;
        let mut changed: HashSet<Uuid> = spoken_in.into_iter().collect();
        let silent = ids.iter().filter(|id| !changed.contains(*id));
        let newest: Vec<_> = silent.map(|id| (*id, NEWEST)).collect();
        let marks = self.marks(&newest, (since, self.far())).await?;
        changed.extend(marks.into_iter().map(|(id, _)| id));
        Ok(changed)
    }

    /// Shows the marks made since then that were not shown yet, of the newest messages, `said` of
    /// which came since then.
    pub(super) async fn show_marks(
        &self,
        id: Uuid,
        room: &Room,
        since: Timestamp,
        said: usize,
    ) -> Result<(), StoreError> {
        let newest = [(id, NEWEST + said)];
        let marks = loop {
            match self.marks(&newest, (since, self.far())).await {
                Ok(marks) => break marks,
                Err(error) if error.may_pass() => {
                    tracing::warn!(%error, "a repair waits for the store");
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        };
        for (_, receipt) in marks {
            if !self.unannounced.contains(receipt.id) {
                self.show_mark(room, &receipt);
            }
        }
        Ok(())
    }

    /// Returns a time that is later than everything that is stored.
    pub(super) fn far(&self) -> Timestamp {
        after(self.now(), AHEAD)
    }

    fn show_mark(&self, room: &Room, receipt: &Receipt) {
        let event = Event::MessageRead {
            message_id: receipt.message_id.to_string().into(),
            user_id: receipt.user_id.clone().into(),
        };
        let frame = (self.encode)(&event);
        let delivery = room.deliver_mark(receipt, &frame, self.keeps());
        if delivery.sockets > 0 {
            self.count(EventType::MessageRead, delivery);
            self.metrics.mark_repaired();
        }
    }
}
