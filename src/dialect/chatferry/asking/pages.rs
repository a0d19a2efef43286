//! Subscribing to conversations, coming back to them, and their history.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Asking, Refused};
use crate::{
    chat::Message,
    dialect::chatferry::{
        cursor::Cursor,
        frames::{MessageView, ServerFrame, Shown},
        requests::HistoryPlace,
        subscriptions::Subscription,
    },
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, before},
    service::{CHANGES_KEPT, ChatError, MessagePage},
    store::history::{Direction, PAGE_MESSAGES},
};

/// Most messages that a client which comes back is sent; past them it has to begin anew.
pub const RESUME_MAX: usize = 5000;

/// The messages that a client is sent first.
struct FirstPage {
    page: MessagePage,
    /// They are those behind its cursor. Without a cursor, or if that is too old, they are the newest.
    is_resumed: bool,
    /// Older messages that have been changed since, deleted ones too.
    changed: Vec<Message>,
}

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
        let first_page = self.first_page(id, after, limit, now).await?;
        let (page, is_resumed) = (&first_page.page, first_page.is_resumed);
        self.shows(&subscription, page);
        self.place.meter.charge_rows(first_page.changed.len());
        let (first, last) = (page.messages.first(), page.messages.last());
        let more = |edge: Option<_>| edge.filter(|_| page.is_full).map(Cursor::of);
        let next = if is_resumed { more(last) } else { None };
        let (deleted, updated): (Vec<_>, Vec<_>) =
            first_page.changed.iter().partition(|it| it.is_deleted);
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

    async fn first_page(
        &self,
        id: ConversationId,
        after: Option<Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<FirstPage, ChatError> {
        let resumed = match after {
            Some(after) => self.resumed(id, after.start(now), now).await?,
            None => None,
        };
        if let Some(resumed) = resumed {
            return Ok(resumed);
        }
        Ok(FirstPage {
            page: self.app.chat.newest(id, limit).await?,
            is_resumed: false,
            changed: Vec::new(),
        })
    }

    /// Returns the messages behind a place, and what has been changed since; `None` if that is too much,
    /// or too long ago.
    async fn resumed(
        &self,
        id: ConversationId,
        start: (Timestamp, MessageId),
        now: Timestamp,
    ) -> Result<Option<FirstPage>, ChatError> {
        let chat = &self.app.chat;
        if start.0 < before(now, CHANGES_KEPT) {
            return Ok(None);
        }
        let page = chat
            .beside(id, start, Direction::Newer, PAGE_MESSAGES)
            .await?;
        if page.is_full
            && let Some(oldest) = chat.time_before(id, RESUME_MAX).await?
            && oldest > start.0
        {
            return Ok(None);
        }
        let mut changed = chat.changed_since(id, start.0).await?;
        if changed.is_cut {
            return Ok(None);
        }
        let shown: HashSet<MessageId> = page.messages.iter().map(|it| it.id).collect();
        changed.messages.retain(|it| !shown.contains(&it.id));
        Ok(Some(FirstPage {
            page,
            is_resumed: true,
            changed: changed.messages,
        }))
    }

    /// Notes what a page shows.
    fn shows(&self, subscription: &Subscription, page: &MessagePage) {
        subscription.membership.is_shown(&page.messages);
        self.place.meter.charge_rows(page.messages.len());
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
        self.shows(subscription, &page);
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
