//! `chatferry layer`: speaks to the channel layer from a shell, as any process beside Django may.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

use super::{Choices, complain, failed};
use crate::chat::Event;
use crate::config::{Backend, Config};
use crate::django::json::{Constants, loads, write_ascii_str, write_utf8};
use crate::layer::redis::{self, event::Passthrough};
use crate::layer::{ChannelLayer, LayerError, Received};
use crate::metrics::Metrics;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
        #[arg(required = true)]
        groups: Vec<String>,
        #[command(flatten)]
        choices: Choices,
    },
}

/// Does what the command asks on the layer of these settings.
pub(super) async fn layer(config: &Config, command: Command) -> ExitCode {
    if config.layer.backend == Backend::Memory {
        return failed(
            &"layer.backend = memory reaches no other process: set layer.backend = redis",
        );
    }
    let metrics = Arc::new(Metrics::new());
    let layer = match redis::open(&config.layer, Passthrough::all(), Arc::default(), metrics).await
    {
        Ok(layer) => layer,
        Err(error) => return failed(&error),
    };
    let done = match command {
        Command::Send { group, json, .. } => send(&*layer, &group, &json).await,
        Command::Tail { groups, .. } => tail(&*layer, &groups).await,
    };
    layer.close().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not JSON: {0}")]
    Json(String),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

async fn send(layer: &dyn ChannelLayer, group: &str, json: &str) -> Result<(), Failure> {
    let event = loads(json, Constants::Allow).map_err(|error| Failure::Json(error.to_string()))?;
    Ok(layer.group_send(group, Event::Other(event)).await?)
}

async fn tail(layer: &dyn ChannelLayer, groups: &[String]) -> Result<(), Failure> {
    layer.ping().await?;
    for (place, group) in groups.iter().enumerate() {
        // The place is the channel's local name: it brings the group back.
        layer
            .group_add(group, &layer.channel(&place.to_string()))
            .await?;
    }
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let received = tokio::select! {
            received = layer.receive() => received,
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
        };
        match received {
            None => return Ok(()),
            Some(Received::Returning) => {}
            Some(Received::Away { .. }) => complain(&"the channel layer is away"),
            Some(Received::Gap { .. }) => complain(&"events may have been missed"),
            Some(Received::Event { local, event, .. }) => {
                let group = local
                    .parse()
                    .ok()
                    .and_then(|place: usize| groups.get(place));
                match print(group.map_or("", String::as_str), &event) {
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
    let Event::Other(body) = event else {
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
