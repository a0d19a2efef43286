//! The messages of one conversation, however many there are, in pages of bounded size.
//!
//! A history that fits one page is one query. A longer one is read from its oldest message up to
//! the one that was the newest at the beginning. Each page is a query of its own that starts behind
//! the last message of the page before (its [`PageCursor`]), so between two pages no connection and
//! no transaction is held: a client that takes an hour to read costs the database nothing, while an
//! open snapshot would keep SQLite from checkpointing and the others from tidying up.
//!
//! Messages that are seen without a snapshot:
//!
//! - a message that was committed at the beginning: once and in its place, unless it is deleted
//!   before its page is read;
//! - a message that is committed later: mostly not, as it is newer than the newest. Under an
//!   earlier time (clocks of other machines) it is seen if its place has not been passed. A socket
//!   gets it live as well, and [`crate::hub`] takes care that it is shown once.

use std::{fmt, sync::Arc};

use futures_util::{Stream, stream};

use super::{Store, StoreError};
use crate::{
    chat::{Conversation, Message},
    id::{ConversationId, Key},
    python::datetime::{Timestamp, from_sqlite},
};

/// Most messages of a page.
pub const PAGE_MESSAGES: usize = 500;

/// A page ends with the message that reaches this many bytes as the database sends them, so that
/// long messages make short pages. One message is always taken, whatever its size.
pub const PAGE_BYTES: usize = 256 * 1024;

/// The content of a message as it is read: NULL if it is larger than any body by REST may be, 64
/// MiB. The SQL is that of every database.
macro_rules! content {
    () => {
        "CASE WHEN octet_length(content) > 67108864 THEN NULL ELSE content END AS content"
    };
}
pub(super) use content;

/// Most bytes of the rows of an answer that has no pages.
pub const ROWS_BYTES: usize = 64 * 1024 * 1024;

/// Most rows of an answer, however small they are.
pub const ROWS: usize = 250_000;

/// Error text of an answer with more.
pub const TOO_MANY: &str = "an answer has more than 64 MiB, or 250,000 rows";

/// Most messages of several conversations that are read together, within [`PAGE_BYTES`].
pub const TOGETHER_MESSAGES: usize = 2 * PAGE_MESSAGES;

/// Conversations of a page.
pub const PAGE_CONVERSATIONS: usize = 100;

/// Treatment of deleted messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Skipped,
    Included,
}

impl Deleted {
    /// Returns the condition to add to the `WHERE` of a query, in the SQL of every database.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Deleted::Skipped => "AND NOT is_deleted ",
            Deleted::Included => "",
        }
    }
}

/// Direction from a place among the messages of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Older,
    Newer,
}

impl Direction {
    /// Returns how the rows there compare with the place, and the order in which the nearest
    /// come first, in the SQL of every database.
    #[must_use]
    pub(super) const fn sql(self) -> (&'static str, &'static str) {
        match self {
            Direction::Older => ("<", "DESC"),
            Direction::Newer => (">", "ASC"),
        }
    }
}

/// Place of a message among those of its conversation, or of a conversation among those of its
/// user. A store is given only what it has made, but for [`PageCursor::since`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageCursor {
    /// In databases that compare times and ids; without an id, before all rows of this time.
    Keyed { at: Timestamp, id: Option<Key> },
    /// In SQLite, which compares texts: the very text of the row's time, as people may have written
    /// it in another way than Django does, and the number of the row.
    Numbered { at: String, row: i64 },
}

impl PageCursor {
    /// Returns the place of this message in databases that compare times and ids.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        PageCursor::Keyed {
            at: message.created_at,
            id: Some(message.id.into()),
        }
    }

    /// Returns the place of this conversation in a list of the newest `updated_at` first.
    #[must_use]
    pub fn of_conversation(conversation: &Conversation) -> Self {
        PageCursor::Keyed {
            at: conversation.updated_at,
            id: Some(conversation.id.into()),
        }
    }

    /// Returns the place before all rows of this time, in any database.
    #[must_use]
    pub fn since(at: Timestamp) -> Self {
        PageCursor::Keyed { at, id: None }
    }

    /// Returns the time; `None` if it is no date.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            PageCursor::Keyed { at, .. } => Some(*at),
            PageCursor::Numbered { at, .. } => from_sqlite(at),
        }
    }

    /// Returns the id; `None` before all rows of the time.
    #[must_use]
    pub fn id(&self) -> Option<Key> {
        match self {
            PageCursor::Keyed { id, .. } => *id,
            PageCursor::Numbered { .. } => None,
        }
    }
}

