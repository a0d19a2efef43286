//! The time of day: as the system has it, and as it is believed.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

/// Returns the time since the first moment of 1970, in UTC; none by a clock that is set before it.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Time by which two clocks may differ and agree: more than an answer of Redis takes.
pub const APART: Duration = Duration::from_secs(5);

/// [`APART`] in microseconds.
const AGREE: u64 = APART.as_secs() * 1_000_000;

/// Most microseconds by which a clock that is slewed moves from one comparison to the next.
const SLEWED: u64 = 500_000;

/// The time of day that this process compares with that of others, and gives to what it stores.
///
/// A clock that is set wrong while the process runs must not date messages where no other process
/// looks for them, nor take the messages and memberships of others for expired. So the system's
/// clock is [compared](Clock::compare) with that of Redis now and then, and both with the time that
/// has passed since they last agreed: of these three the two that agree are believed. Until a first
/// comparison, and where no two agree, the system's clock is. A smaller step is not followed either,
/// unless it leads nearer to the clock of Redis.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    /// Held for moments only.
    belief: RwLock<Option<Belief>>,
}

/// Time at the start of the process, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Belief {
    time: i64,
    /// When the clocks last agreed, by this time; `None` if they never did.
    agreed: Option<i64>,
    /// The time by Redis, if no two agree.
    other: Option<i64>,
    /// True if the system's clock and that of Redis differ.
    is_apart: bool,
}

impl Belief {
    /// Decides between the times of the two clocks by the one at which they agreed.
    fn of(system: i64, redis: i64, agreed: Option<i64>) -> Self {
        let agree = |one: i64, other: i64| one.abs_diff(other) <= AGREE;
        let is_apart = !agree(system, redis);
        let has_left = |agreed: &i64| {
            let is_step = agreed.abs_diff(system) > SLEWED;
            is_step && agree(*agreed, redis) && agreed.abs_diff(redis) <= system.abs_diff(redis)
        };
        if let Some(time) = agreed.filter(has_left) {
            return Belief {
                time,
                agreed,
                other: None,
                is_apart,
            };
        }
        let was = |time| agreed.is_some_and(|agreed| agree(agreed, time));
        let (time, agreed, other) = if !is_apart || was(system) {
            (system, Some(system), None)
        } else if was(redis) {
            (redis, Some(redis), None)
        } else {
            (system, agreed, Some(redis))
        };
        Belief {
            time,
            agreed,
            other,
            is_apart,
        }
    }
}

/// Change that a comparison made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The two clocks differ.
    Apart {
        /// Seconds by which the system's is ahead of that of Redis.
        ahead_s: i64,
        /// True if the system's is believed.
        is_followed: bool,
    },
    Agree,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            start: Instant::now(),
            belief: RwLock::default(),
        }
    }
}

impl Clock {
    /// Returns the time that is believed, in microseconds since 1970.
    #[must_use]
    pub fn micros(&self) -> i64 {
        match self.belief() {
            Some(belief) => belief.time.saturating_add(self.passed()),
            None => system(),
        }
    }

    /// Returns the earliest and the latest time that it may be, in microseconds since 1970. Both
    /// are the time that is believed, unless no two clocks agree. The latest is then that of Redis,
    /// but no more than `patience` before the system's: other processes may go by a clock like
    /// that.
    #[must_use]
    pub fn bounds(&self, patience: Duration) -> (i64, i64) {
        let Some(Belief { time, other, .. }) = self.belief() else {
            let now = system();
            return (now, now);
        };
        let passed = self.passed();
        let now = time.saturating_add(passed);
        let Some(other) = other else {
            return (now, now);
        };
        let other = other.saturating_add(passed);
        (
            other.min(now),
            other.max(now.saturating_sub(micros(patience))),
        )
    }

    /// Compares the system's clock with that of Redis, which showed `redis` just now.
    pub fn compare(&self, redis: Duration) -> Option<Change> {
        self.compare_with(system(), micros(redis))
    }

