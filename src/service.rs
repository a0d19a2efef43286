//! Every use case of the chat. What is broadcast or acknowledged has been committed before.

mod first_page;
mod flights;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    chat::{
        Conversation, Event, MESSAGE_TYPE_MAX, Message, NewMessage, Receipt, SentMessage,
        USER_ID_MAX, fits, policy::Caller,
    },
    config::{Config, GroupPattern},
    hub::frames::DialectSlot,
    id::{ConversationId, MessageId},
    layer::{ChannelLayer, LayerError, Sent, unannounced::Unannounced},
    metrics::Metrics,
    python::datetime::Zone,
    store::{
        Announce, Lookup, Standing, Store, StoreError, Subject,
        history::{Deleted, History, Pages},
    },
    telemetry::trace::{self, Kind},
    value::Value,
};

pub use self::first_page::FirstPage;
use self::flights::Flights;

/// The use cases, over one store and one layer.
pub struct Chat {
    store: Arc<dyn Store>,
    /// By dialect too: what is shared holds a frame.
    histories: Arc<Flights<(ConversationId, DialectSlot), Result<SocketHistory, StoreError>>>,
    layer: Arc<dyn ChannelLayer>,
    unannounced: Arc<Unannounced>,
    metrics: Arc<Metrics>,
    /// Zone of the times in what clients see.
    zone: Zone,
    group_pattern: GroupPattern,
    history_limit: Option<usize>,
    broadcast_rest: bool,
}

/// The history of a new socket.
#[derive(Clone)]
pub enum SocketHistory {
    Short(Arc<FirstPage>),
    Long(Pages),
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
            error => ChatError::Store(error),
        }
    }
}

impl Chat {
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        layer: Arc<dyn ChannelLayer>,
        unannounced: Arc<Unannounced>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Chat {
            store,
            histories: Arc::default(),
            layer,
            unannounced,
            metrics,
            zone: config.django.time_zone.zone().clone(),
            group_pattern: config.django.group_pattern.clone(),
            history_limit: Some(config.ws.history_limit).filter(|&limit| limit > 0),
            broadcast_rest: config.rest.broadcast,
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

    /// Checks whether a caller may know of a conversation, by itself or by a message in it. Every
    /// use case that is about one comes after this.
    ///
    /// # Errors
    /// [`ChatError::Hidden`], or for a thing that is not there [`ChatError::NoConversation`] or
    /// [`ChatError::NoMessage`].
    pub async fn admit(&self, caller: &Caller, of: Subject) -> Result<(), ChatError> {
        if *caller == Caller::Anybody {
            return Ok(());
        }
        self.standing(caller, of).await.map(|_| ())
    }

    /// Returns how a conversation stands, if the caller may know of it.
    async fn standing(&self, caller: &Caller, of: Subject) -> Result<Standing, ChatError> {
        match (self.store.standing(of).await?, of) {
            (Some(standing), _) if caller.takes_part(standing.participants()) => Ok(standing),
            (Some(_), _) => {
                self.metrics.policy_denied("see");
                Err(ChatError::Hidden(of))
            }
            (None, Subject::Conversation(_)) => Err(ChatError::NoConversation),
            (None, Subject::Message(_)) => Err(ChatError::NoMessage),
        }
    }

    /// Checks whether a caller may speak for `user`.
    ///
    /// # Errors
    /// [`ChatError::NotYou`]
    pub fn admit_as(&self, caller: &Caller, user: &str) -> Result<(), ChatError> {
        if caller.is(user) {
            return Ok(());
        }
        self.metrics.policy_denied("speak");
        Err(ChatError::NotYou)
    }

    /// Returns the conversation of the two, in either order, and whether it is new.
    ///
    /// # Errors
    /// [`ChatError::TooLong`] for an id that the table cannot hold.
    /// [`ChatError::NotYou`] if the caller is neither of the two. [`ChatError::Alike`] if the
    /// conversation of another spelling of the two is there; it is not shown.
    pub async fn open_conversation(
        &self,
        caller: &Caller,
        participant1_id: String,
        participant2_id: String,
    ) -> Result<(Conversation, bool), ChatError> {
        within("participant1_id", &participant1_id, USER_ID_MAX)?;
        within("participant2_id", &participant2_id, USER_ID_MAX)?;
        if !caller.takes_part([&participant1_id, &participant2_id]) {
            self.metrics.policy_denied("create");
            return Err(ChatError::NotYou);
        }
        if *caller != Caller::Anybody {
            // The database would cut spaces off, and store the id of somebody else.
            whole("participant1_id", &participant1_id, USER_ID_MAX)?;
            whole("participant2_id", &participant2_id, USER_ID_MAX)?;
        }
        let opened = self
            .store
            .get_or_create_conversation(participant1_id, participant2_id);
        let opened = opened.await.map_err(ChatError::from);
        if matches!(opened, Err(ChatError::Alike)) {
            self.metrics.policy_denied("create");
        }
        opened
    }

    /// Returns whether the tables have user ids that differ from those of a request of `caller`'s,
    /// and that the database takes for the same. Django would show or change their rows.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn finds_others(&self, caller: &Caller, lookup: Lookup) -> Result<bool, ChatError> {
        if *caller == Caller::Anybody {
            return Ok(false);
        }
        Ok(self.store.finds_others(lookup).await?)
    }

