//! Reads that many ask for at once: a few statements serve all of them.
//!
//! Who asks must see all that was committed until then. So a read serves those who asked before it
//! began, and never those who ask while it is under way: these wait for the next one, which takes
//! what all of them ask for together, as the committer does with writes. The busier the database,
//! the larger the groups, and a lone caller waits for nobody.
//!
//! There is no task: the first of those who wait does the reading, and if it is gone, the next one
//! does. A read that takes long is not waited for by others: one more begins beside it.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::store::StoreError;

/// Most things that are read together.
const GROUP: usize = 32;

/// Time after which the read under way is no longer waited for.
const PATIENCE: Duration = Duration::from_millis(5);

/// Most reads at once.
const READS: usize = 8;

/// Reads of things by their keys.
pub struct SharedReads<K: Copy + Eq + Hash, T> {
    /// Held for moments only.
    state: Mutex<State<K, T>>,
}

struct State<K: Copy + Eq + Hash, T> {
    /// Keys that wait for a read, in the order of asking.
    order: VecDeque<K>,
    /// Callers who wait, by key; a key may have lost the last.
    seats: HashMap<K, Vec<Seat<K, T>>>,
    /// Reads under way, and duties to read that have not been taken up yet.
    leads: usize,
    /// Number of things that fit the next read, as far as is known.
    fits: usize,
}

/// A place among those who wait.
type Seat<K, T> = oneshot::Sender<Turn<K, T>>;

/// The end of a wait.
enum Turn<K: Copy + Eq + Hash, T> {
    Read(Result<T, StoreError>),
    Lead(Lead<K, T>),
}

/// The duty to read. It passes to the next one when this is dropped, and ends if nobody waits.
struct Lead<K: Copy + Eq + Hash, T> {
    reads: Arc<SharedReads<K, T>>,
    /// Asked for by the reader itself.
    key: K,
    /// Keys that are being read, and the callers that this serves besides the reader.
    group: Vec<(K, Vec<Seat<K, T>>)>,
    /// How many keys were asked for and how many answered.
    fitted: Option<(usize, usize)>,
    is_over: bool,
}

impl<K: Copy + Eq + Hash, T> Default for SharedReads<K, T> {
    fn default() -> Self {
        let state = State {
            order: VecDeque::new(),
            seats: HashMap::new(),
            leads: 0,
            fits: GROUP,
        };
        SharedReads {
            state: Mutex::new(state),
        }
    }
}

impl<K: Copy + Eq + Hash, T: Clone> SharedReads<K, T> {
    /// Returns what a read gives for this key that begins after this call. `read` is given different
    /// keys and answers for the first at least; those that it leaves out are read later. May be
    /// cancelled.
    ///
    /// # Errors
    /// Those of the read, for all keys of it.
    pub async fn share(
        self: &Arc<Self>,
        key: K,
        read: impl AsyncFnOnce(&[K]) -> Result<Vec<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lead = match self.enter(key) {
            Ok(lead) => lead,
            Err(mut turn) => loop {
                match timeout(PATIENCE, &mut turn).await {
                    Ok(Ok(Turn::Read(outcome))) => return outcome,
                    Ok(Ok(Turn::Lead(lead))) => break lead,
                    // A seat is never given up without either.
                    Ok(Err(_)) => break self.lead(&mut self.state(), key),
                    Err(_) => {
                        if let Some(lead) = self.overtake(key) {
                            break lead;
                        }
                    }
                }
            },
        };
        let keys = lead.take();
        let outcome = read(&keys).await;
        lead.answer(outcome)
    }
}

impl<K: Copy + Eq + Hash, T> SharedReads<K, T> {
    /// Returns the duty to read, or where to wait for a turn.
    fn enter(self: &Arc<Self>, key: K) -> Result<Lead<K, T>, oneshot::Receiver<Turn<K, T>>> {
        let mut state = self.state();
        if state.leads == 0 {
            return Ok(self.lead(&mut state, key));
        }
        let (seat, turn) = oneshot::channel();
        state.wait(key, [seat]);
        Err(turn)
    }

    /// Returns the duty to read beside a read that takes long; `None` if what is waited for is being
    /// read, or there are enough.
    fn overtake(self: &Arc<Self>, key: K) -> Option<Lead<K, T>> {
        let mut state = self.state();
        let may = state.leads < READS && state.seats.contains_key(&key);
        may.then(|| self.lead(&mut state, key))
    }

