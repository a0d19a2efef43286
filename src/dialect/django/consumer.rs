//! The original's consumer (`chat/consumers.py`) to the engine of sockets.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    drf::{Detail, Language},
    frames::{
        self, ChatRequest, LongHistoryFrames, Rejection, error_frame, failure_frame, history_frame,
    },
    language, routes, token,
};
use crate::{
    app::App,
    auth::identity::Denied,
    chat::{Message, NewMessage, policy::Caller},
    config::{Config, Prefix},
    hub::{Membership, frames::DialectSlot},
    id::ConversationId,
    limits::Throttled,
    python::datetime::Zone,
    service::ChatError,
    store::Subject,
    ws::{
        entry::enter_conversation,
        history::FirstFrames,
        protocol::{self, Guest, Histories, Protocol, Reading},
        refusal::Refusal,
    },
};

/// The frames of the original's sockets with these settings.
pub struct Consumer {
    prefix: Prefix,
    zone: Zone,
    language: Language,
}

impl Consumer {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Consumer {
            prefix: config.django.ws_prefix.clone(),
            zone: config.django.time_zone.zone().clone(),
            language: language(config),
        }
    }
}

impl Protocol for Consumer {
    type Request = ChatRequest;
    type Target = ConversationId;
    type Place = Membership;

    // The first of all.
    fn slot(&self) -> DialectSlot {
        DialectSlot::default()
    }

    fn target(&self, path: &str) -> Option<ConversationId> {
        routes::socket(path, &self.prefix)
    }

    fn conversation(&self, target: ConversationId) -> Option<ConversationId> {
        Some(target)
    }

    fn template(&self) -> String {
        routes::socket_template(&self.prefix)
    }

    fn read(&self, text: &str) -> Result<Reading<ChatRequest>, Bytes> {
        frames::read(text).map_err(|why| error_frame(&why.to_string()))
    }

    async fn enter(
        &self,
        app: &Arc<App>,
        target: ConversationId,
        guest: &Guest<'_>,
    ) -> Result<(Membership, FirstFrames), Refusal> {
        enter_conversation(app, self, target, guest).await
    }

    async fn perform(
        app: &App,
        place: &Membership,
        caller: &Caller,
        request: ChatRequest,
    ) -> Result<Option<Bytes>, ChatError> {
        let (chat, conversation_id) = (&app.chat, place.conversation_id());
        let done = match request {
            ChatRequest::Say {
                sender_id,
                content,
                message_type,
                shown_type,
            } => {
                if place.may_precede() {
                    place.speaks(&sender_id);
                }
                let new = NewMessage {
                    id: None,
                    conversation_id,
                    sender_id,
                    content,
                    message_type,
                    is_deleted: false,
                    attachments: Vec::new(),
                };
                chat.say(new, shown_type).await
            }
            ChatRequest::MarkRead {
                message_id,
                user_id,
                event,
            } => {
                match chat.admit(caller, Subject::Message(message_id)).await {
                    Ok(()) => {
                        chat.mark_read(conversation_id, message_id, user_id, event)
                            .await
                    }
                    // The original tells everybody even of a message that is not there.
                    Err(ChatError::NoMessage | ChatError::Hidden(_)) => {
                        chat.broadcast(conversation_id, event).await
                    }
                    Err(error) => Err(error),
                }
            }
            ChatRequest::Typing(event) => chat.broadcast(conversation_id, event).await,
        };
        done.map(|()| None)
    }

    fn binary(&self) -> Bytes {
        error_frame(&Rejection::Binary.to_string())
    }

    fn not_you(&self, _: &ChatRequest) -> Bytes {
        error_frame(&Rejection::NotYou.to_string())
    }

    fn throttled(&self, _: Option<&ChatRequest>, throttled: &Throttled) -> Bytes {
        error_frame(&Detail::Throttled(throttled.seconds()).text(self.language))
    }

    fn denied(&self, denied: &Denied) -> Bytes {
        error_frame(token::refusal(denied))
    }

    fn failed(&self, error: &ChatError) -> Option<Bytes> {
        failure_frame(error)
    }
}

impl Histories for Consumer {
    fn history(&self, messages: &[Message]) -> Bytes {
        history_frame(messages, &self.zone)
    }

    fn long_history(&self) -> Box<dyn protocol::LongHistory> {
        Box::new(LongHistoryFrames::new(self.zone.clone()))
    }
}
