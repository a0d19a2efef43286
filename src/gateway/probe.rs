//! What the upstream gives to callers who show nothing, for `chatferry check`.

use std::{sync::Arc, time::Duration};

use hyper::{
    Request,
    header::{ACCEPT, HOST, HeaderValue},
};

use super::{
    body::Outgoing,
    upstream::{Limits, Upstream},
};
use crate::{
    config::{Config, Identity},
    metrics::Metrics,
};

/// How long each step of the question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Warns of an upstream that serves the chat to callers who show nothing, while an identity is
/// asked for here. An upstream that does not answer is no news: `serve` works without it.
pub async fn warning(config: &Config) -> Option<String> {
    if config.auth.identity == Identity::None {
        return None;
    }
    let address = config.gateway.upstream.clone()?;
    let path = format!(
        "{}users/chatferry-check/conversations/",
        config.django.url_prefix
    );
    let limits = Limits {
        requests: 1,
        waiting: 0,
        hangs: 0,
        pause: PATIENCE,
        connect: PATIENCE,
        response: PATIENCE,
        idle: PATIENCE,
    };
    let authorities = config.gateway.upstream_ca.as_deref();
    let metrics = Arc::new(Metrics::new());
    let upstream = Upstream::new(address.clone(), authorities, limits, metrics).ok()?;
    let mut request = Request::new(Outgoing::Empty);
    *request.uri_mut() = path.parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let answer = Arc::new(upstream).send(request).await.ok()?;
    answer.status().is_success().then(|| {
        format!(
            "warning: {address} serves {path} to callers who show nothing: auth.policy holds for \
             those alone who come through Chatferry.\n  What to do: let nobody else reach that \
             address (127.0.0.1, a Unix socket, a firewall), and no proxy ask it by itself."
        )
    })
}
