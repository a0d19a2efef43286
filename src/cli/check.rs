//! `chatferry check`: would `serve` work, and if not, what to do.

use std::process::ExitCode;
use std::sync::Arc;

use crate::auth::Auth;
use crate::config::{Config, Identity, Loaded, Policy};
use crate::layer::{self, LayerError};
use crate::metrics::Metrics;
use crate::store;

/// Tells every finding. Warnings are errors here: a name nobody knows is a setting that does not
/// do what somebody thinks it does.
pub(super) async fn check(loaded: Loaded) -> ExitCode {
    let mut findings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    findings.extend(loaded.refusals().iter().map(ToString::to_string));
    match store::check(&loaded.config).await {
        Ok(found) => findings.extend(found.iter().map(ToString::to_string)),
        Err(error) => findings.push(error.to_string()),
    }
    findings.extend(
        layer(&loaded.config)
            .await
            .err()
            .map(|error| error.to_string()),
    );
    if loaded.config.auth.identity != Identity::None || loaded.config.auth.policy != Policy::Open {
        findings.extend(auth(&loaded.config).await.err());
    }
    if findings.is_empty() {
        return super::print("Everything is fine.\n");
    }
    for finding in &findings {
        super::complain(finding);
    }
    ExitCode::FAILURE
}

/// Whether callers can be known: the keys are there, and the tables of sessions.
async fn auth(config: &Config) -> Result<(), String> {
    let metrics = Arc::new(Metrics::new());
    let store = store::open(config, Arc::clone(&metrics)).await;
    let store = store.map_err(|error| error.to_string())?;
    let outcome = match Auth::open(config, Arc::clone(&store), metrics) {
        Ok(auth) => auth.check().await,
        Err(error) => Err(error),
    };
    store.close().await;
    outcome.map_err(|error| error.to_string())
}

/// Whether the layer answers.
async fn layer(config: &Config) -> Result<(), LayerError> {
    let layer = layer::open(config, Arc::new(Metrics::new())).await?;
    let answer = layer.ping().await;
    layer.close().await;
    answer
}
