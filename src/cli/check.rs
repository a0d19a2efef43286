//! `chatferry check`: would `serve` work, and if not, what to do.

use std::process::ExitCode;
use std::sync::Arc;

use super::{advice, caution};
use crate::auth;
use crate::config::{Config, Loaded, Policy};
use crate::gateway;
use crate::layer::{self, LayerError};
use crate::metrics::Metrics;
use crate::store;
use crate::telemetry::trace::Tracer;
use crate::tls::Tls;

/// Prints every finding. Warnings are errors here: a setting without effect is not what was meant.
pub(super) async fn check(loaded: Loaded) -> ExitCode {
    // First, as a look at the database may make files beside it.
    let mut warnings = caution::of(&loaded);
    let mut findings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    findings.extend(loaded.refusals().iter().map(ToString::to_string));
    let tls = Tls::of(&loaded.config.server.tls);
    findings.extend(tls.err().map(|error| error.to_string()));
    match store::check(&loaded.config).await {
        Ok(found) if found.is_empty() => {
            let written = store::rehearse(&loaded.config).await.err();
            findings.extend(written.map(|error| advice::store(&error, &loaded.config)));
        }
        Ok(found) => findings.extend(found.iter().map(ToString::to_string)),
        Err(error) => findings.push(advice::store(&error, &loaded.config)),
    }
    let layer = layer(&loaded.config).await.err();
    findings.extend(layer.map(|error| advice::layer(&error, &loaded.config)));
    let callers = auth::check(&loaded.config).await;
    findings.extend(callers.err().map(|error| error.to_string()));
    let tracer = Tracer::open(&loaded.config.trace, &Arc::new(Metrics::new()));
    findings.extend(tracer.err().map(|error| error.to_string()));
    // Warnings only: none is a reason not to start.
    warnings.extend(gateway::probe::warning(&loaded.config).await);
    warnings.extend(collation(&loaded.config).await);
    warnings.extend(charset(&loaded.config).await);
    for warning in &warnings {
        super::complain(warning);
    }
    if findings.is_empty() {
        return super::print(if warnings.is_empty() {
            "Everything is fine.\n"
        } else {
            "Everything else is fine.\n"
        });
    }
    for finding in &findings {
        super::complain(finding);
    }
    ExitCode::FAILURE
}

/// Warns of a database that takes user ids for one that the policy tells apart.
async fn collation(config: &Config) -> Option<String> {
    if config.auth.policy == Policy::Open {
        return None;
    }
    // A database that cannot be read is a finding already.
    let loose = store::loose_columns(config).await.ok()?;
    (!loose.is_empty()).then(|| advice::collation(&loose, config.store.url.database()))
}

/// Warns of a database that cannot store what people write.
async fn charset(config: &Config) -> Option<String> {
    let narrow = store::narrow_columns(config).await.ok()?;
    (!narrow.is_empty()).then(|| advice::charset(&narrow))
}

/// Checks whether the layer answers.
async fn layer(config: &Config) -> Result<(), LayerError> {
    let layer = layer::open(config, Arc::default(), Arc::new(Metrics::new())).await?;
    let answer = layer.ping().await;
    layer.close().await;
    answer
}
