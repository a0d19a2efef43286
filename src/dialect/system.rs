//! Chats of other systems than Django's: each has its own tables, tokens and paths, and an address
//! or a prefix of its own where they are served.
//!
//! A system shares with the chat of this process what is the process' own: limits, memory, metrics,
//! the security log and the drain. It is asked for nothing below a path that is not its own.

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use hyper::{Method, Request, body::Incoming};

use super::{matching, messenger, naebak};
use crate::{
    app::App,
    config::{Bind, Config, DialectName, Prefix},
    http::{Response, extract, ops::Probe, serve::Answered},
    limits::Throttled,
    telemetry::request::Trail,
};

/// A chat of another system, started.
#[async_trait]
pub trait System: Send + Sync {
    /// Answers a request, whose path is without the prefix of the mount. `root` is that prefix
    /// without its last `/`, or empty: it stands before paths in addresses that clients are shown.
    async fn answer(&self, app: &Arc<App>, root: &str, request: &extract::Request) -> Answered;

    /// Returns whether the body of a request to this percent-decoded path is read as it comes, by
    /// [`answer_stream`](Self::answer_stream), and not before the request is answered.
    fn takes_stream(&self, _: &Method, _: &str) -> bool {
        false
    }

    /// As [`answer`](Self::answer), for a request whose body is still to be read.
    async fn answer_stream(
        &self,
        app: &Arc<App>,
        root: &str,
        request: &extract::Request,
        _: Incoming,
    ) -> Answered {
        self.answer(app, root, request).await
    }

    /// Answers a handshake, and serves the socket in a task of its own.
    async fn open(&self, app: &Arc<App>, request: Request<Incoming>, trail: &Trail) -> Response;

    /// Answers a client that has reached a limit, before its request is looked at.
    fn throttled(&self, throttled: Throttled) -> Response;

    /// Returns the checks of `/readyz` for what the system needs.
    fn probes(&self) -> Vec<Probe>;

    /// Ends the system once no more connections are served: has every accepted write stored or
    /// refused, and sends what is owed to peers. Returns `false` if the database has not confirmed
    /// all writes; bounded by the caller.
    async fn leave(&self) -> bool;
}

/// Place where a system is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    pub name: DialectName,
    /// Its own address, if it has one.
    pub bind: Option<Bind>,
    /// Prefix of its paths on `server.bind`, if it has one. `/messenger/` serves `/messenger/ws` as
    /// `/ws`.
    pub prefix: Option<Prefix>,
}

/// A system and its place.
pub struct Mounted {
    pub mount: MountPoint,
    pub system: Box<dyn System>,
}

/// Why a system cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// What it needs is not up yet, or not reached: it may be tried again.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A setting or what was found makes no sense: trying again is of no use.
    #[error("{0}")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
}

/// Starts the systems that the settings mount, in their order. `app` has joined its layer.
///
/// # Errors
/// The first that cannot start.
pub async fn start(app: &Arc<App>) -> Result<Vec<Mounted>, (DialectName, SystemError)> {
    let mut started = Vec::new();
    for mount in app.config.mounts() {
        let name = mount.name;
        let system = match name {
            DialectName::Django => continue,
            DialectName::Messenger => messenger::start(app).await,
            DialectName::Matching => matching::start(app).await,
            DialectName::Naebak => naebak::start(app).await,
        };
        let system = system.map_err(|error| (name, error))?;
        started.push(Mounted { mount, system });
    }
    Ok(started)
}

impl MountPoint {
    /// Returns the path below the prefix, with its first `/`; `None` if it is not below it, or there
    /// is no prefix. `path` is as it was sent: an encoded prefix is nobody's.
    #[must_use]
    pub fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let prefix = self.prefix.as_ref()?.as_str();
        path.strip_prefix(prefix.trim_end_matches('/'))
            .filter(|rest| rest.starts_with('/'))
    }
}

impl Config {
    /// Returns where the systems are mounted that `dialects` names, in its order.
    #[must_use]
    pub fn mounts(&self) -> Vec<MountPoint> {
        self.dialects
            .iter()
            .filter_map(|&name| {
                let (bind, prefix) = self.place_of(name)?;
                Some(MountPoint { name, bind, prefix })
            })
            .collect()
    }
}
