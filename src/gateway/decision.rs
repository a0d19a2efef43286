//! Decides which side serves a request, by every reading of its path that some server may have.
//!
//! A path that may be read as one below our prefixes is answered here, unless every server reads
//! it alike and it is Django's; then our policy holds for it too. What cannot be ours is Django's.

use hyper::{HeaderMap, Method, Uri};

use super::{Gateway, target::RequestTarget};
use crate::{
    config::{Config, Identity, Policy, Prefix},
    dialect::django::routes::{Captured, Resource, Route},
    http::ops::Endpoint,
    id::ConversationId,
    python::urls::decode_path,
    rollout::{Side, side_of},
    ws::{handshake, protocol::Protocol},
};

/// The side that serves a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Here,
    /// Django, if the caller meets the condition.
    Django(Condition),
}

/// A condition for a request to be passed on.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The path is Django's own, or the settings ask nothing of callers.
    None,
    /// The caller is known. The path is below a prefix of ours, but leads nowhere here.
    Known,
    /// The policy admits the caller to what this resource would do.
    Api(Resource),
    /// The policy admits the caller to this conversation's socket.
    Socket(ConversationId),
}

impl Gateway {
    /// Decides who serves a request with this head.
    #[must_use]
    pub fn decide(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        config: &Config,
    ) -> Decision {
        // A tunnel to anywhere is not for passing on.
        if *method == Method::CONNECT {
            return Decision::Here;
        }
        let target = RequestTarget::of(uri);
        let path = decode_path(uri.path());
        if target.is_plain() && Endpoint::of(&path, config).is_some() {
            return Decision::Here;
        }
        let api = config.api_prefix();
        let is_own = |prefix: &Prefix| target.may_be_below(prefix.as_str());
        // Django has nothing there, whichever side has the conversation.
        if api.as_ref().is_some_and(is_own) {
            return Decision::Here;
        }
        if !ours(config).any(is_own) {
            return self.elsewhere(&target, Condition::None);
        }
        if !target.is_plain() {
            return Decision::Here;
        }
        let percent = self.rollout.percent();
        if let Some(id) = self.consumer.target(&path)
            && handshake::wants_upgrade(headers)
        {
            return Decision::of(side_of(id, percent), socket_condition(id, config));
        }
        let is_guarded = config.auth.identity != Identity::None;
        match route(&path, config) {
            Some(Route::Api(resource)) => {
                let side = match resource.captured {
                    Captured::Conversation(id) => side_of(id, percent),
                    // A message does not tell its conversation.
                    _ if percent > 0 => Side::Here,
                    _ => Side::Django,
                };
                let condition = if is_guarded {
                    Condition::Api(resource)
                } else {
                    Condition::None
                };
                Decision::of(side, condition)
            }
            _ if !is_guarded => self.elsewhere(&target, Condition::None),
            // The chat page needs no policy, and its path must not be a way to Django's views.
            Some(Route::Page) => Decision::Here,
            _ if config.auth.policy == Policy::Open || self.names(&target, config) => {
                self.elsewhere(&target, Condition::Known)
            }
            _ => Decision::Here,
        }
    }

    /// Decides about a path that leads nowhere here: Django's, unless `gateway.allow` lists others
    /// only. Here it is not found.
    fn elsewhere(&self, target: &RequestTarget, condition: Condition) -> Decision {
        let allowed = &self.allow;
        if allowed.is_empty() || allowed.iter().any(|it| target.is_below(it.as_str())) {
            Decision::Django(condition)
        } else {
            Decision::Here
        }
    }

    /// Returns `true` for a path below an entry of `gateway.allow` within one of our prefixes.
    fn names(&self, target: &RequestTarget, config: &Config) -> bool {
        self.allow.iter().any(|allowed| {
            let is_within = |prefix: &Prefix| {
                allowed != prefix && allowed.as_str().starts_with(prefix.as_str())
            };
            ours(config).any(is_within) && target.is_below(allowed.as_str())
        })
    }
}

impl Decision {
    /// That this side serves it; Django on the condition.
    fn of(side: Side, condition: Condition) -> Self {
        match side {
            Side::Here => Decision::Here,
            Side::Django => Decision::Django(condition),
        }
    }
}

/// The list of allowed origins is part of the policy, even of one that asks for no identity.
fn socket_condition(id: ConversationId, config: &Config) -> Condition {
    if config.auth.identity == Identity::None && config.ws.allowed_origins.is_empty() {
        Condition::None
    } else {
        Condition::Socket(id)
    }
}

fn ours(config: &Config) -> impl Iterator<Item = &Prefix> {
    [&config.django.url_prefix, &config.django.ws_prefix].into_iter()
}

/// Returns the route of a path, or the one it lacks only the last slash of: who serves a path also
/// redirects to it.
pub fn route(path: &str, config: &Config) -> Option<Route> {
    Route::of(path, config).or_else(|| Route::of(&format!("{path}/"), config))
}
