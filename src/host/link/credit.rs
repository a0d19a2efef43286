//! Leave to make a call of a worker.

use tokio::sync::OwnedSemaphorePermit;

use crate::metrics::{HeldGauge, Metrics};

/// Leave for one call, which counts as under way until this is dropped.
#[must_use = "dropping it gives the credit back"]
#[derive(Debug)]
pub struct Credit {
    _permit: OwnedSemaphorePermit,
    _open: HeldGauge,
}

impl Credit {
    pub fn new(permit: OwnedSemaphorePermit, metrics: &Metrics) -> Self {
        Credit {
            _permit: permit,
            _open: metrics.host_call_open(),
        }
    }
}
