//! The command line: what can be asked of the binary, and with which settings it is done.
//!
//! Exit codes: 0 done, 1 could not be done, 2 the command line or the settings are wrong. What the
//! commands do is in `cli/`, one file each; `main` passes in the arguments and the environment.

mod advice;
mod caution;
mod check;
mod disconnect;
mod events;
mod healthcheck;
mod layer;
mod list;
mod migrate;
mod rehearsal;
mod serve;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use self::migrate::Wanted;
use crate::dialect::django::docs;
use crate::host::order;
use crate::layer::{ChannelLayer, control::Disconnect, open_for_command};
use crate::telemetry;
use crate::{
    config::{Backend, Config, ConfigErrors, Loaded, Prefix, example_toml, files, memory},
    id::ConversationId,
};

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "chatferry.toml";

/// The command line or the settings are wrong.
const WRONG: u8 = 2;

/// Serves a Django Channels chat from one binary. Without a command: serve.
#[derive(Debug, Parser)]
#[command(name = "chatferry", version)]
struct Cli {
    #[command(flatten)]
    choices: Choices,

    #[command(subcommand)]
    command: Option<Command>,
}

/// The flags that stand before or after the command. Not clap's "global" ones: of a flag given in
/// both places those keep one half.
#[derive(Debug, Default, Args)]
struct Choices {
    /// Settings file [default: ./chatferry.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// One setting, as server.bind=127.0.0.1:9000; before the environment and the file
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Set for `chatferry host`.
    #[arg(skip)]
    is_host: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve(Choices),
    /// Serve, and host an application of Django Channels: every socket and path is its own, the
    /// chat's too
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Host {
        /// The ASGI application, as mysite.asgi:application
        #[arg(required_unless_present = "command")]
        application: Option<String>,
        /// Command that starts a worker, as `python manage.py chatferry_worker`
        #[arg(long)]
        command: Option<String>,
        #[command(flatten)]
        choices: Choices,
        #[command(subcommand)]
        order: Option<HostOrder>,
    },
    /// Make or complete the tables; what Django made stays as it is
    Migrate {
        /// Print the SQL and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Make an index for searches too, on PostgreSQL
        #[arg(long)]
        search: bool,
        #[command(flatten)]
        choices: Choices,
    },
    /// Go through everything serve would do, and tell what to do about each fault
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        choices: Choices,
    },
    /// Print the settings in force and where each comes from, secrets masked
    Config {
        /// Print a commented file with every option and its default
        #[arg(long)]
        example: bool,
        #[command(flatten)]
        choices: Choices,
    },
    /// Exit 0 if the server of these settings answers /readyz
    Healthcheck(Choices),
    /// Close the open sockets of a user, of a conversation, or of a user in a conversation, on
    /// every process of the channel layer
    Disconnect {
        /// The user's id in the chat
        #[arg(long, required_unless_present = "conversation")]
        user: Option<String>,
        /// The conversation's id
        #[arg(long, value_name = "UUID")]
        conversation: Option<Uuid>,
        #[command(flatten)]
        choices: Choices,
    },
    /// Print the API document of everything that is served
    Openapi(Choices),
    /// Look after the events that other services get
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Speak to the channel layer
    #[command(subcommand)]
    Layer(layer::LayerCommand),
}

#[derive(Debug, Subcommand)]
enum HostOrder {
    /// Have the process of these settings do as on SIGHUP, and wait until it has: read its settings
    /// again, replace its workers
    Reload(Choices),
}

impl Choices {
    /// Adds what `chatferry host` stands for. What is set by a flag of its own is left as it is.
    fn host(&mut self, application: Option<String>, command: Option<String>) {
        self.is_host = true;
        let given = [
            ("host.application", application),
            ("host.command", command),
            // The second names the chat's own prefix, which no shorter one does.
            ("host.routes", Some(format!("/,{}", Prefix::CHAT))),
        ];
        for (key, value) in given {
            if let Some(value) = value
                && self.set.iter().all(|(known, _)| known != key)
            {
                self.set.push((key.to_owned(), value));
            }
        }
    }
}

