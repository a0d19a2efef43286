//! The queue of a task that sends.

use tokio::sync::{mpsc, oneshot};

use crate::layer::LayerError;

/// The end by which jobs are handed over.
pub struct Jobs<J> {
    jobs: mpsc::UnboundedSender<J>,
    waiting: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

/// The end of the task.
pub struct JobQueue<J> {
    jobs: mpsc::UnboundedReceiver<J>,
    /// Callers that wait until all jobs have been tried.
    waiting: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
}

/// Returns the two ends of a queue.
#[must_use]
pub fn queue<J>() -> (Jobs<J>, JobQueue<J>) {
    let (jobs, to_do) = mpsc::unbounded_channel();
    let (waiting, callers) = mpsc::unbounded_channel();
    let queue = JobQueue {
        jobs: to_do,
        waiting: callers,
    };
    (Jobs { jobs, waiting }, queue)
}

impl<J> Jobs<J> {
    /// Adds a job.
    ///
    /// # Errors
    /// [`LayerError::Closed`] once the task has ended.
    pub fn add(&self, job: J) -> Result<(), LayerError> {
        self.jobs.send(job).map_err(|_| LayerError::Closed)
    }

    /// Waits until the task has tried every job that was added before, or has ended.
    pub async fn tried(&self) {
        let (caller, done) = oneshot::channel();
        if self.waiting.send(caller).is_ok() {
            // The task drops the caller, whether it ends or not.
            let _ = done.await;
        }
    }
}

impl<J> JobQueue<J> {
    /// Moves up to `most` jobs to the end of `jobs`; waits for one if there is none. Returns how
    /// many, which is 0 once no more can come. The caller tries all of them before it calls again.
    pub async fn take(&mut self, jobs: &mut Vec<J>, most: usize) -> usize {
        loop {
            tokio::select! {
                biased;
                taken = self.jobs.recv_many(jobs, most) => return taken,
                Some(caller) = self.waiting.recv() => drop(caller),
            }
        }
    }
}
