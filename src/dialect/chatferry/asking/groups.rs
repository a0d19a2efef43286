//! Groups that a client makes and changes.

use bytes::Bytes;

use super::{Asking, Refused};
use crate::{
    chat::GroupAction,
    dialect::chatferry::{
        frames::{ConversationView, ServerFrame, Shown},
        groups::GroupView,
    },
    id::ConversationId,
};

impl Asking<'_> {
    /// Makes a group of the user and others.
    pub(super) async fn create(
        &self,
        user: &str,
        (name, members, key): (&str, &[String], Option<&str>),
    ) -> Result<Bytes, Refused> {
        let chat = &self.app.chat_with_groups;
        let made = chat.create_group(self.caller, user, name.to_owned(), members, key);
        let (group, _) = made.await?;
        let conversation = chat.conversation(group.id).await?;
        let entry = chat.conversation_entry(conversation, Some(user)).await?;
        let frame = ServerFrame::Conversation {
            reference: self.reference.clone(),
            conversation: ConversationView::of(&entry),
        };
        Ok(frame.frame())
    }

    /// Changes a group for the user.
    pub(super) async fn regroup(
        &self,
        id: ConversationId,
        user: &str,
        action: &GroupAction,
    ) -> Result<Bytes, Refused> {
        let chat = &self.app.chat_with_groups;
        let changed = chat.change_group(self.caller, id, user, action.clone());
        let group = changed.await?;
        let reference = self.reference.clone();
        if *action == GroupAction::Leave {
            return Ok(ServerFrame::Ok { reference }.frame());
        }
        let frame = ServerFrame::Group {
            reference,
            conversation: Shown(id),
            group: GroupView::of(&group),
        };
        Ok(frame.frame())
    }
}
