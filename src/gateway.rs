//! The Django behind this server: what Chatferry does not serve is passed on to it, a share of the
//! conversations can be left to it, and both sides can be compared.
//!
//! - [`decision`] is who serves a request, by what [`target`] says that its path may stand for and
//!   by [`crate::rollout`],
//! - [`guard`] holds what is passed on to our policy, and [`inspect`] what is said on sockets,
//! - [`mod@forward`] passes requests on, with [`headers`] and [`body`]; [`upstream`] keeps the
//!   connections, and [`breaker`] knows whether it answers,
//! - [`tunnel`] passes WebSockets on, [`frames`] knows where their frames end,
//! - [`probe`] asks the upstream whether it answers, and what it gives to strangers,
//! - [`shadow`] asks both sides the same and tells the differences.
//!
//! Nothing of this is there without `gateway.upstream`. Of our own paths `/healthz`, `/readyz` and
//! `/metrics` hide Django's; the chat page and the API document do not, as Django may have its own
//! there.

mod body;
mod breaker;
mod decision;
mod forward;
mod frames;
mod guard;
mod headers;
mod inspect;
mod probe;
mod shadow;
mod target;
mod tls;
mod tunnel;
mod upstream;

use std::{sync::Arc, time::Duration};

pub use self::{
    decision::Decision,
    forward::to_origin_form,
    guard::{Refused, pass_on},
    headers::{HeaderTrust, strip_hop_by_hop},
    shadow::Question,
    target::RequestTarget,
    tls::TrustError,
};
use self::{
    shadow::Shadow,
    upstream::{Upstream, UpstreamLimits},
};
use crate::{
    config::{self, Backend, Config, Prefix},
    dialect::django::consumer::Consumer,
    metrics::Metrics,
    rollout::Rollout,
};

/// The way to Django.
pub struct Gateway {
    upstream: Arc<Upstream>,
    shadow: Shadow,
    rollout: Arc<Rollout>,
    trust: HeaderTrust,
    /// Prefixes that may be passed on; all if there are none.
    allow: Vec<Prefix>,
    /// The protocol of the chat's sockets.
    consumer: Arc<Consumer>,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// Returns the gateway of these settings, if they have one; then they have a rollout too.
    ///
    /// # Errors
    /// When it is not known whom to believe that they are the upstream.
    pub fn of(
        config: &Config,
        rollout: Option<Arc<Rollout>>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, TrustError> {
        let settings = &config.gateway;
        let (Some(address), Some(rollout)) = (settings.upstream.clone(), rollout) else {
            metrics.gateway_shares(100, 0);
            return Ok(None);
        };
        if config.layer.backend == Backend::Memory {
            tracing::warn!(
                "layer.backend is memory: sockets here and sockets of Django do not hear each other"
            );
        }
        let limits = UpstreamLimits {
            requests: settings.max_requests,
            waiting: settings.max_waiting,
            hangs: settings.breaker_failures,
            pause: Duration::from_secs(settings.breaker_s),
            connect: Duration::from_secs(settings.connect_timeout_s),
            response: Duration::from_secs(settings.response_timeout_s),
            idle: Duration::from_secs(settings.idle_timeout_s),
        };
        let authorities = settings.upstream_ca.as_deref();
        let upstream = Upstream::new(address, authorities, limits, Arc::clone(metrics))?;
        metrics.gateway_shares(settings.rollout_percent, settings.shadow_percent);
        Ok(Some(Arc::new(Gateway {
            upstream: Arc::new(upstream),
            shadow: Shadow::new(settings),
            rollout,
            trust: HeaderTrust::of(config),
            allow: settings.allow.clone(),
            consumer: Arc::new(Consumer::new(config)),
            metrics: Arc::clone(metrics),
        })))
    }

    /// Takes over what may change while the server runs: the two percentages, and what becomes of
    /// open sockets.
    pub fn reload(&self, settings: &config::Gateway) {
        self.rollout.reload(settings);
        self.shadow.set_percent(settings.shadow_percent);
        let (rollout, shadow) = (settings.rollout_percent, settings.shadow_percent);
        self.metrics.gateway_shares(rollout, shadow);
    }
}

#[cfg(test)]
mod tests;
