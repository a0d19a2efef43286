//! The clock of scores: Unix seconds as a double, as Python's `time.time()`, but never twice the
//! same and not backwards, so that what one process sends is read in its order. Only a system clock
//! that has gone back by more than [`BEHIND_MAX_S`] is followed: the scores before were wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::since_1970;

/// Seconds that the system's clock may be behind the last score and be waited for.
const BEHIND_MAX_S: f64 = 60.0;

/// One for each layer.
#[derive(Debug, Default)]
pub struct Clock {
    /// The bits of the last time given out. Those of positive doubles are in the doubles' order.
    last: AtomicU64,
}

impl Clock {
    /// The next score.
    pub fn score(&self) -> f64 {
        self.score_at(since_1970().as_secs_f64())
    }

    /// The next score by a system clock that shows `now`.
    fn score_at(&self, now: f64) -> f64 {
        let mut next = now.to_bits();
        // The closure never declines.
        let _ = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                let is_wrong = f64::from_bits(last) > now + BEHIND_MAX_S;
                let least = if is_wrong { 0 } else { last + 1 };
                next = now.to_bits().max(least);
                Some(next)
            });
        f64::from_bits(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checklist 44.
    #[test]
    fn scores_only_grow_and_read_back_as_the_same_double() {
        let clock = Clock::default();
        let mut last = 0.0;
        for _ in 0..10_000 {
            let score = clock.score();
            assert!(score > last);
            assert_eq!(score.to_string().parse::<f64>(), Ok(score));
            last = score;
        }
    }

    #[test]
    fn a_clock_that_goes_back_is_followed_only_by_more_than_a_minute() {
        let clock = Clock::default();
        assert!(clock.score_at(1000.0) >= 1000.0);
        assert!(clock.score_at(950.0) > 1000.0);
        assert!(clock.score_at(900.0) < 901.0);
        assert!(clock.score_at(900.0) > 900.0);
    }
}
