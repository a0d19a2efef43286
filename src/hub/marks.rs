//! Read marks that no event came for, read from the receipts in the store.
//!
//! The time of a receipt is in no index. Two lookups find the receipts that were made since the
//! time in question:
//!
//! - by message: those of the newest messages of a conversation, [`NEWEST`] and as many as were
//!   said since then. It finds those of Django, too;
//! - by id: those with ids of version 7, which begin with the time. Chatferry makes such ids
//!   (`store.ids`), so it finds all that Chatferry stored, however old the message is.
//!
//! **Order.** A client's next mark is made when the one before is stored. The lookup by id comes
//! second, so with any mark that either finds it finds all that the same client made before. Of
//! more than [`MOST`] receipts, or [`MESSAGES`] messages, the rest is not compared, and counted.
//!
//! Not found: a mark of an older message by Django, or by a Chatferry that makes random ids, and a
//! receipt that was there with another status before, which keeps its id and time (Django's chat
//! makes none). A mark that was made again leaves no trace, and tells nothing new.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Hub,
    room::Room,
    shown::{ShownKey, mark_key},
};
use crate::{
    chat::{Event, Receipt, id},
    id::{ConversationId, MessageId, ReceiptId},
    metrics::EventType,
    python::datetime::{Timestamp, after},
    store::{Marks, StoreError},
};

/// Messages of each conversation that a repair looks up beside those that came since the gap.
const NEWEST: usize = 50;

/// Most messages of one conversation that are looked up.
const MESSAGES: usize = 5000;

/// Most rows that one query finds.
pub(super) const MOST: usize = 5000;

/// Most that the clocks of other machines may be ahead.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// A conversation, and since when it is compared with the store.
pub(super) type Since = (ConversationId, Arc<Room>, Timestamp);

/// A read mark and its conversation.
type Mark = (ConversationId, Receipt);

/// The rows that were stored in some conversations since a time.
#[derive(Default)]
pub(super) struct Stored {
    /// The messages of each conversation, and their times.
    pub messages: HashMap<ConversationId, Vec<(MessageId, Timestamp)>>,
    /// The read marks of each conversation, in the order in which they were made.
    pub marks: HashMap<ConversationId, Vec<Receipt>>,
    /// True unless there are more messages than one query finds.
    pub is_whole: bool,
}

/// Findings of a look at one conversation, for its repair.
pub(super) struct Missed {
    /// Since when the messages are to be read.
    pub from: Timestamp,
    /// Time of the look.
    pub began: Timestamp,
    /// Read marks that have not been shown.
    pub marks: Vec<Receipt>,
    /// Read marks whose events waited before the look, and which it has not found.
    pub unfound: HashSet<ShownKey>,
    /// True if a message was stored since then.
    pub is_spoken_in: bool,
}

impl Hub {
    /// Looks up what was stored in some conversations since then. Of the marks of older messages it
    /// finds those of the `newest` in each conversation.
    pub(super) async fn stored_since(
        &self,
        ids: &[ConversationId],
        since: Timestamp,
        newest: usize,
    ) -> Result<Stored, StoreError> {
        let between = (since, self.far());
        let found = self.store.stored_between(ids, between, MOST).await?;
        let mut stored = Stored {
            is_whole: found.len() < MOST,
            ..Stored::default()
        };
        for (id, message, created_at) in found {
            let messages = stored.messages.entry(id).or_default();
            messages.push((message, created_at));
        }
        let said = |id| stored.messages.get(id).map_or(0, Vec::len);
        let newest = ids.iter().map(|id| (*id, newest + said(id))).collect();
        for (id, receipt) in self.marks(newest, between).await? {
            stored.marks.entry(id).or_default().push(receipt);
        }
        Ok(stored)
    }

    /// Returns the read marks that were made in some conversations between two times, in the order
    /// in which they were made; of each conversation as many of the newest messages are looked up.
    async fn marks(
        &self,
        newest: Vec<(ConversationId, usize)>,
        (since, far): (Timestamp, Timestamp),
    ) -> Result<Vec<Mark>, StoreError> {
        let ids: Vec<ConversationId> = newest.iter().map(|(id, _)| *id).collect();
        let bounded = |(id, count): (ConversationId, usize)| (id, count.min(MESSAGES));
        let newest: Vec<_> = newest.into_iter().map(bounded).collect();
        let by_message = self.store.marked_between(&newest, (since, far), MOST);
        let by_message = by_message.await?;
        let between = (id::first(since).into(), id::first(far).into());
        let by_id = self.store.marked_by_id(&ids, between, MOST).await?;
        let is_cut = |marks: &Marks| marks.len() == MOST;
        let is_bounded = newest.iter().any(|(_, count)| *count == MESSAGES);
        if is_bounded || is_cut(&by_message) || is_cut(&by_id) {
            self.metrics.sweep_cut_short();
        }
        let unreadable = by_message.unreadable.max(by_id.unreadable);
        self.metrics.rows_unreadable(unreadable);
        let mut marks = in_order(by_id.marks, by_message.marks);
        marks.retain(|(_, receipt)| receipt.timestamp >= since);
        Ok(marks)
    }

