//! What a user sees across conversations: a list of them, their newest messages together, and a
//! search.

use std::{borrow::Cow, collections::HashMap};

use uuid::Uuid;

use super::{Chat, ChatError, pages::UNREAD_AMONG};
use crate::{
    chat::{
        Conversation, Group, Message,
        policy::Caller,
        search::{letters, searchable},
    },
    id::{ConversationId, Key, MessageId},
    python::datetime::Timestamp,
    store::{
        StoreError,
        history::{Direction, PAGE_BYTES, PAGE_MESSAGES, Page},
        overview::{ACROSS_CONVERSATIONS, merge},
    },
};

/// Most conversations of a user whose messages are looked at together: those with the latest
/// messages.
pub const OVERVIEW_CONVERSATIONS: usize = 1000;

/// Most messages that one request for a search looks at, and bytes of them after which it looks at no
/// more.
pub const SEARCH_MESSAGES: usize = 2000;
const SEARCH_BYTES: usize = 8 << 20;

/// Bytes of a long message that cost as much as a short one.
const ROW_BYTES: usize = SEARCH_BYTES / SEARCH_MESSAGES;

/// A conversation as it stands in a list.
#[derive(Debug)]
pub struct ConversationEntry {
    pub conversation: Conversation,
    /// Its name and roles, if it is one.
    pub group: Option<Group>,
    /// The newest message that is not deleted.
    pub last: Option<Message>,
    /// Messages of others that the user has not marked as read, among the newest [`UNREAD_AMONG`].
    pub unread: usize,
}

/// A page of the conversations of a user, the latest message first.
#[derive(Debug, Default)]
pub struct ConversationList {
    pub entries: Vec<ConversationEntry>,
    /// Where it goes on, if there may be more.
    pub next: Option<(Timestamp, ConversationId)>,
}

/// Messages of several conversations.
#[derive(Debug, Default)]
pub struct Across {
    pub messages: Vec<Message>,
    /// There may be more in the direction in which it was read.
    pub is_full: bool,
}

/// The outcome of a search.
#[derive(Debug, Default)]
pub struct SearchPage {
    /// The newest first.
    pub messages: Vec<Message>,
    /// Where the search goes on, if there may be more.
    pub next: Option<(Timestamp, MessageId)>,
    /// Messages that were looked at, and their bytes.
    looked_at: usize,
    bytes_looked_at: usize,
}

impl SearchPage {
    /// Returns the rows of `limits` that the search costs.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.looked_at.max(self.bytes_looked_at / ROW_BYTES)
    }
}

impl Chat {
    /// Returns a page of the active conversations of a user, each with its last message and the
    /// number of those that are unread. Three statements whatever `limit` is, one more where there may
    /// be groups, and three more if there are; a page ends early where the last messages are long.
    ///
    /// # Errors
    /// [`ChatError::NotYou`] if the caller may not list them, or when the store cannot be read.
    pub async fn list_conversations(
        &self,
        caller: &Caller,
        user: &str,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationList, ChatError> {
        if !self.may_list(caller, user) {
            return Err(ChatError::NotYou);
        }
        let mut rows = self.store.by_activity(user, after, limit + 1).await?;
        if rows.is_empty() {
            return Ok(ConversationList::default());
        }
        let is_full = rows.len() > limit;
        rows.truncate(limit);
        let edge = |(row, at): &(Conversation, Timestamp)| (*at, row.id);
        let mut next = rows.last().filter(|_| is_full).map(edge);
        let ids: Vec<ConversationId> = rows.iter().map(|(row, _)| row.id).collect();
        let newest = self.store.newest_of(&ids, 1).await?;
        if newest.len() < rows.len() {
            next = newest
                .len()
                .checked_sub(1)
                .and_then(|it| rows.get(it))
                .map(edge);
        }
        let unread = self.store.unread(&ids, user, UNREAD_AMONG).await?;
        let groups = self.groups_of(&ids).await?.into_iter();
        let mut groups: HashMap<_, _> = groups.map(|group| (group.id, group)).collect();
        let mut entries = Vec::with_capacity(newest.len());
        for (((conversation, _), page), unread) in rows.into_iter().zip(newest).zip(unread) {
            // The database may take others for this user.
            if !caller.takes_part(conversation.participants.as_slice()) {
                continue;
            }
            entries.push(ConversationEntry {
                group: groups.remove(&conversation.id),
                conversation,
                last: self.message_page(page)?.messages.pop(),
                unread,
            });
        }
        Ok(ConversationList { entries, next })
    }

    /// Returns a conversation as it stands in the list of a user, or of nobody in particular.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn conversation_entry(
        &self,
        conversation: Conversation,
        user: Option<&str>,
    ) -> Result<ConversationEntry, ChatError> {
        let last = self.newest(conversation.id, 1).await?.messages.pop();
        let unread = match user {
            Some(user) => {
                let of = [conversation.id];
                let counts = self.store.unread(&of, user, UNREAD_AMONG).await?;
                counts.first().copied().unwrap_or_default()
            }
            None => 0,
        };
        Ok(ConversationEntry {
            group: self.group_of(conversation.id).await?,
            conversation,
            last,
            unread,
        })
    }

