//! What can happen, and which metrics move when it does. One line at the place where it happens is
//! all that the rest of the program knows of metrics.

use std::time::Duration;

use super::{Held, Metrics, label};

impl Metrics {
    /// A connection was accepted; it counts as open for as long as the result lives.
    pub fn connection_accepted(&self) -> Held {
        self.connections_accepted.increment(1);
        Held::new(&self.connections_open)
    }

    /// A connection was answered with 503 because too many were open.
    pub fn connection_refused(&self) {
        self.connections_refused.increment(1);
    }

    /// A client's TLS handshake failed; `kind` is the failure's own word.
    pub fn tls_failure(&self, kind: &'static str) {
        self.tls_failures.with([kind]).increment(1);
    }

    /// A trusted proxy did not say whom it speaks for.
    pub fn proxy_refused(&self) {
        self.proxy_refused.increment(1);
    }

    /// A client was refused something by this limit, counted `by` address or user.
    pub fn limited(&self, limit: &'static str, by: &'static str) {
        self.limited.with([limit, by]).increment(1);
    }

    pub fn socket_opened(&self) {
        self.ws_opened.increment(1);
        self.ws_open.increment(1);
    }

    /// A socket [opened](Self::socket_opened) before has ended; 1006 without a close frame.
    pub fn socket_closed(&self, code: u16) {
        self.ws_closed.with([label::close_code(code)]).increment(1);
        self.ws_open.decrement(1);
    }

    pub fn frame_in(&self) {
        self.ws_received.increment(1);
    }

    pub fn frames_out(&self, frames: usize) {
        self.ws_sent.increment(frames as u64);
    }

    /// An event found the queue of a socket full.
    pub fn slow_consumer(&self) {
        self.ws_dropped.increment(1);
    }

    /// A request was answered. `route` is the name of the route, not the path asked for; `took` is
    /// from the request's head to the answer.
    pub fn rest_request(&self, route: &'static str, method: &str, status: u16, took: Duration) {
        let method = label::method(method);
        self.rest_requests
            .with([route, method, label::status(status)])
            .increment(1);
        self.rest_seconds
            .with([route, method])
            .record(took.as_secs_f64());
    }

    /// Somebody who must be known is not; `why` is the refusal's own word.
    pub fn auth_denied(&self, why: &'static str) {
        self.auth_denied.with([why]).increment(1);
    }

    /// Somebody may not do something as who they are.
    pub fn policy_denied(&self, action: &'static str) {
        self.policy_denied.with([action]).increment(1);
    }

    /// The key set of the tokens was fetched, or could not be.
    pub fn jwks_fetched(&self, fetched: bool) {
        let outcome = if fetched { "fetched" } else { "failed" };
        self.jwks_fetches.with([outcome]).increment(1);
    }

    pub fn message_stored(&self) {
        self.messages_stored.increment(1);
    }

    /// One transaction wrote `rows` rows.
    pub fn commit(&self, rows: usize, took: Duration) {
        self.commit_rows
            .record(u32::try_from(rows).unwrap_or(u32::MAX));
        self.commit_seconds.record(took.as_secs_f64());
    }

    /// The database failed; `kind` is the store error's own word for how.
    pub fn store_error(&self, kind: &'static str) {
        self.store_errors.with([kind]).increment(1);
    }

    pub fn layer_sent(&self) {
        self.layer_sent.increment(1);
    }

    pub fn layer_received(&self) {
        self.layer_received.increment(1);
    }

    /// A channel was at capacity.
    pub fn layer_dropped(&self) {
        self.layer_dropped.increment(1);
    }

    /// So many messages in the queues of others had expired.
    pub fn layer_expired(&self, messages: usize) {
        self.layer_expired.increment(messages as u64);
    }

    /// A message had expired when it was read.
    pub fn layer_late(&self) {
        self.layer_late.increment(1);
    }

    /// A message of the layer could not be used.
    pub fn layer_rejected(&self, why: &'static str) {
        self.layer_rejected.with([why]).increment(1);
    }

    /// The layer failed; `kind` is the layer error's own word for how.
    pub fn layer_error(&self, kind: &'static str) {
        self.layer_errors.with([kind]).increment(1);
    }

    /// Django's answer to a request was passed on, or a failure in its place.
    pub fn gateway_request(&self, status: u16, took: Duration) {
        self.gateway_requests
            .with([label::status_class(status)])
            .increment(1);
        self.gateway_seconds.record(took.as_secs_f64());
    }

    /// Django gave no answer; `kind` is the failure's own word.
    pub fn gateway_failure(&self, kind: &'static str) {
        self.gateway_failures.with([kind]).increment(1);
    }

    /// A socket is open between a client and Django for as long as the result lives.
    pub fn gateway_socket(&self) -> Held {
        Held::new(&self.gateway_ws_open)
    }

    /// A socket was closed because its conversation moved.
    pub fn gateway_moved(&self) {
        self.gateway_moved.increment(1);
    }

    /// Something of Django's was compared with ours; `mismatch` is the kind of the difference.
    pub fn shadow_compared(&self, mismatch: Option<&'static str>) {
        self.shadow_compared.increment(1);
        if let Some(kind) = mismatch {
            self.shadow_mismatches.with([kind]).increment(1);
        }
    }

    /// Something could not be compared.
    pub fn shadow_skipped(&self) {
        self.shadow_skipped.increment(1);
    }

    /// So many tasks are alive.
    pub fn tasks(&self, alive: usize) {
        self.tasks.set(u32::try_from(alive).unwrap_or(u32::MAX));
    }

    /// Something failed that no client could help; `kind` is the error's own word for it.
    pub fn error(&self, kind: &'static str) {
        self.errors.with([kind]).increment(1);
    }
}