    fn lead(self: &Arc<Self>, state: &mut State<K, T>, key: K) -> Lead<K, T> {
        state.leads += 1;
        Lead {
            reads: Arc::clone(self),
            key,
            group: Vec::new(),
            fitted: None,
            is_over: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash, T> State<K, T> {
    /// Adds callers behind all who wait; behind those of the same key if there are any.
    fn wait(&mut self, key: K, seats: impl IntoIterator<Item = Seat<K, T>>) {
        let waiting = self.seats.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Vec::new()
        });
        waiting.extend(seats);
    }

    /// Takes out the callers of this key, and of others up to what fits a read.
    fn take(&mut self, key: K) -> Vec<(K, Vec<Seat<K, T>>)> {
        let own = self.seats.remove(&key);
        if own.is_some() {
            self.order.retain(|it| *it != key);
        }
        let mut group = vec![(key, own.unwrap_or_default())];
        while group.len() < self.fits
            && let Some(next) = self.order.pop_front()
        {
            let seats = self.seats.remove(&next).unwrap_or_default();
            group.push((next, seats));
        }
        group
    }

    /// Takes out a caller who waits.
    fn next(&mut self) -> Option<(K, Seat<K, T>)> {
        while let Some(&key) = self.order.front() {
            if let Some(seat) = self.seats.get_mut(&key).and_then(Vec::pop) {
                return Some((key, seat));
            }
            self.order.pop_front();
            self.seats.remove(&key);
        }
        None
    }
}

impl<K: Copy + Eq + Hash, T> Lead<K, T> {
    /// Returns the keys to read, the reader's own first.
    fn take(&mut self) -> Vec<K> {
        self.group = self.reads.state().take(self.key);
        self.group.iter().map(|(key, _)| *key).collect()
    }

    /// Hands out what was read; returns what the reader itself asked for.
    fn answer(mut self, outcome: Result<Vec<T>, StoreError>) -> Result<T, StoreError>
    where
        T: Clone,
    {
        let asked = self.group.len();
        let found = match outcome {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); asked],
        };
        self.fitted = Some((asked, found.len()));
        let mut own = None;
        let answered = asked.min(found.len());
        for ((_, seats), outcome) in self.group.drain(..answered).zip(found) {
            for seat in seats {
                let _ = seat.send(Turn::Read(outcome.clone()));
            }
            own.get_or_insert(outcome);
        }
        own.unwrap_or_else(|| Err(StoreError::Unavailable("a read has no answer".into())))
    }
}

impl<K: Copy + Eq + Hash, T> State<K, T> {
    /// Notes how many of those that were asked for have fitted a read.
    fn learn(&mut self, asked: usize, answered: usize) {
        if answered < asked {
            self.fits = answered.max(1);
        } else if asked == self.fits {
            self.fits = (2 * self.fits).min(GROUP);
        }
    }
}

