//! What tests share because it is slow to make.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

/// Made by the first test that asks for it; it ends with the last one that has it.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub const fn new() -> Self {
        Shared(Mutex::const_new(Weak::new()))
    }

    /// The one that is there, or a new one; `None` if none can be made here.
    pub async fn get(&self, make: impl AsyncFnOnce() -> Option<T>) -> Option<Arc<T>> {
        let mut shared = self.0.lock().await;
        if let Some(there) = shared.upgrade() {
            return Some(there);
        }
        let new = Arc::new(make().await?);
        *shared = Arc::downgrade(&new);
        Some(new)
    }
}
