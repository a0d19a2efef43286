//! The settings, and the limit of open files that they are fitted to.

use super::CheckOutcome;
use crate::cli::advice::Advice;
use crate::cli::caution;
use crate::config::{Loaded, files};

/// Names all that is set, by its origin. What has no effect is a fault: it is not what was
/// meant.
pub(super) fn set(loaded: &Loaded) -> CheckOutcome {
    let warnings = loaded.warnings.iter().map(Advice::of);
    let refusals = loaded.refusals();
    let refusals = refusals.iter().map(Advice::of);
    CheckOutcome::well(origins(loaded))
        .with_faults(warnings.chain(refusals))
        .with_warnings(caution::of(loaded))
}

/// The names of what is set after each origin, in the order of the manual.
fn origins(loaded: &Loaded) -> String {
    let mut origins: Vec<(&str, Vec<&str>)> = Vec::new();
    let set = loaded.effective.iter();
    for set in set.filter(|set| !set.origin.starts_with("default")) {
        match origins.iter_mut().find(|(origin, _)| *origin == set.origin) {
            Some((_, keys)) => keys.push(set.key),
            None => origins.push((&set.origin, vec![set.key])),
        }
    }
    if origins.is_empty() {
        return "all are the defaults".to_owned();
    }
    let part = |(origin, keys): &(&str, Vec<&str>)| format!("{origin}: {}", keys.join(", "));
    origins.iter().map(part).collect::<Vec<_>>().join("; ")
}

/// Returns the limit of open files, and the connections that fit.
pub(super) fn files(loaded: &Loaded) -> CheckOutcome {
    let most = loaded.config.server.max_connections;
    let limit = files::limit("/".as_ref());
    let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let lowered = loaded.lowered.filter(|lowered| lowered.was_set);
    CheckOutcome::well(format!("{limit}, for {most} connections"))
        .with_warnings(lowered.map(Advice::of))
}
