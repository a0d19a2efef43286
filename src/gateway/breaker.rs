//! Stops asking an upstream that hangs: after some requests one after the other without an answer
//! nothing is passed on for a while, then one request at a time tries whether it answers again.
//! Without it a Django that hangs would hold a connection for each of `gateway.max_requests`
//! clients, all of the time. One that refuses connections or breaks them off holds nothing, and is
//! asked.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::upstream::UpstreamFailure;

/// When a client may try again while another one's request is tried.
const SOON: Duration = Duration::from_secs(1);

/// The failures of one upstream.
pub struct Breaker {
    /// Failures one after the other that open it; 0 never does.
    after: u32,
    /// Time that it stays open before the next attempt.
    pause: Duration,
    state: Mutex<BreakerState>,
}

#[derive(Debug, Default)]
struct BreakerState {
    failures: u32,
    /// Until then nothing is passed on; past it one request is tried.
    open_until: Option<Instant>,
    /// A request is being tried.
    is_trying: bool,
}

/// A request that may be passed on. Dropped without an outcome if its client is gone.
pub struct BreakerAttempt<'a> {
    breaker: &'a Breaker,
    /// It decides whether others are passed on again.
    is_trial: bool,
}

impl Breaker {
    pub fn new(after: u32, pause: Duration) -> Self {
        Breaker {
            after,
            pause,
            state: Mutex::default(),
        }
    }

    /// Admits a request, if the upstream is not known to be silent.
    ///
    /// # Errors
    /// The time after which to try again.
    pub fn admit(&self) -> Result<BreakerAttempt<'_>, Duration> {
        let mut state = self.state();
        let is_trial = match state.open_until {
            None => false,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                if std::mem::replace(&mut state.is_trying, true) {
                    return Err(SOON);
                }
                true
            }
        };
        Ok(BreakerAttempt {
            breaker: self,
            is_trial,
        })
    }

    /// Returns the time until the next attempt, while nothing is passed on.
    pub fn pause_left(&self) -> Option<Duration> {
        let until = self.state().open_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Held for moments only.
    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        let mut state = self.state();
        state.failures = 0;
        if state.open_until.take().is_some() {
            tracing::info!("Django answers again, requests are passed on");
        }
    }

    fn failed(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if self.after == 0 || state.failures < self.after {
            return;
        }
        let before = state.open_until.replace(Instant::now() + self.pause);
        if before.is_none() {
            let failures = state.failures;
            tracing::error!(failures, "Django hangs, nothing is passed on for a while");
        }
    }
}

impl BreakerAttempt<'_> {
    /// Notes what came of it. A client that stopped sending, or found no place, says nothing of the
    /// upstream.
    pub fn ended<T>(self, outcome: &Result<T, UpstreamFailure>) {
        match outcome {
            Ok(_) | Err(UpstreamFailure::Broken(_) | UpstreamFailure::Unasked) => {
                self.breaker.answered();
            }
            Err(UpstreamFailure::Connect(error)) if error.kind() != io::ErrorKind::TimedOut => {
                self.breaker.answered();
            }
            Err(UpstreamFailure::Connect(_) | UpstreamFailure::Late) => self.breaker.failed(),
            Err(UpstreamFailure::Busy | UpstreamFailure::Silent(_) | UpstreamFailure::Starved) => {}
        }
    }
}

impl Drop for BreakerAttempt<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.state().is_trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn fail(breaker: &Breaker) {
        breaker
            .admit()
            .unwrap_or_else(|_| panic!("closed"))
            .ended(&Err::<(), _>(UpstreamFailure::Late));
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_one_after_the_other_and_one_answer_closes_it() {
        let breaker = Breaker::new(2, PAUSE);
        fail(&breaker);
        breaker.admit().ok().unwrap().ended(&Ok(()));
        fail(&breaker);
        fail(&breaker);
        assert_eq!(breaker.admit().err(), Some(PAUSE));
        tokio::time::advance(PAUSE).await;
        let trial = breaker.admit().ok().unwrap();
        assert_eq!(breaker.admit().err(), Some(SOON), "one at a time");
        trial.ended(&Err::<(), _>(UpstreamFailure::Late));
        assert_eq!(breaker.admit().err(), Some(PAUSE));
        tokio::time::advance(PAUSE).await;
        breaker.admit().ok().unwrap().ended(&Ok(()));
        assert!(breaker.admit().is_ok() && breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_whose_client_goes_away_makes_room_for_another() {
        let breaker = Breaker::new(1, PAUSE);
        fail(&breaker);
        tokio::time::advance(PAUSE).await;
        drop(breaker.admit());
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_upstream_that_hangs_opens_it_and_0_never_does() {
        let breaker = Breaker::new(1, PAUSE);
        let refused = UpstreamFailure::Connect(io::ErrorKind::ConnectionRefused.into());
        for fault in [UpstreamFailure::Busy, UpstreamFailure::Starved, refused] {
            breaker.admit().ok().unwrap().ended(&Err::<(), _>(fault));
        }
        assert!(breaker.admit().is_ok());
        let never = Breaker::new(0, PAUSE);
        for _ in 0..100 {
            fail(&never);
        }
        assert!(never.admit().is_ok());
    }
}