    fn compare_with(&self, system: i64, redis: i64) -> Option<Change> {
        let passed = self.passed();
        let mut known = self.belief.write().unwrap_or_else(PoisonError::into_inner);
        let agreed = known.and_then(|belief| belief.agreed);
        let was_apart = known.is_some_and(|belief| belief.is_apart);
        let belief = Belief::of(system - passed, redis - passed, agreed);
        *known = Some(belief);
        match (was_apart, belief.is_apart) {
            (false, true) => Some(Change::Apart {
                ahead_s: (system - redis) / 1_000_000,
                is_followed: belief.time == system - passed,
            }),
            (true, false) => Some(Change::Agree),
            _ => None,
        }
    }

    fn belief(&self) -> Option<Belief> {
        *self.belief.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn passed(&self) -> i64 {
        micros(self.start.elapsed())
    }
}

fn system() -> i64 {
    micros(since_1970())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const MINUTE: Duration = Duration::from_secs(60);

    /// Returns a clock after these comparisons: seconds by which the system's and that of Redis are
    /// ahead.
    fn compared(comparisons: &[(i64, i64)]) -> (Clock, Vec<Option<Change>>) {
        let (clock, now) = (Clock::default(), system());
        let compare = |(own, redis): &(i64, i64)| {
            clock.compare_with(now + own * SECOND, now + redis * SECOND)
        };
        let changes = comparisons.iter().map(compare).collect();
        (clock, changes)
    }

    /// Seconds that something is ahead.
    fn ahead(micros: i64) -> i64 {
        (micros - system() + SECOND / 2).div_euclid(SECOND)
    }

    fn bounds(clock: &Clock) -> (i64, i64) {
        let (earliest, latest) = clock.bounds(MINUTE);
        (ahead(earliest), ahead(latest))
    }

    #[test]
    fn a_clock_without_redis_is_the_systems() {
        let clock = Clock::default();
        assert_eq!(ahead(clock.micros()), 0);
        assert_eq!(bounds(&clock), (0, 0));
    }

    #[test]
    fn a_clock_that_steps_away_is_not_followed() {
        for step in [300, -124, 400 * 86_400] {
            let (clock, changes) = compared(&[(0, 0), (step, 0), (step, 0), (0, 0)]);
            let apart = Change::Apart {
                ahead_s: step,
                is_followed: false,
            };
            assert_eq!(changes, [None, Some(apart), None, Some(Change::Agree)]);
            let (clock_apart, _) = compared(&[(0, 0), (step, 0), (step, 0)]);
            for clock in [clock, clock_apart] {
                assert_eq!(ahead(clock.micros()), 0, "{step}");
                assert_eq!(bounds(&clock), (0, 0), "{step}");
            }
        }
    }

    #[test]
    fn a_small_step_is_followed_only_towards_redis() {
        for (steps, expected) in [
            (&[(0, 0), (2, 0)][..], 0),
            (&[(0, 0), (-2, 0), (-2, 0)], 0),
            (&[(0, 0), (2, 0), (0, 0)], 0),
            (&[(3, 0), (0, 0)], 0),
            (&[(3, 0), (5, 0)], 3),
            (&[(0, 0), (2, 2)], 2),
        ] {
            let (clock, _) = compared(steps);
            assert_eq!(ahead(clock.micros()), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_redis_whose_clock_is_wrong_is_not_believed() {
        let (clock, changes) = compared(&[(0, 0), (0, 3600)]);
        let is_followed = true;
        let ahead_s = -3600;
        let apart = Change::Apart {
            ahead_s,
            is_followed,
        };
        assert_eq!(changes, [None, Some(apart)]);
        assert_eq!(bounds(&clock), (0, 0));
    }

    #[test]
    fn clocks_that_step_together_are_followed() {
        let (clock, changes) = compared(&[(0, 0), (500, 501)]);
        assert_eq!(changes, [None, None]);
        assert_eq!(ahead(clock.micros()), 500);
    }

    #[test]
    fn where_no_two_agree_the_systems_clock_is_believed_within_bounds() {
        for (own, redis, earliest, latest) in [
            (0, 20, 0, 20),
            (0, 3600, 0, 3600),
            (0, -20, -20, -20),
            (0, -3600, -3600, -60),
        ] {
            let (clock, _) = compared(&[(own, redis)]);
            assert_eq!(ahead(clock.micros()), own);
            assert_eq!(bounds(&clock), (earliest, latest), "{own} {redis}");
        }
    }
}
