//! The text that Prometheus reads: names, help, values.

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
    metrics.limited("messages", "address");
    metrics.layer_rejected("type");
    metrics.gateway_request("django", 200, Duration::from_micros(80));
    metrics.shadow_compared(Some("status"));
    metrics.policy_denied("see");
    drop(metrics.host_class("chat.Room", Level::Parked));
    metrics.events_backlog("log", 0, Duration::ZERO, 0);
    metrics.settings_in_force(["sqlite", "memory", "none", "open"]);
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

/// Else `increase()` never sees the first event.
#[test]
fn every_counter_shows_0_before_anything_has_happened() {
    let text = Metrics::new().render();
    for doc in METRICS.iter().filter(|doc| doc.kind == FamilyKind::Counter) {
        let is_sample = |line: &&str| {
            let rest = line.strip_prefix(doc.name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let samples: Vec<&str> = text.lines().filter(is_sample).collect();
        assert!(!samples.is_empty(), "{}", doc.name);
        let is_process = doc.name.starts_with("process_");
        assert!(is_process || samples.iter().all(|it| it.ends_with(" 0")));
    }
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut names = std::collections::HashSet::new();
    for MetricDoc {
        name,
        kind,
        labels,
        values,
        help,
        buckets,
    } in METRICS
    {
        assert!(names.insert(name), "{name} twice");
        // What every process has goes by the names that all Prometheus clients use.
        let ours = name.starts_with("chatferry_") || name.starts_with("process_");
        assert!(plain(name) && ours, "{name}");
        let is_whole = |row: &&[&str]| row.len() == labels.len();
        assert!(values.iter().all(is_whole), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            *kind == FamilyKind::Counter,
            "{name}"
        );
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
        assert_eq!(buckets.is_empty(), *kind != FamilyKind::Histogram, "{name}");
        assert!(buckets.is_sorted(), "{name}");
    }
}

/// All texts of the project that may name metrics: guides, dashboards, alerts.
fn texts(directory: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&&*name)
        {
            texts(&path, found);
        }
        let is_text = match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("md") => true,
            Some("json" | "yaml") => directory.ends_with("grafana"),
            _ => false,
        };
        if is_text {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.display().to_string(), text));
        }
    }
}

/// Returns the words of a text that begin with `chatferry_`, in their whole length.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !is_part(c))
        .filter(|word| word.starts_with("chatferry_"))
}

