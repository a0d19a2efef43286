//! A chat of our own, over the conversations that Django sees: for clients that ask for the
//! subprotocol `chatferry.v1`, which `PROTOCOL.md` beside this file specifies.
//!
//! | | |
//! |---|---|
//! | [`socket`] | the sockets, for the engine of WebSockets |
//! | [`asking`] | requests, performed and answered |
//! | [`subscriptions`] | the conversations that a socket is in |
//! | [`requests`], [`frames`] | what clients ask, and how they are answered |
//! | [`events`] | frames of what is said in a conversation |
//! | [`attached`] | attachments in the text of a message |
//! | [`groups`] | groups, as clients see and change them |
//! | [`cursor`] | how a client says what it has seen |
//! | [`pages`] | pages of history, for frames and the API |
//! | [`api`] | the REST API beside the sockets |
//! | `page/` | the chat page: markup, styles and scripts, which `django::page` joins and serves |

pub mod api;
mod asking;
pub mod attached;
pub mod cursor;
pub mod events;
pub mod frames;
pub mod groups;
mod pages;
pub mod requests;
pub mod socket;
pub mod subscriptions;

use std::sync::Arc;

use async_trait::async_trait;
use hyper::{
    HeaderMap, Method, Request,
    body::Incoming,
    header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL},
};

use self::{api::problem::Problem, socket::Native};
use super::Dialect;
use crate::{
    app::App,
    config::{Config, Prefix},
    http::{Response, extract, ops::Probe, serve::Answered},
    hub::frames::{DialectSlot, Encode},
    limits::Throttled,
    telemetry::request::Trail,
    ws::{self, protocol::Protocol as _},
};

/// The subprotocol that clients ask for.
pub const SUBPROTOCOL: &str = "chatferry.v1";

/// The chat of our own, mounted.
pub struct Chatferry {
    /// Prefix of the REST API, if it is served.
    api: Option<Prefix>,
    shared: Prefix,
    slot: DialectSlot,
    protocol: Arc<Native>,
}

impl Chatferry {
    #[must_use]
    pub fn new(config: &Config, slot: DialectSlot) -> Self {
        let api = config.api_prefix();
        Chatferry {
            shared: api.clone().unwrap_or(config.django.url_prefix.clone()),
            api,
            slot,
            protocol: Arc::new(Native::new(config, slot)),
        }
    }
}

#[async_trait]
impl Dialect for Chatferry {
    // Its sockets have no path that is not Django's as well: they are known by their subprotocol.
    fn serves(&self, path: &str) -> bool {
        let api = self.api.as_ref();
        api.is_some_and(|prefix| path.starts_with(prefix.as_str()))
    }

    fn opens(&self, path: &str, headers: &HeaderMap) -> bool {
        self.protocol.target(path).is_some() && is_asked_for(headers)
    }

    fn shared(&self) -> &Prefix {
        &self.shared
    }

    fn shared_headers(&self) -> HeaderValue {
        api::SHARED_HEADERS
    }

    fn encode(&self) -> Encode {
        Box::new(events::frame)
    }

    async fn answer(&self, app: &Arc<App>, _: &[Probe], request: &extract::Request) -> Answered {
        api::answer(app, self.slot, &self.shared, request, None).await
    }

    fn takes_stream(&self, method: &Method, path: &str) -> bool {
        let path = self
            .api
            .as_ref()
            .and_then(|api| path.strip_prefix(api.as_str()));
        path.is_some_and(|path| api::takes_stream(method, path))
    }

    async fn answer_stream(
        &self,
        app: &Arc<App>,
        request: &extract::Request,
        body: Incoming,
    ) -> Answered {
        api::answer(app, self.slot, &self.shared, request, Some(body)).await
    }

    async fn open(&self, app: &Arc<App>, request: Request<Incoming>, trail: &Trail) -> Response {
        let protocol = Arc::clone(&self.protocol);
        ws::upgrade::answer(Arc::clone(app), protocol, request, trail).await
    }

    fn throttled(&self, throttled: Throttled) -> Response {
        Problem::from(throttled).response()
    }
}

/// Returns whether a handshake offers the subprotocol.
fn is_asked_for(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL)
}
