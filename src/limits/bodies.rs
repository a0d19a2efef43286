//! The memory of request bodies while they are read and answered, shared by all clients.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes of a body. Django takes JSON and forms of any size; a message past MySQL's largest
/// `max_allowed_packet` could never be stored.
pub const BODY_MAX: usize = 64 * 1024 * 1024;

/// Permits for the KiB of a large body.
pub type Room = Option<OwnedSemaphorePermit>;

/// The memory that bodies may take together. Clones share it.
#[derive(Clone, Debug)]
pub struct Bodies {
    /// A permit for each KiB of the large ones.
    room: Arc<Semaphore>,
    /// Most bytes of one body.
    max: usize,
}

/// Other large bodies leave no room for this one.
#[derive(Clone, Copy, Debug)]
pub struct NoRoom;

impl Bodies {
    /// Of `server.body_memory_mib`.
    #[must_use]
    pub fn new(mib: u32) -> Self {
        let kib = usize::try_from(mib)
            .unwrap_or(usize::MAX)
            .saturating_mul(1024);
        Bodies {
            room: Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))),
            max: kib.saturating_mul(1024).min(BODY_MAX),
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
    /// [`NoRoom`]; `room` is as it was.
    pub fn grow(&self, room: &mut Room, size: usize) -> Result<(), NoRoom> {
        let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = size.div_ceil(1024).saturating_sub(held);
        let more = u32::try_from(more).map_err(|_| NoRoom)?;
        let more = Arc::clone(&self.room).try_acquire_many_owned(more);
        let more = more.map_err(|_| NoRoom)?;
        match room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
        Ok(())
    }
}