impl<K: Copy + Eq + Hash, T> Drop for Lead<K, T> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.reads.state();
        state.leads -= 1;
        if let Some((asked, answered)) = self.fitted {
            state.learn(asked, answered);
        }
        for (key, seats) in mem::take(&mut self.group) {
            if !seats.is_empty() {
                state.wait(key, seats);
            }
        }
        while state.leads == 0
            && let Some((key, seat)) = state.next()
        {
            let lead = self.reads.lead(&mut state, key);
            if let Err(Turn::Lead(mut lead)) = seat.send(Turn::Lead(lead)) {
                // It is gone: the next one is asked.
                lead.is_over = true;
                state.leads -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        sync::{Semaphore, mpsc},
        task::{JoinHandle, JoinSet},
    };

    use super::*;

    /// Reads that each end when they are let, and what each was asked for.
    struct Reads {
        shared: Arc<SharedReads<u8, (u8, usize)>>,
        begun: AtomicUsize,
        asked: mpsc::UnboundedSender<Vec<u8>>,
        gate: Semaphore,
        /// Most keys that are answered together.
        fits: usize,
    }

    fn reads(fits: usize) -> (Arc<Reads>, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (asked, asks) = mpsc::unbounded_channel();
        let reads = Arc::new(Reads {
            shared: Arc::default(),
            begun: AtomicUsize::new(0),
            asked,
            gate: Semaphore::new(0),
            fits,
        });
        (reads, asks)
    }

    impl Reads {
        /// Returns the key with the number of the read that answered.
        async fn read(self: Arc<Self>, key: u8) -> (u8, usize) {
            let read = async |keys: &[u8]| {
                let number = self.begun.fetch_add(1, Ordering::Relaxed);
                self.asked.send(keys.to_vec()).unwrap();
                self.gate.acquire().await.unwrap().forget();
                let keys = keys.iter().take(self.fits);
                Ok(keys.map(|key| (*key, number)).collect())
            };
            self.shared.share(key, read).await.unwrap()
        }

        /// Somebody who asks for this and waits by now.
        async fn ask(self: &Arc<Self>, key: u8) -> JoinHandle<(u8, usize)> {
            let asking = tokio::spawn(Arc::clone(self).read(key));
            settle().await;
            asking
        }

        fn is_idle(&self) -> bool {
            let state = self.shared.state();
            state.leads == 0 && state.order.is_empty() && state.seats.is_empty()
        }
    }

    /// Lets every task go on as far as it can. The clock stands still.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_a_read_is_under_way_shares_the_next_one() {
        let (reads, mut asks) = reads(GROUP);
        let mut asking = Vec::new();
        for number in 0..50 {
            asking.push(reads.ask(number % 5).await);
        }
        reads.gate.add_permits(2);
        for (number, asked) in (0..50).zip(asking) {
            let read = usize::from(number != 0);
            assert_eq!(asked.await.unwrap(), (number % 5, read));
        }
        assert_eq!(asks.recv().await.unwrap(), [0]);
        assert_eq!(asks.recv().await.unwrap(), [1, 2, 3, 4, 0]);
        assert!(reads.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_gone_is_followed_by_the_next() {
        let (reads, mut asks) = reads(GROUP);
        let mut asking = Vec::new();
        for key in [0, 1, 1, 2, 0] {
            asking.push(reads.ask(key).await);
        }
        // One that reads, then one that would be next.
        asking[0].abort();
        asking[2].abort();
        settle().await;
        reads.gate.add_permits(5);
        for (place, key) in [(4, 0), (3, 2), (1, 1)] {
            assert_eq!(asking.remove(place).await.unwrap(), (key, 1));
        }
        assert_eq!(asks.recv().await.unwrap(), [0]);
        assert_eq!(asks.recv().await.unwrap(), [1, 2, 0]);
        assert!(reads.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_fit_is_read_next_and_fewer_are_asked_for() {
        let (reads, mut asks) = reads(2);
        let mut asking = JoinSet::new();
        for key in 0..8 {
            asking.spawn(Arc::clone(&reads).read(key));
            settle().await;
        }
        reads.gate.add_permits(8);
        let mut found: Vec<u8> = asking.join_all().await.iter().map(|it| it.0).collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(asks.recv().await.unwrap(), [0]);
        assert_eq!(asks.recv().await.unwrap(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(asks.recv().await.unwrap().len(), 2);
        assert!(reads.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn others_do_not_wait_for_a_read_that_takes_long() {
        let (reads, mut asks) = reads(GROUP);
        let slow = reads.ask(0).await;
        let next = reads.ask(1).await;
        let also = reads.ask(2).await;
        tokio::time::sleep(PATIENCE).await;
        settle().await;
        assert_eq!(asks.recv().await.unwrap(), [0]);
        let mut beside = asks.recv().await.unwrap();
        beside.sort_unstable();
        assert_eq!(beside, [1, 2]);
        reads.gate.add_permits(2);
        for (asked, key) in [(slow, 0), (next, 1), (also, 2)] {
            assert_eq!(asked.await.unwrap().0, key);
        }
        assert!(asks.try_recv().is_err());
        assert!(reads.is_idle());
    }

    #[tokio::test]
    async fn an_error_is_that_of_all_who_asked_and_the_next_read_is_another() {
        let shared: Arc<SharedReads<u8, u8>> = Arc::default();
        let failed = shared.share(1, async |_| Err(StoreError::Unavailable("away".into())));
        assert!(matches!(failed.await, Err(StoreError::Unavailable(_))));
        let read = shared.share(1, async |keys: &[u8]| Ok(keys.to_vec())).await;
        assert_eq!(read.unwrap(), 1);
    }
}
