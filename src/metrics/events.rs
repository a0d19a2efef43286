//! The events that move metrics. One line at the place where it happens is
//! all that the rest of the program knows of metrics.

use std::time::Duration;

use super::{
    Asked, Call, ClockStep, EventType, Frames, HeldGauge, HostFailure, Level, Metrics, Outcome,
    ReloadOutcome, RequestOutcome, SecurityEvent, Sender, Word as _, label, process::Process,
    since_1970, small,
};

impl Metrics {
    /// Notes that a connection was accepted; it counts as open for as long as the result lives.
    pub fn connection_accepted(&self) -> HeldGauge {
        self.connections_accepted.increment(1);
        HeldGauge::new(&self.connections_open)
    }

    /// Notes that a connection was answered with 503 because too many were open.
    pub fn connection_refused(&self) {
        self.connections_refused.increment(1);
    }

    /// Notes that a client's TLS handshake failed; `kind` is the failure's own word.
    pub fn tls_failure(&self, kind: &'static str) {
        self.tls_failures.with([kind]).increment(1);
    }

    /// Notes that a trusted proxy did not say whom it speaks for.
    pub fn proxy_refused(&self) {
        self.proxy_refused.increment(1);
    }

    /// Notes that a client was refused something by this limit, counted `by` address or user.
    pub fn limited(&self, limit: &'static str, by: &'static str) {
        self.limited.with([limit, by]).increment(1);
    }

    pub fn socket_opened(&self) {
        self.ws_opened.increment(1);
        self.ws_open.increment(1);
    }

    /// Notes that a socket [opened](Self::socket_opened) before has ended; 1006 without a close
    /// frame.
    pub fn socket_closed(&self, code: u16, lived: Duration) {
        self.ws_closed.with([label::close_code(code)]).increment(1);
        self.ws_life.record(lived.as_secs_f64());
        self.ws_open.decrement(1);
    }

    /// Frames were read from a socket; they are noted no more.
    pub fn frames_in(&self, frames: &mut Frames) {
        for (kind, frames, bytes) in frames.take() {
            self.ws_received.of(kind).increment(frames);
            self.ws_received_bytes.of(kind).increment(bytes);
        }
    }

    /// Frames were written to a socket; they are noted no more.
    pub fn frames_out(&self, frames: &mut Frames) {
        for (kind, frames, bytes) in frames.take() {
            self.ws_sent.of(kind).increment(frames);
            self.ws_sent_bytes.of(kind).increment(bytes);
        }
    }

    /// Notes that a client sends more than its budget; `outcome` is `slowed` or `closed`.
    pub fn flood(&self, outcome: &'static str) {
        self.ws_floods.with([outcome]).increment(1);
    }

    /// Notes that a client asked for this on a socket.
    pub fn socket_asked(&self, asked: Asked) {
        self.ws_asked.of(asked).increment(1);
    }

    /// Notes that an event was put into the queues of this many `sockets`, of which the longest now
    /// holds this many frames.
    pub fn delivered(&self, event: EventType, sockets: usize, longest: usize) {
        if sockets > 0 {
            self.delivered.of(event).increment(sockets as u64);
            self.ws_queue.record(small(longest));
        }
    }

    /// Notes that an event found the queues of this many sockets full.
    pub fn slow_consumers(&self, sockets: usize) {
        if sockets > 0 {
            self.ws_dropped.increment(sockets as u64);
        }
    }

    /// Events of a conversation wait for a repair for as long as the result lives.
    pub fn repair_open(&self) -> HeldGauge {
        HeldGauge::new(&self.repairs_open)
    }

    /// Notes that a repair could not be done.
    pub fn repair_given_up(&self) {
        self.repairs_given_up.increment(1);
    }

    /// Notes that a repair begins again with the first page.
    pub fn repair_begins_again(&self) {
        self.repairs_begun_again.increment(1);
    }

    /// Notes that a repair passed over this many rows.
    pub fn rows_unreadable(&self, rows: usize) {
        self.rows_unreadable.increment(rows as u64);
    }

    /// Notes that this many messages and read marks were found before their events came.
    pub fn swept(&self, messages: usize, marks: usize) {
        self.messages_swept.increment(messages as u64);
        self.marks_swept.increment(marks as u64);
    }

    /// Notes that of this many messages and read marks of Chatferry processes no event has come.
    pub fn unheard(&self, messages: usize, marks: usize) {
        self.messages_unheard.increment(messages as u64);
        self.marks_unheard.increment(marks as u64);
    }

    /// Notes that there was too much to compare it all.
    pub fn sweep_cut_short(&self) {
        self.sweeps_cut.increment(1);
    }

    /// Notes that a read mark was delivered that only the store knew of.
    pub fn mark_repaired(&self) {
        self.marks_repaired.increment(1);
    }

