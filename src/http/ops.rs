//! The endpoints of load balancers, Prometheus and operators. `/healthz` is about the process alone;
//! `/readyz` about everything it needs; `/status` shows the metrics to people.

use std::{fmt::Display, time::Duration};

use futures_util::future::{BoxFuture, join_all};
use hyper::StatusCode;
use tokio::time::timeout;

use super::{
    Response,
    page::page,
    reply::{self, ours},
};
use crate::{app::App, config::Config, python::json, value::Value};

/// The endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Healthz,
    Readyz,
    Metrics,
    Status,
}

impl Endpoint {
    /// Returns the endpoint of a percent-decoded path, if it is one that these settings show.
    #[must_use]
    pub fn of(path: &str, config: &Config) -> Option<Self> {
        match path {
            "/healthz" => Some(Endpoint::Healthz),
            "/readyz" => Some(Endpoint::Readyz),
            "/metrics" if config.shows_metrics() => Some(Endpoint::Metrics),
            "/status" if config.shows_status() => Some(Endpoint::Status),
            _ => None,
        }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::Healthz => "/healthz",
            Endpoint::Readyz => "/readyz",
            Endpoint::Metrics => "/metrics",
            Endpoint::Status => "/status",
        }
    }

    /// Returns the name of the route in the metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        &self.path()[1..]
    }

    /// Answers a request; `has_place` is as [`readyz`] has it.
    pub async fn answer(
        self,
        app: &App,
        probes: &[Probe],
        method: &str,
        has_place: bool,
    ) -> Response {
        match self {
            _ if !matches!(method, "GET" | "HEAD") => reply::read_only(),
            Endpoint::Healthz => healthz(),
            Endpoint::Readyz => readyz(app, probes, has_place).await,
            Endpoint::Metrics => metrics(app),
            Endpoint::Status => status_page(),
        }
    }
}

/// Longest time for a dependency to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const STATUS: &str = include_str!("status.html");

const JSON: &str = "application/json";

/// Says that the process runs and answers.
#[must_use]
pub fn healthz() -> Response {
    status(StatusCode::OK, &[("status", "ok")])
}

/// A dependency that `/readyz` asks besides the store and the layer.
pub struct Probe {
    pub name: &'static str,
    /// Requests are not served without it. Such a one is named only if it fails; any other is
    /// always reported, and its failure keeps no request from being served here.
    pub is_needed: bool,
    pub ping: Ping,
}

/// Asks a dependency for a sign of life; the error says why there is none.
pub type Ping = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Checks whether requests would be served now: 503 names what keeps them from it. `has_place` is
/// whether there is a connection left for them.
pub async fn readyz(app: &App, probes: &[Probe], has_place: bool) -> Response {
    let (chat, answers) = tokio::join!(
        ChatHealth::of(app),
        join_all(probes.iter().map(|probe| in_time((probe.ping)()))),
    );
    let panicked = |name| format!("{name} has panicked");
    let tasks = app.vital.failed().map(panicked).map_or(Ok(()), Err);
    let mut parts = vec![("store", chat.store), ("layer", chat.layer)];
    // Faults of the process itself are named only then.
    let mut own = vec![("repairs", chat.repairs), ("tasks", tasks)];
    let mut is_well = parts.iter().chain(&own).all(|(_, part)| part.is_ok());
    for (probe, answer) in probes.iter().zip(answers) {
        if probe.is_needed {
            is_well &= answer.is_ok();
            own.push((probe.name, answer));
        } else {
            parts.push((probe.name, answer));
        }
    }
    parts.extend(own.into_iter().filter(|(_, part)| part.is_err()));
    let (code, overall) = match (app.drain.has_begun(), is_well, has_place) {
        (true, ..) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (_, false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (.., false) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        _ => (StatusCode::OK, "ok"),
    };
    let mut fields = vec![("status", overall)];
    let words = parts.iter().map(|(name, part)| match part {
        Ok(()) => (*name, "ok"),
        Err(why) => (*name, &**why),
    });
    fields.extend(words);
    status(code, &fields)
}

/// State of a chat by its parts. An error is the reason, in words, why the part keeps it from
/// serving.
pub struct ChatHealth {
    pub store: Result<(), String>,
    pub layer: Result<(), String>,
    pub repairs: Result<(), String>,
}

impl ChatHealth {
    /// Asks the store and the layer of a chat.
    pub async fn of(app: &App) -> Self {
        let (store, layer) = tokio::join!(in_time(app.store.ping()), in_time(app.layer.ping()));
        let failed = |kind| Err(format!("the last commit has failed: {kind}"));
        let groups = app.store_with_groups.kinds();
        let of_groups = || groups.and_then(|kinds| kinds.groups.committer().failure());
        let failure = app.store.committer().failure().or_else(of_groups);
        ChatHealth {
            store: store.and_then(|()| failure.map_or(Ok(()), failed)),
            layer,
            repairs: app.hub.behind().map_or(Ok(()), Err),
        }
    }
}

/// Waits for a dependency, but not longer than is useful to the caller.
async fn in_time<E: Display>(ping: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match timeout(PATIENCE, ping).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer within 2 s".to_owned()),
    }
}

/// Returns the answer of `/readyz` while the process is starting.
#[must_use]
pub fn starting() -> Response {
    status(
        StatusCode::SERVICE_UNAVAILABLE,
        &[
            ("status", "starting"),
            ("store", "not open yet"),
            ("layer", "not open yet"),
        ],
    )
}

/// Returns the metrics in Prometheus' text format.
#[must_use]
pub fn metrics(app: &App) -> Response {
    ours(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.render(),
    )
}

/// Returns the page that shows the metrics to people.
#[must_use]
pub fn status_page() -> Response {
    page(STATUS)
}

fn status(code: StatusCode, fields: &[(&str, &str)]) -> Response {
    let fields = fields
        .iter()
        .map(|(name, word)| ((*name).into(), (*word).into()))
        .collect();
    let mut body = Vec::new();
    json::write_utf8(&mut body, &Value::Map(fields));
    body.push(b'\n');
    ours(code, JSON, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bind;

    #[test]
    fn metrics_with_an_address_of_their_own_are_not_here() {
        let mut config = Config::of(&[]);
        let found = Endpoint::of("/metrics", &config);
        assert_eq!(found, Some(Endpoint::Metrics));
        config.metrics.bind = Some(Bind::any(9000));
        assert_eq!(Endpoint::of("/metrics", &config), None);
    }

    #[test]
    fn the_status_is_where_metrics_are_and_takes_no_path_from_django() {
        let is_shown = |flags: &[(&str, &str)]| {
            let config = Config::of(flags);
            Endpoint::of("/status", &config).is_some()
        };
        assert!(is_shown(&[]));
        for setting in [
            ("auth.identity", "jwt"),
            ("metrics.public", "no"),
            ("gateway.upstream", "http://127.0.0.1:1"),
            ("host.http_routes", "/"),
        ] {
            assert!(!is_shown(&[setting]), "{setting:?}");
        }
    }

    #[test]
    fn with_an_identity_metrics_are_there_only_if_that_is_set() {
        let is_shown = |flags: &[(&str, &str)]| {
            let config = Config::of(flags);
            Endpoint::of("/metrics", &config).is_some()
        };
        let identity = ("auth.identity", "jwt");
        assert!(is_shown(&[]) && !is_shown(&[identity]));
        assert!(is_shown(&[identity, ("metrics.public", "yes")]));
        assert!(!is_shown(&[("metrics.public", "no")]));
    }
}
