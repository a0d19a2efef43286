//! Budget of one socket: every frame that it sends counts, whatever it holds and whatever
//! becomes of it.
//!
//! A client that sends more is read slower, which TCP passes on to it, and closed if that goes on.
//! Requests in conversations have limits of their own, which clients learn of
//! ([`crate::limits`]).

use std::time::{Duration, Instant};

use crate::config::{Host, Ws};

/// The time in which the budget comes back whole.
const PERIOD: Duration = Duration::from_secs(1);

/// Bytes of a frame that count as one frame more.
const PIECE: u32 = 4096;

/// Frames that a refused one counts as besides itself: it is read, answered and good for nothing.
pub const REFUSED: u32 = 9;

/// Values of JSON that count as one frame more: to read them takes about as long.
const VALUES: usize = 64;

/// Texts up to this length cannot have many.
const SHORT: usize = 256;

/// The least time for which a socket is not read. One wake-up for each frame that comes into the
/// budget would cost more than the frame.
const PAUSE: Duration = Duration::from_millis(100);

/// The name of the limit in the security log.
pub const FRAMES: &str = "frames";

/// Returns the frames that a text counts as besides itself: by the values of JSON that it may have,
/// which stand between commas.
#[must_use]
pub fn weight(text: &str) -> u32 {
    if text.len() <= SHORT {
        return 0;
    }
    let commas = text.bytes().filter(|byte| *byte == b',').count();
    u32::try_from(commas / VALUES).unwrap_or(u32::MAX)
}

/// Most frames read before other sockets have their turn.
pub const TURN: u32 = 128;

/// The size of a budget.
#[derive(Clone, Copy, Debug)]
pub struct BudgetRate {
    /// 0 is any number.
    pub frames_per_s: u32,
    /// Time for which the budget may be short before the socket is closed; `None` is any time.
    pub flood: Option<Duration>,
}

impl From<&Ws> for BudgetRate {
    fn from(ws: &Ws) -> Self {
        BudgetRate {
            frames_per_s: ws.frames_per_s,
            flood: Some(Duration::from_secs(ws.flood_s)),
        }
    }
}

impl From<&Host> for BudgetRate {
    /// An application may want as many frames as its client sends: that is no reason to close.
    fn from(host: &Host) -> Self {
        BudgetRate {
            frames_per_s: host.frames_per_s,
            flood: None,
        }
    }
}

/// The budget of one socket.
#[derive(Debug)]
pub struct Budget {
    /// When the budget is whole again.
    whole_at: Instant,
    /// When the socket may be read again.
    paused_until: Option<Instant>,
    /// Since when the budget has been short.
    short_since: Option<Instant>,
}

/// Consequence for the socket after it has spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    Within,
    /// It is not read for a moment; `first` for the first time since the budget was whole.
    Short {
        first: bool,
    },
    /// It has been short for too long, and is to be closed.
    Flooding,
}

