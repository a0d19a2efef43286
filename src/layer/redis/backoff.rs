//! The delay before the next attempt to connect.

use std::time::Duration;

use crate::random;

const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(2);

/// Doubles from a twentieth of a second to two seconds. Processes that lost the same server do not
/// come back in step: up to a quarter more is added at random.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the next wait.
    pub fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failures.min(6)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 + random::fraction() / 4.0)
    }

    /// Returns whether nothing has failed yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// A connection worked for this long; after some seconds the next wait is short again.
    pub fn worked_for(&mut self, worked: Duration) {
        if worked > MOST {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_fresh());
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] >= FIRST && waits[0] < FIRST * 2);
        assert!(waits.iter().all(|wait| *wait <= MOST.mul_f64(1.25)));
        assert!(waits[19] >= MOST);
        backoff.worked_for(Duration::from_millis(10));
        assert!(!backoff.is_fresh());
        backoff.worked_for(Duration::from_secs(60));
        assert!(backoff.next() < FIRST * 2);
    }
}
