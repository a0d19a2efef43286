//! What is read across conversations: those of a user by their latest message, and the messages of
//! several of them in one order.
//!
//! Django's tables have no index for either. Each conversation costs one look into the index of its
//! own messages, so the work grows with the number of conversations and not with that of messages.

use async_trait::async_trait;

use super::{
    OpenDatabase, StoreError,
    history::{Direction, Page},
};
use crate::{
    chat::{Conversation, Message},
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
};

/// Most conversations whose messages are read with one statement.
pub const ACROSS_CONVERSATIONS: usize = 100;

/// A conversation, and when its newest message was made that is not deleted, or the conversation
/// itself if there is none.
pub type ActiveConversation = (Conversation, Timestamp);

/// Reads across conversations.
#[async_trait]
pub trait Overview: OpenDatabase {
    /// Returns the active conversations of a user, those with the latest message first: `limit` of
    /// them, behind a time and an id. Of those of one time, the greatest id comes first.
    async fn by_activity(
        &self,
        user_id: &str,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ActiveConversation>, StoreError>;

    /// Returns the messages of some conversations next to a time and an id, in one direction and not
    /// deleted: the nearest `limit`, as many as fit a page, oldest first. Full if there may be more.
    /// No more than [`ACROSS_CONVERSATIONS`] are asked for.
    async fn across(
        &self,
        conversations: &[ConversationId],
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Returns messages of some conversations before a time and an id, not deleted, that an index
    /// offers for these runs of [`letters`](crate::chat::search::letters): every message that has all
    /// of them in it, and maybe others. The nearest, as many as fit a page, oldest first. Full if there
    /// may be more. `None` if there is no index that could tell.
    async fn holding(
        &self,
        _conversations: &[ConversationId],
        _runs: &[String],
        _place: (Timestamp, MessageId),
    ) -> Result<Option<Page>, StoreError> {
        Ok(None)
    }
}

/// Makes one page of the pages of several conversations, which begin at one place. What lies beyond
/// the end of a page that is full is left out: there may be more before it.
#[must_use]
pub fn merge(pages: Vec<Page>, direction: Direction, limit: usize) -> Page {
    let mut whole = Page::default();
    let mut ends = Vec::new();
    for page in pages {
        if page.is_full {
            let end = match direction {
                Direction::Newer => page.messages.last(),
                Direction::Older => page.messages.first(),
            };
            // A full page whose every row was passed over says nothing of what follows.
            ends.push(end.map(key));
        }
        whole.messages.extend(page.messages);
        whole.unreadable.extend(page.unreadable);
        whole.too_large.extend(page.too_large);
    }
    whole.is_full = !ends.is_empty();
    whole.messages.sort_by_key(key);
    let ends = ends.into_iter().flatten();
    match direction {
        Direction::Newer => {
            if let Some(end) = ends.min() {
                whole.messages.retain(|message| key(message) <= end);
            }
            whole.is_full |= whole.messages.len() > limit;
            whole.messages.truncate(limit);
        }
        Direction::Older => {
            if let Some(end) = ends.max() {
                whole.messages.retain(|message| key(message) >= end);
            }
            let beyond = whole.messages.len().saturating_sub(limit);
            whole.is_full |= beyond > 0;
            whole.messages.drain(..beyond);
        }
    }
    whole
}

fn key(message: &Message) -> (Timestamp, MessageId) {
    (message.created_at, message.id)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn page(times: &[i64], is_full: bool) -> Page {
        let message = |at: &i64| Message {
            id: Uuid::from_u128(at.unsigned_abs().into()).into(),
            conversation_id: Uuid::nil().into(),
            sender_id: String::new(),
            content: String::new(),
            message_type: String::new(),
            created_at: Timestamp::from_micros(*at),
            updated_at: Timestamp::from_micros(*at),
            is_deleted: false,
        };
        Page::new(times.iter().map(message).collect(), is_full, Vec::new())
    }

    fn merged(pages: Vec<Page>, direction: Direction, limit: usize) -> (Vec<i64>, bool) {
        let page = merge(pages, direction, limit);
        let times = page.messages.iter().map(|it| it.created_at.micros());
        (times.collect(), page.is_full)
    }

    #[test]
    fn messages_of_several_conversations_are_in_one_order() {
        let pages = || vec![page(&[1, 4], false), page(&[], false), page(&[2, 3], false)];
        let all = (vec![1, 2, 3, 4], false);
        assert_eq!(merged(pages(), Direction::Newer, 4), all);
        assert_eq!(merged(pages(), Direction::Older, 4), all);
        assert_eq!(merged(pages(), Direction::Newer, 3), (vec![1, 2, 3], true));
        assert_eq!(merged(pages(), Direction::Older, 3), (vec![2, 3, 4], true));
    }

    #[test]
    fn nothing_is_taken_from_behind_a_page_that_is_cut() {
        let pages = || vec![page(&[2, 3], true), page(&[1, 4, 5], false)];
        assert_eq!(merged(pages(), Direction::Newer, 9), (vec![1, 2, 3], true));
        assert_eq!(
            merged(pages(), Direction::Older, 9),
            (vec![2, 3, 4, 5], true)
        );
    }
}
