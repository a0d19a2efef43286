//! Keeps one fault from filling the log: of each line of the code, the first few events are
//! written, and the rest are counted and reported in one line.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::config::log::SECURITY;

/// Events of one line of the code that are written between two calls of [`Floods::summarise`].
const MOST: u64 = 20;

/// Lines written lately. Those of `debug` and `trace` were asked for and are never left out.
#[derive(Clone, Debug, Default)]
pub struct Floods(Arc<Mutex<HashMap<Identifier, SeenText>>>);

#[derive(Debug)]
struct SeenText {
    events: u64,
    level: Level,
    target: &'static str,
    /// Text of the first of them.
    message: String,
}

impl Floods {
    /// Tells what was left out since the last call, and begins anew. Called every few seconds.
    pub fn summarise(&self) {
        let seen = std::mem::take(&mut *self.seen());
        for seen in seen.into_values().filter(|seen| seen.events > MOST) {
            let SeenText {
                events,
                level,
                target,
                message,
            } = seen;
            let left_out = events - MOST;
            tracing::warn!(left_out, %level, from = target, like = message, "lines were left out");
        }
    }

    /// Returns whether one more event may be written.
    fn admit(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        // The security log has bounds of its own.
        if *metadata.level() > Level::INFO || metadata.target() == SECURITY {
            return true;
        }
        let mut seen = self.seen();
        let seen = seen.entry(metadata.callsite()).or_insert_with(|| {
            let mut message = EventText::default();
            event.record(&mut message);
            SeenText {
                events: 0,
                level: *metadata.level(),
                target: metadata.target(),
                message: message.0,
            }
        });
        seen.events += 1;
        seen.events <= MOST
    }

    /// Held for moments only.
    fn seen(&self) -> MutexGuard<'_, HashMap<Identifier, SeenText>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Floods {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admit(event)
    }
}

/// The text of an event without its fields.
#[derive(Default)]
struct EventText(String);

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
