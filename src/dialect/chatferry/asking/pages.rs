//! Subscribing to conversations, coming back to them, and their history.

use bytes::Bytes;

use super::{Asking, Refused};
use crate::{
    dialect::chatferry::{
        cursor::Cursor,
        frames::{MessageView, ServerFrame, Shown},
        requests::HistoryPlace,
        subscriptions::Subscription,
    },
    id::ConversationId,
    store::history::Direction,
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
        let resumed = self.app.chat.resume(id, start, limit, now).await?;
        let (page, is_resumed) = (&resumed.page, resumed.is_resumed);
        subscription.membership.is_shown(&page.messages);
        self.place.meter.charge_rows(resumed.rows());
        let (first, last) = (page.messages.first(), page.messages.last());
        let more = |edge: Option<_>| edge.filter(|_| page.is_full).map(Cursor::of);
        let next = if is_resumed { more(last) } else { None };
        let (updated, deleted) = resumed.changes();
        let frame = ServerFrame::Subscribed {
            reference: self.reference.clone(),
            conversation: Shown(id),
            reload: !is_resumed && after.is_some(),
            cursor: match last {
                Some(last) if next.is_some() => Cursor::shown(last, now),
                _ => Cursor::all(now),
            },
            next,
            before: if is_resumed { None } else { more(first) },
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
        let (chat, id) = (&self.app.chat, subscription.membership.conversation_id());
        let page = match place {
            None => chat.newest(id, limit).await?,
            Some(HistoryPlace::Before(cursor)) => {
                chat.beside(id, cursor.place(), Direction::Older, limit)
                    .await?
            }
            Some(HistoryPlace::After(cursor)) => {
                let start = cursor.start(self.now());
                chat.beside(id, start, Direction::Newer, limit).await?
            }
        };
        subscription.membership.is_shown(&page.messages);
        self.place.meter.charge_rows(page.messages.len());
        let is_newer = matches!(place, Some(HistoryPlace::After(_)));
        let edge = if is_newer {
            page.messages.last()
        } else {
            page.messages.first()
        };
        let edge = edge.filter(|_| page.is_full).map(Cursor::of);
        let frame = ServerFrame::Page {
            reference: self.reference.clone(),
            conversation: Shown(id),
            next: edge.filter(|_| is_newer),
            before: edge.filter(|_| !is_newer),
            messages: page.messages.iter().map(MessageView::of).collect(),
        };
        Ok(frame.frame())
    }
}
