//! The chats of other systems that are served beside the first, and which of them a request is for.

use std::{str::FromStr, sync::Arc};

use futures_util::future::join_all;
use hyper::{Request, Uri, body::Incoming};

use crate::{
    app::App,
    dialect::{Mounted, System},
    http::{Response, extract, ops::Probe, serve::serve},
    telemetry::request::Trail,
    ws::handshake,
};

/// Place of a system among those that are mounted; on requests that came to its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance(pub usize);

/// The systems that are mounted, in their order.
pub struct Mounts(Vec<Mounted>);

/// The system that a request is for.
pub struct MountedFor<'a> {
    pub system: &'a dyn System,
    /// Prefix of the mount without its last `/`; empty if it came to the system's own address.
    root: String,
}

impl Mounts {
    /// Serves these.
    #[must_use]
    pub fn new(mounted: Vec<Mounted>) -> Self {
        Mounts(mounted)
    }

    /// Returns the systems, each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (Entrance, &Mounted)> {
        let places = (0..).map(Entrance);
        places.zip(&self.0)
    }

    /// Returns the system that a request is for, and takes its prefix from the request's path.
    pub fn find(&self, request: &mut Request<Incoming>) -> Option<MountedFor<'_>> {
        if let Some(&Entrance(place)) = request.extensions().get() {
            let system = &*self.0.get(place)?.system;
            let root = String::new();
            return Some(MountedFor { system, root });
        }
        self.0.iter().find_map(|mounted| {
            let uri = request.uri();
            let rest = mounted.mount.below(uri.path())?;
            let size = uri.path().len() - rest.len();
            let target = uri.path_and_query()?.as_str();
            let root = target.get(..size)?.to_owned();
            let below = Uri::from_str(target.get(size..)?).ok()?;
            *request.uri_mut() = below;
            let system = &*mounted.system;
            Some(MountedFor { system, root })
        })
    }

    /// Returns the checks of `/readyz` for what the systems need.
    pub fn probes(&self) -> impl Iterator<Item = Probe> {
        self.0.iter().flat_map(|mounted| mounted.system.probes())
    }

    /// Ends the systems. Returns `false` if not all writes are known to be stored.
    pub async fn leave(&self) -> bool {
        let all = self.0.iter().map(|mounted| mounted.system.leave());
        join_all(all).await.into_iter().all(|written| written)
    }
}

impl MountedFor<'_> {
    /// Answers a request; a handshake too.
    pub async fn answer(
        self,
        app: &Arc<App>,
        request: Request<Incoming>,
        trail: &Trail,
    ) -> Response {
        let MountedFor { system, root } = self;
        if handshake::wants_upgrade(request.headers()) {
            return system.open(app, request, trail).await;
        }
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        if system.takes_stream(&method, head.uri.path()) {
            let read = async { extract::Request::without_body(head) };
            let answer = async |request: &extract::Request| {
                system.answer_stream(app, &root, request, body).await
            };
            serve(app, &method, read, answer, trail).await
        } else {
            let read = extract::Request::read(head, body, &app.bodies);
            let answer =
                async |request: &extract::Request| system.answer(app, &root, request).await;
            serve(app, &method, read, answer, trail).await
        }
    }
}
