//! `chatferry disconnect`: closes open sockets on every process, through the channel layer.

use std::process::ExitCode;

use super::{advice, failed, open_layer};
use crate::config::Config;
use crate::layer::control::{Control, Disconnect};

/// Sends the order to all processes that Redis knows of. Those that Redis cannot reach now do not
/// get it; `auth.recheck_s` is for them.
pub(super) async fn disconnect(config: &Config, order: Disconnect) -> ExitCode {
    let layer = match open_layer(config).await {
        Ok(layer) => layer,
        Err(code) => return code,
    };
    let sent = layer.send_control(&Control::Disconnect(order)).await;
    layer.close().await;
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&advice::layer(&error, config)),
    }
}