    /// Notes that a message was delivered that only the store knew of.
    pub fn message_repaired(&self) {
        self.messages_repaired.increment(1);
    }

    /// Notes that a request was answered. `route` is the name of the route, not the path asked for;
    /// `took` is from the request's head to the answer.
    pub fn rest_request(&self, route: &'static str, method: &str, status: u16, took: Duration) {
        let method = label::method(method);
        self.rest_requests
            .with([route, method, label::status(status)])
            .increment(1);
        self.rest_seconds
            .with([route, method])
            .record(took.as_secs_f64());
    }

    /// Notes that somebody is known, by this `auth.identity`.
    pub fn auth_admitted(&self, identity: &'static str) {
        self.auth_admitted.with([identity]).increment(1);
    }

    /// Notes that somebody who must be known is not; `why` is the refusal's own word.
    pub fn auth_denied(&self, why: &'static str) {
        self.auth_denied.with([why]).increment(1);
    }

    /// Notes that something has happened that the security log tells of.
    pub fn security_event(&self, event: SecurityEvent) {
        self.security_events.of(event).increment(1);
    }

    /// Notes that somebody may not do something as who they are.
    pub fn policy_denied(&self, action: &'static str) {
        self.policy_denied.with([action]).increment(1);
    }

    /// Notes that the key set of the tokens was fetched, or could not be.
    pub fn jwks_fetched(&self, fetched: bool) {
        let outcome = if fetched { "fetched" } else { "failed" };
        self.jwks_fetches.with([outcome]).increment(1);
    }

    pub fn message_stored(&self) {
        self.messages_stored.increment(1);
    }

    /// Notes that a sink has confirmed events.
    pub fn events_published(&self, sink: &'static str, events: usize) {
        self.events_published.with([sink]).increment(events as u64);
    }

    /// Notes that events could not be published to a sink.
    pub fn events_failed(&self, sink: &'static str) {
        self.events_failed.with([sink]).increment(1);
    }

    /// Notes that an event was put aside as a dead letter.
    pub fn event_died(&self, sink: &'static str) {
        self.events_died.with([sink]).increment(1);
    }

    /// Notes that an event of another service was consumed.
    pub fn event_consumed(&self, outcome: &'static str) {
        self.events_consumed.with([outcome]).increment(1);
    }

    /// Shows how many events wait for a sink, for how long the oldest has, and its dead letters.
    pub fn events_backlog(&self, sink: &'static str, waiting: i64, lag: Duration, dead: i64) {
        #[expect(clippy::cast_precision_loss, reason = "no more than 2^52 events wait")]
        let number = |count: i64| count as f64;
        self.events_backlog.with([sink]).set(number(waiting));
        self.events_lag.with([sink]).set(lag.as_secs_f64());
        self.events_dead.with([sink]).set(number(dead));
    }

    /// Notes that an uploaded file of this many bytes is stored.
    pub fn attachment_stored(&self, bytes: u64) {
        self.attachments_stored.increment(1);
        self.attachment_bytes.increment(bytes);
    }

    /// Notes that this many files were deleted which no message has.
    pub fn attachments_deleted(&self, files: usize) {
        self.attachments_deleted.increment(small(files).into());
    }

    /// Notes that the clock was found behind the last message's time.
    pub fn clock_stepped(&self, step: ClockStep) {
        self.clock_steps.of(step).increment(1);
    }

    /// Notes that one transaction wrote `rows` rows, of which the first had `waited`.
    pub fn commit(&self, rows: usize, waited: Duration, took: Duration) {
        self.commit_rows.record(small(rows));
        self.commit_wait.record(waited.as_secs_f64());
        self.commit_seconds.record(took.as_secs_f64());
    }

    /// Notes that this many connections may read at once.
    pub fn store_pool(&self, size: usize) {
        self.store_pool_size.set(small(size));
    }

    /// Notes that a read got a connection after it had `waited`; the connection is busy for as long
    /// as the result lives.
    pub fn store_reads(&self, waited: Duration) -> HeldGauge {
        self.store_wait.record(waited.as_secs_f64());
        HeldGauge::new(&self.store_pool_busy)
    }

    /// Notes that a read is done, or has failed.
    pub fn store_read(&self, took: Duration) {
        self.store_read.record(took.as_secs_f64());
    }

    /// Notes that a connection to the database was opened, or could not be.
    pub fn store_connected(&self, outcome: Outcome) {
        self.store_connections.of(outcome).increment(1);
    }

    /// Notes that the database failed; `kind` is the store error's own word for how.
    pub fn ws_origin_refused(&self) {
        self.ws_origins_refused.increment(1);
    }

    pub fn store_error(&self, kind: &'static str) {
        self.store_errors.with([kind]).increment(1);
    }

