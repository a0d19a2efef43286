//! Read marks.

use super::{Chat, ChatError, within};
use crate::{
    chat::{Receipt, USER_ID_MAX, fits},
    id::MessageId,
    telemetry::trace,
};

impl Chat {
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
}
