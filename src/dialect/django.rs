//! The chat of the original, a Django project with Channels and REST framework, byte for byte.
//!
//! | | |
//! |---|---|
//! | [`routes`] | the URLs, one row each |
//! | [`middleware`], [`views`] | what Django does around a view; the views |
//! | [`reply`], [`rendering`], [`pages`], [`negotiation`] | answers, and their forms |
//! | [`drf`], [`basic_auth`] | texts and checks of REST framework |
//! | [`body`], [`forms`], [`multipart`], [`header`], [`host`] | how Django reads a request |
//! | [`consumer`], [`frames`], [`token`] | what is spoken on sockets |
//! | [`identity`], [`signing`], [`cookies`], [`csrf`] | who is asking, and what cookies become |
//! | [`events`], [`serializers`] | group messages, and messages as clients see them |
//! | [`page`], [`docs`] | the chat page, the API document |

pub mod basic_auth;
pub mod body;
pub mod consumer;
pub mod cookies;
pub mod csrf;
pub mod docs;
pub mod drf;
pub mod events;
pub mod forms;
pub mod frames;
pub mod header;
pub mod host;
pub mod identity;
pub mod middleware;
pub mod multipart;
pub mod negotiation;
pub mod page;
pub mod pages;
pub mod rendering;
pub mod reply;
pub mod routes;
pub mod serializers;
pub mod signing;
pub mod tables;
pub mod token;
pub mod views;

use std::sync::Arc;

use async_trait::async_trait;
use hyper::{Request, body::Incoming};

use self::{consumer::Consumer, drf::Language, events::Events, frames::event_frame};
use super::Dialect;
use crate::{
    app::{App, Peers},
    config::{self, Config, Prefix},
    http::{Response, extract, ops::Probe, serve::Answered},
    hub::frames::Encode,
    limits::Throttled,
    python::datetime::Zone,
    telemetry::request::Trail,
    ws::{self, protocol::Protocol as _},
};

/// Returns the language of the framework's own texts.
#[must_use]
pub fn language(config: &Config) -> Language {
    match config.django.language {
        config::Language::EnUs => Language::EnUs,
        config::Language::Ko => Language::Ko,
    }
}

/// The chat of the original, mounted.
pub struct Django {
    prefix: Prefix,
    zone: Zone,
    language: Language,
    consumer: Arc<Consumer>,
}

impl Django {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Django {
            prefix: config.django.url_prefix.clone(),
            zone: config.django.time_zone.zone().clone(),
            language: language(config),
            consumer: Arc::new(Consumer::new(config)),
        }
    }
}

#[async_trait]
impl Dialect for Django {
    fn serves(&self, path: &str) -> bool {
        path.starts_with(self.prefix.as_str()) || self.consumer.target(path).is_some()
    }

    fn shared(&self) -> &Prefix {
        &self.prefix
    }

    fn encode(&self) -> Encode {
        let events = Events {
            zone: self.zone.clone(),
        };
        Box::new(move |_, event| event_frame(&events, event))
    }

    async fn answer(
        &self,
        app: &Arc<App>,
        probes: &[Probe],
        request: &extract::Request,
    ) -> Answered {
        middleware::answer(app, probes, request).await
    }

    async fn open(&self, app: &Arc<App>, request: Request<Incoming>, trail: &Trail) -> Response {
        let consumer = Arc::clone(&self.consumer);
        ws::upgrade::answer(Arc::clone(app), consumer, request, trail).await
    }

    fn throttled(&self, throttled: Throttled) -> Response {
        reply::throttled(throttled, self.language)
    }
}

/// Returns what the rooms below need of Django.
#[must_use]
pub fn peers(config: &Config) -> Peers {
    let zone = config.django.time_zone.zone().clone();
    Peers {
        events: Arc::new(Events { zone }),
        groups: config.django.group_pattern.clone(),
        open_proof: identity::open,
    }
}