    pub fn layer_sent(&self) {
        self.layer_sent.increment(1);
    }

    pub fn layer_received(&self) {
        self.layer_received.increment(1);
    }

    /// Notes that an event took this many seconds from this sender's clock to the queues of our
    /// sockets. Clocks that differ can make that less than nothing.
    pub fn layer_lag(&self, sender: Sender, seconds: f64) {
        self.layer_lag.of(sender).record(seconds.max(0.0));
    }

    /// Events may have been missed; the store is read again.
    pub fn layer_gap(&self) {
        self.layer_gaps.increment(1);
    }

    /// Notes that this many events wait to be sent, and this many did before.
    pub fn layer_owed(&self, before: usize, now: usize) {
        if now >= before {
            self.layer_owed.increment(small(now - before));
        } else {
            self.layer_owed.decrement(small(before - now));
        }
    }

    /// Notes that this many events are sent again.
    pub fn layer_resent(&self, events: usize) {
        self.layer_resent.increment(events as u64);
    }

    /// Notes that this many events are not sent any more.
    pub fn layer_given_up(&self, events: usize) {
        self.layer_given_up.increment(events as u64);
    }

    /// Notes that there are this many Redis hosts more, of one layer.
    pub fn redis_hosts(&self, hosts: usize) {
        self.redis_hosts.increment(small(hosts));
    }

    /// Notes that a Redis host was connected, or could not be.
    pub fn redis_connected(&self, outcome: Outcome) {
        self.redis_connections.of(outcome).increment(1);
    }

    /// Notes that a Redis host is connected for as long as the result lives.
    pub fn redis_up(&self) -> HeldGauge {
        HeldGauge::new(&self.redis_hosts_up)
    }

    /// Redis has answered what was sent together.
    pub fn redis_round_trip(&self, took: Duration) {
        self.redis_seconds.record(took.as_secs_f64());
    }

    /// Redis refused a command, or did not answer; `kind` is the layer error's own word for how.
    pub fn redis_error(&self, kind: &'static str) {
        self.redis_errors.with([kind]).increment(1);
    }

    /// Notes that a channel was at capacity.
    pub fn layer_dropped(&self) {
        self.layer_dropped.increment(1);
    }

    /// Notes that this many messages in the queues of others had expired.
    pub fn layer_expired(&self, messages: usize) {
        self.layer_expired.increment(messages as u64);
    }

    /// Notes that a message had expired when it was read.
    pub fn layer_late(&self) {
        self.layer_late.increment(1);
    }

    /// Notes that a message of the layer could not be used.
    pub fn layer_rejected(&self, why: &'static str) {
        self.layer_rejected.with([why]).increment(1);
    }

    /// Notes that the layer failed; `kind` is the layer error's own word for how.
    pub fn layer_error(&self, kind: &'static str) {
        self.layer_errors.with([kind]).increment(1);
    }

    /// Notes that django's answer to a request was passed on, or a failure in its place. `route` is
    /// the name of the route, not the path asked for.
    pub fn gateway_request(&self, route: &'static str, status: u16, took: Duration) {
        self.gateway_requests
            .with([label::status_class(status)])
            .increment(1);
        self.gateway_seconds
            .with([route])
            .record(took.as_secs_f64());
    }

    /// Notes that these percentages of the settings are in force.
    pub fn gateway_shares(&self, rollout_percent: u8, shadow_percent: u8) {
        self.gateway_rollout.set(rollout_percent);
        self.gateway_shadow.set(shadow_percent);
    }

    /// Notes that django gave no answer; `kind` is the failure's own word.
    pub fn gateway_failure(&self, kind: &'static str) {
        self.gateway_failures.with([kind]).increment(1);
    }

    /// Notes that a socket is open between a client and Django for as long as the result lives.
    pub fn gateway_socket(&self) -> HeldGauge {
        self.gateway_ws_opened.increment(1);
        HeldGauge::new(&self.gateway_ws_open)
    }

    /// Notes that a socket was closed because its conversation moved.
    pub fn gateway_moved(&self) {
        self.gateway_moved.increment(1);
    }

    /// Notes that something of Django's was compared with ours; `mismatch` is the kind of the
    /// difference.
    pub fn shadow_compared(&self, mismatch: Option<&'static str>) {
        self.shadow_compared.increment(1);
        if let Some(kind) = mismatch {
            self.shadow_mismatches.with([kind]).increment(1);
        }
    }

    /// Notes that something could not be compared.
    pub fn shadow_skipped(&self) {
        self.shadow_skipped.increment(1);
    }

    /// Notes that a worker of a hosted application has joined.
    pub fn host_worker_joined(&self) {
        self.host_workers.increment(1);
    }

