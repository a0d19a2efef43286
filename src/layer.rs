//! The channel layer: how an event reaches every process that has a member of a group, as in
//! Django Channels.
//!
//! A channel is an inbox; a group is a set of channels. Chatferry keeps one channel for each
//! conversation that has a socket in this process, however many sockets there are, and fans out
//! in memory ([`crate::hub`]); a peer sees an ordinary member of the group.
//!
//! [`memory`] serves a single process, [`redis`] many, Django's among them. The layer is a hint and
//! the store is the truth: what is broadcast has been committed before.

pub mod control;
pub mod events;
pub mod memory;
pub mod redis;
pub mod unannounced;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{control::Control, events::EventTable};
use crate::{
    chat::Event,
    clock::{Clock, since_1970},
    config::{Backend, Config},
    metrics::{Metrics, Sender},
    python::datetime::Timestamp,
    random::NoRandomness,
    vital::Vital,
};

/// The group of Chatferry's own processes. It exists on every host of the layer.
pub const CONTROL: &str = "chatferry-control";

/// Longest time that [`ChannelLayer::close`] takes.
pub const GOODBYE: Duration = Duration::from_secs(2);

/// The outcome of a send, to be awaited.
pub type Sent = Pin<Box<dyn Future<Output = Result<(), LayerError>> + Send>>;

/// A channel layer of Channels, as one process sees it.
#[async_trait]
pub trait ChannelLayer: Send + Sync {
    /// Returns the full name of this process' channel called `local`, without a request to Redis.
    fn channel(&self, local: &str) -> String;

    /// Makes `channel` a member of `group`; doing it again renews the membership.
    async fn group_add(&self, group: &str, channel: &str) -> Result<(), LayerError>;

    /// Ends the membership; not an error if there is none.
    async fn group_discard(&self, group: &str, channel: &str) -> Result<(), LayerError>;

    /// Sends `event` to every channel of `group`. An empty group is not an error.
    ///
    /// Events of one group arrive in the order of the calls: the event has its place when this
    /// returns. The future is only the outcome; dropping it does not take the event back, and
    /// awaiting it is what keeps a sender from outrunning the layer.
    fn group_send(&self, group: &str, event: Event) -> Sent;

    /// Returns whether events of this group may be missed now, as a host cannot be reached.
    fn may_miss(&self, group: &str) -> bool;

    /// Returns the next event for the channels of this process; `None` when the layer has been
    /// closed. One task receives.
    async fn receive(&self) -> Option<Received>;

    /// Returns whether the next event is there already, for the task that receives.
    fn has_more(&self) -> bool;

    /// Sends `event` to one channel, of whichever process.
    ///
    /// # Errors
    /// [`LayerError::Full`] if the channel holds as much as it may: nothing was sent.
    async fn send(&self, channel: &str, event: Event) -> Result<(), LayerError>;

    /// Makes the channel called [`CONTROL`] of this process a member of the group of that name, on
    /// every host.
    async fn join_control(&self) -> Result<(), LayerError>;

    /// Says something to the Chatferry processes, this one too, by any host that is there.
    fn send_control(&self, control: &Control) -> Sent;

    /// Says to the other Chatferry processes what they must know before the next events of a group
    /// from here. If it cannot be sent before those, the conversation is to be read again since
    /// `since`.
    fn send_ahead(&self, group: &str, since: Timestamp, control: &Control) -> Sent;

    /// Returns the names of the groups that have members now and match a pattern as Redis has it
    /// (`*`, `?`, `[…]`), on every host. A layer of one process has none for others.
    async fn groups(&self, _pattern: &str) -> Result<Vec<String>, LayerError> {
        Ok(Vec::new())
    }

    /// Returns the number of channels that are members of the group now.
    async fn members(&self, _group: &str) -> Result<u64, LayerError> {
        Ok(0)
    }

    /// Returns the tasks of the layer.
    fn vital(&self) -> Vital;

    /// Fails unless the layer works now.
    async fn ping(&self) -> Result<(), LayerError>;

    /// Waits until every event that was handed over is sent, and none is owed to Redis. A layer of
    /// one process owes none.
    async fn settled(&self) {}

    /// Ends every membership, leaves nothing behind, and ends [`receive`](Self::receive), within
    /// [`GOODBYE`].
    async fn close(&self);
}

