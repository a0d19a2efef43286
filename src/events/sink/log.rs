//! The sink `log`: a line on standard output for each event, which is all of the original's line.

use std::io::{self, Write};

use async_trait::async_trait;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{Published, Sink, away};
use crate::events::envelope::Outgoing;

/// Writes lines.
#[derive(Default)]
pub struct LogSink {
    /// Lines that are being written. A reader that does not read holds them up, and then no more
    /// are begun.
    writing: Option<JoinHandle<io::Result<()>>>,
}

#[async_trait]
impl Sink for LogSink {
    async fn publish(&mut self, events: &[Outgoing], _: Instant) -> Published {
        if let Some(earlier) = &mut self.writing {
            // Its outcome was given up: the events come again.
            let _ = earlier.await;
        }
        let bytes: usize = events.iter().map(|event| event.body.len() + 1).sum();
        let mut lines = String::with_capacity(bytes);
        for event in events {
            lines.push_str(&event.body);
            lines.push('\n');
        }
        let writing = self.writing.insert(spawn_blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(lines.as_bytes())?;
            out.flush()
        }));
        let written = writing.await;
        self.writing = None;
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(away(error)),
            Err(error) => Some(away(error)),
        };
        Published {
            confirmed: if failure.is_none() { events.len() } else { 0 },
            failure,
        }
    }
}
