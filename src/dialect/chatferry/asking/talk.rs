//! Messages that a client sends and changes, and that it types.

use bytes::Bytes;

use super::{
    super::{attached, subscriptions::Subscription},
    Asking,
};
use crate::{
    chat::{Event, NewMessage},
    dialect::chatferry::frames::{MessageView, ServerFrame, Shown},
    id::{AttachmentId, ConversationId, MessageId},
    service::ChatError,
};

impl Asking<'_> {
    pub(super) async fn send(
        &self,
        subscription: &Subscription,
        id: MessageId,
        (sender, content, kind): (&str, &str, &str),
        attachments: &[AttachmentId],
    ) -> Result<Bytes, ChatError> {
        let attached = match attachments {
            [] => None,
            ids => Some(attached::compose(self.app, (sender, id), content, ids).await?),
        };
        let (content, kind) = match &attached {
            Some(attached) => (attached.content.as_str(), attached.kind),
            None => (content, kind),
        };
        let membership = &subscription.membership;
        if membership.may_precede() {
            membership.speaks(sender);
        }
        let new = NewMessage {
            id: Some(id),
            conversation_id: membership.conversation_id(),
            sender_id: sender.to_owned(),
            content: content.to_owned(),
            message_type: kind.to_owned(),
            is_deleted: false,
            attachments: attachments.to_vec(),
        };
        let stored = self.app.chat_with_groups.post(new).await?;
        let frame = ServerFrame::Ack {
            id: Shown(stored.id),
            conversation: Shown(stored.conversation_id),
            message: MessageView::of(&stored),
        };
        Ok(frame.frame())
    }

    /// Gives a message new content, or deletes it.
    pub(super) async fn change(
        &self,
        message: (ConversationId, MessageId),
        user: &str,
        content: Option<String>,
    ) -> Result<Bytes, ChatError> {
        let content = match content {
            Some(content) => Some(attached::recompose(self.app, message, content).await?),
            None => None,
        };
        let chat = &self.app.chat_with_groups;
        let message = chat.change(message, user, content).await?;
        Ok(ServerFrame::changed(&message, self.reference.clone()).frame())
    }

    pub(super) async fn types(
        &self,
        id: ConversationId,
        user: &str,
        is_typing: bool,
    ) -> Result<(), ChatError> {
        let event = Event::Typing {
            user_id: user.into(),
            is_typing: is_typing.into(),
        };
        self.app.chat_with_groups.broadcast(id, event).await
    }
}