/// Opens the layer of the settings for the events of a chat. One that cannot be reached now is no
/// error: it is joined when it can.
///
/// # Errors
/// [`LayerError::Settings`].
pub async fn open(
    config: &Config,
    events: Arc<dyn EventTable>,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
) -> Result<Arc<dyn ChannelLayer>, LayerError> {
    let passthrough = redis::event::Passthrough::new(events, &config.layer.passthrough);
    open_for(passthrough, config, clock, metrics).await
}

/// Opens a layer of the same settings for an application of its own: every event is
/// [packed](Event::Packed).
///
/// # Errors
/// As [`open`].
pub async fn open_packed(
    config: &Config,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
) -> Result<Arc<dyn ChannelLayer>, LayerError> {
    open_for(redis::event::Passthrough::packed(), config, clock, metrics).await
}

/// Opens a layer of the same settings for a command, which speaks to the processes of a chat: what
/// it receives is as it came, the chat's own events too.
///
/// # Errors
/// As [`open`].
pub async fn open_for_command(config: &Config) -> Result<Arc<dyn ChannelLayer>, LayerError> {
    let (clock, metrics) = (Arc::default(), Arc::new(Metrics::new()));
    open_for(redis::event::Passthrough::all(), config, clock, metrics).await
}

async fn open_for(
    passthrough: redis::event::Passthrough,
    config: &Config,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
) -> Result<Arc<dyn ChannelLayer>, LayerError> {
    if config.layer.backend == Backend::Memory {
        return Ok(Arc::new(memory::MemoryLayer::new()));
    }
    redis::open(&config.layer, passthrough, clock, metrics).await
}

/// Event or state change of a layer.
#[derive(Clone, Debug)]
pub enum Received {
    /// An event for the channel of this process whose local name this is.
    Event {
        local: String,
        event: Arc<Event>,
        /// If the layer tells.
        sent: Option<Departure>,
        /// When it was first sent, if it is sent again: it may have been heard before.
        resent: Option<Timestamp>,
    },
    /// A host of the layer cannot be reached, and events may be missed since then. A gap follows
    /// when it can again.
    Away { since: Timestamp },
    /// Events from now on may be newer than those that were missed, and a gap follows: memberships
    /// are about to be restored, or a queue has run over.
    Returning,
    /// Events may have been lost between `since` and now; from now on none are. The store knows
    /// what was said meanwhile.
    Gap { since: Timestamp },
}

/// When an event was sent, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    pub by: Sender,
    /// Unix seconds of the sender's clock.
    pub at: f64,
}

impl Departure {
    /// Of an event that this process sends now.
    #[must_use]
    pub fn now() -> Self {
        let (by, at) = (Sender::Own, since_1970().as_secs_f64());
        Departure { by, at }
    }

    /// Seconds since then by our own clock; the sender's may be ahead of it.
    #[must_use]
    pub fn age_s(self) -> f64 {
        since_1970().as_secs_f64() - self.at
    }
}

/// Why the layer could not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LayerError {
    /// The layer has been closed: the process is going away.
    #[error("the channel layer is closed")]
    Closed,
    /// The layer does not answer. Our own channels have the event all the same; it is owed to the
    /// others, and sent when it can be.
    #[error("the channel layer is not available: {0}")]
    Unavailable(String),
    /// The layer answered that it will not. It is asked again.
    #[error("the channel layer refused: {0}")]
    Refused(String),
    /// The channel holds as much as it may.
    #[error("the channel {0} is full")]
    Full(String),
    /// No Python process could read this event. It was not sent.
    #[error("the event cannot be sent: {0}")]
    Unsendable(#[from] redis::codec::Unsendable),
    /// No channel or group can have this name.
    #[error("{0:?} is no name of a channel or group")]
    Name(String),
    /// The settings name no layer that there could be.
    #[error("layer.hosts: {0}")]
    Settings(String),
}

impl From<NoRandomness> for LayerError {
    fn from(error: NoRandomness) -> Self {
        LayerError::Unavailable(error.to_string())
    }
}

impl LayerError {
    /// Returns the value of the `kind` label in the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            LayerError::Closed => "closed",
            LayerError::Unavailable(_) => "unavailable",
            LayerError::Refused(_) => "refused",
            LayerError::Full(_) => "full",
            LayerError::Unsendable(_) => "unsendable",
            LayerError::Name(_) => "name",
            LayerError::Settings(_) => "settings",
        }
    }
}
