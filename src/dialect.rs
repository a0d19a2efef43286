//! The kinds of chat. A dialect is a room: all that only its clients and peers know is in it. The
//! engines [`http`](crate::http) and [`ws`](crate::ws) have no opinions; [`Dialect`] is what they
//! ask. A [`System`] is a chat of another kind of application, with users, tables and an address of
//! its own.

pub mod chatferry;
pub mod django;
pub mod matching;
pub mod messenger;
pub mod naebak;
mod system;

use std::{iter, sync::Arc};

use async_trait::async_trait;
use hyper::{HeaderMap, Method, Request, body::Incoming, header::HeaderValue};

pub use self::system::{MountPoint, Mounted, System, SystemError, start as start_systems};
use self::{chatferry::Chatferry, django::Django};
use crate::{
    app::{App, Peers},
    config::{Config, Prefix},
    http::{Response, cors, extract, ops::Probe, serve::Answered},
    hub::frames::{DialectSlot, Encode},
    limits::Throttled,
    store::Schema,
    telemetry::request::Trail,
};

/// A kind of chat that is mounted.
#[async_trait]
pub trait Dialect: Send + Sync {
    /// Returns whether a percent-decoded path is below a prefix of this chat's.
    fn serves(&self, path: &str) -> bool;

    /// Returns whether a handshake with this percent-decoded path is for a socket of this chat.
    fn opens(&self, path: &str, _: &HeaderMap) -> bool {
        self.serves(path)
    }

    /// Returns the prefix below which pages of other sites may read answers, as far as
    /// `cors.allowed_origins` lets them.
    fn shared(&self) -> &Prefix;

    /// Returns the headers that those pages may send, as `Access-Control-Allow-Headers` has them.
    fn shared_headers(&self) -> HeaderValue {
        cors::DJANGO_HEADERS
    }

    /// Returns the function that makes a frame of an event for the sockets of this chat.
    fn encode(&self) -> Encode;

    /// Returns the chat of this dialect, if it has tables of its own; `None` if it serves the
    /// conversations of the first dialect.
    fn own_chat(&self) -> Option<OwnChat> {
        None
    }

    /// Answers a request. `probes` are for `/readyz`.
    async fn answer(
        &self,
        app: &Arc<App>,
        probes: &[Probe],
        request: &extract::Request,
    ) -> Answered;

    /// Returns whether the body of a request to this percent-decoded path is read as it comes, by
    /// [`answer_stream`](Self::answer_stream), and not before the request is answered.
    fn takes_stream(&self, _: &Method, _: &str) -> bool {
        false
    }

    /// As [`answer`](Self::answer), for a request whose body is still to be read.
    async fn answer_stream(
        &self,
        app: &Arc<App>,
        request: &extract::Request,
        _: Incoming,
    ) -> Answered {
        self.answer(app, &[], request).await
    }

    /// Answers a handshake, and serves the socket in a task of its own.
    async fn open(&self, app: &Arc<App>, request: Request<Incoming>, trail: &Trail) -> Response;

    /// Answers a client that has reached a limit, before its request is looked at.
    fn throttled(&self, throttled: Throttled) -> Response;
}

/// A chat with tables of its own.
pub struct OwnChat {
    pub schema: Schema,
    pub peers: Peers,
}

/// The dialects that are mounted.
pub struct Dialects {
    /// Answers what is no other's, too.
    first: Box<dyn Dialect>,
    others: Vec<Box<dyn Dialect>>,
    schema: Schema,
}

impl Dialects {
    /// Mounts the dialects of these settings.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let dialects = Dialects {
            first: Box::new(Django::new(config)),
            others: Vec::new(),
            schema: django::tables::schema(&config.store.tables),
        };
        if config.native.enabled {
            dialects.and(|slot| Box::new(Chatferry::new(config, slot)))
        } else {
            dialects
        }
    }

    /// Returns the tables of the first dialect.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the chat of each of the others, in their order, as far as it has its own.
    #[must_use]
    pub fn own_chats(&self) -> Vec<Option<OwnChat>> {
        self.others
            .iter()
            .map(|dialect| dialect.own_chat())
            .collect()
    }

    /// Mounts one more. What makes it is given the place that its sockets' queues need.
    #[must_use]
    pub fn and(mut self, mount: impl FnOnce(DialectSlot) -> Box<dyn Dialect>) -> Self {
        let slot = DialectSlot::after(1 + self.others.len());
        self.others.push(mount(slot));
        self
    }

    /// Returns the dialect that answers a request with this percent-decoded path, and its place
    /// among the others if it is not the first.
    #[must_use]
    pub fn of_path(&self, path: &str) -> (&dyn Dialect, Option<usize>) {
        self.find(|dialect| dialect.serves(path))
    }

    /// Returns the dialect that answers a handshake with this percent-decoded path, likewise.
    #[must_use]
    pub fn of_handshake(&self, path: &str, headers: &HeaderMap) -> (&dyn Dialect, Option<usize>) {
        self.find(|dialect| dialect.opens(path, headers))
    }

    fn find(&self, is_it: impl Fn(&dyn Dialect) -> bool) -> (&dyn Dialect, Option<usize>) {
        let mut others = self.others.iter().enumerate();
        match others.find(|(_, dialect)| is_it(&***dialect)) {
            Some((place, dialect)) => (&**dialect, Some(place)),
            None => (&*self.first, None),
        }
    }

    /// Makes frames, in the order of the places.
    #[must_use]
    pub fn encoders(&self) -> Vec<Encode> {
        let all = iter::once(&self.first).chain(&self.others);
        all.map(|dialect| dialect.encode()).collect()
    }
}
