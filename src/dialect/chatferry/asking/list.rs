//! The conversations of a user: listed, opened, and what is unread in them.

use bytes::Bytes;

use super::{Asking, Refused};
use crate::{
    dialect::chatferry::{
        cursor::Cursor,
        frames::{ConversationView, ServerFrame, UnreadView, conversation_at, place_of},
    },
    id::ConversationId,
};

impl Asking<'_> {
    pub(super) async fn list(
        &self,
        user: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Bytes, Refused> {
        self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        let after = after.map(conversation_at);
        let list = self
            .app
            .chat_with_groups
            .list_conversations(self.caller, user, after, limit);
        let list = list.await?;
        self.place.meter.charge_rows(list.entries.len());
        let frame = ServerFrame::Conversations {
            reference: self.reference.clone(),
            conversations: list.entries.iter().map(ConversationView::of).collect(),
            next: list.next.map(place_of),
        };
        Ok(frame.frame())
    }

    /// Opens the conversation of a user and somebody else, which may be there.
    pub(super) async fn open(&self, user: &str, with: &str) -> Result<Bytes, Refused> {
        let chat = &self.app.chat_with_groups;
        let opened = chat.open_conversation(self.caller, user.to_owned(), with.to_owned());
        let (conversation, _) = opened.await?;
        let entry = chat.conversation_entry(conversation, Some(user)).await?;
        let frame = ServerFrame::Conversation {
            reference: self.reference.clone(),
            conversation: ConversationView::of(&entry),
        };
        Ok(frame.frame())
    }

    pub(super) async fn unread(
        &self,
        user: &str,
        conversations: &[ConversationId],
    ) -> Result<Bytes, Refused> {
        self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        let counts = self
            .app
            .chat_with_groups
            .unread(self.caller, conversations, user);
        let counts = counts.await?;
        self.place.meter.charge_rows(counts.len());
        let frame = ServerFrame::Unread {
            reference: self.reference.clone(),
            counts: counts.into_iter().map(UnreadView::of).collect(),
        };
        Ok(frame.frame())
    }
}
