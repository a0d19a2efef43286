//! What Prometheus reads: names, help, values.

use std::time::Duration;

use super::*;

/// The value of the sample whose name and labels are exactly `series`.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line?.parse().ok()
}

/// With every family used once: one nobody used yet has nothing to show.
fn used() -> Metrics {
    let metrics = Metrics::new();
    metrics.rest_request("/x/", "GET", 200, Duration::from_micros(80));
    metrics.socket_closed(1000);
    metrics.error("internal");
    metrics.store_error("unavailable");
    metrics.tls_failure("late");
    metrics.limited("messages", "address");
    metrics.layer_rejected("type");
    metrics.layer_error("unavailable");
    metrics.gateway_request(200, Duration::from_micros(80));
    metrics.gateway_failure("connect");
    metrics.shadow_compared(Some("status"));
    metrics.auth_denied("expired");
    metrics.policy_denied("see");
    metrics.jwks_fetched(true);
    metrics
}

#[test]
fn every_metric_is_shown_with_its_help_and_type() {
    let text = used().render();
    for doc in METRICS {
        let kind = format!("{:?}", doc.kind).to_lowercase();
        assert!(
            text.contains(&format!("# TYPE {} {kind}\n", doc.name)),
            "{}",
            doc.name
        );
        assert!(
            text.contains(&format!("# HELP {} {}\n", doc.name, doc.help.trim())),
            "{}",
            doc.name
        );
    }
    assert_eq!(text.matches("# TYPE ").count(), METRICS.len());
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut names = std::collections::HashSet::new();
    for MetricDoc {
        name,
        kind,
        labels,
        help,
        buckets,
    } in METRICS
    {
        assert!(names.insert(name), "{name} twice");
        assert!(plain(name) && name.starts_with("chatferry_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(
            !["_count", "_sum", "_bucket", "_ms", "_millis", "_kb"]
                .iter()
                .any(|end| name.ends_with(end)),
            "{name}"
        );
        assert!(
            labels
                .iter()
                .all(|label| plain(label) && !["le", "quantile", "job"].contains(label)),
            "{name}"
        );
        assert!(
            help.trim().len() > 10 && help.ends_with('.'),
            "{name}: {help}"
        );
        assert_eq!(buckets.is_empty(), *kind != Kind::Histogram, "{name}");
        assert!(buckets.is_sorted(), "{name}");
    }
}

#[test]
fn a_request_is_counted_and_timed_below_a_millisecond() {
    let text = used().render();
    let requests = "chatferry_rest_requests_total{route=\"/x/\",method=\"GET\",status=\"200\"}";
    assert_eq!(value(&text, requests), Some(1.0));
    let seconds =
        |part: &str| format!("chatferry_rest_request_seconds_{part}route=\"/x/\",method=\"GET\"");
    assert_eq!(
        value(&text, &format!("{}}}", seconds("sum{"))),
        Some(0.000_08)
    );
    assert_eq!(
        value(&text, &format!("{},le=\"0.00005\"}}", seconds("bucket{"))),
        Some(0.0)
    );
    assert_eq!(
        value(&text, &format!("{},le=\"0.0001\"}}", seconds("bucket{"))),
        Some(1.0)
    );
}

#[test]
fn what_a_client_makes_up_makes_no_new_series() {
    let metrics = Metrics::new();
    for n in 0..100 {
        metrics.rest_request("/x/", &format!("M{n}"), 600 + n, Duration::ZERO);
        metrics.socket_closed(3000 + n);
    }
    let text = metrics.render();
    let requests = "chatferry_rest_requests_total{route=\"/x/\",method=\"other\",status=\"other\"}";
    assert_eq!(value(&text, requests), Some(100.0));
    assert_eq!(text.matches("chatferry_ws_closed_total{").count(), 1);
}

#[test]
fn a_connection_is_open_as_long_as_it_is_held() {
    let metrics = Metrics::new();
    let held = [metrics.connection_accepted(), metrics.connection_accepted()];
    assert_eq!(
        value(&metrics.render(), "chatferry_connections_open"),
        Some(2.0)
    );
    drop(held);
    let text = metrics.render();
    assert_eq!(value(&text, "chatferry_connections_open"), Some(0.0));
    assert_eq!(
        value(&text, "chatferry_connections_accepted_total"),
        Some(2.0)
    );
}

#[test]
fn a_closed_socket_is_open_no_more() {
    let metrics = Metrics::new();
    metrics.socket_opened();
    metrics.socket_opened();
    metrics.socket_closed(1013);
    let text = metrics.render();
    assert_eq!(value(&text, "chatferry_ws_open"), Some(1.0));
    assert_eq!(
        value(&text, "chatferry_ws_closed_total{code=\"1013\"}"),
        Some(1.0)
    );
}

#[test]
fn two_servers_in_one_process_count_apart() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.frames_out(3);
    assert_eq!(
        value(&one.render(), "chatferry_ws_sent_frames_total"),
        Some(3.0)
    );
    assert_eq!(
        value(&other.render(), "chatferry_ws_sent_frames_total"),
        Some(0.0)
    );
}

#[test]
fn upkeep_keeps_what_was_recorded() {
    let metrics = Metrics::new();
    metrics.commit(5, Duration::from_millis(2));
    metrics.upkeep();
    metrics.commit(7, Duration::from_millis(2));
    assert_eq!(
        value(&metrics.render(), "chatferry_commit_rows_sum"),
        Some(12.0)
    );
}
