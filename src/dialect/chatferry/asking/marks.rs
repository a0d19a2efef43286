//! Messages that a user has read, or that a client of the user has got.

use bytes::Bytes;

use super::{Asking, Refused};
use crate::{
    dialect::chatferry::{
        frames::{ReceiptView, ServerFrame, Shown},
        requests::Mark,
    },
    id::{ConversationId, MessageId},
    limits::LimitedAction,
};

impl Asking<'_> {
    /// Marks messages as read or delivered. The first has been counted against the limits with its
    /// frame.
    pub(super) async fn mark(
        &self,
        conversation_id: ConversationId,
        (user, mark): (&str, Mark),
        messages: &[MessageId],
    ) -> Result<Bytes, Refused> {
        for _ in 1..messages.len() {
            let allowed = self.place.meter.allow(LimitedAction::Message);
            allowed.map_err(Refused::Throttled)?;
        }
        let chat = &self.app.chat_with_groups;
        match mark {
            Mark::Delivered => chat.mark_delivered(conversation_id, messages, user).await?,
            Mark::Read => chat.mark_all_read(conversation_id, messages, user).await?,
        }
        let reference = self.reference.clone();
        Ok(ServerFrame::Ok { reference }.frame())
    }

    pub(super) async fn receipts(
        &self,
        conversation_id: ConversationId,
        messages: &[MessageId],
    ) -> Result<Bytes, Refused> {
        self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        let receipts = self
            .app
            .chat_with_groups
            .receipts_of(conversation_id, messages)
            .await?;
        self.place.meter.charge_rows(receipts.len());
        let frame = ServerFrame::Receipts {
            reference: self.reference.clone(),
            conversation: Shown(conversation_id),
            receipts: receipts.iter().map(ReceiptView::of).collect(),
        };
        Ok(frame.frame())
    }
}
