//! The states of sockets whose consumers no worker has: plain data that a worker has written and
//! another one wakes. Nothing here reads them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::metrics::Metrics;

/// Most bytes of all states together.
const STATES: usize = 256 << 20;

/// The room for all states.
pub struct States {
    bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// The state of one socket.
pub struct HeldState {
    body: Box<[u8]>,
    states: Arc<States>,
}

impl States {
    #[must_use]
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        States {
            bytes: AtomicUsize::new(0),
            metrics: Arc::clone(metrics),
        }
    }

    /// Keeps a state; `None` if there is no room for it.
    pub fn hold(self: &Arc<Self>, body: Box<[u8]>) -> Option<HeldState> {
        let room = |bytes: usize| bytes.checked_add(body.len()).filter(|sum| *sum <= STATES);
        let reserved = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        reserved.ok()?;
        self.metrics.host_state_kept(body.len());
        Some(HeldState {
            body,
            states: Arc::clone(self),
        })
    }
}

impl HeldState {
    /// Returns what the worker has written.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for HeldState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldState({} bytes)", self.body.len())
    }
}

impl Drop for HeldState {
    fn drop(&mut self) {
        let bytes = self.body.len();
        self.states.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.states.metrics.host_state_gone(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_a_bound_together_and_room_is_given_back() {
        let states = Arc::new(States::new(&Arc::default()));
        let half = || vec![0; STATES / 2].into_boxed_slice();
        let one = states.hold(half());
        let two = states.hold(half());
        assert!(one.is_some() && two.is_some());
        assert!(states.hold(vec![0].into()).is_none());
        drop(one);
        assert!(states.hold(vec![0].into()).is_some());
        drop(two);
        assert_eq!(states.bytes.load(Ordering::Relaxed), 0);
    }
}