/// Conversations of one user, the newest `updated_at` first.
#[derive(Debug, Default)]
pub struct ConversationPage {
    pub conversations: Vec<Conversation>,
    /// Of the last conversation on it.
    pub last: Option<PageCursor>,
    /// There may be more.
    pub is_full: bool,
}

impl ConversationPage {
    /// Makes a page of a database that compares times and ids.
    #[must_use]
    pub fn new(conversations: Vec<Conversation>) -> Self {
        ConversationPage {
            last: conversations.last().map(PageCursor::of_conversation),
            is_full: conversations.len() == PAGE_CONVERSATIONS,
            conversations,
        }
    }
}

/// Messages that follow each other, oldest first.
#[derive(Debug, Default)]
pub struct Page {
    pub messages: Vec<Message>,
    /// Of the newest message on it.
    pub last: Option<PageCursor>,
    /// It ended because nothing more fits it; there may be more.
    pub is_full: bool,
    /// Rows among them that cannot be read, and why.
    pub unreadable: Vec<StoreError>,
    /// Messages among them whose content is too large. They are passed over.
    pub too_large: Vec<String>,
}

impl Page {
    /// Makes a page of a database that compares times and ids.
    #[must_use]
    pub fn new(messages: Vec<Message>, is_full: bool, unreadable: Vec<StoreError>) -> Self {
        Page {
            last: messages.last().map(PageCursor::of),
            messages,
            is_full,
            unreadable,
            too_large: Vec::new(),
        }
    }

    /// Names in the log what is passed over, and counts it.
    pub fn note_too_large(&self, store: &dyn Store) {
        for id in &self.too_large {
            tracing::error!(
                message_id = id,
                "a message of more than 64 MiB is passed over"
            );
        }
        let metrics = store.committer().metrics();
        metrics.rows_unreadable(self.too_large.len());
    }

    /// Returns the page, unless a row of it cannot be read.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn whole(mut self) -> Result<Self, StoreError> {
        match self.unreadable.pop() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// The messages of a conversation.
#[derive(Debug)]
pub enum History {
    /// All of them, on one page.
    Short(Vec<Message>),
    Long(Pages),
}

impl History {
    /// Reads all messages; `None` if there is no such conversation.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn find(
        store: &Arc<dyn Store>,
        conversation_id: ConversationId,
        deleted: Deleted,
    ) -> Result<Option<Self>, StoreError> {
        let there = store.conversation_is_active(conversation_id).await?;
        if there.is_none() {
            return Ok(None);
        }
        let history = History::read(store, conversation_id, deleted, None);
        history.await.map(Some)
    }