impl Cli {
    /// Returns the command and all flags; of one given twice the last.
    fn into_parts(self) -> (Command, Choices) {
        let mut command = self.command.unwrap_or(Command::Serve(Choices::default()));
        let mut choices = self.choices;
        let (Command::Serve(after)
        | Command::Check { choices: after, .. }
        | Command::Healthcheck(after)
        | Command::Openapi(after)
        | Command::Layer(
            layer::LayerCommand::Send { choices: after, .. }
            | layer::LayerCommand::Tail { choices: after, .. },
        )
        | Command::Events(
            events::EventsCommand::List { choices: after, .. }
            | events::EventsCommand::Replay { choices: after, .. }
            | events::EventsCommand::Drop { choices: after, .. },
        )
        | Command::Disconnect { choices: after, .. }
        | Command::Host {
            order: Some(HostOrder::Reload(after)),
            ..
        }
        | Command::Host { choices: after, .. }
        | Command::Migrate { choices: after, .. }
        | Command::Config { choices: after, .. }) = &mut command;
        choices.set.append(&mut after.set);
        choices.config = after.config.take().or(choices.config);
        if let Command::Host {
            application,
            command,
            order: None,
            ..
        } = &mut command
        {
            choices.host(application.take(), command.take());
        }
        (command, choices)
    }
}

/// Why a command was not begun.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot read the settings file {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
}

/// Does what the arguments ask (the program's name is the first) and returns the exit code.
/// Variables that are no Unicode are read with replacement characters.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(WRONG)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let text = |text: OsString| text.to_string_lossy().into_owned();
    let env = env
        .into_iter()
        .map(|(name, value)| (text(name), text(value)));
    match cli.into_parts() {
        (Command::Config { example: true, .. }, _) => print(&example_toml()),
        (command, choices) => {
            let sources = Sources {
                env: env.collect(),
                choices,
            };
            match sources.load() {
                Ok(loaded) => execute(command, loaded, sources).await,
                Err(error) => {
                    if matches!(command, Command::Check { json: true, .. }) {
                        check::unreadable(&error);
                    } else {
                        complain(&error);
                    }
                    ExitCode::from(WRONG)
                }
            }
        }
    }
}

async fn execute(command: Command, loaded: Loaded, sources: Sources) -> ExitCode {
    match command {
        Command::Host { order: Some(_), .. } => reload(&warned(loaded)).await,
        // The state of a serving process is large, and exists once.
        Command::Serve(_) | Command::Host { .. } => Box::pin(start(loaded, sources)).await,
        Command::Migrate {
            dry_run, search, ..
        } => migrate::migrate(&warned(loaded), Wanted { dry_run, search }).await,
        Command::Check { json, .. } => Box::pin(check::check(loaded, json)).await,
        Command::Config { .. } => {
            let code = print(&list::in_force(&loaded.effective));
            warned(loaded);
            code
        }
        Command::Openapi(_) => print(&docs::document(&warned(loaded))),
        Command::Disconnect {
            user, conversation, ..
        } => {
            let conversation = conversation.map(ConversationId::from);
            let order = Disconnect { user, conversation };
            disconnect::disconnect(&warned(loaded), order).await
        }
        Command::Events(command) => events::events(&warned(loaded), command).await,
        Command::Layer(command) => layer::layer(&warned(loaded), command).await,
        Command::Healthcheck(_) => match healthcheck::ready(&loaded.config.server).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
    }
}

