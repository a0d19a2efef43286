//! One conversation with sockets in this process: who is in it, what they have been shown, and what
//! waits while it is repaired.

mod repair;
mod sweep;

pub use repair::Next;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    delivery::Delivery,
    frames::EventFrames,
    hold::Hold,
    member::{Member, RoomMembers},
    shown::{By, Shown, ShownKey, mark_key},
    told::Told,
};
use crate::{
    chat::{Message, Receipt},
    clock::Clock,
    hub::queue::Queue,
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
};

/// A conversation with sockets in this process.
pub struct Room {
    pub id: ConversationId,
    pub group: String,
    /// True if the layer counts this process as a member. Held while the layer is asked, so that
    /// joining and leaving never overtake each other.
    pub joined: tokio::sync::Mutex<bool>,
    /// Held for moments only, never across an await.
    state: Mutex<RoomState>,
    /// Number of sockets that speak another dialect than the first.
    others: AtomicUsize,
}

struct RoomState {
    clock: Arc<Clock>,
    members: RoomMembers,
    shown: Shown,
    /// While memberships are restored or what was missed is read, nothing newer is shown.
    hold: Option<Box<Hold>>,
    /// Up to when what is stored is known to have been shown.
    swept: Timestamp,
    /// When an event came last.
    heard: Instant,
}

