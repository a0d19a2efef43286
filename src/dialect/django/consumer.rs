//! The original's consumer (`chat/consumers.py`) to the engine of sockets.

use bytes::Bytes;

use super::{
    drf::{Detail, Language},
    frames::{
        self, ChatRequest, LongHistoryFrames, Rejection, error_frame, failure_frame, history_frame,
    },
    language, routes, token,
};
use crate::{
    auth::identity::Denied,
    chat::{Message, NewMessage, policy::Caller},
    config::{Config, Prefix},
    hub::frames::DialectSlot,
    id::ConversationId,
    limits::Throttled,
    python::datetime::Zone,
    service::{Chat, ChatError},
    store::Subject,
    ws::protocol::{self, Protocol, Reading},
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

    // The first of all.
    fn slot(&self) -> DialectSlot {
        DialectSlot::default()
    }

    fn conversation(&self, path: &str) -> Option<ConversationId> {
        routes::socket(path, &self.prefix)
    }

    fn template(&self) -> String {
        routes::socket_template(&self.prefix)
    }

    fn read(&self, text: &str) -> Result<Reading<ChatRequest>, Bytes> {
        frames::read(text).map_err(|why| error_frame(&why.to_string()))
    }

    async fn perform(
        chat: &Chat,
        caller: &Caller,
        conversation_id: ConversationId,
        request: ChatRequest,
    ) -> Result<(), ChatError> {
        match request {
            ChatRequest::Say {
                sender_id,
                content,
                message_type,
                shown_type,
            } => {
                let new = NewMessage {
                    conversation_id,
                    sender_id,
                    content,
                    message_type,
                    is_deleted: false,
                };
                chat.say(new, shown_type).await
            }
            ChatRequest::MarkRead {
                message_id,
                user_id,
                event,
            } => {
                let marked = match chat.admit(caller, Subject::Message(message_id)).await {
                    Ok(()) => chat.mark_read(message_id, user_id).await.map(|_| ()),
                    Err(error) => Err(error),
                };
                match marked {
                    // The original tells everybody even of a message that is not there.
                    Ok(()) | Err(ChatError::NoMessage | ChatError::Hidden(_)) => {
                        chat.broadcast(conversation_id, event).await
                    }
                    Err(error) => Err(error),
                }
            }
            ChatRequest::Typing(event) => chat.broadcast(conversation_id, event).await,
        }
    }

    fn binary(&self) -> Bytes {
        error_frame(&Rejection::Binary.to_string())
    }

    fn not_you(&self) -> Bytes {
        error_frame(&Rejection::NotYou.to_string())
    }

    fn throttled(&self, throttled: &Throttled) -> Bytes {
        error_frame(&Detail::Throttled(throttled.seconds()).text(self.language))
    }

    fn denied(&self, denied: &Denied) -> Bytes {
        error_frame(token::refusal(denied))
    }

    fn failed(&self, error: &ChatError) -> Option<Bytes> {
        failure_frame(error)
    }

    fn history(&self, messages: &[Message]) -> Bytes {
        history_frame(messages, &self.zone)
    }

    fn long_history(&self) -> Box<dyn protocol::LongHistory> {
        Box::new(LongHistoryFrames::new(self.zone.clone()))
    }
}
