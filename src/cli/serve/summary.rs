//! The lines of a start that say what the settings decided: one a subject, so that a surprise shows
//! before the first caller meets it.

use crate::config::{Backend, Config, Database, Loaded};

/// Logs the settings file, the store, the layer, the callers and the share of the conversations.
pub(super) fn log(loaded: &Loaded) {
    if let Some(file) = &loaded.file {
        tracing::info!(file = %file.display(), "settings file read");
    } else {
        tracing::info!("no settings file");
    }
    let config = &loaded.config;
    tracing::info!(url = %config.store.url, "store");
    layer(config);
    let (identity, policy) = (config.auth.identity, config.auth.policy);
    tracing::info!(%identity, %policy, "callers");
    share(loaded);
}

fn layer(config: &Config) {
    let (backend, hosts) = (config.layer.backend, &config.layer.hosts);
    match backend {
        Backend::Memory if config.store.url.database() == Database::Sqlite => {
            tracing::info!(%backend, "channel layer");
        }
        // Others may write to a database that is a server.
        Backend::Memory => tracing::warn!(
            %backend,
            "channel layer: events stay in this process, and sockets of Django or of another \
             Chatferry do not see them; set layer.backend and layer.hosts, or REDIS_URL"
        ),
        Backend::Redis | Backend::RedisPubsub if hosts.entries().is_empty() => {
            tracing::info!(%backend, hosts = "redis://localhost:6379", "channel layer");
        }
        Backend::Redis | Backend::RedisPubsub => {
            tracing::info!(%backend, ?hosts, "channel layer");
        }
    }
}

fn share(loaded: &Loaded) {
    let gateway = &loaded.config.gateway;
    let Some(upstream) = &gateway.upstream else {
        return;
    };
    let rollout_percent = gateway.rollout_percent;
    tracing::info!(%upstream, rollout_percent, "gateway");
    if loaded.origin("gateway.rollout_percent") == "default with gateway.upstream" {
        tracing::warn!(
            "gateway.rollout_percent is not set: Django serves the whole chat until it is"
        );
    }
}
