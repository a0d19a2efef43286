//! The dress rehearsal of `serve`: all that it needs, looked at step by step. A fault ends no more
//! than the steps that depend on it.
//!
//! `chatferry check` shows every step. `serve` goes through those that need no second server once
//! it serves, and logs in a line that all is well, or a line for each finding.

mod attachments;
mod layer;
mod place;
mod settings;
mod store;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::advice::{self, Advice};
use crate::auth;
use crate::config::{Config, Database, Identity, Loaded, Policy};
use crate::dialect::django::{identity, tables::schema};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::rollout::Rollout;
use crate::server::Site;
use crate::telemetry::trace::Tracer;
use crate::tls::Tls;

/// Longest time of a step: what is used has shorter limits of its own.
const LONGEST: Duration = Duration::from_secs(30);

/// Longest time for an answer of Django.
const PATIENCE: Duration = Duration::from_secs(5);

/// Parts that already run during the rehearsal.
#[derive(Clone, Copy)]
pub(super) enum RehearsalStage<'a> {
    /// Nothing: the server is not started.
    Before,
    /// The server, whose listeners, layer and gateway are those in use.
    Serving(&'a Site),
}

/// Findings of a step.
#[derive(Debug, Default)]
pub(super) struct CheckOutcome {
    /// Subject of the step, or why it was skipped, in a few words.
    pub about: String,
    pub is_skipped: bool,
    /// Faults that keep `serve` from working.
    pub faults: Vec<Advice>,
    /// Settings that work and are unusual.
    pub warnings: Vec<Advice>,
}

impl CheckOutcome {
    /// Nothing is wrong with it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "texts and what is shown alike"
    )]
    fn well(about: impl ToString) -> Self {
        CheckOutcome {
            about: about.to_string(),
            ..CheckOutcome::default()
        }
    }

    /// It was not looked at.
    fn skipped(why: impl ToString) -> Self {
        CheckOutcome {
            is_skipped: true,
            ..CheckOutcome::well(why)
        }
    }

    /// Adds what keeps `serve` from working.
    fn with_faults(mut self, faults: impl IntoIterator<Item = Advice>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Adds what is odd.
    fn with_warnings(mut self, warnings: impl IntoIterator<Item = Advice>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Returns the outcome in a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            _ if !self.faults.is_empty() => "failed",
            _ if !self.warnings.is_empty() => "warning",
            _ if self.is_skipped => "skipped",
            _ => "ok",
        }
    }
}

/// A step that is done.
#[derive(Debug)]
pub(super) struct CheckStep {
    pub name: &'static str,
    pub outcome: CheckOutcome,
    pub took: Duration,
}

/// The steps so far.
struct Steps<F> {
    done: Vec<CheckStep>,
    /// Called with each step as it ends.
    show: F,
}

impl<F: FnMut(&CheckStep)> Steps<F> {
    /// Waits for the outcome of a step; returns whether it has no fault.
    async fn add(&mut self, name: &'static str, look: impl Future<Output = CheckOutcome>) -> bool {
        let began = Instant::now();
        let silent = |_| CheckOutcome::well("").with_faults([Advice::of("no answer within 30 s")]);
        let outcome = timeout(LONGEST, look).await.unwrap_or_else(silent);
        let is_well = outcome.faults.is_empty();
        let took = began.elapsed();
        let step = CheckStep {
            name,
            outcome,
            took,
        };
        (self.show)(&step);
        self.done.push(step);
        is_well
    }
}

/// Goes through all steps, and shows each as it ends.
pub(super) async fn rehearse(
    loaded: &Loaded,
    stage: RehearsalStage<'_>,
    show: impl FnMut(&CheckStep),
) -> Vec<CheckStep> {
    let config = &loaded.config;
    let mut steps = Steps {
        done: Vec::new(),
        show,
    };
    steps.add("settings", async { settings::set(loaded) }).await;
    steps
        .add("open files", async { settings::files(loaded) })
        .await;
    if let RehearsalStage::Before = stage {
        steps
            .add("certificate", async { certificate(config) })
            .await;
        place::steps(&mut steps, config).await;
    }
    if !is_looked_at(config, stage) {
        store::steps(&mut steps, config).await;
    }
    layer::steps(&mut steps, config, stage).await;
    if let RehearsalStage::Before = stage {
        steps.add("callers", callers(config)).await;
    }
    steps.add("upstream", upstream(config, stage)).await;
    if let RehearsalStage::Before = stage {
        steps.add("traces", async { traces(config) }).await;
    }
    if let Some(place) = &config.attachments.place {
        let place = attachments::place(config, place, stage);
        steps.add("attachments", place).await;
    }
    if config.host.is_on() {
        let why = "workers are started by `serve` alone";
        steps
            .add("host", async { CheckOutcome::skipped(why) })
            .await;
    }
    steps.done
}

