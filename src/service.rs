//! Every use case of the chat. What is broadcast or acknowledged has been committed before.

mod attachments;
mod broadcast;
mod changes;
mod conversations;
mod first_page;
mod groups;
mod messages;
mod overview;
mod pages;
mod receipts;
mod resume;
mod rights;
mod shared_reads;

use std::sync::Arc;

use crate::{
    chat::{GroupRefusal, Participants, fits},
    config::{Config, GroupPattern},
    files::Files,
    hub::changes::Changes,
    id::ConversationId,
    layer::{ChannelLayer, LayerError, unannounced::Unannounced},
    metrics::Metrics,
    python::datetime::Zone,
    store::{Store, StoreError, Subject},
};

use self::shared_reads::SharedReads;
pub use self::{
    attachments::{AttachmentError, sweep_attachments},
    changes::{CHANGES_KEPT, ChangedMessages, forget_old_changes},
    first_page::FirstPage,
    messages::SocketHistory,
    overview::{ConversationEntry, SearchPage},
    pages::MessagePage,
    resume::{RESUME_MAX, Resumed},
};

/// The use cases, over one store and one layer.
pub struct Chat {
    store: Arc<dyn Store>,
    /// Participants of active conversations.
    active: Arc<SharedReads<ConversationId, Option<Arc<Participants>>>>,
    histories: Arc<SharedReads<ConversationId, Result<SocketHistory, StoreError>>>,
    layer: Arc<dyn ChannelLayer>,
    unannounced: Arc<Unannounced>,
    changes: Arc<Changes>,
    metrics: Arc<Metrics>,
    /// Zone of the times in what clients see.
    zone: Zone,
    group_pattern: GroupPattern,
    history_limit: Option<usize>,
    broadcast_rest: bool,
    /// `None` if no files can be sent.
    files: Option<Arc<Files>>,
    /// Most members of a group.
    members_max: usize,
}

/// Why a use case ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("no such conversation")]
    NoConversation,
    #[error("no such message")]
    NoMessage,
    /// The caller may not know of it: answered as if it were not there.
    #[error("it is somebody else's")]
    Hidden(Subject),
    /// The caller may not speak for this user.
    #[error("you can send, mark and type as yourself only")]
    NotYou,
    /// Only its sender may change a message.
    #[error("the message is somebody else's")]
    NotYours,
    /// The tables have no room for it, which `chatferry migrate` makes, or it is not set.
    #[error("this server does not have that")]
    Off,
    /// It has no name, roles or members that could be changed.
    #[error("the conversation is not a group")]
    NotAGroup,
    /// The rules of groups are against it.
    #[error(transparent)]
    Group(GroupRefusal),
    /// The id that a client chose for a message is that of another one.
    #[error("the id is that of another message")]
    IdTaken,
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// A text is longer than its column: the sender's fault, and nothing was stored.
    #[error("{field} must have no more than {max} characters")]
    TooLong { field: &'static str, max: usize },
    /// Another spelling of a user id has the row, and the database cannot tell the two apart.
    #[error("the database cannot tell an id from another spelling of it that is in use")]
    Alike,
    #[error(transparent)]
    Store(StoreError),
    /// Whatever had to be stored has been; the event cannot be sent.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl From<StoreError> for ChatError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Alike => ChatError::Alike,
            StoreError::Unattached => AttachmentError::Missing.into(),
            error => ChatError::Store(error),
        }
    }
}

impl Chat {
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        layer: Arc<dyn ChannelLayer>,
        (unannounced, changes): (Arc<Unannounced>, Arc<Changes>),
        metrics: Arc<Metrics>,
        group_pattern: GroupPattern,
        files: Option<Arc<Files>>,
    ) -> Self {
        Chat {
            store,
            active: Arc::default(),
            histories: Arc::default(),
            layer,
            unannounced,
            changes,
            metrics,
            zone: config.django.time_zone.zone().clone(),
            group_pattern,
            history_limit: Some(config.ws.history_limit).filter(|&limit| limit > 0),
            broadcast_rest: config.rest.broadcast,
            files,
            members_max: config.native.members_max,
        }
    }

    /// Returns the zone of the times in what clients see.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns the group of the layer that a conversation's events go to.
    #[must_use]
    pub fn group(&self, conversation_id: ConversationId) -> String {
        self.group_pattern.group(conversation_id)
    }
}

fn within(field: &'static str, text: &str, max: usize) -> Result<(), ChatError> {
    if fits(text, max) {
        Ok(())
    } else {
        Err(ChatError::TooLong { field, max })
    }
}

/// As [`within`], and spaces at the end count.
fn whole(field: &'static str, text: &str, max: usize) -> Result<(), ChatError> {
    if text.chars().nth(max).is_none() {
        Ok(())
    } else {
        Err(ChatError::TooLong { field, max })
    }
}
