//! Server of a host, and since when others may not receive what was sent there.
//!
//! A Sentinel leads to another server after a failover. The one before may have taken events until
//! then that are lost: it was the master no longer, and others had moved already, or the new master
//! had not copied them. Every answer said that they were sent. So who moves has the other Chatferry
//! processes read again what was stored in the last [`REACH`], before it sends anything, and does
//! so itself. And what waits in its queue on the new server may have been taken from the old one.
//! The Sentinels are asked now and then: the old one may take itself for the master until they
//! reach it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{clock::APART, layer::control::Notice, python::datetime::Timestamp};

/// For how long a server may have been the wrong one: longer than a Sentinel takes to tell it so.
const REACH: Duration = Duration::from_secs(60);

/// The address of the server that a host was last.
#[derive(Default)]
pub struct Moved {
    /// Held for moments only.
    last: Mutex<Option<String>>,
    /// When it became another one, in microseconds since 1970; 0 if it never did.
    at: AtomicI64,
}

impl Moved {
    /// The notice to the other processes if the server at this address is another one than before.
    #[must_use]
    pub fn notice(&self, server: &str, now: Timestamp) -> Option<Notice> {
        self.server().filter(|last| last != server)?;
        let reach = i64::try_from(REACH.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(now.micros().saturating_sub(reach));
        let group = None;
        Some(Notice { group, since })
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// The notice, if there was one, is sent.
    pub fn settle(&self, server: String, now: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| *last != server) {
            self.at.store(now.micros(), Ordering::Relaxed);
        }
        *last = Some(server);
    }

    /// Returns whether this time is before the host became another server.
    #[must_use]
    pub fn is_before(&self, time: Timestamp) -> bool {
        time.micros() < self.at.load(Ordering::Relaxed)
    }

    /// Returns whether an entry that its sender has given this time may have been taken already from
    /// the server before: a replica that is made the master may have copied the queue and not what
    /// was taken since.
    #[must_use]
    pub fn may_repeat(&self, sent: Timestamp) -> bool {
        let ahead = i64::try_from(APART.as_micros()).unwrap_or(i64::MAX);
        self.is_before(Timestamp::from_micros(sent.micros().saturating_sub(ahead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_server_is_told_of_and_until_that_is_sent() {
        let moved = Moved::default();
        let now = Timestamp::from_micros(1_000);
        assert!(moved.notice("a", now).is_none());
        moved.settle("a".to_owned(), now);
        assert!(moved.notice("a", now).is_none());
        assert!(!moved.is_before(Timestamp::from_micros(999)));
        for _ in 0..2 {
            assert!(moved.notice("b", now).is_some());
        }
        moved.settle("b".to_owned(), now);
        assert!(moved.notice("b", now).is_none());
        assert!(moved.is_before(Timestamp::from_micros(999)) && !moved.is_before(now));
    }

    #[test]
    fn an_entry_may_be_dated_by_a_clock_that_is_ahead() {
        let moved = Moved::default();
        let (now, second) = (1_000_000_000, 1_000_000);
        moved.settle("a".to_owned(), Timestamp::from_micros(now - second));
        assert!(!moved.may_repeat(Timestamp::from_micros(now)));
        moved.settle("b".to_owned(), Timestamp::from_micros(now));
        assert!(moved.may_repeat(Timestamp::from_micros(now + 4 * second)));
        assert!(!moved.may_repeat(Timestamp::from_micros(now + 6 * second)));
    }
}
