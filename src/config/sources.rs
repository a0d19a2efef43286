//! Where settings come from: each source made into one [`Layer`] of known names with values in
//! their proper form, and every fault noted. Stacking the layers is the `config`
//! crate's work.

use std::path::Path;

use config::{FileFormat, Map, Source, Value, ValueKind};

use super::declare::OptionDoc;
use super::form::{from_file, misfit, quoted, shown, typed};
use super::{ConfigError, UnknownName, Warning, known};

/// Starts the name of every variable that is a setting: `CHATFERRY__SERVER__BIND`.
const PREFIX: &str = "CHATFERRY__";

/// The variables that name a Redis.
const REDIS: [&str; 2] = ["REDIS_URL", "REDIS_URL_FILE"];

/// The faults of all sources.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub errors: Vec<ConfigError>,
    pub unknown: Vec<UnknownName>,
    pub warnings: Vec<Warning>,
}

/// What one source sets, by dotted name.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Findings {
    /// Adds a name that sets nothing; `spelled` writes a dotted name as its source does.
    fn add(&mut self, key: &str, name: String, origin: &str, spelled: fn(&str) -> String) {
        let origin = origin.to_owned();
        self.unknown.push(UnknownName {
            name,
            origin,
            near: known::nearest(key).map(spelled),
        });
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// Every option's default.
    pub(super) fn defaults(findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        for option in super::Config::options() {
            let toml = format!("{} = {}", option.key, option.default);
            for (_, kind) in parsed(Path::new("defaults"), &toml, findings) {
                layer.set(option, kind, "default", findings);
            }
        }
        layer
    }

    /// Reads a TOML file.
    pub(super) fn file(path: &Path, text: &str, findings: &mut Findings) -> Self {
        let origin = format!("file {}", path.display());
        let mut layer = Self::default();
        for (key, kind) in parsed(path, text, findings) {
            match known::find(&key) {
                Some(option) => layer.set(option, kind, &origin, findings),
                None if layer.set_from_file(&key, &kind.to_string(), &origin, findings) => {}
                None => findings.add(&key, key.clone(), &origin, str::to_owned),
            }
        }
        layer
    }

    /// Reads the variables that other tools set too. Empty is as good as unset.
    pub(super) fn well_known(env: &[(String, String)], findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        let may_trace = otel_may_trace(env, findings);
        for (name, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
            let (key, value) = match name.as_str() {
                "OTEL_EXPORTER_OTLP_ENDPOINT" if !may_trace => continue,
                "DATABASE_URL" => ("store.url", value.clone()),
                "REDIS_URL" => ("layer.hosts", value.clone()),
                "SECRET_KEY" => ("django.secret_key", value.clone()),
                "PORT" => match any_address(value) {
                    Ok(address) => ("server.bind", address),
                    Err(error) => {
                        findings.errors.push(error);
                        continue;
                    }
                },
                _ => match (otel(name), well_known_file(name)) {
                    (Some(key), _) => (key, value.clone()),
                    (None, Some(key)) => {
                        layer.set_from_file(key, value, &variable(name), findings);
                        continue;
                    }
                    (None, None) => continue,
                },
            };
            if let Some(option) = known::find(key) {
                layer.set(option, typed(option, &value), &variable(name), findings);
            }
        }
        layer
    }

    /// Returns the settings that `REDIS_URL` implies where no backend is named. The hosts
    /// themselves come with it.
    pub(super) fn implied(env: &[(String, String)], findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        let redis = env
            .iter()
            .find(|(name, value)| REDIS.contains(&name.as_str()) && !value.is_empty());
        if let (Some(option), Some((name, _))) = (known::find("layer.backend"), redis) {
            layer.set(option, "redis".into(), &variable(name), findings);
        }
        layer
    }

    /// Reads the variables named after settings.
    pub(super) fn environment(env: &[(String, String)], findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                findings.unknown.extend(short_of_an_underscore(name));
                continue;
            };
            let key = rest.replace("__", ".").to_lowercase();
            match known::find(&key) {
                Some(option) => {
                    layer.set(option, typed(option, value), &variable(name), findings);
                }
                None if layer.set_from_file(&key, value, &variable(name), findings) => {}
                None => findings.add(&key, name.clone(), "environment", variable_name),
            }
        }
        layer
    }

    /// `--set KEY=VALUE`, the last one of a name.
    pub(super) fn flags(flags: &[(String, String)], findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        for (key, value) in flags {
            match known::find(key) {
                Some(option) => layer.set(option, typed(option, value), "flag --set", findings),
                None if layer.set_from_file(key, value, "flag --set", findings) => {}
                None => findings.add(key, key.clone(), "flag --set", str::to_owned),
            }
        }
        layer
    }

    /// Sets an option that may be a secret from the file that `key` names; `false` if `key` is no
    /// such name.
    fn set_from_file(
        &mut self,
        key: &str,
        path: &str,
        origin: &str,
        findings: &mut Findings,
    ) -> bool {
        let Some(option) = known::find_by_file(key) else {
            return false;
        };
        if self.0.contains_key(option.key) {
            findings.errors.push(ConfigError::Conflict(
                "a setting and the file with its value are both set in one place: keep one of them",
            ));
            return true;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let origin = format!("file {path}");
                self.set(option, from_file(option, &text), &origin, findings);
            }
            Err(error) => findings.errors.push(ConfigError::Invalid {
                key: key.to_owned(),
                value: quoted(path),
                origin: origin.to_owned(),
                expected: format!("a file that can be read ({error})"),
            }),
        }
        true
    }

    /// Sets an option, if the value has its form; else that is an error.
    fn set(&mut self, option: &OptionDoc, kind: ValueKind, origin: &str, findings: &mut Findings) {
        let origin = origin.to_owned();
        if let Some(expected) = misfit(option, &kind) {
            let value = shown(option, &kind);
            return findings.errors.push(ConfigError::Invalid {
                key: option.key.to_owned(),
                value,
                origin,
                expected,
            });
        }
        let kind = match kind {
            ValueKind::String(text) if text.is_empty() && option.is_optional() => ValueKind::Nil,
            kind => kind,
        };
        self.0
            .insert(option.key.to_owned(), Value::new(Some(&origin), kind));
    }
}