    /// Returns the messages of all conversations of a user that come after a place, the oldest
    /// first; the newest ones without a place.
    ///
    /// # Errors
    /// As [`list_conversations`](Self::list_conversations).
    pub async fn inbox(
        &self,
        caller: &Caller,
        user: &str,
        after: Option<(Timestamp, MessageId)>,
        limit: usize,
    ) -> Result<Across, ChatError> {
        let since = after.map(|(at, _)| at);
        let conversations = self.conversations_since(caller, user, since).await?;
        let (place, direction) = match after {
            Some(place) => (place, Direction::Newer),
            None => (LAST, Direction::Older),
        };
        self.across(&conversations, place, direction, limit).await
    }

    /// Searches messages for a text, of one conversation or of all of a user's, before a place. What
    /// looks alike is the same: see [`searchable`]. `shown` returns the text of a message that is
    /// looked at. Every message that the database's index offers is looked at, or every message if there
    /// is no index for the text: the newest first, and no more than [`SEARCH_MESSAGES`]. So each
    /// database finds the same, in any language, and with an index reaches farther. Long messages end
    /// it earlier, as they end a page.
    ///
    /// # Errors
    /// As [`list_conversations`](Self::list_conversations), or if the one conversation is not the
    /// caller's.
    pub async fn search(
        &self,
        caller: &Caller,
        user: &str,
        text: &str,
        shown: impl for<'a> Fn(&'a Message) -> Cow<'a, str> + Send,
        (within, before): (Option<ConversationId>, Option<(Timestamp, MessageId)>),
        limit: usize,
    ) -> Result<SearchPage, ChatError> {
        let conversations = match within {
            Some(id) => {
                self.admit_socket(caller, id).await?;
                vec![id]
            }
            None => self.conversations_since(caller, user, None).await?,
        };
        let text = searchable(text);
        let runs = letters(&text);
        let mut found = SearchPage::default();
        let mut place = before.unwrap_or(LAST);
        let mut bytes_found = 0;
        while found.looked_at < SEARCH_MESSAGES && found.bytes_looked_at < SEARCH_BYTES {
            let page = match self.store.holding(&conversations, &runs, place).await? {
                Some(page) => self.readable(page)?,
                None => {
                    self.across(&conversations, place, Direction::Older, PAGE_MESSAGES)
                        .await?
                }
            };
            for message in page.messages.into_iter().rev() {
                place = (message.created_at, message.id);
                found.looked_at += 1;
                found.bytes_looked_at += message.content.len();
                if searchable(&shown(&message)).contains(&text) {
                    bytes_found += message.content.len();
                    found.messages.push(message);
                    if found.messages.len() == limit || bytes_found >= PAGE_BYTES {
                        found.next = Some(place);
                        return Ok(found);
                    }
                }
            }
            if !page.is_full {
                return Ok(found);
            }
        }
        found.next = Some(place);
        Ok(found)
    }

    /// Returns the conversations of a user in which something was said after a time, those with the
    /// latest messages.
    async fn conversations_since(
        &self,
        caller: &Caller,
        user: &str,
        since: Option<Timestamp>,
    ) -> Result<Vec<ConversationId>, ChatError> {
        if !self.may_list(caller, user) {
            return Err(ChatError::NotYou);
        }
        let rows = self.store.by_activity(user, None, OVERVIEW_CONVERSATIONS);
        let recent = rows
            .await?
            .into_iter()
            .take_while(|(_, active_at)| since.is_none_or(|since| *active_at >= since));
        let own = recent.filter(|(row, _)| caller.takes_part(row.participants.as_slice()));
        Ok(own.map(|(row, _)| row.id).collect())
    }

    async fn across(
        &self,
        conversations: &[ConversationId],
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Across, ChatError> {
        let mut pages = Vec::new();
        for some in conversations.chunks(ACROSS_CONVERSATIONS) {
            pages.push(self.store.across(some, place, direction, limit).await?);
        }
        self.readable(merge(pages, direction, limit))
    }

    fn readable(&self, page: Page) -> Result<Across, ChatError> {
        let page = self.message_page(page)?;
        if page.is_full && page.messages.is_empty() {
            // A client could not go on behind rows that nobody can read.
            return Err(StoreError::Schema("a page has no readable message".into()).into());
        }
        Ok(Across {
            messages: page.messages,
            is_full: page.is_full,
        })
    }
}

/// A place after every message, which every database can compare.
const LAST: (Timestamp, MessageId) = (
    Timestamp::from_micros(253_000_000_000_000_000),
    MessageId(Key::Uuid(Uuid::max())),
);
