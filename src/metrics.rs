//! Every metric in one list, where the doc comment is the help text Prometheus shows.
//!
//! Names follow Prometheus: `_total` for counters, seconds and bytes as units. Label values come
//! from the program's text, never from a client; the classes of hosted consumers, which are their
//! project's, are bounded in number. The methods that count are in `metrics/events.rs`.
//! The text is served by [`crate::http`] and [`crate::server::scrape`]; the server calls
//! [`Metrics::upkeep`] now and then.

mod events;
mod family;
mod frames;
mod label;
mod process;
#[cfg(test)]
mod tests;
mod word;

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use family::{Each, Labelled, Metric, Named};
use process::Process;

use crate::clock::since_1970;

pub use family::HeldGauge;
pub use frames::Frames;
pub use word::{
    Asked, Call, ClockStep, EventType, FrameType, HostFailure, Level, Outcome, ReloadOutcome,
    RequestOutcome, SecurityEvent, Sender, Word,
};

/// What a metric is, for dashboards and tests.
#[derive(Debug)]
pub struct MetricDoc {
    pub name: &'static str,
    pub kind: FamilyKind,
    pub labels: &'static [&'static str],
    /// Values of the labels that are shown from the start, at 0.
    pub values: &'static [&'static [&'static str]],
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets; empty for the other kinds.
    pub buckets: &'static [f64],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
}

/// Bounds for durations, from what a cached answer takes to what a client gives up on.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// Bounds for how long a socket lives, to the day after which it is closed.
const LIVES: &[f64] = &[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
];

/// Bounds for the number of rows or frames at once.
const ROWS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// The limits, each by whom it counts.
const LIMITS: &[&[&str]] = &[
    &["requests", "address"],
    &["requests", "user"],
    &["messages", "address"],
    &["messages", "user"],
    &["typing", "address"],
    &["typing", "user"],
    &["sockets", "address"],
    &["sockets", "user"],
    &["conversations", "address"],
    &["conversations", "user"],
    &["rows", "address"],
    &["rows", "user"],
    &["denied", "address"],
    &["open_sockets", "address"],
    &["open_sockets", "user"],
    &["answer_memory", "address"],
    &["answer_memory", "user"],
];

/// Routes and methods, with the status of success and those that alerts look at.
const REQUESTS: &[&[&str]] = &[
    &["conversations", "POST", "200"],
    &["conversations", "POST", "201"],
    &["conversations", "POST", "500"],
    &["conversations", "POST", "503"],
    &["conversation", "GET", "200"],
    &["conversation", "GET", "500"],
    &["conversation", "GET", "503"],
    &["conversation_messages", "GET", "200"],
    &["conversation_messages", "GET", "500"],
    &["conversation_messages", "GET", "503"],
    &["send_message", "POST", "201"],
    &["send_message", "POST", "500"],
    &["send_message", "POST", "503"],
    &["user_conversations", "GET", "200"],
    &["user_conversations", "GET", "500"],
    &["user_conversations", "GET", "503"],
    &["message_read", "PUT", "200"],
    &["message_read", "PUT", "500"],
    &["message_read", "PUT", "503"],
];

/// Classes and levels of hosted sockets that are shown before there is one.
const HOSTED_CLASSES: &[&[&str]] = &[
    &["other", "awake"],
    &["other", "parked"],
    &["other", "hibernated"],
];

