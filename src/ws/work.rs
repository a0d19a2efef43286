//! What a frame of a socket has asked for and is under way: a request to the chat, or a look at a
//! fresh token.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use tracing::Instrument as _;
use uuid::Uuid;

use super::protocol::django::Request;
use crate::{
    app::App,
    auth::{identity::Denied, policy::Caller},
    chat::{Chat, ChatError, NewMessage},
    config::Secret,
    store::Of,
    telemetry::request::RequestId,
};

type Performing = dyn Future<Output = Outcome> + Send;

/// What came of it.
pub enum Outcome {
    Performed(Result<(), ChatError>),
    /// When the fresh token runs out.
    Renewed(Result<Instant, Denied>),
}

/// At most one: what a client asks for is done in its order.
#[derive(Default)]
pub struct Work {
    under_way: Option<Pin<Box<Performing>>>,
}

impl Work {
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins a request of `caller` on the socket `id`.
    pub fn begin(
        &mut self,
        app: &Arc<App>,
        id: RequestId,
        caller: Caller,
        conversation_id: Uuid,
        request: Request,
    ) {
        let app = Arc::clone(app);
        let span = tracing::debug_span!("socket", %id);
        let work = async move {
            let done = perform(&app.chat, &caller, conversation_id, request).await;
            Outcome::Performed(done)
        };
        self.under_way = Some(Box::pin(work.instrument(span)));
    }

    /// Begins to look at a fresh token, which must be `user`'s.
    pub fn renew(&mut self, app: &Arc<App>, user: Arc<str>, token: Secret) {
        let app = Arc::clone(app);
        let work = async move { Outcome::Renewed(app.auth.renew(&user, &token).await) };
        self.under_way = Some(Box::pin(work));
    }

    /// What came of it; never comes if nothing is under way. May be cancelled.
    pub async fn done(&mut self) -> Outcome {
        let outcome = match &mut self.under_way {
            Some(work) => work.await,
            None => std::future::pending().await,
        };
        self.under_way = None;
        outcome
    }
}

async fn perform(
    chat: &Chat,
    caller: &Caller,
    conversation_id: Uuid,
    request: Request,
) -> Result<(), ChatError> {
    match request {
        Request::Say {
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
        Request::MarkRead {
            message_id,
            user_id,
            event,
        } => {
            let marked = match chat.admit(caller, Of::Message(message_id)).await {
                Ok(()) => chat.mark_read(message_id, user_id).await.map(|_| ()),
                Err(error) => Err(error),
            };
            match marked {
                // The original tells everybody even of a message that is not there.
                Ok(()) | Err(ChatError::NoMessage) => chat.broadcast(conversation_id, event).await,
                Err(error) => Err(error),
            }
        }
        Request::Typing(event) => chat.broadcast(conversation_id, event).await,
    }
}
