//! Going away without a crowd: the drain tells everything that the process ends, and spreads the
//! sockets' goodbyes so that their clients do not all come back elsewhere in the same instant.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::random;

/// The part of the drain over which sockets are closed; the rest is for their close handshakes
/// and for requests under way.
const SPREAD: f64 = 0.6;

/// Reason for the end of a drain before every connection had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its window has passed.
    Window,
    /// [`Drain::hurry`] was called.
    Hurried,
}

/// The signal that the process is going away. One for each server.
#[derive(Clone, Debug)]
pub struct Drain {
    begun: watch::Sender<bool>,
    /// When that was.
    since: Arc<OnceLock<Instant>>,
    hurried: watch::Sender<bool>,
    window: Duration,
}

impl Drain {
    /// Makes a drain that, once begun, ends everything within `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Drain {
            begun: watch::Sender::new(false),
            since: Arc::default(),
            hurried: watch::Sender::new(false),
            window,
        }
    }

    /// Tells everything to end.
    pub fn begin(&self) {
        self.since.get_or_init(Instant::now);
        self.begun.send_replace(true);
    }

    /// Ends the drain at once, wherever it is.
    pub fn hurry(&self) {
        self.hurried.send_replace(true);
    }

    /// Waits for the end of the drain, and returns what ended it.
    pub async fn over(&self) -> Over {
        let mut hurried = self.hurried.subscribe();
        tokio::select! {
            biased;
            // It cannot fail: `self` holds the sender.
            _ = hurried.wait_for(|hurried| *hurried) => Over::Hurried,
            () = tokio::time::sleep(self.left()) => Over::Window,
        }
    }

    /// Returns the rest of the drain's window: all of it before the drain has begun, and nothing
    /// once it is hurried.
    #[must_use]
    pub fn left(&self) -> Duration {
        if *self.hurried.borrow() {
            return Duration::ZERO;
        }
        let gone = self.since.get().map(Instant::elapsed);
        self.window.saturating_sub(gone.unwrap_or_default())
    }

    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Takes a socket's own place in the drain, chosen at random.
    #[must_use]
    pub fn subscribe(&self) -> CloseTurn {
        CloseTurn {
            begun: self.begun.subscribe(),
            window: self.window,
            at: None,
        }
    }

    /// Waits for the drain to begin.
    pub async fn begun(&self) {
        // It cannot fail: `self` holds a sender.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
    }
}

/// When one socket is to be closed.
#[derive(Debug)]
pub struct CloseTurn {
    begun: watch::Receiver<bool>,
    window: Duration,
    at: Option<tokio::time::Instant>,
}

impl CloseTurn {
    /// Waits for this socket's turn. May be cancelled and awaited again.
    pub async fn reached(&mut self) {
        if self.at.is_none() {
            if self.begun.wait_for(|begun| *begun).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.at = Some(tokio::time::Instant::now() + spread(self.window));
        }
        if let Some(at) = self.at {
            tokio::time::sleep_until(at).await;
        }
    }
}

/// Returns a delay within `window`, so that many do not act at once.
#[must_use]
pub fn spread(window: Duration) -> Duration {
    window.mul_f64(SPREAD * random::fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_after_the_beginning_and_before_the_window_is_over() {
        let drain = Drain::new(Duration::from_secs(100));
        let mut turn = drain.subscribe();
        let early = tokio::time::timeout(Duration::from_secs(1000), turn.reached()).await;
        assert!(early.is_err(), "nobody has to go before the drain begins");
        drain.begin();
        let mut delays = Vec::new();
        for _ in 0..50 {
            let began = tokio::time::Instant::now();
            drain.subscribe().reached().await;
            delays.push(began.elapsed());
        }
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(61)));
        delays.sort();
        assert!(
            delays[49] > delays[0] + Duration::from_secs(10),
            "they are spread"
        );
    }
}