    /// Looks at what was stored in some conversations since the times beside them. In the same
    /// order.
    pub(super) async fn missed(&self, of: &[Since]) -> Result<Vec<Missed>, StoreError> {
        let began = self.now();
        let waited: Vec<_> = of.iter().map(|(_, room, _)| room.waiting_marks()).collect();
        let Some(since) = of.iter().map(|(.., since)| *since).min() else {
            return Ok(Vec::new());
        };
        let ids: Vec<ConversationId> = of.iter().map(|(id, ..)| *id).collect();
        let mut stored = self.stored_since(&ids, since, NEWEST).await?;
        let spoken_in: HashSet<ConversationId> = if stored.is_whole {
            stored.messages.into_keys().collect()
        } else {
            let all = self.store.spoken_in(&ids, since).await?;
            all.into_iter().collect()
        };
        let missed = of.iter().zip(waited).map(|((id, room, from), waited)| {
            let mut marks = stored.marks.remove(id).unwrap_or_default();
            marks.retain(|it| it.timestamp >= *from && !room.knows_mark(it));
            let found: HashSet<ShownKey> = marks.iter().map(key).collect();
            Missed {
                from: *from,
                began,
                marks,
                unfound: &waited - &found,
                is_spoken_in: spoken_in.contains(id),
            }
        });
        Ok(missed.collect())
    }

    /// Returns the read marks that wait and that a look cannot find. Events may have come since the
    /// look at what was missed: if one is of no mark that it has found, a second look tells whether
    /// that is newer.
    pub(super) async fn unfound(
        &self,
        id: ConversationId,
        room: &Arc<Room>,
        missed: &Missed,
    ) -> Result<HashSet<ShownKey>, StoreError> {
        let found: HashSet<ShownKey> = missed.marks.iter().map(key).collect();
        let is_known = |mark: &ShownKey| found.contains(mark) || missed.unfound.contains(mark);
        let mut unfound = missed.unfound.clone();
        if !found.is_empty() && !room.waiting_marks().iter().all(is_known) {
            let again = self.look_at((id, Arc::clone(room), missed.from)).await?;
            unfound.extend(again.unfound);
        }
        Ok(unfound)
    }

    /// Shows those of the marks that have not been shown. Those that a look cannot find, and whose
    /// events waited before it, keep their place among them; what came since may be newer than all
    /// of them, and follows.
    pub(super) fn show_marks(&self, room: &Room, marks: &[Receipt], unfound: &HashSet<ShownKey>) {
        for receipt in marks {
            if !self.unannounced.contains(receipt.id) {
                let before = room.deliver_marks_before(key(receipt), unfound, self.keeps());
                if before.sockets > 0 {
                    self.count(EventType::MessageRead, before);
                }
                self.show_mark(room, receipt);
            }
        }
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
        let frames = self.frames(room, &event);
        let delivery = room.deliver_mark(receipt, &frames, self.keeps());
        if delivery.sockets > 0 {
            self.count(EventType::MessageRead, delivery);
            self.metrics.mark_repaired();
        }
    }
}

fn key(receipt: &Receipt) -> ShownKey {
    mark_key(receipt.message_id, &receipt.user_id)
}

/// Returns each mark once, by its time. Those that were found by their ids keep that order: the
/// clock of their process may have been set back.
fn in_order(by_id: Vec<Mark>, by_message: Vec<Mark>) -> Vec<Mark> {
    let known: HashSet<ReceiptId> = by_id.iter().map(|(_, receipt)| receipt.id).collect();
    let mut latest = Timestamp::from_micros(i64::MIN);
    let by_id = by_id.into_iter().map(|mark| {
        latest = latest.max(mark.1.timestamp);
        (latest, mark)
    });
    let others = by_message.into_iter();
    let others = others.filter(|(_, receipt)| !known.contains(&receipt.id));
    let others = others.map(|mark| (mark.1.timestamp, mark));
    let mut all: Vec<_> = by_id.chain(others).collect();
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().map(|(_, mark)| mark).collect()
}
