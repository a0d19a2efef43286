//! Sweep: what is stored is compared with what was shown, now and then.
//!
//! Every message that a socket should be shown has an event, and every event that may have been
//! lost is made up for by its sender or found by a repair. What no event has come for all the same
//! (a process that died before it could send, a Django that could not broadcast what it stored, a
//! cause that is unknown) is found here and shown once it is [`AGE`] old.
//!
//! One query for [`TOGETHER`] conversations asks for the ids of what was stored since the last
//! look, two more for the read marks (`marks`); only a conversation that lacks something is read,
//! as by a repair. Conversations in which nothing was said for a minute are looked at in every
//! sixth round. A query that finds more than [`MOST`](super::marks::MOST) ids leaves the rest, the
//! newest: that much in one round is not compared, and counted.
//!
//! **Clocks.** Times are those that are believed ([`Clock`](crate::clock::Clock)): a Chatferry
//! process whose clock is set wrong while it runs does not date by it. What another process stores
//! while its clock is ahead of ours has a time that is still to come: its age counts from the round
//! that met it, and it is remembered until that time has passed. A row dated further back than a
//! look reaches is found only by its event.
//!
//! **Counted.** Everything that is found is counted as swept. It is a fault, and counted as
//! unheard, only if a Chatferry process stored it (`chat::id`), and if its event has not come when
//! it is forgotten, after five minutes: by then no sender owes it any longer. What Chatferry stores
//! without an event (by REST, which the original does not broadcast) is neither: the process that
//! stores it tells the others within a second that it is unannounced. Of what Django stored nothing
//! tells whether it was to be broadcast.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Hub,
    marks::{Missed, Since},
    repair::TOGETHER,
    room::Room,
    shown::{ShownKey, mark_key},
};
use crate::{
    chat::{Receipt, id},
    id::{ConversationId, Key, MessageId},
    layer::control::Control,
    python::datetime::{Timestamp, after, before},
    store::StoreError,
};

/// The age at which a message counts as missed: older than anything that is under way.
pub(super) const AGE: Duration = Duration::from_secs(8);

/// The time before the last look that is read too: clocks of other machines differ.
pub(super) const MARGIN: Duration = Duration::from_secs(2);

/// The furthest that a look reaches back: what was shown is remembered for longer.
pub(super) const REACH: Duration = Duration::from_secs(80);

/// Quiet conversations are looked at once in this number of rounds.
const ROUNDS: usize = 6;

/// Messages of each conversation whose read marks are compared, beside those that came since the
/// last look.
const NEWEST: usize = 20;

/// Most ids in one telling.
const TOLD_TOGETHER: usize = 500;

/// Found before an event came, in one conversation.
#[derive(Default)]
struct Unheard {
    messages: Vec<MessageId>,
    marks: Vec<Receipt>,
}

impl Unheard {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.marks.is_empty()
    }
}

impl Hub {
    /// Tells other processes of messages that were stored without an event, until the process ends.
    pub async fn tell_unannounced(self: Arc<Self>) {
        loop {
            let untold = self.unannounced.untold().await;
            self.tell(&untold).await;
        }
    }

    /// Tells other processes of the last ones, at the end of the process.
    pub async fn tell_last(&self) {
        self.tell(&self.unannounced.take_untold()).await;
    }

    async fn tell(&self, untold: &[Key]) {
        for some in untold.chunks(TOLD_TOGETHER) {
            let said = Control::Unannounced(some.to_vec());
            // The layer owes what it cannot take now.
            let _ = self.layer.send_control(&said).await;
        }
    }

    /// Compares with the store every so often, until the process ends.
    pub async fn sweep(self: Arc<Self>, every: Duration) {
        let mut round = 0;
        loop {
            sleep(every).await;
            round = (round + 1) % ROUNDS;
            self.sweep_once(round, self.now()).await;
        }
    }

    pub(super) async fn sweep_once(&self, round: usize, now: Timestamp) {
        let (mut lively, mut quiet) = (Vec::new(), Vec::new());
        for (id, room) in self.all_rooms() {
            self.count_unheard(id, &room);
            let swept = room.swept();
            if room.held_for().is_some() {
                // Its repair reads more than this.
            } else if room.is_lively() {
                lively.push((id, room, swept));
            } else if id.bits() % ROUNDS as u128 == round as u128 {
                quiet.push((id, room, swept));
            }
        }
        for some in lively.chunks(TOGETHER).chain(quiet.chunks(TOGETHER)) {
            if let Err(error) = self.compare(some, now).await {
                tracing::debug!(%error, "conversations could not be compared with the store");
            }
        }
    }