/// Returns `true` if nothing is left to ask of the database: `serve` has opened the file to write
/// and has seen its tables, and SQLite bounds no texts. A collation matters to a policy alone.
fn is_looked_at(config: &Config, stage: RehearsalStage<'_>) -> bool {
    let is_file = config.store.url.database() == Database::Sqlite;
    matches!(stage, RehearsalStage::Serving(_)) && is_file && config.auth.policy == Policy::Open
}

/// Logs what the steps find while the server serves.
pub(super) async fn log(site: Arc<Site>, loaded: Loaded) {
    let steps = rehearse(&loaded, RehearsalStage::Serving(&site), |_| {}).await;
    let mut is_well = true;
    for CheckStep { name, outcome, .. } in &steps {
        for Advice { what, next } in outcome.faults.iter().chain(&outcome.warnings) {
            is_well = false;
            tracing::warn!(step = name, what_to_do = next, "{what}");
        }
    }
    if is_well {
        let done = steps.iter().filter(|step| !step.outcome.is_skipped);
        let names: Vec<&str> = done.map(|step| step.name).collect();
        let took: Duration = steps.iter().map(|step| step.took).sum();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(took_ms, "all is well: {}", names.join(", "));
    }
}

fn certificate(config: &Config) -> CheckOutcome {
    let Some((cert, _)) = config.server.tls.files() else {
        return CheckOutcome::skipped("none: clients speak plain HTTP");
    };
    let faults = Tls::of(&config.server.tls).err();
    CheckOutcome::well(cert.display()).with_faults(faults.map(Advice::of))
}

async fn callers(config: &Config) -> CheckOutcome {
    let (identity, policy) = (config.auth.identity, config.auth.policy);
    let about = CheckOutcome::well(format!("identity {identity}, policy {policy}"));
    about.with_faults(
        auth::check(config, &schema(&config.store.tables), identity::open)
            .await
            .err()
            .map(Advice::of),
    )
}

/// Asks the upstream for a connection, and for what it gives to strangers.
async fn upstream(config: &Config, stage: RehearsalStage<'_>) -> CheckOutcome {
    let Some(address) = &config.gateway.upstream else {
        return CheckOutcome::skipped("none");
    };
    let about = CheckOutcome::well(address);
    let gateway = match stage {
        RehearsalStage::Serving(site) => Ok(site.gateway.clone()),
        RehearsalStage::Before => {
            Gateway::of(config, Rollout::of(config), &Arc::new(Metrics::new()))
        }
    };
    let gateway = match gateway {
        Ok(gateway) => gateway,
        Err(error) => return about.with_faults([Advice::of(error)]),
    };
    let Some(gateway) = gateway else { return about };
    let answer = timeout(PATIENCE, gateway.ping()).await;
    if let Err(why) = answer.unwrap_or_else(|_| Err("no answer".to_owned())) {
        return about.with_faults([advice::upstream(&why, address)]);
    }
    if config.auth.identity == Identity::None {
        return about;
    }
    let path = format!(
        "{}users/chatferry-check/conversations/",
        config.django.url_prefix
    );
    let is_open = timeout(PATIENCE, gateway.serves_strangers(&path)).await;
    let is_open = is_open.unwrap_or_default();
    about.with_warnings(is_open.then(|| advice::open_upstream(address, &path)))
}

fn traces(config: &Config) -> CheckOutcome {
    let Some(endpoint) = &config.trace.endpoint else {
        return CheckOutcome::skipped("none");
    };
    let tracer = Tracer::open(&config.trace, &Arc::new(Metrics::new()));
    CheckOutcome::well(format!("{endpoint:?}")).with_faults(tracer.err().map(Advice::of))
}
