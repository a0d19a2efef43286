//! The settings: what an operator can choose, where a choice came from, what is wrong with it.
//!
//! One small struct per concern, each in a file of its own; the doc comment of a field is its
//! manual. Only `main` reads the environment and the settings file; [`Config::load`] reads no more
//! than the files that secrets are kept in. What a setting does is for the code that is given it.

pub mod attachments;
pub mod auth;
pub mod capacity;
pub mod cors;
mod declare;
pub mod dialects;
pub mod django;
mod error;
pub mod events;
pub mod files;
mod form;
pub mod gateway;
mod generation;
pub mod host;
mod known;
pub mod layer;
pub mod limits;
pub mod log;
mod manual;
pub mod matching;
pub mod memory;
pub mod messenger;
pub mod metrics;
pub mod naebak;
pub mod native;
mod network;
pub mod redis_url;
pub mod rest;
mod route;
mod secret;
pub mod server;
mod sources;
pub mod store;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod trace;
pub mod ws;

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use attachments::{Attachments, FilePlace, MediaRange, S3Endpoint};
pub use auth::{
    Algorithm, Auth, DjangoSession, DjangoToken, HeaderWord, Identity, JwksUrl, Jwt, LoginUrl,
    Policy, SessionEngine, SocketRefusal,
};
pub use cors::{Cors, CorsOrigin};
pub use declare::{OptionDoc, Section};
pub use dialects::{DialectName, Dialects};
pub use django::{Django, GroupPattern, Language, Prefix, ZoneName};
pub use error::{ConfigError, ConfigErrors, StartRefusal, UnknownName, Warning};
pub use events::{EventFormat, Events, SinkName};
pub use gateway::{Gateway, OnChange, UpstreamAddress};
pub use generation::Generation;
pub use host::Host;
pub use layer::{Backend, ChannelCapacity, Hosts, Layer, Serializer};
pub use limits::{ByAddress, ByUser, Limits, Rate};
pub use log::{Format, Level, Log};
pub use manual::{example_toml, settings_table_markdown};
pub use matching::{
    BlindIds, Matching, MatchingErrors, MatchingFrames, MatchingOrder, MatchingPrefix,
};
pub use messenger::Messenger;
pub use metrics::Metrics;
pub use naebak::Naebak;
pub use native::Native;
pub use network::Network;
pub use rest::Rest;
pub use route::{HostRoute, RouteWay};
pub use secret::Secret;
pub use server::{Bind, Server, Shown};
pub use store::{Database, IdVersion, Store, StoreUrl, TableName, Tables};
pub use tls::Tls;
pub use trace::Trace;
pub use ws::{AllowedOrigin, Ws};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The chats that are served.
    pub dialects: Vec<DialectName>,
    pub server: Server,
    pub store: Store,
    pub django: Django,
    pub layer: Layer,
    pub rest: Rest,
    pub native: Native,
    pub messenger: Messenger,
    pub matching: Matching,
    pub naebak: Naebak,
    pub attachments: Attachments,
    pub ws: Ws,
    pub cors: Cors,
    pub auth: Auth,
    pub limits: Limits,
    pub gateway: Gateway,
    pub host: Host,
    pub events: Events,
    pub metrics: Metrics,
    pub log: Log,
    pub trace: Trace,
}

