//! What load balancers and Prometheus ask. `/healthz` is about the process alone; `/readyz` about
//! everything it needs.

use std::time::Duration;

use hyper::StatusCode;

use super::{Response, reply::ours};
use crate::{app::App, django::json, value::Value};

/// How long a dependency may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const JSON: &str = "application/json";

/// The process runs and answers.
#[must_use]
pub fn healthz() -> Response {
    status(StatusCode::OK, &[("status", "ok")])
}

/// Whether requests would be served now: 503 names what keeps them from it.
pub async fn readyz(app: &App) -> Response {
    let store = tokio::time::timeout(PATIENCE, app.store.ping()).await;
    let layer = tokio::time::timeout(PATIENCE, app.layer.ping()).await;
    let slow = || "no answer within 2 s".to_owned();
    let store = store.map_or_else(|_| Err(slow()), |answer| answer.map_err(|e| e.to_string()));
    let layer = layer.map_or_else(|_| Err(slow()), |answer| answer.map_err(|e| e.to_string()));
    let draining = app.drain.has_begun();
    let ready = store.is_ok() && layer.is_ok() && !draining;
    let word = |part: &Result<(), String>| part.clone().err().unwrap_or_else(|| "ok".into());
    let overall = match (ready, draining) {
        (true, _) => "ok",
        (false, true) => "draining",
        (false, false) => "unavailable",
    };
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    status(
        code,
        &[
            ("status", overall),
            ("store", &word(&store)),
            ("layer", &word(&layer)),
        ],
    )
}

/// What `/readyz` says of a process that is still starting.
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
