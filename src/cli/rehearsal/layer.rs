//! The channel layer: whether each host answers, is a master and of the right kind, makes members,
//! and takes a message to them.

use std::time::Duration;

use tokio::time::timeout;

use super::{CheckOutcome, CheckStep, RehearsalStage, Steps};
use crate::chat::Event;
use crate::cli::advice;
use crate::config::{Backend, Config};
use crate::layer::{ChannelLayer, LayerError, Received, open_for_command};
use crate::random;
use crate::value::{Text, Value};

/// Longest time for the message to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Local name of the channel that joins.
const CHANNEL: &str = "check";

/// Looks at the layer in use, or at one of its own that a group is made on.
pub(super) async fn steps(
    steps: &mut Steps<impl FnMut(&CheckStep)>,
    config: &Config,
    stage: RehearsalStage<'_>,
) {
    if config.layer.backend == Backend::Memory {
        let why = "memory: events stay in this process";
        steps
            .add("layer: connect", async { CheckOutcome::skipped(why) })
            .await;
        return;
    }
    let of = |result: Result<(), LayerError>, about: String| {
        let fault = result.err().map(|error| advice::layer(&error, config));
        CheckOutcome::well(about).with_faults(fault)
    };
    let shown = format!("{}: {}", config.layer.backend, advice::hosts(config));
    if let RehearsalStage::Serving(site) = stage {
        let ping = async { of(site.app.layer.ping().await, shown) };
        steps.add("layer: connect", ping).await;
        return;
    }
    let mut opened = None;
    let connect = async {
        let result = match open_for_command(config).await {
            Ok(layer) => {
                let answer = layer.ping().await;
                opened = Some(layer);
                answer
            }
            Err(error) => Err(error),
        };
        of(result, shown)
    };
    let answers = steps.add("layer: connect", connect).await;
    let message = async {
        match opened.as_deref() {
            Some(layer) if answers => of(
                message(layer, config).await,
                "to a group of its own, and back".to_owned(),
            ),
            _ => CheckOutcome::skipped("no connection"),
        }
    };
    steps.add("layer: message", message).await;
    if let Some(layer) = opened {
        layer.close().await;
    }
}

/// Joins a group, has another layer send to it, waits for the message, and leaves.
async fn message(layer: &dyn ChannelLayer, config: &Config) -> Result<(), LayerError> {
    let sender = open_for_command(config).await?;
    let group = format!("chatferry-check-{}", random::name()?);
    let channel = layer.channel(CHANNEL);
    let sent = exchange(layer, &*sender, &group, &channel).await;
    sender.close().await;
    // A server that refuses to make members may refuse to end them.
    let left = layer.group_discard(&group, &channel).await;
    sent.and(left)
}

async fn exchange(
    layer: &dyn ChannelLayer,
    sender: &dyn ChannelLayer,
    group: &str,
    channel: &str,
) -> Result<(), LayerError> {
    layer.group_add(group, channel).await?;
    // A refused membership is asked for again, and reported here.
    layer.ping().await?;
    let event = Value::Map(vec![(Text::fixed("type"), "chatferry.check".into())]);
    sender.group_send(group, Event::Foreign(event)).await?;
    let arrival = async {
        while let Some(received) = layer.receive().await {
            if matches!(received, Received::Event { local, .. } if local == CHANNEL) {
                return Ok(());
            }
        }
        Err(LayerError::Closed)
    };
    let late = || LayerError::Unavailable("a message did not arrive within 5 s".to_owned());
    timeout(PATIENCE, arrival)
        .await
        .unwrap_or_else(|_| Err(late()))
}
