//! Callers that end a server wait until it has had all the time that it may take.

use std::fs;
use std::time::Duration;

use super::leaving::{LAST_EVENTS, LAST_SPANS, LAST_WRITES};
use crate::config::Config;
use crate::layer::GOODBYE;

/// The longest end there is: sockets take all of the drain's window, then the last writes, the last
/// events, the layer and the last spans take all that they may.
fn longest_end_s(drain_s: u64) -> u64 {
    let after = LAST_WRITES + LAST_EVENTS + GOODBYE + *LAST_SPANS.start();
    (Duration::from_secs(drain_s) + after).as_secs()
}

/// Every number that directly follows `name` in a file of the project.
fn numbers(file: &str, name: &str) -> Vec<u64> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).unwrap();
    let digits = |rest: &str| {
        rest.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    };
    let found: Vec<u64> = text
        .split(name)
        .skip(1)
        .map(|rest| digits(rest).parse().unwrap())
        .collect();
    assert!(!found.is_empty(), "{file} has no {name}");
    found
}

#[test]
fn whatever_ends_a_server_gives_it_the_time_that_it_may_take() {
    let none = || std::iter::empty::<(String, String)>();
    let drain_s = Config::load(None, none(), &[])
        .unwrap()
        .config
        .server
        .drain_s;
    let longest_s = longest_end_s(drain_s);
    for (file, name) in [
        ("compat/deploy/systemd/chatferry.service", "TimeoutStopSec="),
        ("compat/compose.yaml", "stop_grace_period: "),
        ("compat/deploy/README.md", "--stop-timeout "),
    ] {
        for given_s in numbers(file, name) {
            assert!(
                given_s >= longest_s,
                "{file}: {name}{given_s} of {longest_s}"
            );
        }
    }

    let pod = "compat/deploy/kubernetes/base/deployment.yaml";
    let pod_drain_s = numbers(pod, "CHATFERRY__SERVER__DRAIN_S, value: \"")[0];
    let longest_s = numbers(pod, "sleep: { seconds: ")[0] + longest_end_s(pod_drain_s);
    let given_s = numbers(pod, "terminationGracePeriodSeconds: ")[0];
    assert!(given_s >= longest_s, "{pod}: {given_s} of {longest_s}");
}

#[test]
fn a_quicker_drain_has_no_longer_end() {
    let window_s = 25;
    for drain_s in 0..=window_s {
        let before = Duration::from_secs(drain_s) + LAST_WRITES + LAST_EVENTS + GOODBYE;
        let left = Duration::from_secs(window_s).saturating_sub(before);
        let end = before + left.clamp(*LAST_SPANS.start(), *LAST_SPANS.end());
        assert!(end.as_secs() <= longest_end_s(window_s));
    }
}