/// Declares [`Metrics`] and [`METRICS`]: `by` names the labels, `of` the values of a lone label
/// that are shown before anything has happened, `each` a constant with those of several, `in` the
/// bounds of a histogram.
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])*
        $field:ident: $ty:ty = $name:literal
            $(by $($label:literal),+)? $(of [$($value:literal),+])? $(each $rows:ident)?
            $(in $buckets:ident)?;
    )*) => {
        /// Every metric of one server.
        pub struct Metrics {
            $($(#[doc = $help])* $field: $ty,)*
            handle: PrometheusHandle,
        }

        /// What each metric is, in the order of the list.
        pub const METRICS: &[MetricDoc] =
            &[$(metrics!(
                @doc $ty, $name, [$($help),*], [$($($label),+)?], [$($($value),+)?],
                [$($rows)?], $($buckets)?
            )),*];

        impl Metrics {
            fn register(recorder: metrics_exporter_prometheus::PrometheusRecorder) -> Self {
                let handle = recorder.handle();
                let recorder = Arc::new(recorder);
                Self {
                    $($field: <$ty as Metric>::new(
                        &recorder,
                        &metrics!(
                            @doc $ty, $name, [$($help),*], [$($($label),+)?], [$($($value),+)?],
                            [$($rows)?], $($buckets)?
                        ),
                    ),)*
                    handle,
                }
            }
        }
    };
    (@doc $ty:ty, $name:literal, [$($help:literal),*], [$($label:literal),*],
        [$($value:literal),*], [$($rows:ident)?], $($buckets:ident)?) => {
        MetricDoc {
            name: $name,
            kind: <$ty as Metric>::KIND,
            labels: &[$($label),*],
            values: metrics!(@values [$($value),*] $($rows)?),
            help: concat!($($help),*),
            buckets: metrics!(@buckets $($buckets)?),
        }
    };
    (@values [$($value:literal),*]) => { &[$(&[$value]),*] };
    (@values [] $rows:ident) => { $rows };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

metrics! {
    /// Always 1; the label tells which version runs.
    build_info: Labelled<Gauge> = "chatferry_build_info" by "version";
    /// Always 1; the labels tell what the settings have chosen.
    settings_info: Labelled<Gauge, 4> = "chatferry_settings_info"
        by "store", "layer", "identity", "policy";

    /// Connections open now, plain HTTP and WebSocket together.
    connections_open: Gauge = "chatferry_connections_open";
    /// Connections accepted.
    connections_accepted: Counter = "chatferry_connections_accepted_total";
    /// Connections answered with 503 because `server.max_connections` were open.
    connections_refused: Counter = "chatferry_connections_refused_total";

    /// TLS handshakes with clients that failed, by kind: `refused` by one side, `ended` by the
    /// client, `late`, or `crowded` out by newer ones.
    tls_failures: Labelled<Counter> = "chatferry_tls_handshake_failures_total" by "kind"
        of ["refused", "ended", "late", "crowded"];
    /// Connections of trusted proxies that did not begin with a proper PROXY header.
    proxy_refused: Counter = "chatferry_proxy_headers_refused_total";
    /// Requests, frames and sockets refused by a limit, by the limit's name and by whom it counts.
    limited: Labelled<Counter, 2> = "chatferry_limited_total" by "limit", "by" each LIMITS;

    /// WebSockets open now.
    ws_open: Gauge = "chatferry_ws_open";
    /// WebSocket handshakes refused because of their page's origin.
    ws_origins_refused: Counter = "chatferry_ws_origins_refused_total";
    /// WebSocket handshakes accepted.
    ws_opened: Counter = "chatferry_ws_opened_total";
    /// WebSockets closed, by the close code; 1006 is one that ended without a close frame.
    ws_closed: Labelled<Counter> = "chatferry_ws_closed_total" by "code"
        of ["1000", "1006", "1008", "1009", "1011", "1012", "1013", "4401"];
    /// Seconds from the opening of a WebSocket to its end.
    ws_life: Histogram = "chatferry_ws_lifetime_seconds" in LIVES;
    /// Frames read from WebSockets, by type: `text`, `binary`, `close`, `ping` or `pong`.
    ws_received: Each<Counter, FrameType> = "chatferry_ws_received_frames_total" by "type";
    /// Bytes of the frames read from WebSockets, by type, their headers included.
    ws_received_bytes: Each<Counter, FrameType> = "chatferry_ws_received_bytes_total" by "type";
    /// Frames written to WebSockets, by type.
    ws_sent: Each<Counter, FrameType> = "chatferry_ws_sent_frames_total" by "type";
    /// Bytes of the frames written to WebSockets, by type, their headers included.
    ws_sent_bytes: Each<Counter, FrameType> = "chatferry_ws_sent_bytes_total" by "type";
    /// Clients that sent more than `ws.frames_per_s` or `host.frames_per_s`: `slowed`, each time
    /// that it began, or `closed` after `ws.flood_s`.
    ws_floods: Labelled<Counter> = "chatferry_ws_floods_total" by "outcome"
        of ["slowed", "closed"];
    /// What clients asked for on WebSockets, by type: `chat_message`, `mark_as_read`, `typing`, or
    /// `auth` with a fresh token.
    ws_asked: Each<Counter, Asked> = "chatferry_ws_requests_total" by "type";
    /// Frames in the longest queue of a conversation's sockets, after an event was added to them.
    ws_queue: Histogram = "chatferry_ws_queue_frames" in ROWS;
    /// Events not delivered because a slow client's queue was full; its socket is closed with 1013.
    ws_dropped: Counter = "chatferry_ws_dropped_events_total";

    /// REST requests answered, by route, method and status.
    rest_requests: Labelled<Counter, 3> = "chatferry_rest_requests_total"
        by "route", "method", "status" each REQUESTS;
    /// Seconds from a REST request's head to its answer, by route and method.
    rest_seconds: Labelled<Histogram, 2> = "chatferry_rest_request_seconds" by "route", "method" in SECONDS;

    /// Requests and handshakes of callers who are known, by `auth.identity`. With `none` nobody is
    /// asked, and nothing is counted.
    auth_admitted: Labelled<Counter> = "chatferry_auth_admitted_total" by "identity"
        of ["jwt", "django_session", "django_token"];
    /// Requests and handshakes of callers who must be known and are not, by the reason:
    /// `anonymous`, `invalid`, `expired`, `forged` (the page of another site made a browser ask),
    /// `limited` if their address has shown too many that were not good, or `unavailable` if it
    /// could not be found out.
    auth_denied: Labelled<Counter> = "chatferry_auth_denied_total" by "why"
        of ["anonymous", "invalid", "expired", "forged", "limited", "unavailable"];
    /// What callers who are known may not do as who they are, by the action.
    policy_denied: Labelled<Counter> = "chatferry_policy_denied_total" by "action"
        of ["see", "speak", "create", "list", "stay"];
    /// Events of the security log, those that it only counts among them, by event: refusals of an
    /// `identity`, by the `policy` or for the `origin`, a `limit` that was reached, sockets
    /// `closed` with 1008, 1013 or 4401, orders to `disconnect`, `settings` read again.
    security_events: Each<Counter, SecurityEvent> = "chatferry_security_events_total" by "event";
    /// Attempts to fetch the key set of `auth.jwt.jwks_url`, by outcome: `fetched` or `failed`.
    jwks_fetches: Labelled<Counter> = "chatferry_jwks_fetches_total" by "outcome"
        of ["fetched", "failed"];

    /// Messages stored.
    messages_stored: Counter = "chatferry_messages_stored_total";
    /// Files that were uploaded and are stored.
    attachments_stored: Counter = "chatferry_attachments_stored_total";
    /// Bytes of files that were uploaded and are stored.
    attachment_bytes: Counter = "chatferry_attachments_stored_bytes_total";
    /// Files that were deleted, as no message has them.
    attachments_deleted: Counter = "chatferry_attachments_deleted_total";
    /// Events put into the queues of sockets, one for each socket, by type: `chat_message`,
    /// `message_read`, `typing_status`, or `other` for what `layer.passthrough` lists.
    delivered: Each<Counter, EventType> = "chatferry_events_delivered_total" by "type";
    /// Messages that no event had told of, found in the store after a gap and delivered then.
    messages_repaired: Counter = "chatferry_messages_repaired_total";
    /// Messages that the comparison with the store (`layer.sweep_s`) found before an event of them
    /// came, and that were delivered then: Django stored them by REST, or could not broadcast them;
    /// their event is late; or it never comes, which `chatferry_messages_unheard_total` counts.
    messages_swept: Counter = "chatferry_messages_swept_total";
    /// Messages that a Chatferry process stored and was to broadcast, that the comparison with the
    /// store had to find, and of which no event came in the next 5.5 minutes, for which a sender
    /// owes it: this should not happen, unless their sender died. Counted by each process with
    /// sockets of the conversation. Not counted: what Django stored, and events that were late.
    messages_unheard: Counter = "chatferry_messages_unheard_total";
    /// Read marks that no event had told of, found in the store after a gap and delivered then.
    marks_repaired: Counter = "chatferry_read_marks_repaired_total";
    /// Read marks that the comparison with the store found before an event of them came, as with
    /// messages.
    marks_swept: Counter = "chatferry_read_marks_swept_total";
    /// Read marks that a Chatferry process stored and of which no event came, as with messages:
    /// this should not happen, unless their sender died.
    marks_unheard: Counter = "chatferry_read_marks_unheard_total";
    /// Comparisons with the store that found too much to compare it all.
    sweeps_cut: Counter = "chatferry_sweeps_cut_short_total";
    /// Conversations whose events wait for a repair now.
    repairs_open: Gauge = "chatferry_repairs_open";
    /// Repairs that could not be done: the store could not be read, or the gap was too long.
    repairs_given_up: Counter = "chatferry_repairs_given_up_total";
    /// Times that a repair began again with the first page of a conversation, as a slow commit had
    /// added a message before the page it had come to.
    repairs_begun_again: Counter = "chatferry_repairs_begun_again_total";
    /// Rows that were passed over, which the log names: those that a repair could not read, and
    /// messages of more than 64 MiB, each time.
    rows_unreadable: Counter = "chatferry_rows_unreadable_total";

    /// Times that the clock was found more than a second behind the last message's time: `held` if
    /// messages get times just after that one until the clock has caught up, `followed` if it was
    /// behind by more than a minute, and messages have its time again.
    clock_steps: Each<Counter, ClockStep> = "chatferry_clock_steps_back_total" by "times";
    /// Rows written by one commit.
    commit_rows: Histogram = "chatferry_commit_rows" in ROWS;
    /// Seconds that the first row of a commit waited for it to begin.
    commit_wait: Histogram = "chatferry_commit_wait_seconds" in SECONDS;
    /// Seconds one commit took.
    commit_seconds: Histogram = "chatferry_commit_seconds" in SECONDS;
    /// Seconds one read of the database took, its wait for a connection not included.
    store_read: Histogram = "chatferry_store_read_seconds" in SECONDS;
    /// Seconds that a read waited for one of the connections of `store.pool_size`.
    store_wait: Histogram = "chatferry_store_pool_wait_seconds" in SECONDS;
    /// Connections to the database that may read at once.
    store_pool_size: Gauge = "chatferry_store_pool_size";
    /// Connections to the database that are reading now.
    store_pool_busy: Gauge = "chatferry_store_pool_busy";
    /// Attempts to connect to the database, to read or to write, by outcome: `opened` or `failed`.
    store_connections: Each<Counter, Outcome> = "chatferry_store_connections_total" by "outcome";
    /// What the database refused or did not answer, by kind.
    store_errors: Labelled<Counter> = "chatferry_store_errors_total" by "kind"
        of ["unavailable", "denied", "unfit", "refused", "alike", "conflict", "unknown", "schema",
            "closed"];

    /// Events that a sink has confirmed, repeated ones too, by sink.
    events_published: Labelled<Counter> = "chatferry_events_published_total" by "sink"
        of ["log", "redis_stream", "webhook", "rabbitmq", "nats"];
    /// Times that events could not be published, by sink: it was away, refused an event, or the
    /// database could not be asked. They are kept and tried again.
    events_failed: Labelled<Counter> = "chatferry_events_failed_total" by "sink"
        of ["log", "redis_stream", "webhook", "rabbitmq", "nats"];
    /// Events that were put aside as dead letters, as the sink refused them for good, by sink.
    events_died: Labelled<Counter> = "chatferry_events_dead_total" by "sink"
        of ["log", "redis_stream", "webhook", "rabbitmq", "nats"];
    /// Events of other services that were consumed, by outcome: `stored`, `repeated` if their message
    /// was there, `ignored` for other types, or `dead` if they can never be stored.
    events_consumed: Labelled<Counter> = "chatferry_events_consumed_total" by "outcome"
        of ["stored", "repeated", "ignored", "dead"];
    /// Events that wait to be published, by sink. The process that publishes shows them.
    events_backlog: Labelled<Gauge> = "chatferry_events_backlog" by "sink";
    /// Age in seconds of the oldest event that waits to be published, by sink.
    events_lag: Labelled<Gauge> = "chatferry_events_lag_seconds" by "sink";
    /// Dead letters that are kept, by sink.
    events_dead: Labelled<Gauge> = "chatferry_events_dead_letters" by "sink";

    /// Messages sent to the channel layer.
    layer_sent: Counter = "chatferry_layer_sent_total";
    /// Messages received from the channel layer.
    layer_received: Counter = "chatferry_layer_received_total";
    /// Seconds from the sending of an event, by its sender's clock (the score in Redis), to the
    /// queues of the sockets here, by who sent it: this process (`own`) or `others`. The pub/sub
    /// layer does not tell.
    layer_lag: Each<Histogram, Sender> = "chatferry_layer_lag_seconds" by "sender" in SECONDS;
    /// Messages the channel layer dropped because a channel was at capacity.
    layer_dropped: Counter = "chatferry_layer_dropped_total";
    /// Messages in the queues of others that expired before they were read.
    layer_expired: Counter = "chatferry_layer_expired_total";
    /// Messages delivered although they had waited for longer than `layer.expiry`.
    layer_late: Counter = "chatferry_layer_late_total";
    /// Messages from the channel layer that could not be used, by the reason.
    layer_rejected: Labelled<Counter> = "chatferry_layer_rejected_total" by "why"
        of ["too_large", "undecodable", "unroutable", "no_type", "unknown_type", "missing_field",
            "not_json", "not_packable"];
    /// Events the channel layer did not take to other processes, by kind.
    layer_errors: Labelled<Counter> = "chatferry_layer_errors_total" by "kind"
        of ["unavailable", "refused"];
    /// Events that wait to be sent to other processes, as a Redis host did not take them.
    layer_owed: Gauge = "chatferry_layer_owed_events";
    /// Events sent again to other processes, as a Redis host had not taken or not confirmed them.
    layer_resent: Counter = "chatferry_layer_resent_total";
    /// Events that waited for too long, or were too many, and are not sent any more: Chatferry
    /// processes read them from the store, members in Python processes miss them.
    layer_given_up: Counter = "chatferry_layer_given_up_total";
    /// Times that events may have been missed, and the store was read again.
    layer_gaps: Counter = "chatferry_layer_gaps_total";
    /// Redis hosts of the channel layer.
    redis_hosts: Gauge = "chatferry_redis_hosts";
    /// Redis hosts of the channel layer that are connected now.
    redis_hosts_up: Gauge = "chatferry_redis_hosts_up";
    /// Attempts to connect to a Redis host, by outcome: `opened` or `failed`.
    redis_connections: Each<Counter, Outcome> = "chatferry_redis_connections_total" by "outcome";
    /// Seconds that Redis took to answer what was sent together.
    redis_seconds: Histogram = "chatferry_redis_round_trip_seconds" in SECONDS;
    /// Commands that Redis refused or did not answer, by kind.
    redis_errors: Labelled<Counter> = "chatferry_redis_errors_total" by "kind"
        of ["unavailable", "refused"];

    /// Requests passed on to Django, by the class of the answer's status.
    gateway_requests: Labelled<Counter> = "chatferry_gateway_requests_total" by "class"
        of ["1xx", "2xx", "3xx", "4xx", "5xx"];
    /// Seconds from a request's head to the head of Django's answer, by route: as those of our own
    /// REST requests, `socket` for a handshake, `django` for what is Django's alone.
    gateway_seconds: Labelled<Histogram> = "chatferry_gateway_request_seconds" by "route" in SECONDS;
    /// Requests that Django did not answer, by kind: `connect`, `broken`, `late`, `busy` if too
    /// many were under way, `silent` if it was not asked as it had not answered before, `unasked`
    /// if it agreed to what it was not asked for, or `starved` if the client stopped sending; and
    /// answers that broke off: `interrupted`, or `idle` if nothing came any more.
    gateway_failures: Labelled<Counter> = "chatferry_gateway_failures_total" by "kind"
        of ["connect", "broken", "late", "busy", "silent", "unasked", "starved", "interrupted", "idle"];
    /// WebSockets between clients and Django open now.
    gateway_ws_open: Gauge = "chatferry_gateway_ws_open";
    /// WebSockets between clients and Django that were opened.
    gateway_ws_opened: Counter = "chatferry_gateway_ws_opened_total";
    /// WebSockets closed because their conversation moved between Chatferry and Django.
    gateway_moved: Counter = "chatferry_gateway_moved_total";
    /// Percent of the conversations that are served here: `gateway.rollout_percent` in force, 100
    /// without a gateway.
    gateway_rollout: Gauge = "chatferry_gateway_rollout_percent";
    /// Percent of the reads for which both sides are compared: `gateway.shadow_percent` in force.
    gateway_shadow: Gauge = "chatferry_gateway_shadow_percent";
    /// Answers and frames of Django that were compared with what Chatferry would have sent.
    shadow_compared: Counter = "chatferry_shadow_compared_total";
    /// Compared and not the same, by kind.
    shadow_mismatches: Labelled<Counter> = "chatferry_shadow_mismatch_total" by "kind"
        of ["status", "header", "json", "handshake", "history", "message", "message_read", "typing",
            "error", "frame", "close"];
    /// Not compared because too much waited to be compared, or one side could not be asked.
    shadow_skipped: Counter = "chatferry_shadow_skipped_total";

    /// Workers of hosted applications that are joined now.
    host_workers: Gauge = "chatferry_host_workers";
    /// Workers that have left, by the reason: `ended` by themselves or by us, `violation` of the
    /// protocol, `stuck`: they answered nothing or read nothing, or `replaced` on SIGHUP.
    host_workers_left: Labelled<Counter> = "chatferry_host_workers_left_total" by "why"
        of ["ended", "violation", "stuck", "replaced"];
    /// Workers that have ended and were started again.
    host_restarts: Counter = "chatferry_host_worker_restarts_total";
    /// Hosted WebSockets open now.
    host_open: Gauge = "chatferry_host_ws_open";
    /// Hosted WebSockets open now by what they cost their worker: `awake`, `parked`, or
    /// `hibernated`: nothing, as their states are here.
    host_levels: Each<Gauge, Level> = "chatferry_host_level_ws_open" by "level";
    /// Hosted WebSockets open now by the class of their consumer, and by level. The first 50 classes
    /// have series of their own; `other` are the rest, and those whose class is not known yet.
    host_classes: Named<Gauge, 1> = "chatferry_host_class_ws_open" by "class", "level"
        each HOSTED_CLASSES;
    /// Bytes of the states of hibernated sockets.
    host_state_bytes: Gauge = "chatferry_host_state_bytes";
    /// Replacements of all workers, by the outcome: `done`, or `failed` and nothing has changed.
    host_reloads: Each<Counter, ReloadOutcome> = "chatferry_host_reloads_total" by "outcome";
    /// Calls that workers have been asked and have not finished; `host.max_calls` of each worker is
    /// the most.
    host_calls_open: Gauge = "chatferry_host_calls_open";
    /// Seconds that a call of a worker waited for its turn, by what it is for: `connect`, `frame`,
    /// `event`, or to `sleep` and `wake`; a `disconnect` waits for none.
    host_waited: Each<Histogram, Call> = "chatferry_host_call_wait_seconds" by "call" in SECONDS;
    /// Seconds that a worker took for a call, by what it was for.
    host_ran: Each<Histogram, Call> = "chatferry_host_call_seconds" by "call" in SECONDS;
    /// Hosted sockets that came to a bad end: an `exception` of the application, a call that was
    /// `late`, a worker that was `lost`, or a state that was `unfit` to be moved to another worker.
    host_failures: Each<Counter, HostFailure> = "chatferry_host_failures_total" by "kind";
    /// Exceptions of hosted applications that ended a socket or its handshake, by the class of its
    /// consumer: the first 50 by name, `other` are the rest, and what was raised before a class was
    /// reached.
    host_exceptions: Named<Counter> = "chatferry_host_exceptions_total" by "class" of ["other"];
    /// Requests of HTTP that hosted applications are answering now.
    host_requests_open: Gauge = "chatferry_host_requests_open";
    /// Seconds from a request of HTTP to a hosted application to the end of its answer, by outcome:
    /// `answered` whole, the application has `failed`, was `late`, its worker was `lost`, the
    /// request was `refused` as it was malformed or stalled, or its client has `left`.
    host_requests: Each<Histogram, RequestOutcome> = "chatferry_host_request_seconds" by "outcome"
        in SECONDS;
    /// Events that a socket sent without a call, as another one's call had made the bytes for all.
    host_rendered: Counter = "chatferry_host_events_encoded_once_total";
    /// Events for hosted sockets that were dropped, as too many waited.
    host_dropped: Counter = "chatferry_host_dropped_events_total";

    /// Spans that the collector of the traces has taken.
    spans_exported: Counter = "chatferry_trace_spans_exported_total";
    /// Spans that are lost, by the reason: `no_room` in the queue, or `refused` by the collector.
    spans_dropped: Labelled<Counter> = "chatferry_trace_spans_dropped_total" by "why"
        of ["no_room", "refused"];

    /// Tasks of the runtime alive now: one for each connection, and a few more.
    tasks: Gauge = "chatferry_tasks";
    /// Memory of the process that is in RAM, in bytes.
    process_resident: Gauge = "process_resident_memory_bytes";
    /// Seconds of CPU that the process has used, in whole seconds.
    process_cpu: Counter = "process_cpu_seconds_total";
    /// Files and sockets that the process has open.
    process_fds: Gauge = "process_open_fds";
    /// Files and sockets that the process may have open.
    process_fds_max: Gauge = "process_max_fds";
    /// When the process started, in Unix seconds.
    process_start: Gauge = "process_start_time_seconds";
    /// When the settings were read last, in Unix seconds: at the start, or on SIGHUP.
    settings_read: Gauge = "chatferry_settings_read_time_seconds";
    /// When the drain began, in Unix seconds; 0 before it has.
    drain_start: Gauge = "chatferry_drain_start_time_seconds";

    /// Errors that were our fault, by kind: `accept` if the system gave us no connection.
    errors: Labelled<Counter> = "chatferry_errors_total" by "kind" of ["accept"];
}

impl Metrics {
    /// Registers all metrics, at zero. Takes up to a few milliseconds the first time: the exporter
    /// calibrates its clock.
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
        // A process makes its metrics as one of the first things it does.
        let now = since_1970().as_secs_f64();
        metrics.process_start.set(now);
        metrics.settings_read.set(now);
        metrics
    }

    /// Returns the text of `/metrics`, with a fresh look at the process.
    #[must_use]
    pub fn render(&self) -> String {
        self.process(&Process::look());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.tasks.set(small(runtime.metrics().num_alive_tasks()));
        }
        self.handle.render()
    }

    /// Folds the durations recorded since the last call into their buckets. Until then each takes
    /// 8 bytes, so call it every few seconds: nobody need be reading `/metrics`.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// For a gauge, which is exact up to here.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
