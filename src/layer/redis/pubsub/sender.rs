//! Publishes on one host, in the order the events came, all that has gathered in one write.

use std::sync::Arc;

use redis::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Host, Inner, echo::Heard};
use crate::{
    chat::Event,
    layer::{LayerError, redis::link::accepted},
};

/// Most events published together.
const BATCH: usize = 256;

/// An event on its way.
pub(super) struct Job {
    pub channel: String,
    pub bytes: Vec<u8>,
    pub event: Arc<Event>,
    /// Its number among the events that may come back; none if we do not listen there.
    pub echo: Option<u64>,
    pub done: oneshot::Sender<Result<(), LayerError>>,
}

/// Ends when the layer is closed.
pub(super) async fn run(
    inner: Arc<Inner>,
    host: Arc<Host>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let mut gathered = Vec::new();
    while jobs.recv_many(&mut gathered, BATCH).await > 0 {
        let mut commands = redis::pipe();
        for job in &gathered {
            commands.cmd("PUBLISH").arg(&job.channel).arg(&job.bytes);
        }
        match host.link.ask(&commands).await {
            Ok(answers) => {
                for (job, answer) in gathered.drain(..).zip(answers) {
                    inner.settle(&host, job, accepted(answer)).await;
                }
            }
            Err(error) => {
                for job in gathered.drain(..) {
                    inner.settle(&host, job, Err(error.clone())).await;
                }
            }
        }
    }
}

impl Inner {
    /// Makes sure that our own channels have the event: by the subscription if anybody heard it,
    /// or else from here.
    async fn settle(&self, host: &Host, job: Job, answer: Result<Value, LayerError>) {
        // Nobody, not even ourselves, listens: our subscription is on its way, or gone.
        let heard = match answer {
            Ok(Value::Int(1..)) => Heard::Yes,
            Err(LayerError::Unavailable(_)) => Heard::Unknown,
            _ => Heard::No,
        };
        let locals = {
            let mut state = host.state();
            let missing = job
                .echo
                .is_some_and(|echo| state.echoes.settle(echo, heard));
            if missing {
                state.locals(&job.channel)
            } else {
                Vec::new()
            }
        };
        for local in locals {
            let _ = self.inbox.put(local, Arc::clone(&job.event), None).await;
        }
        // A caller that has gone away no longer cares.
        let _ = job.done.send(answer.map(|_| ()));
    }
}
