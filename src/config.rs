//! The settings: what an operator can choose, where a choice came from, what is wrong with it.
//!
//! One small struct per concern, each in a file of its own; the doc comment of a field is its
//! manual. Only `main` reads the environment and the settings file; [`Config::load`] reads no more
//! than the files that secrets are kept in. What a setting does is for the code that is given it.

pub mod auth;
pub mod cors;
mod declare;
pub mod django;
mod error;
mod form;
pub mod gateway;
mod known;
pub mod layer;
pub mod limits;
pub mod log;
mod manual;
pub mod memory;
pub mod metrics;
mod network;
pub mod rest;
mod secret;
pub mod server;
mod sources;
pub mod store;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod trace;
pub mod ws;

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;

pub use auth::{
    Algorithm, Auth, DjangoSession, Identity, JwksUrl, Jwt, Policy, SessionEngine, SocketRefusal,
};
pub use cors::{Cors, CorsOrigin};
pub use declare::{OptionDoc, Section};
pub use django::{Django, GroupPattern, Language, Prefix, Zone};
pub use error::{ConfigError, Refusal, Warning};
pub use gateway::{Gateway, OnChange, Upstream};
pub use layer::{Backend, ChannelCapacity, Hosts, Layer, Serializer};
pub use limits::{ByAddress, ByUser, Limits, Rate};
pub use log::{Format, Level, Log};
pub use manual::{example_toml, settings_table_markdown};
pub use metrics::Metrics;
pub use network::Network;
pub use rest::Rest;
pub use secret::Secret;
pub use server::{Bind, Server};
pub use store::{Database, Store, StoreUrl, TableName, Tables};
pub use tls::Tls;
pub use trace::Trace;
pub use ws::{Origin, Ws};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub server: Server,
    pub store: Store,
    pub django: Django,
    pub layer: Layer,
    pub rest: Rest,
    pub ws: Ws,
    pub cors: Cors,
    pub auth: Auth,
    pub limits: Limits,
    pub gateway: Gateway,
    pub metrics: Metrics,
    pub log: Log,
    pub trace: Trace,
}

/// Settings ready for use, and how they came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Every option in the order of the manual.
    pub effective: Vec<Effective>,
    /// Names that were set and mean nothing.
    pub warnings: Vec<Warning>,
}

/// An option as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Dotted name.
    pub key: &'static str,
    /// As TOML, secrets masked.
    pub value: String,
    /// Where it was set: `default`, `file …`, `environment …` or `flag --set`.
    pub origin: String,
}

impl Config {
    /// Reads the settings from their sources: a flag before a variable, a variable before the file,
    /// the file before the default. Names nobody knows are warnings.
    ///
    /// # Errors
    /// A file that is no TOML; a value of the wrong type, form or size; values that contradict each
    /// other.
    pub fn load(
        file: Option<(&Path, &str)>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigError> {
        let mut env: Vec<(String, String)> = env.collect();
        env.sort();
        let mut warnings = Vec::new();
        let file = file.map(|(path, text)| sources::Layer::file(path, text, &mut warnings));
        let values = Values::stack([
            sources::Layer::defaults()?,
            sources::Layer::implied(&env)?,
            file.transpose()?.unwrap_or_default(),
            sources::Layer::well_known(&env, &mut warnings)?,
            sources::Layer::environment(&env, &mut warnings)?,
            sources::Layer::flags(flags, &mut warnings)?,
        ])?;
        let config = Self::read(&values)?;
        if !config.store.tables.are_distinct() {
            return Err(ConfigError::Conflict(
                "store.tables: each table needs a name of its own",
            ));
        }
        if config.server.tls.is_half() {
            return Err(ConfigError::Conflict(
                "server.tls: a certificate needs its key, and a key its certificate: set both",
            ));
        }
        if config.layer.backend != Backend::Memory && !config.layer.carries(&config.ws) {
            return Err(ConfigError::Conflict(
                "layer.max_event_bytes: an event takes ws.max_message_bytes and 128 KiB more at \
                 least",
            ));
        }
        let effective = Self::options()
            .filter_map(|option| values.in_force(option.key))
            .collect();
        Ok(Loaded {
            config,
            effective,
            warnings,
        })
    }

    fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            server: Server::read(values)?,
            store: Store::read(values)?,
            django: Django::read(values)?,
            layer: Layer::read(values)?,
            rest: Rest::read(values)?,
            ws: Ws::read(values)?,
            cors: Cors::read(values)?,
            auth: Auth::read(values)?,
            limits: Limits::read(values)?,
            gateway: Gateway::read(values)?,
            metrics: Metrics::read(values)?,
            log: Log::read(values)?,
            trace: Trace::read(values)?,
        })
    }

    /// Whether other machines can reach it and none of their callers need say who they are.
    #[must_use]
    pub fn is_open_to_anybody(&self) -> bool {
        self.auth.identity == Identity::None && !self.server.bind.is_loopback()
    }
}

