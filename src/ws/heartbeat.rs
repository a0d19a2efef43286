//! When to ping a silent socket and when to give it up: Daphne's `--ping-interval`,
//! `--ping-timeout` and `--websocket_timeout`, as Autobahn carries them out.

use std::time::{Duration, Instant};

/// The age at which Daphne closes a socket with 1000, whatever it does.
const MAX_AGE: Duration = Duration::from_secs(86_400);

/// The clock of one socket.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    opened: Instant,
    /// When anything last arrived.
    heard: Instant,
    /// When the ping was sent that nothing has answered yet.
    pinged: Option<Instant>,
    pings: u32,
}

/// Action that is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    Nothing,
    Ping([u8; 12]),
    /// Nothing has come since the last ping: the peer is gone.
    Dead,
    /// The socket has reached its greatest age.
    Old,
}

impl Heartbeat {
    /// An `interval` of zero means that nothing is ever pinged.
    #[must_use]
    pub fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Heartbeat {
            interval,
            timeout,
            opened: now,
            heard: now,
            pinged: None,
            pings: 0,
        }
    }

    /// Notes that something has arrived.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// Returns when [`Heartbeat::beat`] is next worth asking.
    #[must_use]
    pub fn due(&self) -> Instant {
        let old = self.opened + MAX_AGE;
        match self.pinged {
            Some(pinged) => old.min(pinged + self.timeout),
            None if self.interval.is_zero() => old,
            None => old.min(self.heard + self.interval),
        }
    }

    /// Returns the action that is due at `now`. `unix_nanos` is the time that Autobahn puts into
    /// its payload: eight bytes, then four that count the pings.
    pub fn beat(&mut self, now: Instant, unix_nanos: u64) -> Beat {
        if now < self.due() {
            return Beat::Nothing;
        }
        if now >= self.opened + MAX_AGE {
            return Beat::Old;
        }
        if self.pinged.is_some() {
            return Beat::Dead;
        }
        self.pinged = Some(now);
        self.pings = self.pings.wrapping_add(1);
        let mut payload = [0; 12];
        payload[..8].copy_from_slice(&unix_nanos.to_be_bytes());
        payload[8..].copy_from_slice(&self.pings.to_be_bytes());
        Beat::Ping(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn heartbeat(now: Instant) -> Heartbeat {
        Heartbeat::new(20 * SECOND, 30 * SECOND, now)
    }

    #[test]
    fn a_silent_socket_is_pinged_after_the_interval_and_dropped_after_the_timeout() {
        let start = Instant::now();
        let mut heartbeat = heartbeat(start);
        assert_eq!(heartbeat.beat(start + 19 * SECOND, 7), Beat::Nothing);
        let Beat::Ping(payload) = heartbeat.beat(start + 20 * SECOND, 7) else {
            panic!("a ping")
        };
        assert_eq!(payload, [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1]);
        assert_eq!(heartbeat.beat(start + 49 * SECOND, 7), Beat::Nothing);
        assert_eq!(heartbeat.beat(start + 50 * SECOND, 7), Beat::Dead);
    }

    #[test]
    fn anything_that_arrives_answers_a_ping() {
        let start = Instant::now();
        let mut heartbeat = heartbeat(start);
        heartbeat.beat(start + 20 * SECOND, 7);
        heartbeat.heard(start + 21 * SECOND);
        assert_eq!(heartbeat.due(), start + 41 * SECOND);
        assert!(matches!(
            heartbeat.beat(start + 41 * SECOND, 7),
            Beat::Ping(_)
        ));
    }

    #[test]
    fn a_socket_is_closed_after_a_day_however_lively() {
        let start = Instant::now();
        let mut heartbeat = heartbeat(start);
        heartbeat.heard(start + MAX_AGE);
        assert_eq!(heartbeat.beat(start + MAX_AGE, 7), Beat::Old);
    }

    #[test]
    fn an_interval_of_zero_never_pings() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Duration::ZERO, 30 * SECOND, start);
        assert_eq!(heartbeat.beat(start + 1000 * SECOND, 7), Beat::Nothing);
    }
}
