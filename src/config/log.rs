//! `[log]`: how the server tells what it does.

use std::fmt;

use serde::Deserialize;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::declare::{choice, settings};

settings! {
    /// The log, on standard error.
    pub struct Log in "log" {
        /// `text` for people, `json` for machines: one object a line.
        format: Format = "text",
        /// `off`, `error`, `warn`, `info`, `debug` or `trace`; parts may have their own, as
        /// `info,chatferry::ws=debug`. The security log is written at any level, unless its own
        /// part says otherwise: `chatferry::security=off`.
        level: Level = "info",
    }
}

choice! {
    /// The form of a log line.
    pub enum Format {
        Text = "text",
        Json = "json",
    }
}

/// Which events are logged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Level {
    text: String,
    targets: Targets,
}

impl Level {
    /// Returns the filter for the subscriber.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl TryFrom<String> for Level {
    type Error = &'static str;

    /// Stricter than [`Targets`], to which a misspelt `inof` is a target of that name.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_level = |text: &str| text.parse::<LevelFilter>().is_ok() && !text.is_empty();
        let known = text.split(',').all(|part| match part.split_once('=') {
            Some((target, level)) => !target.is_empty() && is_level(level),
            None => is_level(part),
        });
        match text.parse::<Targets>() {
            Ok(targets) if known => Ok(Self {
                text,
                targets: with_security(targets).with_target(RETURNED, LevelFilter::OFF),
            }),
            _ => Err(
                "`off`, `error`, `warn`, `info`, `debug` or `trace`, or a list as \
                      `info,chatferry::ws=debug`",
            ),
        }
    }
}

/// The target of the security log.
pub const SECURITY: &str = "chatferry::security";

/// Lines of the client of `RabbitMQ` that have the contents of messages, which no log may have.
const RETURNED: &str = "lapin::returned_messages";

/// Adds the security log at `info` if nothing else is said of it.
fn with_security(targets: Targets) -> Targets {
    if targets.iter().any(|(target, _)| target == SECURITY) {
        return targets;
    }
    targets.with_target(SECURITY, LevelFilter::INFO)
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Severity;

    use super::Level;

    #[test]
    fn a_part_may_have_its_own_level() {
        let level = Level::try_from("info,chatferry::ws=debug".to_owned()).unwrap();
        let targets = level.targets();
        assert!(targets.would_enable("chatferry::ws::reader", &Severity::DEBUG));
        assert!(!targets.would_enable("chatferry::store", &Severity::DEBUG));
        assert!(targets.would_enable("chatferry::store", &Severity::INFO));
    }

    #[test]
    fn contents_of_messages_are_never_logged() {
        for text in ["trace", "info,lapin::returned_messages=trace"] {
            let level = Level::try_from(text.to_owned()).unwrap();
            let targets = level.targets();
            assert!(!targets.would_enable("lapin::returned_messages", &Severity::ERROR));
        }
    }

    #[test]
    fn the_security_log_is_on_unless_its_own_part_says_otherwise() {
        let is_on = |text: &str| {
            let level = Level::try_from(text.to_owned()).unwrap();
            level
                .targets()
                .would_enable("chatferry::security", &Severity::INFO)
        };
        for text in ["off", "error", "info", "error,chatferry=warn"] {
            assert!(is_on(text), "{text}");
        }
        assert!(!is_on("info,chatferry::security=off"));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for text in [
            "",
            "inof",
            "info,",
            "chatferry::ws",
            "chatferry=loud",
            "=debug",
            "info debug",
        ] {
            assert!(Level::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
