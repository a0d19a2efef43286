//! What load balancers and Prometheus ask. `/healthz` is about the process alone; `/readyz` about
//! everything it needs.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::{Response, reply::ours};
use crate::{app::App, python::json, value::Value};

/// Longest time for a dependency to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const JSON: &str = "application/json";

/// The process runs and answers.
#[must_use]
pub fn healthz() -> Response {
    status(StatusCode::OK, &[("status", "ok")])
}

/// Checks whether requests would be served now: 503 names what keeps them from it. `has_place` is
/// whether there is a connection left for them. A Django behind the gateway is reported, and keeps no
/// request from being served here.
pub async fn readyz(app: &App, has_place: bool) -> Response {
    let upstream = async {
        match &app.gateway {
            Some(gateway) => Some(timeout(PATIENCE, gateway.ping()).await),
            None => None,
        }
    };
    let (store, layer, upstream) = tokio::join!(
        timeout(PATIENCE, app.store.ping()),
        timeout(PATIENCE, app.layer.ping()),
        upstream,
    );
    let slow = || "no answer within 2 s".to_owned();
    let store = store.map_or_else(|_| Err(slow()), |answer| answer.map_err(|e| e.to_string()));
    let failed = |kind| Err(format!("the last commit has failed: {kind}"));
    let store = store.and_then(|()| app.store.committer().failure().map_or(Ok(()), failed));
    let layer = layer.map_or_else(|_| Err(slow()), |answer| answer.map_err(|e| e.to_string()));
    let draining = app.drain.has_begun();
    let repairs = app.hub.behind().map_or(Ok(()), Err);
    let panicked = |name| format!("{name} has panicked");
    let tasks = app.vital.failed().map(panicked).map_or(Ok(()), Err);
    let workers = app.host.as_ref().map_or(Ok(()), |host| host.ping());
    let well = [&store, &layer, &repairs, &tasks, &workers]
        .iter()
        .all(|part| part.is_ok());
    let word = |part: &Result<(), String>| part.clone().err().unwrap_or_else(|| "ok".into());
    let (code, overall) = match (draining, well, has_place) {
        (true, ..) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (_, false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (.., false) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        _ => (StatusCode::OK, "ok"),
    };
    let (store, layer) = (word(&store), word(&layer));
    let mut fields = vec![("status", overall), ("store", &*store), ("layer", &*layer)];
    // Without Django the conversations of this side are served all the same.
    let upstream = upstream.map(|answer| word(&answer.unwrap_or_else(|_| Err(slow()))));
    if let Some(upstream) = &upstream {
        fields.push(("upstream", upstream));
    }
    // Faults of the process itself are named only then.
    let named = [
        ("repairs", &repairs),
        ("tasks", &tasks),
        ("workers", &workers),
    ];
    for (name, part) in named {
        if let Err(why) = part {
            fields.push((name, why));
        }
    }
    status(code, &fields)
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

/// The metrics in Prometheus' text format.
#[must_use]
pub fn metrics(app: &App) -> Response {
    ours(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.render(),
    )
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