/// Has the process of these settings reload.
async fn reload(config: &Config) -> ExitCode {
    let Some(path) = &config.host.socket else {
        return failed(&"host.socket is not set: the process is found by it. SIGHUP does the same");
    };
    match order::reload(path).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Serves, unless the settings ask for what is not served or not safe.
async fn start(loaded: Loaded, sources: Sources) -> ExitCode {
    // A log that was set up before is kept.
    let log = telemetry::init(&loaded.config.log).ok();
    telemetry::keep_panics_quiet();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let refusals = loaded.refusals();
    for refusal in &refusals {
        complain(refusal);
    }
    if refusals.is_empty() {
        Box::pin(serve::serve(loaded, log, move || sources.load())).await
    } else {
        ExitCode::from(WRONG)
    }
}

/// Where the settings come from, kept to read them again: of these only the file can have changed.
struct Sources {
    choices: Choices,
    env: Vec<(String, String)>,
}

impl Sources {
    fn load(&self) -> Result<Loaded, Unusable> {
        let Choices {
            config,
            set,
            is_host,
        } = &self.choices;
        let loaded = load(config.as_deref(), self.env.iter().cloned(), set)?;
        Ok(if *is_host {
            loaded.hosting_http()
        } else {
            loaded
        })
    }
}

/// Reads the file that is named, or the default one if it is there, and everything else, and fits
/// the defaults to the memory there is, and the connections to the files that may be open.
fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Loaded, Unusable> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Unusable::File {
                path: path.to_owned(),
                error,
            });
        }
    };
    let file = text.as_deref().map(|text| (path, text));
    let mut loaded = Config::load(file, env, flags)?;
    if io::stderr().is_terminal() {
        loaded = loaded.on_terminal();
    }
    let system = Path::new("/");
    let loaded = match memory::limit(system) {
        Some(memory) => loaded.fit_to(memory),
        None => loaded,
    };
    Ok(match files::limit(system) {
        Some(limit) => loaded.fit_to_files(limit),
        None => loaded,
    })
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Returns the settings after printing the names without effect to standard error.
fn warned(loaded: Loaded) -> Config {
    for unknown in &loaded.unknown {
        complain(unknown);
    }
    for warning in &loaded.warnings {
        complain(warning);
    }
    loaded.config
}

fn complain(what: &impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "chatferry: {what}");
}

fn failed(what: &impl std::fmt::Display) -> ExitCode {
    complain(what);
    ExitCode::FAILURE
}

/// Opens the layer by which a command reaches the processes of a chat, or says why there is none.
async fn open_layer(config: &Config) -> Result<Arc<dyn ChannelLayer>, ExitCode> {
    if config.layer.backend == Backend::Memory {
        return Err(failed(
            &"layer.backend = memory reaches no other process: set layer.backend = redis",
        ));
    }
    let opened = open_for_command(config).await;
    opened.map_err(|error| failed(&error))
}

/// Prints to standard output; a reader that has gone (`| head`) has seen what it wanted.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, String> {
        let args = ["chatferry"].iter().chain(args);
        Cli::try_parse_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn alone_it_serves() {
        for args in [&[][..], &["serve"], &["--config", "f"]] {
            assert!(
                matches!(parse(args).unwrap().into_parts().0, Command::Serve(_)),
                "{args:?}"
            );
        }
    }

    #[test]
    fn flags_before_and_after_the_command_all_count() {
        let args = [
            "--set",
            "a.b=1=2",
            "--config",
            "f",
            "migrate",
            "--dry-run",
            "--set",
            "c=",
        ];
        let (command, choices) = parse(&args).unwrap().into_parts();
        assert!(matches!(command, Command::Migrate { dry_run: true, .. }));
        assert_eq!(choices.config, Some("f".into()));
        let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(choices.set, [own("a.b", "1=2"), own("c", "")]);
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        assert!(
            parse(&["sevre"])
                .unwrap_err()
                .contains("unrecognized subcommand 'sevre'")
        );
        assert!(
            parse(&["--set", "server.bind"])
                .unwrap_err()
                .contains("expected KEY=VALUE")
        );
        assert!(
            parse(&["check", "--dry-run"])
                .unwrap_err()
                .contains("unexpected argument '--dry-run'")
        );
    }

    #[test]
    fn help_names_every_command() {
        let help = parse(&["--help"]).unwrap_err();
        for command in [
            "serve",
            "migrate",
            "check",
            "config",
            "healthcheck",
            "openapi",
            "--set <KEY=VALUE>",
        ] {
            assert!(help.contains(command), "{help}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let missing = Path::new("no/such/file.toml");
        let error = load(Some(missing), std::iter::empty(), &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot read the settings file no/such/file.toml:"),
            "{error}"
        );
        assert!(load(None, std::iter::empty(), &[]).is_ok());
    }
}
