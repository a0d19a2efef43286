//! What a client is shown first that comes to a conversation, or comes back.

use futures_util::future::try_join_all;

use super::{Chat, ChatError, MessagePage};
use crate::{
    chat::Event,
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::history::{Direction, PAGE_MESSAGES},
};

/// Most messages that a client which comes back is sent; past them it has to begin anew.
const RESUME_MAX: usize = 5000;

impl Chat {
    /// Returns the messages that come after a place, or the newest `limit` if there is no place or
    /// too many come after it; and whether they are those after the place.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resume(
        &self,
        id: ConversationId,
        start: Option<(Timestamp, MessageId)>,
        limit: usize,
    ) -> Result<(MessagePage, bool), ChatError> {
        let Some(start) = start else {
            return Ok((self.newest(id, limit).await?, false));
        };
        let page = self
            .beside(id, start, Direction::Newer, PAGE_MESSAGES)
            .await?;
        if page.is_full
            && let Some(oldest) = self.time_before(id, RESUME_MAX).await?
            && oldest > start.0
        {
            return Ok((self.newest(id, limit).await?, false));
        }
        Ok((page, true))
    }

    /// Marks messages of a conversation as read, and tells it of each.
    ///
    /// # Errors
    /// [`ChatError::NoMessage`] if one of them is not there, or as [`mark_read`](Self::mark_read);
    /// others may be marked all the same.
    pub async fn mark_all_read(
        &self,
        conversation_id: ConversationId,
        messages: &[MessageId],
        user: &str,
    ) -> Result<(), ChatError> {
        let marks = messages.iter().map(async |id| {
            self.message_in(conversation_id, *id).await?;
            let event = Event::MessageRead {
                message_id: id.to_string().into(),
                user_id: user.into(),
            };
            let user = user.to_owned();
            self.mark_read(conversation_id, *id, user, event).await
        });
        try_join_all(marks).await?;
        Ok(())
    }
}
