//! `chatferry events`: the sinks, their backlogs and their dead letters.

use std::{fmt::Write, process::ExitCode, sync::Arc};

use clap::Subcommand;
use uuid::Uuid;

use super::{Choices, advice, failed, print};
use crate::{
    config::Config,
    dialect::django::tables::schema,
    metrics::Metrics,
    python::datetime::to_iso_utc,
    store::{self, Store, StoreError, outbox::Outbox},
};

/// Most dead letters that are listed.
const LISTED: usize = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum EventsCommand {
    /// Print each sink with its backlog, and the events that were put aside as dead letters
    List {
        /// Dead letters of this sink only
        #[arg(long)]
        sink: Option<String>,
        #[command(flatten)]
        choices: Choices,
    },
    /// Publish dead letters of a sink again, or all events from one on
    Replay {
        #[arg(long)]
        sink: String,
        /// Only this dead letter
        #[arg(long, value_name = "EVENT_ID", conflicts_with = "from")]
        id: Option<Uuid>,
        /// This event and all later ones, whether or not the sink has got them
        #[arg(long, value_name = "EVENT_ID")]
        from: Option<Uuid>,
        #[command(flatten)]
        choices: Choices,
    },
    /// Delete dead letters of a sink; or forget a sink that is no longer set, so that no events are
    /// kept for it
    Drop {
        #[arg(long)]
        sink: String,
        /// Only this dead letter
        #[arg(long, value_name = "EVENT_ID", conflicts_with = "forget")]
        id: Option<Uuid>,
        /// The sink itself, with its place in the stream and its dead letters
        #[arg(long)]
        forget: bool,
        #[command(flatten)]
        choices: Choices,
    },
}

/// Does what the command asks, in the database of these settings.
pub(super) async fn events(config: &Config, command: EventsCommand) -> ExitCode {
    let schema = schema(&config.store.tables);
    let opened = store::open(config, &schema, Arc::new(Metrics::new())).await;
    let store: Arc<dyn Store> = match opened {
        Ok(store) => store,
        Err(error) => return failed(&advice::store(&error, config)),
    };
    let Some(outbox) = store.outbox() else {
        return failed(&"events.sinks is empty: no events are kept");
    };
    let done = execute(outbox, command).await;
    store.close().await;
    match done {
        Ok(Ok(text)) => print(&text),
        Ok(Err(why)) => failed(&why),
        Err(error) => failed(&advice::store(&error, config)),
    }
}

/// Returns what is to be printed, or why nothing was done.
async fn execute(
    outbox: &Outbox,
    command: EventsCommand,
) -> Result<Result<String, String>, StoreError> {
    let text = |id: Option<Uuid>| id.map(|id| id.to_string());
    Ok(match command {
        EventsCommand::List { sink, .. } => Ok(list(outbox, sink.as_deref()).await?),
        EventsCommand::Replay {
            sink,
            from: Some(from),
            ..
        } => {
            if outbox.rewind(&sink, &from.to_string()).await? {
                Ok(format!(
                    "{sink} gets event {from} and all later ones again.\n"
                ))
            } else {
                Err(format!(
                    "{sink} has not got event {from} yet, or the event is not kept any more"
                ))
            }
        }
        EventsCommand::Replay { sink, id, .. } => {
            let letters = outbox.repeat(&sink, text(id).as_deref()).await?;
            Ok(format!(
                "{letters} dead letters of {sink} are published again.\n"
            ))
        }
        EventsCommand::Drop {
            sink, forget: true, ..
        } => {
            outbox.drop_dead(&sink, None).await?;
            if outbox.drop_sink(&sink).await? {
                Ok(format!("{sink} is forgotten.\n"))
            } else {
                Err(format!("there is no sink {sink}"))
            }
        }
        EventsCommand::Drop { sink, id, .. } => {
            let letters = outbox.drop_dead(&sink, text(id).as_deref()).await?;
            Ok(format!("{letters} dead letters of {sink} are deleted.\n"))
        }
    })
}

async fn list(outbox: &Outbox, of: Option<&str>) -> Result<String, StoreError> {
    let mut text = String::new();
    for sink in outbox.sinks().await? {
        let backlog = outbox.backlog(&sink.name).await?;
        let since = backlog.since.map_or_else(String::new, |since| {
            format!(", the oldest of {}", to_iso_utc(since))
        });
        let by = match sink.owner {
            Some(owner) => format!("published by {owner}"),
            None => "published by no process".to_owned(),
        };
        let _ = writeln!(
            text,
            "{}: {} events to publish{since}; {} dead letters; {by}",
            sink.name, backlog.events, backlog.dead
        );
    }
    for letter in outbox.dead_letters(of, LISTED).await? {
        let event = letter.event;
        let _ = writeln!(
            text,
            "dead: {} {} {} {} of conversation {}{}: {}",
            letter.sink,
            event.event_id,
            event.event_type,
            to_iso_utc(event.made_at),
            event.conversation_id,
            if letter.again {
                ", to be published again"
            } else {
                ""
            },
            super::list::one_line(&letter.error)
        );
    }
    Ok(text)
}
