//! Answers of any length: the rows that are read for them step by step, and the parts they become.
//!
//! A step reads no more than a page of messages or of conversations. For a conversation that
//! changes meanwhile see [`history`](crate::store::history).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    app::App,
    chat::{Conversation, Message, policy::Caller},
    dialect::django::serializers,
    id::ConversationId,
    python::{
        datetime::{Timestamp, Zone, in_range},
        json::Part,
    },
    service::ChatError,
    store::{
        Store, StoreError,
        history::{Deleted, History, PageCursor, Pages},
    },
};

/// The rows of an answer. A clone reads on from the same place.
#[derive(Clone)]
pub enum RowSource {
    Messages(MessageList),
    Conversation(Box<WholeConversation>),
    Conversations(ConversationList),
}

/// The rows that come next, as parts of a value.
#[derive(Default)]
pub struct Rows {
    pub parts: Vec<Part>,
    /// Number of rows that were read for them.
    pub count: usize,
    pub is_last: bool,
}

/// Why an answer cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// Python cannot hold a time in this server's zone, and REST framework does not show it: the
    /// last hours of the year 9999, and before the year 1. Test:
    /// `a_time_past_the_year_9999_is_a_400`.
    #[error("a time is out of the range of this server's zone")]
    Unshowable,
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        ReadError::Chat(error.into())
    }
}

impl RowSource {
    /// Reads the messages of a conversation that are not deleted.
    #[must_use]
    pub fn messages(app: &App, conversation_id: ConversationId) -> Self {
        RowSource::Messages(MessageList {
            zone: app.zone().clone(),
            messages: MessagePages::new(&app.store, conversation_id, Deleted::Skipped),
            has_begun: false,
        })
    }

    /// Reads a conversation with all its messages.
    #[must_use]
    pub fn conversation(app: &App, row: Conversation) -> Self {
        let whole = WholeConversation::new(&app.store, app.zone(), row);
        RowSource::Conversation(Box::new(whole))
    }

    /// Reads the active conversations of a user, with all their messages.
    #[must_use]
    pub fn conversations(app: &App, caller: &Caller, user: String) -> Self {
        RowSource::Conversations(ConversationList {
            store: Arc::clone(&app.store),
            zone: app.zone().clone(),
            caller: caller.clone(),
            user,
            rows: Progress::Unread(None),
            waiting: VecDeque::new(),
            current: None,
            has_begun: false,
        })
    }

    /// Reads the next step; not to be called after the last.
    ///
    /// # Errors
    /// When the store cannot be read, a time cannot be shown, or there is no such conversation.
    pub async fn next(&mut self) -> Result<Rows, ReadError> {
        match self {
            RowSource::Messages(list) => list.next().await,
            RowSource::Conversation(whole) => whole.next().await,
            RowSource::Conversations(list) => list.next().await,
        }
    }
}

/// Refuses times that Python cannot hold in this zone.
fn showable(zone: &Zone, times: impl IntoIterator<Item = Timestamp>) -> Result<(), ReadError> {
    if times.into_iter().all(|time| in_range(time, zone)) {
        return Ok(());
    }
    Err(ReadError::Unshowable)
}

/// The messages of one conversation, a page at a time.
#[derive(Clone)]
struct MessagePages {
    store: Arc<dyn Store>,
    conversation_id: ConversationId,
    deleted: Deleted,
    /// `None` before the first page, and after it if that was all.
    pages: Option<Pages>,
}

/// Messages that come next.
struct Page {
    messages: Vec<Message>,
    is_last: bool,
}

impl MessagePages {
    fn new(store: &Arc<dyn Store>, conversation_id: ConversationId, deleted: Deleted) -> Self {
        MessagePages {
            store: Arc::clone(store),
            conversation_id,
            deleted,
            pages: None,
        }
    }

