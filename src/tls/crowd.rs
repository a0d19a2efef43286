//! A bounded number of places; when all are taken, who has been there longest has to go.
//!
//! Handshakes that are never finished could fill any number of places and keep everybody else out.
//! An honest one is over within a second: only a flood that renews itself faster than that would
//! push it out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

pub struct Crowd {
    max: usize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    /// In the order of their coming. Dropping a sender takes the place away.
    taken: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place; free again when this is dropped.
pub struct HandshakePlace<'a> {
    crowd: &'a Crowd,
    number: u64,
    held: oneshot::Receiver<()>,
}

impl Crowd {
    pub fn new(max: usize) -> Self {
        Crowd {
            max,
            places: Mutex::default(),
        }
    }

    /// Takes a place.
    pub fn enter(&self) -> HandshakePlace<'_> {
        let (keeper, held) = oneshot::channel();
        let mut places = self.places();
        let number = places.next;
        places.next += 1;
        if places.taken.len() >= self.max {
            places.taken.pop_first();
        }
        places.taken.insert(number, keeper);
        HandshakePlace {
            crowd: self,
            number,
            held,
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandshakePlace<'_> {
    /// Waits until the place is taken away.
    pub async fn lost(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.held).await;
    }
}

impl Drop for HandshakePlace<'_> {
    fn drop(&mut self) {
        self.crowd.places().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_goes_when_there_is_no_place_left() {
        let crowd = Crowd::new(2);
        let (mut first, mut second) = (crowd.enter(), crowd.enter());
        assert!(first.lost().now_or_never().is_none());
        let mut third = crowd.enter();
        assert!(first.lost().now_or_never().is_some());
        assert!(second.lost().now_or_never().is_none());
        drop((first, second));
        let mut fourth = crowd.enter();
        assert!(third.lost().now_or_never().is_none());
        assert!(fourth.lost().now_or_never().is_none());
    }
}