/// Settings ready for use, and how they came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// Every option in the order of the manual.
    pub effective: Vec<Effective>,
    /// Names that were set and are not settings.
    pub unknown: Vec<UnknownName>,
    /// Names that were set and have no effect.
    pub warnings: Vec<Warning>,
    /// The number of connections, if it did not fit into the files that may be open.
    pub lowered: Option<files::Lowered>,
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
    /// the file before the default. Unknown names are collected: [`Loaded::refusals`] has them.
    ///
    /// # Errors
    /// All of them together: a file that is no TOML; values of the wrong type, form or size; values
    /// that contradict each other.
    pub fn load(
        file: Option<(&Path, &str)>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigErrors> {
        let mut env: Vec<(String, String)> = env.collect();
        env.sort();
        let mut findings = sources::Findings::default();
        let layers = [
            sources::Layer::defaults(&mut findings),
            sources::Layer::implied(&env, &mut findings),
            file.map(|(path, text)| sources::Layer::file(path, text, &mut findings))
                .unwrap_or_default(),
            sources::Layer::well_known(&env, &mut findings),
            sources::Layer::environment(&env, &mut findings),
            sources::Layer::flags(flags, &mut findings),
        ];
        let values = Values::stack(layers, &mut findings.errors);
        let config = Self::read(&values);
        let effective = Self::options()
            .filter_map(|option| values.in_force(option.key))
            .collect();
        findings.errors.extend(values.errors.into_inner());
        findings
            .errors
            .extend(config.iter().flat_map(Self::conflicts));
        match config {
            Some(config) if findings.errors.is_empty() => Ok(Loaded {
                config,
                file: file.map(|(path, _)| path.to_owned()),
                effective,
                unknown: findings.unknown,
                warnings: findings.warnings,
                lowered: None,
            }
            .with_share()),
            _ => Err(ConfigErrors {
                errors: findings.errors,
                unknown: findings.unknown,
            }),
        }
    }

    fn read(values: &Values) -> Option<Self> {
        let top = Dialects::read(values);
        let server = Server::read(values);
        let store = Store::read(values);
        let django = Django::read(values);
        let layer = Layer::read(values);
        let rest = Rest::read(values);
        let native = Native::read(values);
        let messenger = Messenger::read(values);
        let matching = Matching::read(values);
        let naebak = Naebak::read(values);
        let attachments = Attachments::read(values);
        let ws = Ws::read(values);
        let cors = Cors::read(values);
        let auth = Auth::read(values);
        let limits = Limits::read(values);
        let gateway = Gateway::read(values);
        let host = Host::read(values);
        let events = Events::read(values);
        let metrics = Metrics::read(values);
        let log = Log::read(values);
        let trace = Trace::read(values);
        Some(Self {
            dialects: top?.dialects,
            server: server?,
            store: store?,
            django: django?,
            layer: layer?,
            rest: rest?,
            native: native?,
            messenger: messenger?,
            matching: matching?,
            naebak: naebak?,
            attachments: attachments?,
            ws: ws?,
            cors: cors?,
            auth: auth?,
            limits: limits?,
            gateway: gateway?,
            host: host?,
            events: events?,
            metrics: metrics?,
            log: log?,
            trace: trace?,
        })
    }

    /// Returns values that are fine alone but not together.
    fn conflicts(&self) -> Vec<ConfigError> {
        let tables = "store.tables: each table needs a name of its own";
        let tls = "server.tls: a certificate needs its key, and a key its certificate: set both";
        let event = "layer.max_event_bytes: an event takes ws.max_message_bytes and 128 KiB more at \
                     least";
        let upstream = "host.routes, host.http_routes: what the application does not serve needs a \
                        gateway.upstream";
        let native = "host.routes, host.http_routes: only what is below django.ws_prefix or, of HTTP, \
                      django.url_prefix can be `native`";
        let api = "native.api_prefix: the paths of django.url_prefix, of django.ws_prefix and of \
                   operators must not be below it";
        let secret =
            "host.listen: workers join by TCP only with a host.secret, of 32 bytes at least";
        let address = "host.listen: an address of TCP, as 127.0.0.1:9100; host.socket is a file";
        let s3 = "attachments.place: an S3 needs s3_endpoint, s3_access_key and s3_secret_key";
        let key =
            "attachments.key: a secret of 32 bytes at least, unless there is one process only";
        let is_shared = self.layer.backend != Backend::Memory;
        [
            (!self.store.tables.are_distinct(), tables),
            (self.server.tls.is_half(), tls),
            (is_shared && !self.layer.carries(&self.ws), event),
            (self.lacks_upstream(), upstream),
            (self.lacks_chat(), native),
            (self.has_taken_prefix(), api),
            (self.host.lacks_secret(), secret),
            (self.attachments.lacks_s3(), s3),
            (self.lacks_link_key(), key),
            (self.host.listens_at_a_file(), address),
        ]
        .into_iter()
        .chain(self.events.conflicts())
        .chain(self.mount_conflicts())
        .filter_map(|(is_wrong, why)| is_wrong.then_some(ConfigError::Conflict(why)))
        .collect()
    }

    /// Returns true if `/metrics` is on `server.bind`.
    #[must_use]
    pub fn shows_metrics(&self) -> bool {
        self.metrics.bind.is_none() && self.shows(self.metrics.public)
    }

    /// Returns true if `/status` is on `server.bind`: where metrics are, and no application beside the
    /// chat has paths of its own.
    #[must_use]
    pub fn shows_status(&self) -> bool {
        let has_others = self.gateway.upstream.is_some() || !self.host.http_routes.is_empty();
        self.shows_metrics() && !has_others
    }

    /// Returns true if `/docs` and `/openapi.json` are there.
    #[must_use]
    pub fn shows_docs(&self) -> bool {
        self.shows(self.server.docs)
    }

    fn shows(&self, shown: Shown) -> bool {
        match shown {
            Shown::Yes => true,
            Shown::No => false,
            Shown::Auto => self.auth.identity == Identity::None,
        }
    }

    /// Returns whether other machines can reach it and none of their callers need say who they are.
    #[must_use]
    pub fn is_open_to_anybody(&self) -> bool {
        self.auth.identity == Identity::None && !self.server.bind.is_loopback()
    }
}