    /// Returns the next page; `None` if there is no such conversation.
    async fn next(&mut self, zone: &Zone) -> Result<Option<Page>, ReadError> {
        let mut pages = match self.pages.take() {
            Some(pages) => pages,
            None => match self.begin().await? {
                None => return Ok(None),
                Some(History::Short(messages)) => return shown(zone, messages, true).map(Some),
                Some(History::Long(pages)) => {
                    showable(zone, pages.newest())?;
                    pages
                }
            },
        };
        let messages = pages.next().await?.unwrap_or_default();
        let is_last = pages.is_over();
        self.pages = Some(pages);
        shown(zone, messages, is_last).map(Some)
    }

    async fn begin(&self) -> Result<Option<History>, StoreError> {
        // One query for a conversation that is known to be there, unless it is long.
        if self.deleted == Deleted::Included {
            let all = self.store.messages_of(&[self.conversation_id]).await?;
            let all = all.whole()?;
            if !all.is_full {
                all.note_too_large(&*self.store);
                return Ok(Some(History::Short(all.messages)));
            }
        }
        History::find(&self.store, self.conversation_id, self.deleted).await
    }
}

fn shown(zone: &Zone, messages: Vec<Message>, is_last: bool) -> Result<Page, ReadError> {
    showable(zone, messages.iter().flat_map(Message::times))?;
    Ok(Page { messages, is_last })
}

fn push_messages(messages: &[Message], zone: &Zone, out: &mut Vec<Part>) {
    out.extend(
        messages
            .iter()
            .map(|it| Part::Value(serializers::message(it, zone))),
    );
}

/// Returns the newest message that is not deleted.
fn last_message(messages: &[Message]) -> Option<&Message> {
    messages.iter().rev().find(|message| !message.is_deleted)
}

/// A list of messages.
#[derive(Clone)]
pub struct MessageList {
    zone: Zone,
    messages: MessagePages,
    has_begun: bool,
}

impl MessageList {
    async fn next(&mut self) -> Result<Rows, ReadError> {
        let page = self.messages.next(&self.zone).await?;
        let page = page.ok_or(ChatError::NoConversation)?;
        let mut parts = Vec::with_capacity(page.messages.len() + 2);
        if !std::mem::replace(&mut self.has_begun, true) {
            parts.push(Part::List);
        }
        push_messages(&page.messages, &self.zone, &mut parts);
        if page.is_last {
            parts.push(Part::End);
        }
        Ok(Rows {
            parts,
            count: page.messages.len(),
            is_last: page.is_last,
        })
    }
}

/// A conversation with all its messages.
#[derive(Clone)]
pub struct WholeConversation {
    zone: Zone,
    row: Conversation,
    messages: MessagePages,
    /// The newest message so far that is not deleted.
    last: Option<Message>,
    has_begun: bool,
}

impl WholeConversation {
    fn new(store: &Arc<dyn Store>, zone: &Zone, row: Conversation) -> Self {
        WholeConversation {
            zone: zone.clone(),
            messages: MessagePages::new(store, row.id, Deleted::Included),
            row,
            last: None,
            has_begun: false,
        }
    }

    async fn next(&mut self) -> Result<Rows, ReadError> {
        let mut step = Rows::default();
        if !std::mem::replace(&mut self.has_begun, true) {
            showable(&self.zone, self.row.times())?;
            serializers::conversation_start(&self.row, &self.zone, &mut step.parts);
            step.count = 1;
        }
        // A conversation that is deleted meanwhile has no messages any more.
        let page = self.messages.next(&self.zone).await?.unwrap_or(Page {
            messages: Vec::new(),
            is_last: true,
        });
        push_messages(&page.messages, &self.zone, &mut step.parts);
        step.count += page.messages.len();
        if let Some(last) = last_message(&page.messages) {
            self.last = Some(last.clone());
        }
        if page.is_last {
            serializers::conversation_end(self.last.as_ref(), &self.zone, &mut step.parts);
        }
        step.is_last = page.is_last;
        Ok(step)
    }
}

/// The active conversations of a user that the caller may see. The messages of many short ones are
/// read together, those of a long one by themselves.
#[derive(Clone)]
pub struct ConversationList {
    store: Arc<dyn Store>,
    zone: Zone,
    caller: Caller,
    user: String,
    rows: Progress,
    /// Conversations that have been read, and what is said in them has not. Those that are tried
    /// together are together.
    waiting: VecDeque<Vec<Conversation>>,
    /// A long one that is being read.
    current: Option<Box<WholeConversation>>,
    has_begun: bool,
}

