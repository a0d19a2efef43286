//! The clock of scores: Unix seconds as a double, as Python's `time.time()`, but never twice the
//! same and not backwards, so that what one process sends is read in its order. Only a clock that
//! has gone back by more than [`BEHIND_MAX_S`] is followed: the scores before were wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{clock::Clock, python::datetime::Timestamp};

/// Seconds that the clock may be behind the last score and be waited for.
const BEHIND_MAX_S: f64 = 60.0;

/// One for each layer.
#[derive(Debug)]
pub struct Scores {
    clock: Arc<Clock>,
    /// The most that a score may be behind the system's clock: half of what an entry lives.
    patience: Duration,
    /// The bits of the last time given out. Those of positive doubles are in the doubles' order.
    last: AtomicU64,
}

impl Scores {
    /// Gives scores to entries that live this many seconds.
    pub fn new(clock: Arc<Clock>, expiry: u64) -> Self {
        Scores {
            clock,
            patience: Duration::from_secs(expiry / 2),
            last: AtomicU64::new(0),
        }
    }

    /// Returns the next score: the latest time that it may be, so that it does not expire early.
    pub fn next(&self) -> f64 {
        self.next_at(self.latest())
    }

    /// Returns the latest time that it may be, as a score.
    pub fn latest(&self) -> f64 {
        score_of(self.clock.bounds(self.patience).1)
    }

    /// Returns the earliest time that it may be, as a score: by it others may be taken for expired.
    pub fn earliest(&self) -> f64 {
        score_of(self.clock.bounds(self.patience).0)
    }

    /// Returns the next score by a clock that shows `now`.
    fn next_at(&self, now: f64) -> f64 {
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

#[expect(clippy::cast_precision_loss, reason = "as exact as Python's clock")]
fn score_of(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Returns the time that a score stands for.
#[expect(clippy::cast_possible_truncation, reason = "microseconds of this age")]
pub fn instant_of(score: f64) -> Timestamp {
    Timestamp::from_micros((score * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Scores {
        Scores::new(Arc::default(), 60)
    }

    /// Checklist 44.
    #[test]
    fn scores_only_grow_and_read_back_as_the_same_double() {
        let scores = new();
        let mut last = 0.0;
        for _ in 0..10_000 {
            let score = scores.next();
            assert!(score > last);
            assert_eq!(score.to_string().parse::<f64>(), Ok(score));
            last = score;
        }
    }

    #[test]
    fn a_clock_that_goes_back_is_followed_only_by_more_than_a_minute() {
        let scores = new();
        assert!(scores.next_at(1000.0) >= 1000.0);
        assert!(scores.next_at(950.0) > 1000.0);
        assert!(scores.next_at(900.0) < 901.0);
        assert!(scores.next_at(900.0) > 900.0);
    }
}
