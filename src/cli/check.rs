//! `chatferry check`: would `serve` work, and if not, what to do.

use std::process::ExitCode;
use std::sync::Arc;

use super::advice;
use crate::auth;
use crate::config::{Config, Loaded};
use crate::gateway;
use crate::layer::{self, LayerError};
use crate::metrics::Metrics;
use crate::store;
use crate::telemetry::trace::Tracer;
use crate::tls::Tls;

/// Tells every finding. Warnings are errors here: a name nobody knows is a setting that does not
/// do what somebody thinks it does.
pub(super) async fn check(loaded: Loaded) -> ExitCode {
    let mut findings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    findings.extend(loaded.refusals().iter().map(ToString::to_string));
    let tls = Tls::of(&loaded.config.server.tls);
    findings.extend(tls.err().map(|error| error.to_string()));
    match store::check(&loaded.config).await {
        Ok(found) => findings.extend(found.iter().map(ToString::to_string)),
        Err(error) => findings.push(advice::store(&error, &loaded.config)),
    }
    let layer = layer(&loaded.config).await.err();
    findings.extend(layer.map(|error| advice::layer(&error, &loaded.config)));
    let callers = auth::check(&loaded.config).await;
    findings.extend(callers.err().map(|error| error.to_string()));
    let tracer = Tracer::open(&loaded.config.trace, &Arc::new(Metrics::new()));
    findings.extend(tracer.err().map(|error| error.to_string()));
    // A warning only: an open upstream is no reason not to start.
    let warning = gateway::probe::warning(&loaded.config).await;
    if let Some(warning) = &warning {
        super::complain(warning);
    }
    if findings.is_empty() {
        return super::print(match warning {
            None => "Everything is fine.\n",
            Some(_) => "Everything else is fine.\n",
        });
    }
    for finding in &findings {
        super::complain(finding);
    }
    ExitCode::FAILURE
}

/// Whether the layer answers.
async fn layer(config: &Config) -> Result<(), LayerError> {
    let layer = layer::open(config, Arc::new(Metrics::new())).await?;
    let answer = layer.ping().await;
    layer.close().await;
    answer
}