/// Progress in the rows of a user's conversations.
#[derive(Clone)]
enum Progress {
    /// Up to this place.
    Unread(Option<PageCursor>),
    Read,
}

impl ConversationList {
    async fn next(&mut self) -> Result<Rows, ReadError> {
        let mut step = Rows::default();
        if !std::mem::replace(&mut self.has_begun, true) {
            step.parts.push(Part::List);
        }
        while !self.advance(&mut step).await? {}
        step.is_last = matches!(self.rows, Progress::Read)
            && self.waiting.is_empty()
            && self.current.is_none();
        if step.is_last {
            step.parts.push(Part::End);
        }
        Ok(step)
    }

    /// Reads once, and tells if that is a step.
    async fn advance(&mut self, step: &mut Rows) -> Result<bool, ReadError> {
        if let Some(current) = &mut self.current {
            let next = current.next().await?;
            step.parts.extend(next.parts);
            step.count += next.count;
            if next.is_last {
                self.current = None;
            }
            return Ok(true);
        }
        match (self.waiting.pop_front(), &self.rows) {
            (Some(together), _) => self.read_together(together, step).await,
            (None, Progress::Unread(after)) => {
                let after = after.clone();
                self.read_rows(after, step).await?;
                Ok(matches!(self.rows, Progress::Read) && self.waiting.is_empty())
            }
            (None, Progress::Read) => Ok(true),
        }
    }

    async fn read_rows(
        &mut self,
        after: Option<PageCursor>,
        step: &mut Rows,
    ) -> Result<(), StoreError> {
        let page = self
            .store
            .conversations_of(self.user.clone(), after)
            .await?;
        step.count += page.conversations.len();
        let mut conversations = page.conversations;
        // The database may take two users for one.
        conversations.retain(|it| self.caller.takes_part(it.participants.as_slice()));
        if !conversations.is_empty() {
            self.waiting.push_back(conversations);
        }
        self.rows = match page.last {
            Some(last) if page.is_full => Progress::Unread(Some(last)),
            _ => Progress::Read,
        };
        Ok(())
    }

    /// Reads the messages of some conversations, if these are few enough; if not, half of the
    /// conversations are tried next.
    async fn read_together(
        &mut self,
        mut together: Vec<Conversation>,
        step: &mut Rows,
    ) -> Result<bool, ReadError> {
        let ids: Vec<ConversationId> = together
            .iter()
            .map(|conversation| conversation.id)
            .collect();
        let page = self.store.messages_of(&ids).await?;
        page.note_too_large(&*self.store);
        let page = page.whole()?;
        step.count += page.messages.len();
        if !page.is_full {
            let mut said: HashMap<ConversationId, Vec<Message>> = HashMap::new();
            for message in page.messages {
                let of = said.entry(message.conversation_id).or_default();
                of.push(message);
            }
            for row in &together {
                let own = said.remove(&row.id).unwrap_or_default();
                push_conversation(row, &own, &self.zone, &mut step.parts)?;
            }
            return Ok(true);
        }
        let rest = together.split_off(together.len() / 2);
        match (together.is_empty(), rest) {
            (true, rest) => {
                let whole = |row| WholeConversation::new(&self.store, &self.zone, row);
                self.current = rest.into_iter().next().map(whole).map(Box::new);
            }
            (false, rest) => {
                self.waiting.push_front(rest);
                self.waiting.push_front(together);
            }
        }
        Ok(false)
    }
}

/// Appends a conversation with all its messages.
fn push_conversation(
    row: &Conversation,
    messages: &[Message],
    zone: &Zone,
    out: &mut Vec<Part>,
) -> Result<(), ReadError> {
    showable(zone, row.times())?;
    showable(zone, messages.iter().flat_map(Message::times))?;
    serializers::conversation_start(row, zone, out);
    push_messages(messages, zone, out);
    serializers::conversation_end(last_message(messages), zone, out);
    Ok(())
}
