//! Group commit for tables of a dialect's own: the writes of many callers in one transaction, and to
//! each its own answer.
//!
//! One task writes. While it waits for the database, further writes gather; a bounded number of
//! them, past which callers wait.

use std::{
    iter, slice,
    sync::{Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::StoreError;
use crate::vital::Vital;

/// Most writes of one transaction.
const TOGETHER: usize = 256;

/// Writes that may wait; one more makes its caller wait.
const WAITING: usize = 1024;

/// Does some writes together. Returns an answer for each, in their order.
pub type WriteAll<W, A> =
    Box<dyn Fn(Vec<W>) -> BoxFuture<'static, Vec<Result<A, StoreError>>> + Send + Sync>;

type Asked<W, A> = (W, oneshot::Sender<Result<A, StoreError>>);

/// Gathers writes.
pub struct Batch<W, A> {
    /// `None` once it is closed.
    writes: Mutex<Option<mpsc::Sender<Asked<W, A>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<W: Send + 'static, A: Send + 'static> Batch<W, A> {
    /// Starts the task that writes, under this name.
    #[must_use]
    pub fn start(vital: &Vital, name: &'static str, write: WriteAll<W, A>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let task = vital.spawn(name, run(receiver, write));
        Batch {
            writes: Mutex::new(Some(sender)),
            task: Mutex::new(Some(task)),
        }
    }

    /// Writes, and returns the answer once it is committed. A caller that goes away does not take its
    /// write back.
    ///
    /// # Errors
    /// Those of the write; [`StoreError::Closed`] at the end of the process.
    pub async fn write(&self, write: W) -> Result<A, StoreError> {
        let writes = lock(&self.writes).clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let sent = writes.send((write, answer)).await;
        sent.map_err(|_| StoreError::Closed)?;
        // The task ends once nobody can write any more.
        drop(writes);
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Has something written, and does not wait until it is. Waits while too many do.
    ///
    /// # Errors
    /// [`StoreError::Closed`] at the end of the process.
    pub async fn post(&self, write: W) -> Result<(), StoreError> {
        let writes = lock(&self.writes).clone().ok_or(StoreError::Closed)?;
        let (answer, _) = oneshot::channel();
        let sent = writes.send((write, answer)).await;
        sent.map_err(|_| StoreError::Closed)
    }

    /// Has all that was accepted written or refused, and takes no more.
    pub async fn close(&self) {
        drop(lock(&self.writes).take());
        let task = lock(&self.task).take();
        if let Some(task) = task {
            // It has panicked otherwise, which ends the process.
            let _ = task.await;
        }
    }
}

/// A database that does writes together, in one transaction.
pub trait WritesTogether<W, A>: Sync {
    /// Does the writes, and returns an answer for each, in their order.
    ///
    /// # Errors
    /// Nothing is done, unless the connection has broken.
    fn write_all(&self, all: &[W]) -> impl Future<Output = Result<Vec<A>, StoreError>> + Send;
}

/// Does writes together. Where the database refuses them as they are, each is done alone, so that one
/// does not keep the others out; where it fails otherwise, all have failed.
pub async fn together<W: Sync, A: Send>(
    database: &impl WritesTogether<W, A>,
    all: &[W],
) -> Vec<Result<A, StoreError>> {
    match database.write_all(all).await {
        Ok(done) => done.into_iter().map(Ok).collect(),
        Err(StoreError::Refused(_) | StoreError::Conflict(_)) if all.len() > 1 => {
            let mut each = Vec::new();
            for one in all {
                let done = database.write_all(slice::from_ref(one)).await;
                each.push(done.and_then(|mut done| {
                    let none = || StoreError::Schema("a write has no answer".to_owned());
                    done.pop().ok_or_else(none)
                }));
            }
            each
        }
        Err(error) => {
            let text = error.to_string();
            let again = |_| Err(StoreError::Unavailable(text.clone()));
            let others: Vec<_> = all.iter().skip(1).map(again).collect();
            iter::once(Err(error)).chain(others).collect()
        }
    }
}

async fn run<W, A>(mut writes: mpsc::Receiver<Asked<W, A>>, write: WriteAll<W, A>) {
    let mut asked = Vec::new();
    while writes.recv_many(&mut asked, TOGETHER).await > 0 {
        let (all, callers): (Vec<_>, Vec<_>) = asked.drain(..).unzip();
        for (caller, answer) in callers.into_iter().zip(write(all).await) {
            // A caller may have gone.
            let _ = caller.send(answer);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Doubles numbers and refuses 0.
    struct Doubles {
        is_away: bool,
    }

    impl WritesTogether<u32, u32> for Doubles {
        async fn write_all(&self, all: &[u32]) -> Result<Vec<u32>, StoreError> {
            if self.is_away {
                return Err(StoreError::Closed);
            }
            if all.contains(&0) {
                return Err(StoreError::Refused("zero".to_owned()));
            }
            Ok(all.iter().map(|n| 2 * n).collect())
        }
    }

    /// A batch that doubles numbers and refuses 0, and the number of times that it wrote.
    fn doubling(gate: Arc<Semaphore>) -> (Batch<u32, u32>, Arc<AtomicUsize>) {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let write: WriteAll<u32, u32> = Box::new(move |all| {
            let (gate, counted) = (Arc::clone(&gate), Arc::clone(&counted));
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                counted.fetch_add(1, Ordering::Relaxed);
                let double = |n| match n {
                    0 => Err(StoreError::Refused("zero".to_owned())),
                    n => Ok(2 * n),
                };
                all.into_iter().map(double).collect()
            })
        });
        (Batch::start(&Vital::default(), "doubling", write), times)
    }

    #[tokio::test]
    async fn each_caller_gets_the_answer_of_its_own_write() {
        let (batch, _) = doubling(Arc::new(Semaphore::new(100)));
        let answers = join_all((0..5).map(|n| batch.write(n))).await;
        assert!(matches!(answers[0], Err(StoreError::Refused(_))));
        let rest: Vec<_> = answers.into_iter().skip(1).map(Result::unwrap).collect();
        assert_eq!(rest, [2, 4, 6, 8]);
    }

    #[tokio::test]
    async fn writes_that_come_meanwhile_are_done_together() {
        let gate = Arc::new(Semaphore::new(0));
        let (batch, times) = doubling(Arc::clone(&gate));
        let all = join_all((1..=100).map(|n| batch.write(n)));
        let open = async { gate.add_permits(2) };
        let (answers, ()) = tokio::join!(all, open);
        assert!(answers.into_iter().all(|it| it.is_ok()));
        assert!(times.load(Ordering::Relaxed) <= 2);
    }

    #[tokio::test]
    async fn one_that_is_refused_keeps_no_other_out_and_a_failure_is_everybodys() {
        let answers = together(&Doubles { is_away: false }, &[1, 0, 3]).await;
        assert!(matches!(
            answers[..],
            [Ok(2), Err(StoreError::Refused(_)), Ok(6)]
        ));
        let answers = together(&Doubles { is_away: true }, &[1, 2]).await;
        assert!(matches!(
            answers[..],
            [Err(StoreError::Closed), Err(StoreError::Unavailable(_))]
        ));
    }

    #[tokio::test]
    async fn what_was_accepted_is_done_at_the_end_and_nothing_after() {
        let gate = Arc::new(Semaphore::new(0));
        let (batch, _) = doubling(Arc::clone(&gate));
        let batch = Arc::new(batch);
        let writing = tokio::spawn({
            let batch = Arc::clone(&batch);
            async move { batch.write(4).await }
        });
        tokio::task::yield_now().await;
        gate.add_permits(10);
        batch.close().await;
        assert_eq!(writing.await.unwrap().unwrap(), 8);
        assert!(matches!(batch.write(5).await, Err(StoreError::Closed)));
    }
}
