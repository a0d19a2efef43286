//! What can be wrong with settings, told so that whoever set them can put it right.

use std::fmt;
use std::path::PathBuf;

use super::Effective;

/// Every fault of settings that nothing can run with, at least one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct ConfigErrors {
    pub errors: Vec<ConfigError>,
    /// Names that are not settings; alone they are no such error.
    pub unknown: Vec<UnknownName>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(ToString::to_string);
        let unknown = self.unknown.iter().map(ToString::to_string);
        let lines: Vec<String> = errors.chain(unknown).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A fault of the settings.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file is no TOML; `message` names line and column.
    #[error("{}: not a TOML file: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    /// A value of the wrong type, form or size. `value` is masked where it may hold a secret.
    #[error("{key} = {value} ({origin}): expected {expected}")]
    Invalid {
        key: String,
        value: String,
        origin: String,
        expected: String,
    },
    /// Two values that are fine alone but not together.
    #[error("{0}")]
    Conflict(&'static str),
}

/// A name that was set and is not a setting; `near` is the known name most like it, in the same
/// spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    pub name: String,
    pub origin: String,
    pub near: Option<String>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) is no setting; ", self.name, self.origin)?;
        match &self.near {
            Some(near) => write!(f, "did you mean {near}?"),
            None => write!(f, "`chatferry config --example` lists all"),
        }
    }
}

/// A known name that was set and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A variable of OpenTelemetry that asks for what is not spoken here.
    NotSpoken { name: String, value: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSpoken { name, value } => {
                write!(
                    f,
                    "{name} is {value}, which is not spoken here, so nothing is traced: set \
                     trace.endpoint to the collector's HTTP port, as http://collector:4318"
                )
            }
        }
    }
}

/// Why `serve` does not start with these settings, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    /// A misspelt name: the setting that was meant would have its default in silence.
    #[error("{0}")]
    Unknown(UnknownName),
    #[error("{metrics} is server.bind too: choose another, or leave it empty")]
    SameBind { metrics: Effective },
    #[error(
        "{bind} can be reached by other machines, and with auth.identity = none whoever reaches it \
         can read and write as anybody: bind 127.0.0.1, or accept it by setting \
         auth.allow_anonymous = true"
    )]
    Anonymous { bind: Effective },
}
