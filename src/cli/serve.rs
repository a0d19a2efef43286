//! `chatferry serve`.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::server::{Ended, Server};

/// How often recorded durations are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then drains. Fails when it cannot start, or when the drain's
/// window was over while connections were open. `reread` gets the settings anew on SIGHUP.
pub(super) async fn serve<E: Display + 'static>(
    config: Config,
    reread: impl Fn() -> Result<Config, E> + Send + 'static,
) -> ExitCode {
    let bind = config.server.bind.clone();
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return super::failed(&error),
    };
    let server = match Server::bind(Arc::clone(&app)).await {
        Ok(server) => server,
        Err(error) => return super::failed(&format!("cannot listen on {bind}: {error}")),
    };
    // Caught from before anybody can know that there is something to stop.
    let signals = Signals::catch();
    let hangup = signal(SignalKind::hangup());
    let address = server.address().unwrap_or_else(|_| bind.to_string());
    // A reader that has gone does not keep us from serving.
    let _ = writeln!(
        io::stdout(),
        "chatferry {} listens on {address}",
        env!("CARGO_PKG_VERSION")
    );
    let upkeep = tokio::spawn(keep_up(Arc::clone(&app)));
    let signals = tokio::spawn(drain_on_signal(Arc::clone(&app), signals));
    let reloads = tokio::spawn(reload_on_signal(Arc::clone(&app), hangup, reread));
    let ended = server.run().await;
    upkeep.abort();
    signals.abort();
    reloads.abort();
    app.layer.close().await;
    app.store.close().await;
    match ended {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::Abandoned(open) => super::failed(&format!(
            "{open} connections were still open when server.drain_s was over"
        )),
    }
}

async fn keep_up(app: Arc<App>) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        app.metrics.upkeep();
    }
}

/// Takes over what may change in a running server each time SIGHUP comes; settings that cannot be
/// read change nothing.
async fn reload_on_signal<E: Display>(
    app: Arc<App>,
    hangup: io::Result<Signal>,
    reread: impl Fn() -> Result<Config, E>,
) {
    let Ok(mut hangup) = hangup else { return };
    while hangup.recv().await.is_some() {
        match reread() {
            Ok(config) => reload(&app, &config),
            Err(error) => tracing::error!(%error, "the settings stay as they are"),
        }
    }
}

fn reload(app: &App, config: &Config) {
    if app.gateway.is_none() && app.tls.is_none() {
        tracing::info!("there is neither a gateway nor a certificate whose settings could change");
    }
    if let Some(gateway) = &app.gateway {
        let now = &config.gateway;
        tracing::info!(
            rollout_percent = now.rollout_percent,
            on_change = %now.on_change,
            shadow_percent = now.shadow_percent,
            "the settings of the gateway were read again"
        );
        gateway.reload(now);
    }
    if let Some(tls) = &app.tls {
        match tls.reload(&config.server.tls) {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!(%error, "the certificate stays as it is"),
        }
    }
}

/// The two signals that ask the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn drain_on_signal(app: Arc<App>, signals: io::Result<Signals>) {
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "signals cannot be caught: SIGTERM will end the process at once");
            return;
        }
    };
    signals.next().await;
    tracing::info!("draining");
    app.drain.begin();
    // Whoever asks twice does not want to wait.
    signals.next().await;
    app.drain.hurry();
}
