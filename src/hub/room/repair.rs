//! A room under repair: its events wait until memberships are restored, or what was missed has been
//! read from the store.

use std::time::Duration;

use super::{Room, RoomState};
use crate::{
    hub::{delivery::Delivery, hold::Hold},
    metrics,
    python::datetime::Timestamp,
};

/// Next step of the reader of a room under repair.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Reads the store since then.
    Read(Timestamp),
    /// Nothing: the held events have been shown, or will be when the layer reports the gap.
    Done(Delivery),
}

impl Room {
    /// Lets events wait: memberships are about to be restored.
    pub fn await_gap(&self, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state.held(open);
        hold.awaits_gap = true;
    }

    /// Lets events wait until the store has been read since then.
    pub fn miss(&self, since: Timestamp, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state.held(open);
        hold.awaits_gap = false;
        hold.read_since(since);
    }

    /// Lets events wait until the store has been read since then, unless it is being read already.
    pub fn read_first(&self, since: Timestamp, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state.held(open);
        if !hold.is_taken {
            hold.read_since(since);
        }
    }

    /// Lets events wait until [`read_held`](Self::read_held). If the store is being read, that may have
    /// been too early: it is read once more since then.
    pub fn wait(&self, since: Timestamp, open: impl FnOnce() -> metrics::HeldGauge) {
        let mut state = self.state();
        let hold = state.held(open);
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
}

impl RoomState {
    /// Returns what waits; nothing waits yet if events were shown at once until now.
    fn held(&mut self, open: impl FnOnce() -> metrics::HeldGauge) -> &mut Hold {
        self.hold.get_or_insert_with(|| Box::new(Hold::new(open())))
    }
}
