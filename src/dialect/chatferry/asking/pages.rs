//! Subscribing to conversations, coming back to them, and their history.

use bytes::Bytes;

use super::{Asking, Refused};
use crate::{
    dialect::chatferry::{
        cursor::Cursor,
        frames::{MessageView, ServerFrame, Shown},
        groups::GroupView,
        pages::{self, PageEnds},
        requests::HistoryPlace,
        subscriptions::Subscription,
    },
    id::ConversationId,
};

impl Asking<'_> {
    pub(super) fn unsubscribe(&self, id: ConversationId) -> Bytes {
        self.place.leave(id);
        let frame = ServerFrame::Unsubscribed {
            reference: self.reference.clone(),
            conversation: Shown(id),
            code: None,
        };
        frame.frame()
    }

    pub(super) async fn subscribe(
        &self,
        id: ConversationId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Bytes, Refused> {
        self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        // First a member, then the messages: one in between is in both, and its id is the same.
        let subscription = self.place.enter(self.app, self.caller, id).await?;
        let now = self.now();
        let start = after.map(|cursor| cursor.start(now));
        let resumed = self
            .app
            .chat_with_groups
            .resume(id, start, limit, now)
            .await?;
        let (page, is_resumed) = (&resumed.page, resumed.is_resumed);
        subscription.membership.is_shown(&page.messages);
        self.place.meter.charge_rows(resumed.rows());
        let ends = PageEnds::of(page, resumed.direction());
        let group = self.app.chat_with_groups.group_of(id).await?;
        let (updated, deleted) = resumed.changes();
        let frame = ServerFrame::Subscribed {
            reference: self.reference.clone(),
            conversation: Shown(id),
            group: group.as_ref().map(GroupView::of),
            reload: !is_resumed && after.is_some(),
            cursor: match page.messages.last() {
                Some(last) if ends.next.is_some() => Cursor::shown(last, now),
                _ => Cursor::all(now),
            },
            next: ends.next,
            before: ends.before,
            messages: page.messages.iter().map(MessageView::of).collect(),
            updated: updated.into_iter().map(MessageView::of).collect(),
            deleted: deleted.into_iter().map(|it| Shown(it.id)).collect(),
        };
        Ok(frame.frame())
    }

    pub(super) async fn history(
        &self,
        subscription: &Subscription,
        place: Option<HistoryPlace>,
        limit: usize,
    ) -> Result<Bytes, Refused> {
        self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        let id = subscription.membership.conversation_id();
        let (page, ends) = pages::read(self.app, id, place, limit, self.now()).await?;
        subscription.membership.is_shown(&page.messages);
        self.place.meter.charge_rows(page.messages.len());
        let frame = ServerFrame::Page {
            reference: self.reference.clone(),
            conversation: Shown(id),
            next: ends.next,
            before: ends.before,
            messages: page.messages.iter().map(MessageView::of).collect(),
        };
        Ok(frame.frame())
    }
}