impl Loaded {
    /// Why `serve` must not start with these settings; empty if it may.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        let config = &self.config;
        let mut found = Vec::new();
        let bind = &config.server.bind;
        if config.metrics.bind.as_ref() == Some(bind) && !bind.is_any_port() {
            found.extend(
                self.find("metrics.bind")
                    .map(|metrics| Refusal::SameBind { metrics }),
            );
        }
        if config.is_open_to_anybody() && !config.auth.allow_anonymous {
            found.extend(
                self.find("server.bind")
                    .map(|bind| Refusal::Anonymous { bind }),
            );
        }
        found
    }

    /// One option as it is in force.
    fn find(&self, key: &str) -> Option<Effective> {
        self.effective
            .iter()
            .find(|effective| effective.key == key)
            .cloned()
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.origin)
    }
}

/// The values in force, before they have their Rust types.
#[derive(Debug)]
pub(crate) struct Values(config::Value);

impl Values {
    /// Puts each layer over those before it.
    fn stack(layers: impl IntoIterator<Item = sources::Layer>) -> Result<Self, ConfigError> {
        let builder = layers
            .into_iter()
            .fold(config::Config::builder(), |stack, layer| {
                stack.add_source(layer)
            });
        builder
            .build()
            .map(|stack| Self(stack.cache))
            .map_err(|error| ConfigError::Invalid {
                key: "settings".to_owned(),
                value: "all".to_owned(),
                origin: "every source".to_owned(),
                expected: expected(error),
            })
    }

    /// The value of one option in its type.
    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T, ConfigError> {
        let value = self.find(key).cloned().unwrap_or_default();
        value.try_deserialize().map_err(|error| {
            let found = self.in_force(key);
            ConfigError::Invalid {
                key: key.to_owned(),
                value: found.as_ref().map(|f| f.value.clone()).unwrap_or_default(),
                origin: found.map(|f| f.origin).unwrap_or_default(),
                expected: expected(error),
            }
        })
    }

    fn in_force(&self, key: &str) -> Option<Effective> {
        let option = known::find(key)?;
        let value = self.find(key)?;
        Some(Effective {
            key: option.key,
            value: form::shown(option, &value.kind),
            origin: value.origin().unwrap_or("default").to_owned(),
        })
    }

    /// The value of a dotted name. The crate's own `get` forgets where a value came from.
    fn find(&self, key: &str) -> Option<&config::Value> {
        key.split('.')
            .try_fold(&self.0, |value, name| match &value.kind {
                config::ValueKind::Table(table) => table.get(name),
                _ => None,
            })
    }
}

/// What a type's own reading says it accepts: the text of its `TryFrom<String>`.
fn expected(error: config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => expected(*error),
        config::ConfigError::Type { expected, .. } => expected.to_owned(),
        other => other.to_string(),
    }
}
