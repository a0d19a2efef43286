//! The clock of scores: Unix seconds as a double, as Python's `time.time()`, but never twice the
//! same and never backwards, so that what one process sends is read in its order.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::since_1970;

/// One for each layer.
#[derive(Debug, Default)]
pub struct Clock {
    /// The bits of the last time given out. Those of positive doubles are in the doubles' order.
    last: AtomicU64,
}

impl Clock {
    /// The next score.
    pub fn score(&self) -> f64 {
        let now = since_1970().as_secs_f64().to_bits();
        let mut next = now;
        // The closure never declines.
        let _ = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                next = now.max(last + 1);
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
}
