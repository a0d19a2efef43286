//! The memory of answers from when they are made until the connection has taken them: a pool for
//! each client, and one for all of them. That of bodies (`bodies`) is a pool as well.
//!
//! An answer takes room for its next bytes from each of its pools. Bytes that are more than a pool
//! take all of it, so that they are sent while no other answer is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::ClientKey;

/// Bytes that take nothing of a pool.
pub const SMALL: usize = 64 * 1024;

/// Clients after which those without an answer under way are forgotten.
const CLIENTS: usize = 64;

/// Memory that answers, or bodies, share. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct MemoryPool {
    /// A permit for each KiB.
    room: Arc<Semaphore>,
    kib: u32,
}

/// Permits for the KiB that something holds of a pool.
pub type PoolRoom = Option<OwnedSemaphorePermit>;

impl MemoryPool {
    #[must_use]
    pub fn new(mib: u32) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let kib = mib.saturating_mul(1024).min(most);
        MemoryPool {
            room: Arc::new(Semaphore::new(usize::try_from(kib).unwrap_or(usize::MAX))),
            kib,
        }
    }

    fn wanted(&self, bytes: usize) -> u32 {
        if bytes <= SMALL {
            return 0;
        }
        u32::try_from(bytes.div_ceil(1024)).map_or(self.kib, |kib| kib.min(self.kib))
    }

    /// Changes what is held of it to this many bytes.
    ///
    /// # Errors
    /// Others hold what lacks; `held` is as it was.
    pub fn fit(&self, held: &mut PoolRoom, bytes: usize) -> Result<(), TryAcquireError> {
        let wanted = self.wanted(bytes);
        let count = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted_more = usize::try_from(wanted).unwrap_or(usize::MAX);
        if let Some(surplus) = count.checked_sub(wanted_more) {
            drop(held.as_mut().and_then(|held| held.split(surplus)));
            return Ok(());
        }
        let more = wanted.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        let more = Arc::clone(&self.room).try_acquire_many_owned(more)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// The memory that answers may take together while they are sent: `server.answer_memory_mib`.
#[derive(Debug)]
pub struct Answers {
    pub pool: MemoryPool,
    /// The permit to count a long answer.
    pub counting: Semaphore,
}

impl Answers {
    #[must_use]
    pub fn new(mib: u32) -> Self {
        Answers {
            pool: MemoryPool::new(mib),
            counting: Semaphore::new(1),
        }
    }
}

/// The pools of the clients with answers under way.
#[derive(Default)]
pub struct Pools(Mutex<Clients>);

#[derive(Default)]
struct Clients {
    pools: HashMap<ClientKey, (Weak<Semaphore>, u32)>,
    /// Number of entries when those without an answer were removed.
    left: usize,
}

impl Pools {
    /// Returns the pool of a client.
    pub fn of(&self, key: ClientKey, mib: u32) -> MemoryPool {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((room, kib)) = clients.pools.get(&key)
            && let Some(room) = room.upgrade()
        {
            return MemoryPool { room, kib: *kib };
        }
        if clients.pools.len() >= CLIENTS + 2 * clients.left {
            clients.pools.retain(|_, (room, _)| room.strong_count() > 0);
            clients.left = clients.pools.len();
        }
        let pool = MemoryPool::new(mib);
        let entry = (Arc::downgrade(&pool.room), pool.kib);
        clients.pools.insert(key, entry);
        pool
    }
}

/// The pools of one answer: those of its client, and that of all.
#[derive(Clone, Debug)]
pub struct Share {
    client: Vec<MemoryPool>,
    all: MemoryPool,
}

/// The pool that has no room for another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    OfClient,
    OfAll,
}

impl Share {
    #[must_use]
    pub fn new(client: Vec<MemoryPool>, all: MemoryPool) -> Self {
        Share { client, all }
    }

    /// Nothing yet.
    #[must_use]
    pub fn nothing(&self) -> Lease {
        let pools = self.client.iter().chain([&self.all]);
        Lease(pools.map(|pool| (pool.clone(), None)).collect())
    }

