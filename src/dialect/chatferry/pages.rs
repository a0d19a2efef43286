//! Pages of a conversation's history, for frames and for the API: read at a place, and with the
//! cursors of their ends.

use super::{cursor::Cursor, requests::HistoryPlace};
use crate::{
    app::App,
    id::ConversationId,
    python::datetime::Timestamp,
    service::{ChatError, MessagePage},
    store::history::Direction,
};

/// Cursors with which a client goes on, behind a page or before it, if there may be more.
#[derive(Clone, Copy, Debug)]
pub struct PageEnds {
    pub next: Option<Cursor>,
    pub before: Option<Cursor>,
}

impl PageEnds {
    /// Returns the ends of a page that was read in this direction.
    #[must_use]
    pub fn of(page: &MessagePage, direction: Direction) -> Self {
        let edge = match direction {
            Direction::Newer => page.messages.last(),
            Direction::Older => page.messages.first(),
        };
        let edge = edge.filter(|_| page.is_full).map(Cursor::of);
        let (next, before) = match direction {
            Direction::Newer => (edge, None),
            Direction::Older => (None, edge),
        };
        PageEnds { next, before }
    }
}

/// Reads the page at a place of a conversation, or the newest one, and returns it with its ends.
///
/// # Errors
/// When the store cannot be read.
pub async fn read(
    app: &App,
    id: ConversationId,
    place: Option<HistoryPlace>,
    limit: usize,
    now: Timestamp,
) -> Result<(MessagePage, PageEnds), ChatError> {
    let chat = &app.chat_with_groups;
    let (page, direction) = match place {
        None => (chat.newest(id, limit).await?, Direction::Older),
        Some(HistoryPlace::Before(cursor)) => {
            let page = chat.beside(id, cursor.place(), Direction::Older, limit);
            (page.await?, Direction::Older)
        }
        Some(HistoryPlace::After(cursor)) => {
            let page = chat.beside(id, cursor.start(now), Direction::Newer, limit);
            (page.await?, Direction::Newer)
        }
    };
    let ends = PageEnds::of(&page, direction);
    Ok((page, ends))
}
