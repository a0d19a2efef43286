//! Tasks that the process cannot do without: deliver, commit, send, keep connections, repair.
//!
//! One that panics is not started again, as the state that it left is unknown.
//! It ends the process with exit code 1: its clients reconnect and find everything in the history,
//! other processes find in the store what it has not sent them, and its supervisor starts it again.

use std::{future::Future, sync::Arc, thread};

use tokio::{sync::watch, task::JoinHandle};

/// Watches the tasks of one part of the program. Clones watch the same.
#[derive(Clone, Debug, Default)]
pub struct Vital {
    /// The first task that has panicked.
    failed: Arc<watch::Sender<Option<&'static str>>>,
    /// The task that a test wants to panic. There is no such thing in a release.
    #[cfg(debug_assertions)]
    provoked: Arc<watch::Sender<String>>,
}

/// Held by a task; dropped by its end, its abortion or its panic.
struct Guard {
    name: &'static str,
    failed: Arc<watch::Sender<Option<&'static str>>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            let name = self.name;
            tracing::error!(task = name, "a task that the process needs has panicked");
            self.failed.send_modify(|failed| {
                failed.get_or_insert(name);
            });
        }
    }
}

impl Vital {
    /// Starts a task of this name.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let failed = Arc::clone(&self.failed);
        let guard = Guard { name, failed };
        #[cfg(debug_assertions)]
        let task = self.provocable(name, task);
        tokio::spawn(async move {
            let _guard = guard;
            task.await;
        })
    }

    /// Returns the task that has panicked, if one has.
    #[must_use]
    pub fn failed(&self) -> Option<&'static str> {
        *self.failed.borrow()
    }

    /// Waits for the panic of a task; returns its name.
    pub async fn failure(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        loop {
            if let Some(name) = *failed.borrow_and_update() {
                return name;
            }
            // It cannot end: `self` holds the sender.
            let _ = failed.changed().await;
        }
    }

    /// Counts the failures of `part` as its own from now on.
    pub fn include(&self, part: &Vital) {
        let (whole, part) = (self.clone(), part.clone());
        tokio::spawn(async move {
            let name = part.failure().await;
            whole.failed.send_modify(|failed| {
                failed.get_or_insert(name);
            });
        });
    }

    /// Makes the task of this name panic. Only for tests.
    #[cfg(debug_assertions)]
    pub fn provoke(&self, name: &str) {
        self.provoked.send_replace(name.to_owned());
    }

    #[cfg(debug_assertions)]
    fn provocable(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut provoked = self.provoked.subscribe();
        async move {
            tokio::select! {
                () = task => {}
                Ok(_) = provoked.wait_for(|wanted| *wanted == name) => panic!("provoked"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_by_name_and_an_end_is_not() {
        let (whole, part) = (Vital::default(), Vital::default());
        whole.include(&part);
        part.spawn("quiet", async {}).await.unwrap();
        part.spawn("aborted", std::future::pending()).abort();
        assert_eq!(part.failed(), None);
        part.spawn("loud", async { panic!("on purpose") });
        assert_eq!(part.failure().await, "loud");
        assert_eq!(whole.failure().await, "loud");
        assert_eq!(whole.failed(), Some("loud"));
    }
}
