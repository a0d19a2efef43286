//! What is read across conversations.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    query::{beside, end, signed},
    row::{conversation_row, time_at},
};
use crate::{
    id::{ConversationId, MessageId},
    python::datetime::{Timestamp, to_sqlite},
    store::{
        StoreError,
        history::{Direction, Page},
        overview::{ActiveConversation, Overview, merge},
        schema::layout::{CONVERSATION, CONVERSATION_LIST, Layout},
    },
};

#[async_trait]
impl Overview for SqliteStore {
    async fn by_activity(
        &self,
        user_id: &str,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ActiveConversation>, StoreError> {
        let (layout, user_id) = (Arc::clone(&self.layout), user_id.to_owned());
        self.readers
            .read(move |db| by_activity(db, &layout, &user_id, after, limit))
            .await
    }

    async fn across(
        &self,
        conversations: &[ConversationId],
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (layout, conversations) = (Arc::clone(&self.layout), conversations.to_vec());
        self.readers
            .read(move |db| across(db, &layout, &conversations, place, direction, limit))
            .await
    }
}

fn by_activity(
    db: &Connection,
    layout: &Layout,
    user_id: &str,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> rusqlite::Result<Vec<ActiveConversation>> {
    let sql = format!(
        "SELECT {CONVERSATION_LIST}, active_at FROM (SELECT {CONVERSATION_LIST}, COALESCE(\
         (SELECT m.created_at FROM {} AS m WHERE m.conversation_id = c.id AND NOT m.is_deleted \
         ORDER BY m.created_at DESC LIMIT 1), c.created_at) AS active_at \
         FROM {} AS c WHERE is_active AND {}) AS c \
         WHERE active_at <= ?2 AND (active_at < ?2 OR id < ?3) \
         ORDER BY active_at DESC, id DESC LIMIT ?4",
        layout.messages,
        layout.conversations,
        layout.has_member("?1")
    );
    let after_time = after.map_or_else(|| end().0, |(at, _)| to_sqlite(at));
    let after_id = after.map(|(_, id)| id);
    let row =
        |row: &rusqlite::Row<'_>| Ok((conversation_row(row)?, time_at(row, CONVERSATION.len())?));
    db.prepare_cached(&sql)?
        .query_map(params![user_id, after_time, after_id, signed(limit)], row)?
        .collect()
}

/// One statement for each conversation: there is no round trip to save.
fn across(
    db: &Connection,
    layout: &Layout,
    conversations: &[ConversationId],
    place: (Timestamp, MessageId),
    direction: Direction,
    limit: usize,
) -> rusqlite::Result<Page> {
    let mut nearest = Page::default();
    for of in conversations {
        let page = beside(db, layout, *of, place, direction, limit)?;
        // Merged one by one, so that no more than two pages are held.
        nearest = merge(vec![nearest, page], direction, limit);
    }
    Ok(nearest)
}