#[test]
fn guides_dashboards_and_alerts_name_metrics_that_are_there() {
    // The Django app with its commands, the attribute of a hosted class, the tables and indexes of our
    // own, and the client for scripts.
    let others = [
        "chatferry_compat",
        "chatferry_settings",
        "chatferry_check",
        "chatferry_worker",
        "chatferry_level",
        "chatferry_changes",
        "chatferry_outbox",
        "chatferry_outbox_sinks",
        "chatferry_outbox_dead",
        "chatferry_attachments",
        "chatferry_conversations",
        "chatferry_search_messages",
        "chatferry_search_chatferry_messages",
        "chatferry_client",
    ];
    let is_there = |name: &str| {
        let part = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        METRICS.iter().any(|doc| {
            doc.name == name
                || (part == Some(doc.name) && doc.kind == FamilyKind::Histogram)
                || (name.ends_with('_') && doc.name.starts_with(name))
        })
    };
    let mut found = Vec::new();
    texts(std::path::Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    let mut named = 0;
    for (file, text) in &found {
        for name in names(text).filter(|name| !others.contains(name)) {
            assert!(is_there(name), "{file} names {name}");
            named += 1;
        }
    }
    assert!(named > 100, "only {named} names in {} files", found.len());
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let overview = include_str!("../../grafana/overview.json");
    let migration = include_str!("../../grafana/migration.json");
    let host = include_str!("../../grafana/host.json");
    let boards = [overview, migration, host];
    for MetricDoc { name, .. } in METRICS {
        let shown = boards.iter().any(|board| board.contains(name));
        assert!(shown, "{name}");
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
fn classes_past_the_fiftieth_share_a_series_and_so_do_those_of_odd_names() {
    let metrics = Metrics::new();
    let _long = metrics.host_class(&"x".repeat(201), Level::Parked);
    let _unknown = metrics.host_class("", Level::Parked);
    let names: Vec<String> = (0..60).map(|number| format!("chat.Room{number}")).collect();
    let of = |name| metrics.host_class(name, Level::Parked);
    let _open: Vec<HeldGauge> = names.iter().map(|name| of(name)).collect();
    let _awake = metrics.host_class("chat.Room49", Level::Awake);
    let _more = metrics.host_class("chat.Room59", Level::Awake);
    let text = metrics.render();
    let open = |class: &str, level: &str| {
        let series = format!("chatferry_host_class_ws_open{{class=\"{class}\",level=\"{level}\"}}");
        value(&text, &series)
    };
    assert_eq!(open("chat.Room0", "parked"), Some(1.0));
    assert_eq!(open("chat.Room49", "parked"), Some(1.0));
    assert_eq!(open("chat.Room49", "awake"), Some(1.0));
    assert_eq!(open("chat.Room50", "parked"), None);
    assert_eq!(open("other", "parked"), Some(12.0));
    assert_eq!(open("other", "awake"), Some(1.0));
}

#[test]
fn an_exception_is_one_of_its_class_and_one_of_all_failures() {
    let metrics = Metrics::new();
    metrics.host_exception("chat.Room");
    metrics.host_exception("");
    let text = metrics.render();
    let of = |class: &str| format!("chatferry_host_exceptions_total{{class=\"{class}\"}}");
    assert_eq!(value(&text, &of("chat.Room")), Some(1.0));
    assert_eq!(value(&text, &of("other")), Some(1.0));
    let all = "chatferry_host_failures_total{kind=\"exception\"}";
    assert_eq!(value(&text, all), Some(2.0));
}

#[test]
fn what_a_client_makes_up_makes_no_new_series() {
    let metrics = Metrics::new();
    for n in 0..100 {
        metrics.rest_request("/x/", &format!("M{n}"), 600 + n, Duration::ZERO);
        metrics.socket_closed(3000 + n, Duration::ZERO);
    }
    let text = metrics.render();
    let requests = "chatferry_rest_requests_total{route=\"/x/\",method=\"other\",status=\"other\"}";
    assert_eq!(value(&text, requests), Some(100.0));
    let closed = "chatferry_ws_closed_total{code=\"other\"}";
    assert_eq!(value(&text, closed), Some(100.0));
    let fresh = Metrics::new().render();
    let codes = |text: &str| text.matches("chatferry_ws_closed_total{").count();
    assert_eq!(codes(&text), codes(&fresh) + 1);
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
    metrics.socket_closed(1013, Duration::from_secs(90));
    let text = metrics.render();
    assert_eq!(value(&text, "chatferry_ws_open"), Some(1.0));
    assert_eq!(
        value(&text, "chatferry_ws_closed_total{code=\"1013\"}"),
        Some(1.0)
    );
    let lives = |le| format!("chatferry_ws_lifetime_seconds_bucket{{le=\"{le}\"}}");
    assert_eq!(value(&text, &lives("60")), Some(0.0));
    assert_eq!(value(&text, &lives("300")), Some(1.0));
}

#[test]
fn start_reload_and_drain_leave_their_times() {
    let time = |metrics: &Metrics, of| value(&metrics.render(), of).unwrap();
    let metrics = Metrics::new();
    let [start, read, drain] = [
        "process_start_time_seconds",
        "chatferry_settings_read_time_seconds",
        "chatferry_drain_start_time_seconds",
    ];
    let started = time(&metrics, start);
    assert_eq!(
        (time(&metrics, read), time(&metrics, drain)),
        (started, 0.0)
    );
    metrics.settings_read();
    assert!(time(&metrics, read) > started);
    metrics.drain_begun();
    assert!(time(&metrics, drain) >= time(&metrics, read));
}

#[test]
fn two_servers_in_one_process_count_apart() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.message_stored();
    let stored = |metrics: &Metrics| value(&metrics.render(), "chatferry_messages_stored_total");
    assert_eq!(stored(&one), Some(1.0));
    assert_eq!(stored(&other), Some(0.0));
}

#[test]
fn frames_are_counted_once_by_type_with_their_bytes() {
    let metrics = Metrics::new();
    let mut frames = Frames::default();
    for _ in 0..3 {
        frames.note(FrameType::Text, 100);
    }
    frames.note(FrameType::Pong, 7);
    metrics.frames_out(&mut frames);
    metrics.frames_out(&mut frames);
    let text = metrics.render();
    for (series, expected) in [
        ("frames_total{type=\"text\"}", 3.0),
        ("bytes_total{type=\"text\"}", 300.0),
        ("frames_total{type=\"pong\"}", 1.0),
        ("bytes_total{type=\"pong\"}", 7.0),
        ("frames_total{type=\"close\"}", 0.0),
    ] {
        let series = format!("chatferry_ws_sent_{series}");
        assert_eq!(value(&text, &series), Some(expected), "{series}");
    }
}

#[test]
fn a_clock_that_is_ahead_makes_no_lag() {
    let metrics = Metrics::new();
    metrics.layer_lag(Sender::Others, -3.0);
    let lag = "chatferry_layer_lag_seconds_sum{sender=\"others\"}";
    assert_eq!(value(&metrics.render(), lag), Some(0.0));
}

#[test]
fn upkeep_keeps_what_was_recorded() {
    let metrics = Metrics::new();
    metrics.commit(5, Duration::ZERO, Duration::from_millis(2));
    metrics.upkeep();
    metrics.commit(7, Duration::ZERO, Duration::from_millis(2));
    assert_eq!(
        value(&metrics.render(), "chatferry_commit_rows_sum"),
        Some(12.0)
    );
}