    /// Reads the newest `limit` messages, or all of them. Whether there is such a conversation is
    /// not asked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(
        store: &Arc<dyn Store>,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: Option<usize>,
    ) -> Result<Self, StoreError> {
        let newest = store.newest_messages(conversation_id, deleted, first_page(limit));
        let newest = newest.await?;
        History::behind(store, conversation_id, deleted, limit, newest).await
    }

    /// Reads the newest `limit` messages, or all, of each of some conversations that are not
    /// deleted. As many histories as fit a page together, and one at least. Whether there are such
    /// conversations is not asked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read_each(
        store: &Arc<dyn Store>,
        conversations: &[ConversationId],
        limit: Option<usize>,
    ) -> Result<Vec<Result<Self, StoreError>>, StoreError> {
        let newest = store.newest_of(conversations, first_page(limit)).await?;
        let mut histories = Vec::with_capacity(newest.len());
        for (id, newest) in conversations.iter().zip(newest) {
            histories.push(History::behind(store, *id, Deleted::Skipped, limit, newest).await);
        }
        Ok(histories)
    }

    /// Returns the history with this page of its newest messages.
    async fn behind(
        store: &Arc<dyn Store>,
        conversation_id: ConversationId,
        deleted: Deleted,
        limit: Option<usize>,
        newest: Page,
    ) -> Result<Self, StoreError> {
        newest.note_too_large(&**store);
        let newest = newest.whole()?;
        if !newest.is_full || limit == Some(newest.messages.len()) {
            return Ok(History::Short(newest.messages));
        }
        let after = match limit {
            Some(limit) => store.place(conversation_id, limit).await?,
            None => None,
        };
        Ok(History::Long(Pages {
            store: Arc::clone(store),
            conversation_id,
            deleted,
            after,
            until: newest.last,
            is_over: false,
            unreadable: None,
        }))
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// When the store cannot be read to the end.
    pub async fn whole(self) -> Result<Vec<Message>, StoreError> {
        match self {
            History::Short(messages) => Ok(messages),
            History::Long(pages) => pages.whole().await,
        }
    }
}

/// Returns how many messages a history of the newest `limit` begins with.
fn first_page(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE_MESSAGES).min(PAGE_MESSAGES)
}

/// A history that is being read. A clone reads on from the same place.
#[derive(Clone)]
pub struct Pages {
    store: Arc<dyn Store>,
    conversation_id: ConversationId,
    deleted: Deleted,
    after: Option<PageCursor>,
    until: Option<PageCursor>,
    is_over: bool,
    /// Number of unreadable rows that were skipped.
    unreadable: Option<usize>,
}

impl Pages {
    /// Begins with the messages that were made at `since` or later and are not deleted.
    #[must_use]
    pub fn since(
        store: &Arc<dyn Store>,
        conversation_id: ConversationId,
        since: Timestamp,
    ) -> Self {
        Pages {
            store: Arc::clone(store),
            conversation_id,
            deleted: Deleted::Skipped,
            after: Some(PageCursor::since(since)),
            until: None,
            is_over: false,
            unreadable: None,
        }
    }

    /// Leaves out rows that cannot be read, which are named in the log.
    #[must_use]
    pub fn readable(mut self) -> Self {
        self.unreadable = Some(0);
        self
    }

    /// Returns the number of rows that were skipped.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable.unwrap_or_default()
    }

    /// When the newest message was made, if that is known.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.until.as_ref()?.time()
    }

    /// Returns whether there is no further page, as far as is known.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Reads the next page, never an empty one; `None` after the last. After an error the same
    /// page may be asked for again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Message>>, StoreError> {
        while !self.is_over {
            let messages = self.read().await?;
            if !messages.is_empty() {
                return Ok(Some(messages));
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Vec<Message>, StoreError> {
        let (after, until) = (self.after.clone(), self.until.clone());
        let page = self
            .store
            .messages(self.conversation_id, self.deleted, after, until);
        let mut page = page.await?;
        page.note_too_large(&*self.store);
        match &mut self.unreadable {
            None => page = page.whole()?,
            Some(count) => {
                *count += page.unreadable.len();
                for error in &page.unreadable {
                    let conversation_id = self.conversation_id;
                    tracing::error!(%conversation_id, %error, "a message is passed over");
                }
            }
        }
        self.is_over = !page.is_full || page.last == self.until || page.last.is_none();
        self.after = page.last;
        Ok(page.messages)
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// When the store cannot be read to the end.
    pub async fn whole(mut self) -> Result<Vec<Message>, StoreError> {
        let mut whole = Vec::new();
        while let Some(mut page) = self.next().await? {
            whole.append(&mut page);
        }
        Ok(whole)
    }

    /// Returns the pages one after the other; it ends with an error.
    pub fn stream(self) -> impl Stream<Item = Result<Vec<Message>, StoreError>> + Send {
        stream::try_unfold(self, |mut pages| async {
            let page = pages.next().await?;
            Ok(page.map(|page| (page, pages)))
        })
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("conversation_id", &self.conversation_id)
            .field("after", &self.after)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