    /// Notes that a worker that had joined has left; `why` is the error's own word.
    pub fn host_worker_left(&self, why: &'static str) {
        self.host_workers.decrement(1);
        self.host_workers_left.with([why]).increment(1);
    }

    /// Notes that somebody was not let in as a worker; `why` is the error's own word.
    pub fn host_worker_refused(&self, why: &'static str) {
        self.host_workers_left.with([why]).increment(1);
    }

    /// Notes that a worker has ended and is started again.
    pub fn host_worker_restarted(&self) {
        self.host_restarts.increment(1);
    }

    /// Notes that a hosted socket is open for as long as the result lives.
    pub fn host_socket(&self) -> HeldGauge {
        HeldGauge::new(&self.host_open)
    }

    /// Notes that a hosted socket is at this level for as long as the result lives.
    pub fn host_level(&self, level: Level) -> HeldGauge {
        HeldGauge::new(self.host_levels.of(level))
    }

    /// Notes that a socket of this class is at this level for as long as the result lives; the name
    /// is empty while the class is not known.
    pub fn host_class(&self, class: &str, level: Level) -> HeldGauge {
        HeldGauge::new(&self.host_classes.with(class, [level.text()]))
    }

    /// Notes that a call is under way for as long as the result lives.
    pub fn host_call_open(&self) -> HeldGauge {
        HeldGauge::new(&self.host_calls_open)
    }

    /// Notes that a consumer of this class has raised; the name is empty if none was reached.
    pub fn host_exception(&self, class: &str) {
        self.host_failures.of(HostFailure::Exception).increment(1);
        self.host_exceptions.with(class, []).increment(1);
    }

    /// Notes that the state of a socket is kept.
    pub fn host_state_kept(&self, bytes: usize) {
        self.host_state_bytes.increment(small(bytes));
    }

    /// Notes that the state of a socket is kept no longer.
    pub fn host_state_gone(&self, bytes: usize) {
        self.host_state_bytes.decrement(small(bytes));
    }

    /// Notes what has become of a replacement of all workers.
    pub fn host_reload(&self, outcome: ReloadOutcome) {
        self.host_reloads.of(outcome).increment(1);
    }

    /// Notes that a call has waited this long for its turn.
    pub fn host_call(&self, call: Call, waited: Duration) {
        self.host_waited.of(call).record(waited.as_secs_f64());
    }

    /// Notes that a worker took this long for a call.
    pub fn host_ran(&self, call: Call, took: Duration) {
        self.host_ran.of(call).record(took.as_secs_f64());
    }

    /// Notes that a hosted application is answering a request for as long as the result lives.
    pub fn host_request_open(&self) -> HeldGauge {
        HeldGauge::new(&self.host_requests_open)
    }

    /// Notes that a request to a hosted application is over.
    pub fn host_request(&self, outcome: RequestOutcome, took: Duration) {
        self.host_requests.of(outcome).record(took.as_secs_f64());
    }

    /// Notes that a hosted socket came to a bad end.
    pub fn host_failure(&self, kind: HostFailure) {
        self.host_failures.of(kind).increment(1);
    }

    /// Notes that a socket has sent what another one's call had made.
    pub fn host_rendered(&self) {
        self.host_rendered.increment(1);
    }

    /// Notes that an event for a hosted socket was dropped.
    pub fn host_dropped(&self) {
        self.host_dropped.increment(1);
    }

    /// Notes that the collector of the traces has taken this many spans.
    pub fn spans_exported(&self, spans: usize) {
        self.spans_exported.increment(spans as u64);
    }

    /// Notes that this many spans are lost; `why` is the reason's own word.
    pub fn spans_dropped(&self, why: &'static str, spans: usize) {
        self.spans_dropped.with([why]).increment(spans as u64);
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
    pub(super) fn process(&self, process: &Process) {
        self.process_resident.set(process.resident_bytes as f64);
        self.process_cpu.absolute(process.cpu.as_secs());
        self.process_fds.set(process.open_fds as f64);
        self.process_fds_max.set(process.max_fds as f64);
    }

    /// Shows what the settings have chosen: store, layer, identity and policy.
    pub fn settings_in_force(&self, chosen: [&'static str; 4]) {
        self.settings_info.with(chosen).set(1);
    }

    /// Settings that were read on SIGHUP have been taken over.
    pub fn settings_read(&self) {
        self.settings_read.set(since_1970().as_secs_f64());
    }

    /// Notes that the process takes no more connections and closes those it has.
    pub fn drain_begun(&self) {
        self.drain_start.set(since_1970().as_secs_f64());
    }

    /// Notes that something failed that no client could help; `kind` is the error's own word for
    /// it.
    pub fn error(&self, kind: &'static str) {
        self.errors.with([kind]).increment(1);
    }
}