    /// # Errors
    /// [`ChatError::NoConversation`] if there is none of this id.
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation, ChatError> {
        self.store
            .conversation(id)
            .await?
            .ok_or(ChatError::NoConversation)
    }

    /// # Errors
    /// [`ChatError::NoConversation`] if there is none of this id; inactive ones are there.
    pub async fn require_conversation(&self, id: ConversationId) -> Result<(), ChatError> {
        let found = self.store.conversation_is_active(id).await?;
        found.map(|_| ()).ok_or(ChatError::NoConversation)
    }

    /// Checks whether a caller may open a socket: the conversation is active, and the caller may
    /// know of it. One query.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`] if it is not there or not active, [`ChatError::Hidden`].
    pub async fn admit_socket(&self, caller: &Caller, id: ConversationId) -> Result<(), ChatError> {
        let standing = self.standing(caller, Subject::Conversation(id)).await?;
        if standing.is_active {
            Ok(())
        } else {
            Err(ChatError::NoConversation)
        }
    }

    /// Returns whether a caller may list the conversations of `user`. To others they do not exist.
    #[must_use]
    pub fn may_list(&self, caller: &Caller, user: &str) -> bool {
        let may = caller.is(user);
        if !may {
            self.metrics.policy_denied("list");
        }
        may
    }