impl Room {
    pub fn new(id: ConversationId, group: String, clock: Arc<Clock>) -> Self {
        Room {
            id,
            group,
            joined: tokio::sync::Mutex::new(false),
            state: Mutex::new(RoomState {
                members: RoomMembers::default(),
                shown: Shown::new(Arc::clone(&clock)),
                hold: None,
                swept: Timestamp::by(&clock),
                clock,
                heard: Instant::now(),
            }),
            others: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, RoomState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a socket; returns its number in this room.
    pub fn enter(&self, queue: Arc<Queue>) -> u64 {
        if !queue.dialect().is_first() {
            self.others.fetch_add(1, Ordering::Relaxed);
        }
        self.state().members.enter(queue)
    }

    /// Returns whether a socket speaks another dialect than the first.
    pub fn others_speak(&self) -> bool {
        self.others.load(Ordering::Relaxed) > 0
    }

    /// A member hears everything from now on.
    pub fn hears_all(&self, number: u64) {
        let mut state = self.state();
        let now = Timestamp::by(&state.clock);
        if let Some(member) = state.members.get(number) {
            member.hears_all(now);
        }
    }

    /// Returns whether that was the last one.
    pub fn leave(&self, number: u64) -> bool {
        let mut state = self.state();
        let left = state.members.leave(number);
        if left.is_some_and(|member| !member.queue.dialect().is_first()) {
            self.others.fetch_sub(1, Ordering::Relaxed);
        }
        state.members.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.state().members.is_empty()
    }

    /// Notes what a socket is shown by its history, the oldest first, so that it does not get it
    /// live as well: neither again later (only what is recent and has not come yet can come), nor
    /// when it already waits in its queue. Returns whether no event has come for some of them.
    pub fn is_shown(&self, number: u64, messages: &[Message]) -> bool {
        let mut state = self.state();
        let RoomState { members, shown, .. } = &mut *state;
        let Some(member) = members.get(number) else {
            return false;
        };
        let mut has_unheard = false;
        for message in messages {
            let is_heard = || shown.by(message.id.bits()) == Some(By::Event);
            if member.is_concerned(message.created_at) && !is_heard() {
                member.note_seen(message);
                has_unheard = true;
            }
        }
        let ids = || messages.iter().map(|message| message.id).collect();
        member.queue.withdraw(ids);
        has_unheard
    }

    /// Takes out what a socket's history showed of one sender, by id and time, if no event has come for
    /// it.
    pub fn take_unheard(&self, number: u64, sender: &str) -> Vec<(MessageId, Timestamp)> {
        let mut state = self.state();
        let RoomState { members, shown, .. } = &mut *state;
        let said = members.get(number).into_iter();
        let said = said.flat_map(|member| member.take_said(sender));
        said.filter(|(id, _)| shown.by(id.bits()) != Some(By::Event))
            .collect()
    }

    /// Hands an event to every member, or lets it wait for the repair. While a gap is open (`keep`)
    /// nothing that was shown is forgotten. It is written `at_once` if no other event waits.
    pub fn deliver(&self, told: Told, keep: bool, at_once: bool) -> Delivery {
        let mut state = self.state();
        let state = &mut *state;
        state.heard = Instant::now();
        match &mut state.hold {
            // A typing mark has no place in any order, and is stale soon.
            Some(hold) if told.key.is_some() => {
                hold.wait(told, &state.clock);
                Delivery::default()
            }
            _ => {
                let delivery = Delivery::new(at_once);
                state.show(&told, keep, delivery)
            }
        }
    }

    /// Queues a stored message for every member that has not seen it.
    pub fn deliver_stored(&self, message: &Message, frames: &EventFrames, keep: bool) -> Delivery {
        let key = message.id.bits();
        self.deliver_once(key, Some(message.id), frames, keep, |member, has_event| {
            let is_known = if has_event {
                member.had_seen(key)
            } else {
                member.has_seen(key)
            };
            member.is_concerned(message.created_at) && !is_known
        })
    }

    /// Returns the keys of the read marks that wait.
    pub fn waiting_marks(&self) -> HashSet<ShownKey> {
        let state = self.state();
        let hold = state.hold.as_ref();
        hold.map_or_else(HashSet::new, |hold| hold.marks())
    }

    /// Queues those of some read marks that wait before this one.
    pub fn deliver_marks_before(
        &self,
        key: ShownKey,
        some: &HashSet<ShownKey>,
        keep: bool,
    ) -> Delivery {
        let mut delivery = Delivery::default();
        let mut state = self.state();
        let hold = state.hold.as_mut();
        for told in hold.map_or_else(Vec::new, |hold| hold.take_marks_before(key, some)) {
            delivery = state.show(&told, keep, delivery);
        }
        delivery
    }

    /// Queues a stored read mark for every member that was there when it was made, unless it has
    /// been shown.
    pub fn deliver_mark(&self, receipt: &Receipt, frames: &EventFrames, keep: bool) -> Delivery {
        let key = mark_key(receipt.message_id, &receipt.user_id);
        self.deliver_once(key, None, frames, keep, |member, has_event| {
            has_event || member.awaits(receipt.timestamp)
        })
    }

    /// Queues what the store has for the members that want it, unless it has been shown. If its
    /// event waits, which is the second argument of `wants`, that is shown in its place, as it was
    /// sent.
    fn deliver_once(
        &self,
        key: ShownKey,
        message: Option<MessageId>,
        frames: &EventFrames,
        keep: bool,
        wants: impl Fn(&mut Member, bool) -> bool,
    ) -> Delivery {
        let mut delivery = Delivery::default();
        let mut state = self.state();
        if state.shown.by(key).is_some() {
            return delivery;
        }
        let keep = state.keeps(keep);
        let RoomState {
            members,
            shown,
            hold,
            ..
        } = &mut *state;
        let waited = hold.as_mut().and_then(|hold| hold.take(key));
        let (by, frames) = match &waited {
            Some(told) => (By::Event, &told.frames),
            None => (By::Store, frames),
        };
        for member in members.iter_mut() {
            if wants(member, waited.is_some()) {
                delivery.push(&member.queue, frames, message);
            }
        }
        // A mark that no socket here lacks must not come late either: newer ones have been shown.
        // Nor may an event that was taken out come again.
        if message.is_none() || waited.is_some() || delivery != Delivery::default() {
            shown.note(key, by, keep);
        }
        delivery
    }

    /// Ends the sockets, whose clients find everything in the history when they come back.
    pub fn give_up(&self) {
        for member in self.state().members.iter() {
            member.queue.give_up();
        }
    }

    /// Returns whether something of this key has been shown, or waits.
    pub fn has_met(&self, key: ShownKey) -> bool {
        let state = self.state();
        let waits = state.hold.as_ref().is_some_and(|hold| hold.has(key));
        waits || state.shown.by(key).is_some()
    }

    /// Returns whether this message has been shown, or its event waits.
    pub fn has_come(&self, id: MessageId) -> bool {
        let state = self.state();
        let hold = state.hold.as_ref();
        let waits = hold.is_some_and(|hold| hold.has(id.bits()));
        drop(state);
        waits || self.has_shown(id)
    }

    /// Returns whether every member has been shown this message, or will be by its history.
    pub fn has_shown(&self, id: MessageId) -> bool {
        let key = id.bits();
        let state = self.state();
        let seen = |member: &Member| !member.is_complete() || member.has_seen(key);
        state.shown.by(key).is_some() || state.members.iter().all(seen)
    }

    /// Returns whether this mark has been shown here, or is known to be lacked by no socket.
    pub fn knows_mark(&self, receipt: &Receipt) -> bool {
        let key = mark_key(receipt.message_id, &receipt.user_id);
        self.state().shown.by(key).is_some()
    }

    /// Returns whether this mark has been shown, or every member came after it.
    pub fn has_shown_mark(&self, receipt: &Receipt) -> bool {
        let key = mark_key(receipt.message_id, &receipt.user_id);
        let state = self.state();
        let awaits = |member: &Member| member.awaits(receipt.timestamp);
        state.shown.by(key).is_some() || !state.members.iter().any(awaits)
    }
}

impl RoomState {
    /// Returns whether nothing that was shown may be forgotten: a gap is open, or its repair still
    /// compares that with the store.
    fn keeps(&self, is_gap_open: bool) -> bool {
        is_gap_open || self.hold.is_some()
    }

    fn show(&mut self, told: &Told, keep: bool, mut delivery: Delivery) -> Delivery {
        let keep = self.keeps(keep);
        let Told {
            key,
            message,
            frames,
            resent,
        } = told;
        let RoomState { members, shown, .. } = self;
        if let Some(key) = *key {
            match shown.by(key) {
                Some(_) if resent.is_some() => {
                    shown.came(key);
                    return delivery;
                }
                // It was late: the store has shown it.
                Some(By::Store | By::Sweep) => {
                    shown.note(key, By::Event, keep);
                    return delivery;
                }
                _ => shown.note(key, By::Event, keep),
            }
        }
        for member in members.iter_mut() {
            let is_known = match message {
                Some(id) => {
                    let too_old = resent.is_some_and(|since| !member.is_concerned(since));
                    too_old || member.had_seen(id.bits())
                }
                None => resent.is_some_and(|since| !member.awaits(since)),
            };
            if !is_known {
                delivery.push(&member.queue, frames, *message);
            }
        }
        delivery
    }
}