/// Returns the name that a variable with `_FILE` behind a well-known one sets, as containers are
/// given their secrets.
fn well_known_file(name: &str) -> Option<&'static str> {
    match name {
        "DATABASE_URL_FILE" => Some("store.url_file"),
        "REDIS_URL_FILE" => Some("layer.hosts_file"),
        "SECRET_KEY_FILE" => Some("django.secret_key_file"),
        _ => None,
    }
}

/// Returns the setting of a variable that OpenTelemetry's own libraries read, Django's among them.
fn otel(name: &str) -> Option<&'static str> {
    Some(match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => "trace.endpoint",
        "OTEL_EXPORTER_OTLP_CERTIFICATE" => "trace.endpoint_ca",
        "OTEL_EXPORTER_OTLP_HEADERS" => "trace.headers",
        "OTEL_SERVICE_NAME" => "trace.service_name",
        "OTEL_RESOURCE_ATTRIBUTES" => "trace.resource_attributes",
        "OTEL_TRACES_SAMPLER" => "trace.sampler",
        "OTEL_TRACES_SAMPLER_ARG" => "trace.sampler_arg",
        "OTEL_BSP_MAX_QUEUE_SIZE" => "trace.queue_spans",
        _ => return None,
    })
}

/// Returns whether OpenTelemetry's variables let its endpoint be used. That of gRPC, which Python's
/// libraries default to, would only ever answer with garbage.
fn otel_may_trace(env: &[(String, String)], findings: &mut Findings) -> bool {
    let is = |name: &str, value: &str| {
        let set = env.iter().find(|(set, _)| set == name);
        set.is_some_and(|(_, set)| set.trim().eq_ignore_ascii_case(value))
    };
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return false;
    }
    let (endpoint, protocol) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL");
    if !is(protocol, "grpc") || env.iter().all(|(set, _)| set != endpoint) {
        return true;
    }
    findings.warnings.push(Warning::NotSpoken {
        name: protocol.to_owned(),
        value: "grpc".to_owned(),
    });
    false
}

fn any_address(port: &str) -> Result<String, ConfigError> {
    let port = port.trim().parse().map_err(|_| ConfigError::Invalid {
        key: "server.bind".to_owned(),
        value: quoted(port),
        origin: variable("PORT"),
        expected: "a port number from 0 to 65535".to_owned(),
    })?;
    Ok(super::Bind::any(port).to_string())
}

/// Every value of a TOML text by its dotted name; none of a text that cannot be read.
fn parsed(path: &Path, text: &str, findings: &mut Findings) -> Vec<(String, ValueKind)> {
    match config::File::from_str(text, FileFormat::Toml).collect() {
        Ok(root) => leaves(root),
        Err(error) => {
            findings.errors.push(syntax(path, &error));
            Vec::new()
        }
    }
}

/// Returns the parser's message without the line it quotes, which may hold a secret.
fn syntax(path: &Path, error: &config::ConfigError) -> ConfigError {
    let message = match error {
        config::ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let quotes = |line: &&str| {
        let margin = |c: char| c.is_ascii_digit() || c == ' ';
        line.trim_start_matches(margin).starts_with('|')
    };
    let told: Vec<&str> = message.lines().filter(|line| !quotes(line)).collect();
    ConfigError::Syntax {
        path: path.to_owned(),
        message: told.join(": "),
    }
}

/// Every value that is not a table, by its dotted name, in the order of the names.
fn leaves(root: Map<String, Value>) -> Vec<(String, ValueKind)> {
    let mut found = Vec::new();
    let mut open: Vec<(String, Value)> = root.into_iter().collect();
    while let Some((key, value)) = open.pop() {
        match value.kind {
            ValueKind::Table(table) if known::find(&key).is_none() => {
                open.extend(
                    table
                        .into_iter()
                        .map(|(name, value)| (format!("{key}.{name}"), value)),
                );
            }
            kind => found.push((key, kind)),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// Finds `CHATFERRY_SERVER_BIND`. Other names that start like this are not ours to judge:
/// Kubernetes makes `CHATFERRY_PORT` and more for a service of our name.
fn short_of_an_underscore(name: &str) -> Option<UnknownName> {
    let rest = name.strip_prefix("CHATFERRY_")?;
    let meant = super::Config::options()
        .map(|option| variable_name(option.key))
        .find(|full| {
            full.strip_prefix(PREFIX)
                .is_some_and(|full| full.replace("__", "_") == rest)
        })?;
    Some(UnknownName {
        name: name.to_owned(),
        origin: "environment".to_owned(),
        near: Some(meant),
    })
}

fn variable(name: &str) -> String {
    format!("environment {name}")
}

/// Returns the variable of a setting: `CHATFERRY__SERVER__BIND` for `server.bind`.
pub(super) fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}
