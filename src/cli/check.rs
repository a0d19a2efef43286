//! `chatferry check`: would `serve` work, and if not, what to do. The steps are those of the
//! [`rehearsal`]; here they are shown.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::advice::Advice;
use super::list::one_line;
use super::rehearsal::{self, CheckStep, RehearsalStage};
use super::{Unusable, complain};
use crate::config::Loaded;

/// Prints a line for each step as it ends, then each finding with what to do; or one JSON object.
pub(super) async fn check(loaded: Loaded, as_json: bool) -> ExitCode {
    let show = |step: &CheckStep| {
        if !as_json {
            // A reader that has gone has seen what it wanted.
            let _ = io::stdout().write_all(line(step).as_bytes());
        }
    };
    let steps = rehearsal::rehearse(&loaded, RehearsalStage::Before, show).await;
    let faults = steps.iter().flat_map(|step| &step.outcome.faults);
    let is_well = faults.clone().next().is_none();
    let code = if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if as_json {
        print_json(is_well, &steps.iter().map(object).collect::<Vec<_>>());
        return code;
    }
    let mut warnings = steps.iter().flat_map(|step| &step.outcome.warnings);
    for warning in warnings.clone() {
        complain(&format!("warning: {warning}"));
    }
    for fault in faults {
        complain(fault);
    }
    if is_well {
        super::print(match warnings.next() {
            None => "Everything is fine.\n",
            Some(_) => "Everything else is fine.\n",
        });
    }
    code
}

/// Prints that the settings cannot be read, which ends everything, as [`check`] does.
pub(super) fn unreadable(error: &Unusable) {
    let faults: Vec<Advice> = match error {
        Unusable::Settings(errors) => {
            let unknown = errors.unknown.iter().map(Advice::of);
            errors
                .errors
                .iter()
                .map(Advice::of)
                .chain(unknown)
                .collect()
        }
        Unusable::File { .. } => vec![Advice::of(error)],
    };
    let faults: Vec<Value> = faults.iter().map(finding).collect();
    let step = json!({"name": "settings", "outcome": "failed", "faults": faults});
    print_json(false, &[step]);
}

fn line(step: &CheckStep) -> String {
    let (word, about) = (step.outcome.word(), one_line(&step.outcome.about));
    let took = step.took.as_millis();
    format!("{word:<8} {:<21} {about} ({took} ms)\n", step.name)
}

fn object(step: &CheckStep) -> Value {
    let outcome = &step.outcome;
    json!({
        "name": step.name,
        "outcome": outcome.word(),
        "about": outcome.about,
        "took_ms": step.took.as_secs_f64() * 1000.0,
        "faults": outcome.faults.iter().map(finding).collect::<Vec<_>>(),
        "warnings": outcome.warnings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(Advice { what, next }: &Advice) -> Value {
    json!({"what": what, "what_to_do": next})
}

fn print_json(is_well: bool, steps: &[Value]) {
    super::print(&format!("{}\n", json!({"ok": is_well, "steps": steps})));
}