impl Budget {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Budget {
            whole_at: now,
            paused_until: None,
            short_since: None,
        }
    }

    /// Counts frames and their bytes.
    pub fn spend(&mut self, frames: u32, bytes: u32, rate: BudgetRate, now: Instant) -> Spent {
        let Some(each) = PERIOD.checked_div(rate.frames_per_s) else {
            return Spent::Within;
        };
        let cost = each.saturating_mul(frames.saturating_add(bytes / PIECE));
        let whole_at = self.whole_at.max(now).checked_add(cost);
        self.whole_at = whole_at.unwrap_or(self.whole_at);
        let owed = self.whole_at.saturating_duration_since(now);
        if owed < PERIOD {
            if owed <= PERIOD / 2 {
                self.short_since = None;
            }
            return Spent::Within;
        }
        self.paused_until = Some(now + owed.saturating_sub(PERIOD) + PAUSE);
        let first = self.short_since.is_none();
        let since = *self.short_since.get_or_insert(now);
        let short_for = now.saturating_duration_since(since);
        if rate.flood.is_some_and(|flood| short_for >= flood) {
            Spent::Flooding
        } else {
            Spent::Short { first }
        }
    }

    /// Returns when the socket may be read again; `None` if it may be read.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends a pause that is over. Returns whether there was one.
    pub fn resume(&mut self, now: Instant) -> bool {
        let is_over = self.paused_until.is_some_and(|until| until <= now);
        if is_over {
            self.paused_until = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const SECOND: Duration = Duration::from_secs(1);

    /// A budget, with the settings of these flags.
    struct World {
        rate: BudgetRate,
        budget: Budget,
        now: Instant,
    }

    impl World {
        fn new(flags: &[(&str, &str)]) -> Self {
            let now = Instant::now();
            World {
                rate: BudgetRate::from(&Config::of(flags).ws),
                budget: Budget::new(now),
                now,
            }
        }

        fn spend(&mut self, frames: u32, bytes: u32) -> Spent {
            self.budget.spend(frames, bytes, self.rate, self.now)
        }

        /// Sends as fast as the socket is read, for so long; returns the frames that were read, and
        /// whether the socket is to be closed.
        fn flood(&mut self, lasts: Duration) -> (u32, bool) {
            let (end, mut frames) = (self.now + lasts, 0);
            while self.now < end {
                frames += 100;
                if self.spend(100, 600) == Spent::Flooding {
                    return (frames, true);
                }
                if let Some(until) = self.budget.paused_until() {
                    self.now = until;
                    assert!(self.budget.resume(until));
                }
            }
            (frames, false)
        }
    }

    #[test]
    fn a_thousand_frames_at_once_are_read_at_once() {
        let mut world = World::new(&[]);
        for _ in 0..9 {
            assert_eq!(world.spend(100, 10_000), Spent::Within);
        }
        assert_eq!(world.budget.paused_until(), None);
    }

    #[test]
    fn a_flood_is_read_at_the_rate_and_then_closed() {
        let (frames, closed) = World::new(&[]).flood(10 * SECOND);
        assert!((10_000..=11_200).contains(&frames), "{frames}");
        assert!(!closed);
        let (frames, closed) = World::new(&[]).flood(60 * SECOND);
        assert!((30_000..=31_200).contains(&frames), "{frames}");
        assert!(closed);
    }

    #[test]
    fn where_a_flood_may_last_it_is_read_at_the_rate() {
        let mut world = World::new(&[]);
        world.rate = BudgetRate::from(&Config::of(&[]).host);
        let (frames, closed) = world.flood(600 * SECOND);
        assert!((600_000..=602_000).contains(&frames), "{frames}");
        assert!(!closed);
    }

    #[test]
    fn a_client_that_pauses_is_never_closed() {
        let mut world = World::new(&[]);
        for _ in 0..20 {
            let (_, closed) = world.flood(10 * SECOND);
            assert!(!closed);
            world.now += SECOND;
            world.spend(1, 100);
        }
    }

    #[test]
    fn that_a_client_is_slowed_down_is_news_once() {
        let mut world = World::new(&[("ws.frames_per_s", "10")]);
        assert_eq!(world.spend(10, 0), Spent::Short { first: true });
        let until = world.budget.paused_until().unwrap();
        assert_eq!(until, world.now + PAUSE);
        assert!(!world.budget.resume(world.now));
        assert!(world.budget.resume(until));
        world.now = until;
        assert_eq!(world.spend(1, 0), Spent::Short { first: false });
        world.now += SECOND;
        assert!(world.budget.resume(world.now));
        assert_eq!(world.spend(1, 0), Spent::Within);
        assert_eq!(world.spend(10, 0), Spent::Short { first: true });
    }

    #[test]
    fn large_frames_count_for_their_bytes() {
        let mut world = World::new(&[("ws.frames_per_s", "300")]);
        assert_eq!(world.spend(1, 1 << 20), Spent::Within);
        assert_eq!(world.spend(1, 1 << 20), Spent::Short { first: true });
    }

    #[test]
    fn many_values_weigh_as_frames_and_words_as_none() {
        assert_eq!(weight(&format!("[{}0]", "0,".repeat(64_000))), 1000);
        assert_eq!(weight(&"a word, ".repeat(64)), 1);
        assert_eq!(weight(&",".repeat(SHORT)), 0);
    }

    #[test]
    fn without_a_budget_nothing_is_counted() {
        let mut world = World::new(&[("ws.frames_per_s", "0")]);
        assert_eq!(world.spend(u32::MAX, u32::MAX), Spent::Within);
        assert_eq!(world.budget.paused_until(), None);
    }
}