    /// Waits for memory for this many bytes. Every answer waits for its pools in the same
    /// order, so that no two wait for each other.
    pub async fn take(&self, bytes: usize) -> Lease {
        let mut lease = self.nothing();
        for (pool, permit) in &mut lease.0 {
            let wanted = pool.wanted(bytes);
            if wanted > 0 {
                // It is never closed.
                *permit = Arc::clone(&pool.room).acquire_many_owned(wanted).await.ok();
            }
        }
        lease
    }
}

/// Room that an answer holds in its pools, given back when this is dropped.
#[derive(Debug)]
pub struct Lease(Vec<(MemoryPool, PoolRoom)>);

impl Lease {
    /// Changes it to this many bytes.
    ///
    /// # Errors
    /// [`NoRoom`], and some of it may be held.
    pub fn fit(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let last = self.0.len().saturating_sub(1);
        for (place, (pool, held)) in self.0.iter_mut().enumerate() {
            let refused = if place == last {
                NoRoom::OfAll
            } else {
                NoRoom::OfClient
            };
            pool.fit(held, bytes).map_err(|_| refused)?;
        }
        Ok(())
    }

    /// Returns the bytes, which hold it until they are dropped.
    #[must_use]
    pub fn held_by(self, mut bytes: Vec<u8>) -> Bytes {
        // The capacity may be twice the length.
        bytes.shrink_to_fit();
        hold(bytes, self)
    }
}

/// Returns bytes that keep something else until they are dropped.
pub fn hold(bytes: impl AsRef<[u8]> + Send + 'static, kept: impl Send + 'static) -> Bytes {
    Bytes::from_owner(Holding { bytes, _kept: kept })
}

struct Holding<B, K> {
    bytes: B,
    _kept: K,
}

impl<B: AsRef<[u8]>, K> AsRef<[u8]> for Holding<B, K> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    fn share(client: &[MemoryPool], all: &MemoryPool) -> Share {
        Share::new(client.to_vec(), all.clone())
    }

    #[tokio::test]
    async fn small_answers_need_no_room_and_large_ones_share_it() {
        let all = MemoryPool::new(1);
        let one = share(&[], &all).take(MIB).await;
        let mut two = share(&[], &all).nothing();
        assert_eq!(two.fit(SMALL), Ok(()));
        assert_eq!(two.fit(SMALL + 1), Err(NoRoom::OfAll));
        drop(one);
        assert_eq!(two.fit(SMALL + 1), Ok(()));
    }

    #[tokio::test]
    async fn a_client_past_its_own_bound_leaves_room_for_others() {
        let (all, mine, theirs) = (MemoryPool::new(8), MemoryPool::new(1), MemoryPool::new(1));
        let first = share(std::slice::from_ref(&mine), &all).take(MIB).await;
        let mut second = share(std::slice::from_ref(&mine), &all).nothing();
        assert_eq!(second.fit(100 * KIB), Err(NoRoom::OfClient));
        let mut others = share(&[theirs], &all).nothing();
        assert_eq!(others.fit(MIB), Ok(()));
        drop(first);
        assert_eq!(second.fit(100 * KIB), Ok(()));
    }

    #[tokio::test]
    async fn what_is_larger_than_a_pool_takes_all_of_it_and_gives_the_rest_back() {
        let all = MemoryPool::new(1);
        let mut lease = share(&[], &all).take(5 * MIB).await;
        assert_eq!(all.room.available_permits(), 0);
        assert_eq!(lease.fit(200 * KIB), Ok(()));
        assert_eq!(all.room.available_permits(), 1024 - 200);
        let bytes = lease.held_by(vec![b'x'; 200 * KIB]);
        let copy = bytes.slice(..10);
        drop(bytes);
        assert_eq!(all.room.available_permits(), 1024 - 200);
        drop(copy);
        assert_eq!(all.room.available_permits(), 1024);
    }

    #[test]
    fn clients_without_an_answer_are_forgotten() {
        let pools = Pools::default();
        let held = pools.of(ClientKey::User(0), 1);
        for user in 1..10_000 {
            pools.of(ClientKey::User(user), 1);
        }
        let again = pools.of(ClientKey::User(0), 1);
        assert!(Arc::ptr_eq(&held.room, &again.room));
        assert!(pools.0.lock().unwrap().pools.len() <= CLIENTS + 3);
    }
}
