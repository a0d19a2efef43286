//! `chatferry layer`: speaks to the channel layer from a shell, as any process beside Django may.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

use super::{Choices, complain, failed, open_layer};
use crate::chat::Event;
use crate::config::Config;
use crate::layer::{ChannelLayer, LayerError, Received};
use crate::python::json::{Constants, loads, write_ascii_str, write_utf8};

/// Between two looks for groups that match a pattern.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum LayerCommand {
    /// Send an event to every member of a group
    Send {
        group: String,
        /// An object whose `type` names an event handler
        json: String,
        #[command(flatten)]
        choices: Choices,
    },
    /// Print the events of groups as they come, one JSON object a line, until interrupted
    Tail {
        /// Names, or patterns as 'chat_*' (with *, ? and [...]), which new groups may match too
        #[arg(required = true)]
        groups: Vec<String>,
        #[command(flatten)]
        choices: Choices,
    },
}

/// Does what the command asks on the layer of these settings.
pub(super) async fn layer(config: &Config, command: LayerCommand) -> ExitCode {
    let layer = match open_layer(config).await {
        Ok(layer) => layer,
        Err(code) => return code,
    };
    let done = match command {
        LayerCommand::Send { group, json, .. } => send(&*layer, &group, &json).await,
        LayerCommand::Tail { groups, .. } => tail(&*layer, groups).await,
    };
    layer.close().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
enum CommandFailure {
    #[error("not JSON: {0}")]
    Json(String),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

async fn send(layer: &dyn ChannelLayer, group: &str, json: &str) -> Result<(), CommandFailure> {
    let event =
        loads(json, Constants::Allow).map_err(|error| CommandFailure::Json(error.to_string()))?;
    let members = layer.members(group).await?;
    layer.group_send(group, Event::Foreign(event)).await?;
    let s = if members == 1 { "" } else { "s" };
    // A process is one member, whatever the number of its sockets.
    super::print(&format!("Sent to {members} member{s} of {group}.\n"));
    Ok(())
}

/// The groups that are listened to.
struct Listening {
    /// The place of each is the local name of its channel, which brings the group back.
    groups: Vec<String>,
    patterns: Vec<String>,
}

impl Listening {
    async fn join(&mut self, layer: &dyn ChannelLayer, group: String) -> Result<(), LayerError> {
        if self.groups.contains(&group) {
            return Ok(());
        }
        let channel = layer.channel(&self.groups.len().to_string());
        layer.group_add(&group, &channel).await?;
        self.groups.push(group);
        Ok(())
    }

    /// Joins the groups that match by now.
    async fn look(&mut self, layer: &dyn ChannelLayer) -> Result<(), LayerError> {
        for pattern in self.patterns.clone() {
            for group in layer.groups(&pattern).await? {
                self.join(layer, group).await?;
            }
        }
        Ok(())
    }

    fn group_of(&self, local: &str) -> &str {
        let place: Option<usize> = local.parse().ok();
        let group = place.and_then(|place| self.groups.get(place));
        group.map_or("", String::as_str)
    }
}

async fn tail(layer: &dyn ChannelLayer, groups: Vec<String>) -> Result<(), CommandFailure> {
    layer.ping().await?;
    let is_pattern = |group: &String| group.contains(['*', '?', '[']);
    let (patterns, names): (_, Vec<String>) = groups.into_iter().partition(is_pattern);
    let groups = Vec::new();
    let mut listening = Listening { groups, patterns };
    for group in names {
        listening.join(layer, group).await?;
    }
    let mut looks = interval(LOOK);
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let received = tokio::select! {
            received = layer.receive() => received,
            _ = looks.tick(), if !listening.patterns.is_empty() => {
                // A layer that is away is reported as such.
                if let Err(error) = listening.look(layer).await
                    && !matches!(error, LayerError::Unavailable(_))
                {
                    return Err(error.into());
                }
                continue;
            }
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
        };
        match received {
            None => return Ok(()),
            Some(Received::Returning) => {}
            Some(Received::Away { .. }) => complain(&"the channel layer is away"),
            Some(Received::Gap { .. }) => complain(&"events may have been missed"),
            Some(Received::Event { local, event, .. }) => {
                match print(listening.group_of(&local), &event) {
                    // A reader that has gone (`| head`) has seen what it wanted.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    printed => printed?,
                }
            }
        }
    }
}

/// `{"group": …, "event": …}`
fn print(group: &str, event: &Event) -> io::Result<()> {
    let Event::Foreign(body) = event else {
        return Ok(());
    };
    let mut line = b"{\"group\": ".to_vec();
    write_ascii_str(&mut line, group);
    line.extend(b", \"event\": ");
    write_utf8(&mut line, body);
    line.extend(b"}\n");
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
