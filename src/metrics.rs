//! Every metric in one list, where the doc comment is the help text Prometheus shows.
//!
//! Names follow Prometheus: `_total` for counters, seconds and bytes as units. Label values come from
//! the program's text, never from a client. The methods that count are in `metrics/events.rs`. Who serves the text is for [`crate::http`]; who calls
//! [`Metrics::upkeep`] now and then is for the server.

mod events;
mod family;
mod label;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use family::{Labelled, Metric};

pub use family::Held;

/// What a metric is, for dashboards and tests.
#[derive(Debug)]
pub struct MetricDoc {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets; empty for the other kinds.
    pub buckets: &'static [f64],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Bounds for durations, from what a cached answer takes to what a client gives up on.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// Bounds for the number of rows written at once.
const ROWS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// Declares [`Metrics`] and [`METRICS`]: `by` names the labels, `in` the bounds of a histogram.
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])*
        $field:ident: $ty:ty = $name:literal $(by $($label:literal),+)? $(in $buckets:ident)?;
    )*) => {
        /// Every metric of one server.
        pub struct Metrics {
            $($(#[doc = $help])* $field: $ty,)*
            handle: PrometheusHandle,
        }

        /// What each metric is, in the order of the list.
        pub const METRICS: &[MetricDoc] =
            &[$(metrics!(@doc $ty, $name, [$($help),*], [$($($label),+)?], $($buckets)?)),*];

        impl Metrics {
            fn register(recorder: metrics_exporter_prometheus::PrometheusRecorder) -> Self {
                let handle = recorder.handle();
                let recorder = Arc::new(recorder);
                Self {
                    $($field: <$ty as Metric>::new(
                        &recorder,
                        &metrics!(@doc $ty, $name, [$($help),*], [$($($label),+)?], $($buckets)?),
                    ),)*
                    handle,
                }
            }
        }
    };
    (@doc $ty:ty, $name:literal, [$($help:literal),*], [$($label:literal),*], $($buckets:ident)?) => {
        MetricDoc {
            name: $name,
            kind: <$ty as Metric>::KIND,
            labels: &[$($label),*],
            help: concat!($($help),*),
            buckets: metrics!(@buckets $($buckets)?),
        }
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

metrics! {
    /// Always 1; the label tells which version runs.
    build_info: Labelled<Gauge> = "chatferry_build_info" by "version";

    /// Connections open now, plain HTTP and WebSocket together.
    connections_open: Gauge = "chatferry_connections_open";
    /// Connections accepted.
    connections_accepted: Counter = "chatferry_connections_accepted_total";
    /// Connections answered with 503 because `server.max_connections` were open.
    connections_refused: Counter = "chatferry_connections_refused_total";

    /// TLS handshakes with clients that failed, by kind: `refused` by one side, `ended` by the
    /// client, `late`, or `crowded` out by newer ones.
    tls_failures: Labelled<Counter> = "chatferry_tls_handshake_failures_total" by "kind";
    /// Connections of trusted proxies that did not begin with a proper PROXY header.
    proxy_refused: Counter = "chatferry_proxy_headers_refused_total";
    /// Requests, frames and sockets refused by a limit, by the limit's name and by whom it counts.
    limited: Labelled<Counter, 2> = "chatferry_limited_total" by "limit", "by";

    /// WebSockets open now.
    ws_open: Gauge = "chatferry_ws_open";
    /// WebSocket handshakes accepted.
    ws_opened: Counter = "chatferry_ws_opened_total";
    /// WebSockets closed, by the close code; 1006 is one that ended without a close frame.
    ws_closed: Labelled<Counter> = "chatferry_ws_closed_total" by "code";
    /// Events not delivered because a slow client's queue was full; its socket is closed with 1013.
    ws_dropped: Counter = "chatferry_ws_dropped_events_total";
    /// Frames read from WebSockets.
    ws_received: Counter = "chatferry_ws_received_frames_total";
    /// Frames written to WebSockets.
    ws_sent: Counter = "chatferry_ws_sent_frames_total";

    /// REST requests answered, by route, method and status.
    rest_requests: Labelled<Counter, 3> = "chatferry_rest_requests_total" by "route", "method", "status";
    /// Seconds from a REST request's head to its answer, by route and method.
    rest_seconds: Labelled<Histogram, 2> = "chatferry_rest_request_seconds" by "route", "method" in SECONDS;

    /// Requests and handshakes of callers who must be known and are not, by the reason: `anonymous`,
    /// `invalid`, `expired`, `forged` (the page of another site made a browser ask), or
    /// `unavailable` if it could not be found out.
    auth_denied: Labelled<Counter> = "chatferry_auth_denied_total" by "why";
    /// What callers who are known may not do as who they are, by the action.
    policy_denied: Labelled<Counter> = "chatferry_policy_denied_total" by "action";
    /// Attempts to fetch the key set of `auth.jwt.jwks_url`, by outcome: `fetched` or `failed`.
    jwks_fetches: Labelled<Counter> = "chatferry_jwks_fetches_total" by "outcome";

    /// Messages stored.
    messages_stored: Counter = "chatferry_messages_stored_total";
    /// Rows written by one commit.
    commit_rows: Histogram = "chatferry_commit_rows" in ROWS;
    /// Seconds one commit took.
    commit_seconds: Histogram = "chatferry_commit_seconds" in SECONDS;
    /// What the database refused or did not answer, by kind.
    store_errors: Labelled<Counter> = "chatferry_store_errors_total" by "kind";

    /// Messages sent to the channel layer.
    layer_sent: Counter = "chatferry_layer_sent_total";
    /// Messages received from the channel layer.
    layer_received: Counter = "chatferry_layer_received_total";
    /// Messages the channel layer dropped because a channel was at capacity.
    layer_dropped: Counter = "chatferry_layer_dropped_total";
    /// Messages in the queues of others that expired before they were read.
    layer_expired: Counter = "chatferry_layer_expired_total";
    /// Messages delivered although they had waited for longer than `layer.expiry`.
    layer_late: Counter = "chatferry_layer_late_total";
    /// Messages from the channel layer that could not be used, by the reason.
    layer_rejected: Labelled<Counter> = "chatferry_layer_rejected_total" by "why";
    /// Events the channel layer did not take to other processes, by kind.
    layer_errors: Labelled<Counter> = "chatferry_layer_errors_total" by "kind";

    /// Requests passed on to Django, by the class of the answer's status.
    gateway_requests: Labelled<Counter> = "chatferry_gateway_requests_total" by "class";
    /// Seconds from a request's head to the head of Django's answer.
    gateway_seconds: Histogram = "chatferry_gateway_request_seconds" in SECONDS;
    /// Requests that Django did not answer, by kind: `connect`, `broken`, `late`, or `starved` if
    /// the client stopped sending; and answers that broke off: `interrupted`, or `idle` if nothing
    /// came any more.
    gateway_failures: Labelled<Counter> = "chatferry_gateway_failures_total" by "kind";
    /// WebSockets between clients and Django open now.
    gateway_ws_open: Gauge = "chatferry_gateway_ws_open";
    /// WebSockets closed because their conversation moved between Chatferry and Django.
    gateway_moved: Counter = "chatferry_gateway_moved_total";
    /// Answers and frames of Django that were compared with what Chatferry would have sent.
    shadow_compared: Counter = "chatferry_shadow_compared_total";
    /// Compared and not the same, by kind.
    shadow_mismatches: Labelled<Counter> = "chatferry_shadow_mismatch_total" by "kind";
    /// Not compared because too much waited to be compared, or one side could not be asked.
    shadow_skipped: Counter = "chatferry_shadow_skipped_total";

    /// Tasks of the runtime alive now: one for each connection, and a few more.
    tasks: Gauge = "chatferry_tasks";

    /// Errors that were our fault, by kind.
    errors: Labelled<Counter> = "chatferry_errors_total" by "kind";
}

impl Metrics {
    /// All at zero. Takes up to a few milliseconds the first time: the exporter calibrates its clock.
    #[must_use]
    pub fn new() -> Self {
        let builder = METRICS
            .iter()
            .fold(PrometheusBuilder::new(), |builder, doc| {
                // Fails for an empty list only, which the first arm keeps out.
                let name = Matcher::Full(doc.name.to_owned());
                match doc.buckets {
                    [] => builder,
                    bounds => builder
                        .set_buckets_for_metric(name, bounds)
                        .unwrap_or_default(),
                }
            });
        let metrics = Self::register(builder.build_recorder());
        metrics.build_info.with([env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds the durations recorded since the last call into their buckets. Until then each takes
    /// 8 bytes, so call it every few seconds: nobody need be reading `/metrics`.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