impl Loaded {
    /// Why `serve` must not start with these settings; empty if it may.
    #[must_use]
    pub fn refusals(&self) -> Vec<StartRefusal> {
        let config = &self.config;
        let unknown = self.unknown.iter().cloned().map(StartRefusal::Unknown);
        let mut found: Vec<StartRefusal> = unknown.collect();
        let bind = &config.server.bind;
        if config.metrics.bind.as_ref() == Some(bind) && !bind.is_any_port() {
            found.extend(
                self.find("metrics.bind")
                    .map(|metrics| StartRefusal::SameBind { metrics }),
            );
        }
        if config.is_open_to_anybody() && !config.auth.allow_anonymous {
            found.extend(
                self.find("server.bind")
                    .map(|bind| StartRefusal::Anonymous { bind }),
            );
        }
        found
    }

    /// Returns where an option was set, as [`Effective::origin`]; empty for an unknown name.
    #[must_use]
    pub fn origin(&self, key: &str) -> &str {
        let set = self.effective.iter().find(|set| set.key == key);
        set.map(|set| set.origin.as_str()).unwrap_or_default()
    }

    /// One option as it is in force.
    fn find(&self, key: &str) -> Option<Effective> {
        self.effective
            .iter()
            .find(|effective| effective.key == key)
            .cloned()
    }
}

/// Replaces an option's default; returns `false`, and changes nothing, where a source sets it.
fn replace_default(
    effective: &mut [Effective],
    key: &str,
    value: &impl ToString,
    why: &str,
) -> bool {
    let set = effective
        .iter_mut()
        .find(|set| set.key == key && set.origin == "default");
    let Some(set) = set else { return false };
    set.value = value.to_string();
    set.origin = format!("default {why}");
    true
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.origin)
    }
}

/// The values in force, before they have their Rust types.
#[derive(Debug)]
pub(crate) struct Values {
    root: config::Value,
    /// Of the values that were read and do not fit their types.
    errors: RefCell<Vec<ConfigError>>,
}

impl Values {
    /// Puts each layer over those before it.
    fn stack(
        layers: impl IntoIterator<Item = sources::Layer>,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let builder = layers
            .into_iter()
            .fold(config::Config::builder(), |stack, layer| {
                stack.add_source(layer)
            });
        let root = builder.build().map(|stack| stack.cache);
        Self {
            root: root.unwrap_or_else(|error| {
                errors.push(ConfigError::Invalid {
                    key: "settings".to_owned(),
                    value: "all".to_owned(),
                    origin: "every source".to_owned(),
                    expected: expected(error),
                });
                config::Value::default()
            }),
            errors: RefCell::default(),
        }
    }

    /// Reads one option in its type; `None` is an error that is kept.
    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.find(key).cloned().unwrap_or_default();
        value
            .try_deserialize()
            .map_err(|error| {
                let found = self.in_force(key);
                self.errors.borrow_mut().push(ConfigError::Invalid {
                    key: key.to_owned(),
                    value: found.as_ref().map(|f| f.value.clone()).unwrap_or_default(),
                    origin: found.map(|f| f.origin).unwrap_or_default(),
                    expected: expected(error),
                });
            })
            .ok()
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

    /// Returns the value of a dotted name. The crate's own `get` forgets where a value came from.
    fn find(&self, key: &str) -> Option<&config::Value> {
        key.split('.')
            .try_fold(&self.root, |value, name| match &value.kind {
                config::ValueKind::Table(table) => table.get(name),
                _ => None,
            })
    }
}

/// Returns the form that a type accepts: the error text of its `TryFrom<String>`.
fn expected(error: config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => expected(*error),
        config::ConfigError::Type { expected, .. } => expected.to_owned(),
        other => other.to_string(),
    }
}
