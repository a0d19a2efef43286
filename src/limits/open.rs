//! The count of open sockets of each client. There is an entry for each client with a socket, so
//! there are never more than there are sockets.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use super::ClientKey;

type CountsByUser = Mutex<HashMap<ClientKey, u32>>;

/// The open sockets of every client.
#[derive(Default)]
pub struct OpenCounts(Arc<CountsByUser>);

impl OpenCounts {
    /// Counts one more, unless there are `most` already.
    pub fn enter(&self, key: ClientKey, most: u32) -> Option<Held> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Held {
            counts: Arc::clone(&self.0),
            key,
        })
    }
}

/// One open socket; no longer counted when this is dropped.
pub struct Held {
    counts: Arc<CountsByUser>,
    key: ClientKey,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(self.key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
