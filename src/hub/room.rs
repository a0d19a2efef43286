//! One conversation with sockets in this process: who is in it, what they have been shown, and what
//! waits while it is repaired.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    delivery::Delivery,
    frames::EventFrames,
    hold::Hold,
    member::{Member, RoomMembers},
    shown::{By, Counts, Shown, ShownKey, mark_key},
    sweep::REACH,
    told::Told,
};
use crate::{
    chat::{Message, Receipt},
    clock::Clock,
    hub::queue::Queue,
    id::{ConversationId, MessageId},
    metrics,
    python::datetime::{Timestamp, before},
};

/// Time for which a conversation counts as active after an event.
const LIVELY: Duration = Duration::from_secs(60);

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

/// Next step of the reader of a room under repair.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Reads the store since then.
    Read(Timestamp),
    /// Nothing: the held events have been shown, or will be when the layer reports the gap.
    Done(Delivery),
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

    /// Lets events wait: memberships are about to be restored.
    pub fn await_gap(&self, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state
            .hold
            .get_or_insert_with(|| Box::new(Hold::new(open())));
        hold.awaits_gap = true;
    }

    /// Lets events wait until the store has been read since then.
    pub fn miss(&self, since: Timestamp, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state
            .hold
            .get_or_insert_with(|| Box::new(Hold::new(open())));
        hold.awaits_gap = false;
        hold.read_since(since);
    }

    /// Lets events wait until the store has been read since then, unless it is being read already.
    pub fn read_first(&self, since: Timestamp, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state
            .hold
            .get_or_insert_with(|| Box::new(Hold::new(open())));
        if !hold.is_taken {
            hold.read_since(since);
        }
    }

    /// Lets events wait until [`read_held`](Self::read_held). If the store is being read, that may have
    /// been too early: it is read once more since then.
    pub fn wait(&self, since: Timestamp, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state
            .hold
            .get_or_insert_with(|| Box::new(Hold::new(open())));
        if hold.is_taken {
            hold.read_since(since);
        }
    }

    /// The store is to be read since then, if events still wait.
    pub fn read_held(&self, since: Timestamp) {
        if let Some(hold) = &mut self.state().hold {
            hold.read_since(since);
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

    /// Lets events wait and takes the room over, unless somebody does so already. Returns whether
    /// the caller is to read it.
    pub fn hold(&self, open: impl FnOnce() -> metrics::HeldGauge) -> bool {
        let mut state = self.state();
        let is_free = state.hold.is_none();
        if is_free {
            let mut hold = Hold::new(open());
            hold.is_taken = true;
            state.hold = Some(Box::new(hold));
        }
        is_free
    }

    /// Returns since when the store is to be read, if that is to be done and no task does it. The
    /// caller does it from now on.
    pub fn take_over(&self) -> Option<Timestamp> {
        let mut state = self.state();
        let hold = state.hold.as_mut().filter(|hold| !hold.is_taken)?;
        let since = hold.since.take()?;
        hold.is_taken = true;
        Some(since)
    }

    /// The task that took the room over does not read it now: that is still to be done.
    pub fn let_be(&self, since: Timestamp) {
        if let Some(hold) = &mut self.state().hold {
            hold.is_taken = false;
            hold.read_since(since);
        }
    }

    /// Returns what is to be read, for the task that has taken the room over; if nothing is left,
    /// shows what has waited.
    pub fn next(&self, keep: bool) -> Next {
        let mut state = self.state();
        let mut delivery = Delivery::default();
        let Some(hold) = &mut state.hold else {
            return Next::Done(delivery);
        };
        if let Some(since) = hold.since.take().or(hold.let_go.take()) {
            return Next::Read(since);
        }
        if hold.awaits_gap {
            hold.is_taken = false;
            return Next::Done(delivery);
        }
        for told in std::mem::take(&mut hold.events) {
            delivery = state.show(&told, keep, delivery);
        }
        state.hold = None;
        Next::Done(delivery)
    }

    /// Returns the time for which events have waited here.
    pub fn held_for(&self) -> Option<Duration> {
        let state = self.state();
        state.hold.as_ref().map(|hold| hold.began.elapsed())
    }

    /// Returns whether it is remembered what was shown since then.
    pub fn remembers(&self, since: Timestamp) -> bool {
        self.state().shown.is_whole_since(since)
    }

    /// Ends the sockets, whose clients find everything in the history when they come back.
    pub fn give_up(&self) {
        for member in self.state().members.iter() {
            member.queue.give_up();
        }
    }

    /// Up to when what is stored has been shown. A time ahead of the clock is from before the clock
    /// was set back, and says nothing.
    pub fn swept(&self) -> Timestamp {
        let state = self.state();
        let (swept, now) = (state.swept, Timestamp::by(&state.clock));
        if swept > now {
            return before(now, REACH);
        }
        swept
    }

    /// Returns whether something was said lately.
    pub fn is_lively(&self) -> bool {
        self.state().heard.elapsed() < LIVELY
    }

    /// Notes that everything stored up to then has been shown.
    pub fn is_swept(&self, until: Timestamp) {
        let mut state = self.state();
        if until > state.swept || state.swept > Timestamp::by(&state.clock) {
            state.swept = until;
        }
    }

    /// Returns whether every member has been shown this message, or will be by its history.
    pub fn has_shown(&self, id: MessageId) -> bool {
        let key = id.bits();
        let state = self.state();
        let seen = |member: &Member| !member.is_complete() || member.has_seen(key);
        state.shown.by(key).is_some() || state.members.iter().all(seen)
    }

    /// Notes what is stored with a time ahead of the clock; returns for how long that is known.
    pub fn meets(&self, key: ShownKey, dated: Timestamp) -> Duration {
        self.state().shown.meets(key, dated)
    }

    /// An event must still come for what the sweep has just shown, or it counts as unheard.
    pub fn expects(&self, key: ShownKey) {
        self.state().shown.expects(key);
    }

    /// Forgets what is old; returns for how much of it no event has come, of what was expected.
    pub fn unheard(&self, keep: bool) -> Counts {
        let mut state = self.state();
        let keep = state.keeps(keep);
        state.shown.unheard(keep)
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
