//! The Django behind this server: what Chatferry does not serve is passed on to it, a share of the
//! conversations can be left to it, and both sides can be compared.
//!
//! - [`rollout`] decides which conversations are served here,
//! - [`mod@forward`] passes requests on, with [`headers`] and [`body`]; [`upstream`] keeps the
//!   connections,
//! - [`tunnel`] passes WebSockets on, [`frames`] knows where their frames end,
//! - [`shadow`] asks both sides the same and tells the differences.
//!
//! Nothing of this is there without `gateway.upstream`. Of our own paths `/healthz`, `/readyz` and
//! `/metrics` hide Django's; the chat page and the API document do not, as Django may have its own
//! there.

mod body;
mod forward;
mod frames;
mod headers;
pub mod rollout;
mod shadow;
mod tls;
mod tunnel;
mod upstream;

use std::{sync::Arc, time::Duration};

use hyper::{HeaderMap, Method, Uri};
use tokio::sync::watch;
use uuid::Uuid;

pub use self::{
    body::{Interrupted, Relayed},
    forward::forward,
    rollout::Side,
    shadow::Question,
    tls::TrustError,
};
use self::{
    rollout::{Moved, side_of},
    shadow::Shadow,
    upstream::{Limits, Upstream},
};
use crate::{
    config::{self, Backend, Config, Network},
    django::{handshake, urls::decode_path},
    http::router::{self, Resource, Route},
    metrics::Metrics,
    server::Peer,
};

/// The way to Django.
pub struct Gateway {
    upstream: Arc<Upstream>,
    shadow: Shadow,
    /// The settings in force: SIGHUP changes some of them.
    live: watch::Sender<config::Gateway>,
    trust_forwarded: bool,
    trusted_proxies: Vec<Network>,
    metrics: Arc<Metrics>,
    /// Over which sockets that move are closed.
    spread: Duration,
}

impl Gateway {
    /// The gateway of these settings, if they have one.
    ///
    /// # Errors
    /// When it is not known whom to believe that they are the upstream.
    pub fn of(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Arc<Self>>, TrustError> {
        let settings = &config.gateway;
        let Some(address) = settings.upstream.clone() else {
            metrics.gateway_shares(100, 0);
            return Ok(None);
        };
        if config.layer.backend == Backend::Memory {
            tracing::warn!(
                "layer.backend is memory: sockets here and sockets of Django do not hear each other"
            );
        }
        let limits = Limits {
            connect: Duration::from_secs(settings.connect_timeout_s),
            response: Duration::from_secs(settings.response_timeout_s),
            idle: Duration::from_secs(settings.idle_timeout_s),
        };
        let authorities = settings.upstream_ca.as_deref();
        let upstream = Upstream::new(address, authorities, limits, Arc::clone(metrics))?;
        metrics.gateway_shares(settings.rollout_percent, settings.shadow_percent);
        Ok(Some(Arc::new(Gateway {
            upstream: Arc::new(upstream),
            shadow: Shadow::new(settings.shadow_log_content),
            live: watch::Sender::new(settings.clone()),
            trust_forwarded: settings.trust_forwarded,
            trusted_proxies: config.server.trusted_proxies.clone(),
            metrics: Arc::clone(metrics),
            spread: Duration::from_secs(config.server.drain_s),
        })))
    }

    /// Takes over what may change while the server runs: the two percentages, and what becomes of
    /// open sockets.
    pub fn reload(&self, settings: &config::Gateway) {
        self.live.send_if_modified(|live| {
            let before = live.clone();
            live.rollout_percent = settings.rollout_percent;
            live.on_change = settings.on_change;
            live.shadow_percent = settings.shadow_percent;
            *live != before
        });
        let (rollout, shadow) = (settings.rollout_percent, settings.shadow_percent);
        self.metrics.gateway_shares(rollout, shadow);
    }

    /// Who serves a request with this head.
    #[must_use]
    pub fn side(&self, method: &Method, uri: &Uri, headers: &HeaderMap, config: &Config) -> Side {
        let percent = self.live.borrow().rollout_percent;
        // A tunnel to anywhere is not for passing on.
        if method == Method::CONNECT {
            return Side::Here;
        }
        // Daphne routes no address with scheme and host, and none that is not ASCII.
        if uri.scheme().is_some()
            || !uri
                .path_and_query()
                .is_some_and(|to| to.as_str().is_ascii())
        {
            return Side::Django;
        }
        let path = decode_path(uri.path());
        if handshake::wants_upgrade(headers) {
            let conversation = router::socket(&path, config);
            return conversation.map_or(Side::Django, |id| side_of(id, percent));
        }
        match route(&path, config) {
            Some(Route::Healthz | Route::Readyz | Route::Metrics) => Side::Here,
            Some(Route::Api(resource)) => match conversation_of(&resource) {
                Some(id) => side_of(id, percent),
                None if percent > 0 => Side::Here,
                None => Side::Django,
            },
            Some(Route::Page | Route::Docs | Route::OpenApi) | None => Side::Django,
        }
    }

    /// Whether the `X-Forwarded-…` headers of this peer are passed on to Django as they are: those
    /// of this machine, of trusted proxies, or of everybody.
    fn trusts(&self, peer: Peer) -> bool {
        self.trust_forwarded
            || peer.address.is_none_or(|address| {
                let trusted = &self.trusted_proxies;
                address.is_loopback() || trusted.iter().any(|it| it.contains(address))
            })
    }

    /// Ends when this conversation's socket, which `side` serves, is to be closed because the
    /// conversation has moved to the other side.
    pub fn moved(&self, conversation: Uuid, side: Side) -> Moved {
        rollout::moved(self.live.subscribe(), conversation, side, self.spread)
    }
}

/// The route of a path, or the one it lacks only the last slash of: who serves a path also
/// redirects to it.
fn route(path: &str, config: &Config) -> Option<Route> {
    Route::of(path, config).or_else(|| Route::of(&format!("{path}/"), config))
}

/// The conversation that a resource is part of. A message does not tell its conversation.
fn conversation_of(resource: &Resource) -> Option<Uuid> {
    match resource {
        Resource::Conversation(id)
        | Resource::ConversationMessages(id)
        | Resource::SendMessage(id) => Some(*id),
        Resource::Conversations | Resource::UserConversations(_) | Resource::MessageRead(_) => None,
    }
}

#[cfg(test)]
mod tests;