    async fn compare(&self, some: &[Since], now: Timestamp) -> Result<(), StoreError> {
        let ids: Vec<ConversationId> = some.iter().map(|(id, ..)| *id).collect();
        let until = before(now, AGE);
        let swept = some.iter().map(|(.., swept)| before(*swept, MARGIN)).min();
        let since = swept.unwrap_or(until).max(before(now, REACH));
        let mut stored = self.stored_since(&ids, since, NEWEST).await?;
        if !stored.is_whole {
            self.metrics.sweep_cut_short();
        }
        for (id, room, _) in some {
            self.look_for_changes(room, since);
            let messages = stored.messages.remove(id).unwrap_or_default();
            let mut marks = stored.marks.remove(id).unwrap_or_default();
            let unheard = self.unheard(room, &messages, &mut marks, now);
            let missed = Missed {
                from: since,
                began: now,
                marks,
                unfound: HashSet::new(),
                is_spoken_in: true,
            };
            let is_complete = unheard.is_empty() || self.make_up(*id, room, &unheard, missed).await;
            if stored.is_whole && is_complete {
                room.is_swept(until);
            }
        }
        Ok(())
    }

    /// Returns what is stored in a conversation, is due, and has not been shown. Of the marks those
    /// are left that have not been shown.
    fn unheard(
        &self,
        room: &Room,
        messages: &[(MessageId, Timestamp)],
        marks: &mut Vec<Receipt>,
        now: Timestamp,
    ) -> Unheard {
        let mut unheard = Unheard::default();
        for (id, created_at) in messages {
            let is_due = is_due(room, id.bits(), *created_at, now);
            if is_due && !room.has_shown(*id) && !self.unannounced.contains(*id) {
                unheard.messages.push(*id);
            }
        }
        marks.retain(|it| {
            let key = mark_key(it.message_id, &it.user_id);
            let is_due = is_due(room, key, it.timestamp, now);
            let is_missed = !room.has_shown_mark(it) && !self.unannounced.contains(it.id);
            if is_due && is_missed {
                unheard.marks.push(it.clone());
            }
            is_missed
        });
        unheard
    }

    /// Shows what was found. Returns whether that was possible now.
    async fn make_up(
        &self,
        id: ConversationId,
        room: &Arc<Room>,
        unheard: &Unheard,
        missed: Missed,
    ) -> bool {
        if !room.hold(|| self.metrics.repair_open()) {
            // Its repair reads more than this.
            return false;
        }
        // From here on events wait; one may have come before.
        let messages = unheard.messages.iter().filter(|id| !room.has_shown(**id));
        let marks = unheard.marks.iter().filter(|it| !room.has_shown_mark(it));
        let (messages, marks): (Vec<_>, Vec<_>) = (messages.collect(), marks.collect());
        if messages.len() + marks.len() > 0 {
            tracing::info!(
                conversation_id = %id, messages = messages.len(), marks = marks.len(),
                "messages or read marks were found before an event of them came"
            );
            self.metrics.swept(messages.len(), marks.len());
        }
        let is_done = self.repair_room(id, room, missed).await;
        for message in messages.into_iter().filter(|it| id::is_own(**it)) {
            room.expects(message.bits());
        }
        for mark in marks.into_iter().filter(|it| id::is_own(it.id)) {
            room.expects(mark_key(mark.message_id, &mark.user_id));
        }
        is_done
    }

    /// Counts for what no event has come in five minutes.
    pub(super) fn count_unheard(&self, id: ConversationId, room: &Room) {
        let unheard = room.unheard(self.keeps());
        if unheard.sum() > 0 {
            tracing::warn!(
                conversation_id = %id, messages = unheard.messages, marks = unheard.marks,
                "no event came for messages or read marks of a Chatferry process"
            );
            self.metrics.unheard(unheard.messages, unheard.marks);
        }
    }
}

/// Returns whether something stored is old enough to have been shown: by its time or, if that is
/// ahead of our clock, by when it was met.
fn is_due(room: &Room, key: ShownKey, dated: Timestamp, now: Timestamp) -> bool {
    if dated > after(now, MARGIN) {
        return room.meets(key, dated) >= AGE;
    }
    dated < before(now, AGE)
}
