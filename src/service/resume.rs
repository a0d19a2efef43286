//! What a client is shown first that comes to a conversation, or comes back.

use std::collections::HashSet;

use super::{CHANGES_KEPT, Chat, ChatError, MessagePage};
use crate::{
    chat::Message,
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, before},
    store::history::{Direction, PAGE_MESSAGES},
};

/// Most messages that a client which comes back is sent; past them it has to begin anew.
pub const RESUME_MAX: usize = 5000;

/// The messages that a client is shown first.
#[derive(Debug)]
pub struct Resumed {
    pub page: MessagePage,
    /// They are those after its place. Without a place, or if that is too old, they are the newest.
    pub is_resumed: bool,
    /// Others that have been changed since, deleted ones too.
    pub changed: Vec<Message>,
}

impl Resumed {
    /// Returns the direction in which its page was read, and in which there may be more.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.is_resumed {
            Direction::Newer
        } else {
            Direction::Older
        }
    }

    /// Returns the number of messages in it.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.page.messages.len() + self.changed.len()
    }

    /// Returns those that have been changed and are still there, and those that are deleted.
    #[must_use]
    pub fn changes(&self) -> (Vec<&Message>, Vec<&Message>) {
        self.changed.iter().partition(|it| !it.is_deleted)
    }
}

impl Chat {
    /// Returns the messages that come after a place and those that have been changed since, or the
    /// newest `limit` if there is no place, or too much to be told, or it is too long ago.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resume(
        &self,
        id: ConversationId,
        start: Option<(Timestamp, MessageId)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Resumed, ChatError> {
        // Of what was changed before that nothing is known any more.
        let kept = before(now, CHANGES_KEPT);
        let is_known = |at: Timestamp| at >= kept || !self.keeps_changes();
        if let Some(start) = start.filter(|(at, _)| is_known(*at))
            && let Some(resumed) = self.since(id, start).await?
        {
            return Ok(resumed);
        }
        Ok(Resumed {
            page: self.newest(id, limit).await?,
            is_resumed: false,
            changed: Vec::new(),
        })
    }

    /// Returns what came after a place; `None` if that is too much to be told.
    async fn since(
        &self,
        id: ConversationId,
        start: (Timestamp, MessageId),
    ) -> Result<Option<Resumed>, ChatError> {
        let page = self.beside(id, start, Direction::Newer, PAGE_MESSAGES);
        let page = page.await?;
        if page.is_full
            && let Some(oldest) = self.time_before(id, RESUME_MAX).await?
            && oldest > start.0
        {
            return Ok(None);
        }
        let mut changed = self.changed_since(id, start.0).await?;
        if changed.is_cut {
            return Ok(None);
        }
        let shown: HashSet<MessageId> = page.messages.iter().map(|it| it.id).collect();
        changed.messages.retain(|it| !shown.contains(&it.id));
        Ok(Some(Resumed {
            page,
            is_resumed: true,
            changed: changed.messages,
        }))
    }
}
