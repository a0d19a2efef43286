//! A room beside the store: up to when all that is stored has been shown, and for how much of it no
//! event has come.

use std::time::Duration;

use super::Room;
use crate::{
    hub::{
        shown::{Counts, ShownKey},
        sweep::REACH,
    },
    python::datetime::{Timestamp, before},
};

/// Time for which a conversation counts as active after an event.
const LIVELY: Duration = Duration::from_secs(60);

impl Room {
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
}
