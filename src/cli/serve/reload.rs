//! SIGHUP and `chatferry host reload`: the settings are read again. What a running server can take over it takes over; the
//! rest is named and waits for a restart.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::oneshot;

use super::systemd;
use crate::app::App;
use crate::config::{Config, Effective, Loaded};
use crate::host::order::OrderOutcome;
use crate::metrics::SecurityEvent;
use crate::server::Site;
use crate::telemetry::Logging;
use crate::telemetry::security::{AuditPlace, SecurityFinding};

/// Settings that a running server takes over.
const LIVE: &[&str] = &[
    "gateway.rollout_percent",
    "gateway.on_change",
    "gateway.shadow_percent",
    "host.routes",
    "host.http_routes",
    "log.level",
];

/// The settings that it takes over too if it has a certificate already, and the new files are good.
const CERTIFICATE: &[&str] = &["server.tls.cert", "server.tls.key"];

/// Reads the settings each time the signal or an order comes; those that cannot be read change
/// nothing. The
/// workers of a hosted application are then replaced.
/// `in_force` is what the server was started with.
pub(super) async fn on_signal<E: Display>(
    site: Arc<Site>,
    log: Option<Logging>,
    hangup: io::Result<Signal>,
    mut in_force: Loaded,
    reread: impl Fn() -> Result<Loaded, E>,
) {
    let Ok(mut hangup) = hangup else { return };
    loop {
        let caller = tokio::select! {
            Some(()) = hangup.recv() => None,
            caller = ordered(&site) => Some(caller),
        };
        systemd::reloading();
        let outcome = match settings(&site.app, reread()) {
            Ok(loaded) => {
                take_over(&site, log.as_ref(), &mut in_force, loaded);
                workers(&site).await
            }
            Err(why) => Err(format!("the settings stay as they are: {why}")),
        };
        systemd::ready();
        if let Some(caller) = caller {
            // It may have gone.
            let _ = caller.send(outcome);
        }
    }
}

/// Waits for an operator's command.
async fn ordered(site: &Site) -> oneshot::Sender<OrderOutcome> {
    match &site.host {
        Some(host) => host.orders().next().await,
        None => std::future::pending().await,
    }
}

/// Returns the settings if `serve` would start with them; logs why if not, and returns it.
fn settings<E: Display>(app: &App, reread: Result<Loaded, E>) -> Result<Loaded, String> {
    let loaded = reread.map_err(|error| {
        note(app, &format!("refused: {error}"));
        tracing::error!(%error, "the settings stay as they are");
        error.to_string()
    })?;
    let refusals = loaded.refusals();
    for error in &refusals {
        tracing::error!(%error, "the settings stay as they are");
    }
    match refusals.first() {
        Some(error) => Err(error.to_string()),
        None => Ok(loaded),
    }
}

/// Replaces the workers of a hosted application.
async fn workers(site: &Site) -> OrderOutcome {
    match &site.host {
        Some(host) => host.reload().await.map_err(|error| {
            let stay = "the workers stay as they are";
            format!("{stay}: {error}")
        }),
        None => Ok(()),
    }
}

fn take_over(site: &Site, log: Option<&Logging>, in_force: &mut Loaded, loaded: Loaded) {
    let app = &site.app;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(gateway) = &site.gateway {
        gateway.reload(&loaded.config.gateway);
    }
    if let Some(host) = &site.host {
        host.take_over(&loaded.config);
    }
    if let Some(log) = log {
        log.set_level(&loaded.config.log.level);
    }
    let has_certificate = certificate(app, &loaded.config);
    let is_live = |key| LIVE.contains(&key) || (has_certificate && CERTIFICATE.contains(&key));
    let (live, fixed): (Vec<_>, Vec<_>) = changes(&in_force.effective, &loaded.effective)
        .into_iter()
        .partition(|changed| is_live(changed.key));
    let keys = |settings: &[Effective]| settings.iter().map(|it| it.key).collect::<Vec<_>>();
    let (now, later) = (keys(&live).join(", "), keys(&fixed).join(", "));
    note(app, &format!("in force: {now}; after a restart: {later}"));
    for setting in &live {
        tracing::info!("{setting}: in force now");
    }
    for setting in &fixed {
        tracing::warn!("{setting}: has changed, and takes a restart");
    }
    if live.is_empty() && fixed.is_empty() {
        if loaded.config == in_force.config {
            tracing::info!("the settings were read again: nothing has changed");
        } else {
            // Its value is not shown, so the lists are the same.
            tracing::warn!("a secret has changed, and takes a restart");
        }
    }
    // Settings that take a restart are still not in force, and are reported again.
    for setting in live {
        if let Some(before) = in_force
            .effective
            .iter_mut()
            .find(|before| before.key == setting.key)
        {
            *before = setting;
        }
    }
    app.metrics.settings_read();
    in_force.config.log = loaded.config.log;
    in_force.config.gateway = loaded.config.gateway;
    in_force.config.host.routes = loaded.config.host.routes;
    in_force.config.host.http_routes = loaded.config.host.http_routes;
    if has_certificate {
        in_force.config.server.tls = loaded.config.server.tls;
    }
}

/// Tells the security log of it.
fn note(app: &App, reason: &str) {
    app.audit.note(&SecurityFinding {
        event: SecurityEvent::Settings,
        reason,
        client: None,
        user: None,
        place: AuditPlace::Nothing,
    });
}

/// Reads the certificate again, whose files may have changed under their old names. Whether it is
/// that of these settings now.
fn certificate(app: &App, config: &Config) -> bool {
    let (Some(tls), Some(_)) = (&app.tls, config.server.tls.files()) else {
        return false;
    };
    match tls.reload(&config.server.tls) {
        Ok(()) => tracing::info!("the certificate was read again"),
        Err(error) => {
            tracing::error!(%error, "the certificate stays as it is");
            return false;
        }
    }
    true
}

/// The settings whose values are not what they were.
fn changes(before: &[Effective], now: &[Effective]) -> Vec<Effective> {
    let differs = |now: &&Effective| {
        before
            .iter()
            .any(|before| before.key == now.key && before.value != now.value)
    };
    now.iter().filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_server_takes_over_are_settings() {
        for key in LIVE.iter().chain(CERTIFICATE) {
            assert!(Config::options().any(|option| option.key == *key), "{key}");
        }
    }
}
