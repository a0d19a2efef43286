//! The memory of request bodies while they are read and answered, shared by all clients.

use super::memory::MemoryPool;
pub use super::memory::PoolRoom;

/// Most bytes of a body. Django takes JSON and forms of any size; a message past MySQL's largest
/// `max_allowed_packet` could never be stored.
pub const BODY_MAX: usize = 64 * 1024 * 1024;

/// The memory that bodies may take together. Clones share it.
#[derive(Clone, Debug)]
pub struct Bodies {
    pool: MemoryPool,
    /// Most bytes of one body.
    max: usize,
}

/// Other large bodies leave no room for this one.
#[derive(Clone, Copy, Debug)]
pub struct NoBodyRoom;

impl Bodies {
    /// Of `server.body_memory_mib`.
    #[must_use]
    pub fn new(mib: u32) -> Self {
        let bytes = usize::try_from(mib).map(|mib| mib.saturating_mul(1024 * 1024));
        Bodies {
            pool: MemoryPool::new(mib),
            max: bytes.map_or(BODY_MAX, |bytes| bytes.min(BODY_MAX)),
        }
    }

    /// Returns the most bytes of one body.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// Extends `room` to this many bytes.
    ///
    /// # Errors
    /// [`NoBodyRoom`]; `room` is as it was.
    pub fn grow(&self, room: &mut PoolRoom, size: usize) -> Result<(), NoBodyRoom> {
        self.pool.fit(room, size).map_err(|_| NoBodyRoom)
    }
}