    /// Returns the history for a new socket: the newest `ws.history_limit` messages. Sockets of one
    /// dialect that open together share a read, which begins after they have asked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(
        &self,
        conversation_id: ConversationId,
        dialect: DialectSlot,
    ) -> Result<SocketHistory, StoreError> {
        let read = async || {
            let limit = self.history_limit;
            let history = History::read(&self.store, conversation_id, Deleted::Skipped, limit);
            Ok(match history.await? {
                History::Short(messages) => {
                    SocketHistory::Short(Arc::new(FirstPage::new(messages)))
                }
                History::Long(pages) => SocketHistory::Long(pages),
            })
        };
        self.histories.share((conversation_id, dialect), read).await
    }

    /// Stores a message that came by REST. The original does not broadcast these; the setting
    /// `rest.broadcast` does.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`], or [`ChatError::TooLong`] for a text the table cannot hold.
    pub async fn send(&self, new: NewMessage) -> Result<Arc<Message>, ChatError> {
        if !self.broadcast_rest {
            let unannounced = Arc::clone(&self.unannounced);
            let announce = Box::new(move |message: &Arc<Message>| unannounced.note(message.id));
            return self.store(new, announce).await;
        }
        let shown_type = new.message_type.as_str().into();
        let (announce, sent) = self.announce(new.conversation_id, shown_type);
        let message = self.store(new, announce).await?;
        self.delivered(sent).await?;
        Ok(message)
    }

    /// Stores a message that came by socket and tells the conversation. The table holds
    /// `new.message_type`; the event shows `shown_type`, as it was sent.
    ///
    /// # Errors
    /// [`ChatError::NoConversation`], or [`ChatError::TooLong`] for a text the table cannot hold.
    pub async fn say(&self, new: NewMessage, shown_type: Value) -> Result<(), ChatError> {
        let (announce, sent) = self.announce(new.conversation_id, shown_type);
        self.store(new, announce).await?;
        self.delivered(sent).await
    }

    /// Returns the callback for the commit of the message, and the receiver of the outcome of the
    /// broadcast. The event takes its place in the layer inside the call, which keeps the live
    /// order that of the commits.
    fn announce(
        &self,
        conversation_id: ConversationId,
        shown_type: Value,
    ) -> (Announce, BroadcastOutcome) {
        let (told, outcome) = oneshot::channel();
        let group = self.group(conversation_id);
        let (layer, metrics) = (Arc::clone(&self.layer), Arc::clone(&self.metrics));
        let announce = Box::new(move |message: &Arc<Message>| {
            metrics.layer_sent();
            let event = Event::MessageSent(SentMessage::Stored {
                message: Arc::clone(message),
                shown_type,
            });
            // Dropping the outcome does not take the event back.
            let _ = told.send(layer.group_send(&group, event));
        });
        (announce, outcome)
    }

    async fn store(&self, new: NewMessage, announce: Announce) -> Result<Arc<Message>, ChatError> {
        within("sender_id", &new.sender_id, USER_ID_MAX)?;
        within("message_type", &new.message_type, MESSAGE_TYPE_MAX)?;
        let message = self.store.insert_message(new, announce).await?;
        let message = message.ok_or(ChatError::NoConversation)?;
        self.metrics.message_stored();
        tracing::debug!(
            conversation_id = %message.conversation_id,
            message_id = %message.id,
            sender_id = message.sender_id,
            message_type = message.message_type,
            "message stored"
        );
        trace::note(|span| {
            span.set("message_id", message.id.to_string());
            span.set("message_type", &*message.message_type);
        });
        Ok(message)
    }

    /// Marks a message of any conversation as read by `user_id`.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`], or [`ChatError::TooLong`] for a user the table cannot hold.
    /// [`ChatError::Alike`] if another spelling of the user has marked it.
    pub async fn mark_read(
        &self,
        message_id: MessageId,
        user_id: String,
    ) -> Result<Receipt, ChatError> {
        if !fits(&user_id, USER_ID_MAX) {
            self.require_message(message_id).await?;
            within("user_id", &user_id, USER_ID_MAX)?;
        }
        trace::note(|span| span.set("message_id", message_id.to_string()));
        let receipt = self.store.mark_read(message_id, user_id).await?;
        let receipt = receipt.ok_or(ChatError::NoMessage)?;
        tracing::debug!(%message_id, user_id = receipt.user_id, "message read");
        Ok(receipt)
    }

    /// As [`mark_read`](Self::mark_read), by REST: the original does not broadcast that.
    ///
    /// # Errors
    /// As [`mark_read`](Self::mark_read).
    pub async fn mark_read_unannounced(
        &self,
        message_id: MessageId,
        user_id: String,
    ) -> Result<Receipt, ChatError> {
        let receipt = self.mark_read(message_id, user_id).await?;
        self.unannounced.note(receipt.id);
        Ok(receipt)
    }

    /// # Errors
    /// [`ChatError::NoMessage`] if there is none of this id.
    pub async fn require_message(&self, id: MessageId) -> Result<(), ChatError> {
        if self.store.message_exists(id).await? {
            Ok(())
        } else {
            Err(ChatError::NoMessage)
        }
    }

    /// Tells every socket of the conversation, in every process.
    ///
    /// # Errors
    /// When the layer does not take it.
    pub async fn broadcast(
        &self,
        conversation_id: ConversationId,
        event: Event,
    ) -> Result<(), ChatError> {
        self.metrics.layer_sent();
        let sent = self.layer.group_send(&self.group(conversation_id), event);
        self.passed_on(sent).await
    }

    async fn delivered(&self, outcome: BroadcastOutcome) -> Result<(), ChatError> {
        match outcome.await {
            Ok(sent) => self.passed_on(sent).await,
            // Stored and not announced: the committer has ended.
            Err(_) => Ok(()),
        }
    }

    /// Waits until an event is sent. That other processes do not have it yet is no failure of the
    /// request: what had to be stored is, the sockets here have the event, and the layer owes it to
    /// the others.
    async fn passed_on(&self, sent: Sent) -> Result<(), ChatError> {
        let span = trace::step("layer send", Kind::Producer);
        let outcome = sent.await;
        if let (Some(span), Err(error)) = (span, &outcome) {
            span.fail(error.label());
        }
        match outcome {
            Err(error @ (LayerError::Unavailable(_) | LayerError::Refused(_))) => {
                tracing::debug!(%error, "other processes do not have an event yet");
                self.metrics.layer_error(error.label());
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }
}

/// The outcome of a broadcast that the committer has begun.
type BroadcastOutcome = oneshot::Receiver<Sent>;

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
