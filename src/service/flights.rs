//! Equal reads that many ask for at once: a few serve all of them.
//!
//! Who asks must see all that was committed until then. So a read serves those who asked before it
//! began, and never those who ask while it is under way: these wait for the next one. Nothing runs
//! by itself: the first of those who wait does the reading, and if it is gone, the next one does.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The reads that are under way, by what is read.
pub struct Flights<K: Copy + Eq + Hash, T> {
    /// Who has asked since the read began. Held for moments only.
    waiting: Mutex<HashMap<K, VecDeque<Seat<K, T>>>>,
}

/// A place among those who wait.
type Seat<K, T> = oneshot::Sender<FlightTurn<K, T>>;

/// The end of a wait.
enum FlightTurn<K: Copy + Eq + Hash, T> {
    /// What was read.
    Read(T),
    Lead(Lead<K, T>),
}

/// The duty to read. It passes to the next one when this is dropped, and ends if nobody waits.
struct Lead<K: Copy + Eq + Hash, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
    /// Whom the read serves besides the reader.
    followers: VecDeque<Seat<K, T>>,
    is_over: bool,
}

impl<K: Copy + Eq + Hash, T> Default for Flights<K, T> {
    fn default() -> Self {
        Flights {
            waiting: Mutex::default(),
        }
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Flights<K, T> {
    /// Returns what a read gives that begins after this call. May be cancelled.
    pub async fn share(self: &Arc<Self>, key: K, read: impl AsyncFnOnce() -> T) -> T {
        let mut lead = match self.enter(key) {
            Ok(lead) => lead,
            Err(turn) => match turn.await {
                Ok(FlightTurn::Read(outcome)) => return outcome,
                Ok(FlightTurn::Lead(lead)) => lead,
                // A seat is never given up without either.
                Err(_) => return read().await,
            },
        };
        let outcome = read().await;
        for seat in mem::take(&mut lead.followers) {
            let _ = seat.send(FlightTurn::Read(outcome.clone()));
        }
        outcome
    }
}

impl<K: Copy + Eq + Hash, T> Flights<K, T> {
    /// Returns the duty to read, or where to wait for a turn.
    fn enter(self: &Arc<Self>, key: K) -> Result<Lead<K, T>, oneshot::Receiver<FlightTurn<K, T>>> {
        let mut waiting = self.waiting();
        if let Some(seats) = waiting.get_mut(&key) {
            let (seat, turn) = oneshot::channel();
            seats.push_back(seat);
            return Err(turn);
        }
        waiting.insert(key, VecDeque::new());
        Ok(self.lead(key, VecDeque::new()))
    }

    fn lead(self: &Arc<Self>, key: K, followers: VecDeque<Seat<K, T>>) -> Lead<K, T> {
        Lead {
            flights: Arc::clone(self),
            key,
            followers,
            is_over: false,
        }
    }

    /// Returns who has asked since the read began; ends the flight if nobody has.
    fn land(&self, key: K) -> VecDeque<Seat<K, T>> {
        let mut waiting = self.waiting();
        let seats = waiting.get_mut(&key).map(mem::take).unwrap_or_default();
        if seats.is_empty() {
            waiting.remove(&key);
        }
        seats
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<K, VecDeque<Seat<K, T>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash, T> Drop for Lead<K, T> {
    fn drop(&mut self) {
        let mut seats = mem::take(&mut self.followers);
        while !self.is_over {
            if seats.is_empty() {
                seats = self.flights.land(self.key);
                self.is_over = seats.is_empty();
            }
            let Some(next) = seats.pop_front() else {
                continue;
            };
            let lead = self.flights.lead(self.key, mem::take(&mut seats));
            match next.send(FlightTurn::Lead(lead)) {
                Ok(()) => self.is_over = true,
                // It is gone: whoever sat behind it is next.
                Err(FlightTurn::Lead(mut lead)) => {
                    lead.is_over = true;
                    seats = mem::take(&mut lead.followers);
                }
                Err(FlightTurn::Read(_)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{sync::Semaphore, task::JoinSet};

    use super::*;

    /// Reads that each end when they are let, and how many have begun.
    struct Reads {
        flights: Arc<Flights<u8, usize>>,
        begun: AtomicUsize,
        gate: Semaphore,
    }

    impl Reads {
        fn new() -> Arc<Self> {
            Arc::new(Reads {
                flights: Arc::default(),
                begun: AtomicUsize::new(0),
                gate: Semaphore::new(0),
            })
        }

        async fn read(self: Arc<Self>) -> usize {
            let read = async || {
                let number = self.begun.fetch_add(1, Ordering::Relaxed);
                self.gate.acquire().await.unwrap().forget();
                number
            };
            self.flights.share(0, read).await
        }

        fn is_idle(&self) -> bool {
            self.flights.waiting().is_empty()
        }
    }

    /// Lets every task go on as far as it can.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_while_a_read_is_under_way_shares_the_next_one() {
        let reads = Reads::new();
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            asking.spawn(Arc::clone(&reads).read());
            settle().await;
        }
        reads.gate.add_permits(2);
        let mut numbers = asking.join_all().await;
        numbers.sort_unstable();
        assert_eq!(numbers, [&[0][..], &[1; 49]].concat());
        assert!(reads.is_idle());
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_followed_by_the_next() {
        let reads = Reads::new();
        let mut asking = Vec::new();
        for _ in 0..5 {
            asking.push(tokio::spawn(Arc::clone(&reads).read()));
            settle().await;
        }
        // One that reads, then one that would be next.
        asking[0].abort();
        asking[1].abort();
        settle().await;
        reads.gate.add_permits(5);
        for asked in asking.drain(2..) {
            assert_eq!(asked.await.unwrap(), 1, "one read for all that are left");
        }
        assert!(reads.is_idle());
    }

    #[tokio::test]
    async fn reads_of_other_things_and_later_ones_are_their_own() {
        let flights: Arc<Flights<u8, u8>> = Arc::default();
        for number in 0..3 {
            assert_eq!(flights.share(number, async || number).await, number);
            assert_eq!(flights.share(7, async || number).await, number);
        }
        assert!(flights.waiting().is_empty());
    }
}
