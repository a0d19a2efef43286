//! `chatferry disconnect`: closes open sockets on every process, through the channel layer.

use std::process::ExitCode;
use std::sync::Arc;

use super::{advice, failed};
use crate::config::{Backend, Config};
use crate::layer::control::Disconnect;
use crate::layer::{self, control::Control};
use crate::metrics::Metrics;

/// Sends the order to all processes that Redis knows of. Those that Redis cannot reach now do not
/// get it; `auth.recheck_s` is for them.
pub(super) async fn disconnect(config: &Config, order: Disconnect) -> ExitCode {
    if config.layer.backend == Backend::Memory {
        return failed(
            &"layer.backend = memory reaches no other process: set layer.backend = redis",
        );
    }
    let layer = match layer::open_packed(config, Arc::default(), Arc::new(Metrics::new())).await {
        Ok(layer) => layer,
        Err(error) => return failed(&error),
    };
    let sent = layer.send_control(&Control::Disconnect(order)).await;
    layer.close().await;
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&advice::layer(&error, config)),
    }
}
